"""Locked builds: the environment of exactly what is locked, made once, copied into each build, or refused.

Everything is real: an interpreter that is provisioned from an archive, pip and uv, wheels, an index on loopback.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

import pytest
from support.hosts import clean_environ, run_checked, wheelhouse
from support.locked_projects import index_of, lock_to, package_of
from support.real_interpreters import host_interpreters, standalone_archive
from support.servers import ArchiveServer
from support.toys import Host, host_environment, project_of, toy_wheel

from provision_backend.cache.entries import read_marker
from provision_backend.cache.manifest import verify_entry
from provision_backend.cache.platform import current_platform
from provision_backend.catalog.wanted import LockedRequirements, Wanted
from provision_backend.doctor.building import check_locked_build
from provision_backend.doctor.context import Context
from provision_backend.errors import BuildEnvironmentError, ProjectError
from provision_backend.hooks import locked as subject
from provision_backend.hooks.environment import BuildEnvironment
from provision_backend.hooks.installation import _difference
from provision_backend.hooks.installers import find_uv
from provision_backend.hooks.locked import Locked, _moved, copy_environment
from provision_backend.hooks.locked_wheels import LockedWheel, choose_wheels
from provision_backend.interpreter import Interpreter, inspect_interpreter
from provision_backend.output import Reporter
from provision_backend.project.pylock import PYLOCK
from provision_backend.provision import provision
from provision_backend.settings import Settings

pytestmark = pytest.mark.slow

_CATALOG = "PROVISION_BACKEND_CATALOG"
RELOCK = "run 'provision-backend lock' to lock the project again"


@pytest.fixture(scope="module")
def archive() -> Path:
    return standalone_archive("3.12")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, so that the interpreter is provisioned once."""
    return tmp_path_factory.mktemp("locked") / "cache"


@pytest.fixture(scope="module")
def variables(archive: Path, cache: Path) -> Dict[str, str]:
    return {
        "PROVISION_BACKEND_CACHE_DIR": str(cache),
        "PROVISION_BACKEND_MIRROR": str(archive.parent),
        _CATALOG: str(archive.parent / "SHA256SUMS"),
    }


@pytest.fixture(scope="module")
def interpreter(archive: Path, cache: Path) -> Interpreter:
    sources: Dict[str, Any] = {"mirror": (str(archive.parent),), "catalog": str(archive.parent / "SHA256SUMS")}
    return provision(Wanted(">=3.12"), Settings(cache_dir=str(cache), **sources), Reporter(), with_pip=True)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder of wheels: toy_tool, which has a command, and toy_needed."""
    # Each test locks other files, since all use one cache.
    toy_wheel(tmp_path / "wheels", "toy_tool", "1.0", [f"toy_{uuid.uuid4().hex}"], command="toy-tool")
    toy_wheel(tmp_path / "wheels", "toy_needed", "1.0", requires=["toy_never_there"])
    return tmp_path / "wheels"


@pytest.fixture(params=["pip", "uv"])
def installer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lock(interpreter: Interpreter, cache: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that locks packages; by default those of the folder, from which alone they are installed."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    for prefix in ("PIP", "UV"):
        monkeypatch.setenv(f"{prefix}_NO_INDEX", "1")
        monkeypatch.setenv(f"{prefix}_FIND_LINKS", str(wheels))

    def make(*packages: Dict[str, Any], dynamic: Sequence[str] = (), **settings: Any) -> Locked:
        found = packages or tuple(package_of(path) for path in sorted(wheels.glob("*.whl")))
        requirements = LockedRequirements(found, ("toy_tool",), tuple(dynamic), "toy")
        return Locked(interpreter, requirements, Settings(cache_dir=str(cache), **settings), Reporter())

    return make


class TestProvide:
    """`Locked.provide`, `Locked.find`, and copies."""

    def test_made_once_and_copied(self, lock: Any, installer: str, tmp_path: Path, interpreter: Interpreter) -> None:
        """A copy has what is locked and nothing else, runs where it is, and the original stays as it was published."""
        locked = lock(installer=installer)
        assert locked.find() is None
        stored = locked.provide(tmp_path)
        assert lock(installer=installer).find() == stored
        target = tmp_path / "a folder" / "of a build"
        target.mkdir(parents=True)
        copy_environment(stored, target)

        code = "import sys, toy_tool; print(sys.prefix, toy_tool.__cached__, sys.version.split()[0], sep='\\n')"
        environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        said = subprocess.run(
            [target / "bin/python", "-v", "-c", code], check=True, capture_output=True, text=True, env=environ
        )
        prefix, bytecode, version = said.stdout.splitlines()
        assert (prefix, version) == (str(target), interpreter.version)
        assert f"code object from '{bytecode}'" in said.stderr
        assert subprocess.run([target / "bin/toy-tool"], check=True, capture_output=True).stdout == b"toy_tool\n"
        assert not [path for path in target.rglob("*") if path.is_file() and str(stored.parent) in _text(path)]
        packages = {path.name for path in target.glob("lib/python*/site-packages/*.dist-info")}
        assert packages == {"toy_tool-1.0.dist-info", "toy_needed-1.0.dist-info"}
        assert not list(target.glob("provision-backend.*"))  # They say what the original is.
        assert verify_entry(stored) == []
        assert {path.stat().st_nlink for path in stored.rglob("*") if path.is_file() and not path.is_symlink()} == {1}

    def test_what_cannot_be_copied(self, lock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full disk, or a cache that is emptied at that moment, ends in a sentence."""
        locked = lock(installer="uv")
        stored = locked.provide(tmp_path)
        monkeypatch.setattr(Locked, "provide", lambda *_: stored)
        (tmp_path / "copy" / "bin" / "python").mkdir(parents=True)
        with pytest.raises(BuildEnvironmentError) as caught:
            locked.copy(tmp_path / "copy", tmp_path)
        assert caught.value.message.startswith(
            f"could not copy {stored} to {tmp_path / 'copy'}: [Errno 17] File exists: "
        )

        shutil.rmtree(str(stored))
        with pytest.raises(BuildEnvironmentError, match=f"^could not copy {stored} to .*"):
            locked.copy(tmp_path / "copy", tmp_path)

    def test_what_it_says_of_itself(self, lock: Any, wheels: Path, tmp_path: Path) -> None:
        """Which file was installed for each package, for the SBOM."""
        stored = lock(installer="uv").provide(tmp_path)

        packages = {name: package_of(next(wheels.glob(f"{name}-*"))) for name in ("toy_tool", "toy_needed")}
        assert read_marker(stored)["files"] == {
            name.replace("_", "-"): {
                "name": name.replace("_", "-"),
                "version": "1.0",
                "filename": f"{name}-1.0-py3-none-any.whl",
                "sha256": package["wheels"][0]["hashes"]["sha256"],
            }
            for name, package in packages.items()
        }

    def test_other_circumstances_are_other_environments(
        self, lock: Any, wheels: Path, monkeypatch: pytest.MonkeyPatch, interpreter: Interpreter
    ) -> None:
        """Packages, interpreter, and the host's libc decide what is in it; settings do not."""
        keys = {lock().key, lock(package_of(next(wheels.glob("toy_tool-*")))).key}
        assert {lock(installer="uv").key, lock(preference="only-managed").key} < keys
        mine = lock()
        other = Locked(interpreter._replace(executable="/x"), mine._requirements, mine._settings, Reporter())
        keys.add(other.key)
        older = current_platform(mine._settings, mine._cache)._replace(libc_version=(2, 17))
        monkeypatch.setattr(subject, "current_platform", lambda *_: older)
        keys.add(lock().key)

        assert len(keys) == 4

    def test_constraints_and_options_of_the_user_do_not_count(
        self, lock: Any, installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What decides about versions and sdists elsewhere has no say: everything is locked."""
        (tmp_path / "constraints.txt").write_text("toy_tool<1\n", encoding="ascii")
        for prefix in ("PIP", "UV"):
            for name in ("CONSTRAINT", "BUILD_CONSTRAINT"):
                monkeypatch.setenv(f"{prefix}_{name}", str(tmp_path / "constraints.txt"))
            monkeypatch.setenv(f"{prefix}_NO_BINARY", ":all:")

        assert lock(installer=installer).provide(tmp_path).is_dir()

    def test_wheels_of_a_mirror(self, lock: Any, installer: str, wheels: Path, tmp_path: Path) -> None:
        """A mirror that is a folder has some of them, and the folder of the installer's own setting the others."""
        packages = [package_of(path) for path in wheels.glob("*.whl")]
        (tmp_path / "mirror" / "wheels").mkdir(parents=True)
        tool = next(wheels.glob("toy_tool-*"))
        tool.rename(tmp_path / "mirror" / "wheels" / tool.name)

        assert lock(*packages, installer=installer, mirror=(str(tmp_path / "mirror"),)).provide(tmp_path).is_dir()


class TestMoved:
    """`_moved`: programs of a copy are those of its place."""

    OLD, NEW = b"/cache/staging/x", b"/tmp/build"

    @pytest.mark.parametrize(
        ("before", "new", "after"),
        [
            (b"#!/cache/staging/x/bin/python\nimport x\n", NEW, b"#!/tmp/build/bin/python\nimport x\n"),
            (
                b"#!/cache/staging/x/bin/python\nimport x\n",
                b"/tmp/a b",
                b"#!/bin/sh\n'''exec' \"/tmp/a b/bin/python\" \"$0\" \"$@\"\n' '''\nimport x\n",
            ),
            (
                b"#!/bin/sh\n'''exec' '/cache/staging/x/bin/python' \"$0\" \"$@\"\n' '''\nimport x\n",
                NEW,
                b"#!/tmp/build/bin/python\nimport x\n",
            ),
            (b"#!/bin/sh\necho /cache/staging/x\n", NEW, b"#!/bin/sh\necho /tmp/build\n"),
            (b"#!/usr/bin/env bash\necho\n", NEW, b"#!/usr/bin/env bash\necho\n"),
            (b"#!/cache/staging/x/bin/python -E\nimport x\n", NEW, b"#!/tmp/build/bin/python -E\nimport x\n"),
            (
                b"#!/bin/sh\n'''exec' \"/cache/staging/x/bin/python\" -E \"$0\" \"$@\"\n' '''\nimport x\n",
                b"/tmp/a b",
                b"#!/bin/sh\n'''exec' \"/tmp/a b/bin/python\" -E \"$0\" \"$@\"\n' '''\nimport x\n",
            ),
            (
                b"home = /i\ncommand = /i -m venv /cache/staging/x\n",
                NEW,
                b"home = /i\ncommand = /i -m venv /tmp/build\n",
            ),
            (b"\x7fELF no path", NEW, b"\x7fELF no path"),
            (b"MZ\0#!/cache/staging/x/p.exe\nPK\3\4", NEW, b'MZ\0#!"/tmp/build/p.exe"\nPK\3\4'),
            (b'MZ\0#!"/cache/staging/x/p.exe"\r\nPK\3\4', NEW, b'MZ\0#!"/tmp/build/p.exe"\r\nPK\3\4'),
        ],
        ids=[
            "plain", "a space", "was long", "another script", "an option of env", "an option", "long, an option",
            "a text", "a program", "launcher", "quoted launcher",
        ],
    )  # fmt: skip
    def test_the_first_lines(self, before: bytes, new: bytes, after: bytes) -> None:
        """In the form that kernels, sh and the launchers of Windows read."""
        assert _moved(before, self.OLD, new) == after

    def test_a_long_path(self) -> None:
        """Kernels before Linux 5.1 read 127 bytes of the first line."""
        made = _moved(b"#!/cache/staging/x/bin/python\n", self.OLD, b"/" + b"y" * 150)

        assert made.startswith(b"#!/bin/sh\n'''exec' ")


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1") if path.suffix != ".pyc" else ""


_FILE = {"wheels": [{"path": "toy_tool-1.0-py3-none-any.whl", "hashes": {"sha256": "a" * 64}}]}


class TestDifferences:
    """What differs from the lock is said in a sentence, and nothing is published."""

    @pytest.fixture(autouse=True)
    def _nothing_is_published(self, cache: Path) -> Iterator[None]:
        before = sorted(cache.glob("environments/*"))
        yield
        assert sorted(cache.glob("environments/*")) == before
        assert list(cache.glob("staging/*")) == []

    def test_another_file(self, lock: Any, installer: str, wheels: Path, tmp_path: Path) -> None:
        """The same name and version, and other bytes."""
        packages = [package_of(path) for path in sorted(wheels.glob("*.whl"))]
        expected = packages[1]["wheels"][0]["hashes"]["sha256"]
        toy_wheel(wheels, "toy_tool", "1.0", requires=["evil"])
        found = package_of(wheels / "toy_tool-1.0-py3-none-any.whl")["wheels"][0]["hashes"]["sha256"]

        with pytest.raises(BuildEnvironmentError) as caught:
            lock(*packages, installer=installer).provide(tmp_path)
        assert caught.value.message == (
            f"toy_tool-1.0-py3-none-any.whl is not the file that is locked: wanted sha256 {expected}, found {found}"
        )

    def test_a_file_that_is_gone(self, lock: Any, installer: str, wheels: Path, tmp_path: Path) -> None:
        """An index may have dropped it, whatever newer version it has."""
        packages = [package_of(path) for path in sorted(wheels.glob("*.whl"))]
        (wheels / "toy_tool-1.0-py3-none-any.whl").unlink()
        toy_wheel(wheels, "toy_tool", "1.1")

        with pytest.raises(BuildEnvironmentError) as caught:
            lock(*packages, installer=installer).provide(tmp_path)
        assert caught.value.message == (
            f"toy_tool-1.0-py3-none-any.whl is locked, with sha256 {packages[1]['wheels'][0]['hashes']['sha256']}, "
            "and no index or folder of this build offers it"
        )
        assert "set PIP_INDEX_URL" in caught.value.hint or "set UV_INDEX" in caught.value.hint

    def test_an_installer_that_fails_otherwise(
        self, lock: Any, installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: Interpreter
    ) -> None:
        """What it printed last is the hint."""
        monkeypatch.setenv("PIP_TIMEOUT", "no number")
        monkeypatch.setenv("UV_PRERELEASE", "no number")

        with pytest.raises(BuildEnvironmentError) as caught:
            lock(installer=installer).provide(tmp_path)
        assert caught.value.message == (
            f"could not install the locked requirements under CPython {interpreter.version}: "
            f"{installer} ended with exit status {3 if installer == 'pip' else 2}"
        )
        assert "no number" in caught.value.hint

    def test_no_wheel_for_this_host(self, lock: Any, wheels: Path, tmp_path: Path, interpreter: Interpreter) -> None:
        """A target that the lock was not made for, or a libc that is too old."""
        wheel = wheels / "toy_tool-1.0-py3-none-any.whl"
        wheel.rename(wheel.with_name("toy_tool-1.0-cp399-cp399-win32.whl"))
        package = package_of(wheel.with_name("toy_tool-1.0-cp399-cp399-win32.whl"))
        minor = ".".join(interpreter.version.split(".")[:2])

        with pytest.raises(BuildEnvironmentError) as caught:
            lock(package).provide(tmp_path)
        assert str(caught.value) == (
            f"{PYLOCK} has no wheel of toy-tool 1.0 for CPython {minor} on this host\n"
            f"  locked: toy_tool-1.0-cp399-cp399-win32.whl\n  {RELOCK}"
        )

    def test_a_packaging_that_is_too_old(self, lock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its version is asked for in isolated builds; without isolation it may be any."""
        import packaging.pylock

        monkeypatch.delattr(packaging.pylock.Pylock, "select")
        monkeypatch.setattr(packaging, "__version__", "26.0")

        with pytest.raises(BuildEnvironmentError) as caught:
            lock().provide(tmp_path)
        assert str(caught.value) == (
            "a locked environment is made with packaging>=26.1, found 26.0\n"
            "  pip install 'packaging>=26.1' where the build runs, or build with isolation"
        )

    @pytest.mark.parametrize(
        ("packages", "reason"),
        [
            ([{"name": "toy-tool", "version": "1.0"}], "is not a lock file of PEP 751: "),
            ([{"name": "toy-tool", "version": "1.0", "marker": "os_name ~= 'x'", **_FILE}], "751: Undefined"),
            (["toy_tool", "toy_tool"], "does not lock one wheel of 'toy-tool' for this host"),
        ],
        ids=["no file", "marker", "twice"],
    )
    def test_a_file_that_pep_751_refuses(
        self, lock: Any, wheels: Path, tmp_path: Path, packages: List[Any], reason: str
    ) -> None:
        """It was written by another program, with a digest that is right."""
        made = [package_of(next(wheels.glob(f"{each}-*"))) if isinstance(each, str) else each for each in packages]

        with pytest.raises(ProjectError, match=reason):
            lock(*made).provide(tmp_path)


_OUTPUTS = {
    "pip 22.3": "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated\n"
    "    toy-tool==1.0 from http://127.0.0.1/toy_tool-1.0-py3-none-any.whl#sha256={good} (from -r r.txt (line 1)):\n"
    "        Expected sha256 {good}\n             Got        {bad}\n",
    "uv 0.2": "error: Failed to prepare distributions\n  Caused by: Failed to fetch wheel: toy-tool==1.0\n"
    "  Caused by: Hash mismatch for `toy-tool==1.0`\n\nExpected:\n  sha256:{good}\n\nComputed:\n  sha256:{bad}\n",
    "uv 0.9": "  x Failed to download `toy-tool==1.0`\n  ╰─▶ Hash mismatch for `toy-tool==1.0`\n\n      Expected:\n"
    "        sha256:{good}\n\n      Computed:\n        sha256:{bad}\n",
}
_ABSENT = {
    "pip": "ERROR: Could not find a version that satisfies the requirement toy-tool==1.0 (from versions: 1.1)\n"
    "ERROR: No matching distribution found for toy-tool==1.0\n",
    "uv version": "  x No solution found when resolving dependencies:\n  ╰─▶ Because there is no version of\n"
    "      toy-tool==1.0 and you require toy-tool==1.0, we can conclude that your requirements are unsatisfiable.\n",
    "uv name": "  x No solution found when resolving dependencies:\n  ╰─▶ Because toy-tool was not found in\n the"
    " package registry and you require toy-tool==1.0, we can conclude that your requirements are unsatisfiable.\n",
}


@pytest.mark.parametrize("minor", ["3.8", "3.9"])
def test_an_interpreter_that_is_too_old_for_packaging_here(tmp_path: Path, minor: str) -> None:
    """Packaging 26.4 does not run under Python 3.9, which may be locked; the interpreter's pip has a copy that does."""
    old = next((each for each in host_interpreters() if each.version.startswith(f"{minor}.")), None)
    if old is None or not old.has_venv:
        pytest.skip(f"no CPython {minor} with pip is installed")
    interpreter = inspect_interpreter(old.path)
    toy_wheel(tmp_path, "toy", "1.0")
    name = f"toy-1.0-py{minor.replace('.', '')}-none-any.whl"
    fitting = (tmp_path / "toy-1.0-py3-none-any.whl").rename(tmp_path / name)
    packages = (package_of(fitting),)

    (found,) = choose_wheels(interpreter, LockedRequirements(packages, ("toy",), (), "toy"))
    assert found.filename == name


class TestInstallersOutput:
    """`_difference`, with what versions of pip and uv have printed."""

    WHEELS = (
        LockedWheel("other", "1.0", "other-1.0-py3-none-any.whl", "c" * 64),
        LockedWheel("toy-tool", "1.0", "toy_tool-1.0-py3-none-any.whl", "a" * 64),
    )

    @pytest.mark.parametrize("output", list(_OUTPUTS.values()), ids=list(_OUTPUTS))
    def test_another_file(self, output: str) -> None:
        """Its hash is named."""
        said = _difference(output.format(good="a" * 64, bad="b" * 64), self.WHEELS)

        assert said == (
            f"toy_tool-1.0-py3-none-any.whl is not the file that is locked: wanted sha256 {'a' * 64}, found {'b' * 64}"
        )

    @pytest.mark.parametrize("output", list(_ABSENT.values()), ids=list(_ABSENT))
    def test_no_such_file(self, output: str) -> None:
        """The file that is locked is named."""
        assert _difference(output, self.WHEELS) == (
            f"toy_tool-1.0-py3-none-any.whl is locked, with sha256 {'a' * 64}, "
            "and no index or folder of this build offers it"
        )

    @pytest.mark.parametrize(
        "output",
        [
            "error: Failed to fetch: `http://127.0.0.1/toy-tool/`",
            "cause: Because you require toy-tool==1.0 and toy-tool==2.0, we can conclude that your",
            "cause: Because there is no version of toy-tool==2.0 and you require toy-tool==2.0, we can",
            "cause: Because toy-tool==1.0 has no source distribution and you require\n      toy-tool==1.0, we can",
        ],
        ids=["unreachable", "constraint-dependencies", "override-dependencies", "no-binary"],
    )
    def test_anything_else(self, output: str) -> None:
        """Nothing is made up: what a uv.toml says about versions and wheels is no fault of an index."""
        assert _difference(output, self.WHEELS) == ""


class TestCheck:
    """`Locked.check`: what a hook asks for is in the lock, or met by it."""

    @pytest.mark.parametrize(
        "asked",
        [
            ["toy_tool"], ["toy-other>=3"], ["toy_needed"], ["toy_needed>=0.5"], ["Toy.Needed==1.0"],
            ["toy_absent; python_version < '3'"], ["toy_needed[more]"],
        ],
        ids=["static", "dynamic", "met", "met by its version", "another spelling", "not for this Python", "an extra"],
    )  # fmt: skip
    def test_what_is_met(self, checked: Any, asked: List[str]) -> None:
        """Known by its text, or by what is installed."""
        checked(asked)

    @pytest.mark.parametrize(
        "asked",
        [["toy_absent"], ["toy_needed>1"], ["toy_tool[more]"], ["./folder"]],
        ids=["a name", "a version", "an extra", "no requirement"],
    )
    def test_what_is_not(self, checked: Any, asked: List[str]) -> None:
        """The sentence names it, and nothing is installed."""
        with pytest.raises(BuildEnvironmentError) as caught:
            checked(["toy_tool", *asked])
        assert str(caught.value) == f"the real backend asks for what {PYLOCK} does not lock: {asked[0]!r}\n  {RELOCK}"

    @pytest.fixture
    def checked(self, lock: Any, wheels: Path, tmp_path: Path) -> Any:
        """Return a function that has a build environment install something."""
        toy_wheel(wheels, "toy_tool", "1.0", requires=["toy_absent; extra == 'more'"])
        toy_wheel(wheels, "toy_needed", "1.0", requires=["toy_tool; extra == 'more'"])
        locked = lock(dynamic=["toy-other>=3"], installer="uv")
        (tmp_path / "copy").mkdir()
        locked.copy(tmp_path / "copy", tmp_path)
        environment = BuildEnvironment(
            tmp_path / "copy", locked._interpreter, locked._settings, Reporter(), tmp_path, locked=locked
        )
        return lambda requirements: environment.install(requirements, what="what the real backend asks for")


_BACKEND = """
import os, sys
from minimal import *
import toy_tool

def get_requires_for_build_wheel(config_settings=None):
    return ["toy_needed"] + (config_settings or {}).get("more", "").split()

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import minimal, toy_needed
    print("built by", sys.version.split()[0], "with", toy_tool.VERSION, toy_needed.VERSION)
    print("stores bytecode", not sys.dont_write_bytecode, sys.pycache_prefix)
    return minimal.build_wheel(wheel_directory)
"""


_PARTIAL_SDIST = """
def build_sdist(sdist_directory, config_settings=None):
    import tarfile
    with tarfile.open(os.path.join(sdist_directory, "toy-1.0.tar.gz"), "w:gz") as tar:
        tar.add("pyproject.toml", "toy-1.0/pyproject.toml")
    return "toy-1.0.tar.gz"
"""


class TestBuilds:
    """Hooks of a locked project."""

    @pytest.fixture
    def project(self, wheels: Path, tmp_path: Path, archive: Path) -> Path:
        """A project whose real backend uses what is locked, and asks for it dynamically."""
        root = project_of(tmp_path / "toy", _BACKEND, table='requires = ["toy_tool"]\n', python=">=3.12")
        packages = [package_of(path) for path in sorted(wheels.glob("*.whl"))]
        return lock_to(root, archive, packages, dynamic=["toy_needed"], scope="always")

    @pytest.fixture
    def host(self, tmp_path: Path, variables: Dict[str, str]) -> Host:
        """A frontend's environment that is told no index."""
        host = host_environment(tmp_path / "build-env-x")
        host.environ.update(variables)
        for name in [name for name in host.environ if name.startswith(("PIP_", "UV_"))]:
            del host.environ[name]
        links = str(tmp_path / "wheels")
        host.environ.update(PIP_CONFIG_FILE=os.devnull, UV_NO_CONFIG="1", PIP_FIND_LINKS=links, UV_FIND_LINKS=links)
        host.environ.update(PIP_NO_INDEX="1")
        return host

    def build(self, host: Host, project: Path, *arguments: Any, **environ: str) -> str:
        """Build a wheel, as a frontend does in an environment that it makes for that; return what the backend said."""
        shutil.rmtree(host.python.parent.parent / ".provision-backend", ignore_errors=True)
        (project / "dist").mkdir(exist_ok=True)
        host.hook(project, "build_wheel", str(project / "dist"), *arguments, env=environ)
        return host.stdout

    def test_the_second_one_asks_nobody(
        self, host: Host, project: Path, wheels: Path, installer: str, tmp_path: Path, interpreter: Interpreter
    ) -> None:
        """The first one takes what is locked from the index; the second one needs neither that nor an installer."""
        said = f"built by {interpreter.version} with 1.0 1.0\nstores bytecode False None\n"
        with ArchiveServer(index_of(*wheels.glob("*.whl"))) as index:
            index.validators = {"Content-Type": "text/html"}
            host.environ.update(
                PROVISION_BACKEND_INSTALLER=installer,
                PIP_INDEX_URL=f"{index.url}/simple",
                PIP_NO_INDEX="0",
                PIP_FIND_LINKS="",
                UV_FIND_LINKS="",
                UV_DEFAULT_INDEX=f"{index.url}/simple",
                UV_CACHE_DIR=str(tmp_path / "uv"),
            )
            assert self.build(host, project, UV=find_uv(Settings(installer="uv"))) == said
            asked = len(index.paths)
            assert asked >= 4
            # What it would start is not there.
            shutil.rmtree(tmp_path / "uv", ignore_errors=True)
            assert host.hook(project, "get_requires_for_build_wheel", env={"PATH": "/nowhere"}) == []
            assert self.build(host, project, PATH="/nowhere") == said
            assert len(index.paths) == asked
        settings = Settings(cache_dir=host.environ["PROVISION_BACKEND_CACHE_DIR"], catalog=host.environ[_CATALOG])
        last = list(check_locked_build(Context(settings, project)))[-1]
        assert last.found.startswith(f"the environment is in the cache: {settings.cache_dir}/environments/")

    def test_the_sbom_names_every_tool_and_is_the_same_everywhere(
        self, host: Host, project: Path, wheels: Path, archive: Path, tmp_path: Path
    ) -> None:
        """It has the hash of each file that was installed, by pip or by uv, on machines of two caches."""
        documents = []
        for installer, cache in (("pip", {}), ("uv", {"PROVISION_BACKEND_CACHE_DIR": str(tmp_path / "cache")})):
            environ = {"PROVISION_BACKEND_INSTALLER": installer, "PROVISION_BACKEND_SBOM": "wheel", **cache}
            self.build(host, project, UV=find_uv(Settings(installer="uv")), **environ)
            (wheel,) = (project / "dist").iterdir()
            with zipfile.ZipFile(str(wheel)) as file:
                (name,) = (name for name in file.namelist() if name.endswith("/sboms/provision-backend.cdx.json"))
                documents.append(file.read(name))
        interpreter, *tools = json.loads(documents[0])["components"]
        found = {each["properties"][0]["value"]: each["hashes"] for each in tools}

        assert documents[0] == documents[1]
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in [archive, *wheels.iterdir()]}
        assert interpreter["hashes"] == [{"alg": "SHA-256", "content": hashes.pop(archive.name)}]
        assert found == {name: [{"alg": "SHA-256", "content": digest}] for name, digest in hashes.items()}

    def test_what_has_to_be_installed_first(self, host: Host, project: Path, tmp_path: Path, own_wheel: Path) -> None:
        """In a bare environment: what makes the locked environment where there is none, and nothing once there is."""
        wheels = [own_wheel, *_wheelhouse().glob("packaging-*"), *_wheelhouse().glob("pyproject_hooks-*")]
        for wheel in wheels:
            shutil.unpack_archive(str(wheel), str(tmp_path / "site"), "zip")
        bare = host_environment(tmp_path / "build-env-y", bare=True, paths=[tmp_path / "site"])
        bare.environ.update(host.environ)

        host.hook(project, "get_requires_for_build_wheel")  # It remembers the platform.
        assert bare.hook(project, "get_requires_for_build_wheel") == ["filelock>=3.16"]
        self.build(host, project)
        assert bare.hook(project, "get_requires_for_build_wheel") == []

    def test_a_requirement_that_has_appeared(self, host: Host, project: Path) -> None:
        """It ends in a sentence, and nothing is installed."""
        with pytest.raises(subprocess.CalledProcessError):
            self.build(host, project, {"more": "toy_tool>=1 toy_new"})
        assert host.stderr.splitlines()[1:] == [
            f"provision-backend: the real backend asks for what {PYLOCK} does not lock: 'toy_new'",
            f"  {RELOCK}",
        ]

    def test_a_damaged_environment_is_replaced(self, host: Host, project: Path, cache: Path) -> None:
        """Where a hook fails and files have changed since they were published, it is tried again with a new one."""
        before = set(cache.glob("environments/*"))
        said = self.build(host, project)
        (stored,) = set(cache.glob("environments/*")) - before
        next(stored.glob("lib/python*/site-packages/toy_needed.py")).write_text("raise ImportError('broken')\n")

        assert self.build(host, project) == said
        assert f"{stored} is damaged (changed: " in host.stderr
        assert set(cache.glob("environments/*")) - before == {stored, stored.with_name(f"{stored.name}.1")}
        assert self.build(host, project) == said
        assert "damaged" not in host.stderr

    def test_a_hook_that_fails_by_itself(self, host: Host, project: Path, cache: Path) -> None:
        """The environment is as it was published, and is kept; the hook is called once."""
        (project / "backends" / "toy_backend.py").write_text(
            _BACKEND.replace("return minimal.build", "raise SystemExit('no wheel today')\n    return minimal.build")
        )
        before = set(cache.glob("environments/*"))
        with pytest.raises(subprocess.CalledProcessError):
            self.build(host, project)

        assert len(set(cache.glob("environments/*")) - before) == 1
        assert host.stderr.count("no wheel today") == host.stdout.count("built by") == 1

    @pytest.mark.parametrize("scope", ["always", "provisioned"])
    def test_where_the_running_interpreter_satisfies(self, host: Host, project: Path, scope: str) -> None:
        """It builds as without a lock, unless the lock always applies."""
        text = (project / "pyproject.toml").read_text(encoding="utf-8").replace('"always"', f'"{scope}"')
        (project / "pyproject.toml").write_text(text, encoding="utf-8")
        asked = host.hook(project, "get_requires_for_build_wheel")

        assert asked == ([] if scope == "always" else ["toy_tool"])

    def test_the_sdist_is_locked_too(self, host: Host, project: Path, tmp_path: Path, interpreter: Interpreter) -> None:
        """What is built from it is built with the same; an sdist without the lock file is not left."""
        made = host.hook(project, "build_sdist", str(tmp_path))
        run_checked(["tar", "-C", str(tmp_path), "-xzf", str(tmp_path / made)], host.environ)
        (tmp_path / made).unlink()
        said = self.build(host, tmp_path / "toy-1.0")
        assert f"built by {interpreter.version} with 1.0 1.0\n" in said

        (project / "backends" / "toy_backend.py").write_text(_BACKEND + _PARTIAL_SDIST, encoding="utf-8")
        with pytest.raises(subprocess.CalledProcessError):
            host.hook(project, "build_sdist", str(tmp_path))
        assert host.stderr.splitlines()[-2:] == [
            f"provision-backend: toy-1.0.tar.gz would lack {PYLOCK}, which locks the project",
            "  have toy_backend put it into the sdist",
        ]
        assert not list(tmp_path.glob("*.tar.gz"))

    def test_a_setting_overrides_it(self, host: Host, project: Path) -> None:
        """The builder who names a Python gets one, and is told; what is locked is not looked at."""
        with pytest.raises(subprocess.CalledProcessError):
            self.build(host, project, PROVISION_BACKEND_PYTHON=sys.executable)

        assert host.stderr.startswith(
            f"provision-backend: the lock in {PYLOCK} is not used: PROVISION_BACKEND_PYTHON is {sys.executable!r}\n"
        )
        assert "not installed: toy_tool" in host.stderr


def _wheelhouse() -> Path:
    return wheelhouse(Path(sys.executable), clean_environ())
