"""Find or make the real CPythons that the tests run: nothing here is faked.

In: the machine. Out: the interpreters that are installed on it, and archives in python-build-standalone's
``install_only`` layout for glibc and musl. What has to be made is kept in one cache outside the tree
(``PROVISION_BACKEND_TEST_CACHE``, by default ``provision-backend-tests`` in the user's cache folder) and made once,
even when several test processes ask at the same time. Where this machine cannot have a thing, `Unavailable` says why,
and a fixture turns that into a skip. Set ``PROVISION_BACKEND_TEST_BUILD=0`` to keep the tests from building CPythons
and from installing the packages which that needs; only what the cache already has is used then.
"""

from __future__ import annotations

__all__ = [
    "HostInterpreter",
    "Unavailable",
    "alpine_root",
    "build_fixture",
    "cache_folder",
    "fresh",
    "gnu_archive",
    "host_interpreters",
    "host_not_satisfying",
    "locked",
    "musl_archive",
    "newest_host",
    "oldest_host",
    "standalone_archive",
    "static_musl_archive",
    "usable_hosts",
]

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version

from .host_interpreters import (
    HostInterpreter,
    Unavailable,
    host_interpreters,
    host_not_satisfying,
    newest_host,
    oldest_host,
    usable_hosts,
)

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
# The release tag of what is packed; the build scripts have the same.
TAG = "20251120"
# An archive that other code than today's packed may still be in use by a test run that started before.
KEPT_SECONDS = 24 * 3600
# Downloaded wheels serve for so long; then newer releases may come in.
FRESH_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """Return the folder of everything that is made once for all test runs; it may not exist yet."""
    given = os.environ.get("PROVISION_BACKEND_TEST_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provision-backend-tests"


def fresh(stamp: Path, wanted: str) -> bool:
    """Whether what a stamp stands for was made from *wanted*, and not long ago."""
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        return False
    return time.time() - stamp.stat().st_mtime < FRESH_SECONDS


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold flock(2) on *path*, as the build scripts do on theirs, so that workers of pytest-xdist wait for each other.

    Args:
        path: The lock file; it and its folders are made, and stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def standalone_archive(minimum: str = "3.12") -> Path:
    """Return an ``install_only`` archive of a real CPython for the libc of this machine.

    Made by `provision_backend.pack.packing` from an installed interpreter, else built from Debian's source. Its folder
    is a flat mirror: beside it is its ``SHA256SUMS``, as beside all the archives of this module.

    Args:
        minimum: The least version, ``X.Y``.

    Raises:
        Unavailable: No installed interpreter could be packed, and none can be built here; with both reasons.
    """
    reasons = []
    for host in reversed(usable_hosts()):
        # An interpreter of the system shares /usr with everything else; it cannot be cut out.
        if Version(host.version) >= Version(minimum) and host.prefix != Path("/usr"):
            try:
                return _packed(host)
            except Unavailable as error:
                reasons.append(str(error))
    if not reasons:
        reasons.append(f"no CPython >= {minimum} outside /usr is installed")
    if Version(minimum) > Version("3.13"):
        raise Unavailable("; ".join(reasons))
    try:
        return build_fixture("build-gnu-python", "3.13")[0]
    except Unavailable as error:
        raise Unavailable("; ".join([*reasons, str(error)])) from None


def gnu_archive(version: str = "3.13") -> Path:
    """Return an ``install_only`` archive of a real CPython for glibc, of the same version and tag as `musl_archive`'s.

    Args:
        version: ``3.13``, or another one that there is a recipe for.

    Raises:
        Unavailable: It is not in the cache and cannot be built here.
    """
    return build_fixture("build-gnu-python", version)[0]


def musl_archive(version: str = "3.13") -> Path:
    """Return an ``install_only`` archive of a real CPython that is linked to musl.

    Args:
        version: ``3.11`` or ``3.13``.

    Raises:
        Unavailable: It is not in the cache and cannot be built here.
    """
    return build_fixture("build-musl-python", version)[0]


def static_musl_archive(version: str = "3.13", *, tag: str | None = None) -> Path:
    """Return an archive of a CPython that is itself linked statically to musl, as those before 2025-03-11 were.

    It starts, has ssl and zlib built in, and can load no extension module.

    Args:
        version: ``3.13``; there is no recipe for others.
        tag: Release tag to give it in its name; by default a current one, under which nothing but a look at the
            interpreter can tell that it is static.

    Raises:
        Unavailable: It is not in the cache and cannot be built here.
    """
    archive = build_fixture("build-musl-python", "--static", version)[0]
    if tag is None:
        return archive
    renamed = archive.parent / tag / archive.name.replace(f"+{TAG}-", f"+{tag}-")
    with locked(cache_folder() / "rename.lock"):
        if not (renamed.exists() and renamed.samefile(archive)):
            _offer_renamed(archive, renamed)
    return renamed


def _offer_renamed(archive: Path, renamed: Path) -> None:
    """Make a flat mirror with one archive: a second name of *archive*, and its line in SHA256SUMS."""
    shutil.rmtree(str(renamed.parent), ignore_errors=True)
    renamed.parent.mkdir()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (renamed.parent / "SHA256SUMS").write_text(f"{digest}  {renamed.name}\n", encoding="ascii")
    os.link(str(archive), str(renamed))


def alpine_root() -> Path:
    """Return the Alpine-like root; it is shared by all tests: work in a copy (`support.alpine`).

    Raises:
        Unavailable: It is not in the cache and cannot be built here, or chroot is not allowed.
    """
    if os.geteuid() != 0:
        raise Unavailable("chroot needs root")
    return build_fixture("build-alpine-root")[0]


@functools.lru_cache(maxsize=None)
def _run_build(cache: Path, command: tuple[str, ...]) -> tuple[int, str, str]:
    """Run a build script; once a process, so that a failure is not tried again by every test."""
    done = subprocess.run(
        [str(FIXTURES / command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PROVISION_BACKEND_TEST_CACHE": str(cache), "PYTHON": sys.executable},
    )
    return done.returncode, done.stdout, done.stderr


def build_fixture(*command: str) -> list[Path]:
    """Return the paths that a build script prints; they are in the cache afterwards."""
    if shutil.which("bash") is None:
        raise Unavailable("the fixture scripts need bash")
    code, output, progress = _run_build(cache_folder(), command)
    if code == 3:
        raise Unavailable(progress.strip().splitlines()[-1])
    if code != 0:
        raise RuntimeError(f"{' '.join(command)} failed with code {code}\n{progress[-3000:]}")
    return [Path(line) for line in output.splitlines()]


def _pack_key(host: HostInterpreter) -> str:
    """Name the archive of *host* by what it depends on: the interpreter's file and the code that packs."""
    from provision_backend.pack import packing as pack

    identity = f"{host.path} {host.path.stat().st_mtime_ns}".encode()
    used = {getattr(value, "__module__", "") for value in vars(pack).values()} | {pack.__name__}
    modules = [sys.modules[name] for name in sorted(used, key=str) if str(name).startswith("provision_backend.")]
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in modules)
    return "-".join([host.version, *(hashlib.sha256(data).hexdigest()[:10] for data in (identity, code))])


def _packed(host: HostInterpreter) -> Path:
    """Return the archive that our own ``pack`` makes of *host*, from the cache where the same code made it before."""
    try:
        key = _pack_key(host)
    except ImportError as error:
        raise Unavailable(f"provision_backend.pack.packing cannot be imported: {error}") from None
    folder = cache_folder() / "archives" / "packed" / key
    with locked(cache_folder() / "pack.lock"):
        if not folder.is_dir():
            _pack_into(host, folder)
    return next(path for path in folder.iterdir() if path.name.endswith(".tar.gz"))


def _pack_into(host: HostInterpreter, folder: Path) -> None:
    """Pack *host* into *folder*, which appears complete, and forget the archives that older code made of it."""
    from provision_backend.errors import ProvisionError
    from provision_backend.pack.packing import pack_interpreter

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(folder.parent), prefix=".new-") as staging:
        made = Path(staging) / "archive"
        made.mkdir()
        try:
            pack_interpreter(host.path, made, tag=TAG)
        except ProvisionError as error:
            raise Unavailable(f"CPython {host.version} cannot be packed: {error}") from error
        made.rename(folder)
    same_interpreter = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{same_interpreter}-*"):
        if other != folder and other.stat().st_mtime < time.time() - KEPT_SECONDS:
            shutil.rmtree(str(other), ignore_errors=True)
