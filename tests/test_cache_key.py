"""`provision-backend cache key`: changes exactly when what would be provisioned does, and needs nothing to be there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest
from support.locked_projects import lock_to, package_of
from support.mirrors import GNU, MUSL, archive_name, content_of, offer_small, run_key, sha256
from support.projects import pure
from support.servers import ArchiveServer
from support.toys import toy_wheel

from provision_backend.cache.entries import FORMAT
from provision_backend.errors import NoMatchingArchiveError, OfflineError, ProjectError, UsageError

ROOT = Path(__file__).resolve().parent.parent
V312 = archive_name("3.12.12")
V313 = archive_name("3.13.9")
MUSL_313 = archive_name("3.13.9", MUSL)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Give a catalog; the archives that it lists are nowhere."""
    folder = offer_small(tmp_path / "catalog", V312, V313, MUSL_313)
    for path in folder.glob("*.gz"):
        path.unlink()
    return folder / "SHA256SUMS"


@pytest.fixture
def settings(catalog: Path) -> Dict[str, str]:
    """Give settings for a certain platform."""
    return {"catalog": str(catalog), "target": GNU}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project in the current folder."""
    folder = pure(tmp_path / "project", requires_python=">=3.12")
    monkeypatch.chdir(folder)
    return folder


def expected(name: str, label: str, triple: str) -> str:
    """Return the key of one archive."""
    return f"provision-backend-{FORMAT}-cpython-{label}-20251120-{triple}-{sha256(content_of(name))[:8]}"


def test_the_key_is_that_of_what_a_build_would_select(project: Path, settings: Dict[str, str]) -> None:
    """It names version, tag, platform and hash of the archive, and the layout of the cache."""
    answer = run_key(**settings)

    assert answer.lines == [expected(V313, "3.13.9", GNU)]
    assert answer.code == 0
    assert answer.told == []


def test_json_has_the_parts(project: Path, settings: Dict[str, str]) -> None:
    """Programs get each part for itself, with the whole hash."""
    assert run_key(**settings).data == {
        "key": expected(V313, "3.13.9", GNU),
        "layout": FORMAT,
        "archives": [
            {
                "key": f"cpython-3.13.9-20251120-{GNU}-{sha256(content_of(V313))[:8]}",
                "version": "3.13.9",
                "tag": "20251120",
                "triple": GNU,
                "sha256": sha256(content_of(V313)),
                "filename": V313,
            }
        ],
        "requirements": None,
    }


def test_the_key_stays_where_nothing_changes_that_counts(project: Path, settings: Dict[str, str]) -> None:
    """Other archives, other lines, another order, another project of the same wish: the same key."""
    before = run_key(**settings).lines
    offer_small(project.parent / "more", archive_name("3.11.2"), MUSL_313, V313, V312)
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    (project / "pyproject.toml").write_text(text.replace(">=3.12", ">=3.10,<4").replace("pure", "other"), "utf-8")

    assert run_key(**{**settings, "catalog": str(project.parent / "more")}).lines == before


@pytest.mark.parametrize(
    ("names", "requires_python", "target"),
    [
        ([V312, V313, archive_name("3.13.10")], ">=3.12", GNU),
        ([V312, archive_name("3.13.9", tag="20251201")], ">=3.12", GNU),
        ([V312, V313], ">=3.12,<3.13", GNU),
        ([V312, V313, MUSL_313], ">=3.12", MUSL),
    ],
    ids=["newer version", "newer build", "another request", "another platform"],
)
def test_the_key_changes_with_what_would_be_provisioned(
    project: Path, settings: Dict[str, str], names: list[str], requires_python: str, target: str
) -> None:
    """Each part that counts makes another key."""
    before = run_key(**settings).lines
    folder = offer_small(project.parent / "changed", *names)
    pure(project, requires_python=requires_python)

    assert run_key(catalog=str(folder), target=target).lines != before


def test_another_hash_of_the_same_name_is_another_key(project: Path, settings: Dict[str, str], catalog: Path) -> None:
    """A catalog of one's own may have repacked the same version."""
    before = run_key(**settings).lines
    text = catalog.read_text(encoding="ascii")
    catalog.write_text(text.replace(sha256(content_of(V313)), "0" * 64), encoding="ascii")

    assert run_key(**settings).lines != before


def test_the_settings_of_a_build_count(
    project: Path, settings: Dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who builds may choose among the satisfying interpreters, and so may the project."""
    monkeypatch.setenv("PROVISION_BACKEND_PYTHON", "3.12")
    by_setting = run_key(**settings).lines
    monkeypatch.delenv("PROVISION_BACKEND_PYTHON")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('python = "3.12"\n')

    assert by_setting == run_key(**settings).lines == [expected(V312, "3.12.12", GNU)]


def test_a_lock_is_what_counts(project: Path, settings: Dict[str, str]) -> None:
    """A locked project keeps its key when the catalog moves on; that of another build is another one."""
    old = archive_name("3.12.4", tag="20240814")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"[tool.provision-backend.lock]\narchives = ['{sha256(content_of(old))}  {old}']\n")

    answer = run_key(**settings)

    digest = sha256(content_of(old))[:8]
    assert answer.lines == [f"provision-backend-{FORMAT}-cpython-3.12.4-20240814-{GNU}-{digest}"]


def test_locked_requirements_count(project: Path, settings: Dict[str, str], tmp_path: Path) -> None:
    """Another version of a build tool is another environment, and so another key; the same lock has the same one."""
    archive = offer_small(tmp_path / "locked", V312) / V312
    # Each is made once: the wheel of another second would have another hash.
    wheels = {version: toy_wheel(tmp_path / "wheels", "flit_core", version) for version in ("3.12", "3.11")}
    keys = []
    for version in ("3.12", "3.11", "3.12"):
        lock_to(project, archive, [package_of(wheels[version])])
        answer = run_key(**settings)
        keys.append(answer.lines[0])
        start = f"{expected(V312, '3.12.12', GNU)}-"
        assert answer.lines == [start + answer.data["requirements"][:8]]
    assert keys[0] == keys[2] != keys[1]
    # Who overrides the lock gets no locked environment, and who asks for interpreters none of the project.
    assert run_key(**settings, python="3.13").lines == [expected(V313, "3.13.9", GNU)]
    assert run_key("--python", "3.13", **settings).data["requirements"] is None


def test_several_archives_have_one_short_key(settings: Dict[str, str]) -> None:
    """A matrix that shares a cache has one key, whatever the order and the repetitions."""
    one = run_key("--python", "3.12", "--python", "3.13", **settings).lines
    two = run_key("--python", "3.13", "--python", "3.12", "--python", ">=3.13", **settings).lines
    more = run_key("--python", "3.13", "--target", GNU, "--target", MUSL, **settings).lines

    assert one == two != more
    assert re.fullmatch(rf"provision-backend-{FORMAT}-2-interpreters-[0-9a-f]{{16}}", one[0])


def test_the_key_is_what_ci_systems_take() -> None:
    """No comma, slash or white space, and far below GitHub's 512 characters, for every built-in platform."""
    from provision_backend.catalog.selection import builtin_triples

    for triple in builtin_triples():
        (key,) = run_key("--python", "3", "--target", triple).lines
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,120}", key)


def test_nothing_is_written_and_nothing_asked(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this very host, with an empty cache and a network that would fail, the key is there."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    code = (
        "import sys; from support.mirrors import run_key; print(run_key().lines[0]);"
        "assert not {'http.client', 'ssl'} & set(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"provision-backend-{FORMAT}-cpython-3.")
    assert not (tmp_path / "cache").exists()


def test_a_catalog_by_url_is_not_asked(project: Path, catalog: Path) -> None:
    """Without a copy of it there is no key, and the message says how to get one."""
    with ArchiveServer({"/SHA256SUMS": catalog.read_bytes()}) as server:
        with pytest.raises(OfflineError) as caught:
            run_key(catalog=f"{server.url}/SHA256SUMS", target=GNU)

        assert server.requests == []
    assert str(caught.value) == (
        "the catalog is given by URL and the cache has no copy of it; a key is made without network\n"
        "  run 'provision-backend list' first, which keeps a copy, or give the catalog by a path"
    )


def test_a_catalog_by_url_that_was_kept_serves(project: Path, catalog: Path) -> None:
    """What a command that may use the network has fetched is used."""
    from provision_backend.cache.store import open_cache
    from provision_backend.install.catalogs import load_archives
    from provision_backend.output import Reporter
    from provision_backend.settings import load_settings

    with ArchiveServer({"/SHA256SUMS": catalog.read_bytes()}) as server:
        url = f"{server.url}/SHA256SUMS"
        loaded = load_settings(flags={"catalog": url})
        load_archives(loaded, GNU, open_cache(loaded), Reporter())
        answer = run_key(catalog=url, target=GNU)

        assert len(server.requests) == 1
    assert answer.lines == [expected(V313, "3.13.9", GNU)]


def test_without_project_or_request_it_is_wrong_use(
    tmp_path: Path, settings: Dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something has to say what is wanted."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match=r"there is no pyproject\.toml in '.*'\n  request one: --python '>=3\.12'"):
        run_key(**settings)


def test_an_unknown_target_is_wrong_use(settings: Dict[str, str]) -> None:
    """As for list and install; a vendor may be left out."""
    with pytest.raises(UsageError) as caught:
        run_key("--python", "3.13", "--target", "x86_64-unknown-linux-mull", **settings)

    assert str(caught.value) == (
        "unknown target 'x86_64-unknown-linux-mull'\n  did you mean x86_64-unknown-linux-musl?"
    )
    short = run_key("--python", "3.13", "--target", "aarch64-linux-musl", **settings)
    assert short.lines == [expected(MUSL_313, "3.13.9", MUSL)]


def test_a_project_that_does_not_build_through_us_is_refused(project: Path, settings: Dict[str, str]) -> None:
    """Its table has no effect on a build, so a key for what it says would be one for nothing."""
    path = project / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('"provision_backend"', '"b"'), encoding="utf-8")

    with pytest.raises(ProjectError) as caught:
        run_key(**settings)

    assert str(caught.value).splitlines()[0] == (
        "pyproject.toml: [tool.provision-backend] exists, but the build-backend is 'b'"
    )


def test_what_cannot_be_provisioned_has_no_key(settings: Dict[str, str]) -> None:
    """The message is that of a build."""
    with pytest.raises(NoMatchingArchiveError, match=f"no CPython archive satisfies python '3.9' on {GNU}"):
        run_key("--python", "3.9", **settings)
