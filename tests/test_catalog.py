"""The catalog: its format, its built-in data, and which archive is selected."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Tuple

import pytest

import provision_backend
from provision_backend.catalog.archive import Archive
from provision_backend.catalog.selection import (
    builtin_triples,
    load_builtin_catalog,
    load_catalog_file,
    matching_archives,
    parse_catalog,
    select_archive,
)
from provision_backend.catalog.wanted import Wanted
from provision_backend.errors import CatalogError, NoMatchingArchiveError
from provision_backend.versions import parse_request

GNU = "x86_64-unknown-linux-gnu"
MUSL = "x86_64-unknown-linux-musl"
PACKAGE = Path(provision_backend.__file__).parent


def name_of(version: str, tag: str, triple: str = GNU, flavor: str = "install_only_stripped") -> str:
    """Return the file name of an archive; a ``t`` at the end of *version* makes it free-threaded."""
    option = "-freethreaded" if version.endswith("t") else ""
    return f"cpython-{version.rstrip('t')}+{tag}-{triple}{option}-{flavor}.tar.gz"


def hash_of(text: str) -> str:
    """Return a hash that is different for each text."""
    return hashlib.sha256(text.encode()).hexdigest()


def catalog_of(*names: str) -> Tuple[Archive, ...]:
    """Return the catalog that lists these file names."""
    return parse_catalog("".join(f"{hash_of(name)}  {name}\n" for name in names), source="SHA256SUMS")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("{hash}  {name}\n", id="text mode"),
        pytest.param("{hash} *{name}\n", id="binary mode"),
        pytest.param("{hash}  {name}\r\n", id="CRLF"),
        pytest.param("{hash}  {name}", id="no newline at the end"),
        pytest.param("{hash}\t{name}\n", id="tab"),
        pytest.param("{hash}  ./{name}\n", id="directory"),
        pytest.param("{hash}  20250723/{name}\n", id="mirror laid out by release"),
        pytest.param("# a comment\n\n  \n{hash}  {name}\n", id="comment and empty lines"),
        pytest.param("{HASH}  {name}\n", id="upper-case hash"),
        pytest.param("{hash}  {quoted}\n", id="quoted as in a URL"),
    ],
)
def test_every_way_to_write_a_line_is_read_alike(line: str) -> None:
    """Modes, line ends, directories and quoting make no difference to the archive."""
    name = name_of("3.13.5", "20250723")
    text = line.format(hash=hash_of("x"), HASH=hash_of("x").upper(), name=name, quoted=name.replace("+", "%2B"))

    assert parse_catalog(text, source="SHA256SUMS") == (
        Archive(name, hash_of("x"), "3.13.5", "20250723", GNU, "install_only_stripped", False),
    )


def test_lines_of_other_files_are_skipped() -> None:
    """A release of PBS lists full and debug builds and other files too."""
    full = "cpython-3.13.5+20250723-x86_64-unknown-linux-gnu-pgo+lto-full.tar.zst"

    assert catalog_of(full, name_of("3.13.5t", "20250723"), "notes.txt") == catalog_of(name_of("3.13.5t", "20250723"))


def test_a_file_listed_twice_with_one_hash_is_one_archive() -> None:
    """Catalogs that overlap can be joined."""
    name = name_of("3.13.5", "20250723")

    assert catalog_of(name, name) == catalog_of(name)


def test_a_file_listed_with_two_hashes_is_refused() -> None:
    """Which of the two is right cannot be known."""
    name = name_of("3.13.5", "20250723")
    text = f"{'a' * 64}  {name}\n{'b' * 64}  {name.replace('+', '%2B')}\n"
    with pytest.raises(CatalogError) as caught:
        parse_catalog(text, source="mirror/SHA256SUMS")

    assert str(caught.value) == (
        f"mirror/SHA256SUMS, line 2: {name} is listed with two different hashes, {'a' * 64} and {'b' * 64}"
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        pytest.param("<!DOCTYPE html>", "'<!DOCTYPE html>'", id="web page"),
        pytest.param(f"{'a' * 40}  file", f"'{'a' * 40}  file'", id="sha1"),
        pytest.param(f"{'g' * 64}  file", f"'{'g' * 64}  file'", id="not hexadecimal"),
        pytest.param("a" * 64, f"'{'a' * 64}'", id="no name"),
        pytest.param("z" * 100, f"'{'z' * 80}...'", id="long line"),
    ],
)
def test_a_malformed_line_is_named(line: str, found: str) -> None:
    """The message gives source, line number and the line, cut where it is long."""
    with pytest.raises(CatalogError) as caught:
        parse_catalog(f"{'a' * 64}  notes.txt\n{line}\n", source="SHA256SUMS")

    assert str(caught.value) == f"SHA256SUMS, line 2: expected '<sha256>  <file name>', found {found}"


@pytest.mark.parametrize("text", ["", "\n# nothing\n", f"{'a' * 64}  notes.txt\n"], ids=["empty", "comment", "other"])
def test_a_catalog_without_archives_is_refused(text: str) -> None:
    """A file that lists nothing for us is most likely the wrong one."""
    with pytest.raises(CatalogError) as caught:
        parse_catalog(text, source="SHA256SUMS")

    assert str(caught.value) == (
        "SHA256SUMS lists no archive of CPython\n"
        "  the name of an archive is cpython-<version>+<tag>-<target triple>-install_only[_stripped].tar.gz"
    )


def test_a_catalog_is_loaded_from_a_file_or_its_directory(tmp_path: Path) -> None:
    """A directory means the ``SHA256SUMS`` in it; a byte order mark is no part of the first line."""
    name = name_of("3.13.5", "20250723")
    file = tmp_path / "SHA256SUMS"
    file.write_text(f"{hash_of(name)}  {name}\n", encoding="utf-8-sig")

    assert load_catalog_file(file) == load_catalog_file(tmp_path) == catalog_of(name)


def test_a_catalog_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The message gives the file that was looked for, also inside a directory."""
    with pytest.raises(CatalogError) as caught:
        load_catalog_file(tmp_path)

    assert str(caught.value) == f"catalog '{tmp_path / 'SHA256SUMS'}' cannot be read: No such file or directory"


def test_a_catalog_that_is_not_text_is_named(tmp_path: Path) -> None:
    """An archive given in place of its catalog is no text."""
    file = tmp_path / "cpython.tar.gz"
    file.write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(CatalogError) as caught:
        load_catalog_file(file)

    assert str(caught.value) == f"catalog '{file}' cannot be read: it is not UTF-8 text"


def test_a_malformed_file_is_named_by_its_path(tmp_path: Path) -> None:
    """The path is the source of the message."""
    (tmp_path / "SHA256SUMS").write_text("no catalog\n", encoding="utf-8")
    with pytest.raises(CatalogError) as caught:
        load_catalog_file(tmp_path)

    assert caught.value.message == (
        f"{tmp_path / 'SHA256SUMS'}, line 1: expected '<sha256>  <file name>', found 'no catalog'"
    )
    assert caught.value.hint.endswith(": sha256sum *.tar.gz > SHA256SUMS")


@pytest.mark.parametrize("triple", builtin_triples())
def test_built_in_data_are_exact_and_sorted(triple: str) -> None:
    """Every line is an archive of its file's platform, as ``sha256sum -c`` reads it, newest version first."""
    text = (PACKAGE / "catalog" / "data" / f"{triple}.txt").read_text(encoding="ascii")
    archives = load_builtin_catalog(triple)

    assert text == "".join(f"{archive.sha256}  {archive.filename}\n" for archive in archives)
    assert {archive.triple for archive in archives} == {triple}
    assert [a.sort_key for a in archives] == sorted((a.sort_key for a in archives), reverse=True)
    assert len({archive.key for archive in archives}) == len(archives)


def test_built_in_data_cover_the_platforms_of_pbs() -> None:
    """Linux with both libcs, macOS and Windows are there."""
    assert {
        "aarch64-apple-darwin",
        "aarch64-unknown-linux-gnu",
        "aarch64-unknown-linux-musl",
        "armv7-unknown-linux-gnueabihf",
        "ppc64le-unknown-linux-gnu",
        "riscv64-unknown-linux-gnu",
        "s390x-unknown-linux-gnu",
        "x86_64-pc-windows-msvc",
        "x86_64-unknown-linux-gnu",
        "x86_64-unknown-linux-musl",
        "x86_64_v3-unknown-linux-musl",
    } <= set(builtin_triples())


@pytest.mark.parametrize("triple", ["loongarch64-unknown-linux-gnu", "../data/x86_64-unknown-linux-gnu", ""])
def test_a_platform_without_built_in_data_has_no_archives(triple: str) -> None:
    """What is no known triple is not looked for in the file system."""
    assert load_builtin_catalog(triple) == ()


@pytest.mark.parametrize("minor", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t"])
@pytest.mark.parametrize("triple", [GNU, MUSL, "aarch64-unknown-linux-gnu", "aarch64-unknown-linux-musl"])
def test_built_in_data_have_a_usable_build_of_each_minor_version(triple: str, minor: str) -> None:
    """Whoever asks for a version that is still in use gets one, and on musl one with the right SOABI."""
    archive = select_archive(load_builtin_catalog(triple), Wanted("", parse_request(minor)), triple)

    assert archive.label.startswith(minor.rstrip("t") + ".")
    assert archive.label.endswith("t") == minor.endswith("t")
    assert archive.tag >= "20251028" or triple.endswith("gnu")


def test_the_package_works_from_a_zip_file(tmp_path: Path) -> None:
    """The built-in data are found when the package is in a zip file, and their directory does not hide the module."""
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as target:
        for file in [*sorted(PACKAGE.rglob("*.py")), *sorted((PACKAGE / "catalog" / "data").glob("*.txt"))]:
            target.write(file, Path("provision_backend") / file.relative_to(PACKAGE))
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from provision_backend.catalog import selection\n"
        "print(selection.__file__.startswith(sys.argv[1]), len(selection.builtin_triples()))\n"
        f"print(len(selection.load_builtin_catalog({MUSL!r})))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(bundle)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60)

    assert answer.stdout.split() == ["True", str(len(builtin_triples())), str(len(load_builtin_catalog(MUSL)))]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_a_catalog(tmp_path: Path) -> None:
    """A mirror's files are checked by ``sha256sum -c`` with lines of the built-in form."""
    name = name_of("3.13.5", "20250723")
    (tmp_path / name).write_bytes(b"an archive")
    [archive] = parse_catalog(f"{hashlib.sha256(b'an archive').hexdigest()}  {name}\n", source="SHA256SUMS")
    (tmp_path / "SHA256SUMS").write_text(f"{archive.sha256}  {archive.filename}\n", encoding="ascii")
    command = ["sha256sum", "-c", "SHA256SUMS"]
    good = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    (tmp_path / name).write_bytes(b"another")
    bad = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)

    assert (good.returncode, good.stdout) == (0, f"{name}: OK\n")
    assert bad.returncode == 1


@pytest.mark.parametrize(
    ("requires_python", "request_text", "expected"),
    [
        pytest.param("", None, "3.14.2", id="newest of all"),
        pytest.param(">=3.12", None, "3.14.2", id="newest that satisfies"),
        pytest.param(">=3.12,<3.14", None, "3.13.10", id="upper bound"),
        pytest.param(">=3.12", "3.13", "3.13.10", id="minor, numerically newest patch"),
        pytest.param(">=3.12", "3.13.9", "3.13.9", id="patch"),
        pytest.param(">=3.12", "3.13t", "3.13.10t", id="free-threaded"),
        pytest.param("", ">=3.13t", "3.14.2t", id="free-threaded range"),
        pytest.param("<3.13", None, "3.12.9", id="old"),
        pytest.param("", "3.15.0a1", "3.15.0a1", id="pre-release by name"),
        pytest.param("", ">=3.15.0a1", "3.15.0a2", id="pre-release by range"),
        pytest.param(">=3.15.0a1", None, "3.15.0a2", id="pre-release by requires-python"),
        pytest.param("", "3.15", "3.15.0a2", id="pre-release because nothing else fits"),
        pytest.param(">=3.14.0a1", None, "3.14.2", id="a pre-release in requires-python asks for none"),
        pytest.param(">=3.12,!=3.15.0a2", None, "3.14.2", id="an excluded pre-release asks for none"),
    ],
)
def test_the_newest_satisfying_version_is_selected(
    requires_python: str, request_text: str | None, expected: str
) -> None:
    """Requires-python and the request both hold; pre-releases and free-threaded builds come only when asked for."""
    versions = ["3.12.9", "3.13.9", "3.13.10", "3.14.2", "3.13.10t", "3.14.2t", "3.15.0a1", "3.15.0a2", "3.15.0a2t"]
    for order in (versions, versions[::-1]):
        archive = select_archive(
            catalog_of(*(name_of(version, "20251202") for version in order)),
            Wanted(requires_python, None if request_text is None else parse_request(request_text)),
            GNU,
        )

        assert archive.label == expected


def test_the_newest_build_of_a_version_comes_first_and_stripped_before_not() -> None:
    """Among equal versions the tag decides, among equal tags the smaller archive."""
    names = [
        name_of("3.13.5", "20250612"),
        name_of("3.13.5", "20250723", flavor="install_only"),
        name_of("3.13.4", "20260101"),
        name_of("3.13.5", "20250723"),
    ]
    matching = matching_archives(catalog_of(*names), Wanted(""), GNU)

    assert [archive.filename for archive in matching] == [names[3], names[1], names[0], names[2]]


def test_a_higher_cpu_level_is_selected_only_by_its_own_name() -> None:
    """A build for x86_64_v3 may not run where x86_64 does."""
    catalog = catalog_of(name_of("3.13.5", "20250723"), name_of("3.13.6", "20250814", "x86_64_v3-unknown-linux-gnu"))
    selected = [select_archive(catalog, Wanted(""), triple).version for triple in (GNU, "x86_64_v3-unknown-linux-gnu")]

    assert selected == ["3.13.5", "3.13.6"]


@pytest.mark.parametrize(
    ("version", "tag", "usable"),
    [
        pytest.param("3.13.2", "20250212", False, id="last static tag"),
        pytest.param("3.13.2", "20250311", True, id="first dynamic tag"),
        pytest.param("3.12.9", "20250311", False, id="3.12 dynamic with the SOABI of glibc"),
        pytest.param("3.12.12", "20251014", False, id="3.12 at the last wrong tag"),
        pytest.param("3.12.12", "20251028", True, id="3.12 at the first right tag"),
        pytest.param("3.9.25", "20251028", True, id="3.9 at the first right tag"),
    ],
)
@pytest.mark.parametrize("triple", [MUSL, "x86_64_v2-unknown-linux-musl", GNU])
def test_musl_builds_that_cannot_load_native_modules_are_never_selected(
    triple: str, version: str, tag: str, usable: bool
) -> None:
    """Static ones and those with the wrong SOABI are left out on musl (PBS#541, PBS#724), whatever is asked for."""
    catalog = catalog_of(name_of(version, tag, triple))
    matching = matching_archives(catalog, Wanted("", parse_request(version)), triple)

    assert matching == (catalog if usable or triple == GNU else ())


def test_an_older_usable_musl_build_is_preferred_to_a_newer_unusable_one() -> None:
    """A version that was only built wrongly does not hide the one before it."""
    catalog = catalog_of(name_of("3.12.12", "20251014", MUSL), name_of("3.12.11", "20251031", MUSL))

    assert select_archive(catalog, Wanted(""), MUSL).version == "3.12.11"


@pytest.mark.parametrize(
    ("requires_python", "request_text", "subject"),
    [
        pytest.param(">=3.17", None, "satisfies requires-python '>=3.17' on", id="requires-python"),
        pytest.param("", "3.7", "satisfies python '3.7' on", id="request"),
        pytest.param(">=3.13", "3.11", "satisfies requires-python '>=3.13' and python '3.11' on", id="both"),
        pytest.param("", "3.7", "satisfies python '3.7' on", id="empty requires-python"),
    ],
)
def test_nothing_that_satisfies_is_an_error_that_lists_what_there_is(
    requires_python: str, request_text: str | None, subject: str
) -> None:
    """The message names what was wanted, the hint the newest version of each minor, a pre-release only if alone."""
    versions = ["3.11.13", "3.11.14", "3.13.9", "3.13.10", "3.15.0a1", "3.14.0", "3.14.1rc1", "3.13.11t"]
    with pytest.raises(NoMatchingArchiveError) as caught:
        select_archive(
            catalog_of(*(name_of(version, "20251202", MUSL) for version in versions), name_of("3.12.1", "20251202")),
            Wanted(requires_python, None if request_text is None else parse_request(request_text)),
            MUSL,
        )

    assert str(caught.value) == (
        f"no CPython archive {subject} x86_64-unknown-linux-musl\n"
        "  archives for this platform: 3.11.14, 3.13.10, 3.14.0, 3.15.0a1"
    )


def test_a_free_threaded_request_is_answered_with_the_free_threaded_builds() -> None:
    """The hint lists what the request could have named."""
    with pytest.raises(NoMatchingArchiveError) as caught:
        select_archive(
            catalog_of(*(name_of(version, "20251202") for version in ("3.12.12", "3.13.9t", "3.14.1t"))),
            Wanted("", parse_request("3.12t")),
            GNU,
        )

    assert str(caught.value) == (
        "no CPython archive satisfies python '3.12t' on x86_64-unknown-linux-gnu\n"
        "  archives for this platform: 3.13.9t, 3.14.1t"
    )


@pytest.mark.parametrize(
    ("triple", "hint"),
    [
        pytest.param(
            "armv7-unknown-linux-musleabihf",
            "there are archives for armv7 on other platforms: armv7-unknown-linux-gnueabihf",
            id="same architecture",
        ),
        pytest.param(
            "loongarch64-unknown-linux-gnu",
            "there are archives for these platforms: armv7-unknown-linux-gnueabihf, ppc64le-unknown-linux-gnu",
            id="unknown architecture",
        ),
        pytest.param(
            "aarch64-unknown-linux-gnu",
            "there are archives for these platforms: armv7-unknown-linux-gnueabihf, ppc64le-unknown-linux-gnu",
            id="architecture of another system",
        ),
    ],
)
def test_a_platform_without_archives_is_an_error_that_lists_platforms(triple: str, hint: str) -> None:
    """The hint names those of the same system and architecture, or of the same system, without CPU levels."""
    platforms = (
        "ppc64le-unknown-linux-gnu",
        "armv7-unknown-linux-gnueabihf",
        "aarch64-apple-darwin",
        "x86_64_v3-unknown-linux-gnu",
    )
    with pytest.raises(NoMatchingArchiveError) as caught:
        select_archive(
            catalog_of(*(name_of("3.13.9", "20251202", platform) for platform in platforms)),
            Wanted(">=3.12"),
            triple,
        )

    assert str(caught.value) == f"no CPython archive satisfies requires-python '>=3.12' on {triple}\n  {hint}"


def test_a_platform_without_built_in_data_is_answered_from_the_built_in_platforms() -> None:
    """An empty catalog is that of a platform there is no file for."""
    with pytest.raises(NoMatchingArchiveError) as caught:
        select_archive((), Wanted(""), "i686-unknown-linux-musl")

    assert str(caught.value) == (
        "there is no CPython archive for i686-unknown-linux-musl\n"
        "  there are archives for i686 on other platforms: i686-unknown-linux-gnu"
    )


def test_a_catalog_of_unusable_musl_builds_says_why_they_are_unusable() -> None:
    """A mirror of old musl builds is not reported as empty."""
    with pytest.raises(NoMatchingArchiveError) as caught:
        select_archive(catalog_of(name_of("3.12.9", "20250212", MUSL)), Wanted(""), MUSL)

    assert caught.value.hint == (
        "the archives for this platform are musl builds that cannot load native modules (tag below 20250311)"
        " or give them the suffix of glibc (tag below 20251028)"
    )
