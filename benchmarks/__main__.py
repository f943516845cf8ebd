"""Run the benchmarks and write the page: ``scripts/bench``.

In: the command line. Out: docs/performance.md with its pictures, and the values of all rounds as JSON, one file a
part, from which the page is made; a run of some parts keeps what is known of the others. Nothing here passes or fails:
a goal that is missed is a line on the page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from support.real_interpreters import Unavailable

from .measuring import Comparison, Failed, run
from .page import write_page
from .parts import PARTS
from .workbench import ROOT, Workbench

__all__ = ["main"]

_RESULTS = ROOT / "build" / "benchmarks"
_ROUNDS = {"install": 7, "pass-through": 5, "provisioned": 5, "wheels": 5, "at-once": 3, "growth": 9}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure what was asked for and write the page."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure us beside our peers.")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="only these parts")
    parser.add_argument("--rounds", type=int, help="the number of rounds of each part")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="measure an older checkout beside this one")
    parser.add_argument("--quick", action="store_true", help="one round, written to a temporary folder")
    parser.add_argument("--render", action="store_true", help="measure nothing; make the page from the last results")
    arguments = parser.parse_args(argv)
    results, docs = _RESULTS, ROOT / "docs"
    if arguments.quick:
        results = docs = Path(tempfile.mkdtemp(prefix="provision-backend-quick-"))
    results.mkdir(parents=True, exist_ok=True)
    # pyperf hands it on to what it measures, which would import this checkout whatever it has installed.
    os.environ.pop("PYTHONPATH", None)
    checkouts = {"with us": ROOT, **({"before": arguments.before.resolve()} if arguments.before else {})}
    if not arguments.render:
        with Workbench(checkouts, _say) as bench:
            for part in arguments.only:
                _measure(bench, part, arguments.rounds or (1 if arguments.quick else _ROUNDS[part]), results)
    found: Dict[str, Any] = {
        part: json.loads((results / f"{part}.json").read_text(encoding="utf-8"))
        for part in PARTS
        if (results / f"{part}.json").exists()
    }
    parsed = {part: [Comparison.from_dict(each) for each in record["comparisons"]] for part, record in found.items()}
    _say(f"written: {write_page(parsed, {part: record['facts'] for part, record in found.items()}, docs)}")
    return 0


def _measure(bench: Workbench, part: str, rounds: int, results: Path) -> None:
    """Run one part and keep its results; what cannot be run is said."""
    facts = {"day": str(datetime.date.today()), "rounds": str(rounds), "machine": _machine(bench)}
    began, found = time.monotonic(), []
    try:
        for comparison in PARTS[part](bench, rounds):
            found.append(asdict(comparison))
            _say(f"{part}: {comparison.name}: {_summary(comparison)}")
    except (Failed, Unavailable) as exc:
        facts["not run"] = str(exc)
        _say(f"{part}: {exc}")
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    record = json.dumps({"facts": facts, "comparisons": found}, indent=1)
    (results / f"{part}.json").write_text(record, encoding="utf-8")


def _summary(comparison: Comparison) -> str:
    ratios: List[str] = [f"{each.label} {comparison.ratio(each.label):.2f}" for each in comparison.series[:-1]]
    ratios += [f"{each.label} failed: {each.failure}" for each in comparison.series if each.failure]
    return ", ".join(ratios)


def _machine(bench: Workbench) -> str:
    commit = run(["git", "rev-parse", "--short", "HEAD"], os.environ, ROOT).strip()
    load = os.getloadavg()[0]
    files = "tmpfs" if bench.parent == Path("/dev/shm") else str(bench.parent)  # noqa: S108
    cores = f"{os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}"
    return f"{cores}, files on {files}, load {load:.1f}; host Python {platform.python_version()}; commit {commit}"


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
