"""An unpacked tree becomes usable: which files change, which must not, and what a real compiler makes of it."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

from provision_backend.errors import InstallError, UnpackError
from provision_backend.install.install import finalize_tree, find_executable
from provision_backend.processes import run_interpreter_json
from provision_backend.variables import clean_environment

DATA = Path(__file__).parent / "data" / "sysconfig"
FINAL = Path("/cache/interpreters/cpython")
TREES = {
    "gnu-3.10": "python3.10",
    "aarch64-3.13": "python3.13",
    "musl-3.13t": "python3.13t",
    "gnu-3.14": "python3.14",
    "macos-3.13": "python3.13",
}


def make_tree(folder: Path, name: str = "gnu-3.10") -> Path:
    tree = folder / "python"
    shutil.copytree(str(DATA / name), str(tree))
    (tree / "bin").mkdir(exist_ok=True)
    (tree / "bin" / TREES[name]).write_bytes(b"\x7fELF")
    return tree


def build_record(tree: Path) -> Path:
    return next(tree.glob("lib/*/_sysconfigdata*.py"))


def contents(tree: Path) -> Dict[str, object]:
    """Return what every file of a tree holds and every link points to, with modes."""
    return {
        str(path.relative_to(tree)): os.readlink(str(path))
        if path.is_symlink()
        else (path.stat().st_mode, path.read_bytes())
        for path in tree.rglob("*")
        if path.is_symlink() or path.is_file()
    }


class TestFinalizeTree:
    """`finalize_tree`."""

    @pytest.mark.parametrize("name", sorted(TREES))
    def test_nothing_names_the_build_machine(self, tmp_path: Path, name: str) -> None:
        """Of a tree in any of the real forms, no file names the build prefix or the build machine's compiler."""
        tree = make_tree(tmp_path, name)
        finalize_tree(tree, final_path=FINAL)

        record = build_record(tree).read_text(encoding="utf-8")
        for text in ("'/install'", "/install/bin", "/tools/llvm", "'clang", "musl-clang -", "linux-gnu-gcc -"):
            assert text not in record
        assert f"'prefix': '{FINAL}'" in record

    @pytest.mark.parametrize("name", sorted(TREES))
    @pytest.mark.parametrize("final", ["/cache/x", '/home/a gcc\'s "ü"\\n $x %s/y', "/install/x"])
    def test_finalizing_twice_is_finalizing_once(self, tmp_path: Path, name: str, final: str) -> None:
        """The second time no byte, no mode and no link changes."""
        tree = make_tree(tmp_path, name)
        finalize_tree(tree, final_path=Path(final))
        once = contents(tree)
        finalize_tree(tree, final_path=Path(final))

        assert contents(tree) == once

    def test_every_kind_of_record_is_patched(self, tmp_path: Path) -> None:
        """Makefile, config script and pkg-config file say the same as the module."""
        tree = make_tree(tmp_path)
        finalize_tree(tree, final_path=FINAL)

        assert f"prefix=\t\t{FINAL}\n" in next(tree.glob("lib/*/config-*/Makefile")).read_text(encoding="utf-8")
        assert f'prefix="{FINAL}"\n' in (tree / "bin/python3.10-config").read_text(encoding="utf-8")
        pkgconfig = (tree / "lib/pkgconfig/python-3.10.pc").read_text(encoding="utf-8")
        assert "prefix=${pcfiledir}/../..\n" in pkgconfig

    def test_json_record_is_patched(self, tmp_path: Path) -> None:
        """The second record of CPython 3.14 is not forgotten."""
        tree = make_tree(tmp_path, "gnu-3.14")
        finalize_tree(tree, final_path=FINAL)

        text = next(tree.glob("lib/*/_sysconfig_vars_*.json")).read_text(encoding="utf-8")
        assert f'"prefix": "{FINAL}"' in text
        assert "/tools/" not in text

    def test_config_script_finds_a_path_with_a_space(self, tmp_path: Path) -> None:
        """The script, run by a real shell, names the tree although its path has a space."""
        tree = make_tree(tmp_path)
        finalize_tree(tree, final_path=tmp_path / "my place")
        moved = tree.rename(tmp_path / "my place")
        script = moved / "bin" / "python3.10-config"
        printed = [
            subprocess.check_output([str(script), option]).decode().strip() for option in ("--prefix", "--includes")
        ]

        assert printed == [str(moved), f"-I{moved}/include/python3.10"]

    @pytest.mark.parametrize("name", ["gnu-3.10", "musl-3.13t"])
    def test_pip_is_told_to_keep_out(self, tmp_path: Path, name: str) -> None:
        """The marker stands in the standard library and has the form that pip reads (PEP 668)."""
        tree = make_tree(tmp_path, name)
        finalize_tree(tree, final_path=FINAL)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(str(tree / "lib" / TREES[name] / "EXTERNALLY-MANAGED"), encoding="utf-8")
        lines = parser["externally-managed"]["Error"].splitlines()

        assert lines[0] == "This Python is managed by provision-backend and shared by all builds on this"
        assert f"{FINAL}/bin/{TREES[name]} -m venv path/to/environment" in lines

    def test_the_command_for_an_environment_is_one_that_works(self, tmp_path: Path) -> None:
        """The interpreter is in no PATH, so it is named in full, and as a shell takes it."""
        place = tmp_path / "my place"
        tree = make_tree(tmp_path)
        finalize_tree(tree, final_path=place)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(str(tree / "lib" / "python3.10" / "EXTERNALLY-MANAGED"), encoding="utf-8")
        command = next(line for line in parser["externally-managed"]["Error"].splitlines() if " -m venv " in line)

        assert shlex.split(command) == [f"{place}/bin/python3.10", "-m", "venv", "path/to/environment"]

    def test_missing_links_are_made(self, tmp_path: Path) -> None:
        """Archives of 2023 have no bin/python; the links follow the tree."""
        tree = make_tree(tmp_path)
        finalize_tree(tree, final_path=FINAL)

        assert [os.readlink(str(tree / "bin" / name)) for name in ("python", "python3")] == ["python3.10"] * 2

    def test_present_links_are_kept(self, tmp_path: Path) -> None:
        """What an archive has is not replaced."""
        tree = make_tree(tmp_path)
        (tree / "bin" / "python").symlink_to("elsewhere")
        finalize_tree(tree, final_path=FINAL)

        assert os.readlink(str(tree / "bin" / "python")) == "elsewhere"

    def test_modes_are_kept(self, tmp_path: Path) -> None:
        """A patched file is as executable and as read-only as it was."""
        tree = make_tree(tmp_path)
        build_record(tree).chmod(0o444)
        (tree / "bin/python3.10-config").chmod(0o755)
        finalize_tree(tree, final_path=FINAL)

        modes = [stat.S_IMODE(path.stat().st_mode) for path in (build_record(tree), tree / "bin/python3.10-config")]
        assert modes == [0o444, 0o755]

    def test_stale_bytecode_is_removed(self, tmp_path: Path) -> None:
        """Compiled copies of a patched module go, those of others stay."""
        tree = make_tree(tmp_path)
        cache = build_record(tree).parent / "__pycache__"
        cache.mkdir()
        (cache / (build_record(tree).stem + ".cpython-310.pyc")).touch()
        (cache / "os.cpython-310.pyc").touch()
        finalize_tree(tree, final_path=FINAL)

        assert [path.name for path in cache.iterdir()] == ["os.cpython-310.pyc"]

    def test_no_temporary_file_stays(self, tmp_path: Path) -> None:
        """Besides marker and links a tree has no file that it did not have."""
        tree = make_tree(tmp_path)
        before = set(contents(tree))
        finalize_tree(tree, final_path=FINAL)

        assert set(contents(tree)) - before == {"lib/python3.10/EXTERNALLY-MANAGED", "bin/python", "bin/python3"}

    @pytest.mark.parametrize(
        "inside",
        [
            "bin/python3.10-config",
            "lib/pkgconfig/python-3.10.pc",
            "lib/pkgconfig",
            "lib/python3.10/EXTERNALLY-MANAGED",
            "lib/python3.10/config-3.10-x86_64-linux-gnu/Makefile",
            "lib/python3.10/config-3.10-x86_64-linux-gnu",
        ],
    )
    def test_links_lead_no_write_out_of_the_tree(self, tmp_path: Path, inside: str) -> None:
        """A file or folder that is a link is left alone, and what it points to does not change."""
        tree, outside = make_tree(tmp_path), tmp_path / "outside"
        if (tree / inside).exists():
            (tree / inside).rename(outside)
        else:
            outside.write_text("mine")
        (tree / inside).symlink_to(outside)
        before = outside.read_bytes() if outside.is_file() else contents(outside)
        finalize_tree(tree, final_path=FINAL)

        assert (outside.read_bytes() if outside.is_file() else contents(outside)) == before

    @pytest.mark.parametrize(
        ("inside", "message"),
        [
            pytest.param("bin", "holds no interpreter: wanted the file bin/python3.X", id="programs"),
            pytest.param("bin/python3.10", "holds no interpreter: wanted the file bin/python3.X", id="interpreter"),
            pytest.param("lib", "holds no standard library: wanted the folder lib/python3.10", id="libraries"),
            pytest.param(
                "lib/python3.10", "holds no standard library: wanted the folder lib/python3.10", id="standard library"
            ),
            pytest.param(
                "lib/python3.10/_sysconfigdata__linux_x86_64-linux-gnu.py",
                "does not say how it was built: wanted the file lib/python3.10/_sysconfigdata*.py",
                id="build record",
            ),
        ],
    )
    @pytest.mark.parametrize("linked", [True, False], ids=["linked", "missing"])
    def test_tree_without_a_needed_part_is_refused(
        self, tmp_path: Path, inside: str, message: str, linked: bool
    ) -> None:
        """What is missing is named, and a link that leads to it elsewhere is no substitute."""
        tree, outside = make_tree(tmp_path), tmp_path / "outside"
        (tree / inside).rename(outside)
        before = contents(tmp_path)
        if linked:
            (tree / inside).symlink_to(outside)
        with pytest.raises(UnpackError) as caught:
            finalize_tree(tree, final_path=FINAL)

        assert str(caught.value) == f"{tree} {message}"
        assert {name: held for name, held in contents(tmp_path).items() if name in before} == before

    def test_unreadable_file_is_named(self, tmp_path: Path) -> None:
        """An error of the file system is told with the file, and no half-written file stays."""
        tree = make_tree(tmp_path)
        marker = tree / "lib" / "python3.10" / "EXTERNALLY-MANAGED"
        marker.mkdir()
        with pytest.raises(InstallError) as caught:
            finalize_tree(tree, final_path=FINAL)

        assert caught.value.message.startswith(f"could not finalize {tree}: Is a directory: ")
        assert not list(tree.rglob(".EXTERNALLY-MANAGED.*"))


class TestFindExecutable:
    """`find_executable`."""

    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            pytest.param(["python3.12", "python3.12-config", "pip3.12"], "python3.12", id="usual"),
            pytest.param(["python3.13", "python3.13t"], "python3.13t", id="free-threaded"),
            pytest.param(["python3.13d", "python3.13-gdb.py"], "python3.13d", id="debug"),
        ],
    )
    def test_is_the_file_that_names_its_version(self, tmp_path: Path, files: List[str], expected: str) -> None:
        """Links and other programs beside it are not taken for the interpreter."""
        (tmp_path / "bin").mkdir()
        for name in files:
            (tmp_path / "bin" / name).touch()
        for name in ("python", "python3", "python3.11"):
            (tmp_path / "bin" / name).symlink_to(expected)

        assert find_executable(tmp_path) == tmp_path / "bin" / expected

    def test_windows_has_it_at_the_top(self, tmp_path: Path) -> None:
        """There the interpreter lies beside its folders."""
        (tmp_path / "python.exe").touch()

        assert find_executable(tmp_path) == tmp_path / "python.exe"


ASK = """
import json, sysconfig
names = ("LIBDIR", "INCLUDEPY", "LDSHARED", "CC", "PYTHON_BUILD_STANDALONE")
print(json.dumps({name: sysconfig.get_config_var(name) for name in names}))
"""

SETUP = """\
from setuptools import Extension, setup
setup(name="spam", version="1", ext_modules=[Extension("spam", ["spam.c"])])
"""

SOURCE = """\
#include <Python.h>
static struct PyModuleDef spam = {PyModuleDef_HEAD_INIT, "spam", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_spam(void) { return PyModule_Create(&spam); }
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of an installed CPython whose build record names /install, as an archive's does."""
    support = pytest.importorskip("support.real_interpreters")
    hosts = [host for host in support.host_interpreters() if host.has_venv and host.prefix != Path("/usr")]
    # The wheels that ensurepip brings have had no setuptools since 3.12.
    hosts = [host for host in hosts if list(host.prefix.glob("lib/python3.*/ensurepip/_bundled/setuptools-*.whl"))]
    if not hosts or not shutil.which("cc"):
        pytest.skip("no CPython that brings setuptools is installed outside /usr, or no C compiler is")
    source = hosts[-1].prefix
    tree = tmp_path_factory.mktemp("real") / "staging" / "python"
    ignored = shutil.ignore_patterns("__pycache__", "test", "site-packages", "*.a", "share")
    shutil.copytree(str(source), str(tree), symlinks=True, ignore=ignored)
    for pattern in ("lib/python3*/_sysconfigdata*.py", "lib/python3*/config-*/Makefile", "lib/pkgconfig/*.pc"):
        for path in tree.glob(pattern):
            path.write_bytes(path.read_bytes().replace(str(source).encode(), b"/install").replace(b"'gcc", b"'clang"))
    return tree


def build_extension(python: Path, folder: Path) -> str:
    """Build an extension module in a virtual environment of an interpreter and import it; return the build's output."""
    environ = clean_environment()
    subprocess.run([str(python), "-I", "-m", "venv", str(folder / "venv")], env=environ, check=True)
    inner = str(folder / "venv" / "bin" / "python")
    (folder / "setup.py").write_text(SETUP)
    (folder / "spam.c").write_text(SOURCE)
    command = [inner, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(
        command, cwd=str(folder), env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, done.stdout.decode()
    subprocess.run([inner, "-c", "import spam"], cwd=str(folder), env=environ, check=True)
    return done.stdout.decode()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the layout of other systems differs")
def test_real_interpreter_builds_extensions_wherever_it_lies(unpacked: Path, tmp_path: Path) -> None:
    """A real tree in a path with a space says where it is and compiles C, and still does after it was moved."""
    final = tmp_path / "final place"
    finalize_tree(unpacked, final_path=final)
    for place in (final, tmp_path / "mounted elsewhere"):
        unpacked = unpacked.rename(place)
        python = find_executable(place)
        values = run_interpreter_json(python, ASK)

        assert (values["LIBDIR"], values["INCLUDEPY"]) == (f"{place}/lib", f"{place}/include/{python.name}")
        assert (values["CC"].split()[0], shlex.split(values["LDSHARED"])[0]) == ("cc", "cc")
        assert values["PYTHON_BUILD_STANDALONE"] == 1
        folder = tmp_path / f"project of {place.name}"
        folder.mkdir()
        assert f"{place}/include" in build_extension(python, folder)
