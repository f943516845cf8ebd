"""Run the builds and tests of a plan, several at once, each in a worker process; decide what each result means.

What is built decides, and the plan is a guess. A wheel that turns out to serve Pythons whose builds have not begun (it
is pure, or uses the stable ABI) is tested there instead, and one that serves fewer than was expected has the others
built. Where two builds of a run make such a wheel, that of the lower Python counts, whichever ends first: the same
command gives the same wheels with any number of jobs.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

from ..cache.store import open_cache
from ..catalog.archive import Archive
from ..catalog.selection import select_archive
from ..catalog.wanted import Wanted, canonical_hash
from ..errors import ProvisionError
from ..files import publish, remove_path
from ..hooks.tags import covers
from ..install.catalogs import load_archives
from ..output import Reporter
from ..settings import Settings
from ..versions import own_version, parse_request
from .options import WheelOptions
from .plan import PlannedBuild, WheelPlan
from .progress import Progress
from .report import Report
from .source import Source
from .state import Keys, Outcome, Tested, load_outcome, save_outcome, staged_wheel, sweep_staged
from .workers import Result, Run, Task, Workers, number_of_jobs

__all__ = ["run_plan"]

_TICK = 0.1  # seconds between two looks at the workers

_COMPILING = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")
"""Variables of the person who builds that change what is compiled."""


def run_plan(
    plan: WheelPlan,
    source: Source,
    options: WheelOptions,
    settings: Settings,
    reporter: Reporter,
    *,
    work: Path,
    logs: Path,
) -> Report:
    """Build and test what is planned; return what became of it.

    Wheels appear in the folder that has *logs*, whole, or not at all. After an interruption, or a failure, the same
    call goes on where this one ended. What is made on the way is in *work*, which the caller removes, or a worker whose
    caller was killed. If the process is interrupted, `KeyboardInterrupt` is raised, and all that it started has ended.
    """
    began = time.monotonic()
    keys = _keys(plan, source, options, settings, reporter)
    count = number_of_jobs(options.jobs, sum(len(build.tests) for build in plan.builds))
    run = Run(source, settings, options, logs.parent, logs, work, count, plan.kind == "pure", keys)
    outcomes = _Pool(run, plan.builds, Progress(reporter)).work()
    return Report(outcomes, str(logs.parent), time.monotonic() - began, count)


def _keys(
    plan: WheelPlan, source: Source, options: WheelOptions, settings: Settings, reporter: Reporter
) -> Dict[str, Keys]:
    """Return what decides, by build id, whether the record of an earlier run can be used again."""
    cache = open_cache(settings)
    compiling = {name: os.environ.get(name, "") for name in _COMPILING}
    shared = [own_version(), source.sha256, source.epoch, compiling]
    shared += [getattr(settings, name) for name in ("cpu_level", "glibc", "sbom", "toolchain")]
    tested_with = canonical_hash([options.test, list(options.test_requires), options.root])
    keys: Dict[str, Keys] = {}
    lock = source.project.lock

    @lru_cache(maxsize=None)
    def _catalog(triple: str) -> Tuple[Archive, ...]:
        return load_archives(settings, triple, cache, reporter)

    # The first test of a build is on the Python that builds it.
    for each in (test for build in plan.builds for test in build.tests):
        # Where the project is locked, its archive need not be in the catalog any more.
        locked = lock is not None and lock.is_for(each.request, each.triple)
        archives = lock.archives if lock and locked else _catalog(each.triple)
        wanted = Wanted("", parse_request(each.request))
        # An interpreter of the machine has a version, and no hash.
        system = settings.preference == "only-system"
        made_by = each.request if system else select_archive(archives, wanted, each.triple).sha256
        keys[each.id] = Keys(canonical_hash([*shared, made_by]), tested_with)
    return keys


class _Pool:
    """The builds of a run, in the order in which they begin, lowest Python first, and the workers that are at it."""

    def __init__(self, run: Run, builds: Sequence[PlannedBuild], progress: Progress) -> None:
        self.outcomes = [Outcome(build) for build in builds]
        self._run = run
        self._progress = progress
        self._workers = Workers(run, progress)
        self._red = False

    def work(self) -> List[Outcome]:
        """Build and test everything, or up to the first failure, and return what became of each build.

        If this is interrupted, the workers are ended, and what they have not finished is removed.
        """
        self._sweep()
        try:
            self._take_kept()
            while self._begin_all() or self._workers.tasks:
                time.sleep(_TICK)
                for task, result in self._workers.look():
                    (self._end_build if task.test is None else self._end_test)(task, result)
                self._progress.draw()
        finally:
            # After an interruption there are some left.
            self._workers.end(*self._workers.tasks)
            self._workers.finish()
            self._sweep()
            self._progress.close()
        for outcome in self.outcomes:
            if outcome.status == "held":
                outcome.status = "waiting"  # What it waited for was not begun, after a failure.
        if all(outcome.is_green for outcome in self.outcomes):
            for outcome in self.outcomes:
                if outcome.has_wheel:
                    save_outcome(self._run.logs, outcome, self._keys(outcome), finished=True)
        return self.outcomes

    def _sweep(self) -> None:
        sweep_staged(self._run.logs, [outcome.build.id for outcome in self.outcomes])

    def _take_kept(self) -> None:
        """Take over what an interrupted or red run of the same has built already."""
        for position, outcome in enumerate(self.outcomes):
            kept = load_outcome(self._run.logs, outcome.build, self._keys(outcome))
            if kept is not None:
                self.outcomes[position] = kept
                self._accept(kept)
                self._progress.say(f"{kept.build.id}: {kept.made['wheel']} is kept from an earlier run")

    def _begin_all(self) -> bool:
        """Begin what there is room for; return whether something was begun."""
        begun = False
        while len(self._workers.tasks) < self._run.jobs:
            task = None if self._red and not self._run.options.keep_going else next(self._tasks(), None)
            if task is None:
                break
            self._workers.begin(task)
            begun = True
        return begun

    def _tasks(self) -> Iterator[Task]:
        """Yield what can be begun now, tests first: they are short, and a failure is to be known soon."""
        at_work = self._workers.tasks
        for outcome in self.outcomes:
            tests = outcome.untried if outcome.has_wheel else []
            yield from (task for task in (Task(outcome, test) for test in tests) if task not in at_work)
        yield from (Task(outcome) for outcome in self.outcomes if outcome.status == "waiting")

    def _end_build(self, task: Task, result: Result) -> None:
        outcome = task.outcome
        outcome.seconds, outcome.peak_memory = result["seconds"], result["peak_memory"]
        if "error" in result:
            outcome.status, outcome.message, outcome.hint = "failed", result["error"], result["hint"]
            self._fail(task.name, result)
        else:
            outcome.status, outcome.made = "held", result
        self._settle()

    def _settle(self) -> None:
        """Decide about the wheels that are finished, lowest Python first."""
        for position, outcome in enumerate(self.outcomes):
            if outcome.status != "held":
                continue
            build, wheel, lower = outcome.build, outcome.made["wheel"], self.outcomes[:position]
            if any(each.status in ("waiting", "running") and _serves(wheel, each) for each in lower):
                continue  # The lower one may make the same wheel, and then that one counts.
            serving = next((each for each in lower if each.has_wheel and _serves(each.made["wheel"], outcome)), None)
            if serving is not None:
                remove_path(staged_wheel(self._run.logs, build.id))
                self._serve(serving, outcome)
                continue
            publish(staged_wheel(self._run.logs, build.id), self._run.out / wheel)
            outcome.status = "built"
            self._progress.end(build.id, f"built {wheel} in {outcome.seconds:.1f} s")
            self._accept(outcome)

    def _accept(self, outcome: Outcome) -> None:
        """Find out where a wheel that is in the output is to be tested, and what has to be built after all."""
        wheel, build = outcome.made["wheel"], outcome.build
        for test in build.tests:
            known = next((each for each in self.outcomes if each.build.id == test.id), None)
            if covers(wheel, test.python, test.triple) or known is outcome:
                outcome.planned.append(test)
            elif known is None:
                self.outcomes.append(Outcome(PlannedBuild((test,))))
        higher = self.outcomes[self.outcomes.index(outcome) + 1 :]
        for other in self.outcomes:
            # What a higher Python is making would not count.
            begun = other.status == "running" and other in higher
            if (begun or other.status == "waiting") and _serves(wheel, other):
                self._workers.end(Task(other))
                self._serve(outcome, other)
        save_outcome(self._run.logs, outcome, self._keys(outcome))

    def _serve(self, outcome: Outcome, other: Outcome) -> None:
        """Have a wheel tested where another one was to be built."""
        other.status, other.served_by = "covered", outcome.build.id
        self._progress.end(other.build.id, f"not needed: {outcome.made['wheel']} serves it")
        if other.build.own not in outcome.planned:
            outcome.planned.append(other.build.own)

    def _end_test(self, task: Task, result: Result) -> None:
        outcome, test = task.outcome, task.test
        if test is None:
            return
        passed = None if result.get("unavailable") else "error" not in result
        message = result.get("error", "")
        outcome.tests.append(
            Tested(test.python, test.triple, passed, result["seconds"], result["peak_memory"], message)
        )
        if passed is False:
            self._fail(task.name, result)
        else:
            said = f"passed in {result['seconds']:.1f} s" if passed else f"untested: {message}"
            self._progress.end(task.name, said)
        save_outcome(self._run.logs, outcome, self._keys(outcome))

    def _fail(self, name: str, result: Result) -> None:
        self._red = True
        self._progress.end(name, str(ProvisionError(f"failed: {result['error']}", hint=result["hint"])), red=True)

    def _keys(self, outcome: Outcome) -> Keys:
        return self._run.keys[outcome.build.id]


def _serves(wheel: str, outcome: Outcome) -> bool:
    """Tell whether the Python of a build can install a wheel."""
    return covers(wheel, outcome.build.python, outcome.build.triple)
