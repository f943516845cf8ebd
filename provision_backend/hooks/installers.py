"""Which installer fills a build environment, and its command: the variables and the files that it obeys.

The interpreter's own pip installs, or uv: on request, or because the frontend installs with it. Indexes, find-links,
proxies and certificates are the user's (PIP_*, pip.conf, UV_*), as for a frontend that fills a build environment; what
would misdirect the installation is dropped.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Sequence, Tuple

from ..errors import BuildEnvironmentError
from ..files import list_names
from ..frontend_watch import frontend_programs
from ..output import Reporter
from ..processes import run_quiet
from ..provision import provision
from ..settings import Settings
from ..systems import RUNNING
from ..variables import clean_environment, drop_variables
from .frontend import INSTALLED, frontend_name
from .frontend_options import PIP_OPTIONS, frontend_options, pip_command, uv_command
from .installer_files import configured_variables, pip_variable, read_pip_files
from .uv_settings import (
    build_constraints,
    build_options,
    inner_settings,
    is_true,
    read_uv_settings,
    requires_hashes,
)

if TYPE_CHECKING:
    from ..catalog.wanted import Wanted
    from ..interpreter import Interpreter
    from .environment import BuildEnvironment

__all__ = [
    "DROPPED", "PIP_DROPPED", "UV_DROPPED", "UV_FILES", "find_uv", "installer_command", "interpreter_environment",
    "provision_for_build", "supports_python_option", "with_config_file",
]  # fmt: skip

# Each of these misdirects or empties the installation into a build environment; all were tried.
PIP_DROPPED = (
    "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_DRY_RUN", "PIP_EDITABLE", "PIP_REQUIREMENT",
    "PIP_GROUP", "PIP_REQUIREMENTS_FROM_SCRIPT", "PIP_REQUIRE_HASHES", "PIP_NO_DEPS", "PIP_PYTHON", "PIP_ABI",
    "PIP_PLATFORM", "PIP_IMPLEMENTATION", "PIP_PYTHON_VERSION", "PIP_REPORT", "PIP_UPGRADE", "PIP_FORCE_REINSTALL",
    "PIP_IGNORE_INSTALLED",
)  # fmt: skip

# An environment variable overrides a configuration file, where the same may stand. An empty one does not.
_PIP_SET = {
    "PIP_DRY_RUN": "0",
    "PIP_REQUIRE_HASHES": "0",
    "PIP_NO_DEPS": "0",
    "PIP_REQUIREMENT": os.devnull,
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}

UV_DROPPED = (
    "UV_OVERRIDE", "UV_EXCLUDE", "UV_PROJECT", "UV_WORKING_DIR", "UV_WORKING_DIRECTORY",
    "UV_REQUIRE_HASHES", "UV_TARGET", "UV_PREFIX", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PROJECT_ENVIRONMENT",
    "UV_RESOLUTION", "UV_NO_DEPS", "UV_VENV_SEED",
)  # fmt: skip

DROPPED = (*PIP_DROPPED, *UV_DROPPED)  # variables that do not reach an installation into a build environment

# What a uv.toml, or the [tool.uv] of the project, says about the packages that the project runs with.
_UV_OPTIONS = ("--deps", "--resolution", "highest")

UV_FILES = "uv"
"""Folder in a build environment for files that configure the inner uv."""

_UV_CONFIGURATION = ("--config-file", "--no-config", "--project")
_UV_HASHES = ("--require-hashes", "--require-build-hashes", "--no-require-build-hashes")


def installer_command(
    environment: BuildEnvironment, environ: Mapping[str, str], uv_verb: Sequence[str], *, locked: bool = False
) -> Tuple[str, List[str], Dict[str, str]]:
    """Return the installer's name, its command without the requirements, and its variables."""
    uv = find_uv(environment.settings)
    options, asked = frontend_options("uv" if uv else "pip", locked=locked)
    if uv:
        if frontend_name() == "uv":
            options = _as_uv_itself(environment, environ, options, locked=locked)
        command = [uv, "pip", *uv_verb, "--python", environment.python, "--quiet", *_UV_OPTIONS]
        command += [*_constraints(environ.get("UV_BUILD_CONSTRAINT")), *options]
        return "uv", command, _adapted(drop_variables(environ, UV_DROPPED), "UV", environment.reporter)
    _refuse_hashes(environment, environ, locked=locked)
    # Before 22.3 pip installs only into the environment that it is started in, and so has been put there.
    command = [environment.python, "-I", "-B", "-m", "pip"]
    if supports_python_option(environment.interpreter.pip):
        command = [environment.interpreter.executable, "-I", "-B", "-m", "pip", "--python", environment.python]
    environ = with_config_file(environ, environment.folder)
    environ = {**environ, **configured_variables(environ, pip_command(), PIP_OPTIONS), **asked}
    variables = {**drop_variables(environ, PIP_DROPPED), **_PIP_SET}
    _drop_features(command, variables)
    # pip takes back a configured target and user scheme in this way for its own build environments.
    # What a hook imports is compiled then; compiling all of setuptools takes longer than installing it.
    command += ["install", "--quiet", "--no-user", "--no-compile", "--target", ""]
    command += [*_constraints(environ.get("PIP_BUILD_CONSTRAINT")), *options]
    return "pip", command, _adapted(variables, "PIP", environment.reporter)


def _as_uv_itself(
    environment: BuildEnvironment, environ: Mapping[str, str], options: List[str], *, locked: bool
) -> List[str]:
    """Return options by which the inner uv is configured as uv itself is for its build environments."""
    project = environ.get("UV_PROJECT")  # The inner uv gets no such variable, but the frontend's files are found by it.
    if project and not any(word.startswith("--project=") for word in options):
        options = [f"--project={project}", *options]
    settings = read_uv_settings(environ, environment.folder, options)
    hashes = not locked and requires_hashes(environ, options, settings, uv_command())
    options = [word for word in options if word not in _UV_HASHES] + ([] if locked else build_options(environ))
    own, constraints = inner_settings(settings, uv_command()), "" if locked else build_constraints(settings)
    folder = environment.path / UV_FILES
    if own or constraints:
        folder.mkdir(exist_ok=True)
    if own:
        (folder / "uv.toml").write_text(own, encoding="utf-8")
        # It holds what these lead to.
        options = [word for word in options if word.partition("=")[0] not in _UV_CONFIGURATION]
        options.append(f"--config-file={folder / 'uv.toml'}")
    if constraints:
        (folder / "constraints.txt").write_text(constraints, encoding="utf-8")
        options = [*options, f"--constraint={folder / 'constraints.txt'}"]
    # No variable and no file decides on pre-releases there.
    return [*options, "--prerelease=if-necessary-or-explicit", *(["--require-hashes"] if hashes else [])]


def with_config_file(environ: Mapping[str, str], folder: str) -> Dict[str, str]:
    """Return variables with an absolute path of pip's configuration file, since a hook runs in another folder."""
    given = environ.get("PIP_CONFIG_FILE", "")
    named = given and given != os.devnull
    return {**environ, "PIP_CONFIG_FILE": os.path.join(folder, given)} if named else dict(environ)


def _refuse_hashes(environment: BuildEnvironment, environ: Mapping[str, str], *, locked: bool) -> None:
    if locked or frontend_name() != "uv":
        return
    options = frontend_options("uv")[0]
    settings = read_uv_settings(environ, environment.folder, options)
    if requires_hashes(environ, options, settings, uv_command()):
        raise BuildEnvironmentError(
            "uv was told to require hashes in build environments, and the installer, pip, does not know which",
            hint="set PROVISION_BACKEND_INSTALLER=uv",
        )


def _drop_features(pip: Sequence[str], variables: Dict[str, str]) -> None:
    """Drop the names of features that this pip does not know, and ends with an error over."""
    for option in ("use-feature", "use-deprecated"):
        name, known = pip_variable(option), []
        for word in variables.pop(name, "").split():
            done = run_quiet([*pip, f"--{option}={word}", "--version"], env=variables)
            known += [word] if done.returncode == 0 else []
        if known:
            variables[name] = " ".join(known)


def _adapted(variables: Dict[str, str], prefix: str, reporter: Reporter) -> Dict[str, str]:
    """Change variables so that an installer does what the frontend's own does in a build environment."""
    constraint = f"{prefix}_CONSTRAINT"
    # build and tox run pip or uv by its command line, which obeys it. uv, and since 26.2 pip (pypa/pip#13300), keep
    # run-time constraints from the environments that they make.
    if frontend_name() and not (prefix == "PIP" and _frontends_pip_obeys_constraints()):
        if variables.pop(constraint, "") and frontend_name() == "pip":
            reporter.info(f"{constraint} is not used in a build environment; {prefix}_BUILD_CONSTRAINT is")
        if prefix == "PIP":
            variables[constraint] = os.devnull  # A configuration file may hold one, too.
    _use_keyring(variables, f"{prefix}_KEYRING_PROVIDER")
    return variables


def _use_keyring(variables: Dict[str, str], name: str) -> None:
    """Have an installer ask the command of keyring, unless the variable of that *name*, or pip's files, say otherwise.

    The frontend's installer may import keyring, which the interpreter does not have; the command serves any.
    """
    of_pip = name.startswith("PIP_")
    configured = read_pip_files(variables).get("keyring-provider", ("", ""))[0] if of_pip else ""
    if (variables.get(name) or configured) not in ("", "auto", "import"):
        return
    path = variables.get("PATH", "")
    if shutil.which("keyring", path=path):
        variables[name] = "subprocess"
        return
    # pip runs hooks by its own interpreter, whose environment need not be on PATH. The last place there hides nothing.
    found = _beside(sys.executable, "keyring") if of_pip else ""
    if found:
        variables.update({name: "subprocess", "PATH": os.pathsep.join([path, os.path.dirname(found)])})


def _frontends_pip_obeys_constraints() -> bool:
    # pip hides itself from hooks, and runs them by its own interpreter; where it is elsewhere, it counts as a new one.
    names = [name for name in list_names(Path(sysconfig.get_path("purelib"))) if re.match(r"pip-\d.*\.dist-info", name)]
    numbers = [int(number) for number in re.findall(r"\d+", names[0])[:2]] if names else []
    return frontend_name() == "pip" and bool(numbers) and numbers < [26, 2]


def provision_for_build(wanted: Wanted, settings: Settings, reporter: Reporter) -> Interpreter:
    """Provision the interpreter of a build environment, with its pip compiled where that fills it."""
    return provision(wanted, settings, reporter, with_pip=not find_uv(settings))


def supports_python_option(pip_version: str) -> bool:
    """Return whether this pip installs into another environment: the option ``--python`` came with 22.3."""
    parts = pip_version.split(".")
    return bool(pip_version) and tuple(int(part) for part in parts[:2] if part.isdigit()) >= (22, 3)


def find_uv(settings: Settings) -> str:
    """Return the path of uv where it is to install: on request, or because the frontend installs with it; else empty.

    It is never chosen because it is on PATH: where an extra index is set, pip takes the best version of all indexes
    and uv the first index that has the name, so that a silent switch would change what is installed.
    """
    if settings.installer == "pip":
        return ""
    if settings.installer == "uv":
        found = os.environ.get("UV") or _uv_on_path() or _uv_beside(sys.executable)
        if not found:
            raise BuildEnvironmentError("the installer uv was asked for, and no uv is on PATH")
        return found
    return _uv_of_frontend()


@functools.lru_cache(maxsize=None)  # Each step asks, and the answer does not change meanwhile.
def _uv_of_frontend() -> str:
    """Return uv where the frontend fills its isolated environments with it, as ``build --installer=uv`` does.

    The record of what has installed us says so. No variable does: ``uv run`` sets UV for all that it starts, a build
    with pip and its indexes among them. pip never leaves out the record; uv does where it is told to.

    Source: "Recording installed projects", the INSTALLER file.
    """
    records = list(INSTALLED.glob("provision_backend-*.dist-info/INSTALLER"))
    names = [record.read_text(encoding="utf-8").strip() for record in records]
    if "uv" not in names and (names or not is_true(os.environ, "UV_NO_INSTALLER_METADATA")):
        return ""
    named = os.environ.get("UV") or os.environ.get("HATCH_UV")  # hatch names the one that it takes, of its own perhaps.
    if named:
        return named
    # build takes the uv that is installed with it before the one on PATH.
    return next(filter(None, map(_uv_beside, frontend_programs())), "") or _uv_on_path()


def _uv_on_path() -> str:
    # Windows looks in the current folder first, and the installer is run in another one.
    found = shutil.which("uv")
    return os.path.abspath(found) if found else ""


def _uv_beside(python: str) -> str:
    return _beside(python, "uv")


def _beside(python: str, name: str) -> str:
    """Return the program of a name that is installed in the environment of an interpreter, or empty."""
    folder = Path(python).parent
    # An interpreter of Windows stands above its programs, where it is not that of a virtual environment.
    places = [place / f"{name}{RUNNING.program_suffix}" for place in (folder, folder / RUNNING.environment_programs)]
    return next((str(place) for place in places if os.access(str(place), os.X_OK)), "")


def _constraints(files: Optional[str]) -> List[str]:
    # The variable itself reaches only the builds of requirements, and this installation is one of a build environment.
    return [word for file in (files or "").split() for word in ("--constraint", file)]


def interpreter_environment(interpreter: Interpreter, scripts: str) -> Dict[str, str]:
    """Return the variables of a process whose Python is an interpreter, or a virtual environment of it, on this host.

    ``PATH`` begins with the folder *scripts*.
    """
    environ = clean_environment()
    environ["PATH"] = os.pathsep.join([scripts, environ.get("PATH") or os.defpath])
    return {**environ, **_certificates(interpreter, environ), **_library_path(interpreter, environ)}


def _certificates(interpreter: Interpreter, environ: Mapping[str, str]) -> Dict[str, str]:
    """Tell a standalone CPython, which looks in Debian's place only, where this host keeps its CA certificates.

    Its OpenSSL has ``/etc/ssl`` compiled in, which RHEL 8 and Fedora 33 and older do not have (uv#16703,
    python-build-standalone#858).
    """
    if interpreter.source != "managed" or environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR"):
        return {}
    if os.path.exists("/etc/ssl/cert.pem") or os.path.isdir("/etc/ssl/certs"):
        return {}
    for bundle in ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"):
        if os.path.exists(bundle):
            return {"SSL_CERT_FILE": bundle}
    return {}


def _library_path(interpreter: Interpreter, environ: Mapping[str, str]) -> Dict[str, str]:
    """Leave out the libraries of the running interpreter's own tree, which are not those of another one.

    GitHub's setup-python and Software Collections name them; what else is named is what real backends need.
    """
    own = sys.base_prefix
    before = environ.get("LD_LIBRARY_PATH")
    if not before or own in ("/usr", "/usr/local") or interpreter.executable.startswith(f"{own}/"):
        return {}
    kept = [folder for folder in before.split(os.pathsep) if not f"{folder}/".startswith(f"{own}/")]
    return {"LD_LIBRARY_PATH": os.pathsep.join(kept)}
