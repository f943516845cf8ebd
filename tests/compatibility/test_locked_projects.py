"""Locked projects: the same tools on every machine, by every frontend, whatever the index has by then.

A part is always run: nearly each kind of project by one frontend. ``scripts/test --matrix -k locked`` runs it all.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterator, List, Tuple, Union

import pytest
from packaging.pylock import Pylock
from support.alpine_host import MIRROR, AlpineHost, offer
from support.changing_index import NEWER, ChangingIndex
from support.real_interpreters import gnu_archive, locked, musl_archive
from support.servers import ArchiveServer

from provision_backend.cache.manifest import verify_entry
from provision_backend.project.pylock import PYLOCK, digest_of
from provision_backend.settings import load_toml

from .backends import Backend
from .direct import members
from .frontends import frontend
from .jobs import Job, Made
from .locked import KINDS, Site, Tools, another_machine, locked_tools, machine, make_site, tools_of, unlocked
from .workshop import EPOCH, Workshop

pytestmark = pytest.mark.slow

HOSTS = ("3.9", "3.13")
KILLS = int(os.environ.get("PROVISION_BACKEND_TEST_KILLS", "16"))
FRONTENDS = ("build", "build-uv", "pip-wheel", "pip-install", "uv-build", "tox-wheel")
PURE = ("hatch-vcs", "pdm-backend", "poetry-core")


@pytest.fixture(scope="module")
def site(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return what these tests share: a mirror for glibc and musl, and a machine that locks."""
    folder = tmp_path_factory.mktemp("site")
    mirror = offer(folder / "mirror", gnu_archive("3.13"), musl_archive("3.13"))
    return make_site(workshop, mirror, folder)


@pytest.fixture(scope="module")
def later(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChangingIndex]:
    """Give the index as it is after the projects were locked: it has a newer release of everything."""
    with site.index(tmp_path_factory.mktemp("later") / "index") as index:
        index.release_newer()
        yield index


def build(here: Workshop, project: Backend, key: str, minor: str, folder: Path, mode: int = 0o755) -> Made:
    """Build a project by a frontend on a host, in a new folder; its files have a mode less than this."""
    if project.program and shutil.which(project.program) is None:
        pytest.skip(f"there is no program {project.program} on this machine")
    source = here.source(project, folder / "source")
    for path in [source, *source.rglob("*")]:
        path.chmod(path.stat().st_mode & mode)
    return frontend(key).run(Job(here, project, here.host_of(minor), folder, source, {}))


def check_tools(project: Backend, tools: Tools) -> None:
    """See that a build has used what is locked and nothing else."""
    allowed = locked_tools(project.files[PYLOCK])
    assert [(name, tool) for name, tool in tools.packages.items() if tool not in allowed.get(name, [])] == []
    archives = load_toml(project.files[PYLOCK])["tool"]["provision-backend"]["interpreters"]
    assert any(
        f"-{version}+".replace("-", "cpython-", 1) in line and line.startswith(sha256)
        for version, sha256 in [tools.interpreter.split()]
        for line in archives
    )


def agree(site: Site, name: str, found: object) -> None:
    """See that something is the same in all tests of a run that ask for it, in whatever process they run."""
    file = site.workshop.folder / "locked" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    with locked(file.with_suffix(".lock")):
        if not file.exists():
            file.write_text(json.dumps(found), encoding="utf-8")
    assert json.loads(json.dumps(found)) == json.loads(file.read_text(encoding="utf-8"))


def cells() -> Iterator[object]:
    """Give each kind by each frontend on each host; those that are always run take turns."""
    for row, kind in enumerate(KINDS):
        for column, key in enumerate(FRONTENDS):
            for minor in HOSTS:
                # CMake and pybind11 take as long as all others together.
                always = column == row and minor == HOSTS[row % 2] and kind != "scikit-build-core"
                yield pytest.param(kind, key, minor, marks=() if always else (pytest.mark.matrix,))


@pytest.mark.parametrize(("kind", "key", "minor"), list(cells()))
def test_locked_builds_use_the_locked_tools(
    site: Site, later: ChangingIndex, tmp_path: Path, kind: str, key: str, minor: str
) -> None:
    """By every frontend, on old and on satisfying hosts, with newer releases on the index: the tools of the lock."""
    project, cache = site.locked(kind), site.workshop.folder / "locked-cache"
    shared = {"PROVISION_BACKEND_CACHE_DIR": str(cache), "UV_CACHE_DIR": str(site.workshop.folder / "uv-cache-later")}
    here = machine(site.workshop, tmp_path, **shared, **later.variables)
    made = build(here, project, key, minor, tmp_path)

    assert made.done.returncode == 0, made.done.output
    tools = tools_of(tmp_path / "sbom")
    check_tools(project, tools)
    agree(site, f"{kind}-tools", tools)
    agree(site, f"{kind}-versions", versions(tools))
    if made.wheel:
        agree(site, f"{kind}-wheel", reproducible(kind, made.wheel))


_WRITES_MODES = "members have the modes that the umask gives, and in an sdist times and owners, too"
# What differs with the machine, as it does without us, by kinds and suffixes: names of members, and the reason.
_DIFFERS = {
    "maturin.whl": (r"/(sboms/[^/]+|RECORD)$", "its SBOM of the crate names the folder of the source tree"),
    "meson-python.whl": (r"^$", _WRITES_MODES),
    "pdm-backend.gz": (r"^$", "the head of the gzip file has the time of today"),
    "scikit-build-core.whl": (r"^$", _WRITES_MODES),
    "setuptools-cython.whl": (r"^$", _WRITES_MODES),
    "setuptools-cython.gz": (r"^$", _WRITES_MODES),
}


def reproducible(kind: str, artifact: Path) -> Union[str, Dict[str, str]]:
    """Return what must be the same wherever an artifact is made: its sha256, or for some kinds those of its members."""
    differs, _reason = _DIFFERS.get(kind + artifact.suffix, ("", ""))
    if not differs:
        return sha256(artifact)
    found = members(artifact).items()
    return {name: text.split()[-1] for name, text in found if not re.search(differs, name)}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.matrix
def test_without_a_lock_builds_take_what_is_newer(site: Site, later: ChangingIndex, tmp_path: Path) -> None:
    """What the other tests show would not be so without a lock."""
    here = machine(site.workshop, tmp_path, **later.variables)
    made = build(here, unlocked(KINDS["pdm-backend"]), "build-wheel", "3.9", tmp_path)

    assert made.done.returncode == 0, made.done.output
    assert tools_of(tmp_path / "sbom").packages["pdm-backend"].startswith(f"{NEWER} ")


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "maturin"])  # There is no cargo in the root.
def test_locked_builds_on_musl(site: Site, later: ChangingIndex, alpine: AlpineHost, tmp_path: Path, kind: str) -> None:
    """In an Alpine-like root the versions are the same, and a pure wheel is the same to the byte."""
    project = site.locked(kind)
    here = machine(site.workshop, tmp_path, **later.variables)
    sdist = build(here, project, "build-sdist", "3.13", tmp_path).sdist
    assert sdist is not None
    build_in_root(alpine, site, later, project, sdist)

    (wheel,) = alpine.inside(f"/{kind}/dist").glob("*.whl")
    tools = tools_of(alpine.inside(f"/{kind}/sbom"))
    check_tools(project, tools)
    agree(site, f"{kind}-versions", versions(tools))
    agree(site, f"{kind}-musl-tools", tools)
    if kind in PURE:
        agree(site, f"{kind}-wheel", reproducible(kind, wheel))


def versions(tools: Tools) -> Dict[str, str]:
    return {name: text.split()[0] for name, text in {**tools.packages, "cpython": tools.interpreter}.items()}


def build_in_root(alpine: AlpineHost, site: Site, index: ChangingIndex, project: Backend, sdist: Path) -> None:
    """Build the wheel of an sdist, since there is no git in the root."""
    if not alpine.inside(MIRROR).exists():
        shutil.copytree(site.workshop.environ()["PROVISION_BACKEND_MIRROR"], str(alpine.inside(MIRROR)))
        alpine.add_compiler()
    folder = f"/{project.key}"
    alpine.inside(folder).mkdir()
    site.workshop.check(["tar", "-xf", str(sdist), "-C", str(alpine.inside(folder))])
    (source,) = alpine.inside(folder).iterdir()
    settings = alpine.settings("/build/cache")
    more = {"PROVISION_BACKEND_SBOM": f"{folder}/sbom", "SOURCE_DATE_EPOCH": EPOCH, **settings, **index.variables}
    alpine.build(f"{folder}/{source.name}", "--wheel", "--outdir", f"{folder}/dist", env=more)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", list(KINDS))
def test_two_machines_build_the_same(site: Site, later: ChangingIndex, tmp_path: Path, kind: str) -> None:
    """Another user, umask, home, cache, host, time zone and frontend: sdist and wheel are equal, tools included."""
    project = site.locked(kind)
    one = machine(site.workshop, tmp_path / "one", **later.variables)
    other = another_machine(site.workshop, tmp_path / "other", **later.variables)
    first = build(one, project, "build", "3.9", tmp_path / "one")
    second = build(other, project, "uv-build", "3.13", tmp_path / "other", mode=0o700)

    assert first.done.returncode == 0, first.done.output
    assert second.done.returncode == 0, second.done.output
    assert tools_of(tmp_path / "one/sbom") == tools_of(tmp_path / "other/sbom")
    assert first.wheel
    assert second.wheel
    assert reproducible(kind, first.wheel) == reproducible(kind, second.wheel)
    assert first.sdist
    assert second.sdist
    assert first.sdist.name == second.sdist.name
    assert reproducible(kind, first.sdist) == reproducible(kind, second.sdist)


@pytest.mark.matrix
def test_a_warm_build_asks_for_nothing_that_is_locked(site: Site, tmp_path: Path) -> None:
    """The frontend installs us; nobody installs, resolves or asks for a build requirement a second time."""
    project = site.locked("poetry-core")
    with site.index(tmp_path / "index") as index:
        here = machine(site.workshop, tmp_path, **index.variables)
        assert build(here, project, "build-wheel", "3.9", tmp_path / "first").done.returncode == 0
        assert "poetry-core" in index.asked()
        for key, minor in (("build-wheel", "3.9"), ("uv-build", "3.13")):
            (tmp_path / "sbom").rename(tmp_path / f"sbom-of-{key}")
            made = build(here, project, key, minor, tmp_path / key)
            assert made.done.returncode == 0, made.done.output
            assert "poetry-core" not in index.asked()
            check_tools(project, tools_of(tmp_path / "sbom"))


_MORE = (("build-wheel", "drop"), ("uv-build", "tamper"), ("uv-build", "drop"))


def differing(site: Site, index: ChangingIndex, project: Backend, folder: Path, key: str = "build-wheel") -> List[str]:
    """Build with an empty cache, and return the beginnings of our messages; nothing may be installed or built."""
    here = machine(site.workshop, folder, **index.variables)
    done = build(here, project, key, "3.9", folder).done
    assert done.returncode != 0
    assert "Traceback" not in done.output
    assert list(folder.glob("cache/staging/*")) == []
    assert list(folder.glob("out/sample*")) == []
    return [line for line in done.output.splitlines() if line.startswith("provision-backend: ")]


@pytest.mark.parametrize(
    ("key", "change"), [("build-wheel", "tamper"), *(pytest.param(*each, marks=pytest.mark.matrix) for each in _MORE)]
)
def test_an_index_that_differs(site: Site, tmp_path: Path, key: str, change: str) -> None:
    """Other bytes under the same name, or none: one sentence says which file, and nothing is installed."""
    project = site.locked("poetry-core")
    ((name, (tool,)),) = locked_tools(project.files[PYLOCK]).items()
    with site.index(tmp_path / "index") as index:
        index.release_newer(name)
        getattr(index, change)(name)
        if change == "drop":
            index.release_newer(name)
        lines = differing(site, index, project, tmp_path, key)

    file, digest = f"poetry_core-{tool.split()[0]}-py3-none-any.whl", tool.split()[1]
    wanted = {
        "tamper": f"{file} is not the file that is locked: wanted sha256 {digest}, found ",
        "drop": f"{file} is locked, with sha256 {digest}, and no index or folder of this build offers it",
    }[change]
    assert list(tmp_path.glob("cache/environments/*")) == []
    assert [line for line in lines if file in line] == lines[-1:], lines
    assert wanted in lines[-1]


_EDITS = {
    "the lock is edited": (
        PYLOCK, 'version = "', 'version = "1',
        f"{PYLOCK} has been edited: its content does not match its digest"
    ),
    "a requirement has changed": (
        "pyproject.toml",
        'requires = ["setuptools", "cython"]',
        'requires = ["setuptools", "cython>=3"]',
        f"{PYLOCK}: the requirements of pyproject.toml have changed: 'cython>=3' is not locked; "
        "'cython' is locked and no longer required",
    ),
    "a dynamic requirement has appeared": (
        "setup.py",
        "setup(",
        "setup(setup_requires=['tomlkit'], ",
        f"the real backend asks for what {PYLOCK} does not lock: 'tomlkit'",
    ),
    "a target is not locked": (
        PYLOCK,
        "x86_64-unknown-linux-gnu",
        "s390x-unknown-linux-gnu",
        f"the project is locked to the archives in {PYLOCK}, and none of them is for x86_64-unknown-linux-gnu",
    ),
}  # fmt: skip


@pytest.mark.matrix
@pytest.mark.parametrize("change", list(_EDITS))
def test_a_project_that_differs(site: Site, later: ChangingIndex, tmp_path: Path, change: str) -> None:
    """One sentence says what differs from the lock; nothing is installed, but what is locked to ask the backend."""
    project = site.locked("setuptools-cython")
    file, before, after, wanted = _EDITS[change]
    assert before in project.files[file]
    text = project.files[file].replace(before, after, 1)
    if change == "a target is not locked":
        text = text.replace(load_toml(text)["tool"]["provision-backend"]["digest"], digest_of(load_toml(text)))
    later.asked()  # That of other tests does not count.
    lines = differing(site, later, replace(project, files={**project.files, file: text}), tmp_path)

    assert wanted in lines[-1], lines
    assert "tomlkit" not in later.asked()
    made = list(tmp_path.glob("cache/environments/*"))
    assert len(made) == (change == "a dynamic requirement has appeared"), made


@pytest.mark.matrix
def test_builds_that_start_together_make_one_environment(site: Site, tmp_path: Path) -> None:
    """On an empty cache, 32 builds make one interpreter and one environment, and fetch each file once."""
    project = site.locked("poetry-core")
    mirror = Path(site.workshop.environ()["PROVISION_BACKEND_MIRROR"])
    with site.index(tmp_path / "index") as index, ArchiveServer(root=mirror) as archives:
        here = machine(site.workshop, tmp_path, PROVISION_BACKEND_MIRROR=archives.url, **index.variables)
        commands = [uv_build(here, project, tmp_path / str(number)) for number in range(32)]
        outcomes = [finish(process) for process in [start(here, command) for command in commands]]

    assert [output for code, output in outcomes if code] == []
    assert len(list(tmp_path.glob("cache/interpreters/*"))) == len(list(tmp_path.glob("cache/environments/*"))) == 1
    assert len([seen for seen in archives.requests if seen.status == 200]) == 1
    assert len([path for path in index.server.paths if path.startswith("/files/poetry_core-")]) == 1
    assert len({sha256(path) for path in tmp_path.glob("*/out/*.whl")}) == 1


def uv_build(here: Workshop, project: Backend, folder: Path) -> List[str]:
    source = here.source(project, folder / "source")
    python = str(here.host_of("3.9").path)
    return [here.uv, "build", "--wheel", "--python", python, "--out-dir", str(folder / "out"), str(source)]


def start(here: Workshop, command: List[str]) -> subprocess.Popen[bytes]:
    """Start a program that leads a group of processes."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=here.environ(),
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> Tuple[int, str]:
    output = process.communicate(timeout=600)[0]
    return process.returncode, output.decode("utf-8", "replace")


@pytest.mark.matrix
def test_builds_that_are_killed(site: Site, tmp_path: Path) -> None:
    """Whenever it happens, what is published is complete, and the next build has it or makes it."""
    project, seed = site.locked("pdm-backend"), random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    with site.index(tmp_path / "index") as index:
        here = machine(site.workshop, tmp_path, **index.variables)
        command = uv_build(here, project, tmp_path / "killed")
        assert finish(start(here, command))[0] == 0
        whole, died, published = 0.0, 0, 0
        for _ in range(KILLS):
            shutil.rmtree(str(tmp_path / "cache/environments"))
            process, begin = start(here, command), time.monotonic()
            # At first nothing is known of how long it takes.
            time.sleep(moments.uniform(0, whole or 2.0))
            os.killpg(process.pid, signal.SIGKILL)
            died += finish(process)[0] == -signal.SIGKILL
            found = list(tmp_path.glob("cache/environments/*"))
            published += len(found)
            assert [verify_entry(entry) for entry in found] == [[]] * len(found)
            begin = time.monotonic()
            code, output = finish(start(here, command))
            whole = time.monotonic() - begin
            assert code == 0, output
            assert [verify_entry(entry) for entry in tmp_path.glob("cache/environments/*")] == [[]]
    print(f"{KILLS} builds, {died} of them killed before they had ended; {published} had published an environment")
    assert died


@pytest.mark.matrix
def test_other_tools_take_the_file(site: Site, tmp_path: Path) -> None:
    """It passes packaging's validation, and uv and pip install what it lists."""
    project = KINDS["meson-python"]
    with site.index(tmp_path / "index") as index:
        here = machine(site.workshop, tmp_path, **index.variables)
        source = here.source(project, tmp_path / "source")
        done = site.lock(index, source, PROVISION_BACKEND_INSTALLER="uv")
        assert done.returncode == 0, done.output
        text = (source / PYLOCK).read_text(encoding="utf-8")
        Pylock.from_dict(load_toml(text)).validate()
        host = here.host_of("3.13").path
        synced, installed = (here.new_environment(host, tmp_path / name, "pip") for name in ("synced", "installed"))
        here.check([here.uv, "pip", "sync", "--python", str(synced), str(source / PYLOCK)])
        here.check([str(installed), "-m", "pip", "install", "--no-deps", "-r", str(source / PYLOCK)])
        found = [here.check([here.uv, "pip", "freeze", "--python", str(each)]) for each in (synced, installed)]

    wanted = {f"{name}=={tool.split()[0]}" for name, (tool, *_) in locked_tools(text).items()}
    assert [set(re.findall(r"^(?!pip==)\S+==\S+$", each, re.MULTILINE)) for each in found] == [wanted] * 2


@pytest.mark.matrix
def test_pip_locks_the_same_for_this_host(site: Site, tmp_path: Path) -> None:
    """Where there is no uv, pip resolves for one target, to the same files."""
    project = KINDS["setuptools-cython"]
    with site.index(tmp_path / "index") as index:
        source = site.workshop.source(project, tmp_path / "source")
        done = site.lock(index, source, PROVISION_BACKEND_INSTALLER="pip")
        assert done.returncode == 0, done.output
    for_all = locked_tools(site.locked("setuptools-cython").files[PYLOCK])
    here = locked_tools((source / PYLOCK).read_text(encoding="utf-8"))

    assert here.keys() == for_all.keys()
    assert all(set(tools) <= set(for_all[name]) and len(tools) == 1 for name, tools in here.items())
