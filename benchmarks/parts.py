"""The comparisons of the page, a function a part: a workbench and a number of rounds in, comparisons out.

In each of them the last contender is the peer that all are compared with. A label of ours is that of a checkout:
``with us``, and ``before`` for an older one that `scripts/bench --before` names.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional

from support.cache_entries import ARCHIVE, provide

from provision_backend.cache.store import open_cache
from provision_backend.settings import load_settings

from .measuring import Command, Comparison, compare, run
from .workbench import BACKENDS, UV, Workbench

__all__ = ["PARTS", "SUMMARY"]

_FRONTENDS = {
    "build (pip)": ["{python}", "-m", "build", "--wheel", "--outdir", "out", "source"],
    "build --installer=uv": ["{python}", "-m", "build", "--wheel", "--installer=uv", "--outdir", "out", "source"],
    "uv build": [UV, "build", "--wheel", "--python", "{python}", "--out-dir", "out", "source"],
}
_INTERPRETER = "interpreters/*/bin/python3.1?"
# In one line: pyperf refuses a command with line breaks.
_PBS_CODE = (
    "import os, sys; from pbs_installer import download, install_file; url, sha256 = sys.argv[1:]; "
    "os.mkdir('python'); install_file('archive', 'python', download((url, sha256), 'archive'))"
)
_BY_HAND = (
    "set -e; for python in {pythons}; do rm -rf raw env; {uv} build -q --wheel --python $python --out-dir raw source"
    "; {check}done"
)
_CHECK = (
    "auditwheel repair --plat manylinux_2_17_$(uname -m) -w dist raw/*.whl; {uv} venv -q --python $python env; "
    "{uv} pip install -q --find-links dist --python env/bin/python cext; env/bin/python -c 'import cext'; "
)


def cold_install(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """Downloading an interpreter into nothing, through links of three speeds; ``curl | tar`` verifies nothing."""
    size = bench.archive.stat().st_size / 1e6
    for megabits, link in ((100, "100 Mbit/s"), (1000, "1 Gbit/s"), (0, "loopback")):
        contenders = {}
        for label in bench.checkouts:
            for name, packages in ((label, []), (f"{label}, isal", ["isal"])):
                python = bench.environment(bench.new_python, label, "provision-backend[provision]", *packages)
                contenders[name] = partial(_install, bench, label, python, megabits)
        url = bench.address(megabits)
        contenders["pbs-installer"] = partial(_other, bench, sys.executable, "-c", _PBS_CODE, url)
        contenders["curl | tar"] = partial(_other, bench, "sh", "-c", 'curl -fsS "$1" | tar -xz', "sh", url)
        contenders["uv, with bytecode"] = partial(_uv_install, bench, megabits, "--compile-bytecode")
        contenders["uv python install"] = partial(_uv_install, bench, megabits)
        goals = [("with us", "uv python install", 1.1)] if megabits == 100 else []
        goals += [(label, "pbs-installer", 1.0) for label in ("with us", "with us, isal")]
        yield compare(f"{link}, {size:.0f} MB", contenders, rounds, goals=goals, memory=True)


def _install(bench: Workbench, label: str, python: Path, megabits: int) -> Command:
    folder = bench.new_folder()
    environ = bench.provisioning(label, folder / "cache", megabits)
    argv = [str(python.with_name("provision-backend")), "install", ">=3.12"]
    return Command(argv, environ, folder, "cache/interpreters/*/bin/python3")


def _uv_install(bench: Workbench, megabits: int, *options: str) -> Command:
    folder = bench.new_folder()
    argv = [UV, "python", "install", "--no-bin", *options, bench.version]
    return Command(argv, bench.uv_downloads(folder, megabits), folder, "pythons/*/bin/python3")


def _other(bench: Workbench, *argv: str) -> Command:
    """Return a command of others, which gets the address of the archive, and its sha256."""
    return Command([*argv, bench.sha256], bench.environ(), bench.new_folder(), "python/bin/python3")


def _build(
    bench: Workbench, frontend: str, python: Path | str, project: Path, environ: Mapping[str, str]
) -> Callable[[], Command]:
    def prepare() -> Command:
        folder = bench.new_folder()
        shutil.copytree(str(project), str(folder / "source"))
        return Command([part.format(python=python) for part in _FRONTENDS[frontend]], environ, folder, "out/*.whl")

    return prepare


def pass_through(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """Builds on a host that satisfies the project, from an index with warm caches, and from a folder of wheels."""
    python = bench.environment(bench.new_python, "", "build")
    cases = [(True, "from an index", ("build (pip)", "uv build")), (False, "from a folder", tuple(_FRONTENDS))]
    for index, source, frontends in cases:
        for frontend, backend in product(frontends, BACKENDS):
            contenders = {}
            forms = [*((label, "one list") for label in bench.checkouts), *([("with us", "table")] if index else [])]
            for label, form in forms:
                project, environ = bench.project(backend, form), bench.environ(label, index=index)
                contenders[f"{label}, {form}"] = _build(bench, frontend, python, project, environ)
            project, environ = bench.project(backend, "without us"), bench.environ(index=index)
            contenders["without us"] = _build(bench, frontend, python, project, environ)
            goals = [("with us, one list", "without us", 1.10 if "pip" in frontend else 1.15)]
            yield compare(f"{frontend}, {backend}, {source}", contenders, rounds, goals=goals)


def provisioned(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """Builds on a host that is too old, with the interpreter in the cache: made anew, or locked; direct is by it."""
    caches = {label: _provision(bench, label) for label in bench.checkouts}
    direct = bench.environment(next(caches["with us"].glob(_INTERPRETER)), "", "build")
    old = bench.environment(bench.old_python, "", "build")
    environs = {label: bench.provisioning(label, cache) for label, cache in caches.items()}
    folder = bench.new_folder()
    outside = bench.uv_downloads(folder, UV_PYTHON_PREFERENCE="only-managed")
    run([UV, "python", "install", "--no-bin", bench.version], outside, folder)
    for frontend, backend in product(_FRONTENDS, ("hatchling", "setuptools")):
        lock, alone = bench.locked_project(backend, environs["with us"]), bench.project(backend, "without us")
        contenders = {
            label: _build(bench, frontend, old, bench.project(backend, "one list"), environ)
            for label, environ in environs.items()
        }
        contenders["locked"] = _build(bench, frontend, old, lock, environs["with us"])
        contenders["locked, by that Python"] = _build(bench, frontend, direct, lock, environs["with us"])
        if frontend == "uv build":
            contenders["uv build --python"] = _build(bench, frontend, bench.version, alone, outside)
        contenders["direct"] = _build(bench, frontend, direct, alone, bench.environ())
        goals = [("with us", "direct", 2.0 if "pip" in frontend else 1.6), ("locked", "direct", 1.0)]
        yield compare(f"{frontend}, {backend}", contenders, rounds, goals=goals)


def _provision(bench: Workbench, label: str) -> Path:
    """Provision the archive into a new cache with a checkout, as a build with pip leaves it, and return the cache."""
    cache = bench.new_folder() / "cache"
    python = bench.environment(bench.old_python, label, "provision-backend[provision]")
    argv = [str(python), "-m", "provision_backend", "install", "--compile-bytecode", ">=3.12"]
    run(argv, bench.provisioning(label, cache), bench.folder)
    return cache


def wheels(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """A small C extension for five Pythons of the machine; we, and the last one, also repair and test each wheel."""
    python = bench.environment(bench.new_python, "with us", "provision-backend[provision,wheels]")
    folders = [python.parent, *(each.parent for each in bench.pythons), bench.environ()["PATH"]]
    environ = bench.environ("with us", PATH=os.pathsep.join(map(str, folders)))
    ours = [str(python), "-m", "provision_backend", "wheels", "source", "--preference", "only-system"]
    ours += [word for each in bench.pythons for word in ("--python", each.name[len("python") :])]
    names, check = " ".join(map(str, bench.pythons)), _CHECK.format(uv=UV)
    loops = {
        "uv build, five times": _BY_HAND.format(pythons=names, uv=UV, check="mkdir -p dist; cp raw/*.whl dist; "),
        "by hand": _BY_HAND.format(pythons=names, uv=UV, check=check),
    }
    commands = {"with us": ours, "with us, uv": [*ours, "--installer=uv"]}
    commands.update({label: ["sh", "-c", loop] for label, loop in loops.items()})
    last = f"dist/*cp{bench.new_python.name[6:].replace('.', '')}*.whl"

    def prepare(argv: List[str]) -> Command:
        source = bench.project("setuptools", "extension")
        return Command(argv, environ, source.parent, last)

    yield compare("five wheels", {label: partial(prepare, argv) for label, argv in commands.items()}, rounds)


def builds_at_once(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """Builds that start together with no interpreter in the cache; uv provisions by ``uv build --python``."""
    old = bench.environment(bench.old_python, "", "build")
    warm = _provision(bench, "with us")
    for count in (1, 32):
        contenders = {label: partial(_crowd, bench, label, old, count) for label in bench.checkouts}
        contenders["warm cache"] = partial(_crowd, bench, "with us", old, count, warm)
        contenders["uv build --python"] = partial(_uv_crowd, bench, count)
        before = bench.downloads()
        found = compare(f"{count} at once", contenders, rounds)
        found.name += f" ({(bench.downloads() - before) / (rounds + 1):g} downloads by all of a round)"
        yield found


def _crowd(bench: Workbench, label: str, python: Path, count: int, cache: Optional[Path] = None) -> Command:
    folder = bench.new_folder()
    environ = bench.provisioning(label, cache or folder / "cache")
    return _together(folder, count, python, bench.project("flit_core", "one list"), environ)


def _uv_crowd(bench: Workbench, count: int) -> Command:
    folder = bench.new_folder()
    environ = bench.uv_downloads(folder, UV_PYTHON_PREFERENCE="only-managed")
    environ["UV_CACHE_DIR"] = bench.environ()["UV_CACHE_DIR"]  # Only the interpreter is not there yet.
    return _together(folder, count, bench.version, bench.project("flit_core", "without us"), environ)


def _together(folder: Path, count: int, python: Path | str, project: Path, environ: Mapping[str, str]) -> Command:
    """Return a command that starts builds together, and fails where one of them does."""
    for number in range(count):
        shutil.copytree(str(project), str(folder / str(number) / "source"))
    one = f"{UV} build -q --wheel --python {python} --out-dir out source"
    start = f'for n in $(seq 0 {count - 1}); do (cd $n; exec {one}) & pids="$pids $!"; done'
    script = f"{start}; for pid in $pids; do wait $pid || exit 1; done"
    return Command(["sh", "-c", script], environ, folder, f"{count - 1}/out/*.whl")


def growth(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """With 1,000, 100 and 1 interpreters in the cache, which should make no difference."""
    python = bench.environment(bench.new_python, "with us", "provision-backend[provision]")
    program, old = str(python.with_name("provision-backend")), bench.environment(bench.old_python, "", "build")
    project, caches = bench.project("flit_core", "one list"), {}
    for count in (1000, 100, 1):
        caches[f"{count:,} in the cache"] = bench.provisioning("with us", _filled(bench, count))

    def find(environ: Dict[str, str]) -> Command:
        return Command([program, "find", ">=3.12"], environ, bench.new_folder())

    def install(environ: Dict[str, str]) -> Command:
        for entry in Path(environ["PROVISION_BACKEND_CACHE_DIR"], "interpreters").glob(f"*{bench.version}*"):
            shutil.rmtree(str(entry))
        return Command([program, "install", ">=3.12"], environ, bench.new_folder())

    goals = [(label, "1 in the cache", 1.1) for label in list(caches)[:-1]]
    for name, command in (("find", find), ("install", install)):
        contenders = {label: partial(command, environ) for label, environ in caches.items()}
        yield compare(name, contenders, rounds, goals=goals)
    builds = {label: _build(bench, "uv build", old, project, environ) for label, environ in caches.items()}
    yield compare("provisioned build (uv build, flit_core)", builds, rounds, goals=goals)


def _filled(bench: Workbench, count: int) -> Path:
    """Return a cache with the archive's interpreter, and with the smallest trees that count as others."""
    cache = _provision(bench, "with us")
    opened = open_cache(load_settings(environ={"PROVISION_BACKEND_CACHE_DIR": str(cache)}))
    for number in range(count - 1):
        name = f"cpython-3.12.{number}+{ARCHIVE.tag}-{ARCHIVE.triple}-install_only.tar.gz"
        sha256 = f"{number:064x}"[::-1]
        provide(opened, archive=ARCHIVE._replace(version=f"3.12.{number}", sha256=sha256, filename=name))
    return cache


PARTS = {
    "install": cold_install,
    "pass-through": pass_through,
    "provisioned": provisioned,
    "wheels": wheels,
    "at-once": builds_at_once,
    "growth": growth,
}
"""Every part, by the name that ``scripts/bench --only`` takes."""

SUMMARY = [
    ("download and install a Python at 100 Mbit/s", "install", "100 Mbit/s", "with us", "uv python install"),
    ("the same at 1 Gbit/s", "install", "1 Gbit/s", "with us", "uv python install"),
    (
        "build, and this machine's Python will do: pip",
        "pass-through",
        "build (pip), hatchling, from an",
        "with us, one list",
        "without us",
    ),
    ("the same: uv", "pass-through", "uv build, hatchling, from an index", "with us, one list", "without us"),
    ("build, and it will not, warm cache: pip", "provisioned", "build (pip), hatchling", "with us", "direct"),
    ("the same: uv", "provisioned", "uv build, hatchling", "with us", "uv build --python"),
    ("the same, locked: uv", "provisioned", "uv build, hatchling", "locked", "uv build --python"),
    ("wheels of a C extension for five Pythons: uv", "wheels", "five wheels", "with us, uv", "by hand"),
    ("32 builds at once, nothing in the cache", "at-once", "32 at once", "with us", "uv build --python"),
    ("find a Python among 1,000", "growth", "find", "1,000 in the cache", "1 in the cache"),
]
"""The lines of the first table: what is done, part, beginning of the comparison's name, our label, the peer's."""
