"""Archives that are not what their name says are refused with what was wanted and found, and are never published.

Each comes from a mirror under the right name, with its own hash in the catalog: only a look at the interpreter can
tell. They are real archives under another name, or copies of real ones in which the test changes one thing; what is
changed is what somebody once published. Those for musl are offered in the Alpine-like root, those for glibc here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from elftools.elf.elffile import ELFFile
from support.alpine_host import AlpineHost, offer
from support.projects import pure
from support.real_interpreters import musl_archive, standalone_archive, static_musl_archive
from support.roots import elf_bytes

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parent.parent
GNU = "x86_64-unknown-linux-gnu"
MUSL = "x86_64-unknown-linux-musl"


@pytest.fixture(scope="module")
def musl() -> Path:
    """An archive of a CPython for musl, as it should be."""
    return musl_archive()


@pytest.fixture(scope="module")
def gnu() -> Path:
    """An archive of a CPython for glibc on x86_64, as it should be, on a machine with glibc."""
    archive = standalone_archive()
    found = json.loads(ours("detect", "--json", cache=Path(os.devnull)).stdout)["triple"]
    if found != GNU or f"-{GNU}-" not in archive.name:
        pytest.skip(f"this machine is {found}, wanted {GNU}")
    return archive


def ours(*arguments: str, cache: Path, mirror: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run our command line on this machine, from the checkout."""
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PROVISION_BACKEND_CACHE_DIR": str(cache)}
    if mirror is not None:
        environ["PROVISION_BACKEND_MIRROR"] = str(mirror)
        environ["PROVISION_BACKEND_CATALOG"] = str(mirror / "SHA256SUMS")
    command = [sys.executable, "-m", "provision_backend", *arguments]
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def minor_of(archive: Path) -> str:
    """Return the ``3.13`` of an archive's name."""
    match = re.match(r"cpython-(3\.\d+)\.", archive.name)
    assert match
    return match[1]


def renamed(archive: Path, old: str, new: str) -> Dict[Path, str]:
    """Return the other name under which an archive is offered."""
    assert f"-{old}-" in archive.name
    return {archive: archive.name.replace(f"-{old}-", f"-{new}-")}


def changed(archive: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    """Return an archive of the same name in *folder*, in whose tree something was changed."""
    folder.mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(folder)], check=True)
    change(folder / "python")
    made = folder / archive.name
    subprocess.run(["tar", "-I", "gzip -1", "-cf", str(made), "-C", str(folder), "python"], check=True)
    return made


def refused_here(mirror: Path, cache: Path, *arguments: str) -> str:
    """Offer a mirror's archive to this machine; it must be refused and leave nothing. Return the message."""
    done = ours("install", ">=3.12", *arguments, cache=cache, mirror=mirror)
    return message_of(done, cache)


def refused_inside(alpine: AlpineHost, mirror: str, cache: str) -> str:
    """Offer a mirror's archive to the Alpine-like machine, in the same way."""
    done = alpine.ours("install", ">=3.12", env=alpine.settings(cache, mirror), check=False)
    return message_of(done, alpine.inside(cache))


def message_of(done: subprocess.CompletedProcess[str], cache: Path) -> str:
    assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr
    # Otherwise something else was the matter, and the test would show nothing.
    assert re.search(r"downloading cpython-3\.\S+: done, ", done.stderr), done.stderr
    assert_nothing_published(cache)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("provision-backend: downloading ")]
    message = "\n".join(lines)
    # The folder of an attempt is gone; the archive is what can be looked at.
    assert "staging" not in message
    return re.sub(r"cpython-3[^/' ]*\.tar\.gz/", "", message)


def assert_nothing_published(cache: Path) -> None:
    """There is no interpreter in the cache, no tree that could become one, and no file to make it of again."""
    left = [path for name in ("interpreters", "staging", "downloads") for path in (cache / name).rglob("*")]
    assert [path for path in left if path.is_file() or path.parent.name != "downloads"] == []


def test_a_static_interpreter_is_refused(alpine: AlpineHost) -> None:
    """A statically linked CPython starts and has ssl, and can import no extension module of any wheel."""
    archive = static_musl_archive()
    offer(alpine.inside("/build/static"), archive)

    assert refused_inside(alpine, "/build/static", "/build/static-cache") == (
        "provision-backend: 'python/bin/python3.13' is statically linked: it could not import a single extension "
        f"module from a wheel, wanted an interpreter that the loader of {MUSL} starts\n"
        "  dynamically linked musl builds exist from tag 20250311 on"
    )


def test_a_build_ends_with_the_reason(alpine: AlpineHost) -> None:
    """A frontend shows the message of a refusal and none of our tracebacks, and makes no wheel."""
    archive = static_musl_archive()
    offer(alpine.inside("/build/static"), archive)
    pure(alpine.inside("/build/pure"), requires_python=">=3.13")
    settings = alpine.settings("/build/build-cache", "/build/static")

    done = alpine.build("/build/pure", "--wheel", env=settings, check=False)

    assert done.returncode == 1
    assert "python/bin/python3.13' is statically linked: " in done.stderr
    assert 'File "' not in done.stdout + done.stderr
    assert not alpine.inside("/build/pure/dist").exists() or not list(alpine.inside("/build/pure/dist").iterdir())
    assert_nothing_published(alpine.inside("/build/build-cache"))


def name_modules_for_glibc(tree: Path) -> None:
    """Make of a musl build what those of 3.12 and older were before tag 20251028 (python-build-standalone#724)."""
    old, new = b"x86_64-linux-musl", b"x86_64-linux-gnu"
    program = tree / "bin" / "python3.13"
    content = program.read_bytes()
    # The texts end with NUL, so a shorter one fits: what modules are called, and sys.implementation._multiarch.
    for before, after in ((b".cpython-313-%s.so\0", b".cpython-313-%s.so\0\0"), (b"\0%s\0", b"\0%s\0\0")):
        assert content.count(before % old) == 1
        content = content.replace(before % old, after % new)
    program.write_bytes(content)
    for path in sorted(tree.rglob(f"*{old.decode()}*"), reverse=True):
        path.rename(path.with_name(path.name.replace(old.decode(), new.decode())))
    record = tree / "lib" / "python3.13" / f"_sysconfigdata__linux_{new.decode()}.py"
    record.write_bytes(record.read_bytes().replace(old, new))


def record_modules_for_glibc(tree: Path) -> None:
    """Change only what sysconfig says, so that the interpreter does not import what it builds."""
    record = next((tree / "lib" / "python3.13").glob("_sysconfigdata_*.py"))
    text = record.read_text(encoding="utf-8")
    assert text.count("cpython-313-x86_64-linux-musl'") == 1
    text = text.replace("cpython-313-x86_64-linux-musl", "cpython-313-x86_64-linux-gnu")
    record.write_text(text, encoding="utf-8")


_NAMED_FOR_GLIBC = "wanted extension modules named for musl, found '.cpython-313-x86_64-linux-gnu.so'"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        pytest.param(name_modules_for_glibc, _NAMED_FOR_GLIBC, id="all of it"),
        pytest.param(
            record_modules_for_glibc,
            f"{_NAMED_FOR_GLIBC}; wanted extension modules named as it imports them "
            "(.cpython-313-x86_64-linux-musl.so, .abi3.so, .so), found '.cpython-313-x86_64-linux-gnu.so'",
            id="the record only",
        ),
    ],
)
def test_a_musl_build_that_names_its_modules_for_glibc_is_refused(
    alpine: AlpineHost, musl: Path, tmp_path: Path, change: Callable[[Path], None], wrong: str
) -> None:
    """Such a build imports no musllinux wheel, and what it builds is imported by no other interpreter on musl."""
    made = changed(musl, tmp_path / "changed", change)
    name = change.__name__
    offer(alpine.inside(f"/build/{name}"), made)

    assert refused_inside(alpine, f"/build/{name}", f"/build/{name}-cache") == (
        f"provision-backend: 'python/bin/python3.13' is not what its archive says: {wrong}"
    )


def test_the_imitation_of_an_old_musl_build_runs(alpine: AlpineHost, musl: Path) -> None:
    """What the test above changes leaves a sound interpreter, whose only fault is the name of its modules."""
    changed(musl, alpine.inside("/build/imitation"), name_modules_for_glibc)

    code = "import math, ssl, sys, sysconfig; print(sysconfig.get_config_var('SOABI'), sys.implementation._multiarch)"

    answer = alpine.run(["/build/imitation/python/bin/python3.13", "-c", code]).stdout
    assert answer == "cpython-313-x86_64-linux-gnu x86_64-linux-gnu\n"


def test_an_archive_for_glibc_is_refused_on_musl(alpine: AlpineHost) -> None:
    """The bytes of a build for glibc under the name of one for musl are seen before they are started."""
    archive = standalone_archive()
    offer(alpine.inside("/build/gnu"), archive, named=renamed(archive, GNU, MUSL))

    assert refused_inside(alpine, "/build/gnu", "/build/gnu-cache") == (
        f"provision-backend: 'python/bin/python{minor_of(archive)}' is not for this host: "
        f"wanted {MUSL}, found x86_64 with the loader '/lib64/ld-linux-x86-64.so.2'"
    )


def need_a_function_that_musl_lacks(tree: Path) -> None:
    """Make it need what this musl has not, as a current build does on musl before 1.1.24 (uv#16341)."""
    program = tree / "bin" / "python3.13"
    content = program.read_bytes()
    assert content.count(b"\0copy_file_range\0") >= 1
    program.write_bytes(content.replace(b"\0copy_file_range\0", b"\0copy_file_r4nge\0"))


def test_an_archive_for_a_newer_musl_is_refused(alpine: AlpineHost, musl: Path, tmp_path: Path) -> None:
    """There are no symbol versions in musl, so it is the smoke run that finds out, and the loader's words are shown."""
    made = changed(musl, tmp_path / "changed", need_a_function_that_musl_lacks)
    offer(alpine.inside("/build/newer"), made)

    assert refused_inside(alpine, "/build/newer", "/build/newer-cache") == (
        "provision-backend: 'python/bin/python3.13' could not be loaded: a library or a symbol that it needs is "
        "missing\n"
        "  Error relocating python/bin/python3.13: copy_file_r4nge: symbol not found"
    )


def test_an_archive_for_musl_is_refused_on_glibc(gnu: Path, musl: Path, tmp_path: Path) -> None:
    """Where the package musl is installed it would even start; no manylinux wheel could be imported by it."""
    mirror = offer(tmp_path / "mirror", musl, named=renamed(musl, MUSL, GNU))

    assert refused_here(mirror, tmp_path / "cache") == (
        "provision-backend: 'python/bin/python3.13' is not for this host: "
        f"wanted {GNU}, found x86_64 with the loader '/lib/ld-musl-x86_64.so.1'"
    )


def test_an_archive_of_another_architecture_is_refused(gnu: Path, tmp_path: Path) -> None:
    """The executable is for aarch64; without a look at it, the kernel's refusal would be all there is to see."""
    archive = tmp_path / f"cpython-3.13.5+20251120-{GNU}-install_only.tar.gz"
    program, library = tmp_path / "python3.13", tmp_path / "os.py"
    program.write_bytes(elf_bytes("zig/aarch64-linux-gnu"))
    program.chmod(0o755)
    library.write_text("")
    with tarfile.open(str(archive), "w:gz") as tar:
        tar.add(str(program), "python/bin/python3.13")
        tar.add(str(library), "python/lib/python3.13/os.py")
    mirror = offer(tmp_path / "mirror", archive)

    assert refused_here(mirror, tmp_path / "cache") == (
        "provision-backend: 'python/bin/python3.13' is not for this host: "
        f"wanted {GNU}, found aarch64 with the loader '/lib/ld-linux-aarch64.so.1'"
    )


def test_a_target_is_checked_as_a_host_is(gnu: Path, tmp_path: Path) -> None:
    """Where somebody names the target, the archive must be for that one, whatever this machine could run."""
    target = "aarch64-unknown-linux-gnu"
    mirror = offer(tmp_path / "mirror", gnu, named=renamed(gnu, GNU, target))

    assert refused_here(mirror, tmp_path / "cache", "--target", target) == (
        f"provision-backend: 'python/bin/python{minor_of(gnu)}' is not for this host: "
        f"wanted {target}, found x86_64 with the loader '/lib64/ld-linux-x86-64.so.2'"
    )


def need_a_newer_glibc(tree: Path) -> None:
    """Raise the newest glibc that the interpreter needs to 2.99: the version's name and the hash beside it."""
    program = next(path for path in (tree / "bin").glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name))
    content = bytearray(program.read_bytes())
    with program.open("rb") as file:
        elf = ELFFile(file)
        section: Any = elf.get_section_by_name(".gnu.version_r")
        wanted = [version for _, versions in section.iter_versions() for version in versions]
        highest = max((version for version in wanted if re.fullmatch(r"GLIBC_2\.\d\d", version.name)), key=by_name)
        name = elf.get_section(section["sh_link"])["sh_offset"] + highest["vna_name"]
        start, end = section["sh_offset"], section["sh_offset"] + section["sh_size"]
    old, new = highest.name.encode(), b"GLIBC_2.99"
    assert content[name : name + len(old) + 1] == old + b"\0"
    content[name : name + len(old)] = new
    assert content.count(packed_hash(old), start, end) == 1
    content[start:end] = content[start:end].replace(packed_hash(old), packed_hash(new))
    program.write_bytes(content)


def by_name(version: Any) -> str:
    """Sort versions, all of which have two digits after 2."""
    return str(version.name)


def packed_hash(name: bytes) -> bytes:
    """Return the hash of a version's name as it stands in the file."""
    return hash_of(name).to_bytes(4, "little")


def hash_of(name: bytes) -> int:
    """Return the hash by which the loader compares version names (System V gABI, Hash Table)."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high
    return value


def test_an_archive_for_a_newer_glibc_is_refused(gnu: Path, tmp_path: Path) -> None:
    """What it needs is read from its symbol versions, and the real loader agrees that it does not start."""
    made = changed(gnu, tmp_path / "changed", need_a_newer_glibc)
    mirror = offer(tmp_path / "mirror", made)
    version = json.loads(ours("detect", "--json", cache=tmp_path / "none").stdout)["libc_version"]

    started, said = start(tmp_path / "changed" / "python" / "bin" / f"python{minor_of(gnu)}")

    assert not started
    assert "version `GLIBC_2.99' not found" in said
    assert refused_here(mirror, tmp_path / "cache") == (
        f"provision-backend: 'python/bin/python{minor_of(gnu)}' needs a newer libc than this host has: "
        f"wanted GLIBC_2.99 or newer, found glibc {version}"
    )


def start(python: Path) -> Tuple[bool, str]:
    command: List[str] = [str(python), "-c", ""]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode == 0, done.stderr
