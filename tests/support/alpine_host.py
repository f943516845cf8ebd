"""A musl machine that builds projects: a copy of the Alpine-like root with ``build``, our own wheel and a mirror.

In: the root of `support.alpine`, our wheel. Out: `AlpineHost`, whose programs run in the root with a ``/proc`` of their
own (zig finds itself there), and install from a folder of wheels that the test cache keeps, so that no build needs a
package index. The archives that a test offers are put into `MIRROR`.
"""

from __future__ import annotations

__all__ = ["MIRROR", "WHEELS", "AlpineHost", "offer", "open_alpine_host"]

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .alpine import AlpineRoot, login_environment, network_environment
from .hosts import NO_COMPILE
from .real_interpreters import Unavailable, cache_folder, locked
from .zig import installed_zig, warm_zig_cache, zig_wheel

MIRROR = "/mirror"
WHEELS = "/wheels"
_ZIG = "/opt/zig"
_ZIG_CACHE = "/root/.cache/zig"

# What builds install on the host's CPython 3.11 for musl, but ourselves.
_HOST_WHEELS = ("build", "packaging", "pyproject-hooks", "pyelftools", "httpx2", "certifi", "filelock")
# What goes into build environments of the provisioned 3.13; markupsafe has an extension module, built for musllinux.
_BUILD_WHEELS = ("flit_core", "hatchling", "setuptools>=77", "markupsafe")
_BUILD_TARGET = ("--python-version", "3.13", "--implementation", "cp", "--platform", "musllinux_1_2_x86_64")
_FRESH = 24 * 3600.0
"""Seconds for which the downloaded wheels serve; then newer releases may come in."""


@dataclass(frozen=True)
class AlpineHost:
    """An Alpine-like machine with a frontend; made by `open_alpine_host`."""

    root: AlpineRoot

    def inside(self, path: str) -> Path:
        """Return where this machine sees *path*, absolute in the root."""
        return self.root.inside(path)

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/build",
        check: bool = True,
        index: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* in the root with /proc; what is mounted goes away with the process.

        Args:
            command: Program and arguments, as seen from inside.
            env: Variables beside those of a login.
            cwd: Folder to run in, as seen from inside.
            check: Fail the test, with all output, where the program ends with another code than 0.
            index: Let pip reach the package index, in place of the folder of wheels.

        Returns:
            What it wrote, as text.
        """
        source = network_environment() if index else {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS}
        done = subprocess.run(
            [*_enter(self.root.path), "/bin/sh", "-c", 'cd "$0" && exec "$@"', cwd, *command],
            env={**login_environment(), "PIP_DISABLE_PIP_VERSION_CHECK": "1", **NO_COMPILE, **source, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{list(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def ours(
        self, *arguments: str, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run our command line."""
        return self.run(["/build/env/bin/provision-backend", *arguments], env=env, check=check)

    def build(
        self, project: str, *arguments: str, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m build`` of the host's CPython 3.11 on a source tree."""
        return self.run(["/build/env/bin/python", "-m", "build", *arguments, project], env=env, check=check)

    def settings(self, cache: str, mirror: str = MIRROR) -> dict[str, str]:
        """Return the variables by which interpreters come from a mirror of the root, into a cache of the root."""
        return {
            "PROVISION_BACKEND_CACHE_DIR": cache,
            "PROVISION_BACKEND_MIRROR": mirror,
            "PROVISION_BACKEND_CATALOG": f"{mirror}/SHA256SUMS",
        }

    def add_zig(self) -> dict[str, str]:
        """Offer the package ``ziglang`` to builds, and return variables by which it finds what it has compiled before.

        Raises:
            Unavailable: It is not in the test cache and this machine reaches no package index.
        """
        shutil.copy(str(zig_wheel()), str(self.inside(WHEELS)))
        kept = warm_zig_cache("x86_64-unknown-linux-musl")
        self.inside(_ZIG_CACHE).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(kept), str(self.inside(_ZIG_CACHE))], check=True)
        return {"ZIG_GLOBAL_CACHE_DIR": _ZIG_CACHE}

    def add_compiler(self) -> None:
        """Make zig the programs ``cc`` and ``ar`` of the root; the errors are those of `add_zig`."""
        self.inside(_ZIG).parent.mkdir(parents=True, exist_ok=True)
        # zig writes into its cache and nowhere else: its 400 MB of sources need no copy.
        subprocess.run(["cp", "-al", str(installed_zig() / "ziglang"), str(self.inside(_ZIG))], check=True)
        for name in ("cc", "ar"):
            program = self.inside(f"/usr/local/bin/{name}")
            program.write_text(f'#!/bin/sh\nexec {_ZIG}/zig {name} "$@"\n', encoding="ascii")
            program.chmod(0o755)


def offer(folder: Path, *archives: Path, named: Mapping[Path, str] | None = None) -> Path:
    """Make *folder* a flat mirror of archives.

    Args:
        folder: Made where it does not exist; its ``SHA256SUMS`` is replaced.
        archives: What it offers; links where the file system allows it.
        named: The file names of those that are offered under another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for archive in archives:
        name = (named or {}).get(archive, archive.name)
        if not (folder / name).exists():
            shutil.copyfile(str(archive), str(folder / name))
        lines.append(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    return folder


@contextlib.contextmanager
def open_alpine_host(own_wheel: Path) -> Iterator[AlpineHost]:
    """Make the machine in a copy of the root, with ``build`` and our command line in ``/build/env``.

    Raises:
        Unavailable: This machine cannot have one.
    """
    wheels = _wheels()
    with AlpineRoot.shared().scratch() as root:
        host = AlpineHost(root)
        _check_proc(host)
        shutil.copytree(str(wheels), str(host.inside(WHEELS)))
        shutil.copy(str(own_wheel), str(host.inside(WHEELS)))
        host.run(["python3", "-m", "venv", "/build/env"])
        host.run(["/build/env/bin/pip", "install", "-q", "build", "provision-backend[provision]"])
        yield host


def _enter(root: Path) -> list[str]:
    """Return the words before a command that runs in *root*, in a mount namespace of its own."""
    path = os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/sbin"])
    programs = [shutil.which(name, path=path) for name in ("unshare", "mount", "chroot")]
    missing = [name for name, found in zip(("unshare", "mount", "chroot"), programs) if found is None]
    if missing:
        raise Unavailable(f"there is no program {missing[0]}")
    unshare, mount, chroot = (str(found) for found in programs)
    script = '"$0" -t proc proc "$1/proc" && shift && exec "$@"'
    return [unshare, "--mount", "/bin/sh", "-c", script, mount, str(root), chroot, str(root)]


def _check_proc(host: AlpineHost) -> None:
    done = host.run(["true"], check=False)
    if done.returncode != 0:
        raise Unavailable(f"/proc cannot be mounted in a root: {done.stderr.strip()}")


def _wheels() -> Path:
    """Return the folder of wheels for the root, downloaded by its own pip; at most a day old where that is possible."""
    folder = cache_folder() / "wheels" / "musl"
    wanted = " ".join([*_HOST_WHEELS, *_BUILD_WHEELS])
    with locked(cache_folder() / "wheels-musl.lock"):
        stamp = folder / "complete"
        complete = stamp.is_file() and stamp.read_text(encoding="ascii") == wanted
        if complete and time.time() - stamp.stat().st_mtime < _FRESH:
            return folder
        try:
            _download(folder)
        except AssertionError as error:
            # An older set serves where the index is out of reach today.
            if not complete:
                raise Unavailable(f"the wheels for musl cannot be downloaded: {str(error)[-300:]}") from None
        stamp.write_text(wanted, encoding="ascii")
    return folder


def _download(folder: Path) -> None:
    with AlpineRoot.shared().scratch() as root:
        download = ["python3", "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", WHEELS]
        root.run([*download, *_HOST_WHEELS])
        root.run([*download, *_BUILD_TARGET, *_BUILD_WHEELS])
        with _replacing(folder) as made:
            subprocess.run(["cp", "-a", str(root.inside(WHEELS)), str(made)], check=True)


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Give a path for a new folder, which takes the place of *folder* when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(folder.parent), prefix=".new-") as staging:
        yield Path(staging) / "made"
        shutil.rmtree(str(folder), ignore_errors=True)
        (Path(staging) / "made").rename(folder)
