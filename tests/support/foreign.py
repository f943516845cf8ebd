"""Machines of other architectures: a Debian of each in a folder, whose programs run by qemu-user, or natively on x86.

In: an architecture of `MACHINES`. Out: `ForeignMachine`, whose programs run by ``chroot`` in namespaces of their own: a
binfmt_misc of their own hands programs of that architecture to qemu, so that nothing else on this machine notices
(Linux 6.7 or later). One folder of this machine is seen inside as ``/mnt/work``; all that a test writes is there.

Each is a Debian 13 or 12, and what is provisioned is Debian 12's CPython 3.11 (Debian 13's 3.13 on riscv64) with the
layout and the file name of python-build-standalone's archives, whose own cannot be had here. Roots and archives stay
in the cache of the tests.
"""

from __future__ import annotations

__all__ = ["MACHINES", "WORK", "ForeignMachine", "Machine", "foreign_mirror", "foreign_root", "open_foreign_machine"]

import contextlib
import ensurepip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Optional

from .hosts import NO_COMPILE, Outcome, clean_environ, run_checked, wheelhouse
from .real_interpreters import FIXTURES, TAG, Unavailable, cache_folder, locked

WORK = "/mnt/work"
"""Where a machine sees the folder that tests write to."""

# Raise this when a recipe changes in a way that makes the kept roots and archives wrong.
_RECIPE = 1


@dataclass(frozen=True)
class Machine:
    """An architecture of Debian."""

    triple: str
    """The target that must be detected."""
    wheel_platform: str
    """The platform in the tag of its wheels."""
    qemu: str = ""
    """Its name in ``qemu-NAME-static``; empty where this machine's own CPU runs it."""
    elf: tuple[int, str, int] = (64, "little", 0)
    """Word size, byte order and ``e_machine`` of its programs."""
    compiler: bool = False
    """Whether its root has a C compiler."""
    host: str = "trixie"
    """The release of Debian in the root: trixie with CPython 3.13, or bookworm with 3.11."""
    suite: str = "bookworm"
    """The release of Debian that the provisioned CPython is from; empty for one that is built for musl."""
    minor: str = "3.11"
    """Its version."""
    debian: str = ""
    """What Debian calls the architecture, where that is not the machine's own name."""

    @property
    def python(self) -> str:
        """The CPython of the root."""
        return "/usr/bin/python3" if self.suite else "/opt/python/bin/python3"

    @property
    def satisfied(self) -> bool:
        """Whether that is of the same minor version as what is provisioned, which must then be asked for."""
        return self.suite in ("", self.host)


MACHINES = {
    "amd64": Machine("x86_64-unknown-linux-gnu", "linux_x86_64", elf=(64, "little", 62), compiler=True),
    "i386": Machine("i686-unknown-linux-gnu", "linux_i686", elf=(32, "little", 3), compiler=True),
    "arm64": Machine("aarch64-unknown-linux-gnu", "linux_aarch64", "aarch64", (64, "little", 183), compiler=True),
    "armhf": Machine("armv7-unknown-linux-gnueabihf", "linux_armv7l", "arm", (32, "little", 40)),
    "armel": Machine("armv7-unknown-linux-gnueabi", "linux_armv7l", "arm", (32, "little", 40), host="bookworm"),
    "ppc64el": Machine("ppc64le-unknown-linux-gnu", "linux_ppc64le", "ppc64le", (64, "little", 21), host="bookworm"),
    "riscv64": Machine(
        "riscv64-unknown-linux-gnu", "linux_riscv64", "riscv64", (64, "little", 243), suite="trixie", minor="3.13"
    ),
    "s390x": Machine("s390x-unknown-linux-gnu", "linux_s390x", "s390x", (64, "big", 22), host="bookworm"),
    "arm64-musl": Machine(
        *("aarch64-unknown-linux-musl", "linux_aarch64", "aarch64", (64, "little", 183), True),
        suite="",
        minor="3.13",
        debian="arm64",
    ),
}
"""By Debian's name."""

# "$1" is the root, "$2" the folder to be seen as /mnt/work, "$3" the line for binfmt_misc or nothing.
_ENTER = """
set -e
root=$1 work=$2 format=$3
shift 3
if [ -n "$format" ] && mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; then
    printf '%s' "$format" >/proc/sys/fs/binfmt_misc/register
fi
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$work" "$root/mnt/work"
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class ForeignMachine:
    """A machine of another architecture with ``build`` and our command line in a virtual environment."""

    machine: Machine
    root: Path
    work: Path
    """The folder that it sees as `WORK`."""
    mirror: Path
    """Below `work`: a folder with the archive of a CPython for it."""

    @property
    def how(self) -> str:
        """Say how its programs run, for the table of systems."""
        return "qemu" if self.machine.qemu else "run"

    def run(self, *command: str, env: Optional[Mapping[str, str]] = None, timeout: float = 1800) -> Outcome:
        """Run a program as seen from inside, with the variables of a login and a folder of wheels for pip.

        Args:
            command: program and arguments.
            env: further variables.
            timeout: seconds; an emulated build takes one to three minutes where nothing else runs.
        """
        environ = {
            "HOME": f"{WORK}/home",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **NO_COMPILE,
            "PIP_FIND_LINKS": f"{WORK}/wheels",
            "PIP_NO_INDEX": "1",
            "PROVISION_BACKEND_CACHE_DIR": f"{WORK}/cache",
            "PROVISION_BACKEND_CATALOG": f"{WORK}/mirror/SHA256SUMS",
            "PROVISION_BACKEND_MIRROR": f"{WORK}/mirror",
            "TMPDIR": f"{WORK}/tmp",
            **(env or {}),
        }
        variables = [f"{name}={value}" for name, value in environ.items()]
        enter = [_program("unshare"), "-Urm", "--fork", "--kill-child", "/bin/sh", "-c", _ENTER, "enter"]
        done = subprocess.run(
            [
                *enter,
                str(self.root),
                str(self.work),
                _format_of(self.machine),
                "/usr/bin/env",
                "-i",
                *variables,
                *command,
            ],
            env={**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
        return Outcome(done.returncode, done.stdout.decode("utf-8", "backslashreplace"))

    def check(self, *command: str, env: Optional[Mapping[str, str]] = None) -> str:
        """Run a program that must succeed, and return what it printed."""
        done = self.run(*command, env=env)
        assert done.returncode == 0, f"{list(command)} ended with {done.returncode}\n{done.output}"
        return done.output

    def python(self, *arguments: str, env: Optional[Mapping[str, str]] = None) -> str:
        """Run the Python of the environment, the machine's own, and return what it printed."""
        return self.check(f"{WORK}/env/bin/python", *arguments, env=env)

    def ours(self, *arguments: str, env: Optional[Mapping[str, str]] = None) -> str:
        """Run our command line, and return what it printed."""
        return self.python("-m", "provision_backend", *arguments, env=env)

    def install_from_outside(self, wheel: Path, site: str) -> None:
        """Install a wheel into a folder of `work` by this machine's pip, which takes a second."""
        minor = self.machine.minor
        target = ["--target", str(self.work / site), "--python-version", minor, "--implementation", "cp"]
        target += ["--abi", f"cp{minor.replace('.', '')}", "--platform", self.machine.wheel_platform]
        run_checked([*_PIP, "install", "--no-index", "--no-deps", *target, str(wheel)], clean_environ())


_PIP = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "-q"]


def open_foreign_machine(name: str, work: Path, own_wheel: Path) -> ForeignMachine:
    """Make a machine in *work*, an empty folder, with our wheel installed beside ``build``.

    Raises:
        Unavailable: This machine cannot run it.
    """
    if sys.version_info < (3, 11):
        raise Unavailable("the wheels for the machines are those of the CPython of the tests, 3.11 or later")
    machine = MACHINES[name]
    if machine.qemu:
        _emulator(machine)
    root, archive = _root(name, machine), _archive(name, machine)
    for folder in ("home", "tmp", "mirror"):
        (work / folder).mkdir(parents=True)
    foreign = ForeignMachine(machine, root, work, work / "mirror")
    started = foreign.run(machine.python, "-c", "pass", timeout=120)
    if started.returncode != 0:
        raise Unavailable(f"programs of {name} do not start here: {started.output.strip()[-300:]}")
    for path in archive.parent.iterdir():
        shutil.copy(str(path), str(foreign.mirror))
    _fill_environment(foreign, own_wheel)
    return foreign


def foreign_root(name: str) -> Path:
    """Return the root of a machine, whose programs need not run here."""
    return _root(name, MACHINES[name])


def foreign_mirror(name: str, *, newer: bool = False) -> Path:
    """Return the folder with the archive of a machine's CPython, or that of Debian 13's, a *newer* one."""
    machine = MACHINES[name]
    if newer:
        machine = replace(machine, suite="trixie", minor="3.13", debian=machine.debian or name)
        name = f"{name}-newer"
    return _archive(name, machine).parent


@lru_cache(maxsize=None)
def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise Unavailable(f"there is no program {name}")
    return found


def _emulator(machine: Machine) -> str:
    # Since Debian 13 that without the ending is linked statically too, as one that is used in a root must be.
    for name in (f"qemu-{machine.qemu}-static", f"qemu-{machine.qemu}"):
        with contextlib.suppress(Unavailable):
            return _program(name)
    raise Unavailable(f"there is no program qemu-{machine.qemu}-static (package qemu-user-static)")


def _format_of(machine: Machine) -> str:
    """Return the line that tells binfmt_misc which files qemu runs; empty for none.

    Source: Linux ``Documentation/admin-guide/binfmt-misc.rst``. The flag F opens qemu now, from outside of the root.
    """
    if not machine.qemu:
        return ""
    bits, order, number = machine.elf
    head = b"\x7fELF" + bytes([bits // 32, 1 if order == "little" else 2, 1]) + bytes(9)
    magic = head + (2).to_bytes(2, order) + number.to_bytes(2, order)  # type: ignore[arg-type]
    # Any ABI, and an executable or a shared object: ET_EXEC is 2, ET_DYN is 3.
    mask = b"\xff" * 7 + b"\0" + b"\xff" * 8 + (b"\xfe\xff" if order == "little" else b"\xff\xfe") + b"\xff\xff"
    escaped = [re.sub("..", r"\\x\g<0>", raw.hex()) for raw in (magic, mask)]
    return f":foreign:M::{escaped[0]}:{escaped[1]}:{_emulator(machine)}:F"


def _run_fixture(*command: str) -> str:
    """Run a script of ``tests/fixtures``, and return the path that it prints."""
    done = subprocess.run(
        [str(FIXTURES / command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PROVISION_BACKEND_TEST_CACHE": str(cache_folder())},
    )
    if done.returncode == 3:
        raise Unavailable(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def _root(name: str, machine: Machine) -> Path:
    packages = ["coreutils", "dash", *(["gcc", "libc6-dev"] if machine.compiler else [])]
    packages += ["python3"] if machine.suite else ["musl", "musl-dev", "musl-tools"]
    with locked(cache_folder() / f"foreign-{name}.lock"):
        place = str(_kept(name) / "root")
        root = Path(_run_fixture("foreign-root", place, machine.debian or name, machine.host, *packages))
        if not machine.suite and not (root / "opt/python").exists():
            shutil.copytree(str(_musl_tree(root)), str(root / "opt/python"), symlinks=True)
            # Debian's gcc compiles for musl with the specs of this script.
            (root / "usr/bin/cc").unlink()
            (root / "usr/bin/cc").symlink_to("musl-gcc")
        # Nothing has compiled the standard library, and each emulated process would.
        if sys.version_info[:2] == (3, 13) and not next(root.glob("usr/lib/python3.13/__pycache__"), None):
            subprocess.run([sys.executable, "-m", "compileall", "-q", str(root / "usr/lib/python3.13")], check=False)
        return root


def _musl_tree(root: Path) -> Path:
    """Return a CPython 3.13 for musl on aarch64, cross-compiled here against the files of *root*."""
    return Path(_run_fixture("build-aarch64-musl-python", str(root)))


def _kept(name: str) -> Path:
    return cache_folder() / "foreign" / f"{name}-{_RECIPE}"


def _archive(name: str, machine: Machine) -> Path:
    """Return the archive of a CPython for a machine; its folder is a flat mirror."""
    folder = _kept(name) / "archive"
    if not machine.suite:
        _root(name, machine)  # It is made for its root, under the same lock.
    with locked(cache_folder() / f"foreign-{name}.lock"):
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=str(folder.parent)) as staging:
                top, made = Path(staging) / "python", Path(staging) / "archive"
                made.mkdir()
                if machine.suite:
                    packages = (f"python{machine.minor}", f"libpython{machine.minor}-dev")
                    debian = _run_fixture(
                        "foreign-root", f"{staging}/debian", machine.debian or name, machine.suite, *packages
                    )
                    _lay_out(Path(debian), top, machine)
                else:
                    _lay_out_musl(_kept(name) / "root/opt/python", top)
                _pack(machine, top, made)
                made.rename(folder)
    return next(folder.glob("*.tar.gz"))


def _lay_out_musl(tree: Path, top: Path) -> None:
    """Copy the tree for musl, with pip, and with the flag in its configuration that only clang knows."""
    shutil.copytree(str(tree), str(top), symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    _add_pip(next(top.glob("lib/python3.*/site-packages")))
    for path in top.glob("lib/python3.*/_sysconfigdata_*.py"):
        # python-build-standalone compiles with it, and records that (zlmdb#126).
        path.write_text(re.sub(r"('(?:CFLAGS|LDFLAGS)': ')", r"\1--rtlib=compiler-rt ", path.read_text()))


def _add_pip(packages: Path) -> None:
    with zipfile.ZipFile(str(next(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")))) as wheel:
        wheel.extractall(str(packages))


def _lay_out(debian: Path, top: Path, machine: Machine) -> None:
    """Make a tree like python-build-standalone's of the files of Debian's packages."""
    python = f"python{machine.minor}"
    (top / "bin").mkdir(parents=True)
    shutil.copy(str(next(path for path in debian.glob(f"usr/bin/{python}") if path.is_file())), str(top / "bin"))
    for link in ("python3", "python"):
        (top / "bin" / link).symlink_to(python)
    # A link of Debian leads to /etc, where an administrator may put what is imported at every start.
    ignored = shutil.ignore_patterns("*.a", "__pycache__", "sitecustomize.py", "*.so.1", "test")
    shutil.copytree(str(debian / "usr/lib" / python), str(top / "lib" / python), symlinks=True, ignore=ignored)
    shutil.copytree(str(debian / "usr/include" / python), str(top / "include" / python))
    shutil.copy(str(next(debian.glob(f"usr/include/*/{python}/pyconfig.h"))), str(top / "include" / python))
    for pattern in ("_sysconfigdata_*.py", "config-*/Makefile"):
        for path in top.glob(f"lib/{python}/{pattern}"):
            if not path.is_symlink():
                # The prefix that python-build-standalone configures with.
                path.write_text(re.sub(r"/usr(?=[/' ]|$)", "/install", path.read_text(), flags=re.MULTILINE))
    # Debian's CPython looks for packages in dist-packages, where it is in no virtual environment.
    _add_pip(top / "lib" / python / "dist-packages")


def _pack(machine: Machine, top: Path, to: Path) -> None:
    version = re.findall(r'"(\d[\d.]*)\+?"', (next(top.glob("include/*/patchlevel.h"))).read_text())[0]
    archive = to / f"cpython-{version}+{TAG}-{machine.triple}-install_only.tar.gz"
    with tarfile.open(str(archive), "w:gz", compresslevel=6) as tar:
        tar.add(str(top), "python")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (to / "SHA256SUMS").write_text(f"{digest}  {archive.name}\n", encoding="ascii")


def _fill_environment(foreign: ForeignMachine, own_wheel: Path) -> None:
    """Make a virtual environment by the machine's own Python, and fill it by this machine's pip, which is faster."""
    environ = clean_environ()
    wheels = wheelhouse(Path(sys.executable), environ)
    frontend = cache_folder() / "wheels" / "frontends"
    with locked(cache_folder() / "wheels-frontends.lock"):
        if not (frontend / "complete").exists():
            run_checked([*_PIP, "download", "--only-binary", ":all:", "-d", str(frontend), "build", "pip"], environ)
            (frontend / "complete").touch()
    shutil.copytree(str(wheels), str(foreign.work / "wheels"))
    shutil.copy(str(own_wheel), str(foreign.work / "wheels"))
    foreign.check(foreign.machine.python, "-m", "venv", "--without-pip", f"{WORK}/env")
    packages = next(foreign.work.glob("env/lib/python3.*/site-packages"))
    sources = ["--no-index", "--find-links", str(foreign.work / "wheels"), "--find-links", str(frontend)]
    words = ["install", "--target", str(packages), *sources, "build", "pip", "flit_core", "provision-backend[local]"]
    run_checked([*_PIP, *words], environ)
