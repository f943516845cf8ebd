"""An sdist whose wheels are what a variable says, built by a backend in its own tree: real builds that take a second.

``TOY_KIND`` says what is built: ``each``, ``pure``, or what serves a Python and all above it, ``from-3.11``. There is
nothing compiled in any of them, so they have no platform.
``TOY_FAILS`` names a Python that the build fails under, ``TOY_BROKEN`` one that the wheel cannot be imported under, and
``TOY_SLOW`` one under which a build takes its time, and ``TOY_HANGS`` one under which it does not end (``sdist`` for
that of its sdist). ``TOY_LEAVES`` has it leave a program running, ``TOY_UNLISTED`` a file out of RECORD.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

__all__ = ["toy_sdist"]

_BACKEND = """
import os, subprocess, sys, tarfile, time, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return []

def build_sdist(folder, config_settings=None):
    print("the toy backend runs", flush=True)
    time.sleep(200 if os.environ.get("TOY_HANGS") == "sdist" else 0)
    with tarfile.open(os.path.join(folder, "toy-1.0.tar.gz"), "w:gz") as tar:
        tar.add(".", "toy-1.0")
    return "toy-1.0.tar.gz"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    minor = "%d.%d" % sys.version_info[:2]
    print("the toy backend runs", flush=True)
    time.sleep(200 if minor == os.environ.get("TOY_HANGS") else 3 if minor == os.environ.get("TOY_SLOW") else 0)
    if minor in os.environ.get("TOY_FAILS", "").split():
        raise SystemExit("toy: this does not build under " + minor)
    if os.environ.get("TOY_LEAVES"):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", folder])
    kind, _, first = os.environ.get("TOY_KIND", "each").partition("-")
    tag = "cp%d%d-none-any" % sys.version_info[:2]
    if kind == "pure":
        tag = "py3-none-any"
    elif kind == "from" and sys.version_info[:2] >= tuple(map(int, first.split("."))):
        tag = "py%s-none-any" % first.replace(".", "")
    broken = os.environ.get("TOY_BROKEN", "")
    files = {
        "toy.py": "import sys\\nassert '%%d.%%d' %% sys.version_info[:2] != %r\\nBUILT = %r\\n" % (broken, minor),
        "toy-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n",
        "toy-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: toy\\nRoot-Is-Purelib: false\\nTag: %s\\n" % tag,
    }
    files["toy-1.0.dist-info/RECORD"] = "".join(name + ",,\\n" for name in [*files, "toy-1.0.dist-info/RECORD"])
    if os.environ.get("TOY_UNLISTED"):
        files["late.py"] = ""
    name = "toy-1.0-" + tag + ".whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]), text)
    return name
"""

_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "toy"
version = "1.0"
requires-python = ">=3.8"
"""


def toy_sdist(folder: Path) -> Path:
    """Write the sdist and return its path."""
    files = {"pyproject.toml": _PYPROJECT, "backend.py": _BACKEND}
    files["PKG-INFO"] = "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\nRequires-Python: >=3.8\n"
    folder.mkdir(parents=True, exist_ok=True)
    sdist = folder / "toy-1.0.tar.gz"
    with gzip.GzipFile(str(sdist), "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"toy-1.0/{name}")
            member.size, member.mtime = len(text.encode()), 1_700_000_000
            tar.addfile(member, io.BytesIO(text.encode()))
    return sdist
