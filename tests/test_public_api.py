"""What can be imported is what ``__all__`` says, and importing the package costs nothing."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "provision_backend"
# auditwheel needs Python 3.10.
NOT_HERE = {"provision_backend.wheels.auditing"} if sys.version_info < (3, 10) else set()
MODULES = sorted(
    {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    - NOT_HERE
)


def _run(code: str, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=str(cwd),
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode()


def _imported_by_others() -> Iterator[Tuple[str, str, str]]:
    """Yield (module, name, importer) for each name that one of our modules takes from another."""
    for path in sorted(PACKAGE.rglob("*.py")):
        importer = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        package = importer.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - node.level + 1] + ([node.module] if node.module else []))
                yield from ((base, alias.name, importer) for alias in node.names if base in MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_all_is_what_is_public(name: str) -> None:
    """Every name of ``__all__`` can be imported, and every public class and function of a module is in it."""
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    }

    assert [key for key in module.__all__ if not hasattr(module, key) or key.startswith("_")] == []
    assert sorted(public - set(module.__all__)) == []
    assert len(set(module.__all__)) == len(module.__all__)


def test_what_modules_take_from_each_other_is_public() -> None:
    """No module reaches for a name that another one does not offer."""
    assert [
        f"{importer} takes {name} from {base}"
        for base, name, importer in _imported_by_others()
        if name not in importlib.import_module(base).__all__
    ] == []


def test_star_gives_the_mandatory_hooks() -> None:
    """The package offers the hooks that every backend has, and nothing else."""
    namespace: Dict[str, object] = {}
    exec("from provision_backend import *", namespace)

    assert set(namespace) - {"__builtins__"} == {
        "build_sdist",
        "build_wheel",
        "get_requires_for_build_sdist",
        "get_requires_for_build_wheel",
    }


def test_hooks_have_the_signatures_of_the_specifications() -> None:
    """Frontends pass some arguments by name: PEP 517 and PEP 660 fix names, order and defaults."""
    import provision_backend
    from provision_backend.hooks.build import find_hook

    signatures = {
        "build_wheel": "(wheel_directory, config_settings=None, metadata_directory=None)",
        "build_sdist": "(sdist_directory, config_settings=None)",
        "get_requires_for_build_wheel": "(config_settings=None)",
        "get_requires_for_build_sdist": "(config_settings=None)",
    }
    optional = {
        "build_editable": "(wheel_directory, config_settings=None, metadata_directory=None)",
        "get_requires_for_build_editable": "(config_settings=None)",
        "prepare_metadata_for_build_wheel": "(metadata_directory, config_settings=None)",
        "prepare_metadata_for_build_editable": "(metadata_directory, config_settings=None)",
    }

    assert signatures == {name: _bare(getattr(provision_backend, name)) for name in signatures}
    assert optional == {name: _bare(find_hook(name)) for name in optional}


def _bare(function: object) -> str:
    assert callable(function)
    signature = inspect.signature(function)
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


def test_importing_the_package_imports_nothing_else() -> None:
    """``-X importtime`` shows our package and ``__future__`` beyond what Python itself has at its start."""
    timed = []
    for code in ("import __future__", "import __future__, provision_backend"):
        done = subprocess.run(
            [sys.executable, "-S", "-X", "importtime", "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            check=True,
        )
        timed.append({line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()})

    assert timed[1] - timed[0] == {"provision_backend"}


def _newly_imported(code: str, cwd: Path) -> Set[str]:
    before = "import __future__, sys, provision_backend\nbefore = set(sys.modules)\n"
    return set(_run(f"{before}{code}\nprint(*set(sys.modules) - before)", cwd).split())


@pytest.mark.parametrize(
    "name", ["anything_else", "__wrapped__", "__path_", "build_wheels", "hooks_", "pytest_plugins"]
)
def test_looking_for_another_name_imports_nothing(name: str, tmp_path: Path) -> None:
    """Frontends, inspect and pytest probe for other names; the answer is no, at once."""
    assert _newly_imported(f"assert not hasattr(provision_backend, {name!r})", tmp_path) == set()


def test_another_name_is_reported_as_by_any_module() -> None:
    """The message is the one that Python itself has."""
    import provision_backend

    with pytest.raises(AttributeError, match=r"^module 'provision_backend' has no attribute 'build_wheels'$"):
        _ = provision_backend.build_wheels


_OPTIONAL = (
    "build_editable",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
)


def _hooks_in(folder: Path) -> List[str]:
    code = f"import provision_backend as b; print(*(n for n in {_OPTIONAL!r} if hasattr(b, n)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(folder),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode().split()


def _in_tree(folder: Path, source: str, requires_python: str = ">=3.8") -> Path:
    (folder / "toy.py").write_text(source, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        f'[project]\nrequires-python = "{requires_python}"\n'
        '[tool.provision-backend]\nbuild-backend = "toy"\nbackend-path = ["."]\nrequires = []\n'
    )
    return folder


def test_looking_for_a_hook_without_a_project_does_not_raise(tmp_path: Path) -> None:
    """In a folder without pyproject.toml nothing can be told, so the answer is yes, and the hook reports it."""
    assert _hooks_in(tmp_path) == list(_OPTIONAL)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("", [], id="none"),
        pytest.param("build_editable = print", list(_OPTIONAL[:2]), id="editable"),
        pytest.param("prepare_metadata_for_build_wheel = print", [_OPTIONAL[3]], id="metadata"),
        pytest.param("get_requires_for_build_editable = print", [], id="requirements of what it cannot build"),
        pytest.param("raise RuntimeError", list(_OPTIONAL), id="a backend that fails when it is imported"),
        pytest.param("import nowhere_to_be_found", list(_OPTIONAL), id="a backend that cannot be imported yet"),
        pytest.param("(", list(_OPTIONAL), id="a backend in another syntax"),
    ],
)
def test_the_optional_hooks_are_those_of_the_real_backend(tmp_path: Path, source: str, expected: List[str]) -> None:
    """As soon as it can be imported, there are exactly its own; before that, all of them."""
    assert expected == _hooks_in(_in_tree(tmp_path, source))


def test_looking_for_a_hook_provisions_nothing(tmp_path: Path) -> None:
    """With a host that does not satisfy, the answer is yes, and there is no cache afterwards."""
    assert _hooks_in(_in_tree(tmp_path, "", ">=3.99")) == list(_OPTIONAL)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("class UnsupportedOperation(Exception): pass", "toy.UnsupportedOperation", id="its own"),
        pytest.param("", "none", id="none"),
        pytest.param("(", "provision_backend.hooks.frontend.UnsupportedOperation", id="a backend in another syntax"),
    ],
)
def test_unsupported_operation_is_that_of_the_real_backend(tmp_path: Path, source: str, expected: str) -> None:
    """pyproject-hooks catches the exception by this attribute, so it must be the class that is raised."""
    code = (
        "import provision_backend as b; c = getattr(b, 'UnsupportedOperation', None);"
        "print(c and c.__module__ + '.' + c.__qualname__ or 'none')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(_in_tree(tmp_path, source)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )

    assert expected == done.stdout.decode().strip()


_TOY = """
import os
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    open(os.path.join(wheel_directory, "x.whl"), "w").close()
    return "x.whl"
"""


@pytest.mark.parametrize("one_list", [True, False], ids=["one list", "table"])
def test_pass_through_imports_nothing_that_only_provisioning_needs(tmp_path: Path, one_list: bool) -> None:
    """A build on a satisfying host runs the real backend in this process, and pays for nothing else."""
    _in_tree(tmp_path, _TOY)
    if one_list:
        text = (tmp_path / "pyproject.toml").read_text().replace("requires = []\n", "")
        (tmp_path / "pyproject.toml").write_text(text)
    code = (
        "import sys, provision_backend as b; assert b.get_requires_for_build_wheel() == [];"
        "assert b.build_wheel(sys.argv[1]) == 'x.whl'; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=str(tmp_path),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PROVISION_BACKEND_VERBOSE": "1"},
        capture_output=True,
        check=True,
    )
    loaded = set(done.stdout.decode().split())

    assert done.stderr.decode().startswith("provision-backend: passing through: Python ")
    assert "toy" in loaded
    # With the table the real backend is asked for its dynamic requirements in a process of its own.
    allowed = set() if one_list else {"hooks.forward", "hooks.environment", "pyproject_hooks"}
    # subprocess is not among them: packaging imports it for itself.
    heavy = {"certifi", "elftools", "http.client", "pyproject_hooks", "ssl", "tarfile"}
    ours = {name.partition(".")[2] for name in loaded if name.startswith("provision_backend.")}
    provisioning = {
        "cache",
        "catalog.archive",
        "download",
        "finalize",
        "host.platforms",
        "pack",
        "unpack",
        "provision",
        "interpreter",
    }
    provisioning |= {"hooks.environment", "hooks.forward", "hooks.provisioned"}
    assert sorted((heavy & loaded) - allowed) == []
    # The toy's table has no requirements, either.
    assert sorted(ours & {"hooks.requirements"}) == sorted(loaded & {"packaging", "importlib.metadata"}) == []
    assert sorted((provisioning & ours) - allowed) == []
    assert not (tmp_path / "cache").exists()


def test_the_version_is_written_once() -> None:
    """The version stands in pyproject.toml alone, where the metadata is made from."""
    assert re.search(r'^version = "\d', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert "__version__" not in (PACKAGE / "__init__.py").read_text(encoding="utf-8")
