"""What came of each build, kept beside the wheels: the record of a run, from which an interrupted one goes on.

``logs/<build id>.json`` says what a build was made from, what it made and how its tests ended. A record is used again
if it was made from the same, by a run that did not come to its end or was red, and if its wheel is still what it was.
After a green run everything is built anew.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ..cache.folders import work_prefix
from ..errors import ProvisionError, UsageError
from ..files import hash_file, list_names, parse_json, read_file, remove_path, write_atomically
from ..versions import parse_version
from .plan import PlannedBuild, Python

__all__ = [
    "FREE_SOME", "LOCK", "LOGS", "MADE", "Keys", "Outcome", "Tested", "load_outcome", "open_output", "open_work",
    "save_outcome", "staged_wheel", "sweep_staged",
]  # fmt: skip

LOGS = "logs"
"""The folder beside the wheels that has a log and a record of each build."""

LOCK = ".shard-"
"""The beginning of the names of the files in `LOGS` that are a run's lock."""

FREE_SOME = "free some space, and run the same command again: it continues where it stopped"
"""The hint where a disk is full."""

_WORK = "provision-backend-wheels-"  # the beginning of the name of a run's temporary folder, before its process

_STAGED = ".whl.part"  # the end of the name of a wheel in LOGS that is not finished

MADE = ("*.whl", *(f"{LOGS}/{name}" for name in ("*.log", "*.json", f"{LOCK}*", f".*{_STAGED}")))
"""Patterns of what a run leaves in the folder of the wheels, also if it is killed."""


class Keys(NamedTuple):
    """What decides whether the record of a build can be used again: hashes, lower-case hex."""

    made_from: str
    """Of all that the wheel depends on."""
    tested_with: str
    """Of the command of its tests, and what they require."""


class Tested(NamedTuple):
    """How the test of a wheel on one Python ended."""

    python: str
    triple: str
    passed: Optional[bool]
    """None where it could not be tested here."""
    seconds: float
    peak_memory: int
    """Peak memory of its processes, bytes."""
    message: str = ""
    """Why it failed, or why it could not be tested."""


class Outcome:
    """A build and what has become of it; the pool changes it as the build goes on."""

    def __init__(self, build: PlannedBuild) -> None:
        self.build = build
        self.status = "waiting"
        """waiting, running, held, built, kept (from an earlier run), failed, covered (by *served_by*)."""
        self.served_by = ""
        """Id of the build whose wheel serves this Python, too."""
        self.made: Dict[str, Any] = {}
        """What the worker has answered: ``wheel``, ``sha256``, ``size``, ``interpreter``, ``repaired``, ``grafted``."""
        self.message = self.hint = ""
        """Why it failed, and what to do."""
        self.log = ""
        self.seconds = 0.0
        self.peak_memory = 0
        self.planned: List[Python] = []
        """Where its wheel is to be tested."""
        self.tests: List[Tested] = []

    @property
    def has_wheel(self) -> bool:
        """Whether its wheel is in the output."""
        return self.status in ("built", "kept")

    @property
    def untried(self) -> List[Python]:
        """The tests that have not passed yet, in this run or an earlier one."""
        tried = {(test.python, test.triple) for test in self.tests}
        untried = [test for test in self.planned if (test.python, test.triple) not in tried]
        return sorted(untried, key=lambda test: (parse_version(test.version), test.python, test.triple))

    @property
    def is_green(self) -> bool:
        """Whether nothing about it failed and nothing is left to do."""
        if self.status == "covered":
            return True
        return self.has_wheel and not self.untried and all(test.passed is not False for test in self.tests)

    def as_dict(self) -> Dict[str, Any]:
        """Return the object for ``--json``, and for the record."""
        build, made = self.build, self.made if self.has_wheel else {}
        return {
            "id": build.id,
            "python": build.python,
            "version": build.version,
            "triple": build.triple,
            "status": self.status,
            "served_by": self.served_by or None,
            "wheel": made.get("wheel"),
            "sha256": made.get("sha256"),
            "size": made.get("size"),
            "repaired": made.get("repaired"),
            "grafted": made.get("grafted", []),
            "interpreter": made.get("interpreter"),
            "tests": [test._asdict() for test in self.tests],
            "seconds": round(self.seconds, 1),
            "peak_memory": self.peak_memory,
            "log": self.log or None,
            "error": self.message or None,
        }


@contextmanager
def open_work() -> Iterator[Path]:
    """Make the temporary folder of a run, which is removed at its end; remove those of runs that were killed."""
    parent = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix=work_prefix(Path(parent), _WORK), dir=parent) as folder:
        yield Path(folder)


def open_output(out: Path) -> Path:
    """Make the folder for the wheels, and return that for logs; raise `UsageError` where it cannot be written to."""
    logs = out / LOGS
    try:
        logs.mkdir(parents=True, exist_ok=True)
        # Some file systems say only then that nothing can be written.
        write_atomically(logs / ".writable", b"", durable=False)
        remove_path(logs / ".writable")
    except OSError as exc:
        raise UsageError(
            f"--out names {str(out)!r}, and nothing can be written there: {exc.strerror or exc}",
            hint="name another folder",
        ) from None
    return logs


def staged_wheel(logs: Path, build_id: str) -> Path:
    """Return where the worker of a build leaves its wheel, on the file system of the output."""
    return logs / f".{build_id}{_STAGED}"


def save_outcome(logs: Path, outcome: Outcome, keys: Keys, *, finished: bool = False) -> None:
    """Write the record of a build that has a wheel; *finished* says that its run was green.

    Raises:
        ProvisionError: it cannot be written.
    """
    data = {**outcome.as_dict(), **keys._asdict(), "finished": finished}
    path, content = logs / f"{outcome.build.id}.json", json.dumps(data, indent=2) + "\n"
    try:
        write_atomically(path, content.encode("utf-8"), durable=False)
    except OSError as exc:
        raise ProvisionError(f"could not write {path}: {exc.strerror or exc}", hint=FREE_SOME) from None


def load_outcome(logs: Path, build: PlannedBuild, keys: Keys) -> Optional[Outcome]:
    """Return what an interrupted or red run of the same has made of a build; None where it must be built."""
    try:
        data = parse_json(read_file(logs / f"{build.id}.json"))
        wheel = logs.parent / str(data["wheel"])
        if data["made_from"] != keys.made_from or data["finished"] or hash_file(wheel) != data["sha256"]:
            return None
        outcome = Outcome(build)
        outcome.status, outcome.made = "kept", data
        outcome.log, outcome.seconds, outcome.peak_memory = data["log"], data["seconds"], data["peak_memory"]
        if data["tested_with"] == keys.tested_with:
            outcome.tests = [Tested(**test) for test in data["tests"] if test["passed"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # It was not built yet, or by another version of ours.
    return outcome


def sweep_staged(logs: Path, ids: Sequence[str]) -> None:
    """Remove what killed builds of these ids have left."""
    for name in list_names(logs):
        if name.endswith(_STAGED) and name[1 : -len(_STAGED)] in ids:
            remove_path(logs / name)
