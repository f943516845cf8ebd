"""Locked requirements + interpreter → an environment that holds exactly them, made once and copied into each build.

It is made in the cache, like an interpreter, and never run there: a build gets a copy, so nothing that a hook writes
serves another build. A build that finds one starts no installer and makes no request.

What is installed is decided by `packaging.pylock` for the locked interpreter on this host, one wheel a package, and
given to the installer by name, version and sha256: which index or folder it comes from does not matter.

Source: PEP 751; pip documentation, Secure installs; "Recording installed projects".
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence

from ..cache.entries import MARKER, read_marker
from ..cache.manifest import MANIFEST
from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.wanted import RELOCK, LockedRequirements, Wanted, canonical_hash
from ..errors import BuildEnvironmentError, HostError, MissingDependencyError
from ..frontend_watch import frontend_id
from ..interpreter import Interpreter
from ..output import Reporter
from ..processes import run_quiet
from ..project.pylock import PYLOCK
from ..settings import Settings
from ..systems import RUNNING
from ..variables import clean_environment

if TYPE_CHECKING:
    from ..host.platforms import Platform
    from .environment import BuildEnvironment

__all__ = ["Locked", "copy_environment", "environment_key", "locked_for"]

_LONGEST_SCRIPT = 1 << 20  # bytes
_LONGEST_SHEBANG = 127  # bytes that every kernel reads of the first line of a script
# The first lines of a script, as pip and uv write them; the second form is for paths that are long or hold a space.
_SHEBANG = rb"#!(?:/bin/sh\n'''exec' ['\"]?(%s[^'\"\s]*)['\"]?( .+)? \"\$0\" \"\$@\"\n' '''|(%s\S*)( .+)?)\n"


class Locked:
    """The environment of locked requirements for one interpreter on this host, in the cache or not."""

    def __init__(
        self, interpreter: Interpreter, requirements: LockedRequirements, settings: Settings, reporter: Reporter
    ) -> None:
        self._interpreter = interpreter
        self._requirements = requirements
        self._settings = settings
        self._reporter = reporter
        self._cache = open_cache(settings)
        self.key = environment_key(
            interpreter, requirements, settings, lambda settings: current_platform(settings, self._cache)
        )

    def find(self) -> Optional[Path]:
        """Return the environment of the cache; None where it has to be made."""
        return self._cache.find_environment(self.key)

    def provide(self, source: Path) -> Path:
        """Return the environment of the cache, which is made where it is missing; *source* is the source tree.

        Raises:
            BuildEnvironmentError: it cannot be made: the message says what differs from the lock.
            CacheError: the cache cannot be written.
        """

        def _make(tree: Path) -> Mapping[str, Any]:
            with self._reporter.step("make a locked environment"):
                return self._make(tree, source)

        timeout = self._settings.lock_timeout
        found = self._cache.provide_environment(self.key, _make, lock_timeout=timeout, reporter=self._reporter)
        self._cache.note_use(found, frontend=frontend_id())
        return found

    def _make(self, tree: Path, source: Path) -> Dict[str, Any]:
        # What only looks whether there is one makes none.
        from .environment import BuildEnvironment, create_environment
        from .installation import install_locked
        from .locked_wheels import choose_wheels

        wheels = choose_wheels(self._interpreter, self._requirements)
        self._reporter.detail(f"installing what is locked: {', '.join(wheel.filename for wheel in wheels)}")
        create_environment(self._interpreter, tree, self._settings, relocatable=True)
        environment = BuildEnvironment(tree, self._interpreter, self._settings, self._reporter, source)
        if wheels:
            install_locked(environment, wheels, environ=environment.installer_environ(), cwd=environment.folder)
            _compile(environment)
        files = {wheel.name: wheel._asdict() for wheel in wheels}
        return {"interpreter": self._interpreter.executable, "files": files, "prefix": str(tree)}

    def copy(self, target: Path, source: Path) -> None:
        """Copy the environment into an empty folder, as `copy_environment` does; the errors are those of `provide`."""
        stored = self.provide(source)
        with self._reporter.step("copy the locked environment"):
            try:
                copy_environment(stored, target)
            except (OSError, KeyError) as exc:  # There is no key in the marker of one that has just been removed.
                # What copies a tree lists each file that it could not copy, with both paths and the reason.
                reason = exc.args[0][0][2] if isinstance(exc, shutil.Error) else exc
                raise BuildEnvironmentError(f"could not copy {stored} to {target}: {reason}") from None

    def files(self) -> Mapping[str, Mapping[str, str]]:
        """Return the `LockedWheel` that each package was installed from, as a table, by normalised name."""
        stored = self.find()
        files: Mapping[str, Mapping[str, str]] = read_marker(stored).get("files", {}) if stored else {}
        return files

    def check(self, requirements: Sequence[str], packages: Sequence[str]) -> None:
        """Raise `BuildEnvironmentError` if a requirement of a hook is not met by what is locked.

        *packages* are the folders in which that is installed.
        """
        unknown = set(requirements).difference(self._requirements.requires, self._requirements.dynamic)
        if not unknown:
            return  # No version is compared, and packaging not imported.
        from .requirements import unmet_in

        unmet = unmet_in(sorted(unknown), packages, self._interpreter.version)
        if unmet:
            raise BuildEnvironmentError(
                f"the real backend asks for what {PYLOCK} does not lock: {', '.join(map(repr, unmet))}", hint=RELOCK
            )

    def set_aside_damaged(self) -> bool:
        """Return whether the environment of the cache has changed since it was published; then it is used no more."""
        try:
            entry = self.find()
            found = self._cache.repair(entry) if entry else []
        except OSError:
            return False  # As for an interpreter: what cannot be read now is not damaged.
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            self._reporter.info(f"{entry} is damaged ({found[0]}{more}) and is no longer used")
        return bool(found)


def locked_for(interpreter: Interpreter, wanted: Wanted, settings: Settings, reporter: Reporter) -> Optional[Locked]:
    """Return what the build requirements are locked to under an interpreter; None where they are resolved."""
    lock = wanted.lock
    if lock is None or lock.requirements is None or interpreter.source != "managed":
        return None
    return Locked(interpreter, lock.requirements, settings, reporter)


def environment_key(
    interpreter: Interpreter,
    requirements: LockedRequirements,
    settings: Settings,
    detect: Callable[[Settings], Platform],
) -> str:
    """Return the name of a locked environment in the cache: 32 digits of a sha256 of all that decides what is in it.

    *detect* returns the platform for settings.
    """
    # A wheel that fits a new glibc does not fit an old one, and machines may share a cache. The setting target says
    # nothing of the libc's version, and is for hosts that cannot be identified, too.
    libc = settings.target
    with contextlib.suppress(HostError, MissingDependencyError):
        libc = detect(settings._replace(target="")).libc_name
    # Windows takes no path of more than 260 characters, and the paths of packages begin with this name.
    return canonical_hash([interpreter.executable, interpreter.sha256, libc, requirements.digest])[:32]


def _compile(environment: BuildEnvironment) -> None:
    # Hooks store no bytecode. What says that it is of its source is the time of that, which a copy keeps, and no hash,
    # which each process would have to compute, and which SOURCE_DATE_EPOCH asks for.
    command = [environment.interpreter.executable, "-I", "-B", "-m", "compileall", "-qq", "-j", "0"]
    command += ["--invalidation-mode", "timestamp", *environment.packages]
    run_quiet(command, env=clean_environment())  # What is not Python, such as a template, does no harm.


def copy_environment(stored: Path, target: Path) -> None:
    """Copy an environment of the cache to a folder that exists, with the times of its files, so that it runs there."""
    old, new = str(read_marker(stored)["prefix"]), str(target)

    def _ignored(folder: str, _names: List[str]) -> List[str]:
        return [MARKER, MANIFEST] if folder == str(stored) else []

    shutil.copytree(str(stored), str(target), symlinks=True, dirs_exist_ok=True, ignore=_ignored)
    for path in [target / "pyvenv.cfg", *(target / RUNNING.environment_programs).iterdir()]:
        # What is larger is a program of its own, such as cmake.
        if path.is_file() and not path.is_symlink() and path.stat().st_size < _LONGEST_SCRIPT:
            content = path.read_bytes()
            moved = _moved(content, os.fsencode(old), os.fsencode(new))
            if moved != content:
                path.write_bytes(moved)


def _moved(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return the content of a script, or of ``pyvenv.cfg``, for another place of its environment."""
    if content[:2] == b"MZ":
        # The same line stands behind the launcher of Windows that pip writes; that of uv needs none.
        launched = rb'#!"?' + re.escape(old) + rb'([^"\n]*?)"?(\r?\n)'
        return re.sub(launched, lambda found: b'#!"' + new + found[1] + b'"' + found[2], content)
    found = re.match(_SHEBANG % (re.escape(old), re.escape(old)), content)
    if not found:
        return content.replace(old, new)
    python, options = (found[1] or found[3]).replace(old, new), found[2] or found[4] or b""
    line = b"#!" + python + options + b"\n"
    if len(line) > _LONGEST_SHEBANG or b" " in python:
        # For sh, the lines are a command; for Python, a text.
        line = b"#!/bin/sh\n'''exec' \"" + python + b'"' + options + b" \"$0\" \"$@\"\n' '''\n"
    return line + content[found.end() :].replace(old, new)
