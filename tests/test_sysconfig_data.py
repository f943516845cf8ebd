"""What a build recorded about itself: every form that real trees have, and paths that break careless replacement."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from provision_backend.errors import UnpackError
from provision_backend.install.sysconfig_data import (
    LIBRARY_ROOM,
    clean_value,
    patch_config_script,
    patch_json,
    patch_makefile,
    patch_module,
    patch_pkgconfig,
    patch_program,
    replace_prefix,
)

DATA = Path(__file__).parent / "data" / "sysconfig"
FINAL = "/cache/interpreters/cpython-3.13.9"
MODULE = 'build_time_vars = {\n    "LIBDIR": "/install/lib",\n    "prefix": "/install",\n}\n'
TAIL = "/lib/python3.13/_sysconfigdata__linux_x86_64-linux-gnu.py"

HOSTILE = [
    pytest.param("/home/a user/x", id="space"),
    pytest.param("/home/o'neill/x", id="single quote"),
    pytest.param('/home/"a"/x', id="double quotes"),
    pytest.param("/home/a\\nb/\\1", id="backslashes"),
    pytest.param("/home/ünï/日本", id="not ASCII"),
    pytest.param("/home/\udcff/x", id="not UTF-8"),
    pytest.param("/home/100%s/%(x)s/{y}", id="format characters"),
    pytest.param("/home/$HOME/`x`/#;&", id="shell characters"),
    pytest.param("/home/a gcc clang/x", id="compilers in the path"),
    pytest.param("/install/cache/x", id="below the build prefix"),
    pytest.param("/opt/install", id="ends like the build prefix"),
]


def run_module(text: str, file: Optional[str] = None) -> Dict[str, Any]:
    names: Dict[str, Any] = {} if file is None else {"__file__": file}
    exec(compile(text, "module", "exec"), names)
    values: Dict[str, Any] = names["build_time_vars"]
    return values


def patch_fixture(name: str, prefix: str = FINAL) -> Dict[str, Any]:
    path = next((DATA / name).glob("lib/*/_sysconfigdata*.py"))
    tail = "/" + path.relative_to(DATA / name).as_posix()
    return run_module(patch_module(path.read_text(encoding="utf-8"), prefix=prefix, tail=tail))


def test_a_build_for_macos_compiles_on_any_mac() -> None:
    """Its SDK, its folders and its availability errors are gone; architecture, oldest macOS and frameworks stay."""
    values = patch_fixture("macos-3.13")

    kept = "-arch arm64 -mmacosx-version-min=11.0"
    assert (values["CC"], values["CXX"]) == ("cc", "c++")
    assert values["LDSHARED"] == values["BLDSHARED"] == f"cc -bundle -undefined dynamic_lookup {kept}"
    assert values["LDCXXSHARED"] == f"c++ -bundle -undefined dynamic_lookup {kept}"
    assert values["LDFLAGS"] == values["CONFIGURE_LDFLAGS"] == kept
    assert values["CFLAGS"].split()[-6:] == [
        *kept.split(), "-Wno-nullability-completeness", "-Wno-expansion-to-defined", "-Wno-undef-prefix", "-fPIC"
    ][-6:]  # fmt: skip
    assert values["AR"] == "ar"
    assert (values["LIBS"], values["LINKFORSHARED"]) == (
        "-ldl  -framework CoreFoundation",
        "-Wl,-stack_size,1000000  -framework CoreFoundation",
    )
    assert values["MACOSX_DEPLOYMENT_TARGET"] == "11.0"
    assert (values["prefix"], values["LIBDIR"]) == (FINAL, f"{FINAL}/lib")
    used = [value for name, value in values.items() if name != "CONFIG_ARGS" and isinstance(value, str)]
    assert not [value for value in used if "/var/folders" in value or "Xcode" in value]


class TestReplacePrefix:
    """`replace_prefix`."""

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            pytest.param("/install", "/new", id="alone"),
            pytest.param("/install/lib", "/new/lib", id="head of a path"),
            pytest.param("/install  /install/lib", "/new  /new/lib", id="list, spaces kept"),
            pytest.param("-L/install/lib -I/install/include", "-L/new/lib -I/new/include", id="options"),
            pytest.param("'--prefix=/install' '--x'", "'--prefix=/new' '--x'", id="assigned"),
            pytest.param("-Wl,-rpath,/install/lib", "-Wl,-rpath,/new/lib", id="after commas"),
            pytest.param("A=/install/a:/install/b", "A=/new/a:/new/b", id="search path"),
            pytest.param('-DPREFIX=\\"/install\\"', '-DPREFIX=\\"/new\\"', id="quoted"),
            pytest.param("/installer/lib", "/installer/lib", id="longer name"),
            pytest.param("/install-old /install.d", "/install-old /install.d", id="name with a suffix"),
            pytest.param("/usr/install /usr/bin/install -c", "/usr/install /usr/bin/install -c", id="deeper"),
            pytest.param("./install/lib ${x}/install", "./install/lib ${x}/install", id="relative"),
            pytest.param(8, 8, id="number"),
        ],
    )
    def test_replaces_heads_of_paths_only(self, value: object, expected: object) -> None:
        """The prefix is found wherever a path begins, and nowhere else."""
        assert replace_prefix({"x": value}, "/install", "/new") == {"x": expected}

    @pytest.mark.parametrize("new", HOSTILE)
    def test_words_of_a_command_stay_words(self, new: str) -> None:
        """Split as a shell does it, a command names the new path whatever characters that has."""
        value = "cc -L/install/lib '-I/install/include' \"-B/install\" -Wl,-rpath,/install/lib"
        moved = replace_prefix({"x": value}, "/install", new)["x"]

        assert shlex.split(moved) == ["cc", f"-L{new}/lib", f"-I{new}/include", f"-B{new}", f"-Wl,-rpath,{new}/lib"]

    @pytest.mark.parametrize("new", HOSTILE)
    def test_paths_are_not_quoted(self, new: str) -> None:
        """A value that is a path is used as it is by every tool."""
        assert replace_prefix({"x": "/install/lib"}, "/install", new) == {"x": f"{new}/lib"}

    @pytest.mark.parametrize("new", HOSTILE)
    def test_replacing_twice_is_replacing_once(self, new: str) -> None:
        """What was replaced is left alone."""
        once = replace_prefix({"x": "/install/lib", "y": "cc '-L/install' -L/install/lib"}, "/install", new)

        assert replace_prefix(once, "/install", new) == once

    @pytest.mark.parametrize("old", HOSTILE)
    def test_a_moved_tree_can_move_again(self, old: str) -> None:
        """What was quoted for one path is found again and quoted for the next."""
        values = replace_prefix(
            {"x": "/install/lib", "y": "cc \"-B/install\" '-L/install' -L/install/lib"}, "/install", old
        )
        moved = replace_prefix(values, old, "/new place")

        assert moved["x"] == "/new place/lib"
        assert shlex.split(moved["y"]) == ["cc", "-B/new place", "-L/new place", "-L/new place/lib"]

    def test_moving_up_is_moving(self) -> None:
        """A new place above the old one is not mistaken for what was replaced already."""
        assert replace_prefix({"x": "/a/b/lib"}, "/a/b", "/a") == {"x": "/a/lib"}


class TestCleanValue:
    """`clean_value`."""

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            pytest.param("CC", "clang -pthread", "cc -pthread", id="clang"),
            pytest.param("CC", "musl-clang", "cc", id="musl-clang"),
            pytest.param("CC", "/usr/bin/aarch64-linux-gnu-gcc", "cc", id="cross gcc"),
            pytest.param("CC", "riscv64-linux-gnu-clang-19", "cc", id="cross clang with version"),
            pytest.param("CC", "/tools/llvm/bin/clang", "cc", id="the build machine's clang"),
            pytest.param("CC", "ccache gcc -m32", "ccache cc -m32", id="behind a launcher"),
            pytest.param("CC", "cc", "cc", id="already there"),
            pytest.param("CC", "icc -gcc", "icc -gcc", id="another compiler"),
            pytest.param("LDSHARED", "clang -shared  -L/x/clang/lib", "cc -shared  -L/x/clang/lib", id="options kept"),
            pytest.param("LDSHARED", "clang -shared -static", "cc -shared -static", id="static flag kept"),
            pytest.param("CXX", "clang++ -pthread", "c++ -pthread", id="clang++"),
            pytest.param("CXX", "/usr/bin/s390x-linux-gnu-g++", "c++", id="cross g++"),
            pytest.param("CXX", "", "c++", id="no C++ compiler"),
            pytest.param("LDCXXSHARED", "clang++ -shared", "c++ -shared", id="C++ linker"),
            pytest.param("LDCXXSHARED", "-shared", "c++ -shared", id="C++ linker without program"),
            pytest.param("LDCXXSHARED", "", "", id="no C++ linker recorded"),
            pytest.param("AR", "/tools/llvm/bin/llvm-ar", "ar", id="llvm-ar"),
            pytest.param("AR", "/var/folders/T/tools/llvm/bin/llvm-ar", "ar", id="llvm-ar of macOS"),
            pytest.param("AR", "", "", id="no archiver"),
            pytest.param("RANLIB", "/tools/llvm/bin/llvm-ranlib", "ranlib", id="llvm-ranlib"),
            pytest.param("X", "/tools/llvm/bin/llvm-profdata merge", "llvm-profdata merge", id="LLVM's own tool"),
            pytest.param("X", "clang gcc", "clang gcc", id="a variable that names no compiler"),
            pytest.param("CFLAGS", "-O3  -fdebug-default-version=4 -fPIC", "-O3  -fPIC", id="flag of clang"),
            pytest.param("CFLAGS", "-fPIC -I/tools/deps/include -I/tools/deps/x/y", "-fPIC", id="include folders"),
            pytest.param("LDFLAGS", "-L/tools/deps/lib -Wl,-x", "-Wl,-x", id="library folders"),
            pytest.param("LDFLAGS", " -Wl,-x -LModules/_hacl", " -Wl,-x", id="folder of the build tree"),
            pytest.param("LIBS", "-lssl -l:libatomic.a -lz", "-lssl -lz", id="libatomic"),
            pytest.param("CFLAGS", "-isysroot /Xcode/SDK -O2", "-O2", id="SDK"),
            pytest.param(
                "LDFLAGS", "-L/var/folders/0w/T/tmpb/tools/deps/lib -Wl,-x", "-Wl,-x", id="a temporary folder of macOS"
            ),
            pytest.param("CFLAGS", "-O2 -Werror=unguarded-availability-new", "-O2", id="availability in the SDK"),
            pytest.param(
                "CFLAGS",
                "-isystem /tools/deps/linux-uapi/usr/include/x86_64 -isystem /tools/deps/linux-uapi/usr/include -O3",
                "-O3",
                id="kernel headers",
            ),
            pytest.param("CFLAGS", "-isystem /usr/local/x -O3", "-isystem /usr/local/x -O3", id="other headers"),
            pytest.param("CFLAGS", "-O3 -march=x86-64-v3 -Wall", "-O3 -Wall", id="microarchitecture level"),
            pytest.param("CFLAGS", "-march=armv7-a", "-march=armv7-a", id="the architecture itself"),
            pytest.param("LDFLAGS", "--rtlib=compiler-rt -Wl,-x", "-Wl,-x", id="run-time library of clang"),
            pytest.param("LDFLAGS", "-Wl,-z,now -Wl,--exclude-libs,ALL", "-Wl,-z,now", id="for its own libraries"),
            pytest.param(
                "CFLAGS",
                "-fstack-protector -fstack-clash-protection -U_FORTIFY_SOURCE",
                "-fstack-protector -U_FORTIFY_SOURCE",
                id="hardening that an old gcc refuses",
            ),
            pytest.param("X", "-L/tools/deps2 -LModules/_hacl2", "-L/tools/deps2 -LModules/_hacl2", id="longer names"),
            pytest.param("X", "'CFLAGS=-O2 -I/tools/deps/a' 'B'", "'CFLAGS=-O2 ' 'B'", id="quotes stay balanced"),
        ],
    )
    def test_keeps_what_works_here(self, name: str, value: str, expected: str) -> None:
        """Tools and flags of the build machine go, everything else stays as it was."""
        assert clean_value(name, value) == expected


class TestPatchProgram:
    """`patch_program`."""

    def test_the_room_is_filled_to_the_byte(self) -> None:
        """Whatever stands behind it in the file stays where it was; the folder of the library is the same path."""
        program = b"\x7fELF$ORIGIN/../lib:" + LIBRARY_ROOM.encode() + b"\0libm.so.6\0"
        patched = patch_program(program, "/home/é/c")
        path = patched[19:].partition(b"\0")[0].decode()

        assert (len(patched), patched[-11:]) == (len(program), program[-11:])
        assert os.path.normpath(path) == "/home/é/c/lib"
        assert patch_program(patched, "/other") == patched

    def test_a_path_that_is_too_long_stays_out(self) -> None:
        """Then a copy does not start, as without us."""
        program = LIBRARY_ROOM.encode()

        assert patch_program(program, "/" + "x" * 220) == program


class TestPatchModule:
    """`patch_module`."""

    @pytest.mark.parametrize("name", ["gnu-3.10", "aarch64-3.13", "musl-3.13t", "gnu-3.14"])
    def test_real_forms_end_alike(self, name: str) -> None:
        """Whatever wrote the module, compilers are those of every machine and paths are where the tree lies."""
        values = patch_fixture(name)
        stdlib = "python" + name.partition("-")[2]

        assert values["prefix"] == values["exec_prefix"] == FINAL
        assert values["DESTDIRS"] == f"{FINAL} {FINAL}/lib {FINAL}/lib/{stdlib} {FINAL}/lib/{stdlib}/lib-dynload"
        assert [values[tool].split()[0] for tool in ("CC", "LDSHARED", "LINKCC")] == ["cc", "cc", "cc"]
        assert [values[tool].split()[0] for tool in ("CXX", "LDCXXSHARED")] == ["c++", "c++"]
        assert (values["AR"], values["RANLIB"], values["PYTHON_BUILD_STANDALONE"]) == ("ar", "ranlib", 1)
        assert values["INSTALL"] == "/usr/bin/install -c"
        assert values["PYTHONPATH_OF_INSTALLER"] == "/installer/lib:/install-old/lib"
        assert values["SIZEOF_LONG"] == 8

    def test_flags_of_the_build_machine_go(self) -> None:
        """The flags with which extensions are built are those that every compiler knows."""
        values = patch_fixture("gnu-3.10")

        assert values["LDSHARED"] == "cc -pthread -shared"
        assert values["CFLAGS"] == "-Wno-unused-result -Wsign-compare -DNDEBUG -g -fwrapv -O3 -Wall  -fPIC"
        assert f"'--prefix={FINAL}'" in values["CONFIG_ARGS"]

    @pytest.mark.parametrize("prefix", HOSTILE)
    def test_any_path_survives(self, prefix: str) -> None:
        """The module says the path that was given, and patching what was patched changes no byte."""
        once = patch_module(MODULE, prefix=prefix, tail=TAIL)

        assert run_module(once)["LIBDIR"] == f"{prefix}/lib"
        assert patch_module(once, prefix=prefix, tail=TAIL) == once

    @pytest.mark.parametrize("prefix", HOSTILE)
    def test_any_path_survives_a_move(self, prefix: str) -> None:
        """A tree that was moved from or to a path with such characters says where it is."""
        away = patch_module(MODULE, prefix=prefix, tail=TAIL)
        back = patch_module(MODULE, prefix=FINAL, tail=TAIL)

        assert run_module(away, "/mnt/x" + TAIL)["LIBDIR"] == "/mnt/x/lib"
        assert run_module(back, prefix + TAIL)["LIBDIR"] == f"{prefix}/lib"

    @pytest.mark.parametrize(
        "file",
        [
            pytest.param(None, id="text run without a file"),
            pytest.param("", id="empty"),
            pytest.param(FINAL + TAIL, id="where it was installed"),
            pytest.param("/somewhere/else/script.py", id="run by another file"),
            pytest.param(TAIL.lstrip("/"), id="relative"),
            pytest.param("/cross/env/_sysconfigdata__linux_x86_64-linux-gnu.py", id="copied without its tree"),
        ],
    )
    def test_recorded_path_stands_where_the_tree_is_not_known(self, file: Optional[str]) -> None:
        """Only a file at its place in a tree may move the values."""
        assert run_module(patch_module(MODULE, prefix=FINAL, tail=TAIL), file)["LIBDIR"] == f"{FINAL}/lib"

    def test_runs_with_separate_locals(self) -> None:
        """A tool may run the text with a namespace of its own; nothing in it depends on globals."""
        names: Dict[str, Any] = {}
        exec(patch_module(MODULE, prefix=FINAL, tail=TAIL), {"__file__": "/mnt" + TAIL}, names)

        assert names["build_time_vars"]["prefix"] == "/mnt"

    def test_dictionary_is_a_plain_literal(self) -> None:
        """Tools that read the text and do not run it find one assignment with the final path."""
        text = patch_module(MODULE, prefix=FINAL, tail=TAIL)

        assert text.startswith(
            "# system configuration generated and used by the sysconfig module\n"
            "build_time_vars = {\n"
            f"    'LIBDIR': '{FINAL}/lib',\n"
            "    'PYTHON_BUILD_STANDALONE': 1,\n"
            f"    'prefix': '{FINAL}',\n"
            "}\n"
        )

    def test_module_without_prefix_stays_readable(self) -> None:
        """A record that lacks the prefix is patched and never moved."""
        text = patch_module("build_time_vars = {'CC': 'clang'}", prefix=FINAL, tail=TAIL)

        assert run_module(text, "/mnt" + TAIL) == {"CC": "cc", "PYTHON_BUILD_STANDALONE": 1}

    def test_other_assignments_are_passed_over(self) -> None:
        """Only the dictionary counts, wherever it stands in the module."""
        text = patch_module("import sys\nother = {'prefix': '/x'}\n" + MODULE, prefix=FINAL, tail=TAIL)

        assert run_module(text)["LIBDIR"] == f"{FINAL}/lib"

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="empty"),
            pytest.param("build_time_vars = {", id="cut off"),
            pytest.param("build_time_vars = {'a': open('/etc/passwd').read()}", id="code"),
            pytest.param("build_time_vars = ['a']", id="list"),
            pytest.param("build_time_vars = {1: 'a'}", id="number as a name"),
            pytest.param("build_time_vars = {[]: 'a'}", id="list as a name"),
            pytest.param("\0", id="null byte"),
            pytest.param("build_time_vars = " + "(" * 5000, id="deep"),
        ],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        """What is no literal dictionary is not run to find out."""
        with pytest.raises(UnpackError) as caught:
            patch_module(text, prefix=FINAL, tail=TAIL)

        assert str(caught.value) == f"{TAIL[1:]} is not what CPython writes: wanted build_time_vars = {{...}}"


class TestPatchJson:
    """`patch_json`."""

    def test_says_what_the_module_says(self) -> None:
        """CPython 3.14 records everything twice, and the second record is cleaned as well."""
        path = next((DATA / "gnu-3.14").glob("lib/*/_sysconfig_vars_*.json"))
        text = patch_json(path.read_text(encoding="utf-8"), prefix=FINAL, name=path.name)
        values, module = json.loads(text), patch_fixture("gnu-3.14")

        assert values["CFLAGS"] == "-fno-strict-overflow -O3  -fPIC"
        assert values["BLDSHARED"] == "cc -pthread -shared"
        assert (values["base"], values["projectbase"], values["userbase"]) == (FINAL, f"{FINAL}/bin", "/build/.local")
        differing = {name for name in module if module[name] != values[name]}
        assert differing == {"CFLAGS", "BLDSHARED"}

    @pytest.mark.parametrize("prefix", HOSTILE)
    def test_any_path_survives(self, prefix: str) -> None:
        """The file says the path that was given, and patching what was patched changes no byte."""
        once = patch_json('{"prefix": "/install", "LDSHARED": "clang -L/install"}', prefix=prefix, name="x.json")

        assert json.loads(once)["prefix"] == prefix
        assert patch_json(once, prefix=prefix, name="x.json") == once

    @pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100000], ids=["empty", "list", "cut off", "deep"])
    def test_anything_else_is_refused(self, text: str) -> None:
        """A file that is no JSON object is named."""
        with pytest.raises(UnpackError) as caught:
            patch_json(text, prefix=FINAL, name="x.json")

        assert str(caught.value) == "x.json is not what CPython writes: wanted a JSON object"


class TestPatchMakefile:
    """`patch_makefile`."""

    def test_real_form(self) -> None:
        """Paths, compilers and flags are replaced line by line; references to variables stay."""
        path = next((DATA / "gnu-3.10").glob("lib/*/config-*/Makefile"))

        assert patch_makefile(path.read_text(encoding="utf-8"), prefix="/a $b") == (
            "# Generated automatically from Makefile.pre by makesetup.\n"
            "VERSION=\t3.10\n"
            "CC=\t\tcc -pthread\n"
            "CXX=\t\tc++ -pthread\n"
            "AR=\t\tar\n"
            "INSTALL=\t/usr/bin/install -c\n"
            "prefix=\t\t/a $$b\n"
            "exec_prefix=\t${prefix}\n"
            "LDSHARED=\t$(CC) -shared $(PY_LDFLAGS)\n"
            "CONFIGURE_CFLAGS=\t-fPIC\n"
            "CONFIG_ARGS=\t '--prefix=/a $$b' 'CC=clang'\n"
            "LIBMPDEC=\t-L'/a $$b'/lib\n"
            "\n"
            "\t$(INSTALL) -d '/a $$b'/lib/python3.10\n"
        )

    @pytest.mark.parametrize("prefix", HOSTILE)
    def test_patching_twice_is_patching_once(self, prefix: str) -> None:
        """The second time no byte changes."""
        once = patch_makefile("prefix=\t/install\nCC=clang\nLDFLAGS=-L/install/lib\n", prefix=prefix)

        assert patch_makefile(once, prefix=prefix) == once


class TestPatchConfigScript:
    """`patch_config_script`."""

    @pytest.mark.parametrize("prefix", HOSTILE)
    def test_patching_twice_is_patching_once(self, prefix: str) -> None:
        """The second time no byte changes."""
        text = (DATA / "gnu-3.10" / "bin" / "python3.10-config").read_text(encoding="utf-8")
        once = patch_config_script(text, prefix=prefix)

        assert patch_config_script(once, prefix=prefix) == once
        assert "/tools/deps" not in once

    def test_prefix_that_sed_would_misread_is_not_written(self) -> None:
        """The script finds its place itself; a path with a character of sed's would only break it."""
        assert patch_config_script('prefix="/install"', prefix="/a#b") == 'prefix="/install"'
        assert patch_config_script('prefix="/install"', prefix="/a b") == 'prefix="/a b"'


class TestPatchPkgconfig:
    """`patch_pkgconfig`."""

    def test_prefix_is_computed(self) -> None:
        """Every other path is derived from a prefix that follows the file."""
        text = (DATA / "gnu-3.10" / "lib" / "pkgconfig" / "python-3.10.pc").read_text(encoding="utf-8")
        expected = text.replace("prefix=/install\n", "prefix=${pcfiledir}/../..\n").replace("-L/install", "-L${prefix}")

        assert patch_pkgconfig(text) == expected
        assert patch_pkgconfig(expected) == expected

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("prefix=${pcfiledir}/../..\nlibdir=${exec_prefix}/lib\n", id="relocatable"),
            pytest.param("prefix=/usr/install\nx=/installer\ny=./install\n", id="other paths"),
        ],
    )
    def test_what_names_no_build_prefix_stays(self, text: str) -> None:
        """A file of a newer archive is not touched."""
        assert patch_pkgconfig(text) == text
