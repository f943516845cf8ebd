"""`SHA256SUMS` is read and written in one place, so that what one command writes another one can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision_backend.catalog.sums import SHA256SUMS, Sums, change_sums, load_sums, parse_sums
from provision_backend.errors import CatalogError
from provision_backend.mirror.folder import list_files

NAME = "cpython-3.13.9+20251120-x86_64-unknown-linux-gnu-install_only.tar.gz"
OLD, NEW = "a" * 64, "b" * 64


@pytest.mark.parametrize("written", [f"./{NAME}", f"*{NAME}", f"*./{NAME}", NAME])
def test_a_file_is_replaced_however_its_line_was_written(written: str) -> None:
    """The same archive, packed again, leaves one line, also where "sha256sum ./*" wrote the first one."""
    before = parse_sums(f"{OLD}  {written}\n" if written[0] != "*" else f"{OLD} {written}\n", source="m")

    assert change_sums(before, add={NAME: NEW}, drop=(), source="m").render() == f"{NEW}  {NAME}\n"


def test_another_archive_of_the_same_name_is_not_added(tmp_path: Path) -> None:
    """A catalog has no folders, so it could not say which of the two a build gets; the folder stays what it was."""
    listed = tmp_path / "20251120" / NAME
    listed.parent.mkdir()
    listed.write_bytes(b"old")
    text = f"{OLD}  20251120/{NAME}\n"
    (tmp_path / SHA256SUMS).write_text(text, encoding="ascii")
    (tmp_path / "work").mkdir()
    finished = tmp_path / "work" / NAME
    finished.write_bytes(b"new")

    with pytest.raises(CatalogError) as caught:
        list_files(tmp_path, {NAME: NEW}, tmp_path / "work", finished=finished)

    assert caught.value.message == (
        f"{tmp_path / SHA256SUMS}, line 2: {NAME} is listed with two different hashes, {OLD} and {NEW}"
    )
    assert (tmp_path / SHA256SUMS).read_text(encoding="ascii") == text
    assert not (tmp_path / NAME).exists()


def test_what_was_read_is_written_sorted_with_its_comments() -> None:
    """Comments and other files are not ours to remove."""
    text = f"{NEW} *zig.tar.xz\n\n# from the build farm\n{OLD.upper()}  {NAME}\n"

    assert parse_sums(text, source="m").render() == f"# from the build farm\n{OLD}  {NAME}\n{NEW}  zig.tar.xz\n"


def test_a_file_that_does_not_exist_may_be_empty_or_an_error(tmp_path: Path) -> None:
    """A new mirror has no list yet; a catalog that a setting names must exist."""
    assert load_sums(tmp_path / SHA256SUMS, missing_ok=True) == Sums()
    with pytest.raises(CatalogError, match="cannot be read: No such file or directory"):
        load_sums(tmp_path / SHA256SUMS)
