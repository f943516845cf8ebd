"""What a build backend has made is a wheel, of this project, for the Python that has built it: else it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.wheel_files import make_wheel

from provision_backend.errors import WheelError
from provision_backend.project.pyproject import Project
from provision_backend.wheels.build import check_made

GNU = "x86_64-unknown-linux-gnu"


def _project(name: str = "spam", version: str = "1.0") -> Project:
    return Project(Path("/nowhere"), "own", (), one_list=True, name=name, version=version)


@pytest.mark.parametrize(
    ("name", "version", "tags", "python"),
    [
        ("Spam", "1.0.0", "py3-none-any", "3.11"),
        ("spam", "1", "cp311-abi3-linux_x86_64", "3.13"),
        ("spam", "1.0", "cp313-cp313t-manylinux_2_28_x86_64", "3.13t"),
    ],
)
def test_what_was_to_be_built(tmp_path: Path, name: str, version: str, tags: str, python: str) -> None:
    """Names and versions have several spellings, and tags of the platform, or of none, are all right."""
    check_made(make_wheel(tmp_path, tags, {}), _project(name, version), python, GNU)


@pytest.mark.parametrize(
    ("name", "version", "tags", "message"),
    [
        ("egg", "1.0", "py3-none-any", "spam-1.0-py3-none-any.whl was built from the sdist of egg 1.0"),
        ("spam", "2.0", "py3-none-any", "spam-1.0-py3-none-any.whl was built from the sdist of spam 2.0"),
        ("spam", "1.0", "py2-none-any", "spam-1.0-py2-none-any.whl was built by CPython 3.11 for"),
        ("spam", "1.0", "cp310-cp310-linux_x86_64", "spam-1.0-cp310-cp310-linux_x86_64.whl was built by CPython 3.11"),
        ("spam", "1.0", "py3-none-win_amd64", "spam-1.0-py3-none-win_amd64.whl was built by CPython 3.11 for"),
    ],
)
def test_what_was_not_to_be_built(tmp_path: Path, name: str, version: str, tags: str, message: str) -> None:
    """Nobody wants to publish another project or version, or what its own Python and platform cannot install."""
    with pytest.raises(WheelError) as caught:
        check_made(make_wheel(tmp_path, tags, {}), _project(name, version), "3.11", GNU)

    assert caught.value.message.startswith(message)


def test_a_file_that_is_renamed_or_no_wheel(tmp_path: Path) -> None:
    """A wheel says inside what it is, and a text that is called a wheel is none."""
    renamed = make_wheel(tmp_path, "py3-none-any", {}).rename(tmp_path / "egg-1.0-py3-none-any.whl")
    with pytest.raises(
        WheelError, match=r"^the name of egg-1.0-py3-none-any.whl does not match its metadata, which is that of spam 1"
    ):
        check_made(renamed, _project("egg"), "3.11", GNU)
    renamed.write_bytes(b"text")

    with pytest.raises(WheelError, match=r"^could not read .*: File is not a zip file"):
        check_made(renamed, _project("egg"), "3.11", GNU)
