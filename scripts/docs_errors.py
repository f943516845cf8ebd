"""Every class of error with a cause, a cure and the message that the code really gives → ``docs/reference/errors.md``.

Each entry makes its error happen, so that the page shows what people see; `tests/test_docs.py` asks that
every class has an entry and that the page is what comes out today.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, Tuple, Type

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


from provision_backend import errors  # noqa: E402
from provision_backend.cache.locks import key_lock  # noqa: E402
from provision_backend.cache.store import Cache  # noqa: E402
from provision_backend.catalog.selection import parse_catalog, select_archive  # noqa: E402
from provision_backend.catalog.wanted import Wanted  # noqa: E402
from provision_backend.hooks import in_process  # noqa: E402
from provision_backend.hooks.forwarded import CurrentEnvironment, call_hook  # noqa: E402
from provision_backend.hooks.installers import find_uv  # noqa: E402
from provision_backend.hooks.tags import tags_of  # noqa: E402
from provision_backend.host.detection import detect_platform  # noqa: E402
from provision_backend.host.platforms import platform_from_triple  # noqa: E402
from provision_backend.install.catalogs import fetch_catalog  # noqa: E402
from provision_backend.install.download import download_archive  # noqa: E402
from provision_backend.install.install import finalize_tree, tree_maker  # noqa: E402
from provision_backend.install.unpack import unpack_archive  # noqa: E402
from provision_backend.interpreter import inspect_interpreter  # noqa: E402
from provision_backend.output import Reporter  # noqa: E402
from provision_backend.pack.packing import pack_interpreter  # noqa: E402
from provision_backend.project.pyproject import read_project  # noqa: E402
from provision_backend.settings import Settings, load_settings  # noqa: E402
from provision_backend.trust import trust_cache  # noqa: E402

__all__ = ["ENTRIES", "Entry", "error_classes", "message_of", "page"]

PAGE = ROOT / "docs" / "reference" / "errors.md"

_ARCHIVE = "cpython-3.13.0+20241016-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
_LINE = f"{'0' * 64}  {_ARCHIVE}\n"
_PROJECT = """
[project]
name = "toy"
version = "1.0"
requires-python = ">=3.8"

[tool.provision-backend]
requires = []
"""


@dataclass(frozen=True)
class Entry:
    """What the reference says about one class of error."""

    error: Type[errors.ProvisionError]
    cause: str
    cure: str
    raise_one: Callable[[Path], object]
    """Makes the error happen in an empty folder."""


def _download(folder: Path, content: bytes = b"") -> None:
    """Take the archive from a mirror that is a folder; without content it is not there."""
    mirror = folder / "mirror"
    mirror.mkdir()
    if content:
        (mirror / _ARCHIVE).write_bytes(content)
    archive = parse_catalog(_LINE, source="SHA256SUMS")[0]
    options = Settings(mirror=(str(mirror),), retries=0)
    download_archive(archive, folder / "archive", settings=options, reporter=_quiet())


def _quiet() -> Reporter:
    return Reporter(io.StringIO())


def _select(_: Path) -> None:
    archives = parse_catalog(_LINE, source="SHA256SUMS")
    select_archive(archives, Wanted(">=3.99"), "x86_64-unknown-linux-gnu")


def _finalize(folder: Path) -> None:
    """Finalize a tree whose build record is a folder."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python3.13").touch(mode=0o755)
    library = folder / "lib" / "python3.13"
    library.mkdir(parents=True)
    (library / "_sysconfigdata__linux_.py").write_text("build_time_vars = {}\n")
    (library / "EXTERNALLY-MANAGED").mkdir()
    finalize_tree(folder, final_path=folder)


def _unpack(folder: Path) -> None:
    archive = folder / "archive.tar.gz"
    archive.write_bytes(b"<html>please log in</html>")
    tree = folder / "tree"
    tree.mkdir()
    unpack_archive(archive, tree)


def _trust(folder: Path) -> None:
    folder.chmod(0o777)
    trust_cache(folder)


def _wait(folder: Path) -> None:
    key = "cpython-3.13.0"
    with key_lock(folder, key, timeout=0, reporter=_quiet()), key_lock(folder, key, timeout=0.1, reporter=_quiet()):
        pass


def _start(folder: Path) -> None:
    program = folder / "python3.13"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    inspect_interpreter(program)


def _without(folder: Path) -> None:
    """Begin with an interpreter where pyelftools cannot be imported."""
    archive = parse_catalog(_LINE, source="SHA256SUMS")[0]
    platform = platform_from_triple(archive.triple)
    build = tree_maker(archive, platform, Settings(offline=True), _quiet())
    saved = sys.modules.get("elftools")
    sys.modules["elftools"] = None  # type: ignore[assignment]
    try:
        build(folder, folder / _ARCHIVE, folder / "python")
    finally:
        del sys.modules["elftools"]
        if saved is not None:
            sys.modules["elftools"] = saved


def _without_uv(folder: Path) -> None:
    with _variables(PATH=str(folder), UV=""), _executable(folder / "python"):
        find_uv(Settings(installer="uv"))


@contextmanager
def _variables(**values: str) -> Iterator[None]:
    saved = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def _executable(path: Path) -> Iterator[None]:
    """Make it look as if another interpreter ran, beside which there is nothing."""
    saved, sys.executable = sys.executable, str(path)
    try:
        yield
    finally:
        sys.executable = saved


def _pack(folder: Path) -> None:
    pack_interpreter(folder / "python3.13", folder / "mirror", tag="20241016")


def _project(folder: Path, table: str) -> None:
    (folder / "pyproject.toml").write_text(_PROJECT + table)


def _no_hook(folder: Path) -> None:
    _project(folder, 'build-backend = "json"')
    in_process.call_hook(read_project(folder), "build_wheel")


def _killed(folder: Path) -> None:
    """Call a real backend that is ended by a signal."""
    _project(folder, 'build-backend = "killed"\nbackend-path = ["."]')
    source = "import os, signal\ndef build_wheel(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
    (folder / "killed.py").write_text(source)
    call_hook(read_project(folder), CurrentEnvironment(), "build_wheel", str(folder), None, None)


def _table(folder: Path) -> None:
    _project(folder, 'instaler = "pip"')
    read_project(folder)


def _offline(folder: Path) -> None:
    settings = Settings(catalog="https://mirror.example/SHA256SUMS", offline=True)
    fetch_catalog(settings, Cache(folder), _quiet())


ENTRIES: Tuple[Entry, ...] = (
    Entry(
        errors.UsageError,
        "A setting, a variable or an argument of the command line is not of its form.",
        "Correct the place that the message names. `provision-backend settings` lists every setting and where its "
        "value comes from.",
        lambda _: load_settings(environ={"PROVISION_BACKEND_OFFLINE": "perhaps"}),
    ),
    Entry(
        errors.ProjectError,
        "`pyproject.toml` is missing, is no TOML, or has a key that is unknown, missing or of the wrong type; or a "
        "build leads back to itself.",
        "Correct the key that is named. `provision-backend init` writes a table that is right, and the "
        "[schema](schema.md) lets an editor check it.",
        _table,
    ),
    Entry(
        errors.HostError,
        "The libc or the architecture could not be found out, or no standalone CPython runs on this host: its libc is "
        "too old, its loader is missing, or its CPU lacks something.",
        "`provision-backend detect` shows what was looked at. Set `target` where you know better, or "
        "`preference = only-system` and install a Python of the system.",
        lambda folder: detect_platform(root=folder),
    ),
    Entry(
        errors.CatalogError,
        "The file that `catalog` names cannot be read, or a line of it is not `<sha256>  <file name>`.",
        "Write it with `sha256sum *.tar.gz > SHA256SUMS` or with `provision-backend pack`.",
        lambda _: parse_catalog("cpython-3.13.0.tar.gz\n", source="SHA256SUMS"),
    ),
    Entry(
        errors.NoMatchingArchiveError,
        "No archive of the catalog satisfies the project on this platform.",
        "Compare with the versions in the second line: a typing error in `requires-python` or `python`, a catalog that "
        "lacks that version, or a platform for which there are no builds. `provision-backend list --all` shows what "
        "there is.",
        _select,
    ),
    Entry(
        errors.InstallError,
        "Files of an unpacked interpreter could not be read or written. Its subclasses, below, are seen more often.",
        "Look at the reason of the system at the end: the disk, its permissions, a virus scanner. Then build again; "
        "nothing was published.",
        _finalize,
    ),
    Entry(
        errors.DownloadError,
        "No source gave the archive. Each is listed with its own reason.",
        "A mirror that has it, a proxy (`HTTPS_PROXY`, or `HTTP_PROXY` for a mirror of `http://`), a certificate "
        "(`SSL_CERT_FILE`), or longer time-outs: whatever the reason says. What had arrived is kept, and the next "
        "build goes on from there.",
        _download,
    ),
    Entry(
        errors.OfflineError,
        "Something would have to be downloaded, and `offline` is set.",
        "Provision once with network, or name a shared cache or a mirror that is a folder: "
        "[without internet](../guides/air-gapped.md).",
        _offline,
    ),
    Entry(
        errors.IntegrityError,
        "What was received is not what the catalog says: a damaged or exchanged file, or a proxy's login page.",
        "Compare the hash at the source. Never replace the catalog's hash by the one that was found without knowing "
        "why they differ.",
        lambda folder: _download(folder, b"something else"),
    ),
    Entry(
        errors.UnpackError,
        "The file has the hash of the catalog and is all the same no archive of the expected form, or holds a member "
        "that would be written outside its folder.",
        "The catalog vouches for a wrong file: make the archive and its line again.",
        _unpack,
    ),
    Entry(
        errors.CacheError,
        "The cache cannot be written, or belongs to somebody whom it would be wrong to trust.",
        "Do what the second line says, or name another folder with `PROVISION_BACKEND_CACHE_DIR`. The rules are in "
        "[the cache](../cache.md).",
        _trust,
    ),
    Entry(
        errors.LockTimeoutError,
        "Another process provisions the same interpreter, or builds wheels into the same folder, and has not ended in "
        "`lock-timeout` seconds.",
        "Look at the process that is named: a slow download, or one that hangs. End it, or raise "
        "`PROVISION_BACKEND_LOCK_TIMEOUT`.",
        _wait,
    ),
    Entry(
        errors.InterpreterError,
        "An interpreter does not start, is not what its archive says, cannot make virtual environments, or the machine "
        "has none that satisfies.",
        "For one that you named: check `PROVISION_BACKEND_PYTHON`. For a provisioned one: `provision-backend cache "
        "verify`. For one of the system: install its `venv` package.",
        _start,
    ),
    Entry(
        errors.MissingDependencyError,
        "A package that only provisioning needs is not installed: the build runs without isolation, or the frontend "
        "did not ask what it needs.",
        "Install the extra that is named, or build with isolation.",
        _without,
    ),
    Entry(
        errors.BuildEnvironmentError,
        "The virtual environment of the real backend could not be made or filled.",
        "The installer's own last lines say why: mostly a requirement that no index has for this Python. Your indexes, "
        "constraints and proxies are passed on to it.",
        _without_uv,
    ),
    Entry(
        errors.PackError,
        "`provision-backend pack` cannot make a relocatable archive of that interpreter.",
        "Name the executable of a complete CPython, not of a shim and not of one whose standard library is elsewhere.",
        _pack,
    ),
    Entry(
        errors.WheelError,
        "A wheel's code needs a newer libc, a library or a symbol that its tag does not allow, or the wheel failed its "
        "test. The message names what is in the way.",
        'Do what the second line says: mostly build with `toolchain = "zig"` and `glibc`, or claim a newer platform '
        "or Python.",
        lambda _: tags_of("spam.whl"),
    ),
    Entry(
        errors.BackendError,
        "The real backend cannot be imported, or lacks the hook that was asked for.",
        "`build-backend` in `[tool.provision-backend]` must name it, and `requires` what provides it, or "
        "`backend-path` where it lies.",
        _no_hook,
    ),
    Entry(
        errors.HookFailedError,
        "The real backend failed. What it said, with its own traceback, stands above.",
        "This is a matter of your project and its backend; without us it would have failed alike. A signal such as "
        "SIGKILL mostly means too little memory.",
        _killed,
    ),
)
"""In the order of the tree at the top of `provision_backend.errors`."""


def error_classes() -> Tuple[Type[errors.ProvisionError], ...]:
    """Return every class of error but the base, each after its parent."""

    def below(parent: Type[errors.ProvisionError]) -> Iterator[Type[errors.ProvisionError]]:
        for child in parent.__subclasses__():
            if child.__module__ == errors.__name__:
                yield child
                yield from below(child)

    return tuple(below(errors.ProvisionError))


def message_of(entry: Entry) -> str:
    """Make the error of an entry happen and return its message, without what differs from run to run.

    Raises:
        AssertionError: another error came, or none.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        try:
            entry.raise_one(folder)
        except errors.ProvisionError as exc:
            if type(exc) is not entry.error:
                raise AssertionError(f"{entry.error.__name__} was wanted, and {exc!r} came") from exc
            return _without_chance(str(exc).replace(str(folder), "/srv/here"))
    raise AssertionError(f"{entry.error.__name__} was wanted, and nothing came")


def _without_chance(message: str) -> str:
    """Replace what differs from run to run and from machine to machine."""
    return re.sub(r"process \d+ on \S+ \(since [\d:]+\)", "process 4711 on builder (since 10:15:02)", message)


def page() -> str:
    """Return the text of the reference page."""
    entries: Dict[str, Entry] = {entry.error.__name__: entry for entry in ENTRIES}
    sections = [_HEAD]
    for error in error_classes():
        entry = entries[error.__name__]
        parents = [parent.__name__ for parent in error.__mro__[1:-3] if parent is not errors.ProvisionError]
        kind = f", a kind of {parents[0]}" if parents else ""
        sections.append(
            f"## {error.__name__}\n\n{(error.__doc__ or '').splitlines()[0]}{_sentence(kind)}\n\n"
            f"```text\nprovision-backend: {message_of(entry)}\n```\n\n"
            f"**Cause.** {entry.cause}\n\n**Cure.** {entry.cure}\n"
        )
    return "\n".join(sections)


def _sentence(kind: str) -> str:
    return f" This is{kind[1:]}." if kind else ""


_HEAD = """# Errors

<!-- Written by scripts/docs_errors.py: every message comes from running the code. -->

Every failure that we raise is one of these. A build ends with its message, without our traceback; the command line ends
with exit code 2 for a `UsageError` and 1 for the others. The first line says what failed, what was wanted and what was
found, the indented ones what to do. To look for the text of a message, see
[troubleshooting](../troubleshooting.md).
"""
