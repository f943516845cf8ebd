"""A new interpreter → the modules that its first builds import, compiled before those builds are let at it.

python-build-standalone ships no compiled modules. Each process that starts under a new interpreter compiles what it
imports, and builds that waited for it together do that together: 32 of them compile the same modules 32 times. So who
has provisioned it compiles them, once and on all cores, while the others still wait.

Python writes a compiled module by a rename, and reads one only if size and time of its source agree: whatever ends this
halfway leaves a sound interpreter. The manifest of a published interpreter leaves compiled modules out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

from ..errors import InterpreterError
from ..interpreter import Interpreter
from ..processes import clean_environment, run_quiet

__all__ = ["compile_modules"]

_MODULES = """
__future__ _colorize _compression _opcode_metadata _sysconfigdata_* _weakrefset argparse ast base64 bisect bz2 codecs
collections configparser contextlib copy copyreg csv dataclasses datetime decimal difflib dis email encodings/__init__
encodings/aliases encodings/utf_8 encodings/utf_8_sig enum fnmatch functools getopt gettext glob gzip hashlib heapq
http/__init__ http/client importlib inspect ipaddress json keyword linecache locale logging/__init__ lzma numbers
opcode operator pathlib platform queue quopri random re reprlib selectors shlex shutil signal socket sre_compile
sre_constants sre_parse ssl string struct subprocess sysconfig tarfile tempfile textwrap threading token tokenize
tomllib traceback types typing urllib/__init__ urllib/error urllib/parse urllib/request urllib/response warnings
weakref zipfile
"""
"""What flit_core, hatchling and setuptools import of the standard library when they build a wheel, under 3.8 to 3.14.

Names of files or folders; a folder stands for all of its modules. What is not there in a version is passed over.
"""

_PIP_MODULES = """
_compat_pickle _markupbase calendar colorsys compileall encodings/ascii encodings/cp437 encodings/idna filecmp fractions
getpass hmac html http/cookiejar http/cookies logging mimetypes optparse pickle pkgutil plistlib py_compile socketserver
stringprep uuid venv xml/__init__ xml/parsers xmlrpc site-packages/pip
"""
"""What pip imports besides, and its own modules; only where pip fills the build environments."""

# A process for each core takes its share. Nothing is imported, since that would be compiled before there are shares.
_CODE = """
import os, sys
from _frozen_importlib_external import SourceFileLoader
files = sys.argv[1:]
workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
children = []
for number in range(1, workers):
    child = os.fork()
    if not child:
        children = []
        break
    children.append(child)
else:
    number = 0
for path in files[number::workers]:
    try:
        SourceFileLoader("module", path).get_code("module")
    except Exception:
        pass
for child in children:
    os.waitpid(child, 0)
"""

_TIMEOUT = 120.0
"""Seconds; it takes one or two."""


def compile_modules(interpreter: Interpreter, *, pip: bool, asked: bool = False) -> None:
    """Compile what builds import of the standard library, as the interpreter itself would when they do.

    Nothing is done where that is not wanted (PYTHONDONTWRITEBYTECODE) or not read (PYTHONPYCACHEPREFIX), unless
    somebody asks for it. A failure costs the builds some time and is no error.

    Args:
        interpreter: one that was provisioned, at its final place.
        pip: whether its own pip is going to be used.
        asked: whether these variables, which are about this process, do not count.
    """
    unwanted = os.environ.get("PYTHONDONTWRITEBYTECODE") or os.environ.get("PYTHONPYCACHEPREFIX")
    if (unwanted and not asked) or not hasattr(os, "fork"):
        return
    executable = Path(interpreter.executable)
    library = executable.parent.parent / "lib" / executable.name
    # The largest first, so that the shares take about the same time.
    files = sorted(_files(library, pip=pip), key=lambda path: -path.stat().st_size)
    command = [str(executable), "-I", "-S", "-c", _CODE, *map(str, files)]
    try:
        run_quiet(command, env=clean_environment(), timeout=_TIMEOUT)
    except InterpreterError:
        return


def _files(library: Path, *, pip: bool) -> Iterator[Path]:
    for name in f"{_MODULES} {_PIP_MODULES if pip else ''}".split():
        yield from library.glob(f"{name}.py")
        yield from library.glob(f"{name}/**/*.py")
