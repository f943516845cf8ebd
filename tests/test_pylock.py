"""``pylock.provision-backend.toml``: how a build reads it, and when it refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Sequence

import pytest
import tomlkit
from support.locking import line

from provision_backend.catalog.wanted import Lock, LockedRequirements
from provision_backend.errors import ProjectError
from provision_backend.project.plan import RunningInterpreter, make_plan
from provision_backend.project.pylock import PYLOCK, digest_of, wheel_sha256
from provision_backend.project.pyproject import read_project
from provision_backend.settings import Settings

RELOCK = "\n  run 'provision-backend lock' to lock the project again"
PACKAGE = {
    "name": "toy",
    "version": "1.0",
    "wheels": [{"path": "toy-1.0-py3-none-any.whl", "hashes": {"sha256": "a" * 64}}],
}


def document(package: Any = None, **tool: Any) -> Dict[str, Any]:
    """Return the content of a lock file, whose digest is right unless *tool* has one; *package* changes its package."""
    ours = {
        "build-backend": "toy.build",
        "requires": ["toy"],
        "dynamic": ["toy-tool"],
        "interpreters": [line("3.13.5")],
        **{key.replace("_", "-"): value for key, value in tool.items()},
    }
    found: Dict[str, Any] = {
        "lock-version": "1.0",
        "created-by": "provision-backend",
        "packages": [{**PACKAGE, **(package or {})}],
        "tool": {"provision-backend": ours},
    }
    ours.setdefault("digest", digest_of(found))
    return found


def locked(root: Path, content: Any = None, *, scope: str = "provisioned", requires: Sequence[str] = ("toy",)) -> Path:
    """Make a locked project in a folder, and return the folder."""
    text = content if isinstance(content, str) else tomlkit.dumps(document() if content is None else content)
    (root / PYLOCK).write_text(text, encoding="utf-8")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["provision-backend"]\nbuild-backend = "provision_backend"\n'
        '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.13"\n'
        f'[tool.provision-backend]\nbuild-backend = "toy.build"\nrequires = {list(requires)}\nlock = "{scope}"\n',
        encoding="utf-8",
    )
    return root


def test_what_is_locked(tmp_path: Path) -> None:
    """Archives as in every lock, and the build requirements with what they were resolved from."""
    found = read_project(locked(tmp_path)).lock

    assert found is not None
    assert [archive.version for archive in found.archives] == ["3.13.5"]
    assert found.requirements == LockedRequirements((PACKAGE,), ("toy",), ("toy-tool",), "toy.build")
    assert (found.place, found.always) == (PYLOCK, False)


def test_layout_and_order_of_keys_do_not_count(tmp_path: Path) -> None:
    """A formatter may go over the file; what it says is still what was locked."""
    content = document()
    shuffled = {key: content[key] for key in reversed(list(content))}
    text = "# Reviewed.\n" + tomlkit.dumps(shuffled).replace(" = ", "  =  ")

    assert read_project(locked(tmp_path, text)).lock == read_project(locked(tmp_path)).lock


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('"1.0"\n\n[[', '"1.0"\nextras = []\n\n[[', id="a key more"),
        pytest.param("a" * 64, "b" * 64, id="the hash of a wheel"),
        pytest.param('name = "toy"', 'name = "toys"', id="a name"),
        pytest.param("toy-tool", "toy-tools", id="a dynamic requirement"),
        pytest.param("3.13.5", "3.13.6", id="the interpreter"),
        pytest.param("digest = ", "digests = ", id="no digest"),
    ],
)
def test_an_edited_file_is_refused(tmp_path: Path, before: str, after: str) -> None:
    """Whatever was changed, nothing of the file is used."""
    text = tomlkit.dumps(document())
    assert before in text or before.startswith('"1.0"')
    edited = text.replace(before, after) if before in text else f"extras = []\n{text}"

    with pytest.raises(ProjectError) as caught:
        read_project(locked(tmp_path, edited))

    assert str(caught.value) == f"{PYLOCK} has been edited: its content does not match its digest{RELOCK}"


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A lock that an sdist lacks must not silently be no lock."""
    (locked(tmp_path) / PYLOCK).unlink()

    with pytest.raises(ProjectError) as caught:
        read_project(tmp_path)

    assert str(caught.value) == (
        f"tool.provision-backend.lock locks the project, and {PYLOCK} does not exist\n"
        "  have the real backend put it into the sdist; or run 'provision-backend lock', which writes it"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("<<<<<<< HEAD\n", f"{PYLOCK} is not valid TOML: ", id="a merge conflict"),
        pytest.param("tool = 1\n", f"{PYLOCK} has been edited", id="no table"),
        pytest.param("[tool]\nprovision-backend = 1\n", f"{PYLOCK} has been edited", id="no table of ours"),
        pytest.param(document(requires="toy"), f"{PYLOCK} is not complete: wrong type in ", id="a string"),
        pytest.param(document({"version": 1}), f"{PYLOCK} is not complete: wrong type in ", id="a version"),
        pytest.param(document({"wheels": "x"}), f"{PYLOCK} is not complete: wrong type in ", id="no list of wheels"),
        pytest.param(
            document({"wheels": ["x"]}), f"{PYLOCK} is not complete: wrong type in ", id="no table of a wheel"
        ),
        pytest.param(
            document({"wheels": [{"hashes": {"sha256": "a" * 64}}]}),
            f"{PYLOCK} is not complete: 'url' in ",
            id="a wheel from nowhere",
        ),
        *[
            pytest.param(
                document({"wheels": [{"path": "toy-1.0-py3-none-any.whl", "hashes": hashes}]}),
                f"{PYLOCK} is not complete: no sha256 of a wheel of 'toy' in ",
                id=f"hashes {number}",
            )
            for number, hashes in enumerate(
                [{"md5": "a" * 32}, {"sha256": "A" * 64}, {"sha256": f"{'a' * 64}\n--index-url x"}, {"sha256": 1}]
            )
        ],
        pytest.param(
            document(interpreters=[]), f"{PYLOCK}: tool.provision-backend.interpreters names no ar", id="no archive"
        ),
        pytest.param(
            document(interpreters=["x"]),
            f"{PYLOCK}: tool.provision-backend.interpreters, entry 1: expected '<sha256>",
            id="not an archive",
        ),
    ],
)
def test_what_is_no_lock_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    """A crafted file with a right digest ends in a sentence, too."""
    with pytest.raises(ProjectError) as caught:
        read_project(locked(tmp_path, content))

    assert str(caught.value).startswith(message)


def test_relocking_needs_no_readable_file(tmp_path: Path) -> None:
    """Otherwise the command that the messages advise could not be run."""
    found = read_project(locked(tmp_path, "<<<<<<< HEAD\n", scope="always"), relocking=True).lock

    assert found == Lock((), always=True, file=PYLOCK)


def test_an_unknown_scope_is_an_error(tmp_path: Path) -> None:
    """The two words are all that there is."""
    with pytest.raises(ProjectError) as caught:
        read_project(locked(tmp_path, scope="never"))

    assert str(caught.value) == (
        "pyproject.toml: tool.provision-backend.lock must be 'provisioned', 'always' or a table, found 'never'"
    )


class TestPlan:
    """When the lock is used, and when it is out of date."""

    OLD = RunningInterpreter("3.9.2", False, "/usr/bin/python3.9")
    NEW = RunningInterpreter("3.13.1", False, "/usr/bin/python3.13")

    @pytest.mark.parametrize(("scope", "provisions"), [("provisioned", False), ("always", True)])
    def test_a_satisfying_host(self, tmp_path: Path, scope: str, provisions: bool) -> None:
        """It passes through unless the project says always."""
        found = read_project(locked(tmp_path, scope=scope))

        plan = make_plan(found, Settings(), self.NEW)
        assert plan.provision == provisions
        said = f"the lock in {PYLOCK} always applies" if provisions else f", so the lock in {PYLOCK} is not used"
        assert plan.reason.endswith(said)
        assert make_plan(found, Settings(), self.OLD).provision

    @pytest.mark.parametrize(
        ("requires", "problem"),
        [
            pytest.param(["toy", "other"], "'other' is not locked", id="more"),
            pytest.param([], "'toy' is locked and no longer required", id="less"),
            pytest.param(
                ["toy>1"], "'toy>1' is not locked; 'toy' is locked and no longer required", id="another version"
            ),
        ],
    )
    def test_changed_requirements(self, tmp_path: Path, requires: Sequence[str], problem: str) -> None:
        """What would be installed is not what the project asks for."""
        found = read_project(locked(tmp_path, requires=requires))

        with pytest.raises(ProjectError) as caught:
            make_plan(found, Settings(), self.OLD)

        assert str(caught.value) == f"{PYLOCK}: the requirements of pyproject.toml have changed: {problem}{RELOCK}"

    def test_another_real_backend(self, tmp_path: Path) -> None:
        """Another one has dynamic requirements of its own."""
        found = read_project(locked(tmp_path, document(build_backend="other.build")))

        with pytest.raises(ProjectError) as caught:
            make_plan(found, Settings(), self.OLD)

        assert str(caught.value) == (
            f"{PYLOCK}: the project was locked with the real backend 'other.build', "
            f"and pyproject.toml names 'toy.build'{RELOCK}"
        )


@pytest.mark.parametrize(
    "found", [{}, {"md5": "a" * 32}, {"sha256": "a" * 64 + "\n--index-url x"}, {"sha256": "A" * 64}]
)
def test_a_hash_is_a_word_of_a_line(found: Dict[str, str]) -> None:
    """An index, too, could say what an installer would read as an option."""
    assert wheel_sha256({"hashes": found}) == wheel_sha256({}) == ""
    assert wheel_sha256({"hashes": {"sha256": "a" * 64}}) == "a" * 64
