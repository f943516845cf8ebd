"""`BuildEnvironment`: which variables reach it, where it is made, and that hooks share it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Mapping

import pytest
from packaging.version import Version
from support.hosts import clean_environ, run_checked
from support.real_interpreters import HostInterpreter, cache_folder, locked, usable_hosts
from support.toys import ROOT, Host, another_interpreter, host_environment, project_of, toy_wheel

from provision_backend.errors import BuildEnvironmentError
from provision_backend.hooks import environment as subject
from provision_backend.hooks import frontend_options
from provision_backend.hooks.environment import BuildEnvironment, create_environment, open_environment
from provision_backend.hooks.forwarded import CurrentEnvironment
from provision_backend.hooks.installers import find_uv, interpreter_environment
from provision_backend.hooks.requirements import find_distributions
from provision_backend.interpreter import Interpreter, inspect_interpreter
from provision_backend.output import Reporter
from provision_backend.project.pyproject import Project
from provision_backend.settings import Settings

pytestmark = pytest.mark.slow

DROPPED = {
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PYTHONPLATLIBDIR": "lib64",
    "PYTHON_GIL": "0",
    "PYTHONEXECUTABLE": "/nowhere/python",
    "__PYVENV_LAUNCHER__": "/nowhere/python",
    "_PYTHON_SYSCONFIGDATA_NAME": "_sysconfigdata_of_conda",
    "_PYTHON_SYSCONFIGDATA_PATH": "/nowhere",
    "_PYTHON_HOST_PLATFORM": "linux-z80",
    "_PYTHON_PROJECT_BASE": "/nowhere",
    "_PYPROJECT_HOOKS_BUILD_BACKEND": "provision_backend",
    "_PYPROJECT_HOOKS_BACKEND_PATH": "/outer",
    "_PYPROJECT_HOOKS_BACKEND_PATH_JSON": '["/outer"]',
    "PEP517_BUILD_BACKEND": "provision_backend",
    "PEP517_BACKEND_PATH": "/outer",
    "_PIP_RUNNING_IN_SUBPROCESS": "1",
    "_PIP_IN_BUILD_IGNORE_CONSTRAINTS": "1",
    "SETUPTOOLS_EXT_SUFFIX": ".cp39-win_amd64.pyd",
}
KEPT = {
    "PIP_BUILD_TRACKER": "/tmp/pip-build-tracker-x",
    "PIP_INDEX_URL": "https://index.example/simple",
    "PIP_BUILD_CONSTRAINT": "/constraints.txt",
    "UV_INDEX": "https://index.example/simple",
    "UV_BUILD_CONSTRAINT": "/constraints.txt",
    "PYTHONSAFEPATH": "1",
    "PYTHONOPTIMIZE": "1",
    "PYTHONWARNINGS": "default",
    "PYTHONDEVMODE": "1",
    "PYTHONPYCACHEPREFIX": "/tmp/none",
    "PYTHONUSERBASE": "/nowhere",
    "PYTHONIOENCODING": "utf-8:backslashreplace",
    "CONDA_PREFIX": "/conda",
    "SETUPTOOLS_USE_DISTUTILS": "local",
    "DIST_EXTRA_CONFIG": "/extra.cfg",
    "SOURCE_DATE_EPOCH": "1700000000",
    "ARCHFLAGS": "-arch arm64",
    "MACOSX_DEPLOYMENT_TARGET": "11.0",
    "CARGO_BUILD_TARGET": "x",
    "CC": "cc",
    "https_proxy": "http://127.0.0.1:1",
}


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return inspect_interpreter(another_interpreter().path)


@pytest.fixture
def make(tmp_path: Path, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that opens an environment in a frontend's own, which is ``build-env-x``."""
    monkeypatch.setattr(subject, "disposable_folder", lambda: tmp_path / "build-env-x" / ".provision-backend")

    def make(*requires: str, of: Interpreter = interpreter, locked: Any = None, **settings: Any) -> BuildEnvironment:
        project = Project(tmp_path, requires=requires)
        return open_environment(of, project, Settings(**settings), Reporter(), locked=locked)

    return make


@pytest.fixture(scope="module")
def bare(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildEnvironment]:
    """Return an environment of another interpreter that holds nothing."""
    folder = tmp_path_factory.mktemp("bare")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(subject, "disposable_folder", lambda: folder)
        yield open_environment(interpreter, Project(folder), Settings(), Reporter())


def child(environment: BuildEnvironment, code: str = "json.dump(dict(os.environ), sys.stdout)") -> Any:
    """Run the environment's own interpreter and return what it says."""
    done = subprocess.run(
        [environment.python, "-c", f"import json, os, sys\n{code}"],
        env=environment.environ(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


class TestVariables:
    """What a process in a build environment of another interpreter sees (frontends 3.4)."""

    @pytest.mark.parametrize("name", sorted(DROPPED))
    def test_what_stops_or_misdirects_it_is_left_behind(
        self, bare: BuildEnvironment, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """The interpreter starts, in its environment, without the variable."""
        monkeypatch.setenv(name, DROPPED[name])

        assert name not in child(bare)
        assert child(bare, "json.dump(sys.prefix, sys.stdout)") == str(bare.path)

    @pytest.mark.parametrize("name", sorted(KEPT))
    def test_what_builders_say_reaches_it(
        self, bare: BuildEnvironment, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """A variable that a real backend or an installer wants arrives as it is."""
        monkeypatch.setenv(name, KEPT[name])

        assert child(bare)[name] == KEPT[name]

    def test_it_is_the_environment_that_tools_find(
        self, bare: BuildEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PATH begins with it, VIRTUAL_ENV is it, and the user's site has no say (frontends 3.4)."""
        monkeypatch.setenv("PATH", "/usr/bin")
        monkeypatch.setenv("VIRTUAL_ENV", "/host/venv")
        seen = child(bare)

        assert seen["PATH"] == f"{bare.path}/bin:/usr/bin"
        assert seen["VIRTUAL_ENV"] == str(bare.path)
        assert seen["PYTHONNOUSERSITE"] == "1"

    def test_a_missing_path_is_the_systems(self, bare: BuildEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty entry in PATH would be the current folder."""
        monkeypatch.delenv("PATH")

        assert bare.environ()["PATH"] == f"{bare.path}/bin:{os.defpath}"

    def test_pips_sitecustomize_does_not_run_in_it(
        self, bare: BuildEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Pip's isolation puts one on PYTHONPATH that extends sys.path by packages of the host's version."""
        (tmp_path / "sitecustomize.py").write_text("import sys; sys.path.append('/overlay')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

        assert "/overlay" not in child(bare, "json.dump(sys.path, sys.stdout)")

    def test_libraries_of_the_running_interpreters_tree_are_left_behind(
        self, bare: BuildEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """setup-python and Software Collections put them on LD_LIBRARY_PATH; others are what real backends need."""
        monkeypatch.setattr(sys, "base_prefix", "/opt/python39")
        monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python39/lib:/opt/python39-extra/lib:/opt/cuda")

        assert child(bare)["LD_LIBRARY_PATH"] == "/opt/python39-extra/lib:/opt/cuda"

    @pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
    def test_the_systems_libraries_stay(
        self, bare: BuildEnvironment, monkeypatch: pytest.MonkeyPatch, prefix: str
    ) -> None:
        """A Python of the system shares its folders with everything else."""
        monkeypatch.setattr(sys, "base_prefix", prefix)
        monkeypatch.setenv("LD_LIBRARY_PATH", f"{prefix}/lib")

        assert child(bare)["LD_LIBRARY_PATH"] == f"{prefix}/lib"

    def test_an_environment_of_the_running_interpreter_keeps_its_libraries(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where it is the same tree, its libraries are the right ones."""
        monkeypatch.setattr(sys, "base_prefix", "/opt/python39")
        monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python39/lib")
        environ = interpreter_environment(Interpreter("/opt/python39/bin/python3.9", "3.9.1"), "/env/bin")

        assert environ["LD_LIBRARY_PATH"] == "/opt/python39/lib"

    def test_the_current_environment_keeps_pips_overlay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Under pip the build requirements are on PYTHONPATH; only the frontend's word to its own backend goes."""
        for name in ("PYTHONPATH", "_PYPROJECT_HOOKS_BACKEND_PATH", "PEP517_BACKEND_PATH"):
            monkeypatch.setenv(name, "/overlay")
        seen = CurrentEnvironment().environ()

        assert seen["PYTHONPATH"] == "/overlay"
        assert [name for name in seen if name.startswith(("_PYPROJECT_HOOKS", "PEP517_"))] == []


class TestCertificates:
    """SSL_CERT_FILE for a standalone CPython; simulated hosts, by what their file systems hold."""

    RHEL = "/etc/pki/tls/certs/ca-bundle.crt"
    FEDORA = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"

    @pytest.mark.parametrize(
        ("present", "source", "environ", "expected"),
        [
            pytest.param([RHEL], "managed", {}, {"SSL_CERT_FILE": RHEL}, id="RHEL 8"),
            pytest.param([FEDORA], "managed", {}, {"SSL_CERT_FILE": FEDORA}, id="Fedora 33"),
            pytest.param([RHEL, "/etc/ssl/cert.pem"], "managed", {}, {}, id="a bundle in Debian's place"),
            pytest.param([RHEL, "/etc/ssl/certs"], "managed", {}, {}, id="a folder in Debian's place"),
            pytest.param([], "managed", {}, {}, id="no certificates"),
            pytest.param([RHEL], "system", {}, {}, id="an interpreter of the system knows its place"),
            pytest.param([RHEL], "managed", {"SSL_CERT_FILE": "/mine"}, {}, id="the user's file"),
            pytest.param([RHEL], "managed", {"SSL_CERT_DIR": "/mine"}, {}, id="the user's folder"),
        ],
    )
    def test_certificates(
        self,
        monkeypatch: pytest.MonkeyPatch,
        present: List[str],
        source: str,
        environ: Mapping[str, str],
        expected: Dict[str, str],
    ) -> None:
        """A host that keeps its certificates elsewhere is told to OpenSSL, and nothing else is (uv#16703)."""
        monkeypatch.setattr(os.path, "exists", present.__contains__)
        monkeypatch.setattr(os.path, "isdir", present.__contains__)

        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        seen = interpreter_environment(Interpreter("/p", "3.13.1", source=source), "/env/bin")

        assert {name: value for name, value in seen.items() if name.startswith("SSL_CERT")} == {**environ, **expected}


class TestOpenEnvironment:
    """`open_environment`."""

    def test_the_second_hook_opens_what_the_first_made(self, make: Any) -> None:
        """The environment and what is known of it are there again, and nothing is installed twice."""
        first = make()
        first.asked = ("question",)
        first.save()
        again = make()

        assert (again.path, again.installed, again.asked) == (first.path, (), ("question",))

    @pytest.mark.parametrize("locked", [None, SimpleNamespace(key="", copy=lambda *_: None, check=lambda *_: None)])
    def test_what_uv_adds_is_installed_too(
        self, make: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], locked: Any
    ) -> None:
        """Together with what the project requires, so that the versions go together; a lock is complete without."""
        installed: List[str] = []
        monkeypatch.setattr(subject, "extra_requirements", lambda *_: ["toy_one==1.0"])
        monkeypatch.setattr(subject, "install", lambda _, requirements, **__: installed.extend(requirements))
        make("toy_one", locked=locked)

        assert installed == ([] if locked else ["toy_one", "toy_one==1.0"])
        said = "provision-backend: extra-build-dependencies of uv is not used: pylock.provision-backend.toml decides\n"
        assert capfd.readouterr().err == (said if locked else "")

    def test_other_requirements_have_another_environment(self, make: Any) -> None:
        """Tox keeps its environment when the project changes (frontends 3.3)."""
        assert make().path != make("toy_one; python_version < '3'").path

    @pytest.mark.parametrize("state", [None, "", "{}", "[]", '{"installed": 1, "asked": []}'])
    def test_a_claimed_and_incomplete_folder_is_passed_over(self, make: Any, state: Any) -> None:
        """A process that was killed, or is still at it, does not stop the next one."""
        expected = make().path
        shutil.rmtree(str(expected))
        expected.mkdir()
        if state is not None:
            (expected / "provision-backend.json").write_text(state)
        made = make()

        assert made.path == expected.with_name(expected.name + "-1")
        assert os.path.exists(made.python)

    def test_an_environment_whose_interpreter_is_gone_is_passed_over(self, make: Any) -> None:
        """A cache may have been emptied while tox kept its environment."""
        made = make()
        os.unlink(made.python)

        assert make().path.name == made.path.name + "-1"

    def test_eight_claimed_folders_are_an_error(self, make: Any) -> None:
        """Who loops over crashes is told what to remove."""
        first = make().path
        for suffix in ("", "-1", "-2", "-3", "-4", "-5", "-6", "-7"):
            folder = first.with_name(first.name + suffix)
            shutil.rmtree(str(folder), ignore_errors=True)
            folder.mkdir()
        with pytest.raises(BuildEnvironmentError) as caught:
            make()

        assert str(caught.value) == (
            f"no folder for a build environment is free in {first.parent}\n  remove the folder and build again"
        )

    def test_a_failed_installation_takes_no_folder(self, make: Any, tmp_path: Path) -> None:
        """In tox's lasting environment, eight failures would otherwise be the end."""
        with pytest.raises(BuildEnvironmentError, match="could not install the real backend's requirements under"):
            make("toy-that-is-nowhere @ file:///nowhere/toy.whl")

        assert list((tmp_path / "build-env-x" / ".provision-backend").iterdir()) == []

    def test_a_folder_that_cannot_be_made_is_named(self, make: Any, tmp_path: Path) -> None:
        """A file in the way is the system's error, said as ours."""
        (tmp_path / "build-env-x").write_text("")
        with pytest.raises(BuildEnvironmentError) as caught:
            make()

        message = str(caught.value)
        assert message.startswith(f"could not make the folder {tmp_path}/build-env-x/.provision-backend/")
        assert message.endswith(": Not a directory")

    def test_an_interpreter_that_makes_no_environment(self, make: Any, tmp_path: Path) -> None:
        """What the venv module says is the hint; the embeddable distribution for Windows has no such module."""
        program = tmp_path / "python3.13"
        program.write_text("#!/bin/sh\necho no venv here >&2\nexit 3\n")
        program.chmod(0o755)
        with pytest.raises(BuildEnvironmentError) as caught:
            make(of=Interpreter(str(program), "3.13.1", pip="24.0"))

        assert str(caught.value) == (
            f"{program} could not make a virtual environment: it ended with exit status 3\n  no venv here"
        )
        program.write_text(f"#!/bin/sh\necho {program}: No module named venv >&2\nexit 1\n")
        with pytest.raises(BuildEnvironmentError) as caught:
            make(of=Interpreter(str(program), "3.13.1", pip="24.0"))
        assert str(caught.value) == (
            f"{program} cannot make a build environment: its module 'venv' is missing\n"
            "  have uv make it: install uv, and set PROVISION_BACKEND_INSTALLER=uv"
        )

    def test_hooks_of_one_process_share_a_private_environment(self, interpreter: Interpreter, tmp_path: Path) -> None:
        """Without a frontend's environment it is a temporary folder, which goes with the process."""
        host = host_environment(tmp_path / "venv")
        project = project_of(tmp_path / "toy", "from minimal import *")
        env = {"PROVISION_BACKEND_PYTHON": interpreter.executable, "TMPDIR": str(tmp_path / "tmp")}
        (tmp_path / "tmp").mkdir()
        code = """
import glob, json, os, provision_backend
for out in ("a", "b"):
    os.mkdir(out)
    provision_backend.build_wheel(out)
print(json.dumps(glob.glob(os.environ["TMPDIR"] + "/provision-backend-*/*")))
"""
        assert len(host.run(code, cwd=project, env=env)) == 1
        assert list((tmp_path / "tmp").iterdir()) == []


REPORTS = """
import json, os, sys
from minimal import *

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open(os.environ["REPORT"], "a") as file:
        file.write(json.dumps({"prefix": sys.prefix}) + "\\n")
    open(os.path.join(wheel_directory, "toy"), "w").close()
    return "toy"
"""


class TestPlaces:
    """Where each frontend's hooks make the environment (frontends 1.4 and 3.3)."""

    @pytest.mark.parametrize(
        ("prefix", "variables", "inside"),
        [
            pytest.param("build-env-k3x", {}, True, id="build"),
            pytest.param("cache/builds-v0/.tmpX", {}, True, id="uv"),
            pytest.param(".tmpW47PlH", {}, True, id="pnpm"),
            pytest.param("tmpfwmpx45q/.venv", {}, False, id="named as poetry names it"),
            pytest.param("work/.tox/.pkg", {"TOX_ENV_DIR": "{prefix}"}, True, id="tox by its folder"),
            pytest.param("work/.tox/.pkg", {"TOX_ENV_NAME": ".pkg"}, True, id="tox by its name"),
            pytest.param("work/.tox/.pkg", {"TOX_ENV_NAME": ".pkg-cpython39"}, True, id="tox, one of several"),
            pytest.param("work/hatch-build", {"HATCH_ENV_ACTIVE": "hatch-build"}, True, id="hatch"),
            pytest.param("work/dev", {"HATCH_ENV_ACTIVE": "dev"}, False, id="an environment of a user of hatch"),
            pytest.param("work/.tox/py39", {"TOX_ENV_NAME": "py39"}, False, id="inside of a test environment"),
            pytest.param("venv", {}, False, id="a user's own"),
        ],
    )
    def test_place(
        self, tmp_path: Path, interpreter: Interpreter, prefix: str, variables: Dict[str, str], inside: bool
    ) -> None:
        """It is inside what the frontend deletes or keeps for us, else in a temporary folder."""
        folder = tmp_path / prefix
        env = {name: value.format(prefix=folder) for name, value in variables.items()}
        host = host_environment(folder)
        place = self._build(host, tmp_path, interpreter, env)

        assert (place.parent == folder / ".provision-backend") == inside
        assert place.exists() == inside

    @pytest.mark.parametrize(
        "layout",
        [
            "pip-build-env-x/overlay/lib/python3.9/site-packages",
            "pip-build-env-x/lib/python3.9/site-packages",
            "pdm-build-env-x-shared/lib/python3.9/site-packages",
        ],
    )
    def test_place_under_the_users_prefix(self, tmp_path: Path, interpreter: Interpreter, layout: str) -> None:
        """Pip and PDM run hooks under the user's own prefix, so the environment is told by where we are installed."""
        overlay = tmp_path / layout
        overlay.parent.mkdir(parents=True)
        shutil.copytree(str(ROOT / "provision_backend"), str(overlay / "provision_backend"))
        host = host_environment(tmp_path / "venv", paths=[overlay])

        expected = tmp_path / Path(layout).parts[0] / ".provision-backend"
        assert self._build(host, tmp_path, interpreter, {}).parent == expected

    def test_place_under_poetry(self, tmp_path: Path, interpreter: Interpreter) -> None:
        """Poetry's environment is told by its command, too; here a stand-in of that name calls the hook."""
        host, project = host_environment(tmp_path / "tmpfwmpx45q" / ".venv"), project_of(tmp_path / "toy", REPORTS)
        poetry = tmp_path / "poetry"
        poetry.write_text("import subprocess, sys\nsys.exit(subprocess.call(sys.argv[1:]))\n")
        environ = {**host.environ, "PROVISION_BACKEND_PYTHON": interpreter.executable, "REPORT": str(tmp_path / "r")}
        code = "import provision_backend; provision_backend.build_wheel('.')"

        command = [sys.executable, str(poetry), str(host.python), "-c", code]
        subprocess.run(command, cwd=str(project), env=environ, check=True)

        prefix = Path(json.loads((tmp_path / "r").read_text())["prefix"])
        assert prefix.parent == tmp_path / "tmpfwmpx45q" / ".venv" / ".provision-backend"

    def test_two_processes_at_once_both_build(self, tmp_path: Path, interpreter: Interpreter) -> None:
        """The folder belongs to who makes it; the other one takes the next (frontends 6.16)."""
        host = host_environment(tmp_path / "build-env-x")
        project = project_of(tmp_path / "toy", REPORTS)
        environ = {**host.environ, "PROVISION_BACKEND_PYTHON": interpreter.executable, "REPORT": str(tmp_path / "r")}
        command = [str(host.python), "-c", "import provision_backend; provision_backend.build_wheel('.')"]
        processes = [subprocess.Popen(command, cwd=str(project), env=environ) for _ in range(3)]

        assert [process.wait(120) for process in processes] == [0, 0, 0]
        prefixes = {json.loads(line)["prefix"] for line in (tmp_path / "r").read_text().splitlines()}
        assert {Path(prefix).parent for prefix in prefixes} == {tmp_path / "build-env-x" / ".provision-backend"}

    @staticmethod
    def _build(host: Host, tmp_path: Path, interpreter: Interpreter, env: Dict[str, str]) -> Path:
        project = project_of(tmp_path / "toy", REPORTS)
        env.update(PROVISION_BACKEND_PYTHON=interpreter.executable, REPORT=str(tmp_path / "report"))
        (tmp_path / "dist").mkdir()
        host.hook(project, "build_wheel", str(tmp_path / "dist"), None, env=env)
        return Path(json.loads((tmp_path / "report").read_text())["prefix"])


class TestCreateEnvironment:
    """`create_environment`."""

    @pytest.mark.parametrize("installer", ["pip", "uv"])
    @pytest.mark.parametrize("host", usable_hosts(), ids=lambda host: host.version)
    def test_an_interpreter_takes_it_for_its_environment(
        self, tmp_path: Path, host: HostInterpreter, installer: str
    ) -> None:
        """It is made in a folder that exists, of links, with nothing in it, by either tool."""
        interpreter = inspect_interpreter(host.path)
        create_environment(interpreter, tmp_path, Settings(installer=installer))
        environment = BuildEnvironment(tmp_path, interpreter, Settings(), Reporter(), tmp_path)
        prefix, base = child(environment, "json.dump([sys.prefix, sys.base_prefix], sys.stdout)")

        assert prefix == str(tmp_path)
        assert interpreter.executable.startswith(base)
        assert Path(environment.python).resolve() == Path(interpreter.executable)
        assert environment.packages
        assert find_distributions(environment.packages) == {}

    def test_what_uv_is_told_of_other_environments_has_no_say(
        self, tmp_path: Path, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither variables nor the project's own table choose the interpreter or put anything in."""
        (tmp_path / "pyproject.toml").write_text('[tool.uv]\npython-preference = "only-managed"\n')
        monkeypatch.chdir(tmp_path)
        for name, value in {"UV_PYTHON": "3.6", "UV_VENV_SEED": "1", "UV_PROJECT": "/nowhere"}.items():
            monkeypatch.setenv(name, value)
        create_environment(interpreter, tmp_path / "made", Settings(installer="uv"))

        assert os.path.realpath(str(tmp_path / "made" / "bin" / "python")) == interpreter.executable
        assert list(tmp_path.glob("made/lib/python*/site-packages/pip")) == []

    def test_a_pip_that_cannot_install_elsewhere_is_put_inside(self, tmp_path: Path, interpreter: Interpreter) -> None:
        """Before 22.3 pip installs only where it is."""
        create_environment(interpreter._replace(pip="22.2"), tmp_path / "made", Settings())

        assert list(tmp_path.glob("made/lib/python*/site-packages/pip"))


def tree_without_pip(folder: Path, python: Path) -> Path:
    """Make an installation of a real interpreter that has nothing in its site-packages; return its executable.

    The executable is copied, since that is where Python looks for its library from; the library is linked.
    """
    facts = run_checked(
        [str(python), "-I", "-c", "import os, sys; print(os.path.dirname(os.__file__)); print(sys.base_prefix)"],
        clean_environ(),
    ).split()
    library, prefix = Path(facts[0]), Path(facts[1])
    if prefix == Path("/usr"):
        pytest.skip("an interpreter of the system cannot be copied")
    copy = folder / library.relative_to(prefix)
    (copy / "site-packages").mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name not in ("site-packages", "__pycache__"):
            (copy / entry.name).symlink_to(entry)
    for entry in prefix.glob("lib/libpython*"):
        (folder / "lib" / entry.name).symlink_to(entry)
    (folder / "bin").mkdir()
    executable = folder / "bin" / python.name
    shutil.copy2(str(python), str(executable))
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    return executable


class TestInterpretersWithLittlePip:
    """Interpreters whose own pip cannot fill another environment."""

    def test_no_pip_falls_back_to_ensurepip(self, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment then gets a pip of its own, from what every CPython carries."""
        python = inspect_interpreter(tree_without_pip(tmp_path / "tree", another_interpreter().path))
        toy_wheel(tmp_path / "wheels", "toy_one", "1.0")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
        made = make("toy_one", of=python)

        assert python.pip == ""
        assert child(made, "import toy_one, pip; json.dump(toy_one.VERSION, sys.stdout)") == "1.0"

    def test_an_old_pip_installs_from_inside(self, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before 22.3 pip has no option --python (frontends 3.2)."""
        hosts = [host for host in usable_hosts() if Version(host.version) < Version("3.12")]
        if not hosts:
            pytest.skip("no CPython that an old pip runs on")
        host = hosts[0]
        python = tree_without_pip(tmp_path / "tree", host.path)
        install_old_pip(next(tmp_path.glob("tree/lib/python*/site-packages")))
        toy_wheel(tmp_path / "wheels", "toy_one", "1.0")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
        interpreter = inspect_interpreter(python)
        made = make("toy_one", of=interpreter)

        assert interpreter.pip == "22.2.2"
        assert child(made, "import toy_one; json.dump(toy_one.VERSION, sys.stdout)") == "1.0"


def install_old_pip(site: Path) -> None:
    """Unpack pip 22.2.2, which is downloaded once."""
    import zipfile

    folder = cache_folder() / "wheels" / "old-pip"
    with locked(cache_folder() / "wheels-old-pip.lock"):
        if not list(folder.glob("pip-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "pip==22.2.2"]
            if subprocess.run(command, env=clean_environ(), stderr=subprocess.DEVNULL).returncode:
                pytest.skip("pip 22.2.2 cannot be downloaded")
    with zipfile.ZipFile(str(next(folder.glob("pip-*.whl")))) as archive:
        archive.extractall(str(site))


@pytest.mark.slow
@pytest.mark.parametrize("built", ["source", "sdists-v11/x/toy-1"])
def test_uv_takes_requirements_from_where_the_project_says(
    interpreter: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: str
) -> None:
    """A name in ``tool.uv.sources`` is asked at no index; with pip, which would ask, it is an error.

    In an sdist that uv has unpacked in its cache, paths are those of the tree that uv was told to build.
    """
    try:
        find_uv(Settings(installer="uv"))
    except BuildEnvironmentError:
        pytest.skip("uv is not installed")
    wheel = toy_wheel(tmp_path / "vendor", "toy_plugin", "3.0")
    source = tmp_path / "source"
    source.mkdir()
    table = f"[tool.uv.sources]\ntoy-plugin = {{ path = '../vendor/{wheel.name}' }}\n"
    (source / "pyproject.toml").write_text(table)
    (tmp_path / built).mkdir(parents=True, exist_ok=True)
    (tmp_path / built / "pyproject.toml").write_text(table)
    for module in (subject, frontend_options):
        monkeypatch.setattr(module, "frontend_name", lambda: "uv")
    monkeypatch.setattr(frontend_options, "frontend_command", lambda: ["uv", "build", str(source)])
    monkeypatch.setenv("UV_OFFLINE", "1")
    (tmp_path / "env").mkdir()
    environment = BuildEnvironment(
        tmp_path / "env", interpreter, Settings(installer="uv"), Reporter(), tmp_path / built
    )
    create_environment(interpreter, environment.path, environment.settings)
    environment.install(["toy_plugin"], what="the plugin")

    assert [path.name for path in Path(environment.packages[0]).glob("toy_*.dist-info")] == ["toy_plugin-3.0.dist-info"]
    environment.settings = Settings(installer="pip")
    with pytest.raises(BuildEnvironmentError) as caught:
        environment.install(["toy-plugin"], what="the plugin")
    assert str(caught.value) == (
        "tool.uv.sources names a requirement of the build, and the installer, pip, ignores that table\n"
        "  set PROVISION_BACKEND_INSTALLER=uv"
    )
