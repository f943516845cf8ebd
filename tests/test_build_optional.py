"""Optional hooks: those of the real backend, as soon as that can be told, and asking for them never costs anything."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support.servers import ArchiveServer
from support.toys import ROOT, Host, another_interpreter, backend_packages, host_environment, project_of

pytestmark = pytest.mark.slow

OPTIONAL = [
    "build_editable",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ASK = """
import json, {module} as backend
names = {names!r}
print(json.dumps([name for name in names if hasattr(backend, name)]))
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A frontend's environment with three real backends."""
    site = backend_packages(tmp_path_factory.mktemp("site"), "hatchling", "flit_core", "setuptools", "editables")
    return host_environment(tmp_path_factory.mktemp("host") / "build-env-x", paths=[ROOT, site])


def ask(host: Host, project: Path, module: str = "provision_backend", **env: str) -> List[str]:
    """Return the optional hooks that a module has, as a frontend sees them that looks in the project's folder."""
    found: List[str] = host.run(
        ASK.format(module=module, names=[*OPTIONAL, "UnsupportedOperation"]), cwd=project, env=env
    )
    return found


def wrapping(tmp_path: Path, backend: str) -> Path:
    """Write a project with a real backend that is installed."""
    project = project_of(tmp_path / "toy", "", name=backend)
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace('backend-path = ["backends"]', ""))
    return project


@pytest.mark.parametrize("tracker", [{}, {"PIP_BUILD_TRACKER": "/tmp/tracker"}], ids=["build", "pip"])
@pytest.mark.parametrize("backend", ["hatchling.build", "flit_core.buildapi", "setuptools.build_meta"])
def test_passing_through_they_are_exactly_the_real_backends(
    host: Host, tmp_path: Path, backend: str, tracker: Dict[str, str]
) -> None:
    """Hatchling hides its metadata hooks from pip; flit and setuptools do not (frontends 2.2)."""
    project = wrapping(tmp_path, backend)
    theirs = ask(host, project, backend, **tracker)

    assert ask(host, project, **tracker) == theirs
    assert ("prepare_metadata_for_build_wheel" in theirs) == (backend != "hatchling.build" or not tracker)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("from minimal import *", OPTIONAL, id="all"),
        pytest.param(
            "from minimal import build_wheel, build_sdist",
            ["prepare_metadata_for_build_editable"],
            id="none but the one that ends in a sentence, which pip was promised",
        ),
        pytest.param(
            "from minimal import build_editable",
            ["build_editable", "get_requires_for_build_editable"],
            id="what belongs to editables is there with them",
        ),
        pytest.param(
            "from minimal import get_requires_for_build_editable",
            ["prepare_metadata_for_build_editable"],
            id="and not without",
        ),
        pytest.param(
            "from minimal import build_editable\nclass UnsupportedOperation(Exception): pass",
            ["build_editable", "get_requires_for_build_editable", "UnsupportedOperation"],
            id="PEP 517's exception",
        ),
    ],
)
def test_toy_backends_are_mirrored(host: Host, tmp_path: Path, source: str, expected: List[str]) -> None:
    """Presence alone changes what frontends do, so it is the real backend's (frontends 2.3)."""
    assert ask(host, project_of(tmp_path / "toy", source)) == expected


def test_a_promised_editable_hook_that_is_missing_is_one_sentence(host: Host, tmp_path: Path) -> None:
    """Pip asked before the requirements of our table were installed, and calls this hook next."""
    project = project_of(tmp_path / "toy", "from minimal import build_wheel, build_sdist")
    with pytest.raises(subprocess.CalledProcessError):
        host.hook(project, "prepare_metadata_for_build_editable", str(tmp_path), None)

    assert host.stderr == "provision-backend: the real backend 'toy_backend' has no hook 'build_editable'\n"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import nowhere", id="it cannot be imported"),
        pytest.param("raise RuntimeError('no')", id="it raises"),
        pytest.param("raise AttributeError('no')", id="it raises what would mean that there is no hook"),
    ],
)
def test_while_it_cannot_be_told_the_answer_is_yes(host: Host, tmp_path: Path, source: str) -> None:
    """``hasattr`` gives an answer, and the hook itself the error (frontends 2.5)."""
    assert ask(host, project_of(tmp_path / "toy", source)) == [*OPTIONAL, "UnsupportedOperation"]


def test_a_broken_project_is_told_by_the_hook(host: Host, tmp_path: Path) -> None:
    """Outside a project, too, asking raises nothing."""
    assert ask(host, tmp_path) == [*OPTIONAL, "UnsupportedOperation"]


def test_other_names_cost_nothing(host: Host, tmp_path: Path) -> None:
    """Pytest and inspect look for anything; that imports none of our modules (frontends 2.3)."""
    code = """
import json, sys, provision_backend
found = [name for name in ("__path__", "__wrapped__", "pytest_plugins", "x") if hasattr(provision_backend, name)]
print(json.dumps([found, [name for name in sys.modules if name.startswith("provision_backend.")]]))
"""
    assert host.run(code, cwd=tmp_path) == [["__path__"], []]


def test_asking_neither_downloads_nor_writes(host: Host, tmp_path: Path) -> None:
    """Where an interpreter must be provisioned no request comes to the server, and no folder is made (facts 2.4)."""
    project = project_of(tmp_path / "toy", "from minimal import build_wheel", python=">=3.99")
    cache = tmp_path / "cache"
    with ArchiveServer() as server:
        for catalog in (f"{server.url}/SHA256SUMS", ""):
            env = {
                "PROVISION_BACKEND_CATALOG": catalog,
                "PROVISION_BACKEND_MIRROR": server.url,
                "PROVISION_BACKEND_CACHE_DIR": str(cache),
                "PROVISION_BACKEND_PREFERENCE": "only-managed",
            }

            assert ask(host, project, **env) == [*OPTIONAL, "UnsupportedOperation"]
        assert server.requests == []
    assert not cache.exists()
    assert not (host.python.parent.parent / ".provision-backend").exists()


class TestProvisioned:
    """Under another interpreter, where they cannot be told without provisioning it."""

    @pytest.fixture
    def env(self) -> Dict[str, str]:
        """Return the setting that provisions with another interpreter of this machine."""
        return {"PROVISION_BACKEND_PYTHON": str(another_interpreter().path)}

    @pytest.fixture
    def host(self, tmp_path: Path) -> Host:
        """Return a frontend's environment for one test."""
        return host_environment(tmp_path / "build-env-x")

    def test_missing_metadata_come_from_a_wheel(self, host: Host, tmp_path: Path, env: Dict[str, str]) -> None:
        """Who was told that there is a metadata hook gets metadata."""
        project = project_of(tmp_path / "toy", "from minimal import build_wheel")

        assert host.hook(project, OPTIONAL[3], str(tmp_path), None, env=env) == "toy-1.0.dist-info"
        assert (tmp_path / "toy-1.0.dist-info" / "METADATA").exists()

    def test_a_missing_editable_hook_is_an_error(self, host: Host, tmp_path: Path, env: Dict[str, str]) -> None:
        """It says which, and shows no traceback."""
        project = project_of(tmp_path / "toy", "from minimal import build_wheel")
        with pytest.raises(Exception, match="returned non-zero exit status 1"):
            host.hook(project, "build_editable", str(tmp_path), None, None, env=env)

        assert host.stderr.endswith(
            "\nprovision-backend: the real backend 'toy_backend' has no hook 'build_editable'\n"
        )
        assert host.stderr.count("\n") == 2  # The first line names the interpreter.


def test_the_functions_forward_their_arguments(host: Host, tmp_path: Path) -> None:
    """Each optional hook calls that of the real backend, with what the frontend gave."""
    source = (
        "import os\n"
        "from minimal import build_wheel\n"
        "def record(name, directory, *rest):\n"
        "    os.mkdir(os.path.join(directory, name + '.dist-info'))\n"
        "    with open(os.path.join(directory, name + '.whl'), 'w') as file: file.write(repr(rest))\n"
        "    return name + ('.whl' if name.startswith('build') else '.dist-info')\n"
        "def get_requires_for_build_editable(*arguments):\n"
        "    return ['packaging'] if arguments == ({'a': '1'},) else None\n"
    ) + "".join(
        f"def {name}(*arguments): return record({name!r}, *arguments)\n"
        for name in OPTIONAL
        if not name.startswith("get")
    )
    project = project_of(tmp_path / "toy", source)
    config: Any = {"a": "1", "provision-backend.verbose": "0"}
    made = tmp_path / "made"
    made.mkdir()

    assert host.hook(project, OPTIONAL[0], str(made), config, "/metadata") == f"{OPTIONAL[0]}.whl"
    assert (made / f"{OPTIONAL[0]}.whl").read_text() == repr(({"a": "1"}, "/metadata"))
    assert host.hook(project, OPTIONAL[1], config) == ["packaging"]
    for name in OPTIONAL[2:]:
        assert host.hook(project, name, str(made), config) == f"{name}.dist-info"
        assert (made / f"{name}.whl").read_text() == repr(({"a": "1"},))
