"""Ends its process with a sentence, as friendly backends do."""

import sys

from minimal import *


def _exit(*arguments, **keywords):
    sys.exit("toy cannot be built on a Sunday")


build_wheel = build_sdist = build_editable = prepare_metadata_for_build_wheel = _exit
