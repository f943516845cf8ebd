"""The composition root with a real archive: what is found, what is provided, and what is never asked for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from support.real_interpreters import host_interpreters
from support.servers import ArchiveServer
from support.toys import ROOT, another_interpreter

from provision_backend.catalog.wanted import Wanted
from provision_backend.errors import (
    DownloadError,
    HostError,
    InterpreterError,
    MissingDependencyError,
    NoMatchingArchiveError,
    OfflineError,
    UsageError,
)
from provision_backend.output import Reporter
from provision_backend.provision import explain, find, find_any, provision
from provision_backend.settings import Settings
from provision_backend.versions import parse_request

pytestmark = pytest.mark.slow

ANY = Wanted(">=3.8")
QUIET = Reporter(verbosity=-1)


def wanted(requires_python: str = ">=3.8", request: str = "") -> Wanted:
    return Wanted(requires_python, parse_request(request) if request else None)


@pytest.fixture(scope="module")
def warm(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings whose cache holds the interpreter of the mirror."""
    settings = local(mirror, tmp_path_factory.mktemp("warm") / "cache")
    provision(ANY, settings, QUIET)
    return settings


def local(folder: Path, cache: Path, **more: Any) -> Settings:
    """Return settings for a folder that is a mirror and has its catalog."""
    values = {"mirror": (str(folder),), "catalog": str(folder / "SHA256SUMS"), "preference": "only-managed"}
    return Settings(**{**values, "cache_dir": str(cache), "retries": 0, **more})


def listed(mirror: Path) -> Any:
    """Return sha256, file name, version and triple of the archive of a mirror."""
    digest, name = (mirror / "SHA256SUMS").read_text().split()[:2]
    triple = name.partition("-install_only")[0].split("-", 2)[2]
    return digest, name, name.split("-")[1].partition("+")[0], triple


class TestProvision:
    """`provision` and `find` decide alike (`only-managed`)."""

    def test_first_it_is_made_then_it_is_found(self, mirror: Path, tmp_path: Path) -> None:
        """`find` neither makes a cache nor fetches; afterwards it returns what `provision` has returned."""
        settings = local(mirror, tmp_path / "cache")
        assert find(ANY, settings, QUIET) is None
        assert not (tmp_path / "cache").exists()
        made = provision(ANY, settings, QUIET)

        digest, _, version, triple = listed(mirror)
        assert (made.version, made.sha256, made.triple, made.source) == (version, digest, triple, "managed")
        assert find(ANY, settings, QUIET) == made == provision(ANY, settings, QUIET)
        answer = subprocess.check_output([made.executable, "-I", "-c", "import sys; print(sys.version.split()[0])"])
        assert answer.decode().strip() == version
        assert list((tmp_path / "cache" / "downloads").iterdir()) == []

    def test_nothing_satisfies(self, warm: Settings) -> None:
        """Both say so alike."""
        for function in (find, provision):
            with pytest.raises(NoMatchingArchiveError, match=r"no CPython archive satisfies requires-python '>=3\.99'"):
                function(wanted(">=3.99"), warm, QUIET)

    def test_an_archive_of_which_nothing_can_be_made_does_not_stay(self, mirror: Path, tmp_path: Path) -> None:
        """It is fetched again the next time, from a mirror that may have been repaired."""
        name = listed(mirror)[1]
        (tmp_path / "mirror").mkdir()
        (tmp_path / "mirror" / name).write_bytes(b"no archive")
        line = f"{hashlib.sha256(b'no archive').hexdigest()}  {name}\n"
        (tmp_path / "mirror" / "SHA256SUMS").write_text(line)
        settings = local(tmp_path / "mirror", tmp_path / "cache")
        with pytest.raises(Exception, match="could not unpack"):
            provision(ANY, settings, QUIET)

        assert [path for path in (tmp_path / "cache" / "downloads").rglob("*") if path.is_file()] == []

    def test_without_pyelftools_nothing_is_fetched(
        self, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The package is needed only when all is unpacked, and told before anything is asked for or left behind."""
        monkeypatch.setitem(sys.modules, "elftools", None)
        with ArchiveServer(root=mirror) as server:
            settings = local(mirror, tmp_path / "cache", mirror=(server.url,), target=listed(mirror)[3])
            with pytest.raises(MissingDependencyError, match="the package 'pyelftools' is needed to read the exec"):
                provision(ANY, settings, QUIET)

        assert server.requests == []
        assert [list((tmp_path / "cache" / name).iterdir()) for name in ("staging", "downloads")] == [[], []]

    def test_a_missing_package_is_no_answer_for_find(self, warm: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the host cannot be told without pyelftools, the frontend has to install it first."""

        def detect(*_: object) -> None:
            raise MissingDependencyError("pyelftools", "read ELF files")

        monkeypatch.setattr("provision_backend.provision.current_platform", detect)

        assert find(ANY, warm, QUIET) is None
        with pytest.raises(MissingDependencyError):
            provision(ANY, warm, QUIET)


class TestOffline:
    """With ``offline``."""

    def test_another_minor_version_in_the_cache_is_named_and_not_used(
        self, warm: Settings, mirror: Path, tmp_path: Path
    ) -> None:
        """The tag of a wheel must not depend on what a cache holds; a person can choose it, and `find_any` shows it."""
        digest, name, version, _ = listed(mirror)
        catalog = tmp_path / "SHA256SUMS"
        catalog.write_text(f"{digest}  {name}\n{'1' * 64}  {name.replace(version, '3.99.0')}\n")
        online = local(mirror, Path(warm.cache_dir), catalog=str(catalog), mirror=())
        offline = online._replace(offline=True)
        with pytest.raises(OfflineError) as caught:
            provision(ANY, offline, QUIET)

        minor = version.rpartition(".")[0]
        assert caught.value.hint.splitlines()[-1] == (
            f"the cache has CPython {version}, which satisfies it too: PROVISION_BACKEND_PYTHON={minor}"
        )
        assert find(ANY, online, QUIET) is find(ANY, offline, QUIET) is None
        for settings in (online, offline):
            found = find_any(ANY, settings, QUIET)
            assert found is not None
            assert found.version == version
        assert provision(wanted(request=minor), offline, QUIET).version == version

    def test_nothing_in_the_cache_is_an_error_that_names_it(self, mirror: Path, tmp_path: Path) -> None:
        """The way out is told."""
        settings = local(mirror, tmp_path / "cache", offline=True, mirror=("https://mirror.example",))
        with pytest.raises(OfflineError, match=r"-install_only.* is not in the cache, and offline is set") as caught:
            provision(ANY, settings, QUIET)

        assert str(tmp_path / "cache") in caught.value.hint
        assert find(ANY, settings, QUIET) is None

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_a_local_mirror_needs_no_network(self, mirror: Path, tmp_path: Path, prefix: str) -> None:
        """A folder is as good offline."""
        settings = local(mirror, tmp_path / "cache", offline=True, mirror=(prefix + str(mirror),))

        assert provision(ANY, settings, QUIET).version == listed(mirror)[2]


class TestPatchReleases:
    """Of the minor version that is selected, the newest patch release in a cache serves."""

    @pytest.fixture
    def newer(self, warm: Settings, mirror: Path, tmp_path: Path) -> Settings:
        """Return settings whose catalog has a newer patch release than the cache, and no source for it."""
        digest, name, version, _ = listed(mirror)
        minor = version.rpartition(".")[0]
        catalog = tmp_path / "SHA256SUMS"
        catalog.write_text(f"{digest}  {name}\n{'1' * 64}  {name.replace(version, minor + '.99')}\n")
        return local(tmp_path, Path(warm.cache_dir), catalog=str(catalog))

    def test_a_newer_one_in_the_catalog_is_not_fetched(self, newer: Settings, mirror: Path) -> None:
        """A build does not become slow, or fail, since there was a release."""
        for function in (find, provision):
            found = function(ANY, newer, QUIET)
            assert found is not None
            assert found.version == listed(mirror)[2]

    def test_it_is_fetched_where_it_is_asked_for(self, newer: Settings, mirror: Path) -> None:
        """A request for exactly that release, and one for the newest, are not served by an older one."""
        minor = listed(mirror)[2].rpartition(".")[0]
        exact = wanted(request=f"{minor}.99")

        assert find(exact, newer, QUIET) is None
        with pytest.raises(DownloadError, match=rf"{minor}\.99"):
            provision(exact, newer, QUIET)
        with pytest.raises(DownloadError, match=rf"{minor}\.99"):
            provision(ANY, newer, QUIET, upgrade=True)


class TestExplain:
    """`explain`: what a decision was made of."""

    def test_the_archive_that_would_be_installed(self, mirror: Path, tmp_path: Path) -> None:
        """Nothing is made or fetched, and everything that leads to it is there."""
        explanation = explain(ANY, local(mirror, tmp_path / "cache"), QUIET)

        digest, name, _, triple = listed(mirror)
        assert explanation.choice is not None
        assert (explanation.choice.archive.filename, explanation.choice.archive.sha256) == (name, digest)
        assert (explanation.triple, explanation.choice.platform.triple) == (triple, triple)
        assert explanation.archives is not None
        assert [archive.filename for archive in explanation.archives] == [name]
        assert (explanation.interpreter, explanation.error, explanation.reason) == (None, None, None)
        assert not (tmp_path / "cache").exists()

    def test_the_interpreters_that_were_passed_over(self) -> None:
        """Each is named with what it is, or with what its path says that it is."""
        host = another_interpreter()
        explanation = explain(wanted(f"!={host.version},>=3.99"), Settings(preference="only-system"), QUIET)

        assert isinstance(explanation.error, InterpreterError)
        assert any(host.version in reason for _, reason in explanation.passed_over)

    @pytest.mark.parametrize("preference", ["managed", "only-managed"])
    def test_an_error_is_part_of_it(self, mirror: Path, tmp_path: Path, preference: str) -> None:
        """It is not raised, and what was found before it is kept."""
        explanation = explain(wanted(">=3.99"), local(mirror, tmp_path, preference=preference), QUIET)

        assert isinstance(explanation.error, NoMatchingArchiveError)
        assert explanation.archives is not None


class TestRemoteCatalog:
    """A catalog that is given by URL, on loopback."""

    @pytest.fixture
    def server(self, mirror: Path) -> Iterator[ArchiveServer]:
        """Return a server that has the mirror."""
        with ArchiveServer(root=mirror) as server:
            yield server

    def settings(self, server: ArchiveServer, mirror: Path, cache: Path) -> Settings:
        """Return settings by which everything comes from the server."""
        return local(mirror, cache, catalog=f"{server.url}/SHA256SUMS", mirror=(server.url,))

    def test_a_second_build_makes_no_request(self, server: ArchiveServer, mirror: Path, tmp_path: Path) -> None:
        """Within ten minutes the copy serves, for every function."""
        settings = self.settings(server, mirror, tmp_path / "cache")
        made = provision(ANY, settings, QUIET)
        before = len(server.requests)

        assert before == 3  # The catalog, and the archive in two layouts.
        assert find(ANY, settings, QUIET) == provision(ANY, settings, QUIET) == made
        assert len(server.requests) == before

    @pytest.mark.parametrize("age", [None, 3600], ids=["no copy", "an old copy"])
    def test_find_does_not_fetch_it(self, server: ArchiveServer, mirror: Path, tmp_path: Path, age: Any) -> None:
        """``hasattr`` must never go to the network; the answer is that something has to be fetched."""
        settings = self.settings(server, mirror, tmp_path / "cache")
        if age:
            provision(ANY, settings, QUIET)
            for copy in (tmp_path / "cache" / "catalogs").iterdir():
                os.utime(str(copy), (copy.stat().st_mtime - age,) * 2)
        before = len(server.requests)

        assert find(ANY, settings, QUIET) is None
        assert len(server.requests) == before


class TestTarget:
    """The setting ``target``."""

    def test_it_replaces_host_detection(self, mirror: Path, tmp_path: Path) -> None:
        """The catalog is searched for that triple, and nothing is said of this host."""
        with pytest.raises(NoMatchingArchiveError, match="on aarch64-unknown-linux-musl"):
            provision(ANY, local(mirror, tmp_path, target="aarch64-unknown-linux-musl"), QUIET)

    def test_the_hosts_own_works_as_without(self, mirror: Path, tmp_path: Path) -> None:
        """It is provisioned, and the host is not remembered."""
        made = provision(ANY, local(mirror, tmp_path / "cache", target=listed(mirror)[3]), QUIET)

        assert made.triple == listed(mirror)[3]
        assert list((tmp_path / "cache" / "platforms").iterdir()) == []

    def test_nonsense_is_refused(self, mirror: Path, tmp_path: Path) -> None:
        """A wrong triple is a usage error, also for `find`."""
        for function in (find, provision):
            with pytest.raises(UsageError, match="nonsense"):
                function(ANY, local(mirror, tmp_path, target="nonsense"), QUIET)


class TestPreferences:
    """Which interpreters may be used."""

    @pytest.fixture
    def _unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Simulate a host that is not identified."""

        def detect(*_: object) -> None:
            raise HostError("could not identify the libc of this host")

        monkeypatch.setattr("provision_backend.provision.current_platform", detect)

    def own(self) -> Wanted:
        """Return what only one interpreter of this machine is: its full version."""
        return wanted(f"=={another_interpreter().version}")

    @pytest.mark.parametrize("preference", ["system", "only-system"])
    def test_one_of_the_machine_is_preferred(self, preference: str) -> None:
        """Nothing is looked up in the cache."""
        settings = Settings(preference=preference, cache_dir="/nowhere")
        for function in (find, provision):
            found = function(self.own(), settings, QUIET)
            assert found is not None
            assert (found.source, found.version) == ("system", another_interpreter().version)

    def test_system_takes_a_managed_one_where_there_is_none(self, warm: Settings) -> None:
        """The order is: the machine, then the cache; what neither has is the catalog's error."""
        versions = {host.version for host in host_interpreters()}
        settings = warm._replace(preference="system")
        found = find(wanted(), settings, QUIET)
        assert found is not None
        assert found.version in versions
        with pytest.raises(NoMatchingArchiveError):
            find(wanted(">=3.99"), settings, QUIET)

    def test_only_system_has_no_other(self) -> None:
        """The message names the way out."""
        with pytest.raises(InterpreterError) as caught:
            provision(wanted(">=3.99"), Settings(preference="only-system"), QUIET)

        assert str(caught.value) == (
            "no interpreter of this machine satisfies requires-python '>=3.99'\n"
            "  install one, or allow others with preference = system or managed"
        )

    @pytest.mark.usefixtures("_unknown")
    def test_managed_falls_back_where_no_archive_can_serve(self, capsys: pytest.CaptureFixture[str]) -> None:
        """An unidentified host may have what is wanted; it is said which one is used, and why."""
        found = provision(self.own(), Settings(), Reporter())

        assert found.version == another_interpreter().version
        assert capsys.readouterr().err == (
            "provision-backend: could not identify the libc of this host; "
            f"using {found.executable} (CPython {found.version}) of this machine\n"
        )

    @pytest.mark.usefixtures("_unknown")
    def test_managed_without_any_is_the_first_error(self) -> None:
        """What stops provisioning is what is told."""
        with pytest.raises(HostError, match="could not identify the libc of this host"):
            provision(wanted(">=3.99"), Settings(), QUIET)

    @pytest.mark.usefixtures("_unknown")
    def test_only_managed_does_not_fall_back(self) -> None:
        """Whoever says so means it."""
        with pytest.raises(HostError):
            provision(self.own(), Settings(preference="only-managed"), QUIET)

    def test_find_any_takes_one_of_the_machine(self, mirror: Path, tmp_path: Path) -> None:
        """What is there already will do, though `provision` would fetch another."""
        settings = local(mirror, tmp_path / "cache", preference="managed")
        found = find_any(wanted(f"<={another_interpreter().version}"), settings, QUIET)

        assert found is not None
        assert found.source == "system"
        only_managed = local(mirror, tmp_path / "cache")
        assert find_any(ANY, only_managed, QUIET) is None


class TestGiven:
    """The setting ``python`` as a path."""

    def given(self, path: Path, requires_python: str = ">=3.8") -> Wanted:
        """Return what the setting makes of a path."""
        return Wanted(requires_python, None, str(path))

    def test_it_is_used_as_it_is(self) -> None:
        """Nothing else is looked at."""
        host = another_interpreter()
        found = provision(self.given(host.path), Settings(cache_dir="/nowhere"), QUIET)

        assert (found.source, found.version, found.executable) == ("given", host.version, str(host.path))

    def test_a_virtual_environments_stands_for_its_base(self, tmp_path: Path) -> None:
        """An environment made from a link to an interpreter looks for its home beside the link."""
        host = another_interpreter()
        subprocess.run([str(host.path), "-I", "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
        found = find(self.given(tmp_path / "venv" / "bin" / "python"), Settings(), QUIET)

        assert found is not None
        assert found.executable == str(host.path)

    def test_one_that_does_not_exist(self, tmp_path: Path) -> None:
        """Where the path was written is told."""
        settings = Settings(origins=(("python", "PROVISION_BACKEND_PYTHON"),))
        with pytest.raises(UsageError) as caught:
            provision(self.given(tmp_path / "python"), settings, QUIET)

        assert str(caught.value) == f"PROVISION_BACKEND_PYTHON names '{tmp_path}/python', which does not exist"

    def test_one_that_is_a_folder(self, tmp_path: Path) -> None:
        """An environment is no interpreter, and starting it would end in advice on permissions."""
        settings = Settings(origins=(("python", "PROVISION_BACKEND_PYTHON"),))
        with pytest.raises(UsageError) as caught:
            provision(self.given(tmp_path), settings, QUIET)

        assert str(caught.value) == (
            f"PROVISION_BACKEND_PYTHON names '{tmp_path}', which is a folder\n"
            "  name the interpreter in it, such as bin/python3"
        )

    def test_one_that_does_not_satisfy(self) -> None:
        """The version that it is and the one that is wanted are told."""
        host = another_interpreter()
        settings = Settings(origins=(("python", "PROVISION_BACKEND_PYTHON"),))
        with pytest.raises(InterpreterError) as caught:
            provision(self.given(host.path, ">=3.99"), settings, QUIET)

        assert str(caught.value) == (
            f"{host.path} is Python {host.version}, which does not satisfy requires-python '>=3.99'\n"
            "  it was named by PROVISION_BACKEND_PYTHON"
        )


def test_a_hit_needs_none_of_the_packages_that_provisioning_needs(warm: Settings, tmp_path: Path) -> None:
    """So a frontend is not asked to install them, and they need not be imported in each hook of each build."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "toy"\nrequires-python = ">=3.8"\n'
        '[tool.provision-backend]\nbuild-backend = "toy"\nrequires = []\n'
    )
    environ = {
        **os.environ,
        "PROVISION_BACKEND_CACHE_DIR": warm.cache_dir,
        "PROVISION_BACKEND_CATALOG": warm.catalog,
        "PROVISION_BACKEND_PREFERENCE": "only-managed",
    }
    hide = "import sys; sys.modules.update(dict.fromkeys(['elftools', 'filelock', 'httpx', 'httpx2']))"
    ask = "import provision_backend as b; print(b.get_requires_for_build_wheel(), *sys.modules)"
    # The first run, which has all packages, remembers what the host is.
    for first in ("import sys", hide):
        done = subprocess.run(
            [sys.executable, "-I", "-c", f"{first}; sys.path.append({str(ROOT)!r}); {ask}"],
            cwd=str(tmp_path),
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
    answer, *loaded = done.stdout.split()

    assert answer == "[]"
    assert "provision_backend.install.download" not in loaded
