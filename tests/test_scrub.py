"""How text files lose the names of the machine that built them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Dict

import pytest

from provision_backend.errors import PackError
from provision_backend.pack.installed import Installation
from provision_backend.pack.scrub import Scrubber, scrub_tree

COMPANY = Installation(
    executable=Path("/opt/company/python/bin/python3.13"),
    prefix=Path("/opt/company/python"),
    version="3.13.5",
    freethreaded=False,
    paths={
        "stdlib": "lib/python3.13",
        "platstdlib": "lib/python3.13",
        "purelib": "lib/python3.13/site-packages",
        "include": "include/python3.13",
    },
    config={
        "prefix": "/opt/company/python",
        "exec_prefix": "/opt/company/python",
        "abs_builddir": "/tmp/build.123/Python-3.13.5",
        "abs_srcdir": "/tmp/build.123/Python-3.13.5",
    },
    pip="25.1",
    program="python3.13",
)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        pytest.param("/opt/company/python/lib", "/install/lib", id="a path"),
        pytest.param("'--prefix=/opt/company/python' x", "'--prefix=/install' x", id="a quoted option"),
        pytest.param("./opt/company/python/bin", "./install/bin", id="below a folder of the build"),
        pytest.param("/opt/company/python3-tools", "/opt/company/python3-tools", id="a name that begins alike"),
        pytest.param("X=/tmp/build.123/Python-3.13.5/a", "X=/build/a", id="the folder of the build"),
        pytest.param(
            "gcc -shared -L/opt/company/python/lib -Wl,-rpath,/opt/company/python/lib", "gcc -shared", id="flags"
        ),
        pytest.param("-Wl,-rpath=/opt/company/python/lib -lm", " -lm", id="another spelling of RUNPATH"),
        pytest.param("-lssl -L/opt/openssl/lib64 -I/opt/openssl/include -O2", "-lssl -O2", id="folders of others"),
        pytest.param("-isystem /opt/x/include -g", " -g", id="system headers of others"),
        pytest.param("-I/usr/include/tirpc -L/usr/lib/x", "-I/usr/include/tirpc -L/usr/lib/x", id="of the system"),
        pytest.param("-I. -I./Include -LModules/_hacl", "-I. -I./Include -LModules/_hacl", id="relative folders"),
        pytest.param("'LDFLAGS=-L/opt/company/python/lib'", "'LDFLAGS='", id="a flag in quotes"),
        pytest.param(
            "-fdebug-prefix-map=x -Wl,--exclude-libs,ALL", "-fdebug-prefix-map=x -Wl,--exclude-libs,ALL", id="rest"
        ),
    ],
)
def test_names_of_the_machine_are_replaced(text: str, scrubbed: str) -> None:
    """Paths become /install and /build, search paths of the compiler go, everything else stays."""
    assert Scrubber(COMPANY).scrub(text) == scrubbed


def test_the_home_of_the_user_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.14 records the folder of the user's own packages."""
    monkeypatch.setenv("HOME", "/home/somebody")

    assert Scrubber(COMPANY).scrub("/home/somebody/.local") == "/build/.local"


def test_a_prefix_below_the_home_is_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest name decides."""
    monkeypatch.setenv("HOME", "/opt/company")

    assert Scrubber(COMPANY).scrub("/opt/company/python /opt/company/src") == "/install /build/src"


@pytest.mark.parametrize("home", ["/", ""], ids=["root folder", "empty"])
def test_a_home_that_is_no_folder_of_its_own_is_no_name(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    """Containers run with HOME=/, and every path begins with that."""
    monkeypatch.setenv("HOME", home)

    assert Scrubber(COMPANY).scrub("/usr/bin/install -c") == "/usr/bin/install -c"


def test_a_relocatable_tree_stays_as_it_is() -> None:
    """What was unpacked from python-build-standalone's archive has /install for its prefix already."""
    config = {**COMPANY.config, "prefix": "/install", "exec_prefix": "/install"}

    assert Scrubber(dataclasses.replace(COMPANY, config=config)).scrub("LIBDIR=/install/lib") == "LIBDIR=/install/lib"


def write(tree: Path, name: str, text: str) -> Path:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_sysconfig_is_rewritten_whatever_its_form(tmp_path: Path) -> None:
    """Older versions write single quotes and break long strings; newer ones do not."""
    text = "build_time_vars = {'LIBDIR': '/opt/company/python/lib',\n 'CC': 'gcc '\n       '-pthread', 'N': 1}\n"
    path = write(tmp_path, "lib/python3.13/_sysconfigdata__linux_x86_64-linux-gnu.py", text)

    scrub_tree(COMPANY, tmp_path)

    assert path.read_text(encoding="utf-8") == (
        "# system configuration generated and used by the sysconfig module\n"
        "build_time_vars = {\n    'CC': 'gcc -pthread',\n    'LIBDIR': '/install/lib',\n    'N': 1,\n}\n"
    )


def test_the_json_of_sysconfig_is_rewritten(tmp_path: Path) -> None:
    """Python 3.14 installs the same values as JSON."""
    values: Dict[str, Any] = {"prefix": "/opt/company/python", "N": 1, "LIBDIR": "/opt/company/python/lib"}
    path = write(tmp_path, "lib/python3.13/_sysconfig_vars__linux_x86_64-linux-gnu.json", json.dumps(values))

    scrub_tree(COMPANY, tmp_path)

    assert json.loads(path.read_text(encoding="utf-8")) == {"prefix": "/install", "N": 1, "LIBDIR": "/install/lib"}


def test_pkgconfig_names_the_prefix_once(tmp_path: Path) -> None:
    """Whoever unpacks has one line to rewrite."""
    text = "prefix=/opt/company/python\nexec_prefix=${prefix}\nlibdir=/opt/company/python/lib\nLibs: -L${libdir}\n"
    path = write(tmp_path, "lib/pkgconfig/python-3.13.pc", text)

    scrub_tree(COMPANY, tmp_path)

    assert path.read_text(encoding="utf-8") == (
        "prefix=/install\nexec_prefix=${prefix}\nlibdir=${prefix}/lib\nLibs: -L${libdir}\n"
    )


@pytest.mark.parametrize(
    "head",
    [
        "#!/opt/company/python/bin/python3.13\n",
        "#!/usr/bin/env python3\n",
        "#!/bin/sh\n'''exec' \"/a long path/python3.13\" \"$0\" \"$@\"\n' '''\n",
        '#!/bin/sh\n"exec" "$(dirname $0)/python3.13" "$0" "$@"\n',
    ],
    ids=["path", "env", "long path", "older standalone builds"],
)
def test_scripts_find_the_interpreter_beside_them(tmp_path: Path, head: str) -> None:
    """Every way in which a script names its interpreter becomes the one that can be moved."""
    path = write(tmp_path, "bin/pydoc3.13", f"{head}import pydoc\n")

    scrub_tree(COMPANY, tmp_path)

    assert path.read_text(encoding="utf-8") == (
        '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")/python3.13" "$0" "$@"\n\' \'\'\'\nimport pydoc\n'
    )


def test_a_shell_script_stays_one(tmp_path: Path) -> None:
    """python3.X-config is for the shell, and only its paths change."""
    path = write(tmp_path, "bin/python3.13-config", '#!/bin/sh\nprefix="/opt/company/python"\n')

    scrub_tree(COMPANY, tmp_path)

    assert path.read_text(encoding="utf-8") == '#!/bin/sh\nprefix="/install"\n'


def test_a_name_in_an_unknown_form_is_refused(tmp_path: Path) -> None:
    """A path that runs into other text may mean anything, and a tree that keeps it is not relocatable."""
    write(tmp_path, "lib/python3.13/config-3.13-x86_64-linux-gnu/Makefile", "X=srv/opt/company/python/lib\n")

    with pytest.raises(PackError) as caught:
        scrub_tree(COMPANY, tmp_path)

    assert str(caught.value) == (
        "'lib/python3.13/config-3.13-x86_64-linux-gnu/Makefile' cannot be made relocatable: it names"
        " '/opt/company/python' in an unknown form"
    )


def test_a_sysconfig_that_is_a_program_is_refused(tmp_path: Path) -> None:
    """The file is read, never run."""
    write(tmp_path, "lib/python3.13/_sysconfigdata_x.py", "print('hello')\n")

    with pytest.raises(PackError) as caught:
        scrub_tree(COMPANY, tmp_path)

    assert str(caught.value) == (
        "'lib/python3.13/_sysconfigdata_x.py' is not what CPython writes: wanted build_time_vars = {...}"
    )
