"""The frontends that are managers of projects or programs: hatch, PDM, Poetry, pipx and pnpm.

In: a `Job`. Out: `Made`. Each chooses a Python itself, so it runs where it finds the job's host interpreter and no
other. What it installs comes from an index on loopback, since not all of them install from folders.
"""

from __future__ import annotations

__all__ = ["MANAGERS"]

import os
from dataclasses import replace
from pathlib import Path
from typing import Dict, Tuple

from .jobs import Frontend, Job, Made, Refusal, found, installed


def _place(job: Job, tool: str, **more: str) -> Dict[str, str]:
    """Return the variables with which a tool finds the job's interpreter and no other, and keeps all in the job."""
    url = job.workshop.index_url()
    programs = job.workshop.tool(tool, job.host)
    folders = [each for each in os.environ["PATH"].split(os.pathsep) if not list(Path(each).glob("python*"))]
    kinds = {f"XDG_{kind}_HOME": str(job.folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    closed = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1", "PYENV_ROOT": str(job.folder)}
    asked = {"PDM_PYPI_URL": url, "PDM_CHECK_UPDATE": "0", "POETRY_VIRTUALENVS_PATH": str(job.folder / "venvs")}
    pipx = {"PIPX_HOME": str(job.folder / "pipx"), "PIPX_SHARED_LIBS": str(job.workshop.private / "pipx-shared")}
    path = os.pathsep.join([str(programs), *folders, "/usr/bin", "/bin"])
    return {**kinds, **closed, **asked, **pipx, "PIPX_BIN_DIR": str(job.folder / "bin"), "PATH": path, **more}


def _run(job: Job, cwd: Path, tool: str, *arguments: str, **more: str) -> Made:
    place = _place(job, tool, **more)
    program = place["PATH"].split(os.pathsep)[0]
    return Made(job.run(f"{program}/{tool}", *arguments, cwd=cwd, **place))


def _hatch(job: Job) -> Made:
    made = _run(job, job.source, "hatch", "-v", "build", str(job.out))
    # Both are made from the tree.
    return found(made.done, job.out, from_sdist=False)


def _pdm_build(job: Job) -> Made:
    # In an active environment it writes no file of its own into the tree, which an sdist would then have.
    active = str(job.workshop.tool("pdm", job.host).parent)
    made = _run(job, job.source, "pdm", "build", "-v", "-d", str(job.out), VIRTUAL_ENV=active)
    return found(made.done, job.out)


def _pdm_install(job: Job) -> Made:
    made = _run(job, job.source, "pdm", "install", "-v")
    return installed(made.done, job.source / ".venv" / "bin" / "python", editable=True)


# Poetry reads where to install from in the project of the folder that it is started in.
_APP = """[project]
name = "app"
version = "1.0"
requires-python = ">=3.12"
dependencies = ["sample @ {uri}"]

[tool.poetry]
package-mode = false

[[tool.poetry.source]]
name = "local"
url = "{url}"
priority = "primary"
"""


def _app(job: Job) -> Path:
    folder = job.folder / "app"
    folder.mkdir()
    text = _APP.format(uri=job.source.as_uri(), url=job.workshop.index_url())
    (folder / "pyproject.toml").write_text(text)
    return folder


def _poetry_build(job: Job) -> Made:
    made = _run(job, _app(job), "poetry", "build", "-v", "-P", str(job.source), "-o", str(job.out))
    return found(made.done, job.out, from_sdist=False)


def _poetry_dependency(job: Job) -> Made:
    made = _run(job, _app(job), "poetry", "install", "-v")
    python = next((job.folder / "venvs").glob("*/bin/python"), job.folder)
    return installed(made.done, python, editable=False)


def _poetry_install(job: Job) -> Made:
    return _run(job, job.source, "poetry", "install", "-v")


def _pipx(*words: str) -> Tuple[str, ...]:
    return (*words, "--verbose", "--pip-args=--ignore-requires-python --no-deps")


def _pipx_install(job: Job) -> Made:
    words = _pipx("install", "--python", str(job.host.path))
    made = _run(job, job.folder, "pipx", *words, str(job.source))
    return installed(made.done, job.folder / "pipx" / "venvs" / "sample" / "bin" / "python", editable=False)


def _pipx_run(job: Job) -> Made:
    words = _pipx("run", "--python", str(job.host.path))
    made = _run(job, job.folder, "pipx", *words, "--spec", str(job.source), "sample")
    if made.done.returncode == 0:
        assert "42" in made.done.output.split(), made.done.output
    python = next((job.folder / "pipx").rglob("bin/python"), job.folder)
    return installed(made.done, python, editable=False)


_WORKSPACE = """python:
  enabled: true
  executable: {python}
registries:
  {url}:
    ecosystem: pypi
runtimeOnFail: warn
dangerouslyAllowAllBuilds: true
storeDir: {store}
"""


def _pnpm(job: Job) -> Made:
    url, store = job.workshop.index_url(), job.folder / "store"
    text = _WORKSPACE.format(python=job.host.path, url=url, store=store)
    (job.source / "pnpm-workspace.yaml").write_text(text)
    made = _run(job, job.source, "pnpm", "install")
    # It installs a wheel where there is no build_editable.
    return installed(made.done, job.source / ".venv" / "bin" / "python", editable=job.backend.editable)


_PDM = Refusal(
    "PDM looks for a Python that satisfies the project, and fetches one itself: it never asks us",
    r"Can't resolve python interpreter|No Python interpreter",
)
_POETRY = Refusal(
    "Poetry looks for an installed Python that satisfies the project, and ends without one: it never asks us",
    "unable to find a compatible version",
)
_PIPX = Refusal(
    "pipx refuses to install a program whose requires-python its interpreter does not satisfy, after it was built",
    "The Python you named does not satisfy",
)
_PNPM = Refusal(
    "pnpm refuses to install a project for a Python that does not satisfy its requires-python, after it was built",
    r"built[\s│]+a[\s│]+wheel[\s│]+requiring",  # It breaks lines where the path of the project happens to end.
)

_POETRY_ITSELF = Refusal(
    "Poetry installs the project that it is started in without its backend, by a way of its own",
    "Installing the current project",
    fails=None,
)

_PDM_TABLE = Refusal(
    "PDM takes no project without a table [project]",
    r"tool\.pdm\.distribution must be|has not been initialized yet",
)
_PNPM_TABLE = Refusal("pnpm sees no project without a table [project]", "all 0 workspace projects", fails=False)
_POETRY_STATIC = Refusal(
    "Poetry takes no project whose version is not in its table [project] or [tool.poetry]",
    r"Either \[project.version\] or \[tool.poetry.version\] is required|section not found",
)

MANAGERS: Tuple[Frontend, ...] = tuple(
    replace(each, newest_old_host=True)
    for each in (
        Frontend("hatch-build", "hatch build", _hatch, sdist=True),
        Frontend("pdm-build", "pdm build", _pdm_build, sdist=True, refuses=_PDM, no_table=_PDM_TABLE),
        Frontend("pdm-install", "pdm install", _pdm_install, editable=True, refuses=_PDM, no_table=_PDM_TABLE),
        Frontend("poetry-build", "poetry build", _poetry_build, sdist=True, refuses=_POETRY, no_version=_POETRY_STATIC),
        Frontend("poetry-dependency", "poetry install, of a dependency", _poetry_dependency, refuses=_POETRY),
        Frontend(
            "poetry-install",
            "poetry install",
            _poetry_install,
            refuses=_POETRY,
            calls_nothing=_POETRY_ITSELF,
            no_version=_POETRY_STATIC,
        ),
        Frontend("pipx-install", "pipx install", _pipx_install, refuses=_PIPX, builds_first=True),
        Frontend("pipx-run", "pipx run --spec", _pipx_run),
        Frontend(
            "pnpm-install", "pnpm install", _pnpm, editable=True, refuses=_PNPM, builds_first=True, no_table=_PNPM_TABLE
        ),
    )
)
