"""What a release is made of: its version, and an sdist that is the repository, to the byte."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import List

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_changelog_begins_with_the_version() -> None:
    """The newest section is that of the version in pyproject.toml, with a date, or that of what is not released."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    newest = next(re.finditer(r"^## \[(.+)\](?: - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE))

    assert newest[1] in (VERSION, "Unreleased")


def tracked_files() -> List[str]:
    """Return the files of the repository; skip where this is none, as in an unpacked sdist."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=str(ROOT), stdout=subprocess.PIPE, check=True).stdout
    return [name for name in listed.decode().split("\0") if name and (ROOT / name).exists()]


def sdist_of(names: List[str], folder: Path, mask: int, date: int) -> Path:
    """Return the sdist of a copy of the files whose modes and times are these."""
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(ROOT / name), str(target))
        target.chmod(target.stat().st_mode & ~mask)
        os.utime(str(target), (date, date))
    command = "import flit_core.buildapi as backend; backend.build_sdist('dist')"
    (folder / "dist").mkdir()
    environ = {**os.environ, "SOURCE_DATE_EPOCH": "1800000000"}
    subprocess.run([sys.executable, "-c", command], cwd=str(folder), env=environ, check=True)
    return next((folder / "dist").iterdir())


def test_the_sdist_is_the_repository(tmp_path: Path) -> None:
    """It has every file of it and no other, and the same bytes whatever the folder, the umask and the time."""
    names = tracked_files()
    made = sdist_of(names, tmp_path / "one", 0o022, 1_700_000_000)
    litter = ["sample_project/dist/sample-1.tar.gz", "tests/__pycache__/x.pyc", "build/x", ".demo/x", ".matrix/x"]
    for name in litter:
        (tmp_path / "another" / "name" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "another" / "name" / name).touch()

    again = sdist_of(names, tmp_path / "another" / "name", 0o077, 1_600_000_000)

    with tarfile.open(str(made)) as archive:
        held = [member.name.split("/", 1)[1] for member in archive]
    assert sorted(held) == sorted([*names, "PKG-INFO"])
    assert made.read_bytes() == again.read_bytes()
