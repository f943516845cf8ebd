"""Run programs in an Alpine-like root: a musl machine without glibc, on the machine of the tests.

In: the root that ``tests/fixtures/build-alpine-root`` made, and what this machine needs to reach its package index.
Out: copies of that root, each for one test, and the programs that run in them through ``chroot``. Nothing is bound or
mounted: a root sees its own files, the kernel and the network (so a server on the loopback of this machine too).
"""

from __future__ import annotations

__all__ = ["PIP_SETTINGS", "VARIABLES", "AlpineRoot", "index_settings", "network_environment"]

import configparser
import contextlib
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .real_interpreters import Unavailable, alpine_root, cache_folder

MARKER = "etc/provision-backend-test-root"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# What may come in from the environment: where packages come from and how they are reached. Nothing else of the
# variables of pip and uv: those that name a folder would name one of the machine outside.
VARIABLES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_PROXY"),
    *("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
# The same of pip's configuration files; certificates get their own place.
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries", "proxy")
# Where the ABI wants the loader, by its file name; programs name it by this path.
LOADERS = {
    "ld-linux-x86-64.so.2": "lib64",
    "ld-linux-aarch64.so.1": "lib",
}


@dataclass(frozen=True)
class AlpineRoot:
    """A root file system with musl, busybox and CPython 3.11 as ``/usr/local/bin/python3``."""

    path: Path
    """Where it is on this machine; absolute."""

    @classmethod
    def shared(cls) -> AlpineRoot:
        """Return the root that all tests share: it can be read and copied, and refuses to run anything.

        Raises:
            Unavailable: This machine cannot have one.
        """
        return cls(alpine_root())

    def copy(self, to: Path) -> AlpineRoot:
        """Return a copy of this root with the machine's network configuration in it.

        What is in /usr is hard links where the file system allows it, /usr/local/bin excepted: nine tenths of the
        files, which Python and pip replace and never write into. All else is copied, so that a test may write where
        it likes. That takes 0.2 s; a copy of everything takes 0.4 s, and seconds where the disk is busy.

        Args:
            to: The folder to make, on a file system that is mounted with ``dev`` and ``exec``.

        Raises:
            Unavailable: Device nodes cannot be used there.
        """
        to.mkdir()
        for source in sorted(self.path.iterdir()):
            if source.name != "usr":
                _copy(source, to)
        _copy(self.path / "usr", to, hard_links=True)
        shutil.rmtree(str(to / "usr/local/bin"))
        _copy(self.path / "usr/local/bin", to / "usr/local")
        if (to / MARKER).exists():
            (to / MARKER).unlink()
        try:
            (to / "dev/null").write_bytes(b"")
        except PermissionError:
            raise Unavailable(f"the file system of {str(to)!r} is mounted without device nodes") from None
        carry_over_network(to)
        return AlpineRoot(to)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[AlpineRoot]:
        """Make a copy beside the shared root, whose file system is known to allow it, and delete it afterwards."""
        parent = cache_folder() / "scratch"
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=str(parent)) as folder:
            yield self.copy(Path(folder) / "root")

    def inside(self, path: str) -> Path:
        """Return where this machine sees *path*, absolute in the root; its links are not followed."""
        return self.path / path.lstrip("/")

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        check: bool = True,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* in the root with a clean environment and nothing on its standard input.

        Args:
            command: Program and arguments, as seen from inside.
            env: Variables beside those that a login has and those that lead to the package index.
            cwd: Folder to run in, as seen from inside.
            check: Fail the test, with all output, where the program ends with another code than 0.
            timeout: Seconds.

        Returns:
            What it wrote, as text.
        """
        if self.inside(MARKER).exists():
            raise RuntimeError("the shared root must stay as it is: run in a copy of it")
        # busybox's env has no -C, and chroot itself starts programs in /.
        done = subprocess.run(
            [_chroot(), str(self.path), "/bin/sh", "-c", 'cd "$0" && exec "$@"', cwd, *command],
            env={**login_environment(), **network_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{list(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def add_glibc_loader(self) -> Path:
        """Put this machine's glibc loader and libc.so.6 beside musl, as gcompat or a stray package would.

        Returns:
            The loader as seen from inside, ``/lib64/ld-linux-x86-64.so.2``.

        Raises:
            Unavailable: No program with glibc runs here.
        """
        loader, libc = host_glibc()
        place = Path("/", LOADERS[loader.name], loader.name)
        # libc keeps its path: the loader was built to look for it there.
        for source, target in ((loader, place), (libc, libc)):
            self.inside(str(target)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(source), str(self.inside(str(target))))
        return place


def _copy(source: Path, into: Path, *, hard_links: bool = False) -> None:
    """Copy a file or tree with owners, modes, times and device nodes, which shutil does not know."""
    if hard_links and source.stat().st_dev == into.stat().st_dev:
        subprocess.run(["cp", "-al", str(source), str(into)], check=True)
    else:
        subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(into)], check=True)


def _chroot() -> str:
    """Return the program chroot, which is often in no folder of PATH."""
    found = shutil.which("chroot", path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/sbin"]))
    if found is None:
        raise Unavailable("there is no program chroot")
    return found


def host_glibc() -> tuple[Path, Path]:
    """Return the files of this machine's glibc loader and libc.so.6, as a program that runs has them mapped.

    Raises:
        Unavailable: Neither the running interpreter nor ``cat`` uses glibc.
    """
    own = Path("/proc/self/maps").read_text(encoding="utf-8")
    cat = subprocess.run(["cat", "/proc/self/maps"], stdout=subprocess.PIPE, text=True, check=True)
    mapped = {Path(line.split()[5]) for line in (own + cat.stdout).splitlines() if len(line.split()) == 6}
    loaders = sorted(path for path in mapped if path.name in LOADERS)
    libcs = sorted(path for path in mapped if path.name == "libc.so.6")
    if not loaders or not libcs:
        raise Unavailable("no program with glibc runs on this machine")
    return loaders[0], libcs[0]


def login_environment() -> dict[str, str]:
    """Return the variables that a login of root has on Alpine."""
    return {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",
        "USER": "root",
    }


def _without_files(value: str) -> str:
    """Drop the words of a setting that name folders of this machine: they are not there inside."""
    return " ".join(word for word in value.split() if not re.search(r"(^|=)(file:|/|\.)", word))


def network_environment() -> dict[str, str]:
    """Return the variables that lead a program inside to the package index of this machine."""
    carried = {name: _without_files(os.environ[name]) for name in VARIABLES if name in os.environ}
    found = {name: value for name, value in carried.items() if value}
    found["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    if certificate_bundle() is not None:
        found.update(dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), CERTIFICATES))
    return found


def pip_configuration_files() -> list[Path]:
    """Return the configuration files that pip reads on this machine, the strongest last."""
    home = Path.home()
    given = os.environ.get("PIP_CONFIG_FILE")
    if given == os.devnull:
        return []
    files = [
        *(Path(folder) / "pip/pip.conf" for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf",
        *([Path(given)] if given else []),
    ]
    return [path for path in files if path.is_file()]


def index_settings(files: Sequence[Path]) -> configparser.RawConfigParser:
    """Merge pip's configuration files into one that only says which index is used and how it is reached.

    Args:
        files: Configuration files, the strongest last.
    """
    read = configparser.RawConfigParser()
    read.read([str(path) for path in files], encoding="utf-8")
    kept = configparser.RawConfigParser()
    for section in read.sections():
        settings = {name: _without_files(value) for name, value in read.items(section) if name in PIP_SETTINGS}
        kept[section] = {name: value for name, value in settings.items() if value}
    return kept


def certificate_bundle() -> Path | None:
    """Return the file of certificates that programs on this machine trust, None where it has none."""
    names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    candidates = [os.environ.get(name) for name in names]
    candidates += [ssl.get_default_verify_paths().cafile, CERTIFICATES, "/etc/pki/tls/certs/ca-bundle.crt"]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def carry_over_network(root: Path) -> None:
    """Put into *root* what this machine of today reaches its package index with."""
    for name in ("etc/resolv.conf", "etc/hosts"):
        if Path("/", name).is_file():
            shutil.copyfile(str(Path("/", name)), str(root / name))
    bundle = certificate_bundle()
    if bundle is not None:
        shutil.copyfile(str(bundle), str(root / CERTIFICATES.lstrip("/")))
    configuration = root / "etc/pip.conf"
    with configuration.open("w", encoding="utf-8") as file:
        # It may hold the password of an index.
        configuration.chmod(0o600)
        index_settings(pip_configuration_files()).write(file)
