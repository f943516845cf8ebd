"""`install`: what a builder has set for pip or uv does not misdirect it, and what should reach it does.

The pip of a real second interpreter, and a real uv, install tiny wheels from a folder.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest
from support.servers import ArchiveServer
from support.toys import another_interpreter, toy_wheel

from provision_backend import frontend_watch
from provision_backend.errors import BuildEnvironmentError
from provision_backend.files import hash_file
from provision_backend.hooks import frontend_options, installation, installers
from provision_backend.hooks.environment import BuildEnvironment
from provision_backend.hooks.installation import install
from provision_backend.hooks.installers import find_uv, supports_python_option
from provision_backend.interpreter import Interpreter, inspect_interpreter
from provision_backend.output import Reporter
from provision_backend.settings import Settings
from provision_backend.systems import SYSTEMS
from provision_backend.variables import clean_environment

BOTH = ["toy_one-2.0", "toy_two-1.0"]
"""What is in the environment when all went well: the newest one, with its dependency."""


class Place:
    """An empty build environment and what installs into it."""

    def __init__(self, folder: Path, interpreter: Interpreter, wheels: Path) -> None:
        self.folder = folder
        self.wheels = wheels
        self.interpreter = interpreter
        self.environ: Dict[str, str] = {}
        command = [interpreter.executable, "-I", "-m", "venv", "--without-pip", str(folder / "env")]
        subprocess.run(command, check=True, env=clean_environment())

    def configure(self, variables: Dict[str, str], configuration: str, variable: str) -> None:
        """Set variables and write a configuration file; ``{}`` stands for the place's folder."""
        self.environ.update({name: value.replace("{}", str(self.folder)) for name, value in variables.items()})
        if configuration:
            path = self.folder / ("uv.toml" if variable.startswith("UV") else "pip.conf")
            path.write_text(configuration.replace("{}", str(self.folder)))
            self.environ[variable] = str(path)

    def install(
        self, *requirements: str, verbosity: int = 0, installed: Tuple[str, ...] = (), **settings: Any
    ) -> List[str]:
        """Install into an environment that has some requirements already, and return what is there."""
        reporter = Reporter(verbosity=verbosity)
        place = BuildEnvironment(self.folder / "env", self.interpreter, Settings(**settings), reporter, self.folder)
        place.installed = installed
        environ = {**clean_environment(), **self.environ}
        install(place, requirements, environ=environ, cwd=str(self.folder), what="the toys")
        return self.found()

    def found(self) -> List[str]:
        """Return what is installed, as name-version."""
        folders = self.folder.glob("env/lib/python*/site-packages/toy_*.dist-info")
        return sorted(path.name[: -len(".dist-info")] for path in folders)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    toy_wheel(folder, "toy_one", "1.0")
    toy_wheel(folder, "toy_one", "2.0", ["toy_two"])
    toy_wheel(folder, "toy_two", "1.0")
    return folder


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return inspect_interpreter(another_interpreter().path)


@pytest.fixture
def pip(tmp_path: Path, interpreter: Interpreter, wheels: Path) -> Place:
    place = Place(tmp_path, interpreter, wheels)
    place.environ = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    return place


@pytest.fixture
def uv(tmp_path: Path, interpreter: Interpreter, wheels: Path) -> Place:
    if not real_uv():
        pytest.skip("uv is not installed")
    place = Place(tmp_path, interpreter, wheels)
    # Another file system than that of uv's cache makes it say so.
    place.environ = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels), "UV_LINK_MODE": "copy"}
    return place


def real_uv() -> str:
    if importlib.util.find_spec("uv"):
        from uv import find_uv_bin

        return str(find_uv_bin())
    return shutil.which("uv") or ""


@pytest.mark.slow
class TestPip:
    """With the interpreter's own pip (frontends 3.5)."""

    @pytest.mark.parametrize(
        "variable",
        [
            "PIP_TARGET={}/elsewhere",
            "PIP_PREFIX={}/elsewhere",
            "PIP_ROOT={}/elsewhere",
            "PIP_USER=1",
            "PIP_DRY_RUN=1",
            "PIP_EDITABLE={}",
            "PIP_REQUIREMENT={}/missing",
            "PIP_GROUP=dev",
            "PIP_REQUIRE_HASHES=1",
            "PIP_NO_DEPS=1",
            "PIP_PYTHON={}/missing",
            "PIP_ABI=cp38",
            "PIP_PLATFORM=win32",
            "PIP_IMPLEMENTATION=pp",
            "PIP_PYTHON_VERSION=3.6",
            "PIP_REPORT={}/elsewhere",
            "PIP_REQUIRE_VIRTUALENV=1",
            "PIP_IGNORE_INSTALLED=1",
        ],
    )
    def test_a_variable_that_would_misdirect_it_does_not(self, pip: Place, variable: str) -> None:
        """The package and its dependency land in the build environment, and nothing anywhere else."""
        name, _, value = variable.partition("=")
        pip.configure({name: value}, "", "")

        assert pip.install("toy_one") == BOTH
        assert sorted(path.name for path in pip.folder.iterdir()) == ["env"]

    def test_the_flag_of_a_nested_pip_is_not_inherited(self, pip: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """With it pip ignores --python, exits with 0, and fills its own environment: the shared cache."""
        monkeypatch.setenv("_PIP_RUNNING_IN_SUBPROCESS", "1")

        assert pip.install("toy_one") == BOTH

    @pytest.mark.parametrize("section", ["install", "global"])
    @pytest.mark.parametrize(
        "line",
        [
            "target = {}/elsewhere",
            "user = true",
            "dry-run = true",
            "require-hashes = true",
            "no-deps = true",
            "requirement = {}/missing",
            "python = {}/missing",
        ],
    )
    def test_a_line_of_its_configuration_that_would_misdirect_it_is_overridden(
        self, pip: Place, section: str, line: str
    ) -> None:
        """The same things may stand in a pip.conf, which is read for the indexes."""
        pip.configure({}, f"[{section}]\n{line}\n", "PIP_CONFIG_FILE")

        assert pip.install("toy_one") == BOTH
        assert not (pip.folder / "elsewhere").exists()

    @pytest.mark.parametrize("line", ["prefix = {}/elsewhere", "root = {}/elsewhere"])
    def test_a_line_that_cannot_be_overridden_is_found_out(self, pip: Place, line: str) -> None:
        """Pip exits with 0 and has filled another folder, so what should be there is looked for."""
        pip.configure({}, f"[global]\n{line}\n", "PIP_CONFIG_FILE")
        with pytest.raises(BuildEnvironmentError) as caught:
            pip.install("toy_one", "Toy.Two>=1")

        assert str(caught.value) == (
            f"could not install the toys under CPython {pip.interpreter.version}: "
            "pip succeeded, and 'toy_one', 'Toy.Two' is not in the build environment\n"
            "  a configuration file of pip may say so: prefix, root"
        )

    def test_what_does_not_apply_is_not_missed(self, pip: Place) -> None:
        """Markers are those of the interpreter that runs the real backend."""
        minor = ".".join(pip.interpreter.version.split(".")[:2])

        assert pip.install("toy_two", f"toy_one; python_version != '{minor}'") == ["toy_two-1.0"]

    def test_a_path_is_installed_and_not_missed(self, pip: Place) -> None:
        """A real backend may ask for what only its installer understands."""
        assert pip.install(str(next(pip.wheels.glob("toy_two-*")))) == ["toy_two-1.0"]

    def test_build_constraints_are_constraints_here(self, pip: Place) -> None:
        """The installation is that of a build environment: PIP_BUILD_CONSTRAINT, one or more files (pip#13300)."""
        pip.configure({"PIP_BUILD_CONSTRAINT": "{}/empty {}/old"}, "", "")
        (pip.folder / "empty").write_text("")
        (pip.folder / "old").write_text("toy_one<2\n")

        assert pip.install("toy_one") == ["toy_one-1.0"]

    @pytest.mark.parametrize(("frontend", "expected"), [("", "toy_one-1.0"), ("pip", "toy_one-2.0")])
    def test_constraints_hold_where_the_frontend_would_obey_them(
        self,
        pip: Place,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        frontend: str,
        expected: str,
    ) -> None:
        """With build they do, which runs pip's command line; pip keeps them from what it makes, and we say so."""
        monkeypatch.setattr(installers, "frontend_name", lambda: frontend)
        monkeypatch.setattr(installers, "_frontends_pip_obeys_constraints", lambda: False)
        configuration = "[install]\nconstraint = {}/missing\n" if frontend else ""
        pip.configure({"PIP_CONSTRAINT": "{}/old"}, configuration, "PIP_CONFIG_FILE")
        (pip.folder / "old").write_text("toy_one<2\n")

        assert expected in pip.install("toy_one")
        said = "PIP_CONSTRAINT is not used in a build environment; PIP_BUILD_CONSTRAINT is"
        assert (said in capfd.readouterr().err) == (frontend == "pip")

    @pytest.mark.parametrize(
        ("frontend", "words", "expected"),
        [
            ("pip", ["--build-constraint={}/old"], ["toy_one-1.0"]),
            ("", ["--dependency-constraints-txt", "{}/old"], ["toy_one-1.0"]),
            ("", ["--build-constraint", "{}/old"], BOTH),
            ("pip", ["--no-index", "-qf", "few"], ["toy_one-1.0"]),
        ],
    )
    def test_options_of_the_frontends_command_line_count(
        self, pip: Place, monkeypatch: pytest.MonkeyPatch, frontend: str, words: List[str], expected: List[str]
    ) -> None:
        """They reach no hook, so other packages would be installed than those that were asked for."""
        if "few" in words:
            shutil.copytree(str(pip.wheels), str(pip.folder / "few"), ignore=shutil.ignore_patterns("*-2.0-*"))
            # An index of the variables would be asked: pip takes the best version of all places.
            pip.environ = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
        (pip.folder / "old").write_text("toy_one<2\n")
        # A program that has just been started may have no command line yet.
        waiting = "print(flush=True); input()"
        command = [sys.executable, "-c", waiting, *(word.replace("{}", str(pip.folder)) for word in words)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            monkeypatch.setattr(frontend_watch, "frontend_id", lambda: process.pid)
            for module in (frontend_options, installers):
                monkeypatch.setattr(module, "frontend_name", lambda: frontend)
            found = pip.install("toy_one")
            assert process.stdin is not None
            process.stdin.write(b"\n")

        assert found == expected

    def test_options_for_another_installer_are_named_once(
        self, pip: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A frontend's options are not those of another program: what does not count is said before it is missed."""
        frontend(monkeypatch, "uv", "uv build --index-url=https://me:secret@index.example -b old")
        assert pip.install("toy_one") == BOTH
        printed = capfd.readouterr().err
        pip.install("toy_one", installed=("toy_two",))

        assert capfd.readouterr().err == ""  # What the real backend asks for is installed without the same line.
        assert printed == (
            "provision-backend: --index-url of the frontend's command line is not seen here: "
            "set PIP_INDEX_URL, PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS\n"
        )

    def test_constraints_of_builds_in_a_file_hold(self, pip: Place) -> None:
        """Pip obeys ``build-constraint`` of its files in the environments that it makes, and this is one."""
        pip.configure({}, "[global]\nbuild-constraint =\n    {}/empty\n    {}/old\n", "PIP_CONFIG_FILE")
        (pip.folder / "empty").write_text("")
        (pip.folder / "old").write_text("toy_one<2\n")

        assert pip.install("toy_one") == ["toy_one-1.0"]

    def test_the_file_of_the_frontends_environment_is_read(self, pip: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """The interpreter's pip would look beside itself; another file that is named comes before it."""
        (pip.folder / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {pip.wheels}\n")
        pip.environ = {
            "PIP_NO_INDEX": "",
            "PIP_FIND_LINKS": "",
            "PIP_INDEX_URL": "http://127.0.0.1:9/",
            "PIP_RETRIES": "0",
        }
        monkeypatch.setattr(sys, "prefix", str(pip.folder))

        assert pip.install("toy_one") == BOTH
        (pip.folder / "named").write_text(f"[global]\nfind-links = {pip.folder}\n")
        pip.environ["PIP_CONFIG_FILE"] = str(pip.folder / "named")
        with pytest.raises(BuildEnvironmentError, match="No matching distribution found for toy_three"):
            pip.install("toy_three")

    def test_features_that_it_does_not_know_are_left_out(self, pip: Place) -> None:
        """The frontend's pip may be newer; those that it knows are passed on."""
        pip.environ.update(PIP_USE_FEATURE="no-such-feature fast-deps", PIP_USE_DEPRECATED="no-such-thing")

        assert pip.install("toy_one") == BOTH

    def test_an_index_of_the_user_is_asked(self, pip: Place) -> None:
        """Indexes reach it by variable and by configuration; the requests come to a server on loopback."""
        listing = "".join(f'<a href="/files/{path.name}">{path.name}</a>' for path in pip.wheels.iterdir())
        files = {f"/{kind}/{name}/": listing.encode() for kind in ("a", "b") for name in ("toy-one", "toy-two")}
        with ArchiveServer(files) as server:
            server.files.update({f"/files/{path.name}": path.read_bytes() for path in pip.wheels.iterdir()})
            server.validators = {"Content-Type": "text/html"}
            pip.environ = {"PIP_INDEX_URL": f"{server.url}/a", "PIP_NO_CACHE_DIR": "1"}
            pip.configure({}, f"[global]\nextra-index-url = {server.url}/b\n", "PIP_CONFIG_FILE")

            assert pip.install("toy_one") == BOTH
            assert {"/a/toy-one/", "/b/toy-one/", "/files/toy_one-2.0-py3-none-any.whl"} <= set(server.paths)

    def test_relative_links_start_at_the_source_tree(self, pip: Place) -> None:
        """A project may bring its wheels along."""
        shutil.copytree(str(pip.wheels), str(pip.folder / "vendor"))
        pip.environ["PIP_FIND_LINKS"] = "vendor"

        assert pip.install("toy_one") == BOTH

    def test_a_failure_shows_what_pip_says(self, pip: Place) -> None:
        """The message holds pip's own last lines."""
        with pytest.raises(BuildEnvironmentError) as caught:
            pip.install("toy_three")

        message = str(caught.value)
        version = pip.interpreter.version
        assert message.startswith(
            f"could not install the toys under CPython {version}: pip ended with exit status 1\n  "
        )
        assert "No matching distribution found for toy_three" in message
        assert message.endswith("set PIP_INDEX_URL, PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS")

    def test_what_pip_says_is_seen_when_asked_for(self, pip: Place, capfd: pytest.CaptureFixture[str]) -> None:
        """With ``verbose`` its output goes to standard error as it comes, and is not repeated."""
        with pytest.raises(BuildEnvironmentError) as caught:
            pip.install("toy_three", verbosity=1)

        seen = capfd.readouterr()
        assert "\n" not in str(caught.value)
        assert "No matching distribution found for toy_three" in seen.err
        assert seen.out == ""


@pytest.mark.slow
class TestUv:
    """With uv, on request or since it is the frontend (frontends 3.6)."""

    @pytest.fixture(autouse=True)
    def _uv_is_the_frontend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(installers, "_uv_of_frontend", real_uv)

    @pytest.mark.parametrize(
        "variable",
        [
            "UV_OVERRIDE={}/missing",
            "UV_EXCLUDE={}/missing",
            "UV_REQUIRE_HASHES=1",
            "UV_TARGET={}/elsewhere",
            "UV_PREFIX={}/elsewhere",
            "UV_PYTHON=3.6",
            "UV_SYSTEM_PYTHON=1",
            "UV_PROJECT_ENVIRONMENT={}/elsewhere",
            "UV_PROJECT={}/missing",
            "UV_WORKING_DIR={}/missing",
            "UV_WORKING_DIRECTORY={}/missing",
            "UV_RESOLUTION=lowest",
            "UV_NO_DEPS=1",
            "UV_PYTHON_PREFERENCE=only-managed",
            "UV_MANAGED_PYTHON=1",
            "UV_PYTHON_DOWNLOADS=never",
            "VIRTUAL_ENV={}/missing",
        ],
    )
    def test_a_variable_that_would_misdirect_it_does_not(self, uv: Place, variable: str) -> None:
        """The package and its dependency land in the build environment, and nothing anywhere else."""
        name, _, value = variable.partition("=")
        uv.configure({name: value}, "", "")

        assert uv.install("toy_one") == BOTH
        assert sorted(path.name for path in uv.folder.iterdir()) == ["env"]

    @pytest.mark.parametrize(
        "line", ["no-deps = true", "require-hashes = true", 'resolution = "lowest"', 'python = "3.6"', "system = true"]
    )
    def test_a_line_of_its_configuration_that_would_misdirect_it_is_overridden(self, uv: Place, line: str) -> None:
        """What uv.toml says is meant for the packages that a project runs with."""
        uv.configure({}, f"[pip]\n{line}\n", "UV_CONFIG_FILE")

        assert uv.install("toy_one") == BOTH

    @pytest.mark.parametrize(
        "text",
        ['[pip]\ntarget = "{}/elsewhere"', '[pip]\nprefix = "{}/elsewhere"', 'exclude-dependencies = ["toy_one"]'],
    )
    def test_a_line_that_cannot_be_overridden_is_found_out(self, uv: Place, text: str) -> None:
        """Uv exits with 0 and the package is not there."""
        if text.startswith("exclude") and sys.version_info < (3, 9):
            pytest.skip("the newest uv for this Python does not know it")
        uv.configure({}, text, "UV_CONFIG_FILE")
        with pytest.raises(BuildEnvironmentError) as caught:
            uv.install("toy_one")

        assert str(caught.value) == (
            f"could not install the toys under CPython {uv.interpreter.version}: "
            "uv succeeded, and 'toy_one' is not in the build environment\n"
            "  uv.toml, or tool.uv of the project, may say so: pip.target, pip.prefix, exclude-dependencies"
        )

    def test_build_constraints_are_constraints_here(self, uv: Place) -> None:
        """UV_BUILD_CONSTRAINT is for build environments, which this is."""
        uv.configure({"UV_BUILD_CONSTRAINT": "{}/old"}, "", "")
        (uv.folder / "old").write_text("toy_one<2\n")

        assert uv.install("toy_one") == ["toy_one-1.0"]

    @pytest.mark.parametrize(("frontend", "expected"), [("", "toy_one-1.0"), ("uv", "toy_one-2.0")])
    def test_constraints_hold_where_the_frontend_would_obey_them(
        self, uv: Place, monkeypatch: pytest.MonkeyPatch, frontend: str, expected: str
    ) -> None:
        """``build --installer=uv`` runs uv's command line; uv build keeps them from its environments."""
        monkeypatch.setattr(installers, "frontend_name", lambda: frontend)
        uv.configure({"UV_CONSTRAINT": "{}/old"}, "", "")
        (uv.folder / "old").write_text("toy_one<2\n")

        assert expected in uv.install("toy_one")

    @pytest.mark.parametrize(
        ("name", "line", "expected"),
        [
            ("uv", 'build-constraint-dependencies = ["toy_one<2"]', ["toy_one-1.0"]),
            ("", 'build-constraint-dependencies = ["toy_one<2"]', BOTH),
            ("uv", 'constraint-dependencies = ["toy_one<2"]', BOTH),
            ("", 'constraint-dependencies = ["toy_one<2"]', ["toy_one-1.0"]),
            ("uv", 'override-dependencies = ["toy_one==1.0"]', BOTH),
            ("uv", '[pip]\ntarget = "{}/elsewhere"\nresolution = "lowest"\n', BOTH),
            ("uv", 'prerelease = "allow"', BOTH),
            ("uv", 'prerelease-package = { toy_one = "allow" }', BOTH),
        ],
    )
    def test_keys_of_its_configuration_count_as_for_the_frontend(
        self, uv: Place, monkeypatch: pytest.MonkeyPatch, name: str, line: str, expected: List[str]
    ) -> None:
        """``uv build`` applies to its build environments other keys than the ``uv pip install`` of build, and ours."""
        if line.startswith("prerelease"):
            shutil.copytree(str(uv.wheels), str(uv.folder / "more"))
            toy_wheel(uv.folder / "more", "toy_one", "3.0b1")
            uv.environ["UV_FIND_LINKS"] = str(uv.folder / "more")
        frontend(monkeypatch, name, "uv build")
        uv.configure({}, line, "UV_CONFIG_FILE")

        assert uv.install("toy_one") == expected

    @pytest.mark.parametrize(
        ("command", "variable", "line"),
        [
            ("uv build --require-hashes", "", ""),
            ("uv build", "UV_REQUIRE_HASHES=1", ""),
            ("uv sync --require-build-hashes", "", ""),
            ("uv sync", "UV_REQUIRE_BUILD_HASHES=true", ""),
            ("uv sync", "", "require-build-hashes = true"),
            ("uv sync --no-require-build-hashes", "UV_REQUIRE_BUILD_HASHES=1", ""),
            ("uv pip install --require-hashes", "UV_REQUIRE_HASHES=1", ""),
        ],
    )
    def test_hashes_are_required_where_uv_requires_them_of_its_build_environments(
        self, uv: Place, monkeypatch: pytest.MonkeyPatch, command: str, variable: str, line: str
    ) -> None:
        """Each package needs one in a file of constraints; uv's own installations are another matter."""
        frontend(monkeypatch, "uv", command)
        path = uv.folder / "constraints.txt"
        name, _, value = variable.partition("=")
        uv.configure({"UV_BUILD_CONSTRAINT": str(path), **({name: value} if name else {})}, line, "UV_CONFIG_FILE")
        lines = [
            f"{wheel.name[:7]}=={wheel.name[8:11]} --hash=sha256:{hash_file(wheel)}\n"
            for wheel in (uv.wheels / "toy_one-2.0-py3-none-any.whl", uv.wheels / "toy_two-1.0-py3-none-any.whl")
        ]
        path.write_text(lines[0])
        if command.endswith(("--no-require-build-hashes", "install --require-hashes")):
            assert uv.install("toy_one") == BOTH
            return
        with pytest.raises(BuildEnvironmentError, match=r"must\s+have\s+a\s+hash, (?s:.*)\s+toy-two==1\.0"):
            uv.install("toy_one")
        path.write_text("".join(lines))

        assert uv.install("toy_one") == BOTH
        monkeypatch.setattr(installers, "_uv_of_frontend", lambda: "")
        with pytest.raises(BuildEnvironmentError, match=r"^uv was told to require hashes in build environments, and"):
            uv.install("toy_one")

    def test_a_hash_that_is_not_that_of_a_constraint_is_refused(
        self, uv: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Unless uv was told not to compare them."""
        uv.configure({"UV_BUILD_CONSTRAINT": "{}/constraints.txt"}, "", "")
        (uv.folder / "constraints.txt").write_text(f"toy_one==2.0 --hash=sha256:{'0' * 64}\n")
        frontend(monkeypatch, "uv", "uv build")
        with pytest.raises(BuildEnvironmentError, match=r"Hash mismatch for `toy-one==2\.0`"):
            uv.install("toy_one")
        frontend(monkeypatch, "uv", "uv build --no-verify-hashes")

        assert uv.install("toy_one") == BOTH

    @pytest.mark.parametrize(
        ("command", "variable"),
        [
            ("uv build --no-binary", ""),
            ("uv build", "UV_NO_BINARY=1"),
            ("uv build", "UV_NO_BINARY_PACKAGE=other toy_one"),
            ("uv pip install --no-binary toy_one", ""),
        ],
    )
    def test_wheels_are_not_taken_where_uv_would_not(
        self, uv: Place, monkeypatch: pytest.MonkeyPatch, command: str, variable: str
    ) -> None:
        """``uv pip install``, which installs here, has other spellings for the same."""
        frontend(monkeypatch, "uv", command)
        name, _, value = variable.partition("=")
        uv.configure({name: value} if name else {}, "", "")
        with pytest.raises(BuildEnvironmentError, match=r"no source distribution"):
            uv.install("toy_one")

    def test_the_project_of_a_variable_is_where_files_are_found(
        self, uv: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The inner uv gets no ``UV_PROJECT``, which may be about another environment under another frontend."""
        frontend(monkeypatch, "uv", "uv build")
        (uv.folder / "project").mkdir()
        (uv.folder / "project" / "uv.toml").write_text(f"find-links = ['{uv.wheels}']\n")
        uv.environ = {"UV_OFFLINE": "1", "UV_LINK_MODE": "copy", "UV_PROJECT": str(uv.folder / "project")}

        assert uv.install("toy_one") == BOTH

    def test_a_failure_names_uv(self, uv: Place) -> None:
        """The message says which installer it was."""
        with pytest.raises(BuildEnvironmentError, match=r"CPython .*: uv ended with exit status 1\n"):
            uv.install("toy_three")

    def test_pip_on_request_all_the_same(self, pip: Place) -> None:
        """The setting ``installer`` stands above the frontend's own."""
        pip.environ["UV_OFFLINE"] = "1"

        assert pip.install("toy_one", installer="pip") == BOTH


def frontend(monkeypatch: pytest.MonkeyPatch, name: str, command: str) -> None:
    """Have a frontend with this command line call the hook."""
    monkeypatch.setattr(installers, "frontend_name", lambda: name)
    monkeypatch.setattr(frontend_options, "frontend_name", lambda: name)
    monkeypatch.setattr(frontend_options, "frontend_command", command.split)


class TestFrontendOptions:
    """`frontend_options`: what the frontend's command line says about packages, for an inner installer."""

    @pytest.mark.parametrize(
        ("name", "command", "words", "variables"),
        [
            ("pip", "python -I -m pip wheel --no-deps -w out .", [], {}),
            (
                "pip",
                "python -m pip wheel --index-url u --extra-index-url=v .",
                ["--index-url=u", "--extra-index-url=v"],
                {},
            ),
            ("pip", "pip install -iu -vf v --find-links w", ["--index-url=u", "--find-links=v", "--find-links=w"], {}),
            (
                "pip",
                "pip wheel --no-ind --extra u --find=v",
                ["--no-index", "--extra-index-url=u", "--find-links=v"],
                {},
            ),
            ("pip", "pip wheel --keyring-provider import -- --pre", [], {"PIP_KEYRING_PROVIDER": "import"}),
            ("uv", "uv build -f=v -iu --no-ind", ["--find-links=v", "--index-url=u"], {}),
            ("uv", "uv --project p build --no-config --index a=u", ["--project=p", "--no-config", "--index=a=u"], {}),
            ("uv", "uv build --default-index u -b c", ["--default-index=u", "--constraint=c"], {}),
            ("uv", "uv build --config-file", ["--config-file="], {}),
            ("uv", "uv sync --no-build --no-binary x", ["--only-binary=:all:", "--no-binary=:all:"], {}),
            ("uv", "uv pip install --no-build --no-binary x", ["--only-binary=:all:", "--no-binary=x"], {}),
            ("", "build --dependency-constraints-txt c --index-url u", ["--constraint=c"], {}),
            ("", "", [], {}),
        ],
    )
    def test_of_the_same_program(
        self, monkeypatch: pytest.MonkeyPatch, name: str, command: str, words: List[str], variables: Dict[str, str]
    ) -> None:
        """Every spelling that the frontend takes; the last words of a line may be anything."""
        frontend(monkeypatch, name, command)

        assert frontend_options.frontend_options(name or "pip") == (words, variables)
        assert frontend_options.unseen_options(name or "pip", "X") == ""

    @pytest.mark.parametrize(
        ("name", "command", "installer", "said"),
        [
            ("pip", "pip wheel -i u", "uv", "-i of the frontend's command line is not seen here: set X"),
            (
                "uv",
                "uv build -b c",
                "pip",
                "-b of the frontend's command line is not seen here: set PIP_BUILD_CONSTRAINT",
            ),
            ("uv", "uv build --offline", "pip", ""),
            (
                "uv",
                "uv tool install --require-build-hashes x",
                "uv",
                "--require-build-hashes of the frontend's command line is not seen here: set UV_REQUIRE_BUILD_HASHES",
            ),
            ("uv", "uv run --index u x", "uv", "--index of the frontend's command line is not seen here: set X"),
            ("uv", "uvx --index=u x", "uv", "--index of the frontend's command line is not seen here: set X"),
        ],
    )
    def test_of_another_program(
        self, monkeypatch: pytest.MonkeyPatch, name: str, command: str, installer: str, said: str
    ) -> None:
        """None is handed on, and those that decide whose package is taken are named."""
        frontend(monkeypatch, name, command)

        assert frontend_options.frontend_options(installer) == ([], {})
        assert frontend_options.unseen_options(installer, "X") == said

    def test_what_is_locked_has_no_use_for_versions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor for kinds of files: a lock decides both."""
        frontend(monkeypatch, "pip", "pip wheel --pre --build-constraint c --no-binary :all: --no-index")

        assert frontend_options.frontend_options("pip", locked=True) == (["--no-index"], {})


class TestFindUv:
    """`find_uv`."""

    def test_it_is_not_taken_because_it_is_there(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A silent switch would change which index wins (frontends 3.6)."""
        program(tmp_path / "uv")
        monkeypatch.setenv("PATH", str(tmp_path))

        assert find_uv(Settings()) == ""
        assert find_uv(Settings(installer="uv")) == str(tmp_path / "uv")

    @pytest.mark.parametrize(
        ("recorded", "without", "expected"),
        [("uv", "", "/frontend/uv"), ("pip", "1", ""), ("", "", ""), ("", "0", ""), ("", "1", "/frontend/uv")],
    )
    @pytest.mark.parametrize("variable", ["UV", "HATCH_UV"])
    def test_what_filled_the_frontends_environment_decides(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recorded: str, without: str, expected: str, variable: str
    ) -> None:
        """Uv tells its children where it is, those of ``uv run`` too, which may be a build with pip and its indexes.

        So does hatch, whose own uv need not be on PATH. uv leaves out its record where it is told to.
        """
        monkeypatch.setenv("UV_NO_INSTALLER_METADATA", without)
        if recorded:
            folder = tmp_path / "provision_backend-1.0.dist-info"
            folder.mkdir()
            (folder / "INSTALLER").write_text(f"{recorded}\n")
        monkeypatch.setattr(installers, "INSTALLED", tmp_path)
        monkeypatch.delenv("UV", raising=False)
        monkeypatch.setenv(variable, "/frontend/uv")
        installers._uv_of_frontend.cache_clear()

        assert [find_uv(Settings(installer=name)) for name in ("", "pip")] == [expected, ""]
        installers._uv_of_frontend.cache_clear()

    def test_that_beside_the_running_interpreter_is_the_last(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A virtual environment with uv in it need not be on PATH; without that it is an error."""
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(BuildEnvironmentError, match=r"^the installer uv was asked for, and no uv is on PATH$"):
            find_uv(Settings(installer="uv"))
        program(tmp_path / "uv")

        assert find_uv(Settings(installer="uv")) == str(tmp_path / "uv")

    def test_that_of_an_installed_python_of_windows_is_below_it(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """There python.exe stands above Scripts, where uv.exe is, unless it is that of a virtual environment."""
        monkeypatch.setattr(installers, "RUNNING", SYSTEMS["windows"])
        (tmp_path / "Scripts").mkdir()
        program(tmp_path / "Scripts/uv.exe")

        assert installers._uv_beside(str(tmp_path / "python.exe")) == str(tmp_path / "Scripts/uv.exe")


def program(path: Path) -> None:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("", False), ("9.0.1", False), ("22.2.2", False), ("22.3", True), ("23.0.1", True), ("26.0.dev0", True)],
)
def test_supports_python_option(version: str, expected: bool) -> None:
    """``--python`` is there since pip 22.3."""
    assert supports_python_option(version) is expected


def test_no_variable_is_both_set_and_dropped_but_what_overrides_a_file() -> None:
    """What is set for pip wins over what was dropped."""
    assert set(installers._PIP_SET) & set(installers.PIP_DROPPED) == {
        "PIP_DRY_RUN",
        "PIP_REQUIRE_HASHES",
        "PIP_NO_DEPS",
        "PIP_REQUIREMENT",
    }
    assert os.path.exists(installers._PIP_SET["PIP_REQUIREMENT"])


@pytest.mark.parametrize(
    ("installed", "frontend", "expected"),
    [("pip-26.1.1", "pip", True), ("pip-26.2", "pip", False), ("pip-26.1", "uv", False), ("pipx-1.0", "pip", False)],
)
def test_a_pip_below_26_2_obeys_constraints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: str, frontend: str, expected: bool
) -> None:
    """Its own interpreter runs the hooks, so it is found where that has its packages (pypa/pip#13300)."""
    (tmp_path / f"{installed}.dist-info").mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(installers, "frontend_name", lambda: frontend)

    assert installers._frontends_pip_obeys_constraints() is expected


@pytest.mark.parametrize(("uv", "name"), [("", "PIP_KEYRING_PROVIDER"), ("/bin/uv", "UV_KEYRING_PROVIDER")])
def test_the_command_of_keyring_is_asked_where_there_is_one(
    interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uv: str, name: str
) -> None:
    """The frontend's pip may import keyring, and the provisioned interpreter does not have it; a setting stands."""
    monkeypatch.setattr(installers, "find_uv", lambda _: uv)
    place = BuildEnvironment(Path("/env"), interpreter, Settings(), Reporter(), Path("/"))
    environ = {"PATH": str(tmp_path)}
    assert name not in installers.installer_command(place, environ, ["install"])[2]
    program(tmp_path / "keyring")

    assert installers.installer_command(place, environ, ["install"])[2][name] == "subprocess"
    assert installers.installer_command(place, {**environ, name: "disabled"}, ["install"])[2][name] == "disabled"


@pytest.mark.parametrize(
    ("variable", "configured", "expected"),
    [
        ("import", "", "subprocess"),
        ("auto", "", "subprocess"),
        ("disabled", "import", "disabled"),
        ("", "import", "subprocess"),
        ("", "disabled", None),
    ],
)
def test_a_keyring_that_is_to_be_imported_is_asked_by_its_command(
    tmp_path: Path, variable: str, configured: str, expected: Optional[str]
) -> None:
    """The provisioned pip cannot import what the frontend's environment has; what is disabled stays so."""
    program(tmp_path / "keyring")
    (tmp_path / "pip.conf").write_text(f"[global]\nkeyring-provider = {configured}\n")
    variables = {"PATH": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    variables.update({"PIP_KEYRING_PROVIDER": variable} if variable else {})
    installers._use_keyring(variables, "PIP_KEYRING_PROVIDER")

    assert variables.get("PIP_KEYRING_PROVIDER") == expected


def test_a_keyring_beside_the_frontends_interpreter_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A virtual environment need not be activated; nothing of it comes before what is on PATH."""
    program(tmp_path / "keyring")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    variables = {"PATH": "/nowhere/bin", "PIP_CONFIG_FILE": os.devnull}
    installers._use_keyring(variables, "PIP_KEYRING_PROVIDER")

    assert (variables["PIP_KEYRING_PROVIDER"], variables["PATH"]) == ("subprocess", f"/nowhere/bin:{tmp_path}")
    # uv has no keyring of its own to import.
    variables = {"PATH": "/nowhere/bin"}
    installers._use_keyring(variables, "UV_KEYRING_PROVIDER")
    assert variables == {"PATH": "/nowhere/bin"}


@pytest.mark.slow
class TestAnInstallerThatIsNotTheFrontends:
    """A setting of who builds, or of the project, has another one install than fills the frontend's environment."""

    @pytest.mark.parametrize(
        ("variables", "configuration", "said"),
        [
            ({"PIP_INDEX_URL": "x"}, "", "PIP_INDEX_URL is for pip, and uv installs here: set UV_INDEX, UV_DEFAULT_"),
            ({}, "index-url = x", "index-url in {}/pip.conf is for pip, and uv installs here: set UV_INDEX, UV_"),
            ({"PIP_CONSTRAINT": "x"}, "", "PIP_CONSTRAINT is for pip, and uv installs here: set UV_BUILD_CONSTRAINT"),
            ({"PIP_INDEX_URL": "x", "UV_DEFAULT_INDEX": "https://x.invalid"}, "", ""),
            ({}, "", ""),
        ],
    )
    def test_uv_in_place_of_pip(
        self,
        uv: Place,
        capsys: pytest.CaptureFixture[str],
        variables: Dict[str, str],
        configuration: str,
        said: str,
    ) -> None:
        """It asks a public index for a name that the user's own index has, and a line says so before."""
        del uv.environ["UV_FIND_LINKS"]
        uv.environ.update(PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
        uv.configure(variables, configuration and f"[global]\n{configuration}\n", "PIP_CONFIG_FILE")

        self.compare(uv, capsys, said.replace("{}", str(uv.folder)), "uv")

    @pytest.mark.parametrize(
        ("name", "variables", "configuration", "said"),
        [
            ("uv", {"UV_INDEX": "x"}, "", "UV_INDEX is for uv, and pip installs here: set PIP_INDEX_URL, PIP_EX"),
            ("uv", {}, "index-url = 'x'", "index-url of uv's configuration is for uv, and pip installs here: set PIP"),
            ("", {"UV_CONSTRAINT": "x"}, "", "UV_CONSTRAINT is for uv, and pip installs here: set PIP_BUILD_CONSTRAIN"),
            # uv keeps it from the environments that it makes.
            ("uv", {"UV_CONSTRAINT": "x"}, "", ""),
        ],
    )
    def test_pip_in_place_of_uv(
        self,
        uv: Place,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        variables: Dict[str, str],
        configuration: str,
        said: str,
    ) -> None:
        """The same the other way round."""
        frontend(monkeypatch, name, "uv build")
        monkeypatch.setattr(installation, "frontend_name", lambda: name)
        monkeypatch.setattr(installers, "_uv_of_frontend", lambda: "uv")
        uv.environ = {"PIP_PROXY": "http://127.0.0.1:1", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
        uv.environ["PIP_FIND_LINKS"] = ""
        uv.configure(variables, configuration, "UV_CONFIG_FILE")

        self.compare(uv, capsys, said, "pip")

    @staticmethod
    def compare(place: Place, capsys: pytest.CaptureFixture[str], said: str, installer: str) -> None:
        """Compare the beginning of what an installation says that finds nothing."""
        with pytest.raises(BuildEnvironmentError, match="could not install"):
            place.install("toy_one", installer=installer)
        found = capsys.readouterr().err

        assert found.startswith(f"provision-backend: {said}") if said else found == "", found


def test_a_relative_configuration_file_of_pip_is_one_of_the_frontends_folder(
    interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hook runs in the source tree, whose file of that name is somebody else's."""
    (tmp_path / "here").mkdir()
    (tmp_path / "tree").mkdir()
    for name in ("here", "tree"):
        (tmp_path / name / "pip.conf").write_text(f"[global]\nbuild-constraint = of-{name}\n")
    monkeypatch.chdir(tmp_path / "tree")
    monkeypatch.setattr("provision_backend.hooks.environment.frontend_folder", lambda _: str(tmp_path / "here"))
    place = BuildEnvironment(Path("/env"), interpreter, Settings(installer="pip"), Reporter(), tmp_path / "tree")
    _, _, variables = installers.installer_command(place, {"PIP_CONFIG_FILE": "pip.conf"}, ["install"])

    assert variables["PIP_CONFIG_FILE"] == str(tmp_path / "here" / "pip.conf")
    assert variables["PIP_BUILD_CONSTRAINT"] == "of-here"
    _, _, variables = installers.installer_command(place, {"PIP_CONFIG_FILE": os.devnull}, ["install"])
    assert variables["PIP_CONFIG_FILE"] == os.devnull


@pytest.mark.parametrize(("pip", "inside"), [("24.0", False), ("22.2", True), ("", True)])
def test_a_pip_that_cannot_install_elsewhere_is_that_of_the_environment(
    interpreter: Interpreter, pip: str, inside: bool
) -> None:
    """The interpreter's own pip has to be told where to install; an older one was put into the environment."""
    place = BuildEnvironment(Path("/env"), interpreter._replace(pip=pip), Settings(), Reporter(), Path("/"))
    _, command, _ = installers.installer_command(place, {}, ["install"])

    assert command[0] == ("/env/bin/python" if inside else interpreter.executable)
    assert ("--python" in command) != inside
