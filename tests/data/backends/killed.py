"""Is killed while it builds, as the kernel does where memory is short."""

import os
import signal

from minimal import *


def _die(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGKILL)


build_wheel = build_sdist = build_editable = prepare_metadata_for_build_wheel = _die
