"""Requirements into a build environment: the installer is run, and what it has done is checked and explained.

Which installer that is, its command and its variables are those of `provision_backend.hooks.installers`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Mapping, Sequence, Tuple

from ..errors import BuildEnvironmentError
from ..files import list_names, read_file, remove_path
from ..output import redact_url
from ..processes import describe_end, last_lines, run_quiet, run_visible
from ..variables import drop_variables
from ..versions import leading_name, normalised_name
from .frontend import frontend_name
from .frontend_options import original_tree, unseen_options
from .installer_files import read_pip_files, uv_project
from .installers import UV_FILES, find_uv, installer_command, with_config_file
from .uv_settings import read_uv_settings

if TYPE_CHECKING:
    from .environment import BuildEnvironment
    from .locked_wheels import LockedWheel

__all__ = ["LOGIN_REFUSED", "install", "install_locked", "resolve"]

_MISDIRECTED = {
    "pip": "a configuration file of pip may say so: prefix, root",
    "uv": "uv.toml, or tool.uv of the project, may say so: pip.target, pip.prefix, exclude-dependencies",
}

_UNSEEN = (
    "an index that only a requirements file, or a command line that cannot be read, names is not seen here: set {}"
)
_INDEXES = {
    "pip": "PIP_INDEX_URL, PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS",
    "uv": "UV_INDEX, UV_DEFAULT_INDEX or UV_FIND_LINKS",
}
_SOURCES = ("index", "default-index", "index-url", "extra-index-url", "find-links", "no-index")
_BUILD_CONSTRAINTS = ("build-constraint", "build-constraint-dependencies")

LOGIN_REFUSED = "the login of that index is missing or wrong"
"""What a hint says where an index has answered 401 or 403."""

_REFUSED = re.compile(r"(40[13]) Client Error: .* for url: (\S+)")

# uv breaks its lines where the terminal, or a path, happens to end.
_NOT_FOUND = re.compile(r"No\s+matching\s+distribution|No\s+solution\s+found|not\s+found\s+in\s+the")

_TIMEOUT = 3600.0  # seconds an installer may take; a build dependency without a wheel is compiled in that time


def install(
    environment: BuildEnvironment,
    requirements: Sequence[str],
    *,
    environ: Mapping[str, str],
    cwd: str,
    what: str,
    file: str = "",
) -> None:
    """Install PEP 508 requirements into a build environment, and check that they are there.

    A *file* may list them for the installer. *environ* is that of a process in the build environment; relative paths of
    find-links and constraints start at *cwd*; *what* they are is said in messages.

    Raises:
        BuildEnvironmentError: the installer failed, or installed somewhere else; or uv was asked for and there
            is none.
    """
    name, command, variables = installer_command(environment, environ, ["install", "--no-require-hashes"])
    failed = f"could not install {what} under CPython {environment.interpreter.version}: {name}"
    if not environment.installed:
        # Once, and not again for what the real backend asks for.
        environment.reporter.info(unseen_options(name, _INDEXES[name]))
        for line in _unseen_settings(environment, name, environ):
            environment.reporter.info(line)
    returncode, hint = 0, ""
    if "--require-hashes" in command:
        returncode, hint, file = _pin(environment, command, requirements, file, environ=variables, cwd=cwd)
        command += ["--no-deps"]
    command += ["--requirements", file] if file else requirements
    if returncode == 0:
        returncode, hint = _run(command, variables, cwd, visible=bool(environment.reporter.verbosity))
    if returncode != 0:
        hint += f"\n{_UNSEEN.format(_INDEXES[name])}" if _NOT_FOUND.search(hint) else ""
        raise BuildEnvironmentError(f"{failed} {describe_end(returncode)}", hint=hint)
    _check_installed(environment, requirements, failed, hint=_MISDIRECTED[name])


def _unseen_settings(environment: BuildEnvironment, name: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield sentences where an installer is not the frontend's, and that one alone has indexes or constraints."""
    theirs = "uv" if find_uv(environment.settings._replace(installer="")) else "pip"
    if theirs == name:
        return
    environ = with_config_file(environ, environment.folder)
    # Under pip and uv themselves the other constraints are not for build environments.
    constraints = _BUILD_CONSTRAINTS if frontend_name() else ("constraint", *_BUILD_CONSTRAINTS)
    for keys, advice in ((_SOURCES, _INDEXES[name]), (constraints, f"{name.upper()}_BUILD_CONSTRAINT")):
        found = _configured(theirs, keys, environ, environment.folder)
        if found and not _configured(name, keys, environ, environment.folder):
            yield f"{found} is for {theirs}, and {name} installs here: set {advice}"


def _configured(installer: str, keys: Sequence[str], environ: Mapping[str, str], folder: str) -> str:
    """Return what is configured for an installer under one of these keys: the variable, or the key and where it is."""
    variables = [f"{installer.upper()}_{key.upper().replace('-', '_')}" for key in keys]
    named = next(filter(environ.get, variables), "")
    if named:
        return named
    if installer == "pip":
        of_pip = read_pip_files(environ)
        return next((f"{key} in {of_pip[key][1]}" for key in keys if key in of_pip), "")
    of_uv = read_uv_settings(environ, folder, [])
    return next((f"{key} of uv's configuration" for key in keys if key in of_uv), "")


_OF_INSTALLING = ("--require-hashes", "--no-require-hashes", "--no-verify-hashes")
"""Options of ``uv pip install`` that ``uv pip compile`` does not have."""


def _pin(
    environment: BuildEnvironment,
    install: Sequence[str],
    requirements: Sequence[str],
    file: str,
    *,
    environ: Mapping[str, str],
    cwd: str,
) -> Tuple[int, str, str]:
    """Have uv write down the versions that a command would install; return its status, its words and the file.

    ``uv pip install`` demands that of everything that it compares with the hashes of constraints; uv itself, in the
    build environments that it makes, does not.
    """
    folder = environment.path / UV_FILES
    folder.mkdir(exist_ok=True)
    if not file:
        (folder / "requirements.in").write_text("".join(f"{text}\n" for text in requirements), encoding="utf-8")
    options = [word for word in install[3:] if word not in _OF_INSTALLING]
    output = ["--no-header", "--no-annotate", "--output-file", str(folder / "requirements.txt")]
    command = [*install[:2], "compile", *options, *output, file or str(folder / "requirements.in")]
    return (*_run(command, environ, cwd), str(folder / "requirements.txt"))


def resolve(environment: BuildEnvironment, arguments: Sequence[str], *, environ: Mapping[str, str], cwd: str) -> None:
    """Have ``uv pip compile`` or ``pip install --dry-run`` resolve requirements as `install` would, to wheels only.

    The *arguments* are those of the installer that `find_uv` chooses: what to resolve, and where to write the answer.
    Failures raise `BuildEnvironmentError`, with the end of what was printed, and what an index has answered to a login.
    """
    name, command, variables = installer_command(environment, environ, ["compile"])
    log = environment.path / "pip.log"
    command += ["--only-binary", ":all:", *arguments]
    if name == "pip" and "PIP_LOG" not in variables:
        # It passes over an index that refuses a login, and says so nowhere else.
        command += ["--log", str(log)]
    returncode, hint = _run(command, variables, cwd)
    if returncode != 0:
        hint += _refusals(log)
        version = environment.interpreter.version
        failed = f"could not resolve the build requirements for CPython {version}: {name}"
        raise BuildEnvironmentError(f"{failed} {describe_end(returncode)}", hint=hint)


def _refusals(log: Path) -> str:
    """Return a line for each index that has refused a login, as pip has logged it, for a hint."""
    with suppress(OSError):
        found = _REFUSED.findall(read_file(log).decode("utf-8", "replace"))
        answers = dict.fromkeys((redact_url(url), answer) for answer, url in found)
        return "".join(f"\n{url} answered {answer}: {LOGIN_REFUSED}" for url, answer in answers)
    return ""


def _run(command: Sequence[str], environ: Mapping[str, str], cwd: str, *, visible: bool = False) -> Tuple[int, str]:
    """Run an installer; return its exit status, and the end of its output where that was not *visible*."""
    if visible:
        return run_visible(command, env=environ, cwd=cwd), ""
    done = run_quiet(command, env=environ, cwd=cwd, timeout=_TIMEOUT)
    return done.returncode, last_lines(done.stdout + done.stderr)


_LOCKED = ("--no-deps", "--require-hashes", "--only-binary", ":all:")
# Constraints are about versions, which a lock decides, and pip wants a hash in them, too.
_UNLOCKED = ("PIP_CONSTRAINT", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_NO_BINARY*", "UV_NO_BUILD*")

# What pip and uv say of a file of another hash, and of one that is not offered; white space is normalised.
_MISMATCH = re.compile(r"([\w.-]+)==([^\s`]+)(?: from |` Expected:).*?(?: Got | Computed: sha256:)([0-9a-f]{64})")
# What is required first in an answer contradicts a constraint, and an sdist is looked for where wheels are forbidden.
_REQUIRED = "(?<!Because )(?<!no source distribution and )you require"
_MISSING = re.compile(rf"(?:No matching distribution found for|no version of|{_REQUIRED}) ([\w.-]+)==([^\s,]+)")


def install_locked(
    environment: BuildEnvironment, wheels: Sequence[LockedWheel], *, environ: Mapping[str, str], cwd: str
) -> None:
    """Install these wheels, and nothing else, into an empty build environment; other arguments as for `install`.

    Raises:
        BuildEnvironmentError: a file of that hash is not offered; the message says which, and what was found.
    """
    # Nothing else that installs looks into mirrors.
    from ..install.sources import wheel_folders

    environ = {**drop_variables(environ, _UNLOCKED), "PIP_BUILD_CONSTRAINT": os.devnull}
    name, command, variables = installer_command(environment, environ, ["install"], locked=True)
    if name == "pip":
        variables["PIP_CONSTRAINT"] = os.devnull  # A configuration file may hold one, too.
    else:
        command += ["--link-mode", "copy"]  # A hard link would be to a file of uv's own cache.
    file, project = environment.path / "requirements.txt", environment.path / "pyproject.toml"
    pins = [f"{wheel.name}=={wheel.version}" for wheel in wheels]
    lines = [f"{pin} --hash=sha256:{wheel.sha256}\n" for pin, wheel in zip(pins, wheels)]
    file.write_text("".join(lines), encoding="ascii")
    # uv takes a package from the index that tool.uv.sources names, and hashes from constraints.
    text = uv_project(original_tree(environment.source), pins) if name == "uv" else ""
    project.write_text(text, encoding="utf-8")
    files = ["-r", str(project), "-c", str(file)] if text else ["-r", str(file)]
    # Hashes make it safe to look there, too. In uv the option takes the place of its variable; in pip both count.
    known = variables.get("UV_FIND_LINKS", "").split(",") if name == "uv" else []
    folders = [*filter(None, known), *wheel_folders(environment.settings)]
    links = [word for folder in folders for word in ("--find-links", folder)]
    done = run_quiet([*command, *_LOCKED, *links, *files], env=variables, cwd=cwd, timeout=_TIMEOUT)
    for path in (file, project, environment.path / UV_FILES):
        remove_path(path)
    failed = f"could not install the locked requirements under CPython {environment.interpreter.version}: {name}"
    if done.returncode != 0:
        output = done.stdout + done.stderr
        message = _difference(output, wheels) or f"{failed} {describe_end(done.returncode)}"
        hint = f"\n{_UNSEEN.format(_INDEXES[name])}" if _NOT_FOUND.search(output) else ""
        raise BuildEnvironmentError(message, hint=last_lines(output) + hint)
    _check_installed(environment, [wheel.name for wheel in wheels], failed, hint=_MISDIRECTED[name])


def _difference(output: str, wheels: Sequence[LockedWheel]) -> str:
    """Return what an installer that failed has found in place of a locked file, as a sentence; empty if unknown."""
    text = " ".join(output.split())
    found = _MISMATCH.search(text) or _MISSING.search(text)
    name = normalised_name(found[1]) if found else ""
    wheel = next((each for each in wheels if found and (each.name, each.version) == (name, found[2])), None)
    if found is None or wheel is None:
        return ""
    if found.re is _MISMATCH:
        return f"{wheel.filename} is not the file that is locked: wanted sha256 {wheel.sha256}, found {found[3]}"
    return f"{wheel.filename} is locked, with sha256 {wheel.sha256}, and no index or folder of this build offers it"


def _check_installed(environment: BuildEnvironment, requirements: Sequence[str], failed: str, *, hint: str) -> None:
    # Both installers exit with 0 when a configuration file has sent the packages elsewhere, or left them out.
    # importlib.metadata would read each file for the same answer; it and packaging take a tenth of a build.
    files = [name for folder in environment.packages for name in list_names(Path(folder))]
    found = {leading_name(name.partition("-")[0]) for name in files if name.endswith((".dist-info", ".egg-info"))}
    if all(leading_name(text) in found for text in requirements):
        return
    # What is absent may be a path, or not apply to this interpreter.
    from .requirements import names_for

    names = names_for(requirements, environment.interpreter.version)
    absent = [name for name in names if leading_name(name) not in found]
    if absent:
        raise BuildEnvironmentError(
            f"{failed} succeeded, and {', '.join(map(repr, absent))} is not in the build environment", hint=hint
        )
