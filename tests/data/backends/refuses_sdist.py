"""Cannot make an sdist of this tree and says so in the way of PEP 517."""

from minimal import *


class UnsupportedOperation(Exception):
    """PEP 517, build_sdist."""


def build_sdist(sdist_directory, config_settings=None):
    raise UnsupportedOperation("toy is not under version control")
