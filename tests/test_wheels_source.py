"""The one sdist of all wheels: made of a folder, given as a file, or fetched by a name; and what projects say there."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Dict, Mapping, Optional, Tuple

import pytest
from support.hosts import make_project

from provision_backend.errors import DownloadError, ProjectError, UnpackError, UsageError
from provision_backend.output import Reporter
from provision_backend.project.pyproject import Project
from provision_backend.project.unadopted import read_any_project
from provision_backend.settings import load_settings
from provision_backend.wheels.source import Source, inspect_source, open_source

Files = Mapping[str, str]

PKG_INFO = (
    "Metadata-Version: 2.1\nName: Spam-Eggs\nVersion: 1.2\nRequires-Python: >=3.9\nRequires-Dist: x y z\n\nText\n"
)
LEGACY = "setuptools.build_meta:__legacy__"


def _sdist(folder: Path, files: Files, *, name: str = "spam_eggs-1.2", time: int = 1_600_000_000) -> Path:
    """Write an sdist whose files have one time after the other."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number, (path, text) in enumerate(files.items()):
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size, member.mtime = len(text.encode()), time + number
            tar.addfile(member, io.BytesIO(text.encode()))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.tar.gz"
    file.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return file


def _open(source: Path, work: Path, out: Optional[Path] = None) -> Source:
    work.mkdir()
    # The running interpreter makes the sdist, so that nothing is fetched.
    settings = load_settings(flags={"python": sys.executable})
    return open_source(str(source), work, settings, Reporter(io.StringIO()), out=out)


PROJECTS: Dict[str, Tuple[Files, Project]] = {
    "a setup.py alone": (
        {"setup.py": "setup(name='spam', version='1', python_requires='>=3.8')"},
        Project(Path(), LEGACY, ("setuptools",), True, (), ">=3.8", name="spam", version="1"),
    ),
    "no build-backend": (
        {"pyproject.toml": '[build-system]\nrequires = ["setuptools", "cython"]\n', "setup.py": ""},
        Project(Path(), LEGACY, ("setuptools", "cython"), True),
    ),
    "setup.cfg": (
        {
            "setup.py": "",
            "setup.cfg": "[metadata]\nname = spam\nversion = attr: spam.V\n[options]\npython_requires = >=3.7\n",
        },
        Project(Path(), LEGACY, ("setuptools",), True, (), ">=3.7", name="spam"),
    ),
    "a backend in the tree": (
        {
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "own:x"\nbackend-path = ["."]\n'
            '[project]\nname = "spam"\nversion = "2"\nrequires-python = ">=3.10"\n'
        },
        Project(Path(), "own:x", (), True, (".",), ">=3.10", name="spam", version="2"),
    ),
    "what an sdist says comes first": (
        {
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "b"\n[project]\nname = "s"\n'
            'dynamic = ["version", "requires-python"]\n',
            "PKG-INFO": PKG_INFO,
        },
        Project(Path(), "b", (), True, (), ">=3.9", name="Spam-Eggs", version="1.2"),
    ),
    "Poetry's own notation": (
        {
            "pyproject.toml": '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'
            '[tool.poetry]\nname = "spam"\nversion = "3"\n[tool.poetry.dependencies]\npython = "^3.8"\n'
        },
        Project(
            Path(), "poetry.core.masonry.api", ("poetry-core",), True, (), ">=3.8,<4", name="spam", version="3"
        ),
    ),
    "an adopted one": (
        {
            "pyproject.toml": '[build-system]\nrequires = ["provision-backend", "hatchling"]\n'
            'build-backend = "provision_backend"\n[project]\nname = "spam"\ndynamic = ["version"]\n'
            '[tool.provision-backend]\nbuild-backend = "hatchling.build"\n',
            "PKG-INFO": PKG_INFO,
        },
        Project(Path(), "hatchling.build", ("hatchling",), True, name="Spam-Eggs", version="1.2"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROJECTS)
def test_any_project_is_read(tmp_path: Path, name: str) -> None:
    """The backend and its requirements are those that every frontend uses; a name comes from wherever it stands."""
    files, expected = PROJECTS[name]
    root = make_project(tmp_path / "project", files)

    assert read_any_project(root) == expected._replace(root=root)


BROKEN: Dict[str, Tuple[Files, str]] = {
    "no requires": (
        {"pyproject.toml": '[build-system]\nbuild-backend = "b"\n'},
        "pyproject.toml: build-system.requires is missing",
    ),
    "a requirement that is none": (
        {"pyproject.toml": '[build-system]\nrequires = ["a b"]\n'},
        "pyproject.toml: build-system.requires: 'a b' is not a requirement",
    ),
    "a backend outside": (
        {"pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = [".."]\n'},
        "pyproject.toml: build-system.backend-path must name folders inside the project, found '..'",
    ),
    "no specifier": (
        {"pyproject.toml": '[build-system]\nrequires = []\n[project]\nname = "a"\nrequires-python = "3.9+"\n'},
        "requires-python of the project must be a version specifier such as '>=3.12', found '3.9+'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_project_is_refused(tmp_path: Path, name: str) -> None:
    """The message names the key and what is wrong with it, before an interpreter is provisioned."""
    files, message = BROKEN[name]
    with pytest.raises(ProjectError) as caught:
        read_any_project(make_project(tmp_path / "project", files))

    assert caught.value.message.startswith(message)


def test_an_empty_folder_is_no_project(tmp_path: Path) -> None:
    """It is wrong use: another folder was meant."""
    with pytest.raises(UsageError, match=r"^there is neither a pyproject.toml nor a setup.py in "):
        read_any_project(tmp_path)


def test_an_sdist_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are not changed, its newest file dates the wheels, and a copy of it is read."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    sdist = _sdist(tmp_path / "sdists", {"setup.py": "", "PKG-INFO": PKG_INFO, "spam.c": "int x;\n"})
    source = _open(sdist, tmp_path / "work")

    assert (source.project.name, source.project.version, source.epoch) == ("Spam-Eggs", "1.2", 1_600_000_002)
    assert (source.sdist, source.sha256) == (sdist, hashlib.sha256(sdist.read_bytes()).hexdigest())
    assert source.project.requires_python == ">=3.9"
    assert sorted(path.name for path in source.project.root.iterdir()) == ["PKG-INFO", "setup.py", "spam.c"]


def test_the_variable_dates_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOURCE_DATE_EPOCH comes before everything; before 1980 no wheel can be, and no number is an error."""
    sdist = _sdist(tmp_path / "sdists", {"setup.py": "", "PKG-INFO": PKG_INFO})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert _open(sdist, tmp_path / "a").epoch == 1_700_000_000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert _open(sdist, tmp_path / "b").epoch == 315_532_800
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")

    with pytest.raises(UsageError, match=r"^SOURCE_DATE_EPOCH must be a number of seconds, found 'yesterday'$"):
        _open(sdist, tmp_path / "c")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "999999999999")

    with pytest.raises(UsageError, match=r"^SOURCE_DATE_EPOCH must be a time that a wheel can have, before 2106, "):
        _open(sdist, tmp_path / "d")


def test_an_sdist_touches_nothing_outside(tmp_path: Path) -> None:
    """A member that leads out of the one folder is refused, as in every archive."""
    sdist = _sdist(tmp_path / "sdists", {"PKG-INFO": PKG_INFO, "../../evil": "x"})
    with pytest.raises(UnpackError, match=r"could not unpack 'spam_eggs-1\.2\.tar\.gz': .*'\.\.'"):
        _open(sdist, tmp_path / "work")

    assert not (tmp_path / "evil").exists()


def test_names_of_another_system_are_no_reason_to_refuse_an_sdist(tmp_path: Path) -> None:
    """Test data may be called what Windows reserves; an archive of an interpreter may not."""
    sdist = _sdist(tmp_path / "sdists", {"setup.py": "", "PKG-INFO": PKG_INFO, "tests/aux.c": "", "tests/a:b": ""})

    assert (_open(sdist, tmp_path / "work").project.root / "tests" / "a:b").is_file()


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    """The message says what may be named, and what was found."""
    wheel = make_project(tmp_path, {"spam-1-py3-none-any.whl": ""}) / "spam-1-py3-none-any.whl"
    empty = _sdist(tmp_path / "sdists", {"setup.py": ""}, name="empty-1")

    with pytest.raises(UsageError, match=r"^SOURCE must name a folder or an sdist, <name>-<version>.tar.gz, found "):
        _open(wheel, tmp_path / "a")
    with pytest.raises(UsageError, match=r"^SOURCE must name a folder, an sdist or a project, found "):
        _open(tmp_path / "spam-1.tar.gz", tmp_path / "b")
    with pytest.raises(ProjectError, match=r"^empty-1.tar.gz has no PKG-INFO with a name and a version"):
        _open(empty, tmp_path / "c")


# A backend that makes what setuptools would: an sdist with the time of now in it, and a generated file.
BACKEND = """
import io, os, tarfile, time

def build_sdist(folder, config_settings=None):
    with tarfile.open(os.path.join(folder, "toy-1.tar.gz"), "w:gz") as tar:
        for name in ("own.py", "pyproject.toml", "module.py"):
            tar.add(name, "toy-1/" + name)
        if os.path.isdir("wheelhouse"):
            tar.add("wheelhouse", "toy-1/wheelhouse")
        member, content = tarfile.TarInfo("toy-1/PKG-INFO"), b"Metadata-Version: 2.1\\nName: toy\\nVersion: 1\\n"
        member.size, member.mtime = len(content), time.time()
        tar.addfile(member, io.BytesIO(content))
    return "toy-1.tar.gz"
"""
TOY = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n',
    "own.py": BACKEND,
    "module.py": "",
}


@pytest.mark.slow
def test_a_folder_gives_the_same_sdist_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It depends on the content alone: not on the time, what was generated, or what a run has left in its output."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    root = make_project(tmp_path / "project", TOY)
    for name in TOY:
        os.utime(root / name, (1_650_000_000, 1_650_000_000))
    first = _open(root, tmp_path / "a")
    logs = ("sdist.log", "cp311.json", ".shard-1-of-1.lock", ".shard-1-of-1.owner", ".cp311.whl.part")
    out = make_project(root / "wheelhouse", {"toy-1-py3-none-any.whl": "", **{f"logs/{name}": "" for name in logs}})
    second = _open(root, tmp_path / "b", out)

    assert first.sha256 == second.sha256
    assert (first.project.name, first.project.version, first.epoch) == ("toy", "1", 1_650_000_000)
    (root / "module.py").write_text("x = 1\n", encoding="utf-8")
    assert _open(root, tmp_path / "c", out).sha256 != first.sha256


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_last_commit_dates_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout has the time of the moment in all its files, so the commit counts."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    root = make_project(tmp_path / "project", TOY)
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    environ = {**os.environ, "GIT_COMMITTER_DATE": "1660000000 +0200", "GIT_CONFIG_GLOBAL": os.devnull}
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True, env=environ)

    assert _open(root, tmp_path / "work").epoch == 1_660_000_000


@pytest.mark.slow
def test_a_name_is_fetched_without_asking_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip finds the sdist where it finds everything, for any Python, and the project's backend is never run."""
    index = tmp_path / "index"
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["absent-xyzzy"]\nbuild-backend = "own"\nbackend-path = ["."]\n',
        "own.py": "raise SystemExit('the project was run')\n",
        "PKG-INFO": PKG_INFO.replace(">=3.9", ">=4"),
    }
    _sdist(index, files)
    _sdist(index, {**files, "PKG-INFO": PKG_INFO.replace("1.2", "1.1")}, name="spam_eggs-1.1")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(index)), ("PIP_CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    told = io.StringIO()

    def _inspect(source: str, work: str) -> Project:
        (tmp_path / work).mkdir()
        return inspect_source(source, tmp_path / work, load_settings(), Reporter(told))

    assert _inspect("spam.eggs", "a").version == "1.2"
    assert _inspect("spam_eggs==1.1", "b").version == "1.1"
    assert "there is no folder 'spam.eggs' here; fetching the sdist of spam.eggs from the package" in told.getvalue()
    with pytest.raises(DownloadError, match=r"^could not fetch the sdist of 'ham': pip ended with exit status 1"):
        _inspect("ham", "c")
