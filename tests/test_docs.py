"""The documentation is true: its commands run, its snippets parse, what it names exists, what is made is fresh."""

from __future__ import annotations

import ast
import errno
import importlib.util
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from support.hosts import Frontend, make_frontend
from support.pages import Block, Page, matches, read_page, run_commands
from support.real_interpreters import host_not_satisfying, newest_host

from provision_backend import errors
from provision_backend.cli.registry import COMMANDS, find_command
from provision_backend.settings import OPTIONS

ROOT = Path(__file__).resolve().parent.parent
PREPARED = Path(__file__).parent / "data" / "docs"
PACKAGE = ROOT / "provision_backend"

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGES = [
    read_page(path)
    for path in (ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
]
BLOCKS = [(page, block) for page in PAGES for block in page.blocks]

SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
HOMES = (f"{SOURCE}/blob/main/", SOURCE.replace("//github.com/", "//raw.githubusercontent.com/") + "/main/")
"""Where the files of the repository are for who has no checkout: as pages, and as they are."""

NOT_RUN = {
    "it needs a container engine",
    "it needs GitHub",
    "it needs GitLab",
    "it needs a cluster",
    "it needs another machine",
    "it needs root",
    "it runs the tests",
    "it serves until it is stopped",
}
"""Why a command of a page may not be run here."""
SHOWN = {"text", "diff", "ini", "nginx", "{toctree}"}
"""Languages of blocks that show something and are neither run nor parsed."""
UNRUN = {"sh", "dockerfile"}
"""Languages of blocks that are commands and not run."""


def name(page: Page) -> str:
    """Return the path of a page as people write it."""
    return page.path.relative_to(ROOT).as_posix()


def at(entry: Any) -> str:
    """Name a page, or a block by its place, as the id of a test."""
    if isinstance(entry, Page):
        return name(entry)
    return str(entry.line) if isinstance(entry, Block) else ""


@dataclass(frozen=True)
class Reader:
    """Somebody who types the commands of a page: an old host with us installed, and a newer Python beside it."""

    old: Frontend
    programs: Path
    """A folder with ``python3.13``, which satisfies the sample project whatever its version."""
    mirror: Path

    def environ(self, home: Path) -> Dict[str, str]:
        """Return the variables of a reader's shell, who has the mirror where others have the network."""
        folders = [self.old.python.parent, self.programs, *map(Path, ("/usr/local/bin", "/usr/bin", "/bin"))]
        links = self.old.environ["PIP_FIND_LINKS"]
        return {
            **{key: value for key, value in self.old.environ.items() if not key.startswith(("XDG_", "UV_"))},
            "PATH": os.pathsep.join(map(str, folders)),
            "HOME": str(home),
            "SAMPLE": str(ROOT / "sample_project"),
            "PROVISION_BACKEND_MIRROR": str(self.mirror),
            "PROVISION_BACKEND_CATALOG": str(self.mirror / "SHA256SUMS"),
            "UV_FIND_LINKS": links.replace(" ", ","),
            "UV_OFFLINE": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "PYTHONUNBUFFERED": "1",  # The order of both outputs is that of a terminal.
        }


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, own_wheel: Path, mirror: Path) -> Reader:
    """Install what the pages take for granted, once."""
    folder = tmp_path_factory.mktemp("reader")
    hosts = host_not_satisfying(">=3.12"), newest_host()
    old, new = (make_frontend(host.path, folder / host.version, own_wheel) for host in hosts)
    # What a reader has is installed from the index; what the pages then do needs none.
    for frontend in (old, new):
        wanted = ["provision-backend[provision,pack,init]", "validate-pyproject[all]", "hatchling>=1.27", "uv", "wheel"]
        done = frontend.pip("install", "-q", *wanted, env={"PIP_NO_INDEX": "0"})
        assert done.returncode == 0, done.output
    programs = folder / "programs"
    programs.mkdir()
    (programs / "python3.13").write_text(f'#!/bin/sh\nexec {new.python} "$@"\n')
    (programs / "python3.13").chmod(0o755)
    return Reader(old, programs, mirror)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page.commands], ids=at)
def test_the_commands_of_a_page_do_what_it_shows(page: Page, reader: Reader, tmp_path: Path) -> None:
    """Every command of a page ends and prints as the page says, in its order, on a machine with an old Python."""
    home, project = tmp_path / "home", tmp_path / "greeting"
    home.mkdir()
    shutil.copytree(str(ROOT / "sample_project"), str(project), ignore=shutil.ignore_patterns("dist", "__pycache__"))
    prepare = PREPARED / (name(page).replace("docs/", "").replace("/", "-")[: -len(".md")] + ".sh")
    before = prepare.read_text(encoding="utf-8") if prepare.exists() else ""

    outcomes = run_commands(page.commands, project, reader.environ(home), before=before)

    wrong = [
        f"{name(page)}, line {command.line}: $ {command.text}\n"
        f"--- ended with {status}, wanted {command.status}; printed\n{output}\n--- the page shows\n"
        + "\n".join(command.expected)
        for command, status, output in outcomes
        if status != command.status or not matches(command.expected, output)
    ]
    assert not wrong, "\n\n".join(wrong)
    assert len(outcomes) == len(page.commands)


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        (["a", "b"], "a\nb\n", True),
        (["a"], "a\nb\n", False),
        (["a", "..."], "a\nb\nc\n", True),
        (["a", "...", "d"], "a\nb\n", False),
        (["took ... s"], "took 3.1 s\n", True),
        (["took ... s"], "took 3.1 m\n", False),
        ([], "anything\n", True),
    ],
)
def test_what_a_page_shows_is_compared(shown: List[str], printed: str, expected: bool) -> None:
    """Lines are compared as they are, and an ellipsis stands for what differs from run to run."""
    assert matches(shown, printed) is expected


def test_what_is_not_run_says_why() -> None:
    """A command that cannot be run here has one of a few reasons, and there are not many of them."""
    unrun = [(name(page), block) for page, block in BLOCKS if block.language in UNRUN]

    without = [f"{page}:{block.line} {block.not_run!r}" for page, block in unrun if block.not_run not in NOT_RUN]
    assert without == []
    assert len(unrun) <= 30


def test_blocks_are_of_known_languages() -> None:
    """Every block is run, parsed, or of a language that shows something."""
    known = {"console", "toml", "json", "yaml", "python"} | SHOWN | UNRUN

    assert [
        f"{name(page)}:{block.line} {block.language}" for page, block in BLOCKS if block.language not in known
    ] == []


@pytest.mark.parametrize(
    ("page", "block"), [entry for entry in BLOCKS if entry[1].language in ("toml", "json", "yaml", "python")], ids=at
)
def test_snippets_parse(page: Page, block: Block) -> None:
    """What is shown of a file can be read by what reads such files."""
    if block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "python":
        ast.parse(block.text)
    else:
        pytest.importorskip("yaml").safe_load(block.text)


def test_the_readme_can_be_read_without_the_checkout() -> None:
    """A package index shows it as it is, so a link that leads into the repository names all of its address."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(ROOT / "README.md"))

    assert len(targets) > 10
    assert [target for target in targets if not target.startswith(HOMES)] == []


def versions_of_actions(text: str) -> List[Tuple[str, str]]:
    """Return each action of GitHub that a workflow uses, with its major version: ``v7``."""
    return re.findall(r"uses: ([\w./-]+)@(?:[0-9a-f]{40} # )?(v\d+)", text)


def test_workflows_of_pages_use_the_actions_of_ours() -> None:
    """Runners of GitHub drop what old versions need; those of our own workflows are moved on, and pages with them."""
    own = [path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")]
    current = dict(versions_of_actions("".join(own)))
    shown = [(name(page), *found) for page, block in BLOCKS for found in versions_of_actions(block.text)]
    pinned = {word for text in own for word in re.findall(r"@([0-9a-f]{40}) ", text)}
    pins = [word for _, block in BLOCKS for word in re.findall(r"@([0-9a-f]{40})\b", block.text)]

    assert len(shown) > 10
    assert [each for each in shown if current.get(each[1], each[2]) != each[2]] == []
    assert [pin for pin in pins if pin not in pinned] == []


def prose(path: Path) -> str:
    """Return the text of a page without its blocks."""
    return re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=at)
def test_a_page_names_the_extras_that_its_commands_need(page: Page) -> None:
    """Else its first command ends with a package that is missing: the pages are run where all of them are installed."""
    text = page.path.read_text(encoding="utf-8")
    named = {extra for found in re.findall(r"provision-backend\[([a-z,]+)\]", text) for extra in found.split(",")}
    needed = set()
    for words in re.findall(r"(?:^|\s)provision-backend ([^|;&#\n]+)", "\n".join(each.text for each in page.commands)):
        extras = find_command(words.split())[0].extras
        # What provisioning needs is what most pages are about, and not each of them says it again.
        needed |= set() if extras == "provision" else set(extras.split(","))

    assert needed - named == set()


@pytest.mark.parametrize("page", PAGES, ids=at)
def test_paths_in_commands_may_have_blanks(page: Page) -> None:
    """A home folder may have one in its name, and the shell splits what a variable or a command gives at it."""
    wrong = []
    for command in page.commands:
        # Neither what stands in quotes nor the value of an assignment is split.
        bare = re.sub(r"\"[^\"]*\"|'[^']*'|(?<=\w)=\$(\w+|\([^()]*\))", "", command.text)
        wrong += [command.text] if re.search(r"\$[\w({]", bare) else []

    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=at)
def test_a_page_that_installs_us_and_builds_installs_the_frontend(page: Page) -> None:
    """A reader who follows it from its top has only what it installs."""
    commands = [command.text for command in page.commands]
    installed = [text for text in commands if "pip install" in text and "provision-backend" in text]
    builds = any("python -m build" in text for text in commands)

    assert not (installed and builds) or any(" build " in text for text in installed)


@pytest.mark.parametrize("page", PAGES, ids=at)
def test_links_lead_to_files(page: Page) -> None:
    """A relative link leads to a file of the repository; those within the site are checked by its generator too."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page.path))
    targets = [re.sub(f"^({'|'.join(HOMES)})", f"{ROOT}/", target) for target in targets]
    relative = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]

    assert [target for target in relative if not (page.path.parent / target).exists()] == []


def anchors(path: Path) -> List[str]:
    """Return how the headings of a page are linked to where Markdown is shown without Sphinx."""
    headings = re.findall("^#+ (.+)$", prose(path), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=at)
def test_links_lead_to_headings(page: Page) -> None:
    """An anchor is that of a heading on GitHub too, and not on the site alone."""
    targets = re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", prose(page.path))
    targets = [re.sub(f"^({'|'.join(HOMES)})", f"{ROOT}/", target) for target in targets]
    inner = [target.split("#") for target in targets if not re.match(r"[a-z]+:", target)]
    paths = [(page.path.parent / path if path else page.path, anchor) for path, anchor in inner]

    assert [f"{path.name}#{anchor}" for path, anchor in paths if anchor not in anchors(path)] == []


def sources_of(module: str) -> List[str]:
    """Return the source of a module of tests, in whichever folder; none where there is no such module."""
    return [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(f"{module}.py")]


def test_every_report_is_held_by_a_test() -> None:
    """Each row names a test, or is a case of the test that its section names; and each report has an address."""
    hosts, *sections = re.split("^## ", (ROOT / "docs/reports.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    rows = [row for section in sections for row in re.findall(r"^\| \[.*", section, re.MULTILINE)]
    cases = re.findall(r"^\| \[.*", hosts, re.MULTILINE)
    reports = {report for row in [*rows, *cases] for report in re.findall(r"\[(\S+#\d+)\]", row)}

    assert len(reports) >= 60
    assert [row for row in rows if not re.search(r"`test_\w+::test_\w+` \|$", row)] == []
    (source,) = sources_of("test_host_cases")
    named = [re.findall(r"\[(\S+#\d+)\]", row) for row in cases if "`test_" not in row]
    assert [report for each in named for report in each if report.split("/")[-1] not in source] == []
    text = sections[-1]
    assert sorted(re.findall(r"^\[(\S+#\d+)\]: https://github", text, re.MULTILINE)) == sorted(reports)


def test_tests_that_are_named_exist() -> None:
    """A test that a page names as its evidence is there."""
    missing: List[str] = []
    for page in PAGES:
        for module, test in re.findall(r"`(test_\w+)(?:\.py)?::(test_\w+)`", page.path.read_text(encoding="utf-8")):
            if not any(f"def {test}(" in text for text in sources_of(module)):
                missing.append(f"{name(page)}: {module}::{test}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=at)
def test_pages_name_no_machine_and_no_registry(page: Page) -> None:
    """No page holds a path of the machine it was written on, or the host name of a package registry."""
    text = page.path.read_text(encoding="utf-8")

    assert re.findall(r"/(?:root|work)/|[.]pyenv|pypi[.]o|pythonhosted|/tmp/pytest", text) == []


def strings_of_the_package() -> List[str]:
    """Return every literal text of the code, an f-string in its parts."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py")))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def explained_messages() -> List[str]:
    """Return the messages that troubleshooting has, in headings and first columns; an ellipsis stands for anything."""
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE) + re.findall(r"`([^`]+)`", "\n".join(cells))


def test_messages_of_troubleshooting_are_ours() -> None:
    """Each message that the page explains is in the code, apart from what stands for something."""
    known = strings_of_the_package()
    explained = explained_messages()

    assert len(explained) >= 100
    for message in explained:
        parts = [part.strip(" '") for part in message.split("…")]
        assert [part for part in parts if not any(part in text for text in known)] == [], message


NOT_OF_A_BUILD = (
    "cli/",
    "doctor/",
    "mirror/",
    "pack/",
    "wheels/",
    "project/edit.py",
    "project/edit_table.py",
    "project/init_checks.py",
)
"""Modules that no build imports."""

HOLE = "\0"
"""What stands for a value in the text of a message."""


def texts_of(node: ast.expr, variables: Dict[str, List[str]]) -> List[str]:
    """Return the texts that an expression may have, with holes for values; none where it has no literal text."""
    if isinstance(node, ast.Name):
        return variables.get(node.id, [])
    if isinstance(node, ast.IfExp):
        return texts_of(node.body, variables) + texts_of(node.orelse, variables)
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if not isinstance(node, ast.JoinedStr):
        return []
    texts = [""]
    for part in node.values:
        value = part.value if isinstance(part, ast.FormattedValue) else part
        texts = [text + more for text in texts for more in texts_of(value, variables) or [HOLE]]
    return texts


def raised_messages() -> Iterator[Tuple[str, str]]:
    """Yield the first line of each error that a build can end with, and where it is made."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(NOT_OF_A_BUILD):
            continue
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        variables: Dict[str, List[str]] = {}
        for node in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                variables.setdefault(node.targets[0].id, []).extend(texts_of(node.value, {}))
        for node in nodes:
            if isinstance(node, ast.Call) and node.args and is_error(node.func):
                yield from ((text, f"{name}:{node.lineno}") for text in texts_of(node.args[0], variables))


def is_error(function: ast.expr) -> bool:
    """Tell whether a call makes one of our public errors, or the reason of one source among several."""
    if isinstance(function, ast.Attribute):
        return function.attr == "__init__" and isinstance(function.value, ast.Call)
    # What such a class is given is only a part of its message, which `errors` makes.
    parts = ("IntegrityError", "HookFailedError", "MissingDependencyError")
    name = function.id if isinstance(function, ast.Name) else ""
    return name == "SourceError" or (name not in parts and name in errors.__all__)


def test_every_message_of_a_build_is_in_troubleshooting() -> None:
    """Whoever searches the page for a part of a message finds what to do."""
    patterns = [".*".join(map(re.escape, message.split("…"))) for message in explained_messages() if len(message) > 9]
    # Some errors pass on the message of another one.
    passed_on = re.compile(f"(pyproject.toml: )?{HOLE}*")
    raised = {text: place for text, place in raised_messages() if not passed_on.fullmatch(text)}

    missing = [f"{place}: {text}" for text, place in raised.items() if not any(re.search(p, text) for p in patterns)]
    assert len(raised) > 150
    assert missing == [], "add what to do to docs/troubleshooting.md"


@pytest.mark.parametrize("code", ["ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED"])
def test_what_linux_says_of_a_network_is_in_troubleshooting(code: str) -> None:
    """The reason of a source is the system's, and people search for it as it is."""
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")

    assert f"*{os.strerror(getattr(errno, code))}*" in text
    # The two of getaddrinfo(3), for EAI_NONAME and EAI_AGAIN.
    assert "*Name or service not known*" in text
    assert "*Temporary failure in name resolution*" in text


def load_script(script: str) -> Any:
    """Import a module of scripts/, which is no package."""
    spec = importlib.util.spec_from_file_location(script, ROOT / "scripts" / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script] = module
    spec.loader.exec_module(module)
    return module


def test_every_error_has_a_cause_and_a_cure() -> None:
    """The reference of errors leaves out no class, and says something about each."""
    script = load_script("docs_errors")

    assert [entry.error for entry in script.ENTRIES] == list(script.error_classes())
    assert all(entry.cause.endswith(".") and entry.cure.endswith(".") for entry in script.ENTRIES)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="one of the errors is about owners of files")
@pytest.mark.parametrize("script", ["docs_errors", "docs_schema"])
def test_pages_made_from_the_code_are_fresh(script: str) -> None:
    """A reference page is what the code gives today; its script writes it anew."""
    module = load_script(script)

    assert module.PAGE.read_text(encoding="utf-8") == module.page()


def workflow_actions() -> Iterator[Tuple[str, str]]:
    """Yield each action that a workflow uses, with the workflow's name."""
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
            yield path.name, action


def test_the_glossary_has_the_words_of_the_command_line() -> None:
    """Every command and every setting has its sentence, and nothing is left of one that is gone."""
    rows = re.findall(r"^\| `([^`]+)` \| [^|]{10,} \|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)

    assert rows == [command.name for command in COMMANDS] + [option.key for option in OPTIONS]


def test_actions_are_pinned_by_their_commit() -> None:
    """A tag of an action can be moved; its commit cannot."""
    actions = list(workflow_actions())

    assert len(actions) > 5
    assert [entry for entry in actions if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}", entry[1])] == []
