"""Build requirements resolved for real, by pip and by uv, from an index on loopback that gets newer versions."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import pytest
from packaging.pylock import Pylock
from support.command_line import variables
from support.hosts import clean_environ, wheelhouse
from support.locking import Answer, line, lock_all
from support.projects import pure
from support.servers import ArchiveServer, Reply
from support.toys import project_of, toy_wheel

from provision_backend.catalog.selection import load_catalog_file, parse_catalog
from provision_backend.catalog.wanted import LockedRequirements
from provision_backend.errors import BackendError, BuildEnvironmentError, ProjectError, UsageError
from provision_backend.hooks import resolve
from provision_backend.hooks.resolve import Resolver
from provision_backend.interpreter import Interpreter
from provision_backend.output import Reporter
from provision_backend.project.pylock import PYLOCK
from provision_backend.project.pyproject import Project, read_project
from provision_backend.settings import Settings, load_toml

UV = shutil.which("uv") or str(Path(sys.executable).parent / "uv")

# It asks for what its static requirement brings along, and only where the host has no ninja.
_ASKING = """
from minimal import *
import alpha, os, shutil

def get_requires_for_build_wheel(config_settings=None):
    print("writing top-level names")
    with open("path.txt", "a") as file:
        print(os.environ["PATH"], file=file)
    return ["delta>=1"] if shutil.which("ninja") is None else []
"""
_PLAIN = "from minimal import *\n"


class Place:
    """An index, a mirror with one real interpreter, and a cache that has it."""

    def __init__(self, server: ArchiveServer, mirror: Path, folder: Path) -> None:
        self.server, self.mirror, self.folder = server, mirror, folder
        self.catalog = mirror / "SHA256SUMS"
        self.archive = load_catalog_file(self.catalog)[0]

    def offer(self, *wheels: Tuple[str, str, Sequence[str]], tag: str = "py3-none-any") -> None:
        """Let the index have toy wheels beside what it has: name, version and requirements of each."""
        for name, version, requires in wheels:
            made = toy_wheel(self.folder / "wheels", name, version, requires)
            made.replace(made.with_name(made.name.replace("py3-none-any", tag)))
        pages: Dict[str, str] = {}
        for path in sorted((self.folder / "wheels").glob("*.whl")):
            page, digest = f"/simple/{path.name.split('-')[0]}/", hashlib.sha256(path.read_bytes()).hexdigest()
            link = f'<a href="/files/{path.name}#sha256={digest}">{path.name}</a>\n'
            pages[page] = pages.get(page, "<!DOCTYPE html>\n") + link
            self.server.files[f"/files/{path.name}"] = path.read_bytes()
        self.server.files.update({page: text.encode() for page, text in pages.items()})

    def lock(self, root: Path, *arguments: str, **settings: Any) -> Answer:
        """Run ``lock``."""
        own = {"mirror": (str(self.mirror),), "catalog": str(self.catalog), "cache_dir": str(self.folder / "cache")}
        return lock_all(root, *arguments, **{"installer": "uv", **own, **settings})


@pytest.fixture(scope="module")
def module_place(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The cache is filled once."""
    if not os.access(UV, os.X_OK):
        pytest.skip("uv is not installed")
    with ArchiveServer() as server:
        server.validators["Content-Type"] = "text/html"
        yield Place(server, mirror, tmp_path_factory.mktemp("place"))


@pytest.fixture
def place(module_place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty index, which pip and uv ask and no other."""
    shutil.rmtree(str(module_place.folder / "wheels"), ignore_errors=True)
    module_place.server.files.clear()
    module_place.server.login = None
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    address(monkeypatch, module_place.server.url)
    return module_place


def address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, f"{url}/simple/")


def requirements_of(root: Path) -> LockedRequirements:
    lock = read_project(root).lock
    assert lock is not None
    assert lock.requirements is not None
    return lock.requirements


def versions(root: Path) -> Dict[str, str]:
    return {package["name"]: package["version"] for package in requirements_of(root).packages}


def wheels(package: Mapping[str, Any]) -> List[str]:
    return [str(wheel.get("path") or wheel["url"]).rpartition("/")[2] for wheel in package["wheels"]]


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_static_and_dynamic_requirements_with_all_that_they_need(
    place: Place, installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The file is one of PEP 751; the other installer finds nothing to change when the index has more and newer files.

    The host's own ninja does not keep the real backend from asking for what another host lacks. A file that is new is
    not printed, and neither is what the real backend says.
    """
    place.offer(("alpha", "1.0", ["beta>=1"]), ("beta", "1.0", []), ("delta", "1.0", ["beta"]))
    root = project_of(tmp_path / "p", _ASKING, table='requires = ["alpha"]')
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ninja").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    answer = place.lock(root, installer=installer)

    label = f"CPython {place.archive.label} of {place.archive.tag} and 3 packages for 1 target, in {PYLOCK}"
    assert answer.told.splitlines()[-1] == f"provision-backend: locked to {label}"
    assert (answer.data["path"], answer.data["dynamic"]) == (str(root / PYLOCK), ["delta>=1"])
    assert answer.data["packages"] == [{"name": name, "version": "1.0"} for name in ("alpha", "beta", "delta")]
    assert 'lock = "provisioned"' in (root / "pyproject.toml").read_text()
    found = requirements_of(root)
    assert (found.requires, found.dynamic, found.build_backend) == (("alpha",), ("delta>=1",), "toy_backend")
    text = (root / PYLOCK).read_text()
    Pylock.from_dict(load_toml(text))
    assert ("+++ b/pyproject.toml" in answer.lines, f"+++ b/{PYLOCK}" in answer.lines) == (True, False)
    assert f"+++ b/{PYLOCK}\n" in answer.data["diff"]
    assert "top-level names" not in "".join(capfd.readouterr())
    # Links to all other programs of a folder, thousands, are made once and not for each hook.
    paths = (root / "path.txt").read_text().splitlines()
    assert (len(paths), len({path.partition(os.pathsep)[2] for path in paths})) == (2, 1)
    line = next(line for line in text.splitlines() if "alpha-1.0" in line)
    assert line.startswith(f'    {{url = "{place.server.url}/files/alpha-1.0-py3-none-any.whl", ')
    assert load_toml(text)["requires-python"] == f"=={'.'.join(place.archive.version.split('.')[:2])}.*"

    place.offer(("alpha", "1.1", ["beta>=1"]), ("beta", "1.1", []), ("delta", "1.1", ["beta"]))
    wheel = place.folder / "wheels" / "beta-1.0-py3-none-any.whl"
    shutil.copy(str(wheel), str(wheel.with_name("beta-1.0-py30-none-any.whl")))
    place.offer()
    again = place.lock(root, "--check", installer={"pip": "uv", "uv": "pip"}[installer])
    assert (again.code, again.lines, again.told) == (0, [], f"provision-backend: nothing to do: locked to {label}\n")


@pytest.mark.slow
def test_versions_move_when_they_are_told_to(place: Place, tmp_path: Path) -> None:
    """One package, or all of them; a changed requirement moves what it has to."""
    place.offer(("alpha", "1.0", ["beta"]), ("beta", "1.0", []), ("gamma", "1.0", []))
    root = project_of(tmp_path / "p", _PLAIN, table='requires = ["alpha", "gamma"]')
    place.lock(root, "--always")
    assert 'lock = "always"' in (root / "pyproject.toml").read_text()
    before = (root / PYLOCK).read_text()
    place.offer(*[(name, "2.0", ["beta"] if name == "alpha" else []) for name in ("alpha", "beta", "gamma")])
    one = place.lock(root, "--upgrade-package", "Beta")

    assert (one.data["always"], versions(root)) == (True, {"alpha": "1.0", "beta": "2.0", "gamma": "1.0"})
    assert [line for line in one.lines if line.startswith("+version")] == ['+version = "2.0"']
    pyproject = root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"gamma"', '"gamma>1"'))
    assert place.lock(root, "--check").code == 1
    place.lock(root)
    assert versions(root) == {"alpha": "1.0", "beta": "2.0", "gamma": "2.0"}
    place.lock(root, "--upgrade")
    assert set(versions(root).values()) == {"2.0"}
    # What a merge or a person has left behind is locked again, with the versions that it names and no hash of it.
    edited = re.sub('{sha256 = "[0-9a-f]{8}', '{sha256 = "00000000', before).replace("/files/", "/elsewhere/")
    (root / PYLOCK).write_text(edited.replace('\nversion = "1.0"', '\nversion = "one"', 1))
    assert {each["version"] for each in place.lock(root, "--check").data["packages"]} == {"2.0"}
    (root / PYLOCK).write_text(edited)
    place.lock(root)
    assert versions(root) == {"alpha": "1.0", "beta": "1.0", "gamma": "2.0"}
    assert "/elsewhere/" not in (root / PYLOCK).read_text()
    # An index that has another file of the same name is a change.
    place.offer(("beta", "1.0", ["gamma"]))
    changed = [line for line in place.lock(root, "--check").lines if "beta-1.0-" in line]
    assert [line[0] for line in changed] == ["-", "+"]
    (root / PYLOCK).write_text(f"<<<<<<< HEAD\n{edited}")
    assert place.lock(root, "--check").told.startswith(
        f"provision-backend: note: {PYLOCK} is missing or damaged, so no target and no version of it is kept\n"
    )
    (root / PYLOCK).write_text(edited)
    with pytest.raises(UsageError, match="--upgrade-package names 'nothing', which is not locked"):
        place.lock(root, "--upgrade-package", "nothing")


@pytest.mark.slow
def test_pip_resolves_anew_where_locked_versions_contradict(place: Place, tmp_path: Path) -> None:
    """It knows no preferences: constraints that leave no solution are dropped, and a line says so."""
    place.offer(("alpha", "1.0", ["beta<2"]), ("beta", "1.0", []), ("alpha", "2.0", ["beta>=2"]))
    root = project_of(tmp_path / "p", _PLAIN, table='requires = ["alpha<2"]')
    place.lock(root, installer="pip")
    place.offer(("beta", "2.0", []))
    pyproject = root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"alpha<2"', '"alpha>=2"'))
    answer = place.lock(root, installer="pip")

    assert versions(root) == {"alpha": "2.0", "beta": "2.0"}
    assert answer.told.splitlines()[0] == (
        "provision-backend: pip found no solution with the versions that are locked; resolving without them"
    )


@pytest.mark.slow
def test_installers_take_the_file(place: Place, tmp_path: Path) -> None:
    """``uv pip sync`` and ``pip install -r`` install what is locked, by hash."""
    here = "{}.{}".format(*sys.version_info[:2])
    if not place.archive.version.startswith(f"{here}."):
        pytest.skip("the interpreter of the tests is of another minor version than the locked one")
    place.offer(("alpha", "1.0", ["beta>=1"]), ("beta", "1.0", []))
    root = project_of(tmp_path / "p", _PLAIN, table='requires = ["alpha"]')
    place.lock(root)
    environ = clean_environ()
    for name, command in {
        "uv": [UV, "pip", "sync", "--python", "{}", PYLOCK],
        "pip": [sys.executable, "-m", "pip", "--python", "{}", "install", "--quiet", "-r", PYLOCK],
    }.items():
        python = tmp_path / name / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / name)], check=True, env=environ)
        done = [word.replace("{}", str(python)) for word in command]
        subprocess.run(done, cwd=str(root), check=True, env=environ)
        code = "import alpha, beta; print(alpha.VERSION, beta.VERSION)"
        assert subprocess.check_output([str(python), "-c", code], text=True).split() == ["1.0", "1.0"]


@pytest.mark.slow
def test_only_wheels_and_packages_for_the_targets_are_listed(place: Place, tmp_path: Path) -> None:
    """Of all files that uv names, those for the locked Python on the locked targets; no package of another system."""
    minor = "".join(place.archive.version.split(".")[:2])
    triple = place.archive.triple
    machine = triple.partition("-")[0]
    if not triple.endswith("-linux-gnu"):
        pytest.skip("the targets of this test are those of Linux")
    musl = triple.replace("-gnu", "-musl")
    for tag in (
        f"cp{minor}-cp{minor}-manylinux_2_17_{machine}", f"cp{minor}-cp{minor}-manylinux_2_34_{machine}",
        f"cp{minor}-cp{minor}-musllinux_1_2_{machine}", f"cp{minor}-cp{minor}-win_amd64", f"cp{minor}-cp{minor}t-any",
        f"cp38-abi3-manylinux_2_28_{machine}", "cp37-cp37m-any", f"cp{minor}-cp{minor}-manylinux_2_17_s390x",
    ):  # fmt: skip
        place.offer(("native", "1.0", []), tag=tag)
    place.offer(("alpha", "1.0", []), ("colour", "1.0", []))
    table = "requires = ['native', \"alpha; python_version >= '3.8'\", \"colour; sys_platform == 'win32'\"]"
    root = project_of(tmp_path / "p", _PLAIN, table=table)
    catalog = tmp_path / "SHA256SUMS"
    line = f"{place.archive.sha256}  {place.archive.filename}\n"
    riscv = "riscv64-unknown-linux-gnu"
    catalog.write_text("".join(line.replace(triple, each) for each in (triple, musl, riscv)))
    answer = place.lock(root, "--target", "all", "--target", musl, catalog=str(catalog))

    # Of all targets, those that were not named are not all possible.
    assert f"provision-backend: {riscv} is left out: there is no wheel of native for it\n" in answer.told
    assert answer.told.endswith(f"and 2 packages for 2 targets, in {PYLOCK}\n")
    packages = {package["name"]: package for package in requirements_of(root).packages}
    assert list(packages) == ["alpha", "native"]
    assert "marker" not in packages["alpha"]
    assert wheels(packages["native"]) == [
        f"native-1.0-cp{minor}-cp{minor}-manylinux_2_17_{machine}.whl",
        f"native-1.0-cp{minor}-cp{minor}-manylinux_2_34_{machine}.whl",
        f"native-1.0-cp{minor}-cp{minor}-musllinux_1_2_{machine}.whl",
        f"native-1.0-cp38-abi3-manylinux_2_28_{machine}.whl",
    ]
    (place.folder / "wheels" / wheels(packages["native"])[2]).unlink()
    place.offer()
    with pytest.raises(BuildEnvironmentError) as caught:
        place.lock(root, catalog=str(catalog))
    assert str(caught.value) == (
        f"native 1.0 has no wheel for CPython {place.archive.label} on {musl}\n"
        "  a locked build installs wheels only; require a version that has one for every locked target"
    )
    with pytest.raises(BuildEnvironmentError) as caught:
        place.lock(root, catalog=str(catalog), installer="pip")
    assert str(caught.value) == (
        f"pip resolves for this host only, and the lock is for {musl} too\n"
        "  have uv resolve, for all targets at once: install uv, and set PROVISION_BACKEND_INSTALLER=uv"
    )


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_package_without_a_wheel_is_refused(place: Place, installer: str, tmp_path: Path) -> None:
    """An sdist is not locked: what it needs to be built would not be."""
    page = "<!DOCTYPE html><html><body><a href='/files/{0}'>{0}</a></body></html>".format("source_only-1.0.tar.gz")
    place.server.files["/simple/source-only/"] = page.encode()
    root = project_of(tmp_path / "p", _PLAIN, table='requires = ["source-only"]')
    with pytest.raises(BuildEnvironmentError) as caught:
        place.lock(root, installer=installer)

    first, *_, last = str(caught.value).splitlines()
    assert first.startswith(
        f"could not resolve the build requirements for CPython {place.archive.version}: {installer}"
    )
    assert last == "  no wheel of 'source-only' fits, and a locked build installs wheels only, no sdists"
    assert not (root / PYLOCK).exists()


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_an_index_that_refuses_the_login_is_named(
    place: Place, installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip says only that there is no such package, after which one looks for wheels, and not at the password."""
    place.offer(("alpha", "1.0", []))
    place.server.login = ("me", "s3cret")
    address(monkeypatch, place.server.url.replace("//", "//me:wr0ng@"))
    root = project_of(tmp_path / "p", _PLAIN, table='requires = ["alpha"]')
    with pytest.raises(BuildEnvironmentError) as caught:
        place.lock(root, installer=installer)

    said = str(caught.value)
    assert "wr0ng" not in said
    assert "no wheel of" not in said
    assert f"{place.server.url}/simple/" in said
    assert "401" in said
    if installer == "pip":
        assert said.endswith(
            f"\n  {place.server.url}/simple/alpha/ answered 401: the login of that index is missing or wrong"
        )


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_lock_that_is_terminated_leaves_nothing(place: Place, installer: str, tmp_path: Path) -> None:
    """The installer, which cannot remove its own folders then, has them in ours."""
    place.offer(("alpha", "1.0", []))
    root, temporary = project_of(tmp_path / "p", _PLAIN, table='requires = ["alpha"]'), tmp_path / "temporary"
    temporary.mkdir()
    options = ["--mirror", str(place.mirror), "--catalog", str(place.catalog), "--installer", installer]
    command = [sys.executable, "-m", "provision_backend", "lock", str(root), *options]
    environ = variables({"TMPDIR": str(temporary), "PROVISION_BACKEND_CACHE_DIR": str(place.folder / "cache")})
    place.server.requests.clear()
    place.server.script = [Reply(stall=0)] * 9
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not place.server.requests and time.monotonic() < end:
            time.sleep(0.05)
        process.terminate()
        said = process.communicate(timeout=60)[1]
    place.server.script = []

    assert (process.returncode, said.splitlines()[-1:]) == (130, [b"provision-backend: interrupted"]), said
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_login_of_the_index_is_used_and_not_written(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And an address stays as it was where another index has the same file."""
    place.offer(("alpha", "1.0", []))
    place.server.login = ("me", "s3cret")
    address(monkeypatch, place.server.url.replace("//", "//me:s3cret@"))
    root = project_of(tmp_path / "p", _PLAIN, table='requires = ["alpha"]')
    for installer in ("pip", "uv"):
        answer = place.lock(root, installer=installer, verbose=1)
        text = (root / PYLOCK).read_text()
        assert f'url = "{place.server.url}/files/alpha-1.0-py3-none-any.whl"' in text
        assert not any("s3cret" in each for each in (text, answer.told, *answer.lines))
        (root / PYLOCK).unlink()
    (root / PYLOCK).write_text(text)
    with ArchiveServer(dict(place.server.files)) as other:
        other.validators = place.server.validators
        address(monkeypatch, other.url)
        assert place.lock(root).data["changed"] is False


@pytest.mark.slow
def test_wheels_of_a_folder_have_no_address(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only their names are the same elsewhere. What the real backend leaves out of an sdist is told."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheelhouse(Path(sys.executable), clean_environ())))
    root = pure(tmp_path / "p", requires_python="")
    answer = place.lock(root, installer="pip")

    assert [next(iter(wheel)) for package in requirements_of(root).packages for wheel in package["wheels"]] == ["path"]
    note = f'[tool.flit.sdist] of pyproject.toml: include = ["{PYLOCK}"]'
    assert f"note: builds of the sdist need {PYLOCK} in it: add to {note}\n" in answer.told


@pytest.mark.slow
def test_an_index_of_uv_sources_is_asked_and_nothing_else(place: Place, tmp_path: Path) -> None:
    """A folder has no hash that would stay, and pip does not know that table."""
    place.offer(("alpha", "1.0", []))
    index = f'[[tool.uv.index]]\nname = "mine"\nurl = "{place.server.url}/simple/"\nexplicit = true\n'
    place.server.files["/elsewhere/alpha/"] = b""
    table = 'requires = ["alpha"]\n[tool.uv.sources]\nalpha = {source}\n'
    root = project_of(tmp_path / "p", _PLAIN, table=table.replace("{source}", '{ index = "mine" }') + index)
    os.environ["UV_DEFAULT_INDEX"] = f"{place.server.url}/elsewhere/"
    place.lock(root)

    assert versions(root) == {"alpha": "1.0"}
    with pytest.raises(BuildEnvironmentError, match="the installer, pip, ignores that table"):
        place.lock(root, installer="pip")
    project_of(root, _PLAIN, table=table.replace("{source}", '{ path = "alpha" }'))
    with pytest.raises(ProjectError) as caught:
        place.lock(root)
    assert str(caught.value) == (
        "the build requirement 'alpha' cannot be locked: tool.uv.sources names no index for it\n"
        "  a lock has versions and hashes; require a version of it, from an index or a folder of wheels"
    )


@pytest.mark.slow
def test_what_cannot_be_locked_ends_in_a_sentence(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address as requirement; a real backend that asks for more each time; a hook that fails."""
    root = project_of(tmp_path / "p", _PLAIN, table='requires = ["alpha @ https://me:s3cret@h.example/a.whl"]')
    with pytest.raises(ProjectError) as caught:
        place.lock(root)
    assert str(caught.value) == (
        "the build requirement 'alpha @ https://h.example/a.whl' cannot be locked: it names a file or a repository\n"
        "  a lock has versions and hashes; require a version of it, from an index or a folder of wheels"
    )
    place.offer(*[(f"more{number}", "1.0", []) for number in range(6)])
    source = """
from minimal import *
from importlib.util import find_spec

def get_requires_for_build_sdist(config_settings=None):
    return [next(name for name in map("more{}".format, range(9)) if find_spec(name) is None)]
"""
    monkeypatch.setattr(resolve, "_ROUNDS", 2)
    endless = project_of(tmp_path / "endless", source)
    with pytest.raises(BackendError, match=r"^the real backend 'toy_backend' asks for something new each time$"):
        place.lock(endless)


def test_an_old_pip_cannot_resolve(tmp_path: Path) -> None:
    """It would install instead, or end with an error about an option that nobody has given."""
    found = parse_catalog(line("3.13.5"), source="test")
    interpreter = Interpreter("/python", "3.13.5", triple=found[0].triple, pip="22.1.2")
    with pytest.raises(BuildEnvironmentError) as caught:
        Resolver(Project(tmp_path), found, interpreter, Settings(installer="pip"), Reporter()).run()

    assert str(caught.value) == (
        "pip 22.1.2 of CPython 3.13.5 cannot resolve for a lock: the option --report came with pip 22.2\n"
        "  have uv resolve, for all targets at once: install uv, and set PROVISION_BACKEND_INSTALLER=uv"
    )
