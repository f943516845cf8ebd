"""c. Provisioning an interpreter from a server into nothing, beside the others who do that.

In: a workbench. Out: wall time, CPU time and peak memory of ``provision-backend install`` with and without isal, of
``uv python install``, of pbs-installer, and of curl and tar, which verify nothing.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

from .archives import Archives
from .core import Claim, Contender, Failed, Group, Missing, Part, Sample, Series, Target, collect
from .running import Command, measure, run
from .workbench import Workbench

__all__ = ["installs", "measure_part", "uv_variables"]

_OURS, _FAST = "provision-backend install", "provision-backend install, with isal"
_UV, _PBS, _TAR = "uv python install", "pbs-installer", "curl | tar"

_PBS_CODE = """
import os, sys, tempfile
from pbs_installer import download, install_file
url, sha256, destination = sys.argv[1:]
os.makedirs(destination)
with tempfile.NamedTemporaryFile() as file:
    file.close()
    install_file(file.name, destination, download((url, sha256), file.name))
"""


def measure_part(bench: Workbench, part: Part, say: Callable[[str], None]) -> None:
    """Fill the part."""
    contenders = [
        *_our_contenders(bench, part),
        Contender(_UV, lambda: _installed(bench, _uv), ours=False),
        Contender(_PBS, lambda: _installed(bench, _pbs), ours=False),
        Contender(_TAR, lambda: _installed(bench, _tar), ours=False),
    ]
    say("provisioning into nothing")
    samples, missing = collect(contenders, part.rounds, say=say)
    part.missing += missing
    for name, unit, value in _FIGURES:
        series = [Series(each.label, [value(run) for run in samples[each.label]], each.ours) for each in contenders]
        part.groups.append(Group(name, unit, series, _claims(name)))
    part.remarks += [
        "The archive is the same and comes from the same server, a process of its own on loopback. uv is told of it "
        "by a file of downloads (`UV_PYTHON_DOWNLOADS_JSON_URL`) and has an empty cache. pbs-installer knows its own "
        "list only, so its functions `download` and `install_file` are called with the address and the hash, as its "
        "`install` does. Peak memory is that of the largest process; what is below 9 MiB cannot be told.",
        f"Ours ran under Python {sys.version.split()[0]}, installed from our wheel with the extra `provision`.",
    ]


_FIGURES: List[Any] = [
    ("wall time", "s", lambda run: run.seconds),
    ("CPU time", "s of CPU", lambda run: run.cpu),
    ("peak memory", "MiB", lambda run: run.memory),
]


def _claims(figure: str) -> List[Claim]:
    target = None if figure == "CPU time" else Target("ratio", 1.0)
    claims = [Claim(_OURS, _UV, target), Claim(_FAST, _UV, target)]
    return [*claims, *(Claim(_FAST, peer) for peer in (_PBS, _TAR))]


def _our_contenders(bench: Workbench, part: Part) -> List[Contender]:
    python = Path(sys.executable).resolve()
    found = [Contender(_OURS, installs(bench, bench.environment(python, "provision-backend[provision]")))]
    try:
        bench.add_wheels(Path(sys.executable), "isal")
        fast = bench.environment(python, "provision-backend[provision]", "isal")
    except Failed as exc:
        part.missing.append(Missing(_FAST, str(exc)))
        return found
    return [*found, Contender(_FAST, installs(bench, fast))]


def installs(bench: Workbench, python: Path) -> Callable[[], Sample]:
    """Return a function that provisions once with the package in an environment."""

    def command(_bench: Workbench, archives: Archives, folder: Path) -> Command:
        environ = bench.environ(**bench.provisioning(archives, folder / "cache"))
        return Command([str(python.with_name("provision-backend")), "install", archives.version], environ, folder)

    return lambda: _installed(bench, command)


def _installed(bench: Workbench, command: Callable[[Workbench, Archives, Path], Command]) -> Sample:
    """Install once into an empty folder; the interpreter that comes out must start."""
    archives, folder = bench.archives, bench.new_folder()
    try:
        sample = measure(command(bench, archives, folder))
        starts = [path for path in folder.rglob("bin/python3") if not path.parent.parent.is_symlink()]
        if not starts:
            raise Failed("no interpreter was installed")
        run(Command([str(starts[0]), "-I", "-B", "-c", "import ssl"], bench.environ(), folder))
        return sample
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def uv_variables(bench: Workbench, archives: Archives, folder: Path) -> Dict[str, str]:
    """Return the variables by which uv knows of the archive only, and has nothing yet."""
    major, minor, patch = map(int, archives.version.split("."))
    triple = archives.archive.name.split("-", 2)[2]
    arch, libc = triple.split("-")[0], "musl" if "musl" in triple else "gnu"
    record = {
        "name": "cpython",
        "arch": {"family": arch, "variant": None},
        "os": "linux",
        "libc": libc,
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": archives.archive_url,
        "sha256": archives.sha256,
        "variant": None,
        "build": archives.archive.parent.name,
    }
    listed = folder / "downloads.json"
    listed.write_text(json.dumps({f"cpython-{archives.version}-linux-{arch}-{libc}": record}))
    environ = bench.environ(
        UV_PYTHON_DOWNLOADS_JSON_URL=str(listed),
        UV_PYTHON_INSTALL_DIR=str(folder / "pythons"),
        UV_CACHE_DIR=str(folder / "uv-cache"),
        UV_PYTHON_DOWNLOADS="manual",
    )
    del environ["UV_OFFLINE"]
    return environ


def _uv(bench: Workbench, archives: Archives, folder: Path) -> Command:
    argv = [str(bench.uv), "python", "install", "--no-bin", archives.version]
    return Command(argv, uv_variables(bench, archives, folder), folder)


def _pbs(bench: Workbench, archives: Archives, folder: Path) -> Command:
    argv = [sys.executable, "-c", _PBS_CODE, archives.archive_url, archives.sha256, str(folder / "python")]
    return Command(argv, bench.environ(), folder)


def _tar(bench: Workbench, archives: Archives, folder: Path) -> Command:
    for program in ("curl", "tar"):
        if shutil.which(program) is None:
            raise Failed(f"there is no {program} here")
    script = 'curl -fsS "$1" | tar -xz -C "$2"'
    return Command(["sh", "-c", script, "sh", archives.archive_url, str(folder)], bench.environ(), folder)
