"""What a hook does, seen from a frontend: answers, exit codes, messages, and the guard against recursion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
from pyproject_hooks import BackendUnavailable, UnsupportedOperation
from support.toys import ROOT, Host, another_interpreter, host_environment, project_of

from provision_backend.errors import HookFailedError, ProjectError
from provision_backend.hooks import build as calls
from provision_backend.hooks.frontend import guard_recursion

pytestmark = pytest.mark.slow

HERE = sys.version.split()[0]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return host_environment(tmp_path_factory.mktemp("host") / "build-env-x")


@pytest.fixture(params=["in process", "forwarded"])
def way(request: pytest.FixtureRequest) -> Dict[str, str]:
    """Return the settings for passing through, and for another interpreter of this machine."""
    if request.param == "in process":
        return {}
    return {"PROVISION_BACKEND_PYTHON": str(another_interpreter().path)}


def failure(host: Host, project: Path, hook: str, *arguments: Any, **env: str) -> str:
    """Call a hook that fails, and return what is on standard error but for the line about the interpreter."""
    with pytest.raises(subprocess.CalledProcessError):
        host.hook(project, hook, *arguments, env=env)
    return re.sub("provision-backend: building with CPython .*\n", "", host.stderr)


class TestOpenBuild:
    """`open_build`."""

    def test_ours_are_taken_out_and_the_rest_is_forwarded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Some real backends refuse keys that they do not know (frontends 1.3)."""
        monkeypatch.chdir(project_of(tmp_path, "", table='installer = "uv"'))
        build = calls.open_build({"provision-backend.verbose": 1, "a": ["1", "2"]})

        assert build.config_settings == {"a": ["1", "2"]}
        assert (build.settings.verbose, build.settings.installer) == (1, "uv")
        assert build.project.root == tmp_path
        assert not build.plan.provision

    @pytest.mark.parametrize("given", [None, {}])
    def test_nothing_stays_what_it_was(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
        """Frontends differ in what they pass for nothing (frontends 1.3)."""
        monkeypatch.chdir(project_of(tmp_path, ""))

        assert calls.open_build(given).config_settings == given

    @pytest.mark.parametrize(
        ("requires_python", "words"),
        [("", "passing through: Python "), (">=3.99", "provisioning: Python ")],
        ids=["passing through", "provisioning"],
    )
    def test_the_reason_is_told_when_asked_for(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        requires_python: str,
        words: str,
    ) -> None:
        """With ``verbose`` every hook says how it is run, and why."""
        monkeypatch.chdir(project_of(tmp_path, "", python=requires_python))
        calls.open_build({"provision-backend.verbose": "1"})

        assert words in capsys.readouterr().err


class TestGetRequires:
    """``get_requires_for_build_*``."""

    def test_static_ones_come_first(self, host: Host, tmp_path: Path) -> None:
        """Until they are there, the real backend cannot be asked; the frontend knows which are met, or do not apply."""
        table = 'requires = ["toy_absent>=1", "pytest", "toy_never; python_version < \'3\'"]'
        project = project_of(tmp_path, "1 / 0", table=table)

        assert host.hook(project, "get_requires_for_build_wheel", None) == [
            "toy_absent>=1",
            "pytest",
            "toy_never; python_version < '3'",
        ]

    def test_met_static_ones_are_named_again(self, host: Host, tmp_path: Path) -> None:
        """``pip-compile --build-deps-for`` asks a second time, and writes down that answer."""
        source = "from minimal import *\ndef get_requires_for_build_wheel(settings): return ['toy_dynamic']"
        project = project_of(tmp_path, source, table='requires = ["pytest"]')

        assert host.hook(project, "get_requires_for_build_wheel", None) == ["pytest", "toy_dynamic"]

    @pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
    def test_then_the_dynamic_ones(self, host: Host, tmp_path: Path, kind: str) -> None:
        """What the real backend answers is what the frontend gets, with its settings."""
        source = f"from minimal import *\ndef get_requires_for_build_{kind}(settings): return [settings['a']]"
        project = project_of(tmp_path, source)

        assert host.hook(project, f"get_requires_for_build_{kind}", {"a": "toy_dynamic"}) == ["toy_dynamic"]

    def test_with_one_list_only_the_dynamic_ones(self, host: Host, tmp_path: Path) -> None:
        """The frontend has installed that list, so that its installer runs once."""
        project = project_of(tmp_path, "def get_requires_for_build_wheel(settings): return ['toy_dynamic']")
        text = (project / "pyproject.toml").read_text().replace("requires = []\n", "")
        text = text.replace('["provision-backend"]', '["provision-backend", "toy_absent"]')
        (project / "pyproject.toml").write_text(text)

        assert host.hook(project, "get_requires_for_build_wheel", None) == ["toy_dynamic"]

    @pytest.mark.parametrize(("frontend", "more"), [("uv", ["toy_absent==1.5"]), ("", [])])
    def test_what_uv_adds_is_named_too(self, host: Host, tmp_path: Path, frontend: str, more: List[str]) -> None:
        """It installs that with the first requirements only, and those of our table would replace its version."""
        project = project_of(tmp_path, "1 / 0", table='requires = ["toy_absent>=1"]')
        name = re.findall("^name = (.*)$", (project / "pyproject.toml").read_text(), re.MULTILINE)[0]
        (project / "uv.toml").write_text(f"[extra-build-dependencies]\n{name} = ['toy_absent==1.5']\n")
        env = {"UV_CONFIG_FILE": str(project / "uv.toml"), **({"UV_INTERNAL__BUILD_DIR": "x"} if frontend else {})}

        assert host.hook(project, "get_requires_for_build_wheel", None, env=env) == ["toy_absent>=1", *more]

    def test_with_an_interpreter_at_hand_none(self, host: Host, tmp_path: Path) -> None:
        """What only provisioning needs is not installed for a build that does not provision."""
        project = project_of(tmp_path, "1 / 0", table='requires = ["toy_absent"]')
        env = {"PROVISION_BACKEND_PYTHON": str(another_interpreter().path)}

        assert host.hook(project, "get_requires_for_build_wheel", None, env=env) == []

    def test_to_provision_what_that_needs(self, tmp_path: Path, wheelless: Host) -> None:
        """Our own extra is read from our metadata, and asked for where something must be downloaded (facts 2.3)."""
        project = project_of(tmp_path, "1 / 0", python=">=3.12" if sys.version_info < (3, 12) else "<3.12")
        env = {"PROVISION_BACKEND_PREFERENCE": "only-managed", "PROVISION_BACKEND_CACHE_DIR": str(tmp_path / "cache")}
        asked = wheelless.hook(project, "get_requires_for_build_wheel", None, env=env)

        client = "httpx2" if sys.version_info >= (3, 11) else "httpx"
        assert [re.split("[<>]", name)[0] for name in asked] == ["pyelftools", client, "certifi", "filelock"]
        assert not (tmp_path / "cache").exists()


@pytest.fixture
def wheelless(tmp_path: Path, own_wheel: Path) -> Host:
    """A frontend's environment with our own wheel and what it needs always, and nothing of the extra."""
    from support.toys import backend_packages

    site = backend_packages(tmp_path / "site", "packaging", "pyproject-hooks", "tomli")
    import zipfile

    with zipfile.ZipFile(str(own_wheel)) as archive:
        archive.extractall(str(site))
    return host_environment(tmp_path / "build-env-x", paths=[site], bare=True)


SDIST = """
class UnsupportedOperation(Exception): pass
def build_sdist(directory, settings=None): raise UnsupportedOperation("no version control")
"""


class TestFailures:
    """How a hook ends that fails, in process and forwarded (frontends 2.5)."""

    @pytest.mark.parametrize("code", [7, 1])
    def test_an_exit_keeps_its_code(self, host: Host, tmp_path: Path, way: Dict[str, str], code: int) -> None:
        """The hook process ends as the real backend did, and says nothing more."""
        project = project_of(tmp_path, f"import sys\ndef build_wheel(*arguments): sys.exit({code})")

        assert failure(host, project, "build_wheel", "/out", **way) == ""
        assert host.returncode == code

    def test_a_friendly_text_is_all_there_is(self, host: Host, tmp_path: Path, way: Dict[str, str]) -> None:
        """No traceback of ours follows it."""
        project = project_of(tmp_path, "import sys\ndef build_wheel(*arguments): sys.exit('on Sundays never')")

        assert failure(host, project, "build_wheel", "/out", **way) == "on Sundays never\n"
        assert host.returncode == 1

    @pytest.mark.parametrize(
        ("result", "said"),
        [
            ("None", "must return a name, found NoneType"),
            ("'absent.whl'", "has returned 'absent.whl', which it has not"),
        ],
    )
    def test_a_result_that_is_none(
        self, host: Host, tmp_path: Path, way: Dict[str, str], result: str, said: str
    ) -> None:
        """Frontends end in a traceback of their own then, which does not name the real backend."""
        source = f"from minimal import *\ndef build_wheel(directory, settings=None, metadata=None): return {result}"
        stderr = failure(host, project_of(tmp_path / "toy", source), "build_wheel", str(tmp_path), **way)

        assert f"provision-backend: build_wheel of the real backend 'toy_backend' {said}" in stderr
        assert "Traceback" not in stderr

    def test_our_own_failures_end_with_a_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Tox expects one, and shows a text four times."""
        monkeypatch.chdir(project_of(tmp_path, "", table='requires = "x"'))
        with pytest.raises(SystemExit) as caught:
            calls.build("build_wheel", "out", None)

        assert caught.value.code == 1
        assert capsys.readouterr().err.count("requires must be an array of strings") == 1

    def test_an_exception_is_shown_once(self, host: Host, tmp_path: Path, way: Dict[str, str]) -> None:
        """The traceback is that of the real backend, and there is no second one."""
        project = project_of(tmp_path, "def build_wheel(*arguments): raise ValueError('why')")
        shown = failure(host, project, "build_wheel", "/out", **way)

        assert shown.count("Traceback") == 1
        assert shown.endswith("ValueError: why\n")
        assert host.returncode == 1

    def test_a_process_that_is_killed(self, host: Host, tmp_path: Path) -> None:
        """The exit code is the shell's, with a line that says so (frontends 6.10)."""
        project = project_of(
            tmp_path, "import os, signal\ndef build_wheel(*arguments): os.kill(os.getpid(), signal.SIGKILL)"
        )
        env = {"PROVISION_BACKEND_PYTHON": str(another_interpreter().path)}

        assert failure(host, project, "build_wheel", "/out", **env) == (
            "provision-backend: the real backend's build_wheel was ended by the signal SIGKILL\n"
        )
        assert host.returncode == 128 + 9

    def test_what_a_failed_build_may_have_lacked(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The traceback of the real backend stands above, so only what it does not know is added."""
        failed = HookFailedError("build_wheel", 1, hint="extension modules need a compiler")

        assert calls._as_exit(failed).code == 1
        assert capsys.readouterr().err == "provision-backend: extension modules need a compiler\n"

    def test_an_exception_of_windows(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A process that crashed has said nothing, and its number is too large for an exit status of ours."""
        cause = "the exception 0xC0000005 (access violation)"
        crashed = HookFailedError("build_wheel", 0xC0000005, cause=cause)

        assert calls._as_exit(crashed).code == 1
        assert capsys.readouterr().err.endswith(f"build_wheel was ended by {cause}\n")

    def test_an_sdist_that_cannot_be_made(self, host: Host, tmp_path: Path, way: Dict[str, str]) -> None:
        """The real caller of build and pip has its own exception for that (PEP 517)."""
        with pytest.raises(UnsupportedOperation, match="no version control"):
            host.hook(project_of(tmp_path, SDIST), "build_sdist", "/out", None, env=way)

    def test_a_backend_that_is_missing_is_not_us(self, host: Host, tmp_path: Path) -> None:
        """An ImportError would have the frontend say that provision_backend is not available."""
        try:
            shown = failure(host, project_of(tmp_path, "import nowhere"), "build_wheel", "/out")
        except BackendUnavailable:
            pytest.fail("the frontend was told that we cannot be imported")

        assert shown == (
            f"provision-backend: the real backend 'toy_backend' could not be imported under Python {HERE}: "
            "No module named 'nowhere'\n"
            "  tool.provision-backend.backend-path must lead to it, found backends\n"
        )

    @pytest.mark.parametrize("hook", ["get_requires_for_build_wheel", "build_wheel", "build_sdist"])
    def test_a_project_that_is_wrong(self, host: Host, tmp_path: Path, hook: str) -> None:
        """Each hook says the same, in one line."""
        project = project_of(tmp_path, "", table='requires = "toy"')
        arguments = [None] if hook.startswith("get") else ["/out", None]

        assert failure(host, project, hook, *arguments) == (
            "provision-backend: pyproject.toml: tool.provision-backend.requires must be an array of strings, "
            "found a string\n"
        )


NESTS = """
import os, subprocess, sys
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print("nested", os.environ["_PROVISION_BACKEND_ACTIVE"], flush=True)
    code = "import provision_backend; provision_backend.build_wheel('/out')"
    inner = os.environ.get("INNER")
    if inner:
        environ = dict(os.environ, INNER=os.environ.get("INNERMOST", ""), PYTHONPATH={root!r})
        done = subprocess.run([os.environ["HOST"], "-c", code], cwd=inner, env=environ)
        if done.returncode:
            sys.exit(done.returncode)
    return os.getcwd()
"""


class TestRecursion:
    """Builds within builds (frontends 6.1)."""

    @pytest.fixture
    def nests(self, host: Host) -> Dict[str, str]:
        """Return what the toy needs to start a build in its build."""
        return {"HOST": str(host.python)}

    def test_different_projects_may_nest(
        self, host: Host, tmp_path: Path, way: Dict[str, str], nests: Dict[str, str]
    ) -> None:
        """A build requirement that is built from source may use us too; it sees who is above it."""
        outer, inner = (project_of(tmp_path / name, NESTS.format(root=str(ROOT))) for name in ("outer", "inner"))
        host.hook(outer, "build_wheel", "/out", None, env={**way, **nests, "INNER": str(inner)})

        seen = [json.loads(line[7:]) for line in host.stdout.splitlines() if line.startswith("nested ")]
        assert seen == [[str(outer)], [str(outer), str(inner)]]

    def test_the_same_source_tree_is_refused(
        self, host: Host, tmp_path: Path, way: Dict[str, str], nests: Dict[str, str]
    ) -> None:
        """By whatever path it is reached; otherwise it would fork without end."""
        outer, inner = (project_of(tmp_path / name, NESTS.format(root=str(ROOT))) for name in ("outer", "inner"))
        (tmp_path / "link").symlink_to(outer)
        env = {**way, **nests, "INNER": str(inner), "INNERMOST": str(tmp_path / "link")}
        shown = failure(host, outer, "build_wheel", "/out", **env)

        assert shown == (
            f"provision-backend: the build of {outer} has started itself\n"
            "  its real backend 'toy_backend' must not lead back to provision_backend\n"
        )
        assert host.returncode == 1

    def test_depth_is_bounded(self, host: Host, tmp_path: Path) -> None:
        """Ten levels are no honest build."""
        above = [f"/project/{number}" for number in range(10)]
        env = {"_PROVISION_BACKEND_ACTIVE": json.dumps(above)}
        project = project_of(tmp_path, "from minimal import *")

        assert failure(host, project, "build_wheel", "/out", **env) == (
            f"provision-backend: builds within builds are 10 deep\n  {' -> '.join(above)} -> {tmp_path}\n"
        )
        env = {"_PROVISION_BACKEND_ACTIVE": json.dumps(above[1:])}
        assert host.hook(project, "build_wheel", str(tmp_path), None, env=env) == "toy-1.0-py3-none-any.whl"

    @pytest.mark.parametrize("before", [None, '["/outer"]'])
    def test_the_guard_is_taken_down(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: Any) -> None:
        """After the hook the variable is what it was, also when a real backend has removed it."""
        if before:
            monkeypatch.setenv("_PROVISION_BACKEND_ACTIVE", before)
        with guard_recursion(tmp_path, "toy"):
            assert json.loads(os.environ["_PROVISION_BACKEND_ACTIVE"])[-1] == str(tmp_path)
            del os.environ["_PROVISION_BACKEND_ACTIVE"]

        assert os.environ.get("_PROVISION_BACKEND_ACTIVE") == before
        with guard_recursion(tmp_path, "toy"), pytest.raises(ProjectError, match="has started itself"):
            guard_recursion(tmp_path, "toy").__enter__()
