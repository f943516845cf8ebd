"""Raises when it is asked for its requirements, as setuptools does for a broken setup.py."""

from minimal import *


def _fail(config_settings=None):
    raise ValueError("the setup of toy is broken")


get_requires_for_build_wheel = get_requires_for_build_sdist = get_requires_for_build_editable = _fail
