"""The real backend in this very process: it is as if we were not there."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from support.hosts import is_running
from support.toys import ROOT, Host, backend_packages, host_environment, in_process, project_of, toy_wheel

from provision_backend.catalog.wanted import Lock
from provision_backend.errors import BackendError
from provision_backend.hooks import build as calls
from provision_backend.hooks import in_process as passthrough
from provision_backend.hooks.build import serves
from provision_backend.hooks.made import surprises
from provision_backend.project.pyproject import Project, read_project

VERSION = sys.version.split()[0]


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give every test the modules and the path that it found."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in ("toy_backend", "minimal"):
            del sys.modules[name]


def project(tmp_path: Path, backend: str = "from minimal import *", **more: Any) -> Project:
    return read_project(project_of(tmp_path / "toy", backend, **more))


class TestLoadBackend:
    """`load_backend`."""

    def test_in_tree_backends_come_first(self, tmp_path: Path) -> None:
        """The folder of ``backend-path`` stands before all others, once (PEP 517)."""
        mine = project(tmp_path)
        backend = passthrough.load_backend(mine)
        passthrough.load_backend(mine)

        assert backend.__file__ == str(mine.root / "backends" / "toy_backend.py")
        assert sys.path[0] == str(mine.root / "backends")
        assert sys.path.count(sys.path[0]) == 1

    def test_several_folders_keep_their_order(self, tmp_path: Path) -> None:
        """The first folder wins."""
        mine = project(tmp_path)._replace(backend_path=("backends", "."))
        passthrough.load_backend(mine)

        assert sys.path[:2] == [str(mine.root / "backends"), str(mine.root)]

    def test_a_module_from_elsewhere_is_refused(self, tmp_path: Path) -> None:
        """An in-tree real backend is loaded from ``backend-path`` and from nowhere else (PEP 517)."""
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "toy_elsewhere.py").write_text("")
        sys.path.append(str(tmp_path / "elsewhere"))
        with pytest.raises(BackendError) as caught:
            passthrough.load_backend(project(tmp_path, name="toy_elsewhere"))

        assert str(caught.value) == (
            f"the real backend 'toy_elsewhere' could not be imported under Python {VERSION}: "
            f"Cannot find module 'toy_elsewhere' in ['{tmp_path}/toy/backends']\n"
            "  tool.provision-backend.backend-path must lead to it, found backends"
        )

    def test_another_finder_does_not_come_first(self, tmp_path: Path) -> None:
        """An editable install of a package of the same name does not get in between."""

        class Finder:
            @staticmethod
            def find_spec(name: str, _path: Any = None, _target: Any = None) -> None:
                assert name != "toy_backend"

        sys.meta_path.insert(0, Finder)
        mine = project(tmp_path)

        assert passthrough.load_backend(mine).__file__ == str(mine.root / "backends" / "toy_backend.py")
        passthrough.load_backend(mine)
        assert sys.meta_path[1] is Finder

    def test_an_object_of_a_module(self, tmp_path: Path) -> None:
        """``module:object.attribute`` is looked up, as for setuptools' ``__legacy__``."""
        mine = project(tmp_path, "class Api:\n  class inner: NAME = 1", name="toy_backend:Api.inner")

        assert passthrough.load_backend(mine).NAME == 1

    def test_an_object_that_is_missing(self, tmp_path: Path) -> None:
        """The message has what Python says of it."""
        with pytest.raises(BackendError) as caught:
            passthrough.load_backend(project(tmp_path, "", name="toy_backend:Api"))

        assert str(caught.value) == (
            "the real backend 'toy_backend:Api' does not exist: module 'toy_backend' has no attribute 'Api'"
        )

    @pytest.mark.parametrize(
        ("table", "hint"),
        [
            pytest.param(
                'requires = ["toy_absent>=1"]', "not installed: toy_absent>=1", id="a requirement is not installed"
            ),
            pytest.param(
                "", "tool.provision-backend.backend-path must lead to it, found backends", id="all are installed"
            ),
        ],
    )
    def test_a_module_that_is_missing(self, tmp_path: Path, table: str, hint: str) -> None:
        """It is ours to say, since the frontend would name us (frontends 2.5)."""
        with pytest.raises(BackendError) as caught:
            passthrough.load_backend(project(tmp_path, name="toy_nowhere", table=table))

        assert str(caught.value) == (
            f"the real backend 'toy_nowhere' could not be imported under Python {VERSION}: "
            f"Cannot find module 'toy_nowhere' in ['{tmp_path}/toy/backends']\n  {hint}"
        )

    def test_another_exception_passes(self, tmp_path: Path) -> None:
        """What is no ImportError is the real backend's own affair."""
        with pytest.raises(ZeroDivisionError):
            passthrough.load_backend(project(tmp_path, "1 / 0"))


class TestCalls:
    """`call_hook`, `get_requires` and `requires_hook`."""

    def test_the_answer_is_the_real_backends(self, tmp_path: Path) -> None:
        """Arguments go in as they are, and what comes back is not touched."""
        source = "def build_sdist(directory, settings=None): return directory, settings"

        assert passthrough.call_hook(project(tmp_path, source), "build_sdist", "/out", {"a": 1}) == ("/out", {"a": 1})

    @pytest.mark.parametrize(
        "raised", ["ValueError('why')", "KeyError('why')", "SystemExit('why')", "AttributeError('why')"]
    )
    def test_exceptions_pass_unchanged(self, tmp_path: Path, raised: str) -> None:
        """Type, arguments and traceback are those of a build without us."""
        source = f"def build_sdist(directory, settings=None):\n    raise {raised}\n"
        with pytest.raises(BaseException, match="why") as caught:
            passthrough.call_hook(project(tmp_path, source), "build_sdist", "/out", None)

        assert type(caught.value).__name__ == raised.partition("(")[0]
        assert caught.value.args == ("why",)
        assert Path(str(caught.traceback[-1].path)).name == "toy_backend.py"

    def test_a_hook_that_is_missing(self, tmp_path: Path) -> None:
        """PEP 517 wants this one of every backend."""
        with pytest.raises(BackendError, match=r"^the real backend 'toy_backend' has no hook 'build_sdist'$"):
            passthrough.call_hook(project(tmp_path, ""), "build_sdist", "/out", None)

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            pytest.param("", [], id="no such hook"),
            pytest.param("def get_requires_for_build_wheel(settings): return ('a', 'b')", ["a", "b"], id="asked"),
        ],
    )
    def test_get_requires(self, tmp_path: Path, source: str, expected: Any) -> None:
        """A missing hook means no requirements (PEP 517)."""
        assert passthrough.get_requires(project(tmp_path, source), "get_requires_for_build_wheel", None) == expected

    @pytest.mark.parametrize(
        ("answer", "found"),
        [
            ("None", "NoneType"),
            ("'text'", "str"),
            ("['a', 1]", "int in it"),
            ("5", "int"),
            ("{'a': 1}.values()", "int in it"),
        ],
    )
    def test_requirements_that_are_no_list_of_texts(self, tmp_path: Path, answer: str, found: str) -> None:
        """A frontend would end in a traceback over them, or install a package for each letter."""
        mine = project(tmp_path, f"def get_requires_for_build_wheel(settings): return {answer}")
        hook = "get_requires_for_build_wheel"
        with pytest.raises(BackendError) as caught:
            passthrough.get_requires(mine, hook, None)

        wanted = f"{hook} of the real backend 'toy_backend' must return a list of requirements"
        assert str(caught.value) == f"{wanted}, found {found}"

    def test_passwords_are_hidden_from_the_real_backend(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may print or record all variables, also while it is imported; the next hook of tox has them again."""
        secret = "https://user:s3cret@mirror.example"
        monkeypatch.setenv("PROVISION_BACKEND_MIRROR", secret)
        monkeypatch.setenv("PROVISION_BACKEND_RETRIES", "1")
        source = """import os
SEEN = sorted(name for name in os.environ if name in ("PROVISION_BACKEND_MIRROR", "PROVISION_BACKEND_RETRIES"))
def get_requires_for_build_wheel(settings): return SEEN
def build_wheel(directory): return sorted(name for name in os.environ if name.startswith("PROVISION_BACKEND_M"))
"""
        mine = project(tmp_path, source)

        assert passthrough.get_requires(mine, "get_requires_for_build_wheel", None) == ["PROVISION_BACKEND_RETRIES"]
        assert passthrough.call_hook(mine, "build_wheel", "/out") == []
        assert os.environ["PROVISION_BACKEND_MIRROR"] == secret

    @pytest.mark.parametrize(
        ("hook", "asked"),
        [
            ("build_wheel", "wheel"),
            ("build_sdist", "sdist"),
            ("build_editable", "editable"),
            ("prepare_metadata_for_build_wheel", "wheel"),
            ("prepare_metadata_for_build_editable", "editable"),
        ],
    )
    def test_requires_hook(self, hook: str, asked: str) -> None:
        """Metadata need what the wheel needs."""
        assert passthrough.requires_hook(hook) == f"get_requires_for_build_{asked}"


ASKS = """
def build_wheel(directory, settings=None, metadata=None): pass
def get_requires_for_build_wheel(settings=None): return {requires}
"""


class TestServes:
    """`serves`: whether this environment will do for a hook."""

    @pytest.fixture(autouse=True)
    def _isolated(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calls, "disposable_folder", lambda: tmp_path)

    @pytest.mark.parametrize(
        ("source", "hook", "expected"),
        [
            pytest.param("", "build_wheel", True, id="a missing hook is reported here"),
            pytest.param("", "prepare_metadata_for_build_wheel", False, id="metadata can be had from a wheel"),
            pytest.param("def build_wheel(): pass", "build_wheel", True, id="a backend that asks for nothing"),
            pytest.param(ASKS.format(requires="[]"), "build_wheel", True, id="no dynamic requirements"),
            pytest.param(ASKS.format(requires="['pytest>=1']"), "build_wheel", True, id="met ones"),
            pytest.param(ASKS.format(requires="['pytest>=999']"), "build_wheel", False, id="unmet ones"),
            pytest.param(
                ASKS.format(requires="['toy_absent; python_version < \"3\"']"),
                "build_wheel",
                True,
                id="not for this Python",
            ),
        ],
    )
    def test_serves(self, tmp_path: Path, source: str, hook: str, expected: bool) -> None:
        """Only dynamic requirements that nobody could install are a reason to build elsewhere."""
        assert serves(project(tmp_path, source), hook, None) is expected

    def test_settings_reach_the_question(self, tmp_path: Path) -> None:
        """A backend may ask for more on request, and the answer is that of a process of its own."""
        source = ASKS.format(requires="[settings['need']]")

        assert serves(project(tmp_path, source), "build_wheel", {"need": "pytest"})
        assert not serves(project(tmp_path, source), "build_wheel", {"need": "toy_absent"})

    def test_without_isolation_nothing_is_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Then nothing is to be installed, and everything is as the user wants it."""
        monkeypatch.setattr(calls, "disposable_folder", lambda: None)

        assert serves(project(tmp_path, ASKS.format(requires="['toy_absent']")), "build_wheel", None)
        assert serves(project(tmp_path, ""), "prepare_metadata_for_build_wheel", None)

    def test_with_one_list_nothing_is_asked(self, tmp_path: Path) -> None:
        """The frontend has asked already."""
        mine = project(tmp_path, ASKS.format(requires="1 / 0"))
        mine = mine._replace(one_list=True)

        assert serves(mine, "build_wheel", None)


MANY_HOOKS = """
import json, os, sys

def state():
    return [dict(os.environ), os.getcwd(), [path for path in sys.path if not path.endswith("backends")], sys.argv]

before, outcomes = state(), []
import provision_backend as backend
for number in range(2):
    for hook in json.loads({hooks!r}):
        out = os.path.join(os.environ["OUT"], "%d-%s" % (number, hook))
        os.mkdir(out)
        try:
            answer = getattr(backend, hook)(*([out] if not hook.startswith("get_") else []))
        except BaseException as error:
            answer = type(error).__name__
        outcomes.append([hook, answer])
print()
print(json.dumps([outcomes, [pair for pair in zip(before, state()) if pair[0] != pair[1]]]))
"""


@pytest.mark.slow
class TestManyHooksInOneProcess:
    """tox runs all hooks in one process that lives on (frontends 1.5)."""

    HOOKS = '["get_requires_for_build_sdist", "build_sdist", "get_requires_for_build_wheel", "build_wheel"]'

    def test_a_toy_backend(self, tmp_path: Path) -> None:
        """Environment, folder, path and arguments are as they were, also after the hook has exited."""
        source = "from minimal import *\nimport sys\ndef build_sdist(directory, settings=None): sys.exit('no')"
        mine = project_of(tmp_path / "toy", source)
        code = MANY_HOOKS.format(hooks=self.HOOKS)
        outcomes, changed = in_process(code, mine, env={"OUT": str(tmp_path)})

        assert changed == []
        assert outcomes == 2 * [
            ["get_requires_for_build_sdist", []],
            ["build_sdist", "SystemExit"],
            ["get_requires_for_build_wheel", []],
            ["build_wheel", "toy-1.0-py3-none-any.whl"],
        ]

    @pytest.mark.parametrize("fault", ["an unreadable project", "a wrong setting", "a refused recursion"])
    def test_our_own_errors(self, tmp_path: Path, fault: str) -> None:
        """Each is a SystemExit that leaves no trace."""
        mine = project_of(tmp_path / "toy", "from minimal import *")
        env = {"OUT": str(tmp_path)}
        if fault == "an unreadable project":
            (mine / "pyproject.toml").write_text("[")
        elif fault == "a wrong setting":
            env["PROVISION_BACKEND_OFFLINE"] = "maybe"
        else:
            env["_PROVISION_BACKEND_ACTIVE"] = f'["{mine}"]'
        outcomes, changed = in_process(MANY_HOOKS.format(hooks=self.HOOKS), mine, env=env)

        assert changed == []
        assert {answer for _, answer in outcomes} == {"SystemExit"}

    def test_setuptools(self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        """The real backend that runs ``setup.py`` does so several times."""
        site = backend_packages(tmp_path_factory.mktemp("site"), "setuptools", "wheel")
        mine = project_of(tmp_path / "toy", "", name="setuptools.build_meta", table='requires = ["setuptools"]')
        (mine / "setup.py").write_text("from setuptools import setup\nsetup(py_modules=['toy'])\n")
        (mine / "toy.py").write_text("")
        text = (mine / "pyproject.toml").read_text().replace('backend-path = ["backends"]', "")
        (mine / "pyproject.toml").write_text(text)
        host = host_environment(tmp_path / "venv", paths=[ROOT, site])
        code, seen = MANY_HOOKS.format(hooks=self.HOOKS), []
        for number, backend in enumerate(("provision_backend", "setuptools.build_meta")):
            (tmp_path / str(number)).mkdir()
            env = {"OUT": str(tmp_path / str(number))}
            seen.append(host.run(code.replace("provision_backend as", f"{backend} as"), cwd=mine, env=env))
        (outcomes, ours), (_, theirs) = seen

        assert [answer for hook, answer in outcomes if hook == "build_wheel"] == 2 * ["toy-1.0-py3-none-any.whl"]
        # setuptools itself leaves something behind; we add nothing to that.
        assert len(ours) == len(theirs)
        assert all(difference(*mine) <= difference(*its) for mine, its in zip(ours, theirs))


def difference(before: Any, after: Any) -> Any:
    """Return what has changed: the names of variables, or the number of entries that came."""
    if isinstance(before, dict):
        return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return len(after) - len(before)


UNMET = """
import os, sys
from minimal import *
def get_requires_for_build_wheel(settings=None): return ["toy_needed>=2"]
def get_requires_for_build_sdist(settings=None): return ["toy_needed>=2"]
class UnsupportedOperation(Exception): pass
def build_sdist(directory, settings=None):
    import toy_needed
    raise UnsupportedOperation("no version control")
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import toy_needed
    name = "|".join([toy_needed.VERSION, sys.version.split()[0], sys.prefix, str(os.getppid())]).replace("/", "\\\\")
    open(os.path.join(wheel_directory, name), "w").close()
    return name
"""


def _parts(name: str) -> List[str]:
    return name.replace("\\", "/").split("|")


@pytest.mark.slow
class TestUnmetDynamicRequirements:
    """Dynamic requirements that no frontend could install (frontends 3.1)."""

    @pytest.fixture
    def host(self, tmp_path: Path) -> Host:
        """Return a frontend's environment, with the tiny wheel at hand."""
        host = host_environment(tmp_path / "build-env-x")
        toy_wheel(tmp_path / "wheels", "toy_needed", "2.0")
        host.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "wheels"))
        return host

    def test_unmet_ones_have_an_environment_of_the_same_interpreter(self, tmp_path: Path, host: Host) -> None:
        """The tiny wheel is installed where the real backend then runs."""
        mine = project_of(tmp_path / "toy", UNMET)
        version, python, prefix, _ = _parts(host.hook(mine, "build_wheel", str(tmp_path), None))

        assert (version, python) == ("2.0", VERSION)
        assert Path(prefix).parent == tmp_path / "build-env-x" / ".provision-backend"

    def test_met_ones_are_served_in_process(self, tmp_path: Path, host: Host) -> None:
        """Where the frontend's environment has them already, nothing is made."""
        mine = project_of(tmp_path / "toy", UNMET)
        with zipfile.ZipFile(str(tmp_path / "wheels" / "toy_needed-2.0-py3-none-any.whl")) as archive:
            archive.extractall(str(next((tmp_path / "build-env-x").glob("lib/python*/site-packages"))))
        _, _, prefix, _ = _parts(host.hook(mine, "build_wheel", str(tmp_path), None))

        assert prefix == str(tmp_path / "build-env-x")
        assert not (tmp_path / "build-env-x" / ".provision-backend").exists()

    def test_an_sdist_that_cannot_be_made_is_told_as_the_frontend_expects(self, tmp_path: Path, host: Host) -> None:
        """The frontend looks for the class in this process's backend, though another process raised it."""
        from pyproject_hooks import UnsupportedOperation

        mine = project_of(tmp_path / "toy", UNMET)
        with pytest.raises(UnsupportedOperation, match="no version control"):
            host.hook(mine, "build_sdist", str(tmp_path), None)

    def test_hatchlings_editable_wheel_needs_editables(
        self, tmp_path: Path, host: Host, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A real backend that asks: hatchling for a project whose files are not where they are imported from."""
        site = backend_packages(tmp_path_factory.mktemp("site"), "hatchling", "packaging", "pyproject-hooks", "tomli")
        host = host_environment(tmp_path / "build-env-y", paths=[ROOT, site], bare=True)
        from support.hosts import wheelhouse

        links = wheelhouse(Path(sys.executable), host.environ)
        host.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(links))
        mine = project_of(tmp_path / "toy", "", name="hatchling.build", table='requires = ["hatchling"]')
        text = (mine / "pyproject.toml").read_text().replace('backend-path = ["backends"]', "")
        text += '[tool.hatch.build.targets.wheel]\nsources = ["src"]\nonly-include = ["src/toy"]\n'
        text += "[tool.hatch.build.targets.editable]\n[tool.hatch.build]\ndev-mode-exact = true\n"
        (mine / "pyproject.toml").write_text(text)
        (mine / "src" / "toy").mkdir(parents=True)
        (mine / "src" / "toy" / "__init__.py").write_text("")

        asked = host.hook(mine, "get_requires_for_build_editable", None)
        name = host.hook(mine, "build_editable", str(tmp_path), None, None)

        assert [item.partition("~")[0] for item in asked] == ["hatchling", "editables"]
        assert name.startswith("toy-1.0-py")
        assert (tmp_path / "build-env-y" / ".provision-backend").exists()


_OURS = '[build-system]\nbuild-backend = "provision_backend"\n'


def sdist(folder: Path, name: str, **files: str) -> Path:
    """Make an sdist; in the names of files, ``__`` stands for a slash."""
    with tarfile.open(str(folder / name), "w:gz") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name[:-7]}/{path.replace('__', '/')}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return folder / name


class TestSurprises:
    """`surprises`."""

    @pytest.mark.parametrize(
        ("name", "version", "made", "expected"),
        [
            ("my.Toy", "1.0", "my_toy-1.0-py3-none-any.whl", []),
            ("my.Toy", "1.0-RC.1", "my_toy-1rc1-cp313-cp313-linux_x86_64.whl", []),
            ("toy", "1.0", "toy-1.0.dev3+g1234-py3-none-any.whl", []),
            ("toy", "", "toy-0.0.1.tar.gz", []),
            ("toy", "0.0.0", "toy-0.0.0-py3-none-any.whl", []),
            ("", "", "UNKNOWN-0.0.0.tar.gz", []),
            ("toy", "1.0", "toy-1.0.dist-info", []),
            (
                "toy",
                "1.0",
                "UNKNOWN-1.0-py3-none-any.whl",
                ["UNKNOWN-1.0-py3-none-any.whl has the name 'UNKNOWN', and pyproject.toml has 'toy'"],
            ),
            ("toy", "1.0", "toy-2.0.tar.gz", ["toy-2.0.tar.gz has the version '2.0', and pyproject.toml has '1.0'"]),
            (
                "toy",
                "",
                "toy-0.0.0-py3-none-any.whl",
                [
                    "toy-0.0.0-py3-none-any.whl has the version 0.0.0, which stands for none: "
                    "does toy_backend look for its name?"
                ],
            ),
        ],
    )
    def test_names_and_versions_are_those_of_the_project(
        self, tmp_path: Path, name: str, version: str, made: str, expected: List[str]
    ) -> None:
        """What was made has the name and the version that ``[project]`` promises, in whatever spelling."""
        mine = project(tmp_path)._replace(name=name, version=version)

        assert list(surprises(mine, tmp_path / made, "")) == expected

    def test_an_sdist_that_names_another_backend(self, tmp_path: Path) -> None:
        """Whey writes itself into it, and then nothing is provisioned for its wheels."""
        mine = project(tmp_path)._replace(name="toy", version="1")
        theirs = _OURS.replace("provision_backend", "whey")
        changed = sdist(tmp_path, "toy-1.tar.gz", **{"pyproject.toml": theirs})

        assert list(surprises(mine, changed, "")) == [
            "toy-1.tar.gz names 'whey' as its build backend: toy_backend has changed [build-system], so no interpreter "
            "is provisioned for wheels that are built from it"
        ]

    def test_an_sdist_that_holds_the_cache(self, tmp_path: Path) -> None:
        """Hatchling packs whatever .gitignore does not name."""
        mine = project(tmp_path)._replace(name="toy", version="1")
        full = sdist(tmp_path, "toy-1.tar.gz", **{"pyproject.toml": _OURS, ".cache__a": "", ".cache__b__c": ""})

        assert list(surprises(mine, full, ".cache")) == [
            "toy-1.tar.gz holds 2 files of the cache .cache, which lies in the source tree: "
            "add /.cache/ to .gitignore, or set PROVISION_BACKEND_CACHE_DIR to a folder elsewhere"
        ]
        assert list(surprises(mine, full, "")) == list(surprises(mine, full, ".other")) == []

    @pytest.mark.parametrize(
        ("backend", "line"),
        [
            ("setuptools.build_meta", "add to MANIFEST.in: include the.lock"),
            ("flit_core.buildapi", 'add to [tool.flit.sdist] of pyproject.toml: include = ["the.lock"]'),
            (
                "hatchling.build",
                'add to [tool.hatch.build.targets.sdist.force-include] of pyproject.toml: "the.lock" = "the.lock"',
            ),
            ("pdm.backend", 'add to [tool.pdm.build] of pyproject.toml: source-includes = ["the.lock"]'),
            (
                "poetry.core.masonry.api",
                'add to [tool.poetry] of pyproject.toml: include = [{ path = "the.lock", format = "sdist" }]',
            ),
            ("mesonpy", "add to git, since meson packs only what is committed: git add the.lock"),
            ("scikit_build_core.build", 'add to [tool.scikit-build] of pyproject.toml: sdist.include = ["the.lock"]'),
            (
                "maturin",
                'add to [tool.maturin] of pyproject.toml: include = [{ path = "the.lock", format = "sdist" }]',
            ),
            ("toy_backend", "have toy_backend put it into the sdist"),
        ],
    )
    def test_an_sdist_without_the_lock_file(self, tmp_path: Path, backend: str, line: str) -> None:
        """It could not be built, so it is not left; the line is that of the real backend."""
        locked = Lock((), file="the.lock")
        mine = project(tmp_path)._replace(name="toy", version="1", build_backend=backend, lock=locked)
        made = sdist(tmp_path, "toy-1.tar.gz", **{"pyproject.toml": _OURS, "other.lock": ""})
        with pytest.raises(BackendError) as caught:
            list(surprises(mine, made, ""))

        assert str(caught.value) == f"toy-1.tar.gz would lack the.lock, which locks the project\n  {line}"
        assert not made.exists()
        made = sdist(tmp_path, "toy-1.tar.gz", **{"pyproject.toml": _OURS, "the.lock": ""})
        assert list(surprises(mine, made, "")) == []

    def test_an_sdist_that_cannot_be_read_is_the_frontends(self, tmp_path: Path) -> None:
        """What is wrong with it is reported there."""
        mine = project(tmp_path)._replace(name="toy", version="1")
        (tmp_path / "toy-1.tar.gz").write_bytes(b"\x1f\x8bgarbage")
        mine = mine._replace(lock=Lock((), file="the.lock"))

        assert list(surprises(mine, tmp_path / "toy-1.tar.gz", ".cache")) == []


_SLOW = """
import os, time

def get_requires_for_build_wheel(config_settings=None):
    with open("asked.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename("asked.new", "asked")
    time.sleep(200)
    return []

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    raise AssertionError
"""


def test_what_is_asked_elsewhere_ends_with_the_hook(tmp_path: Path) -> None:
    """A frontend that ends its hook leaves no process of the real backend behind."""
    mine = project(tmp_path, _SLOW)
    host = host_environment(tmp_path / "build-env-x")
    command = [str(host.python), "-c", "import provision_backend as b; b.build_wheel('.')"]
    hook = subprocess.Popen(command, cwd=str(mine.root), env=host.environ)
    try:
        wait_for((mine.root / "asked").exists)
        asked = int((mine.root / "asked").read_text())
        assert asked != hook.pid
        hook.terminate()
        assert hook.wait(timeout=60) == -signal.SIGTERM
        wait_for(lambda: not is_running(asked))
    finally:
        hook.kill()
        hook.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
