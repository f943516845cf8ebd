"""Builds and tests of wheels in worker processes: which of them count, what is kept, and how a run ends."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import pytest
from support.command_line import variables
from support.host_interpreters import usable_hosts
from support.hosts import find_uv
from support.wheel_projects import toy_sdist

from provision_backend.install.unpack import unpack_sdist
from provision_backend.output import Reporter
from provision_backend.settings import Settings
from provision_backend.wheels import workers
from provision_backend.wheels.progress import Progress
from provision_backend.wheels.state import open_work

Wheels = Dict[str, str]
"""The sha256 of each wheel, by its name."""


@pytest.fixture
def pythons() -> List[str]:
    """Return three minor versions of installed interpreters, lowest first."""
    minors = list(dict.fromkeys(".".join(host.version.split(".")[:2]) for host in usable_hosts()))
    if len(minors) < 3:
        pytest.skip("three minor versions of CPython are needed")
    return minors[-3:]


class Toy:
    """The toy project in a folder, and runs of ``wheels`` for it on the interpreters of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "dist"
        self.sdist = toy_sdist(folder)

    def command(self, pythons: Sequence[str], *arguments: str) -> List[str]:
        """Return the command line."""
        chosen = [word for python in pythons for word in ("--python", python)]
        command = [sys.executable, "-m", "provision_backend", "wheels", str(self.sdist), *chosen, "--json"]
        return [*command, "--preference", "only-system", "--out", str(self.out), *arguments]

    def environ(self, **toy: str) -> Dict[str, str]:
        """Return the variables of a run: those of the toy, and uv, where it is, since it takes less time."""
        uv, more = find_uv(), {}
        if uv is not None:
            path = f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"
            more = {"PATH": path, "PROVISION_BACKEND_INSTALLER": "uv", "UV_NO_CONFIG": "1", "UV_OFFLINE": "1"}
        return variables({**more, **toy, "TMPDIR": str(self.folder)})

    def run(self, pythons: Sequence[str], *arguments: str, **toy: str) -> Tuple[int, Any, str]:
        """Run it, with variables of the toy, and return exit code, answer and standard error."""
        command, environ = self.command(pythons, *arguments), self.environ(**toy)
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    def wheels(self) -> Wheels:
        """Return what is in the output."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.out.glob("*.whl")}

    def records(self) -> List[Any]:
        """Return what is written down of each build."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in (self.out / "logs").glob("*.json")]

    def leftovers(self) -> List[str]:
        """Return the names of what nobody should find after a run."""
        names = [path.name for path in self.folder.iterdir() if path.name.startswith("provision-backend-")]
        kept = (".log", ".json", ".lock", ".owner")
        return names + [path.name for path in (self.out / "logs").iterdir() if path.suffix not in kept]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def _tested(answer: Any) -> Dict[str, List[str]]:
    """Return on which Pythons each wheel has passed its test."""
    return {
        build["wheel"]: sorted(test["python"] for test in build["tests"] if test["passed"])
        for build in answer["builds"]
        if build["wheel"]
    }


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("core.c:7:5: error: call to undeclared function 'getrandom'; ISO C99 and later do not support", "getrandom"),
        ("ld.lld: error: undefined symbol: getrandom", "getrandom"),
        ("core.c:7:5: error: expected expression", ""),
    ],
)
def test_a_function_that_the_glibc_lacks_is_named(said: str, named: str) -> None:
    """What clang and lld say of a function that is too new leads to the option; nothing else does, nor without it."""
    settings = Settings(glibc="2.17")

    expected = f"glibc 2.17 has no {named}; if a newer one does, ask for that: --glibc 2.28" if named else ""
    assert workers._ask_for_newer(said, settings) == expected
    assert workers._ask_for_newer(said, Settings()) == ""


def test_silence_is_broken_once_a_minute_where_there_is_no_terminal(tmp_path: Path) -> None:
    """After a minute without a line, what is at work is named with its seconds; after the end of it, nothing is."""
    now, stream = [0.0], io.StringIO()
    progress = Progress(Reporter(stream, clock=lambda: now[0]))
    progress.begin("cp313", tmp_path / "log")
    for now[0] in (59.0, 60.0, 61.0, 119.0, 120.0):
        progress.draw()
    progress.end("cp313", "built")
    now[0] = 300.0
    progress.draw()

    assert [line.partition(": ")[2] for line in stream.getvalue().splitlines()] == [
        f"cp313: begun, log in {tmp_path / 'log'}",
        "at work: cp313 (60 s)",
        "at work: cp313 (120 s)",
        "cp313: built",
    ]


@pytest.mark.slow
def test_a_wheel_whose_record_leaves_a_file_out_is_not_published(toy: Toy, pythons: List[str]) -> None:
    """Package indexes refuse it; its build has failed, whatever the tests of it would say."""
    code, answer, said = toy.run(pythons[:1], "--jobs", "1", TOY_KIND="pure", TOY_UNLISTED="1")

    assert (code, [build["status"] for build in answer["builds"]], toy.wheels()) == (1, ["failed"], {})
    assert "failed: toy-1.0-py3-none-any.whl does not hold what its RECORD lists: late.py is not listed" in said


def test_a_failure_ends_the_run_and_the_next_goes_on_where_it_was(toy: Toy, pythons: List[str]) -> None:
    """A red build is one sentence with the end of its log and its place; what was built before is not built again."""
    pythons = pythons[:2]
    code, answer, said = toy.run(pythons, "--jobs", "1", TOY_FAILS=pythons[0])

    assert (code, [build["status"] for build in answer["builds"]]) == (1, ["failed", "waiting"])
    assert "failed: the real backend's build_wheel ended with exit status 1" in said
    assert f"toy: this does not build under {pythons[0]}" in said
    assert f"the whole log is {toy.out}" in said
    # The end of the log is the same sentence, which is not said twice.
    assert said.count("ended with exit status 1") == 1
    assert "Traceback" not in said
    assert toy.leftovers() == []

    code, answer, _ = toy.run(pythons, "--keep-going", TOY_FAILS=pythons[0], TOY_LEAVES="1")

    # What a backend has left running ends with its build.
    assert _programs_below(toy.folder) == []
    assert (code, [build["status"] for build in answer["builds"]]) == (1, ["failed", "built"])
    before = toy.wheels()
    code, answer, _ = toy.run(pythons)

    assert (code, [build["status"] for build in answer["builds"]]) == (0, ["built", "kept"])
    assert before.items() <= toy.wheels().items()
    # After a green run everything is built anew.
    assert [record["finished"] for record in toy.records()] == [True, True]


_SDIST_FAILS = """
def build_sdist(folder, config_settings=None):
    print("only works with Git")
    raise SystemExit(1)
"""


@pytest.mark.slow
def test_an_sdist_that_fails_says_why(tmp_path: Path, pythons: List[str]) -> None:
    """What a backend has printed to standard output, as meson does, is in the message, and the log is named."""
    (tmp_path / "backend.py").write_text(_SDIST_FAILS, encoding="utf-8")
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (tmp_path / "pyproject.toml").write_text(f'{system}[project]\nname = "spam"\nversion = "1"\n', encoding="utf-8")
    command = [sys.executable, "-m", "provision_backend", "wheels", "--preference", "only-system"]
    done = subprocess.run(
        [*command, "--python", pythons[0]], cwd=tmp_path, env=variables({}), capture_output=True, text=True
    )

    said = "provision-backend: the real backend's build_sdist ended with exit status 1\n  only works with Git\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f"{said}  the whole log is {tmp_path}/dist/logs/sdist.log\n"), done.stderr


@pytest.mark.slow
def test_a_pure_wheel_counts_once_whichever_build_ends_first(toy: Toy, pythons: List[str]) -> None:
    """The wheel of the lowest Python is tested on all, although a higher one was done before it."""
    pythons = pythons[:2]
    code, answer, _ = toy.run(pythons, "--abi", "each", "--jobs", "2", TOY_KIND="pure", TOY_SLOW=pythons[0])

    assert (code, [build["status"] for build in answer["builds"]]) == (0, ["built", "covered"])
    assert _tested(answer) == {"toy-1.0-py3-none-any.whl": sorted(pythons)}
    with zipfile.ZipFile(str(toy.out / "toy-1.0-py3-none-any.whl")) as wheel:
        assert f"BUILT = '{pythons[0]}'" in wheel.read("toy.py").decode()


@pytest.mark.slow
def test_what_is_built_decides_what_else_is_built(toy: Toy, pythons: List[str]) -> None:
    """A project that is taken for pure, and is not: one wheel serves two Pythons, and the third has its own."""
    low, middle, high = pythons
    code, answer, _ = toy.run(pythons, "--abi", "none", "--jobs", "1", TOY_KIND=f"from-{middle}")

    assert code == 0
    assert sorted(_tested(answer).values()) == [[low], [middle, high]]


@pytest.mark.slow
def test_a_wheel_that_fails_its_test_is_red(toy: Toy, pythons: List[str]) -> None:
    """The message names the import that failed, and the next run tests again without building."""
    broken, pythons = pythons[1], pythons[:2]
    code, answer, said = toy.run(pythons, "--jobs", "1", "--keep-going", TOY_KIND="pure", TOY_BROKEN=broken)

    assert code == 1
    assert "'import toy' failed" in said
    assert _tested(answer) == {"toy-1.0-py3-none-any.whl": sorted({*pythons} - {broken})}

    code, answer, said = toy.run(pythons, "--test", "echo what the test found; exit 1", TOY_BROKEN=broken)

    assert (code, answer["builds"][0]["status"]) == (1, "kept")
    assert "\n  what the test found\n  the whole log is" in said

    code, answer, _ = toy.run(pythons, "--test", "python -c 'import sys'", TOY_BROKEN=broken)

    assert (code, answer["builds"][0]["status"]) == (0, "kept")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["int", "kill"])
def test_a_run_that_is_ended_leaves_nothing_running_and_nothing_half_made(
    toy: Toy, pythons: List[str], number: signal.Signals
) -> None:
    """Its workers and the hooks in them end with it, its folders are removed, and the same command goes on."""
    low, high = pythons[0], pythons[2]
    command, environ = toy.command([low, high], "--jobs", "1"), toy.environ(TOY_HANGS=high)
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as run:
        hanging = toy.out / "logs" / f"cp{high.replace('.', '')}-"
        _wait_until(lambda: any("the toy backend runs" in log.read_text() for log in _logs(hanging)))
        run.send_signal(number)
        assert run.wait(60) == (130 if number != signal.SIGKILL else -signal.SIGKILL)

    _wait_until(lambda: toy.leftovers() == [])
    _wait_until(lambda: _programs_below(toy.folder) == [])
    assert [name[:11] for name in toy.wheels()] == [f"toy-1.0-cp{low.replace('.', '')}"[:11]]
    if number == signal.SIGKILL:
        assert [build["status"] for build in toy.run([low, high])[1]["builds"]] == ["kept", "built"]


@pytest.mark.slow
def test_a_run_that_is_terminated_while_it_makes_the_sdist_leaves_nothing(toy: Toy, pythons: List[str]) -> None:
    """SIGTERM, which engines send first, ends it as Ctrl-C does. Until then another run waits for the folder."""
    toy.sdist = unpack_sdist(toy.sdist, toy.folder / "project")
    log = toy.out / "logs" / "sdist.log"
    environ = toy.environ(TOY_HANGS="sdist")
    with subprocess.Popen(toy.command(pythons[:1]), env=environ, stderr=subprocess.DEVNULL) as run:
        _wait_until(lambda: log.exists() and "the toy backend runs" in log.read_text())
        code, _, said = toy.run(pythons[:1], "--lock-timeout", "0.1")
        assert code == 1
        assert re.search(rf"waiting for process {run.pid} .*, which builds into the same folder", said), said
        run.terminate()
        assert run.wait(60) == 130

    assert toy.leftovers() == []
    _wait_until(lambda: _programs_below(toy.folder) == [])


def _logs(start: Path) -> List[Path]:
    return [path for path in start.parent.glob("*.log") if path.name.startswith(start.name)]


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not come true in two minutes"
        time.sleep(0.1)


def _programs_below(folder: Path) -> List[str]:
    """Return the command lines of processes that name a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            found += [command] if str(folder) in command and file.parent.name != str(os.getpid()) else []
    return found


def test_an_output_that_cannot_be_written_is_one_sentence(toy: Toy, pythons: List[str]) -> None:
    """It is reported before anything is built."""
    toy.out.write_text("a file")
    code, _, said = toy.run(pythons)

    assert code == 2
    assert f"--out names '{toy.out}', and nothing can be written there" in said


def test_number_of_jobs_is_bounded_by_work_and_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person asks for counts; otherwise a build gets a gigabyte, and there is always one."""
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    for memory, expected in ((3 << 30, 3), (100 << 30, 8), (100 << 20, 1), (None, 8)):
        monkeypatch.setattr(workers, "available_memory", lambda found=memory: found)
        assert workers.number_of_jobs(0, 20) == expected
    assert workers.number_of_jobs(5, 20) == 5
    assert workers.number_of_jobs(5, 2) == 2


def test_the_folder_of_a_run_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    """Nobody is there to remove it where no worker was at work yet; that of a run that goes on stays."""
    code = "import time\nfrom provision_backend.wheels.state import open_work\n"
    code += "with open_work():\n    print('made', flush=True)\n    time.sleep(60)"
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    runs = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) for _ in range(2)]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == b"made\n"
    killed, alive = runs
    killed.kill()
    killed.communicate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        with open_work() as work:
            left = sorted(path.name for path in tmp_path.iterdir() if path != work)
    alive.kill()
    alive.communicate()

    assert [f"-{alive.pid}-" in name for name in left] == [True]
