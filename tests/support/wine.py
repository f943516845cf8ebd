"""Run real Windows CPythons under wine: a Windows machine, as far as wine is one, on the machine of the tests.

In: what ``tests/fixtures/build-wine-root`` made, once, in the cache of the tests. Out: `Windows`, a folder that both
sides see, with a prefix of wine and two CPythons of its own: 3.9, the host, with our checkout and what it needs, and
the archive of 3.13 in a mirror. Programs run through ``chroot``, each in a mount namespace that ends with it.
"""

from __future__ import annotations

__all__ = ["ARCHIVE", "Windows", "open_windows", "windows_path"]

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .real_interpreters import Unavailable, build_fixture, cache_folder

ROOT = Path(__file__).resolve().parent.parent.parent
ARCHIVE = "cpython-3.13.2+20250317-x86_64-pc-windows-msvc-install_only.tar.gz"
# What the host's CPython 3.9 has installed beside us; wheels for the newer one serve the builds.
_HOST_PACKAGES = [
    *(
        "packaging",
        "pyproject_hooks",
        "tomli",
        "certifi",
        "filelock",
        "httpx",
        "httpcore",
    ),
    *("h11", "anyio", "idna", "sniffio", "exceptiongroup", "typing_extensions", "build", "colorama"),
    *("importlib_metadata", "zipp", "uv", "tomlkit", "pip"),
]
_SCRIPT = """
for each in proc dev; do mount --rbind "/$each" "$0/$each"; done
mkdir -p "$0$1" && mount --bind "$1" "$0$1" && shift && exec chroot "$0" "$@"
"""


@dataclass(frozen=True)
class Windows:
    """A Windows machine; made by `open_windows`."""

    folder: Path
    """What both sides see; absolute. All paths below it are the same here and, behind ``Z:``, there."""
    root: Path
    """The root file system that has wine."""

    @property
    def python(self) -> Path:
        """The host's interpreter, CPython 3.9."""
        return self.folder / "python39/python.exe"

    @property
    def newer(self) -> Path:
        """The interpreter that the archive was made of, CPython 3.13, as an installed one."""
        return self.folder / "python313/python.exe"

    @property
    def mirror(self) -> Path:
        """The folder with the archive and its SHA256SUMS."""
        return self.folder / "mirror"

    @property
    def wheels(self) -> Path:
        """The folder with wheels for both interpreters: frontends, installers, backends."""
        return self.folder / "wheels"

    def settings(self, cache: str = "cache") -> dict[str, str]:
        """Return the variables by which interpreters come from the mirror into a cache of that name."""
        return {
            "PROVISION_BACKEND_CACHE_DIR": windows_path(self.folder / cache),
            "PROVISION_BACKEND_MIRROR": windows_path(self.mirror),
            "PROVISION_BACKEND_CATALOG": windows_path(self.mirror / "SHA256SUMS"),
        }

    def _enter(self, cwd: Path, env: Mapping[str, str]) -> list[str]:
        """Return the words before a command of the root."""
        # The Python that is asked must not be told of this machine's.
        variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "WINEPREFIX": str(self.folder / "prefix"),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "XDG_RUNTIME_DIR": "/tmp",
            **env,
        }
        path = os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/sbin"])
        unshare = shutil.which("unshare", path=path)
        if unshare is None:
            raise Unavailable("there is no program unshare")
        enter = [unshare, "--mount", "--fork", "--kill-child", "/bin/sh", "-c", _SCRIPT, str(self.root)]
        given = [f"{name}={value}" for name, value in variables.items()]
        return [*enter, str(self.folder), "/usr/bin/env", "-i", "-C", str(cwd), *given]

    def start(
        self, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a program of Windows; it and what it started end with the process that is returned.

        Args:
            command: A path, as this side or as Windows writes it, and arguments as they are.
            env: Variables beside those that wine makes; ``WINEPATH`` comes first in ``PATH``.
            cwd: Folder to run in.
        """
        program, *rest = command
        return subprocess.Popen(
            [*self._enter(cwd or self.folder, env or {}), "wine", str(program), *map(str, rest)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of Windows to its end, see `start`, and return what it wrote.

        Args:
            command: As `start` has it, and so are the next two.
            env: Variables.
            cwd: Folder to run in.
            check: Fail the test, with all output, where the program ends with another code than 0.
            timeout: Seconds.
        """
        process = self.start(command, env=env, cwd=cwd)
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            self.kill(process)
            raise
        if check and process.returncode != 0:
            raise AssertionError(f"{list(command)} ended with {process.returncode}\n{output}\n{errors}")
        return subprocess.CompletedProcess(list(map(str, command)), process.returncode, output, errors)

    def ours(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run our command line on the host's interpreter, with `settings`."""
        command: list[str | Path] = [self.python, "-m", "provision_backend", *arguments]
        return self.run(command, env={**self.settings(), **(env or {})}, cwd=cwd, check=check)

    def boot(self) -> None:
        """Start what stands for the kernel and the services, which number processes on; they end when it is stopped.

        Else they would start with the first program, hold its output open, and end with the last one.
        """
        self._control("wineserver", "-p")
        self._control("wine", "cmd", "/c", "rem")

    def stop(self) -> None:
        """End everything that runs on this machine."""
        self._control("wineserver", "-k")

    def _control(self, *words: str) -> None:
        command = [*self._enter(self.folder, {}), *words]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End a process at once, as the task manager does; what it started may go on, and hold its output open."""
        process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def windows_path(path: Path) -> str:
    r"""Return a path of this machine as Windows writes it: ``Z:\\tmp``."""
    return "Z:" + str(path).replace("/", "\\")


@contextlib.contextmanager
def open_windows() -> Iterator[Windows]:
    """Make the machine in a folder of its own, and delete it afterwards.

    Raises:
        Unavailable: This machine cannot have one.
    """
    if os.geteuid() != 0:
        raise Unavailable("chroot needs root")
    kept = build_fixture("build-wine-root")[0]
    parent = cache_folder() / "scratch"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(parent), prefix="wine-") as name:
        windows = Windows(Path(name), kept / "root")
        for part in ("prefix", "python39", "python313", "wheels"):
            # wine and Python replace files, and write into none that they have not made.
            subprocess.run(["cp", "-al", str(kept / part), name], check=True)
        _install_host(windows)
        _make_mirror(windows)
        windows.boot()
        try:
            yield windows
        finally:
            windows.stop()


def _install_host(windows: Windows) -> None:
    packages = windows.python.parent / "Lib/site-packages"
    for name in _HOST_PACKAGES:
        wheels = sorted(windows.wheels.glob(f"{name}-*.whl"), key=lambda path: path.name)
        # Where there are two, the older one is that for the older Python.
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(packages)
    scripts = windows.python.parent / "Scripts"
    scripts.mkdir()
    for program in packages.glob("*.data/scripts/*"):
        program.rename(scripts / program.name)
    shutil.copytree(ROOT / "provision_backend", packages / "provision_backend", ignore=shutil.ignore_patterns("__pyc*"))


def _make_mirror(windows: Windows) -> None:
    """Pack the newer CPython, with pip, as upstream does it."""
    packages = windows.newer.parent / "Lib/site-packages"
    with zipfile.ZipFile(sorted(windows.wheels.glob("pip-*.whl"))[-1]) as wheel:
        wheel.extractall(packages)
    windows.mirror.mkdir()
    with tarfile.open(windows.mirror / ARCHIVE, "w:gz", compresslevel=1) as archive:
        archive.add(windows.newer.parent, "python")
    digest = hashlib.sha256((windows.mirror / ARCHIVE).read_bytes()).hexdigest()
    (windows.mirror / "SHA256SUMS").write_text(f"{digest}  {ARCHIVE}\n", encoding="ascii")
