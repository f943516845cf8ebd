"""The lock of a project: how it is read, when it holds, which archives go into it, and how it is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, cast

import pytest
from support.locking import line, lock, lock_all, project
from validate_pyproject.api import Validator
from validate_pyproject.errors import ValidationError
from validate_pyproject.plugins import PluginWrapper

from provision_backend.catalog.archive import Archive
from provision_backend.catalog.selection import load_catalog_file, parse_catalog
from provision_backend.catalog.wanted import Lock, LockedRequirements, Wanted, locked_archive
from provision_backend.errors import MissingDependencyError, NoMatchingArchiveError, ProjectError, UsageError
from provision_backend.project import tool_schema
from provision_backend.project.edit import lock_lines, lock_text, pylock_text
from provision_backend.project.lock import choose_archives, kept_archives
from provision_backend.project.plan import Plan, RunningInterpreter, make_plan
from provision_backend.project.pylock import PYLOCK, pylock_document, read_pylock
from provision_backend.project.pyproject import read_project
from provision_backend.settings import Settings
from provision_backend.versions import parse_request

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GNU, MUSL, ARM = "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-gnu"
TABLE = "\n[tool.provision-backend.lock]\n"
KEY = "pyproject.toml: tool.provision-backend.lock"


def archives(*lines: str) -> Sequence[Archive]:
    return parse_catalog("\n".join(lines), source="test")


def accepts(check: Callable[[Any], Any], value: Any) -> bool:
    try:
        check(value)
    except (ProjectError, ValidationError):
        return False
    return True


def table(*lines: str, more: str = "") -> str:
    return f"{TABLE}{more}archives = {json.dumps(list(lines))}\n"


class TestReading:
    """What a project writes, as a build reads it."""

    def test_an_array(self, tmp_path: Path) -> None:
        """In the order of the lines, with all that their file names say."""
        found = read_project(project(tmp_path, table(line("3.13.5"), line("3.13.5", triple=MUSL)))).lock

        assert found == Lock(tuple(archives(line("3.13.5"), line("3.13.5", triple=MUSL))))
        assert found.place == "pyproject.toml"

    def test_a_file(self, tmp_path: Path) -> None:
        """Comments and empty lines are for people; a byte order mark is nobody's."""
        text = f"\ufeff# The archives.\n\n{line('3.13.5')}\r\n  {line('3.13.5', triple=MUSL)}\n"
        (tmp_path / "locks").mkdir()
        (tmp_path / "locks" / "x.lock").write_text(text, encoding="utf-8")
        found = read_project(project(tmp_path, TABLE + 'file = "locks/x.lock"\nalways = true\n')).lock

        assert found == Lock(
            tuple(archives(line("3.13.5"), line("3.13.5", triple=MUSL))), always=True, file="locks/x.lock"
        )
        assert found.place == "locks/x.lock"

    def test_none(self, tmp_path: Path) -> None:
        """Most projects have none."""
        assert read_project(project(tmp_path)).lock is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            pytest.param("", f"{KEY} must have either archives or file, found neither", id="empty"),
            pytest.param(
                'archives = []\nfile = "x"', f"{KEY} must have either archives or file, found both", id="both"
            ),
            pytest.param(
                "archives = []",
                f"{KEY}.archives names no archive\n"
                "  remove the table and run 'provision-backend lock' to lock the project again",
                id="no archive",
            ),
            pytest.param(
                'archives = "x"', f"{KEY}.archives must be an array of strings, found a string", id="a string"
            ),
            pytest.param(
                "archives = [1]", f"{KEY}.archives must be an array of strings, found 1 (integer)", id="a number"
            ),
            pytest.param("file = true", f"{KEY}.file must be a string, found a boolean", id="a flag as file"),
            pytest.param(
                'archives = ["x"]\nalways = "yes"',
                f"{KEY}.always must be a boolean, found a string",
                id="a word as flag",
            ),
            pytest.param(
                'archive = ["x"]',
                "pyproject.toml: unknown key 'archive' in [tool.provision-backend.lock]\n  did you mean 'archives'?",
                id="a misspelt key",
            ),
            pytest.param(
                "zz = 1",
                "pyproject.toml: unknown key 'zz' in [tool.provision-backend.lock]\n"
                "  known keys: archives, file, always",
                id="an unknown key",
            ),
            pytest.param(
                f'archives = ["{line("3.13.5")}", "{"a" * 64}  python.zip"]',
                f"{KEY}.archives, entry 2: expected '<sha256>  <file name of an archive>', "
                f"found '{'a' * 64}  python.zip'",
                id="another file",
            ),
            pytest.param(
                f'archives = ["{line("3.13.5")[1:]}"]',
                f"{KEY}.archives, entry 1: expected '<sha256>  <file name of an archive>', "
                f"found '{line('3.13.5')[1:81]}...'",
                id="a short hash",
            ),
            pytest.param(
                f'archives = ["{line("3.13.5")}\\n{line("3.13.6")}"]',
                f"{KEY}.archives, entry 1: expected '<sha256>  <file name of an archive>', "
                f"found '{line('3.13.5')[:80]}...'",
                id="two lines in one",
            ),
            pytest.param(
                f'archives = ["{line("3.13.5")}", "{line("3.13.6")}"]',
                f"{KEY}.archives, entry 2: a second archive for {GNU}; each target has one",
                id="a target twice",
            ),
            pytest.param('file = "../x"', f"{KEY}.file must name a file inside the project, found '../x'", id="above"),
            pytest.param('file = "/x"', f"{KEY}.file must name a file inside the project, found '/x'", id="absolute"),
            pytest.param('file = " "', f"{KEY}.file must name a file inside the project, found ' '", id="blank"),
            pytest.param(
                'file = "none.lock"',
                f"{KEY}.file names 'none.lock', which does not exist\n"
                "  have the real backend put it into the sdist; or remove the table and run 'provision-backend lock', "
                "which writes the archives into pyproject.toml",
                id="no file",
            ),
            pytest.param(
                'file = "empty.lock"',
                "empty.lock names no archive\n"
                "  remove the table and run 'provision-backend lock' to lock the project again",
                id="an empty file",
            ),
            pytest.param(
                'file = "bad.lock"',
                "bad.lock, line 2: expected '<sha256>  <file name of an archive>', found 'x'",
                id="a wrong line",
            ),
            pytest.param('file = "latin.lock"', "latin.lock is not UTF-8", id="not UTF-8"),
            pytest.param(
                'file = "folder"', "folder cannot be read: it is a directory, not a regular file", id="a folder"
            ),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path: Path, text: str, message: str) -> None:
        """Each mistake has its message, before anything is done."""
        root = project(tmp_path, f"{TABLE}{text}\n")
        (root / "empty.lock").write_text("# Nothing.\n")
        (root / "bad.lock").write_text("# Something.\nx\n")
        (root / "latin.lock").write_bytes(b"\xe9\n")
        (root / "folder").mkdir()
        with pytest.raises(ProjectError) as caught:
            read_project(root)

        assert str(caught.value) == message

    def test_a_lock_that_is_no_table(self, tmp_path: Path) -> None:
        """As with every other key."""
        with pytest.raises(ProjectError) as caught:
            read_project(project(tmp_path, table="lock = 1\n"))

        assert str(caught.value) == f"{KEY} must be a table, found an integer"

    def test_the_schema_agrees(self, tmp_path: Path) -> None:
        """What a build accepts passes in an editor, and what it refuses does not, as far as the table alone tells."""
        validator = Validator(plugins=[PluginWrapper("provision-backend", cast(Any, tool_schema))])
        good, name = line("3.13.5"), line("3.14.0rc2", triple=MUSL).split()[1]
        lines: List[Any] = [
            [good], [good, line("3.13.5", triple=MUSL)], [f" {good} "], [good.upper()[:64] + good[64:]],
            [good.replace("  ", " *")], [good.replace("  cpython", "  20260101/cpython")], [f"{'0' * 64}\t{name}"],
            [good.replace("+", "%2B")], [good.replace("-install", "-freethreaded-install")], [], "x", [1], [""],
            ["# x"], [good[1:]], [good.replace("-install_only_stripped", "-debug-full")], [good + "x"], [f"{good} x"],
            [good.replace("+20260101", "")], [good.replace("cpython", "pypy")], [good.replace("-linux-gnu", "-beos")],
        ]  # fmt: skip
        tables: List[Dict[str, Any]] = [{"archives": each} for each in lines]
        tables += [{}, {"always": True}, {"archives": [good], "always": False}, {"archives": [good], "always": 1}]
        tables += [{"archives": [good], "file": "x.lock"}, {"archives": [good], "other": 1}]
        tables += [{"file": name} for name in ("x.lock", "inside/x.lock", "", " ", "../x.lock", "/x.lock", 1)]
        (tmp_path / "inside").mkdir()
        for path in ("x.lock", "inside/x.lock"):
            (tmp_path / path).write_text(good)
        disagreements = []
        for each in tables:
            root = project(tmp_path, TABLE + "".join(f"{key} = {json.dumps(value)}\n" for key, value in each.items()))
            document = tomllib.loads((root / "pyproject.toml").read_text())
            verdicts = accepts(read_project, root), accepts(validator, document)
            if verdicts[0] != verdicts[1]:
                disagreements.append((each, verdicts))

        assert disagreements == []


def test_an_installer_without_a_name_is_refused(tmp_path: Path) -> None:
    """An empty text is no installer, as the schema has it."""
    with pytest.raises(ProjectError) as caught:
        read_project(project(tmp_path, table='installer = ""\n'))

    assert str(caught.value) == "pyproject.toml: tool.provision-backend.installer must be one of pip, uv, found ''"


class TestPlan:
    """When a lock holds."""

    def plan(self, folder: Path, *, running: str = "3.9.18", always: bool = False, **settings: str) -> Plan:
        """Return the plan of a project that is locked to 3.13.5 and needs 3.12."""
        lines = table(line("3.13.5"), more="always = true\n" if always else "")
        origins = tuple((key, f"PROVISION_BACKEND_{key.upper()}") for key in settings)
        values: Any = {**settings, "origins": origins}
        interpreter = RunningInterpreter(running, False, "/opt/python/bin/python3")
        return make_plan(read_project(project(folder, lines)), Settings(**values), interpreter)

    @pytest.mark.parametrize(
        ("running", "always", "settings", "provision", "locked"),
        [
            pytest.param("3.9.18", False, {}, True, True, id="provisioned"),
            pytest.param("3.12.1", False, {}, False, True, id="satisfied"),
            pytest.param("3.12.1", True, {}, True, True, id="satisfied, always"),
            pytest.param("3.12.1", False, {"preference": "only-managed"}, True, True, id="only managed ones"),
            pytest.param("3.9.18", False, {"preference": "system"}, True, True, id="those of the machine first"),
            pytest.param("3.12.1", True, {"preference": "system"}, False, True, id="those of the machine, always"),
            pytest.param("3.9.18", False, {"preference": "only-system"}, True, False, id="those of the machine only"),
            pytest.param("3.12.1", True, {"preference": "only-system"}, False, False, id="those only, always"),
            pytest.param("3.9.18", True, {"python": "3.12"}, True, False, id="another version"),
            pytest.param("3.12.1", True, {"python": "3.12"}, False, False, id="the running version, always"),
            pytest.param("3.12.1", True, {"python": "/usr/bin/python3.12"}, True, False, id="a path"),
        ],
    )
    def test_where_it_holds(
        self, tmp_path: Path, running: str, always: bool, settings: Dict[str, str], provision: bool, locked: bool
    ) -> None:
        """Where an interpreter is provisioned, or always if it says so; whoever builds has the last word."""
        plan = self.plan(tmp_path, running=running, always=always, **settings)

        assert (plan.provision, plan.wanted.lock is not None) == (provision, locked)

    @pytest.mark.parametrize(
        ("always", "settings", "note"),
        [
            pytest.param(
                True, {"python": "3.12"}, "the lock in pyproject.toml is not used: PROVISION_BACKEND_PYTHON is '3.12'",
                id="a version",
            ),
            pytest.param(
                True, {"preference": "only-system"},
                "the lock in pyproject.toml is not used: PROVISION_BACKEND_PREFERENCE is 'only-system'",
                id="only those of the machine",
            ),
            pytest.param(
                True, {"preference": "system"},
                "interpreters of this machine come before the lock in pyproject.toml: "
                "PROVISION_BACKEND_PREFERENCE is 'system'",
                id="those of the machine first",
            ),
            pytest.param(False, {"preference": "only-system"}, "", id="nothing is provisioned"),
            pytest.param(True, {}, "", id="it holds"),
        ],
    )  # fmt: skip
    def test_what_overrides_it_is_told(self, tmp_path: Path, always: bool, settings: Dict[str, str], note: str) -> None:
        """Only where the lock would have decided otherwise."""
        assert self.plan(tmp_path, running="3.12.1", always=always, **settings).note == note

    def test_one_that_does_not_satisfy_is_an_error_at_once(self, tmp_path: Path) -> None:
        """Both sides and the place are named, on a host that would not need the lock too."""
        root = project(tmp_path, table(line("3.12.9"), line("3.13.5", triple=MUSL)), table='python = "3.13"\n')
        for version in ("3.9.18", "3.13.0"):
            with pytest.raises(ProjectError) as caught:
                make_plan(read_project(root), Settings(), RunningInterpreter(version, False, "/x"))
            assert str(caught.value) == (
                f"pyproject.toml: the project is locked to CPython 3.12.9 on {GNU}, "
                "which does not satisfy requires-python '>=3.12' and python '3.13'\n"
                "  run 'provision-backend lock' to lock the project again"
            )

    def test_a_builder_who_overrides_it_is_not_held_up_by_it(self, tmp_path: Path) -> None:
        """It is not used, so it does not matter what it says."""
        root = project(tmp_path, table(line("3.11.9")))

        assert make_plan(
            read_project(root), Settings(python="3.12"), RunningInterpreter("3.9.1", False, "/x")
        ).provision


def test_a_target_without_an_archive() -> None:
    """The error says what is locked, what is not, and both ways on."""
    found = Lock(tuple(archives(line("3.13.5"), line("3.13.5", triple=MUSL))), file="x.lock")

    assert locked_archive(found, MUSL) == found.archives[1]
    with pytest.raises(NoMatchingArchiveError) as caught:
        locked_archive(found, ARM)
    assert str(caught.value) == (
        f"the project is locked to the archives in x.lock, and none of them is for {ARM}\n"
        f"  locked: {GNU}, {MUSL}\n"
        f"  add this one with 'provision-backend lock --target {ARM}', "
        "or build without the lock: PROVISION_BACKEND_PYTHON=3.13.5"
    )


class TestChoice:
    """`choose_archives`: one build for all targets."""

    CATALOG = (
        line("3.14.0", "20260301"), line("3.13.5", "20260301"), line("3.13.5", "20260201"), line("3.13.4", "20260101"),
        line("3.13.5", "20260201", MUSL), line("3.13.4", "20260101", MUSL),
        line("3.12.9", "20260101", ARM), line("3.12.9", "20260101"),
    )  # fmt: skip

    def choose(
        self,
        *targets: str,
        kept: Sequence[str] = (),
        more: Sequence[str] = (),
        request: str = "",
        upgrade: bool = False,
    ) -> List[str]:
        """Return what is chosen, as version, tag and the first parts of the triple."""
        everything = archives(*self.CATALOG)
        wanted = [Wanted(">=3.12")]
        if request:
            wanted.append(Wanted(">=3.12", parse_request(request)))
        found = choose_archives(
            dict.fromkeys(targets, everything),
            wanted,
            archives(*kept) if kept else (),
            more=dict.fromkeys(more, everything),
            upgrade=upgrade,
        )
        return [f"{each.version} {each.tag} {each.triple.replace('-unknown-linux-', ' ')}" for each in found]

    def test_one_target_gets_the_newest(self) -> None:
        """As a build without a lock would have it."""
        assert self.choose(GNU) == ["3.14.0 20260301 x86_64 gnu"]

    def test_several_get_the_newest_build_that_they_all_have(self) -> None:
        """The same version of the same release, so that it does not matter where somebody builds."""
        assert self.choose(MUSL, GNU) == ["3.13.5 20260201 x86_64 gnu", "3.13.5 20260201 x86_64 musl"]

    def test_a_request_of_the_person(self) -> None:
        """``lock --python`` locks to a version that the project does not pin."""
        assert self.choose(MUSL, GNU, request="3.13.4") == ["3.13.4 20260101 x86_64 gnu", "3.13.4 20260101 x86_64 musl"]

    def test_more_targets_join_where_they_can(self) -> None:
        """``--target all`` takes those that have the build, and leaves the others out."""
        assert self.choose(GNU, more=[GNU, MUSL, ARM]) == ["3.14.0 20260301 x86_64 gnu"]
        assert self.choose(GNU, more=[MUSL, ARM], request="3.13.4") == [
            "3.13.4 20260101 x86_64 gnu",
            "3.13.4 20260101 x86_64 musl",
        ]

    def test_a_new_target_gets_what_is_locked(self) -> None:
        """Nothing that is locked moves without --upgrade, though it may have left the catalog."""
        kept = line("3.13.4", "20260101", digit="b")

        assert self.choose(MUSL, kept=[kept]) == ["3.13.4 20260101 x86_64 gnu", "3.13.4 20260101 x86_64 musl"]
        with pytest.raises(NoMatchingArchiveError) as caught:
            self.choose(ARM, kept=[kept])
        assert str(caught.value) == (
            f"there is no archive for {ARM} of the build that the project is locked to, 3.13.4 of 20260101\n"
            "  --upgrade moves all targets to the newest build that they all have"
        )

    def test_an_upgrade_moves_all_or_none(self) -> None:
        """And never back, where the catalog is older than the lock."""
        old = [line("3.13.4", "20260101"), line("3.13.4", "20260101", MUSL)]
        newer = [line("3.15.0", "20270101")]

        assert self.choose(GNU, MUSL, kept=old, upgrade=True) == [
            "3.13.5 20260201 x86_64 gnu",
            "3.13.5 20260201 x86_64 musl",
        ]
        assert self.choose(GNU, kept=newer, upgrade=True) == ["3.15.0 20270101 x86_64 gnu"]

    def test_no_build_for_all(self) -> None:
        """The newest of each target is named, so that a person sees which one is behind."""
        with pytest.raises(NoMatchingArchiveError) as caught:
            self.choose(MUSL, ARM)

        assert str(caught.value) == (
            f"no build of CPython that satisfies the project has archives for all of {ARM}, {MUSL}\n"
            f"  newest for {ARM}: 3.12.9 of 20260101\n"
            f"  newest for {MUSL}: 3.13.5 of 20260201"
        )

    def test_a_target_that_there_is_nothing_for(self) -> None:
        """The catalog's own message, and one for a request that contradicts the project."""
        with pytest.raises(NoMatchingArchiveError, match="on s390x-unknown-linux-gnu"):
            self.choose("s390x-unknown-linux-gnu")
        project_wants, person_wants = (Wanted(">=3.12", parse_request(text)) for text in ("3.13", "3.14"))
        with pytest.raises(NoMatchingArchiveError) as caught:
            choose_archives({GNU: archives(*self.CATALOG)}, [project_wants, person_wants], (), more={})
        assert str(caught.value) == (
            f"no CPython archive for {GNU} satisfies requires-python '>=3.12' and python '3.13' "
            "and requires-python '>=3.12' and python '3.14'"
        )

    def test_what_does_not_satisfy_any_more_is_not_kept(self) -> None:
        """All targets go together, so one that fails takes the others along."""
        found = archives(line("3.12.9", triple=ARM), line("3.13.5"))

        assert kept_archives(found, [Wanted(">=3.12")]) == found
        assert kept_archives(found, [Wanted(">=3.13")]) == ()
        assert kept_archives(found, [Wanted("", parse_request("3.13t"))]) == ()


class TestEditing:
    """`lock_text`: what is written into ``pyproject.toml``."""

    LOCK = Lock(tuple(archives(line("3.13.5"))))
    BEFORE = '[tool.provision-backend]  # Ours.\nbuild-backend = "b"\n# The end.\n\n[tool.x]\n'

    def test_a_table_is_added_below_ours(self) -> None:
        """Comments and what follows stay where they are."""
        assert lock_text(self.BEFORE, self.LOCK) == (
            '[tool.provision-backend]  # Ours.\nbuild-backend = "b"\n# The end.\n\n'
            f'[tool.provision-backend.lock]\narchives = [\n    "{line("3.13.5")}",\n]\n\n[tool.x]\n'
        )

    @pytest.mark.parametrize("line_break", ["\n", "\r\n"], ids=["LF", "CRLF"])
    def test_line_breaks_are_those_of_the_file(self, line_break: str) -> None:
        """A lock that is written again changes nothing."""
        before = '[tool.provision-backend]\nbuild-backend = "b"\n'
        expected = f'\n[tool.provision-backend.lock]\narchives = [\n    "{line("3.13.5")}",\n]\n'
        found = lock_text(before.replace("\n", line_break), self.LOCK)

        assert found == (before + expected).replace("\n", line_break)
        assert lock_text(found, self.LOCK) == found

    def test_only_what_differs_is_replaced(self) -> None:
        """Keys that are new come last, those that are gone go, and comments stay."""
        text = lock_text(self.BEFORE, self.LOCK).replace("archives =", "# By hand.\narchives=")
        with_file = lock_text(text, Lock(self.LOCK.archives, always=True, file="x.lock"))

        assert with_file == text.replace(
            f'archives= [\n    "{line("3.13.5")}",\n]\n', 'always = true\nfile = "x.lock"\n'
        )
        newer = Lock(tuple(archives(line("3.13.6"))))
        assert lock_text(text, newer) == text.replace("3.13.5", "3.13.6")
        back = lock_text(with_file, self.LOCK)
        assert back == with_file.replace(
            'always = true\nfile = "x.lock"\n', f'archives = [\n    "{line("3.13.5")}",\n]\n'
        )

    @pytest.mark.parametrize("line_break", ["\n", "\r\n"], ids=["LF", "CRLF"])
    @pytest.mark.parametrize("last", ['build-backend = "b"\n', 'build-backend = "b"\n# The end.\n\n[tool.x]\ny = 1\n'])
    def test_a_word_takes_the_place_of_the_table_and_gives_it_back(self, last: str, line_break: str) -> None:
        """Where the requirements are locked too, ``pyproject.toml`` says no more than when the lock applies."""
        everything = self.LOCK._replace(requirements=LockedRequirements((), (), (), "b"))
        before = f"[tool.provision-backend]\n{last}".replace("\n", line_break)
        with_word = lock_text(before, everything)

        assert with_word == before.replace('"b"', f'"b"{line_break}lock = "provisioned"', 1).replace(
            f'lock = "provisioned"{line_break}# The end.', f'# The end.{line_break}lock = "provisioned"'
        )
        assert lock_text(with_word, everything) == with_word
        always = lock_text(with_word, everything._replace(always=True))
        assert always == with_word.replace("provisioned", "always")
        table = lock_text(always, self.LOCK)
        assert tomllib.loads(table)["tool"]["provision-backend"]["lock"] == {"archives": [line("3.13.5")]}
        back = tomllib.loads(lock_text(table, everything))
        assert back == tomllib.loads(with_word)

    @pytest.mark.parametrize(
        "before",
        [
            '[tool.provision-backend]\nbuild-backend = "b"',
            'tool.provision-backend.build-backend = "b"\n',
            '[tool.provision-backend]\nbuild-backend = "b"\n[project]\nname = "x"\n',
            '[tool]\nx = 1\n[tool.provision-backend]\nbuild-backend = "b"\n[[tool.y]]\n[project]\n[tool.z]\n',
        ],
        ids=["no last line break", "dotted", "compact", "tools in two places"],
    )
    def test_unusual_ways_of_writing_are_edited(self, before: str) -> None:
        """The lock says what it must, and everything else says what it said."""
        text = lock_text(before, Lock(self.LOCK.archives, always=True))
        expected = tomllib.loads(before)
        expected["tool"]["provision-backend"]["lock"] = {"always": True, "archives": [line("3.13.5")]}

        assert tomllib.loads(text) == expected
        assert set(before.splitlines()) <= set(text.splitlines())

    def test_an_inline_table_cannot_be_edited(self) -> None:
        """The message says what to write instead."""
        with pytest.raises(ProjectError) as caught:
            lock_text('[tool]\nprovision-backend = { build-backend = "b" }\n', self.LOCK)

        assert str(caught.value) == (
            "pyproject.toml: the table that lock belongs to is written inline, so nothing can be added to it\n"
            "  write it as a table with one line for each key, then run this again"
        )


class TestLockFile:
    """`pylock_text`: what is written into ``pylock.provision-backend.toml``, for a review and for `read_pylock`."""

    def test_it_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        """One wheel and one archive a line; every character comes back."""
        wheels = [{"url": f"https://h.example/a{number}.whl", "hashes": {"sha256": "b" * 64}} for number in range(2)]
        packages = (
            {"name": "a", "version": "1", "marker": "sys_platform != 'win32'", "wheels": wheels},
            {
                "name": "b",
                "version": "1+\u00e9",
                "wheels": [{"path": "b.whl", "size": 5, "hashes": {"sha256": "c" * 64}}],
            },
        )
        requirements = LockedRequirements(packages, ('a; python_version < "4"',), (), "b.backend:object")
        lock = Lock(tuple(archives(line("3.13.5"))), file=PYLOCK, requirements=requirements)
        text = pylock_text(pylock_document(lock))
        (tmp_path / PYLOCK).write_text(text, encoding="utf-8")

        assert read_pylock(tmp_path, always=False) == lock
        digest = text.rpartition('"')[0].rpartition('"')[2]
        assert text == (
            "# Written by 'provision-backend lock'; a build refuses the file if it was edited.\n"
            'lock-version = "1.0"\ncreated-by = "provision-backend"\nrequires-python = "==3.13.*"\n\n'
            '[[packages]]\nname = "a"\nversion = "1"\nmarker = "sys_platform != \'win32\'"\nwheels = [\n'
            f'    {{url = "https://h.example/a0.whl", hashes = {{sha256 = "{"b" * 64}"}}}},\n'
            f'    {{url = "https://h.example/a1.whl", hashes = {{sha256 = "{"b" * 64}"}}}},\n]\n\n'
            '[[packages]]\nname = "b"\nversion = "1+\u00e9"\nwheels = [\n'
            f'    {{path = "b.whl", size = 5, hashes = {{sha256 = "{"c" * 64}"}}}},\n]\n\n'
            '[tool.provision-backend]\nbuild-backend = "b.backend:object"\n'
            'requires = [\n    "a; python_version < \\"4\\"",\n]\ndynamic = []\n'
            f'interpreters = [\n    "{line("3.13.5")}",\n]\ndigest = "{digest}"\n'
        )


class TestCommand:
    """``provision-backend lock``."""

    @pytest.fixture
    def catalog(self, tmp_path: Path) -> Path:
        """A catalog with two builds for two targets."""
        path = tmp_path / "SHA256SUMS"
        lines = [line(version, triple=triple) for version in ("3.13.5", "3.13.6") for triple in (GNU, MUSL)]
        path.write_text("\n".join([*lines, line("3.13.6", triple="x86_64_v3-unknown-linux-gnu"), ""]))
        return path

    def test_it_locks_says_so_and_has_nothing_more_to_do(self, tmp_path: Path, catalog: Path) -> None:
        """The second run changes nothing; ``--check`` agrees; what was locked is what a build reads."""
        root = project(tmp_path / "p")
        answer = lock(root, "--target", GNU, catalog=str(catalog))

        assert (answer.code, answer.told) == (
            0,
            "provision-backend: locked to CPython 3.13.6 of 20260101 for 1 target, in pyproject.toml\n",
        )
        assert answer.lines[:2] == ["--- a/pyproject.toml", "+++ b/pyproject.toml"]
        assert answer.data == {
            "path": str(root / "pyproject.toml"),
            "changed": True,
            "written": True,
            "always": False,
            "archives": [
                {
                    "version": "3.13.6",
                    "tag": "20260101",
                    "triple": GNU,
                    "key": f"cpython-3.13.6-20260101-{GNU}-aaaaaaaa",
                    "sha256": "a" * 64,
                    "filename": line("3.13.6").split()[1],
                }
            ],
            "packages": [],
            "dynamic": [],
            "diff": "".join(f"{text}\n" for text in answer.lines),
        }
        for arguments in ((), ("--check",)):
            again = lock(root, *arguments, "--target", GNU, catalog=str(catalog))
            assert (again.code, again.lines, again.data["changed"]) == (0, [], False)
            assert again.told == (
                "provision-backend: nothing to do: locked to CPython 3.13.6 of 20260101 for 1 target, "
                "in pyproject.toml\n"
            )
        found = read_project(root).lock
        assert found is not None
        assert lock_lines(found) == [line("3.13.6")]

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (
                'build-backend = "provision_backend"',
                'build-backend = "flit_core.buildapi"',
                "pyproject.toml: [tool.provision-backend] exists, but the build-backend is 'flit_core.buildapi'\n"
                '  write build-backend = "provision_backend" in [build-system], '
                "or remove the table and run 'provision-backend init'",
            ),
            (
                '["provision-backend"]',
                "[]",
                "pyproject.toml: build-system.requires does not name provision-backend, so an isolated build does not "
                'find it\n  add "provision-backend" to the list',
            ),
        ],
        ids=["another backend", "not named"],
    )
    @pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["lock", "check"])
    def test_a_project_that_no_build_would_lock_is_refused(
        self, tmp_path: Path, catalog: Path, arguments: Sequence[str], old: str, new: str, message: str
    ) -> None:
        """Its frontend does not call us, so a lock would look right and count for nothing."""
        path = project(tmp_path / "p") / "pyproject.toml"
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(ProjectError) as caught:
            lock(path.parent, *arguments, "--target", GNU, catalog=str(catalog))

        assert str(caught.value) == message

    def test_check_writes_nothing(self, tmp_path: Path, catalog: Path) -> None:
        """It ends with 1 where there is something to do, and says what."""
        root = project(tmp_path / "p")
        before = (root / "pyproject.toml").read_bytes()
        answer = lock(root, "--check", "--target", MUSL, catalog=str(catalog))

        assert (answer.code, answer.data["changed"], answer.data["written"]) == (1, True, False)
        assert answer.told == (
            "provision-backend: would be locked to CPython 3.13.6 of 20260101 for 1 target, in pyproject.toml\n"
        )
        assert (root / "pyproject.toml").read_bytes() == before

    def test_what_is_locked_stays_until_it_is_upgraded(self, tmp_path: Path, catalog: Path) -> None:
        """Another target joins the build that is locked; ``--upgrade`` moves both."""
        root = project(tmp_path / "p")
        lock(root, "--target", GNU, python="3.13.5", catalog=str(catalog))
        answer = lock(root, "--target", MUSL, catalog=str(catalog))

        assert [item["version"] for item in answer.data["archives"]] == ["3.13.5", "3.13.5"]
        check = lock(root, "--upgrade", "--check", "--target", GNU, catalog=str(catalog))
        assert (check.code, check.told) == (
            1,
            "provision-backend: the lock is not up to date: "
            "it would be CPython 3.13.6 of 20260101 for 2 targets, in pyproject.toml\n",
        )
        answer = lock(root, "--upgrade", "--target", GNU, catalog=str(catalog))
        assert [item["version"] for item in answer.data["archives"]] == ["3.13.6", "3.13.6"]

    def test_a_lock_that_does_not_satisfy_is_made_anew(self, tmp_path: Path, catalog: Path) -> None:
        """This is what the error of a build says to do."""
        root = project(tmp_path / "p", table(line("3.12.9"), line("3.12.9", triple=MUSL)), requires_python=">=3.13")
        answer = lock(root, "--target", GNU, catalog=str(catalog))

        assert [(item["version"], item["triple"]) for item in answer.data["archives"]] == [
            ("3.13.6", GNU),
            ("3.13.6", MUSL),
        ]

    def test_all_targets(self, tmp_path: Path, catalog: Path) -> None:
        """Every Linux that has the build, without the higher levels of x86-64."""
        root = project(tmp_path / "p")
        answer = lock(root, "--target", "all", "--target", MUSL, catalog=str(catalog))

        assert [item["triple"] for item in answer.data["archives"]] == [GNU, MUSL]

    def test_the_default_target_is_this_host(self, tmp_path: Path, catalog: Path) -> None:
        """As a build finds it out, with the same setting to say otherwise."""
        answer = lock(project(tmp_path / "p"), catalog=str(catalog), target=MUSL)

        assert [item["triple"] for item in answer.data["archives"]] == [MUSL]

    def test_the_built_in_catalog_serves_where_none_is_named(self, tmp_path: Path) -> None:
        """Its Linux targets are locked to one build."""
        answer = lock(project(tmp_path / "p"), "--target", MUSL, "--target", "all", "--target", GNU)

        triples = [item["triple"] for item in answer.data["archives"]]
        assert {GNU, MUSL} <= set(triples)
        assert all("-linux-" in triple and not triple.startswith("x86_64_v") for triple in triples)
        assert len({(item["version"], item["tag"]) for item in answer.data["archives"]}) == 1

    def test_a_file_of_its_own(self, tmp_path: Path, catalog: Path) -> None:
        """It is a catalog too; it stays one, and its comments stay as long as its lines do."""
        root = project(tmp_path / "p")
        lock(root, "--target", GNU, catalog=str(catalog))
        answer = lock(root, "--target", MUSL, "--file", "--always", catalog=str(catalog))
        file = root / "provision-backend.lock"

        assert answer.data["path"] == str(file)
        assert answer.lines[-1] == '+file = "provision-backend.lock"'
        assert file.read_text() == f"{line('3.13.6')}\n{line('3.13.6', triple=MUSL)}\n"
        assert len(load_catalog_file(file)) == 2
        assert read_project(root).lock == Lock(tuple(load_catalog_file(file)), always=True, file=file.name)
        file.write_text("# By hand.\n" + file.read_text())
        assert lock(root, "--target", GNU, catalog=str(catalog)).data["changed"] is False
        answer = lock(root, "--no-always", "--target", GNU, catalog=str(catalog))
        assert (answer.data["always"], file.read_text()[:1]) == (False, "#")

    def test_a_table_stays_one_until_something_else_is_asked_for(self, tmp_path: Path, catalog: Path) -> None:
        """A line says so; options of the one form are refused with the other."""
        root = project(tmp_path / "p", table(line("3.13.6")))
        answer = lock_all(root, "--target", GNU, catalog=str(catalog))

        assert answer.told.splitlines()[0] == (
            "provision-backend: only the interpreter is locked, as before; "
            "--no-only-interpreter locks the requirements too"
        )
        assert answer.data["changed"] is False
        everything = LockedRequirements((), (), (), "flit_core.buildapi")
        other = Lock(tuple(archives(line("3.13.6"))), file=PYLOCK, requirements=everything)
        (root / "pyproject.toml").write_text(lock_text((root / "pyproject.toml").read_text(), other))
        (root / PYLOCK).write_text(pylock_text(pylock_document(other)))
        answer = lock(root, "--target", GNU, catalog=str(catalog))
        assert answer.told.splitlines()[1] == f"provision-backend: note: {PYLOCK} is not used any more; remove it"
        assert read_project(root).lock == Lock(other.archives)
        with pytest.raises(UsageError, match="--upgrade-package cannot be used where only the interpreter is locked"):
            lock_all(root, "--upgrade-package", "flit_core", catalog=str(catalog))
        with pytest.raises(UsageError, match="--file needs --only-interpreter"):
            lock_all(root, "--no-only-interpreter", "--file", catalog=str(catalog))

    def test_a_missing_package_is_reported_before_anything_is_done(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A catalog that does not exist is not even looked at."""
        monkeypatch.setitem(sys.modules, "tomlkit", None)
        with pytest.raises(MissingDependencyError) as caught:
            lock(project(tmp_path / "p"), "--target", GNU, catalog="/does/not/exist")

        assert str(caught.value) == (
            "the package 'tomlkit' is needed to run 'provision-backend lock' and is not installed\n"
            "  pip install 'provision-backend[init]'"
        )

    def test_wrong_use(self, tmp_path: Path, catalog: Path) -> None:
        """A folder that is none, a target that nobody knows, and an interpreter in place of a version."""
        root = project(tmp_path / "p")
        with pytest.raises(UsageError, match=r"^DIR must name a folder, found "):
            lock(tmp_path / "none", catalog=str(catalog))
        with pytest.raises(UsageError, match=r"^unknown target 'x86_64-linux-mull'"):
            lock(root, "--target", "x86_64-linux-mull", catalog=str(catalog))
        with pytest.raises(UsageError, match="must be a version or a version specifier"):
            lock(root, "--target", GNU, catalog=str(catalog), python="/usr/bin/python3")
        # What has its wheels made has a table, and adopts us no more than a project without one.
        for text in ("", "[tool.provision-backend.wheels]\n"):
            (root / "pyproject.toml").write_text(text)
            with pytest.raises(ProjectError) as caught:
                lock(root, "--target", GNU, catalog=str(catalog))
            assert str(caught.value) == (
                "pyproject.toml: the project does not build through provision_backend\n"
                "  run 'provision-backend init' first, which wraps its backend"
            )
