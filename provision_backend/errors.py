"""Define every error that provision_backend raises, as one tree; import nothing.

::

    ProvisionError                      every error we raise; the command line and the hooks catch exactly this
    ├── UsageError                      a setting or a command-line argument has the wrong form
    ├── ProjectError                    pyproject.toml unreadable, or a key missing or of the wrong type
    ├── HostError                       architecture or libc not identified, or not supported
    ├── CatalogError                    catalog unreadable or malformed
    │   └── NoMatchingArchiveError      nothing satisfies the request on this platform
    ├── InstallError                    an archive could not be made into an interpreter
    │   ├── DownloadError               network, HTTP status, truncated body
    │   │   └── OfflineError            a download is needed and not allowed
    │   ├── IntegrityError              the sha256 of an archive differs from the catalog
    │   └── UnpackError                 not an archive, or a member escapes the directory
    ├── CacheError                      the cache cannot be read or written
    │   └── LockTimeoutError            another process held the lock too long
    ├── InterpreterError                does not run here, or is not the expected one
    ├── MissingDependencyError          a package of an extra is not installed
    ├── BuildEnvironmentError           the build environment could not be made
    ├── PackError                       an installed interpreter cannot be made relocatable
    ├── WheelError                      a wheel cannot have its tags, or does not work
    └── BackendError                    real backend missing, or lacks the hook
        └── HookFailedError             the real backend's hook failed and has printed why

A message is one lower-case sentence (what failed, what was wanted, what was found). A hint, on an indented line of its
own, says what to do.
"""

from __future__ import annotations

__all__ = [
    "BackendError", "BuildEnvironmentError", "CacheError", "CatalogError", "DownloadError", "HookFailedError",
    "HostError", "InstallError", "IntegrityError", "InterpreterError", "LockTimeoutError", "MissingDependencyError",
    "NoMatchingArchiveError", "OfflineError", "PackError", "ProjectError", "ProvisionError", "UnpackError",
    "UsageError", "WheelError",
]  # fmt: skip


class ProvisionError(Exception):
    """Base of every error that provision_backend raises.

    Args:
        message: what failed, what was wanted and what was found: a lower-case sentence without a full stop.
        hint: what to do about it; shown indented on a line of its own.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return "\n  ".join([self.message, *self.hint.splitlines()])


class UsageError(ProvisionError):
    """A setting or a command-line argument has the wrong form."""


class ProjectError(ProvisionError):
    """``pyproject.toml`` is unreadable, or one of its keys is missing or of the wrong type."""


class HostError(ProvisionError):
    """The architecture or libc of the host was not identified, or is not supported."""


class CatalogError(ProvisionError):
    """The catalog is unreadable or malformed."""


class NoMatchingArchiveError(CatalogError):
    """No archive in the catalog satisfies the request on this platform."""


class InstallError(ProvisionError):
    """An archive could not be made into an interpreter."""


class DownloadError(InstallError):
    """No source gave the archive: network, HTTP status, or truncated body.

    Args:
        disk: whether it could not be written; that may be the fault of a source which sends too much.
    """

    def __init__(self, message: str, *, hint: str = "", disk: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.disk = disk


class OfflineError(DownloadError):
    """An archive would have to be downloaded, and that is not allowed."""


class IntegrityError(InstallError):
    """The sha256 of an archive differs from the catalog."""

    def __init__(self, archive: str, expected: str, actual: str, *, hint: str = "") -> None:
        # What was found is in the hint, beside the source that it came from, so that no hash stands there twice.
        super().__init__(f"sha256 of {archive} differs from the catalog: expected {expected}", hint=hint)
        self.expected = expected
        self.actual = actual


class UnpackError(InstallError):
    """A file is not an archive of the expected form, or a member of it must not be unpacked."""


class CacheError(ProvisionError):
    """The cache cannot be read or written."""


class LockTimeoutError(CacheError):
    """Another process held a lock too long."""


class InterpreterError(ProvisionError):
    """An interpreter does not run here, or is not the expected one."""


class MissingDependencyError(ProvisionError):
    """A package that only some commands and builds need is not installed."""

    def __init__(self, package: str, purpose: str, *, extra: str = "provision") -> None:
        # An isolated build asks for what provisioning needs; other extras have to be installed.
        isolated = " where the build runs, or build with isolation" if extra == "provision" else ""
        super().__init__(
            f"the package {package!r} is needed to {purpose} and is not installed",
            hint=f"pip install 'provision-backend[{extra}]'{isolated}",
        )
        self.package = package
        self.extra = extra

    def widen(self, extras: str) -> None:
        """Have the hint name all *extras* that a command needs, separated by commas, where one of them is missing."""
        # Otherwise somebody who has installed what one message names would get the next one.
        if extras != self.extra and self.extra in ("provision", *extras.split(",")):
            self.hint = f"pip install 'provision-backend[{extras}]'"


class BuildEnvironmentError(ProvisionError):
    """The build environment could not be made: venv or the installer failed."""


class PackError(ProvisionError):
    """An installed interpreter cannot be made into a relocatable archive."""


class WheelError(ProvisionError):
    """A wheel cannot have the tags that are wanted, has wrong ones, or does not work where it can be installed."""


class BackendError(ProvisionError):
    """The real backend is missing or lacks a hook."""


class HookFailedError(BackendError):
    """The real backend's hook failed and has printed why, so that nothing is added.

    Args:
        returncode: exit status of the process, negative for a signal.
        cause: what has ended it, such as ``the signal SIGKILL``; empty where it ended by itself.
        hint: what it may have lacked.
    """

    def __init__(self, hook: str, returncode: int, *, cause: str = "", hint: str = "") -> None:
        end = f"was ended by {cause}" if cause else f"ended with exit status {returncode}"
        super().__init__(f"the real backend's {hook} {end}", hint=hint)
        self.returncode = returncode
        self.cause = cause
