"""Run a plan: folders, keys and jobs around the pool, and the report at the end."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Tuple

from ..cache.store import open_cache
from ..catalog.archive import Archive
from ..catalog.selection import select_archive
from ..catalog.wanted import Wanted, canonical_hash
from ..install.catalogs import load_archives
from ..output import Reporter
from ..settings import Settings
from ..versions import own_version, parse_request
from .options import WheelOptions
from .plan import WheelPlan
from .pool import Pool
from .progress import Progress
from .report import Report
from .source import Source
from .state import Keys, open_output
from .workers import Run, number_of_jobs

__all__ = ["run_plan"]

_COMPILING = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")
"""Variables of the person who builds that change what is compiled."""


def run_plan(
    plan: WheelPlan, source: Source, options: WheelOptions, settings: Settings, reporter: Reporter, *, work: Path
) -> Report:
    """Build and test what is planned; return what became of it.

    Wheels appear in ``options.out`` whole, or not at all. After an interruption, or a failure, the same call goes on
    where this one ended. What is made on the way is in *work*, which the caller removes, or a worker whose caller was
    killed.

    Raises:
        UsageError: nothing can be written to the output.
        KeyboardInterrupt: the process was interrupted; everything that it started has ended.
    """
    began = time.monotonic()
    out = Path(os.path.abspath(options.out))
    logs = open_output(out)
    keys = _keys(plan, source, options, settings, reporter)
    count = number_of_jobs(options.jobs, sum(max(1, len(build.tests)) for build in plan.builds))
    run = Run(source, settings, options, out, logs, work, count, plan.kind == "pure", keys)
    outcomes = Pool(run, plan.builds, Progress(reporter)).work()
    return Report(outcomes, str(out), time.monotonic() - began, count)


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
    builds: List[Any] = [each for build in plan.builds for each in (build, *build.tests)]
    lock = source.project.lock

    @lru_cache(maxsize=None)
    def _catalog(triple: str) -> Tuple[Archive, ...]:
        return load_archives(settings, triple, cache, reporter)

    for each in builds:
        # Where the project is locked, its archive need not be in the catalog any more.
        locked = lock is not None and lock.is_for(each.request, each.triple)
        archives = lock.archives if lock and locked else _catalog(each.triple)
        wanted = Wanted("", parse_request(each.request))
        # An interpreter of the machine has a version, and no hash.
        system = settings.preference == "only-system"
        made_by = each.request if system else select_archive(archives, wanted, each.triple).sha256
        keys[each.id] = Keys(canonical_hash([*shared, made_by]), tested_with)
    return keys
