"""A project is wrapped and unwrapped: what changes in the text, what does not, and what is refused."""

from __future__ import annotations

import random
import re
import sys
from typing import Any, Dict, List, Tuple

import pytest

from provision_backend.errors import MissingDependencyError, ProjectError, UsageError
from provision_backend.project.edit import unwrap_text, wrap_text
from provision_backend.project.pyproject import is_wrapped, parse_pyproject

MARKER = "python_version >= '3.12'"
PROJECT = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.12"\n'

BUILD_SYSTEM = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'

HATCHLING = f"""\
# A comment at the head.

[build-system]
requires = ["hatchling>=1.27", "hatch-vcs"]  # both
build-backend = "hatchling.build"  # the real one

{PROJECT}
# About hatch.
[tool.hatch.build]
packages = ["src/x"]
"""
HATCHLING_WRAPPED = f"""\
# A comment at the head.

[build-system]
requires = ["provision-backend", "hatchling>=1.27; {MARKER}", "hatch-vcs; {MARKER}"]  # both
build-backend = "provision_backend"  # the real one

{PROJECT}
# About hatch.
[tool.hatch.build]
packages = ["src/x"]

[tool.provision-backend]
build-backend = "hatchling.build"
"""
HATCHLING_TABLE = f"""\
# A comment at the head.

[build-system]
requires = ["provision-backend"]  # both
build-backend = "provision_backend"  # the real one

{PROJECT}
# About hatch.
[tool.hatch.build]
packages = ["src/x"]

[tool.provision-backend]
build-backend = "hatchling.build"
requires = ["hatchling>=1.27", "hatch-vcs"]
"""

SETUPTOOLS = f"""\
{PROJECT}
[build-system]
  build-backend = 'setuptools.build_meta'
  requires      = [
    # The compiler's front.
    'Cython; os_name == "nt"',  # on Windows
    "setuptools >= 77",

    \"\"\"wheel\"\"\"
  ]
  # The end.
[project.urls]
home = "https://example.org"
"""
SETUPTOOLS_WRAPPED = f"""\
{PROJECT}
[build-system]
  build-backend = "provision_backend"
  requires      = [
    "provision-backend",
    # The compiler's front.
    'Cython; (os_name == "nt") and (python_version >= "3.12")',  # on Windows
    "setuptools >= 77; {MARKER}",

    "wheel; {MARKER}"
  ]
  # The end.
[project.urls]
home = "https://example.org"

[tool.provision-backend]
build-backend = 'setuptools.build_meta'
"""

IN_TREE = f"""\
[build-system]
requires = []
backend-path = [
  ".",  # here
]  # in the tree
build-backend = "backend:hooks"

{PROJECT}"""
IN_TREE_WRAPPED = f"""\
[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"

{PROJECT}
[tool.provision-backend]
backend-path = [
  ".",  # here
]  # in the tree
build-backend = "backend:hooks"
"""

NO_BACKEND = f"""\
[build-system]
requires = ["setuptools"]

{PROJECT}"""
NO_BACKEND_WRAPPED = f"""\
[build-system]
requires = ["provision-backend", "setuptools; {MARKER}"]
build-backend = "provision_backend"

{PROJECT}
[tool.provision-backend]
build-backend = "setuptools.build_meta:__legacy__" # the default where no build-backend is named
"""

NO_BUILD_SYSTEM = f"""\
{PROJECT}
[tool.black]
line-length = 120
"""
NO_BUILD_SYSTEM_WRAPPED = f"""\
{PROJECT}
[tool.black]
line-length = 120

[tool.provision-backend]
build-backend = "setuptools.build_meta:__legacy__" # the default where there is no [build-system]

[build-system]
requires = ["provision-backend", "setuptools>=40.8.0; {MARKER}"]
build-backend = "provision_backend"
"""

POETRY = """\
[tool.poetry]
name = "x"

[tool.poetry.dependencies]
python = "^3.12"

[build-system]
requires = ["poetry-core>=2"]
build-backend = "poetry.core.masonry.api"
"""
POETRY_WRAPPED = f"""\
[tool.poetry]
name = "x"

[tool.poetry.dependencies]
python = "^3.12"

[tool.provision-backend]
build-backend = "poetry.core.masonry.api"
requires-python = ">=3.12,<4"

[build-system]
requires = ["provision-backend", "poetry-core>=2; {MARKER} and python_version < '4'"]
build-backend = "provision_backend"
"""

UNTRANSLATABLE = HATCHLING.replace(">=3.12", "===3.12.1")
UNTRANSLATABLE_WRAPPED = HATCHLING_TABLE.replace(">=3.12", "===3.12.1")

# name: form, --requires-python, before, after
CASES = {
    "one list": ("", "", HATCHLING, HATCHLING_WRAPPED),
    "one list asked for": ("one-list", "", HATCHLING, HATCHLING_WRAPPED),
    "table asked for": ("table", "", HATCHLING, HATCHLING_TABLE),
    "no marker says the same": ("", "", UNTRANSLATABLE, UNTRANSLATABLE_WRAPPED),
    "comments, indentation, both quotes": ("", "", SETUPTOOLS, SETUPTOOLS_WRAPPED),
    "in-tree backend": ("", "", IN_TREE, IN_TREE_WRAPPED),
    "no build-backend": ("", "", NO_BACKEND, NO_BACKEND_WRAPPED),
    "no build-system": ("", "", NO_BUILD_SYSTEM, NO_BUILD_SYSTEM_WRAPPED),
    "no project": ("", ">=3.12,<4", POETRY, POETRY_WRAPPED),
}


def said(text: str) -> Dict[str, Any]:
    """Return what a file says, with the defaults of its build system."""
    data = parse_pyproject(text)
    defaults = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}
    return {**data, "build-system": {**defaults, **data.get("build-system", {})}}


def layout(text: str) -> str:
    """Return a text with one empty line where there are several: tomlkit before 0.14 writes one more than others."""
    return re.sub(r"((\r?\n){2})(\r?\n)+", r"\1", text)


@pytest.mark.parametrize("ending", ["line feeds", "CRLF"])
@pytest.mark.parametrize("name", list(CASES))
def test_a_project_is_wrapped_and_unwrapped(name: str, ending: str) -> None:
    """The text changes where it must and nowhere else, whatever its line breaks; the way back says the same."""
    form, requires_python, before, after = CASES[name]
    if ending == "CRLF":
        before, after = before.replace("\n", "\r\n"), after.replace("\n", "\r\n")
    wrapped = wrap_text(before, form=form, requires_python=requires_python)

    assert layout(wrapped.text) == after
    assert is_wrapped(parse_pyproject(after))
    restored = unwrap_text(after)
    assert said(restored) == said(before)
    assert restored.count("\r\n") == (restored.count("\n") if ending == "CRLF" else 0)


@pytest.mark.parametrize("before", [HATCHLING, POETRY], ids=["hatchling", "poetry"])
def test_a_common_project_comes_back_as_it_was(before: str) -> None:
    """Comments and order included."""
    option = "" if "requires-python" in before else ">=3.12"

    assert layout(unwrap_text(wrap_text(before, requires_python=option).text)) == before


@pytest.mark.parametrize(
    "before",
    [
        HATCHLING.rstrip("\n"), HATCHLING + "\n\n", HATCHLING + "# The end.", HATCHLING.replace("\n", "\r\n", 3),
        HATCHLING.replace("\n", "\r\n").rstrip("\r\n"), PROJECT + BUILD_SYSTEM.rstrip("\n"),
        HATCHLING + "\n[tool.black]\nx = 1\n\n# About spam:\n# it is red.\n[spam]\n",
    ],
    ids=["no final newline", "empty lines", "a comment", "mixed", "CRLF, no final newline", "no tools", "tables after"],
)  # fmt: skip
def test_every_byte_comes_back(before: str) -> None:
    """Whatever a file ends with, and whatever its line breaks are."""
    assert unwrap_text(wrap_text(before).text) == before


def test_a_comment_above_a_table_stays_above_it() -> None:
    """Our table comes between it and the last tool, and not between the comment and what it is about."""
    before = f"[tool.black]\nx = 1\n# The end of black.\n\n# About the project:\n# it is red.\n{PROJECT}{BUILD_SYSTEM}"

    assert wrap_text(before).text.startswith(
        "[tool.black]\nx = 1\n# The end of black.\n\n"
        '[tool.provision-backend]\nbuild-backend = "hatchling.build"\n\n'
        "# About the project:\n# it is red.\n[project]\n"
    )


RUFF = "\n# Ruff: keep in step with the pre-commit file,\n# see issue 123\n[tool.ruff]\nline-length = 100\n# The end.\n"


OURS = '[tool.provision-backend]\nbuild-backend = "hatchling.build"\n'


@pytest.mark.parametrize(
    ("ours", "kept"),
    [
        (OURS + RUFF, RUFF),
        (OURS + "# The end.\n", "\n# The end.\n"),
        (OURS + "\n\n  # The end.", "\n  # The end."),
        ("# Ours.\n" + OURS, "\n# Ours.\n"),
        ('[ tool . "provision-backend" ] # why\n# The real one.\nbuild-backend = "hatchling.build"',
         "\n# why\n# The real one.\n"),
        (OURS.replace('build"', 'build"  # or flit [see 7]') + "# More.\n" + RUFF,
         "\n# or flit [see 7]\n# More.\n" + RUFF),
    ],
    ids=["another table", "the end", "empty lines", "above ours", "in ours", "behind a key"],
)  # fmt: skip
def test_comments_that_a_person_wrote_survive_undo(ours: str, kept: str) -> None:
    """Those behind our table are about what follows, and no other one is thrown away without a word."""
    assert HATCHLING_WRAPPED.endswith("\n\n" + OURS)

    assert unwrap_text(HATCHLING_WRAPPED[: -len(OURS)] + ours) == HATCHLING + kept


@pytest.mark.parametrize(
    ("ours", "kept"),
    [
        ('[tool]\n# a\nprovision-backend.build-backend = "b"\n# c\n', "[tool]\n# a\n# c\n"),
        ('[tool]\nprovision-backend = {build-backend = "b"}\n', ""),
        ('[tool]\nx = 1\n[tool.provision-backend]\nbuild-backend = "b"\n[y]\n', "[tool]\nx = 1\n[y]\n"),
        ('[tool.provision-backend]\nbuild-backend = "b"\n# c\nwheels.test = "x" # d\n',
         '[tool.provision-backend]\n# c\nwheels.test = "x" # d\n'),
        ('[tool.provision-backend]\nbuild-backend = "b"\n# c\n[tool.provision-backend.wheels]\ntest = "[a]"\n',
         '# c\n[tool.provision-backend.wheels]\ntest = "[a]"\n'),
    ],
    ids=["dotted keys", "inline", "below tool", "wheels inside", "wheels below"],
)  # fmt: skip
def test_another_way_of_writing_our_table_is_undone(ours: str, kept: str) -> None:
    """A person may have written it anew, and its comments stay all the same."""
    wrapped = f'[build-system]\nrequires = ["provision-backend"]\nbuild-backend = "provision_backend"\n{PROJECT}{ours}'

    restored = unwrap_text(wrapped)

    assert restored == '[build-system]\nrequires = []\nbuild-backend = "b"\n' + PROJECT + kept


def test_the_table_of_wheels_stays() -> None:
    """A project may have it before it is wrapped and keep it after; it says nothing about the build."""
    before = HATCHLING + '\n[tool.provision-backend.wheels]  # all of them\npython = ">=3.10"\n'
    assert not is_wrapped(parse_pyproject(before))
    after = wrap_text(before).text

    ours = parse_pyproject(after)["tool"]["provision-backend"]
    assert ours == {"build-backend": "hatchling.build", "wheels": {"python": ">=3.10"}}
    assert is_wrapped(parse_pyproject(after))
    assert parse_pyproject(unwrap_text(after)) == parse_pyproject(before)
    assert '[tool.provision-backend.wheels]  # all of them\npython = ">=3.10"' in unwrap_text(after)


def test_what_was_done_is_told() -> None:
    """The form, the real backend and its requirements as they now are."""
    wrapped = wrap_text(SETUPTOOLS)

    assert (wrapped.form, wrapped.build_backend, wrapped.notes) == ("one-list", "setuptools.build_meta", ())
    assert wrapped.requires == (
        'Cython; (os_name == "nt") and (python_version >= "3.12")',
        f"setuptools >= 77; {MARKER}",
        f"wheel; {MARKER}",
    )
    assert wrap_text(SETUPTOOLS, form="table").requires == ('Cython; os_name == "nt"', "setuptools >= 77", "wheel")


def test_a_backend_that_will_complain_is_announced() -> None:
    """Maturin looks for its own name in [build-system]; whoever wraps it should not be surprised."""
    assert wrap_text(HATCHLING.replace("hatchling.build", "maturin")).notes == (
        "maturin warns that [build-system] does not name it and builds all the same; "
        "MATURIN_NO_MISSING_BUILD_BACKEND_WARNING=1 silences it",
    )


def test_a_program_beside_the_backend_that_will_refuse_is_announced() -> None:
    """`hatch version 1.3` wants hatchling in [build-system]; with a static version it needs nothing of it."""
    dynamic = HATCHLING.replace('version = "1"', 'dynamic = ["version"]')

    assert wrap_text(HATCHLING).notes == ()
    assert wrap_text(dynamic).notes == (
        "'hatch version' sets no version where [build-system] does not name hatchling; "
        "'hatchling version 1.3' does, and so does the file that has it",
    )


@pytest.mark.parametrize("backend", ["whey", "coherent.build"])
def test_a_backend_that_rewrites_its_sdists_is_refused(backend: str) -> None:
    """Wheels are mostly built from an sdist, and those would be built by the old Python without a word."""
    with pytest.raises(ProjectError, match=rf"^pyproject.toml: {backend} writes a \[build-system\] of its own"):
        wrap_text(HATCHLING.replace("hatchling.build", backend))


PBR = '[build-system]\nrequires = ["pbr>=7"]\nbuild-backend = "pbr.build"\n' + PROJECT


def test_pbr_needs_a_setup_py() -> None:
    """It finds a version in `[project] dynamic` only where [build-system] names it, or where setup.py does."""
    dynamic = PBR.replace('version = "1"', 'dynamic = ["version", "dependencies"]')
    with pytest.raises(ProjectError) as caught:
        wrap_text(dynamic, setup_py="import setuptools\nsetuptools.setup()\n")

    assert caught.value.message == (
        "pyproject.toml: pbr would leave out the version and the dependencies: "
        "without a setup.py that asks for it, it works only where [build-system] names it"
    )
    assert wrap_text(dynamic, setup_py="import setuptools\nsetuptools.setup(pbr=True)\n").build_backend == "pbr.build"
    assert wrap_text(PBR).build_backend == "pbr.build"


def test_an_empty_file_can_be_wrapped() -> None:
    """A project with a setup.py alone needs no more than this."""
    wrapped = wrap_text("", requires_python=">=3.12")

    assert wrapped.text.splitlines() == [
        "[build-system]",
        f'requires = ["provision-backend", "setuptools>=40.8.0; {MARKER}"]',
        'build-backend = "provision_backend"',
        "",
        "[tool.provision-backend]",
        'build-backend = "setuptools.build_meta:__legacy__" # the default where there is no [build-system]',
        'requires-python = ">=3.12"',
    ]
    assert parse_pyproject(unwrap_text(wrapped.text)) == {"build-system": said("")["build-system"]}


@pytest.mark.parametrize(
    "build_system",
    [
        '[build-system]\nbackend-path = ["."]\nrequires = ["a"]\nbuild-backend = "b"\n',
        '[build-system]\nrequires = ["a"]\nbuild-backend = "b"\nbackend-path = ["."]\n',
        '[build-system]\nrequires = ["a"]\nbackend-path = ["."]\nbuild-backend = "b"',
        "[build-system]\n\"requires\" = ['a']\n'build-backend' = 'b'\n\n\n",
        '[ build-system ] # x\nrequires=[]\nbuild-backend="b"\n[project.urls]\n',
        '[build-system]\nrequires = [ # first\n  # second\n  "a", "b" ] # third\nbuild-backend = """b"""\n# end',
        '[build-system]\nrequires = [\n]\nbuild-backend = "b"\n\n# end\n',
        'build-system = { requires = ["a"], build-backend = "b" }\n',
        'build-system.requires = ["a"]\nbuild-system.build-backend = "b"\n',
        '[tool.a]\nx = """\n[tool.b]\n"""\n\n[build-system]\nrequires = ["a"]\nbuild-backend = "b"\n\n[[tool.c]]\n',
        '[[tool.a]]\nx = 1\n[build-system]\nrequires = ["a", "b"]\nbuild-backend = "b"\n[project.urls]\n[tool.d]\n',
        '[project.urls]\n\n# c\n# d\n[[tool.a.b]]\n[build-system]\nrequires = ["a",\n]\nbuild-backend = "b"\n',
    ],
)
@pytest.mark.parametrize("form", ["one-list", "table"])
def test_unusual_ways_of_writing_are_edited(build_system: str, form: str) -> None:
    """Order, quotes, comments, empty lines, inline tables and dotted keys: all lines but ours stay, and come back."""
    before = build_system + PROJECT if build_system.startswith("build-system") else PROJECT + "\n" + build_system
    wrapped = wrap_text(before, form=form).text
    comments = [line for line in before.splitlines() if line.lstrip().startswith("#")]

    assert set(PROJECT.splitlines()) | set(comments) <= set(wrapped.splitlines())
    assert said(unwrap_text(wrapped)) == said(before)


def test_what_changes_elsewhere_may_change() -> None:
    """Going back concerns what init wrote, not the rest of the file."""
    later = HATCHLING_WRAPPED.replace('version = "1"', 'version = "2"') + "\n[tool.ruff]\nline-length = 99\n"

    assert said(unwrap_text(later)) == said(
        HATCHLING.replace('version = "1"', 'version = "2"') + "\n[tool.ruff]\nline-length = 99\n"
    )


CHANGED = {
    "a requirement without the marker": ("\"hatch-vcs; python_version >= '3.12'\"", '"hatch-vcs"', '"hatch-vcs"'),
    "another marker": (
        "\"hatch-vcs; python_version >= '3.12'\"",
        "\"hatch-vcs; python_version >= '3.11'\"",
        "\"hatch-vcs; python_version >= '3.11'\"",
    ),
    "another requirement": ('["provision-backend", ', '["Provision_Backend>=1", "a", ', '"a"'),
}


@pytest.mark.parametrize("name", list(CHANGED))
def test_what_a_person_changed_stays(name: str) -> None:
    """Only ourselves and our own marker go."""
    old, new, kept = CHANGED[name]
    assert HATCHLING_WRAPPED.count(old) == 1
    requires = parse_pyproject(unwrap_text(HATCHLING_WRAPPED.replace(old, new)))["build-system"]["requires"]

    assert kept.strip('"') in requires
    assert "hatchling>=1.27" in requires
    assert not [text for text in requires if text.lower().startswith("provision")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'build-backend = "hatchling.build"\n',
            'build-backend = "hatchling.build"\npython = "3.13"\n',
            "pyproject.toml: [tool.provision-backend] has 'python', which init does not write and --undo would lose\n"
            "  remove it and run this again",
        ),
        (
            'build-backend = "hatchling.build"\n',
            "",
            "pyproject.toml: tool.provision-backend.build-backend is missing, so the real backend is unknown",
        ),
    ],
    ids=["a pin", "no backend"],
)
def test_what_undo_would_lose_is_refused(old: str, new: str, message: str) -> None:
    """Nothing that a person wrote is thrown away."""
    assert HATCHLING_WRAPPED.count(old) == 1
    with pytest.raises(ProjectError) as caught:
        unwrap_text(HATCHLING_WRAPPED.replace(old, new))

    assert str(caught.value) == message


MISSING_PYTHON = (
    "pyproject.toml: project.requires-python is missing, so any Python will do and none would ever be provisioned\n"
)
OPTION = (
    "  --requires-python '>=3.X' writes it into [tool.provision-backend]; keep it equal to the one that the backend "
    "reads"
)

REFUSED = {
    "no requires-python": (
        BUILD_SYSTEM + '[project]\nname = "x"\n',
        MISSING_PYTHON + '  write it there, for example requires-python = ">=3.12"',
    ),
    "empty requires-python": (
        BUILD_SYSTEM + '[project]\nrequires-python = ""\n',
        MISSING_PYTHON + '  write it there, for example requires-python = ">=3.12"',
    ),
    "no project": (BUILD_SYSTEM, MISSING_PYTHON + OPTION),
    "dynamic requires-python": (
        BUILD_SYSTEM + '[project]\nname = "x"\ndynamic = ["requires-python"]\n',
        "pyproject.toml: project.requires-python is dynamic, so it is not known before the build\n" + OPTION,
    ),
    "requires-python is a float": (
        BUILD_SYSTEM + "[project]\nrequires-python = 3.12\n",
        "pyproject.toml: project.requires-python must be a string, found a float",
    ),
    "requires-python malformed": (
        BUILD_SYSTEM + '[project]\nrequires-python = "^3.12"\n',
        "pyproject.toml: requires-python must be a version specifier such as '>=3.12', found '^3.12'",
    ),
    "no requires": (
        PROJECT + '[build-system]\nbuild-backend = "hatchling.build"\n',
        "pyproject.toml: build-system.requires is missing, which PEP 518 demands\n"
        '  add what the backend needs, for example requires = ["setuptools"], and run this again',
    ),
    "requires is a string": (
        PROJECT + '[build-system]\nrequires = "hatchling"\n',
        "pyproject.toml: build-system.requires must be an array of strings, found a string",
    ),
    "build-backend is an array": (
        PROJECT + "[build-system]\nrequires = []\nbuild-backend = []\n",
        "pyproject.toml: build-system.build-backend must be a string, found an array",
    ),
    "backend-path holds an integer": (
        PROJECT + '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = [1]\n',
        "pyproject.toml: build-system.backend-path must be an array of strings, found 1 (integer)",
    ),
    "we are required already": (
        PROJECT + '[build-system]\nrequires = ["provision_backend>=1"]\nbuild-backend = "b"\n',
        "pyproject.toml: build-system.requires names 'provision_backend>=1' already, but the build-backend is another "
        "one\n  remove it and run this again",
    ),
    "we are the project": (
        BUILD_SYSTEM + PROJECT.replace('"x"', '"Provision.Backend"'),
        "pyproject.toml: provision-backend cannot be built by itself",
    ),
    "tool is a string": ('tool = "x"\n' + PROJECT, "pyproject.toml: tool must be a table, found a string"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_wrapped_is_refused(name: str) -> None:
    """The message says why, and what to do where there is something to do."""
    text, message = REFUSED[name]
    with pytest.raises(ProjectError) as caught:
        wrap_text(text)

    assert str(caught.value) == message


def test_a_requirement_that_is_none_is_refused() -> None:
    """The reason is in the words of packaging."""
    with pytest.raises(ProjectError, match=r"^pyproject\.toml: build-system\.requires: 'a b' is not a requirement: "):
        wrap_text(PROJECT + '[build-system]\nrequires = ["a b"]\n')


def test_what_is_no_toml_is_refused() -> None:
    """Nothing is edited that is not understood."""
    with pytest.raises(ProjectError, match=r"^pyproject\.toml is not valid TOML: "):
        wrap_text("build-system]\n")


def test_requires_python_is_not_written_twice() -> None:
    """What [project] says counts alone."""
    with pytest.raises(UsageError) as caught:
        wrap_text(HATCHLING, requires_python=">=3.13")

    assert str(caught.value) == (
        "--requires-python is given although project.requires-python in pyproject.toml is '>=3.12'\n"
        "  leave the option out: frontends and package indexes read [project] alone"
    )


def test_one_list_needs_a_marker() -> None:
    """It is not written where it would say something else than requires-python."""
    with pytest.raises(ProjectError) as caught:
        wrap_text(UNTRANSLATABLE, form="one-list")

    assert str(caught.value) == (
        "pyproject.toml: requires-python '===3.12.1' cannot be written as a marker that says the same\n"
        "  --form table needs no marker"
    )


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ('[tool.scikit-build]\nminimum-version = "build-system.requires"\n',
         "tool.scikit-build.minimum-version reads them there"),
        ("", "'setuptools_scm[simple]>=9' there is what switches setuptools-scm on"),
    ],
    ids=["scikit-build-core", "setuptools-scm"],
)  # fmt: skip
def test_requirements_that_a_backend_reads_stay(extra: str, reason: str) -> None:
    """Some backends behave differently when their requirements stand elsewhere: the build would not be the same."""
    requires = '"setuptools_scm[simple]>=9"' if not extra else '"scikit-build-core>=0.10"'
    text = f'{PROJECT}[build-system]\nrequires = [{requires}]\nbuild-backend = "b"\n{extra}'
    with pytest.raises(ProjectError) as caught:
        wrap_text(text, form="table")

    assert str(caught.value) == (
        f"pyproject.toml: the requirements cannot move out of build-system.requires: {reason}\n"
        "  --form one-list leaves them there"
    )
    assert wrap_text(text).form == "one-list"


HALVES = {
    "backend without table": (
        '[build-system]\nrequires = ["provision-backend"]\nbuild-backend = "provision_backend"\n',
        "pyproject.toml: the build-backend is provision_backend already, but [tool.provision-backend] is missing\n"
        "  the real backend is not known; name it there, or put it back into [build-system] and run this again",
    ),
    "table of another name": (
        '[build-system]\nrequires = []\nbuild-backend = "provision_backend"\n[tool.provision_backend]\n',
        "pyproject.toml: the build-backend is provision_backend already, but [tool.provision-backend] is missing\n"
        "  did you mean [tool.provision_backend]? Rename it to [tool.provision-backend]",
    ),
    "table without backend": (
        BUILD_SYSTEM + '[tool.provision-backend]\nbuild-backend = "b"\n',
        "pyproject.toml: [tool.provision-backend] exists, but the build-backend is 'hatchling.build'\n"
        '  write build-backend = "provision_backend" in [build-system], '
        "or remove the table and run 'provision-backend init'",
    ),
    "table that is none": (
        BUILD_SYSTEM + '[[tool.provision-backend]]\nbuild-backend = "b"\n',
        "pyproject.toml: tool.provision-backend must be a table, found an array",
    ),
}


@pytest.mark.parametrize("name", list(HALVES))
def test_a_project_that_is_wrapped_by_half_is_refused(name: str) -> None:
    """Neither direction would be right."""
    text, message = HALVES[name]
    with pytest.raises(ProjectError) as caught:
        is_wrapped(parse_pyproject(text))

    assert str(caught.value) == message


ARRAYS: List[Tuple[str, str]] = [
    ("[]", '["provision-backend"]'),
    ("[ ]", '["provision-backend"]'),
    ("[\n]", '["provision-backend"]'),
    ('["a"]', '["provision-backend", "a{m}"]'),
    ('[ "a", ]', '[ "provision-backend", "a{m}", ]'),
    ('[\n  "a",\n]', '[\n  "provision-backend",\n  "a{m}",\n]'),
    ('[\r\n\t"a"\r\n]', '[\r\n\t"provision-backend",\r\n\t"a{m}"\r\n]'),
    ('[ # x\n  # y\n  "a" ]', '[ # x\n  "provision-backend",\n  # y\n  "a{m}" ]'),
    ('["a",\n "b"]', '["provision-backend", "a{m}",\n "b{m}"]'),
]


@pytest.mark.parametrize(("before", "after"), ARRAYS)
def test_we_stand_first_in_an_array(before: str, after: str) -> None:
    """With a line of our own where the others have one; comments stay where they belong."""
    line_break = "\r\n" if "\r\n" in before else "\n"
    head = PROJECT.replace("\n", line_break) + f"[build-system]{line_break}build-backend = 'b'{line_break}requires = "
    text = wrap_text(head + before + line_break).text

    assert after.replace("{m}", f"; {MARKER}") in text


@pytest.mark.slow
def test_mutilated_files_are_refused_or_come_back() -> None:
    """Whatever a file holds, only `ProjectError` leaves; what was wrapped says the same once it is unwrapped."""
    chance = random.Random(5)
    wrapped = 0
    for _ in range(300):
        form, requires_python, before, _after = CASES[chance.choice(list(CASES))]
        text = before
        for _ in range(chance.randrange(1, 4)):
            position = chance.randrange(len(text) + 1)
            text = text[:position] + chance.choice("\n\"'[]=#;,. \r\t\0aé") + text[position + chance.randrange(3) :]
        try:
            result = wrap_text(text, form=form, requires_python=requires_python)
        except ProjectError:
            continue
        wrapped += 1
        assert said(unwrap_text(result.text)) == said(text)

    assert wrapped > 20


def test_tomlkit_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else of ours needs it, so it comes with an extra."""
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    with pytest.raises(MissingDependencyError) as caught:
        wrap_text(HATCHLING)

    assert str(caught.value) == (
        "the package 'tomlkit' is needed to run 'provision-backend init' and is not installed\n"
        "  pip install 'provision-backend[init]'"
    )
