"""Run the benchmarks and write the page: ``scripts/bench``.

In: the command line. Out: docs/performance.md with its pictures, and the values of all rounds as JSON, one file a
part, from which the page is made; a run of some parts keeps what is known of the others. Nothing here passes or
fails: a target that is missed is a line on the page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import cold, crowd, hit, imports, passthrough, provisioned
from .core import Failed, Missing, Part
from .machine import describe
from .page import TITLES, read_notes, summary, write_page
from .workbench import ROOT, Workbench

__all__ = ["main"]

_RESULTS = ROOT / "build" / "benchmarks"
_NOTES = ROOT / "benchmarks" / "notes.md"
_Measure = Callable[[Workbench, Part, Callable[[str], None]], None]
_PARTS: Dict[str, _Measure] = {
    "a": passthrough.measure_part,
    "b": provisioned.measure_part,
    "c": cold.measure_part,
    "d": hit.measure_part,
    "e": crowd.measure_part,
    "f": imports.measure_part,
}
# As many as fit into half an hour on two cores: the shorter a run, the more of them.
_ROUNDS = {"a": 9, "b": 7, "c": 15, "d": 31, "e": 3, "f": 2}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure what was asked for and write the page."""
    arguments = _parser().parse_args(argv)
    # As an exception, so that what was started is ended and what was made is removed.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    results, docs = _RESULTS, ROOT / "docs"
    if arguments.quick:
        results = docs = Path(tempfile.mkdtemp(prefix="provision-backend-quick-"))
    results.mkdir(parents=True, exist_ok=True)
    try:
        _measure(arguments, results)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except (Failed, AssertionError) as exc:
        # Without wheels, a host or an archive no part can run.
        _say(f"nothing can be measured here: {exc}")
        return 1
    parts = _kept(results)
    path = write_page(parts, read_notes(_NOTES.read_text(encoding="utf-8")), docs)
    print("\n".join(summary(parts)))
    _say(f"written: {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure us beside our peers.")
    parser.add_argument("--only", type=_keys, default=list(_PARTS), metavar="a,b,…", help="only these parts")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="as many rounds for each part")
    parser.add_argument("--quick", action="store_true", help="one round, written to a temporary folder")
    parser.add_argument("--render", action="store_true", help="measure nothing; make the page from what is kept")
    return parser


def _keys(text: str) -> List[str]:
    keys = text.split(",")
    unknown = [key for key in keys if key not in _PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(_PARTS)}")
    return keys


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds")
    return int(text)


def _measure(arguments: argparse.Namespace, results: Path) -> None:
    if arguments.render:
        return
    with Workbench(_say) as bench:
        _say(f"working in {bench.where}")
        machine = describe(bench)
        for key in arguments.only:
            rounds = arguments.rounds or (1 if arguments.quick else _ROUNDS[key])
            part = Part(key, rounds, str(datetime.date.today()), machine=machine)
            _say(f"== {key}. {TITLES[key].title}; rounds: {rounds}")
            _measure_part(bench, part)
            text = json.dumps(part.as_dict(), indent=1)
            (results / f"{key}.json").write_text(text, encoding="utf-8")
            _say(f"== {key} took {part.seconds:.0f} s")


def _measure_part(bench: Workbench, part: Part) -> None:
    begin = time.monotonic()
    try:
        _PARTS[part.key](bench, part, lambda text: _say(f"{part.key}  {text}"))
    except (Failed, AssertionError, OSError) as exc:
        part.missing.append(Missing("what is not above", str(exc) or type(exc).__name__))
        _say(f"cannot go on with {part.key}: {exc}")
    part.seconds = time.monotonic() - begin


def _kept(results: Path) -> Dict[str, Part]:
    files = {key: results / f"{key}.json" for key in _PARTS}
    read: Dict[str, Any] = {
        key: json.loads(file.read_text(encoding="utf-8")) for key, file in files.items() if file.exists()
    }
    return {key: Part.from_dict(record) for key, record in read.items()}


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
