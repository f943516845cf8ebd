"""Interpreter + requirements → `BuildEnvironment`: the virtual environment that holds the real backend.

It is made anew for each build, by uv where uv installs and by the interpreter's own module ``venv`` otherwise, and
filled by the same installer with the user's indexes (PIP_*, pip.conf, UV_*), as a frontend fills a build environment.
All hooks of one build share it: it stands inside the frontend's own disposable environment, which the frontend deletes,
and a file in it says that it is complete and what it holds. Without isolation it stands in a temporary folder, which
this process deletes. So builds are isolated: nothing that a hook can write to serves another build.

The frontend's own pip cannot be used: pip and build both hide it from hooks, and run under another version it would
fail (pip 23.0 on 3.12: no ``pkgutil.ImpImporter``).
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

from ..cache.entries import entry_of
from ..cache.manifest import published_bytecode
from ..catalog.wanted import RELOCK
from ..errors import BuildEnvironmentError
from ..files import hash_bytes, read_json, remove_path, write_atomically
from ..output import Reporter
from ..processes import describe_end, last_lines, run_quiet
from ..project.pylock import PYLOCK
from ..project.pyproject import Project
from ..settings import Settings
from ..systems import RUNNING
from ..variables import clean_environment, drop_variables
from .frontend import OWN_FOLDER, disposable_folder, frontend_folder, frontend_name
from .frontend_options import original_tree
from .installation import install
from .installer_files import uv_project
from .installers import UV_DROPPED, find_uv, interpreter_environment, supports_python_option
from .uv_settings import extra_requirements

if TYPE_CHECKING:
    from ..interpreter import Interpreter
    from ..toolchain import Compilers
    from .locked import Locked

__all__ = ["BuildEnvironment", "create_environment", "discard_environments", "open_environment", "project_for_uv"]

_STATE = "provision-backend.json"  # file in an environment that makes it complete for the next hook process
_BYTECODE = "bytecode"  # folder in an environment for all bytecode that its hooks use and make


class BuildEnvironment:
    """A virtual environment of the interpreter that runs the real backend, for one source tree.

    It is a copy of what is *locked*, and then nothing is ever installed into it; None if requirements are resolved. The
    *toolchain* is the compiler of its hooks; None for that of the host.
    """

    # No dataclass: that imports inspect, which no other part of a warm build does.
    def __init__(
        self,
        path: Path,
        interpreter: Interpreter,
        settings: Settings,
        reporter: Reporter,
        source: Path,
        *,
        locked: Optional[Locked] = None,
        toolchain: Optional[Compilers] = None,
    ) -> None:
        self.path = path
        self.interpreter = interpreter
        self.settings = settings
        self.reporter = reporter
        self.source = source
        self.locked = locked
        self.toolchain = toolchain
        self.installed: Tuple[str, ...] = ()
        """Requirements that were installed already, as they were asked for."""
        self.uses_sources = frontend_name() == "uv"
        """Whether ``[tool.uv.sources]`` counts; only the uv that builds heeds it."""
        self.asked: Tuple[str, ...] = ()
        """Questions for dynamic requirements that were answered, and the answers installed."""
        self.stdout: Optional[int] = None
        """Descriptor of what hooks print to their standard output; None for this process's own."""

    @property
    def version(self) -> str:
        """Version of the environment's interpreter."""
        return self.interpreter.version

    @property
    def python(self) -> str:
        """The environment's interpreter."""
        return str(RUNNING.environment_python(self.path))

    @property
    def packages(self) -> List[str]:
        """The folders that packages are installed in."""
        # lib64 is a link to lib.
        return [str(folder) for folder in self.path.glob(RUNNING.environment_packages)]

    @property
    def folder(self) -> str:
        """The folder in which the installer is run, where relative find-links and constraints start."""
        return frontend_folder(self.source)

    def installer_environ(self) -> Dict[str, str]:
        """Return the environment variables of an installer."""
        environ = interpreter_environment(self.interpreter, os.path.dirname(self.python))
        # uv, CMake's FindPython and meson take the environment from here.
        environ["VIRTUAL_ENV"] = str(self.path)
        return environ

    def environ(self) -> Dict[str, str]:
        """Return the environment variables of a hook, which stores bytecode in this environment and nowhere else.

        So what the first hook compiles serves the others, and the interpreter stays as it was published. What is locked
        was compiled before it was copied.
        """
        environ = self.installer_environ()
        if self.toolchain is not None:
            environ.update(self.toolchain.variables(self.path, self.packages, environ))
        if self.locked is not None:
            environ.pop("PYTHONPYCACHEPREFIX", None)  # A user's own would hide what was compiled.
            return environ
        del environ["PYTHONDONTWRITEBYTECODE"]
        if self.interpreter.source == "managed":
            environ["PYTHONPYCACHEPREFIX"] = str(self.path / _BYTECODE)
        return environ

    def copy_bytecode(self) -> None:
        """Copy an interpreter's own bytecode to where hooks look for it; without that each compiles it again.

        Source: the documentation of ``sys.pycache_prefix``.
        """
        entry = entry_of(self.interpreter)
        # The path of the interpreter goes on below the folder, on Windows without the letter of its drive.
        below = re.sub(r"^([A-Za-z]:)?[\\/]+", "", str(entry))
        for path, content in published_bytecode(entry) if entry else ():
            if "/site-packages/" not in path:
                source = self.path / _BYTECODE / below / path
                target = source.parent.parent / source.name
                # Windows takes no path of more than 260 characters, and then the module is compiled again.
                with suppress(OSError):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)

    def install(self, requirements: Sequence[str], *, what: str) -> None:
        """Install PEP 508 requirements that are missing, or raise `BuildEnvironmentError`; *what* they are is shown."""
        if self.locked is not None:
            self.locked.check(requirements, self.packages)
            return
        missing = [text for text in requirements if text not in self.installed]
        if not missing:
            return
        self.reporter.detail(f"installing {what} under CPython {self.interpreter.version}: {', '.join(missing)}")
        with self.reporter.step(f"install {what}"):
            environ, file = self.installer_environ(), self._file_for_uv(missing)
            install(self, missing, environ=environ, cwd=self.folder, what=what, file=file)
        self.installed += tuple(missing)

    def _file_for_uv(self, requirements: Sequence[str]) -> str:
        """Write a project with these requirements if ``[tool.uv.sources]`` names one of them, and return its path."""
        text = project_for_uv(original_tree(self.source), requirements, self.settings) if self.uses_sources else ""
        if not text:
            return ""
        path = self.path / "requirements" / "pyproject.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def save(self) -> None:
        """Write down what the environment holds."""
        # Another hook process of a parallel frontend may be reading it.
        state = {"installed": self.installed, "asked": self.asked, "interpreter": self.interpreter.executable}
        write_atomically(self.path / _STATE, json.dumps(state).encode("utf-8"), durable=False)

    def load(self) -> bool:
        """Read what an earlier hook of the same build wrote down; return whether the environment is complete."""
        try:
            state = read_json(self.path / _STATE)
            if state["interpreter"] != self.interpreter.executable:
                return False
            self.installed, self.asked = tuple(state["installed"]), tuple(state["asked"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        # A cache may have been emptied while tox kept its environment; then the link leads nowhere.
        return os.path.exists(self.python)


def project_for_uv(source: Path, requirements: Sequence[str], settings: Settings) -> str:
    """Return the text of a project with these requirements if ``[tool.uv.sources]`` names one of them; else empty.

    If pip is to install them, `BuildEnvironmentError` is raised.
    """
    text = uv_project(source, requirements)
    if text and not find_uv(settings):
        # The index that is asked instead may have a package of that name by anybody.
        raise BuildEnvironmentError(
            "tool.uv.sources names a requirement of the build, and the installer, pip, ignores that table",
            hint="set PROVISION_BACKEND_INSTALLER=uv",
        )
    return text


def open_environment(
    interpreter: Interpreter,
    project: Project,
    settings: Settings,
    reporter: Reporter,
    *,
    notice: str = "",
    locked: Optional[Locked] = None,
    toolchain: Optional[Compilers] = None,
) -> BuildEnvironment:
    """Open the build environment that an earlier hook of the same build made, or make it.

    The static requirements of the project are installed before this returns, or those that are *locked* copied; before
    a new environment is made, *notice* is reported at every verbosity. If it cannot be made or filled,
    `BuildEnvironmentError` is raised.
    """
    # This needs no lock: the process that makes a folder owns it, and a file in it says that it is complete. A folder
    # that another process has claimed and not completed is passed over.
    for path in _folders(interpreter, project, locked, toolchain):
        options: Dict[str, Any] = {"locked": locked, "toolchain": toolchain}
        environment = BuildEnvironment(path, interpreter, settings, reporter, project.root, **options)
        if environment.load():
            return environment
        if _claim(path):
            reporter.info(notice)
            with reporter.step("make a build environment"):
                _make(environment, project.requires, extra_requirements(project.name, project.root))
            return environment
    raise BuildEnvironmentError(
        f"no folder for a build environment is free in {path.parent}", hint="remove the folder and build again"
    )


def discard_environments(
    interpreter: Interpreter, project: Project, locked: Locked, toolchain: Optional[Compilers]
) -> None:
    """Remove the copies of a locked environment that turned out to be damaged, so that the next hook gets another."""
    for path in _folders(interpreter, project, locked, toolchain):
        remove_path(path)


def _folders(
    interpreter: Interpreter, project: Project, locked: Optional[Locked], toolchain: Optional[Compilers]
) -> List[Path]:
    # In tox's lasting environment, a project whose requirements have changed gets another folder.
    facts: List[Any] = [
        interpreter.executable,
        interpreter.version,
        list(project.requires),
        locked.key if locked else "",
    ]
    facts.append(repr(toolchain))
    key, parent = hash_bytes(json.dumps(facts).encode("utf-8"))[:12], disposable_folder() or _private_folder()
    if os.environ.get(OWN_FOLDER):
        key = "env"  # It is of one build, and compilers record it: the paths of this machine must not change it.
    return [parent / (key + suffix) for suffix in ("", "-1", "-2", "-3", "-4", "-5", "-6", "-7")]


@functools.lru_cache(maxsize=None)  # A frontend may call many hooks in one process.
def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="provision-backend-"))
    atexit.register(remove_path, folder)
    return folder


def _claim(path: Path) -> bool:
    """Make a folder that belongs to this process; return False where it exists already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        return False
    except OSError as exc:
        raise BuildEnvironmentError(f"could not make the folder {path}: {exc.strerror}") from None
    return True


def _make(environment: BuildEnvironment, requires: Sequence[str], extra: Sequence[str]) -> None:
    try:
        if environment.locked is not None:
            if extra:
                environment.reporter.info(f"extra-build-dependencies of uv is not used: {PYLOCK} decides")
            environment.locked.copy(environment.path, environment.source)
            _check_toolchain(environment, environment.locked)
        else:
            with environment.reporter.step("make a virtual environment"):
                create_environment(environment.interpreter, environment.path, environment.settings)
                environment.copy_bytecode()
            tools = environment.toolchain.requirements if environment.toolchain else ()
            if tools:
                # Half a gigabyte is unpacked, during which nothing else is shown.
                environment.reporter.info(f"installing {', '.join(tools)}, the compiler of this build")
            environment.install([*requires, *extra, *tools], what="the real backend's requirements")
        environment.save()
    except BaseException:
        # In tox's lasting environment, failed ones would take all the names that there are.
        remove_path(environment.path)
        raise


def _check_toolchain(environment: BuildEnvironment, locked: Locked) -> None:
    try:
        locked.check(environment.toolchain.requirements if environment.toolchain else (), environment.packages)
    except BuildEnvironmentError:
        raise BuildEnvironmentError(
            f"toolchain is zig, and {PYLOCK} does not lock its package 'ziglang'",
            hint=f"{RELOCK} with the same setting, or build with the compilers of this machine: toolchain = host",
        ) from None


def create_environment(interpreter: Interpreter, path: Path, settings: Settings, *, relocatable: bool = False) -> None:
    """Make a virtual environment with nothing in it, or with pip where the interpreter's own cannot fill it.

    Its folder may exist and be empty; a *relocatable* one is going to be copied. If it cannot be made,
    `BuildEnvironmentError` is raised.
    """
    uv = find_uv(settings)
    if uv:
        # What a project or a user configures for uv is about other environments.
        command = [uv, "venv", "--quiet", "--no-project", "--no-config", "--python", interpreter.executable]
        # The launchers that uv writes on Windows hold the path of the interpreter in a form of their own.
        command += ["--relocatable"] if relocatable and RUNNING.name == "windows" else []
    else:
        # The command line makes links on POSIX, where venv.create() copies: a copied executable of a standalone CPython
        # that links libpython dynamically does not start (python-build-standalone#381).
        command = [interpreter.executable, "-I", "-B", "-m", "venv", "--without-pip"]
    commands: List[Tuple[List[str], Optional[str]]] = [([*command, str(path)], None)]
    if not uv and not supports_python_option(interpreter.pip):
        # venv would start it with -I, so that no variable keeps it from storing bytecode in the interpreter's tree.
        commands.append(([str(RUNNING.environment_python(path)), "-m", "ensurepip", "--default-pip"], str(path)))
    environ = drop_variables(clean_environment(), UV_DROPPED)
    for command, cwd in commands:
        done = run_quiet(command, env=environ, cwd=cwd)
        if "No module named venv" in done.stderr:
            raise BuildEnvironmentError(
                f"{command[0]} cannot make a build environment: its module 'venv' is missing",
                hint="have uv make it: install uv, and set PROVISION_BACKEND_INSTALLER=uv",
            )
        if done.returncode != 0:
            raise BuildEnvironmentError(
                f"{command[0]} could not make a virtual environment: it {describe_end(done.returncode)}",
                hint=last_lines(done.stdout + done.stderr),
            )
