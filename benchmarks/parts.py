"""The six comparisons of the page, each a function of a workbench and a number of rounds.

In each of them the last contender is the peer. A label of ours is that of a checkout: ``with us``, and ``before`` for
an older one that `scripts/bench --before` names.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Dict, Iterator, List, Optional

from .measuring import Command, Comparison, Contender, compare, run
from .workbench import BACKENDS, Workbench

__all__ = ["PARTS", "builds_at_once", "cold_install", "find", "locked", "pass_through", "provisioned"]

_FRONTENDS = {
    "build (pip)": ["{python}", "-m", "build", "--wheel", "--outdir", "out", "source"],
    "build --installer=uv": ["{python}", "-m", "build", "--wheel", "--installer=uv", "--outdir", "out", "source"],
    "uv build": ["{uv}", "build", "--wheel", "--python", "{python}", "--out-dir", "out", "source"],
}
_INTERPRETER = "interpreters/*/bin/python3.1?"
_UV = str(Path(sys.executable).with_name("uv"))
# In one line: pyperf refuses a command with line breaks.
_PBS_CODE = (
    "import os, sys; from pbs_installer import download, install_file; url, sha256 = sys.argv[1:]; "
    "os.mkdir('python'); install_file('archive', 'python', download((url, sha256), 'archive'))"
)


def _build(
    bench: Workbench, label: str, frontend: str, python: Path, project: Path, environ: Dict[str, str]
) -> Contender:
    argv = [part.format(python=python, uv=_UV) for part in _FRONTENDS[frontend]]

    def prepare() -> Command:
        folder = bench.new_folder()
        shutil.copytree(str(project), str(folder / "source"))
        return Command(argv, environ, folder, "out/*.whl")

    return Contender(label, prepare)


def _alone(bench: Workbench, label: str, frontend: str, python: Path, backend: str) -> Contender:
    return _build(bench, label, frontend, python, bench.project(backend, "without us"), bench.environ())


def pass_through(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """Builds on a host that satisfies the project: what we cost where nobody needs us."""
    python = bench.environment(bench.new_python, "", "build")
    for frontend, backend in product(_FRONTENDS, BACKENDS):
        contenders = []
        for label, form in product(bench.checkouts, ("one list", "table")):
            project, environ = bench.project(backend, form), bench.environ(label)
            contenders.append(_build(bench, f"{label}, {form}", frontend, python, project, environ))
        contenders.append(_alone(bench, "without us", frontend, python, backend))
        limit = 1.10 if "pip" in frontend else 1.15
        yield compare(f"{frontend}, {backend}", contenders, rounds, limits={"with us, one list": limit})


def provisioned(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """Builds on a host that is too old, with the interpreter in the cache; the peer is run by that interpreter."""
    caches = {label: _provision(bench, label) for label in bench.checkouts}
    direct = bench.environment(next(caches["with us"].glob(_INTERPRETER)), "", "build")
    old = bench.environment(bench.old_python, "", "build")
    for frontend, backend in product(_FRONTENDS, BACKENDS):
        contenders = []
        for label, cache in caches.items():
            project, environ = bench.project(backend, "one list"), bench.provisioning(label, cache)
            contenders.append(_build(bench, label, frontend, old, project, environ))
        contenders.append(_alone(bench, "without us, by that Python", frontend, direct, backend))
        limit = 2.0 if "pip" in frontend else 1.6
        yield compare(f"{frontend}, {backend}", contenders, rounds, limits={"with us": limit})


def locked(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """Builds of a locked project, whose environment is in the cache; the peer installs what it builds with."""
    cache = _provision(bench, "with us")
    direct = bench.environment(next(cache.glob(_INTERPRETER)), "", "build")
    hosts = {"old host": bench.environment(bench.old_python, "", "build"), "by that Python": direct}
    environ = bench.provisioning("with us", cache)
    projects = {backend: bench.locked_project(backend, environ) for backend in BACKENDS}
    for frontend, (backend, project) in product(_FRONTENDS, projects.items()):
        contenders = [_build(bench, label, frontend, python, project, environ) for label, python in hosts.items()]
        contenders.append(_alone(bench, "without us, by that Python", frontend, direct, backend))
        yield compare(f"{frontend}, {backend}", contenders, rounds, limits=dict.fromkeys(hosts, 1.0))


def _provision(bench: Workbench, label: str) -> Path:
    """Provision the archive into a new cache with a checkout, as a build with pip leaves it, and return the cache."""
    cache = bench.new_folder() / "cache"
    python = bench.environment(bench.old_python, label, "provision-backend[provision]")
    argv = [str(python), "-m", "provision_backend", "install", "--compile-bytecode", ">=3.12"]
    run(argv, bench.provisioning(label, cache), bench.folder)
    return cache


def cold_install(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """From a server on loopback into nothing, beside others that do it; ``curl | tar`` verifies nothing."""
    contenders: List[Contender] = []
    for label in bench.checkouts:
        for name, packages in ((label, []), (f"{label}, isal", ["isal"])):
            python = bench.environment(bench.new_python, label, "provision-backend[provision]", *packages)
            contenders.append(Contender(name, partial(_install, bench, label, python)))
    contenders.append(Contender("pbs-installer", partial(_other, bench, sys.executable, "-c", _PBS_CODE)))
    contenders.append(Contender("curl | tar", partial(_other, bench, "sh", "-c", 'curl -fsS "$1" | tar -xz', "sh")))
    contenders.append(Contender("uv python install", partial(_uv_install, bench)))
    yield compare("install", contenders, rounds, memory=True)


def _install(bench: Workbench, label: str, python: Path) -> Command:
    folder = bench.new_folder()
    argv = [str(python.with_name("provision-backend")), "install", ">=3.12"]
    return Command(argv, bench.provisioning(label, folder / "cache"), folder, "cache/interpreters/*/bin/python3")


def _uv_install(bench: Workbench) -> Command:
    folder = bench.new_folder()
    version = bench.archive.name.split("-")[1].split("+")[0]
    argv = [_UV, "python", "install", "--no-bin", version]
    return Command(argv, bench.uv_downloads(folder), folder, "pythons/*/bin/python3")


def _other(bench: Workbench, *argv: str) -> Command:
    """Return a command of others, which gets the address of the archive, and its sha256."""
    sha256 = (bench.archive.parent / "SHA256SUMS").read_text().split()[0]
    address = f"{bench.url}/{bench.archive.parent.name}/{bench.archive.name.replace('+', '%2B')}"
    return Command([*argv, address, sha256], bench.environ(), bench.new_folder(), "python/bin/python3")


def find(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """The command ``find`` with 1, 100 and 1,000 interpreters in the cache, which should make no difference."""
    for label in bench.checkouts:
        python = bench.environment(bench.new_python, label, "provision-backend[provision]")
        contenders = [_find(bench, label, python, count) for count in (1000, 100, 1)]
        limits = {f"{label}, {count:,} in the cache": 1.1 for count in (1000, 100)}
        yield compare("find" if label == "with us" else f"find, {label}", contenders, rounds, limits=limits)


def _find(bench: Workbench, label: str, python: Path, count: int) -> Contender:
    environ = bench.environ(label, PROVISION_BACKEND_CACHE_DIR=str(bench.new_folder() / "cache"))
    checkout = bench.checkouts[label]
    paths = os.pathsep.join([str(checkout), str(checkout / "tests")])
    fill = [str(python), str(checkout / "benchmarks" / "entries.py"), str(count), ">=3.12"]
    run(fill, {**environ, "PYTHONPATH": paths}, bench.folder)
    argv = [str(python.with_name("provision-backend")), "find", ">=3.12"]
    return Contender(f"{label}, {count:,} in the cache", lambda: Command(argv, environ, bench.new_folder()))


def builds_at_once(bench: Workbench, rounds: int) -> Iterator[Comparison]:
    """Builds that start together on an empty cache; the peer is the same with a warm cache."""
    old = bench.environment(bench.old_python, "", "build")
    warm = _provision(bench, "with us")
    for count in (1, 8, 32):
        contenders = [Contender(label, partial(_crowd, bench, label, old, count)) for label in bench.checkouts]
        contenders.append(Contender("warm cache", partial(_crowd, bench, "with us", old, count, warm)))
        before = bench.downloads()
        found = compare(f"{count} at once", contenders, rounds)
        each = (bench.downloads() - before) / (rounds + 1) / len(bench.checkouts)
        found.name += f" ({each:g} downloads on an empty cache)"
        yield found


def _crowd(bench: Workbench, label: str, python: Path, count: int, cache: Optional[Path] = None) -> Command:
    """Return a command that starts builds together, and fails where one of them does."""
    folder, project = bench.new_folder(), bench.project("flit_core", "one list")
    for number in range(count):
        shutil.copytree(str(project), str(folder / str(number) / "source"))
    one = f"{_UV} build -q --wheel --python {python} --out-dir out source"
    start = f'for n in $(seq 0 {count - 1}); do (cd $n; exec {one}) & pids="$pids $!"; done'
    script = f"{start}; for pid in $pids; do wait $pid || exit 1; done"
    environ = bench.provisioning(label, cache or folder / "cache")
    return Command(["sh", "-c", script], environ, folder, f"{count - 1}/out/*.whl")


PARTS = {
    "pass-through": pass_through,
    "provisioned": provisioned,
    "locked": locked,
    "install": cold_install,
    "find": find,
    "at-once": builds_at_once,
}
"""Every part, by the name that ``scripts/bench --only`` takes."""
