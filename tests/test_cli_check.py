"""``provision-backend check``: wheels are tested under each Python that they claim, and the rest is said."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path
from typing import Callable, Dict

import pytest
from support.command_line import Done, bare_machine, ours
from support.real_interpreters import musl_archive
from support.wheel_files import MACHINE, compile_module, make_wheel

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
PURE = "py3-none-any"

Check = Callable[..., Done]

__all__ = ["bare_machine"]  # A fixture: no other interpreter of the machine is found.


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Return a function that runs ``check`` with the interpreter that runs the tests as the only one of the machine."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / f"python{MINOR}").symlink_to(os.path.realpath(sys.executable))

    def _check(*arguments: object) -> Done:
        options = ["--preference", "only-system", "--installer", "uv"]
        # What the machine's pip is told of indexes and constraints is not for uv, which would be said.
        pip = {name: "" for name in os.environ if name.startswith("PIP_")}
        env = {"UV_OFFLINE": "1", **pip, "PIP_CONFIG_FILE": os.devnull}
        return ours("check", *map(str, arguments), *options, cwd=tmp_path, env=env)

    return _check


def test_check_tests_each_wheel(tmp_path: Path, check: Check) -> None:
    """A folder of wheels: a row for each test, the reason of each failure, and 1 where one has failed."""
    make_wheel(tmp_path / "dist", PURE, {"ham.py": ""}, name="ham", metadata="Requires-Python: >=3.8\n")
    make_wheel(tmp_path / "dist", PURE, {"spam.py": "import nowhere"})

    done = check("dist")

    assert done.code == 1
    assert [line.split()[:3] for line in done.out.splitlines()] == [
        ["ham-1.0-py3-none-any.whl", MINOR, "ok"],
        ["spam-1.0-py3-none-any.whl", MINOR, "failed"],
    ]
    assert "and 'import spam' failed\n" in done.err
    assert "ModuleNotFoundError: No module named 'nowhere'" in done.err


def test_check_counts_no_test_of_a_wheel_without_modules(tmp_path: Path, check: Check) -> None:
    """It is installed, which may fail; that it works is not known, unless it says that there is nothing to import."""
    empty = make_wheel(tmp_path / "a", PURE, {"spam-1.0.data/scripts/spam": "#!python"})
    broken = make_wheel(tmp_path / "b", PURE, {}, metadata="Requires-Dist: spam>=2\n")
    declared = make_wheel(tmp_path / "c", PURE, {}, metadata="Import-Name:\n")

    done, asked = check("--json", empty, broken, declared), check(empty, "--test", "spam --version || true")

    assert done.json[0]["untested"] == "it can be installed, and there is nothing to import in it"
    assert [[test["error"] is None for test in each["tests"]] for each in done.json] == [[], [False], [True]]
    assert f"{empty.name} is not tested here: it can be installed, and there is nothing to import in it\n" in done.err
    assert (asked.code, asked.out.split()[1:3]) == (0, [MINOR, "ok"])


def test_check_refuses_a_wheel_that_has_another_name_than_its_content(tmp_path: Path, check: Check) -> None:
    """Pip installs one of them, and uv none, so that what works here says nothing."""
    made, other = make_wheel(tmp_path, PURE, {"spam.py": ""}), tmp_path / "other" / "spam-2.0-py3-none-any.whl"
    inside = tmp_path / "inside" / made.name
    for wheel in (other, inside):
        wheel.parent.mkdir()
    with zipfile.ZipFile(str(made)) as source, zipfile.ZipFile(str(inside), "w") as target:
        for name in source.namelist():
            target.writestr(name.replace("spam-1.0", "spam-2.0"), source.read(name))
    other.write_bytes(made.read_bytes())

    done, again = check("--json", other), check("--json", inside)

    assert (done.code, again.code) == (1, 1)
    assert done.json[0]["error"] == f"the name of {other.name} does not match its metadata, which is that of spam 1.0"
    assert again.json[0]["error"] == f"the name of {made.name} does not match that of its folder spam-2.0.dist-info"


def rewrite(wheel: Path, change: Callable[[Dict[str, bytes]], None]) -> Path:
    """Change what is in a wheel, as somebody does who knows of no RECORD."""
    with zipfile.ZipFile(str(wheel)) as source:
        files = {name: source.read(name) for name in source.namelist()}
    change(files)
    with zipfile.ZipFile(str(wheel), "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    return wheel


def test_check_refuses_a_wheel_that_was_renamed(tmp_path: Path, check: Check) -> None:
    """Pip and uv install it, and then it is for no system, or installed again and again."""
    made = make_wheel(tmp_path, PURE, {"spam.py": ""})
    renamed = made.rename(tmp_path / "spam-1.0-py2.py3-none-any.whl")
    nothing = rewrite(
        make_wheel(tmp_path / "nothing", PURE, {"spam.py": ""}),
        lambda files: files.update({"spam-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3\n"}),
    )

    done = check("--json", renamed, nothing)

    assert done.code == 1
    assert done.json[0]["error"] == (
        "the name of spam-1.0-py2.py3-none-any.whl does not match its WHEEL, whose tags are py3-none-any"
    )
    assert "'python -m wheel tags' changes both" in done.err
    assert done.json[1]["error"] == f"{nothing}: spam-1.0.dist-info/WHEEL has a tag that is none: 'py3'"
    assert [[test["error"] for test in each["tests"]] for each in done.json] == [[None], [None]]


def test_check_compares_what_is_in_a_wheel_with_its_record(tmp_path: Path, check: Check) -> None:
    """Files that were added, changed or removed after the build are named; package indexes refuse most of it."""

    def _change(files: Dict[str, bytes]) -> None:
        del files["gone.py"]
        files.update({"spam.py": b"# patched\n", "more.py": b"", "spam-1.0.dist-info/RECORD.jws": b""})

    def _drop_record(files: Dict[str, bytes]) -> None:
        del files["spam-1.0.dist-info/RECORD"]

    changed = rewrite(make_wheel(tmp_path / "a", PURE, {"gone.py": "", "spam.py": "", "ham.py": ""}), _change)
    without = rewrite(make_wheel(tmp_path / "b", PURE, {"spam.py": ""}), _drop_record)

    done = check("--json", changed, without)

    assert done.code == 1
    assert done.json[0]["error"] == (
        f"{changed.name} does not hold what its RECORD lists: spam.py has another hash, more.py is not listed, "
        "gone.py is not there"
    )
    assert done.json[1]["error"] == f"{without} has no RECORD: there is no spam-1.0.dist-info/RECORD in it"


@pytest.mark.parametrize("written", ["sha384", "hex", "none"])
def test_a_record_that_nobody_refuses_is_enough(tmp_path: Path, check: Check, written: str) -> None:
    """Some backends write no hash, some write it in hex, and the specification allows longer ones."""

    def _change(files: Dict[str, bytes]) -> None:
        hashes = {"sha384": "sha384=AAAA", "hex": f"sha256={hashlib.sha256(b'').hexdigest()}", "none": ""}
        lines = [f"{name},," for name in files if name != "spam.py"]
        text = "\n".join([*lines, f"spam.py,{hashes[written]},0"])
        files["spam-1.0.dist-info/RECORD"] = text.encode()

    wheel = rewrite(make_wheel(tmp_path, PURE, {"spam.py": ""}), _change)

    assert check(wheel).code == 0


def test_check_says_what_it_cannot_test(tmp_path: Path, check: Check) -> None:
    """Wheels of other systems and Pythons are no failures; that nothing at all was tested is one."""
    wheels = [
        make_wheel(tmp_path, "py3-none-win_amd64", {"spam.py": ""}),
        make_wheel(tmp_path, "cp36-cp36m-any", {"spam.py": ""}),
        make_wheel(tmp_path, PURE, {"spam.py": ""}, metadata="Requires-Python: >=3.99\n"),
        make_wheel(tmp_path, f"py3-none-manylinux_2_98_{MACHINE}", {"spam.py": ""}),
    ]

    done = check("--json", *wheels)

    reasons = [each["untested"] for each in done.json]
    triple = reasons[0].rpartition(" ")[2]
    assert done.code == 1
    assert reasons[:3] == [
        f"it is for win_amd64, and this host is {triple}",
        f"there is no Python that it claims for {triple}",
        f"there is no Python that it claims for {triple}",
    ]
    assert reasons[3].startswith("it needs libc 2.98, and this host has ") or reasons[3].startswith(
        "it is for manylinux"
    )
    assert [(each["kind"], each["error"], each["tests"]) for each in done.json] == [
        ("none", None, []), ("each", None, []), ("pure", None, []), ("none", None, []),
    ]  # fmt: skip


def test_check_takes_a_pre_release_for_a_wheel_that_no_final_release_serves(tmp_path: Path, check: Check) -> None:
    """Otherwise it would be said that there is no such Python, where there is a release candidate."""
    triple = ours("list", "--json", MINOR).json[0]["triple"]
    names = [f"cpython-{version}+20260101-{triple}-install_only.tar.gz" for version in ("3.7.9", f"{MINOR}.0rc1")]
    (tmp_path / "SHA256SUMS").write_text("".join(f"{'0' * 64}  {name}\n" for name in names))
    label = f"cp{MINOR.replace('.', '')}"
    wheel = make_wheel(tmp_path, f"{label}-none-any", {"spam.py": ""})

    done = check("--json", wheel, "--catalog", tmp_path / "SHA256SUMS")

    assert [(test["python"], test["error"]) for test in done.json[0]["tests"]] == [(MINOR, None)]


def test_check_knows_how_the_project_in_this_folder_is_tested(tmp_path: Path, check: Check) -> None:
    """Its own wheels are tested as its table says; those of another project, and those with an option, are not."""
    table = "test = 'python -c \"import spam; raise SystemExit(3)\"'"
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "Spam"\n[tool.provision-backend.wheels]\npython = "{MINOR}"\n{table}\n'
    )
    own, other = make_wheel(tmp_path, PURE, {"spam.py": ""}), make_wheel(tmp_path, PURE, {"ham.py": ""}, name="ham")

    done, asked = check(own, other), check(own, "--test", "python -c 'import spam'")

    assert [line.split()[:3] for line in done.out.splitlines()] == [
        [own.name, MINOR, "failed"],
        [other.name, MINOR, "ok"],
    ]
    assert "ended with exit status 3" in done.err
    assert asked.code == 0


def test_check_does_not_need_the_project_in_this_folder(tmp_path: Path, check: Check) -> None:
    """Wheels are tested beside a ``pyproject.toml`` that is no TOML, and it is said that this is not used."""
    make_wheel(tmp_path / "dist", PURE, {"ham.py": ""}, name="ham")
    (tmp_path / "pyproject.toml").write_text("not toml [", encoding="utf-8")

    done = check("dist")

    assert done.code == 0, done.err
    assert "no table of the project in this folder is used: pyproject.toml is not valid TOML" in done.err


def test_check_runs_a_command_for_the_pythons_that_are_asked_for(tmp_path: Path, check: Check) -> None:
    """``{project}`` is the current folder, and a Python that is not asked for is not tested."""
    wheel = make_wheel(tmp_path, PURE, {"spam.py": ""})
    (tmp_path / "try.py").write_text("import spam")

    done = check(wheel, "--python", MINOR, "--test", "python {project}/try.py")
    other = check(wheel, "--python", "3.7", "--python", "2.7")

    assert (done.code, done.err) == (0, f"provision-backend: testing {wheel.name} under CPython {MINOR}\n")
    assert done.out.split()[:3] == ["spam-1.0-py3-none-any.whl", MINOR, "ok"]
    assert (other.code, other.out.split()[1:]) == (1, ["not", "tested", "here"])
    assert "there is no Python that it claims and --python allows for" in other.err


@pytest.mark.parametrize("argument", ["nowhere.whl", "empty", "x*.whl"])
def test_check_refuses_what_is_no_wheel(tmp_path: Path, check: Check, argument: str) -> None:
    """A typing error must not pass for a success."""
    (tmp_path / "empty").mkdir()

    done = check(argument)

    assert (done.code, done.out) == (2, "")
    assert done.err == f"provision-backend: WHEEL must name a wheel, or a folder that has some, found '{argument}'\n"


@pytest.mark.slow
def test_a_wheel_that_cannot_be_read_fails_alone(tmp_path: Path, check: Check) -> None:
    """What was found out about the others is not lost, whatever is wrong with the file."""
    dist = tmp_path / "dist"
    make_wheel(dist, PURE, {"ham.py": ""}, name="ham")
    (dist / "a-1.0-py3-none-any.whl").write_bytes(b"no zip")
    (dist / "b-1.0-cp38-abi3-any.whl").write_bytes(b"no zip")
    with zipfile.ZipFile(str(dist / "c-1.0-py3-none-any.whl"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c-1.0.dist-info/METADATA", "Name: c\n" * 100)
    data = bytearray((dist / "c-1.0-py3-none-any.whl").read_bytes())
    start = data.index(b"METADATA") + len(b"METADATA")
    data[start : start + 4] = b"\xff" * 4
    (dist / "c-1.0-py3-none-any.whl").write_bytes(data)
    with zipfile.ZipFile(str(dist / "d-1.0-py3-none-any.whl"), "w"):
        pass

    done = check("dist", "--json")

    assert done.code == 1
    errors = [each["error"] for each in done.json]
    assert errors[:2] == [
        f"could not read dist/{name}: File is not a zip file"
        for name in ("a-1.0-py3-none-any.whl", "b-1.0-cp38-abi3-any.whl")
    ]
    assert errors[2].startswith("could not read dist/c-1.0-py3-none-any.whl: Error -3 while decompressing")
    assert errors[3] == "dist/d-1.0-py3-none-any.whl has no metadata: there is no .dist-info/METADATA in it"
    assert errors[4] is None
    assert [[test["error"] for test in each["tests"]] for each in done.json] == [[], [], [], [], [None]]
    assert done.err.count("could not read dist/b-") == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 10), reason="abi3audit needs Python 3.10")
def test_check_finds_a_wrong_claim_that_a_test_does_not(tmp_path: Path, check: Check) -> None:
    """The module can be imported here, and is refused all the same for what it uses."""
    body = "return PyUnicode_FromString(PyUnicode_AsUTF8AndSize(argument, 0));"
    module = compile_module(tmp_path / "spam.abi3.so", body=body)
    wheel = make_wheel(tmp_path, f"cp38-abi3-linux_{MACHINE}", {module.name: module})

    done = check(wheel)

    assert done.code == 1
    assert [line.split()[1:3] for line in done.out.splitlines()] == [["abi3", "failed"], [MINOR, "ok"]]
    assert "claims the stable ABI of Python 3.8 and uses what that does not have" in done.err
    assert "PyUnicode_AsUTF8AndSize (since 3.10)" in done.err


@pytest.fixture(scope="module")
def musl_mirror() -> Path:
    """Return a folder with an archive of a CPython 3.11 for musl; of the module, since it needs the machine's PATH."""
    if not Path("/lib/ld-musl-x86_64.so.1").exists():
        pytest.skip("musl's loader is not installed")
    return musl_archive("3.11").parent


@pytest.mark.slow
def test_a_wheel_for_musl_is_tested_where_its_loader_is_installed(musl_mirror: Path, tmp_path: Path) -> None:
    """A host of glibc with musl's loader runs both, so each wheel gets a Python of its own libc."""
    code = "import sysconfig; assert 'musl' in sysconfig.get_config_var('BUILD_GNU_TYPE')"
    wheel = make_wheel(tmp_path, "py3-none-musllinux_1_2_x86_64", {"spam.py": code})
    options = ["--mirror", str(musl_mirror), "--catalog", str(musl_mirror / "SHA256SUMS"), "--installer", "uv"]

    done = ours("check", str(wheel), "--python", "3.11", *options, cwd=tmp_path, env={"UV_OFFLINE": "1"})

    assert done.code == 0, done.err
    assert done.out.split()[:3] == [wheel.name, "3.11", "ok"]
