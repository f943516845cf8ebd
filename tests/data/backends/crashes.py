"""Its hooks raise, as a backend does that finds the project wrong."""

from minimal import *


def _fail(*arguments, **keywords):
    raise ValueError("the version of toy is not a version")


build_wheel = build_sdist = build_editable = prepare_metadata_for_build_wheel = _fail
