"""Write docs/compatibility.md from what the cells of a whole run left: ``python -m compatibility.page RESULTS``.

In: a folder with a file for each cell. Out: the page. Versions and dates are left out, so that a run that finds the
same writes the same.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from textwrap import fill
from typing import Dict, List

from support.systems_table import HOW, cells_of, summary, table

from .backends import BACKENDS, Backend
from .frontends import FRONTENDS
from .jobs import Frontend
from .matrix import PASSED, PLANS

__all__ = ["main", "page"]

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "compatibility.md"

SUMMARIES = (ROOT / "README.md", ROOT / "docs" / "why.md")
"""Pages that say in a sentence where builds ran, between two comments."""
NEVER = "never"
"""What stands in the table for a cell that was not run yet."""
MARKS = "<!-- systems: written by the tests -->\n", "<!-- end of systems -->\n"

_HEAD = """# Compatibility

<!-- Written by scripts/test --matrix, --architectures and --windows from what they have seen. -->

"""

_SYSTEMS = """## Systems

How each step was tried on each target that there are archives for: {how}.
*frontends* are those that built under a provisioned interpreter.

"""

_INTERPRETERS = """
python-build-standalone's own archives are not available where these tests run. With glibc the interpreters of this
table are those of Debian, in the layout of such archives: CPython 3.11 under Debian 13 on x86-64, i686, aarch64 and
armv7 hard float; elsewhere the same version that the host has, which is then asked for. With musl they are built from
source with the prefix and the flags of such archives. On Windows they are CPython's embeddable distribution, laid out
as an installed one. Those of the tables below are CPythons that `provision-backend pack` has made.

## Frontends and backends

Every frontend builds a project of every real backend through us, once where the host satisfies the project
(pass-through) and once where it is too old (provisioned). *passed* means: the wheel and the sdist equal those that the
real backend makes alone under the same interpreter with the same `SOURCE_DATE_EPOCH`: names, contents and metadata,
and byte for byte where the real backend itself makes the same bytes twice. Of an installation, all installed files
equal those of that wheel; an editable installation shows an edit of the source at once.

Not every cell ran on every host. Pass-through: the oldest and the newest CPython from 3.12 on that the machine has, by
turns of the frontends. Provisioned: the oldest CPython from 3.8 on; the newest below 3.12 for what older ones cannot
run (`--config-json`, `--metadata`, tox, hatch, PDM, Poetry, pipx, pnpm), and the only one that these find. All of it
ran on Linux, x86-64, with glibc. *never* stands for what was not run yet.

pip and pipx were told `--ignore-requires-python`, pnpm `runtimeOnFail: warn` and that it may run whatever builds; all
else is as it comes. cibuildwheel built in containers of podman whose system was that of the machine, since its own
images are not available where these tests run, and it repaired no wheel.
"""

_PEERS = """
On macOS and Windows, where the command line of Poetry is not read, its build environment cannot be told from one of
yours, in which we install nothing. A real backend that asks for more when it is there, as scikit-build-core asks for
ninja where the machine has none, needs the [one-list form](adopting.md#the-two-forms) there.

## The tests of pyproject-hooks

pyproject-hooks is what build and pip call backends with. Its own tests (1.3.3) are run against its samples, each
wrapped by us, in pass-through. All pass but three, for one reason: where the real backend cannot be imported,
pyproject-hooks raises `BackendUnavailable`, which says that the backend of the project is missing. For a frontend that
is provision_backend, and it is there; so the build ends with our sentence, which names the real one and says what must
name it. `test_missing_backend_gives_exception` and both cases of `test_intree_backend_not_in_path` expect the
exception.
"""


def page(results: Dict[str, str]) -> str:
    """Return the page.

    Args:
        results: what stands in the table, by ``backend.frontend.plan``.
    """
    reasons: List[str] = []
    tables = [_table(plan, results, reasons) for plan in PLANS]
    listed = [f"{number}. {reason}." for number, reason in enumerate(reasons, 1)]
    head = _HEAD + _systems(results) + _INTERPRETERS
    return "\n".join([head, *tables, "## Why not\n", *listed, _PEERS])


def _systems(results: Dict[str, str]) -> str:
    how = "; ".join(f"*{word}* {meaning}" for word, meaning in HOW.items())
    return "\n".join(fill(part, 120) for part in _SYSTEMS.format(how=how).split("\n")) + table(results)


def previous(text: str) -> Dict[str, str]:
    """Read the results back from a page, so that a part of a run can replace its own cells only."""
    reasons = dict(re.findall(r"^(\d+)\. (.*)\.$", text, re.MULTILINE))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    backends = {each.label: each.key for each in BACKENDS}
    labels = {each.label: each.key for each in FRONTENDS}
    results = cells_of(text)
    plans = iter(PLANS)
    plan, columns = "", []
    for label, *cells in rows:
        if label == "real backend":
            plan, columns = next(plans), cells
        elif label in backends:
            for column, cell in zip(columns, cells):
                number = re.fullmatch(r"\[(\d+)\]\(#why-not\)", cell)
                key = labels.get(column, column)
                if cell != NEVER:
                    results[f"{backends[label]}.{key}.{plan}"] = reasons[number[1]] if number else cell
    return results


def _table(plan: str, results: Dict[str, str], reasons: List[str]) -> str:
    title = plan.capitalize()
    lines = [f"## {title}: {PLANS[plan]}\n"]
    lines.append("| real backend | " + " | ".join(each.label for each in FRONTENDS) + " |")
    lines.append("| --- " * (len(FRONTENDS) + 1) + "|")
    for backend in BACKENDS:
        cells = [_cell(results, backend, frontend, plan, reasons) for frontend in FRONTENDS]
        lines.append(f"| {backend.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(results: Dict[str, str], backend: Backend, frontend: Frontend, plan: str, reasons: List[str]) -> str:
    result = results.get(f"{backend.key}.{frontend.key}.{plan}", NEVER)
    if result in (PASSED, "FAILED", NEVER):
        return result
    if result not in reasons:
        reasons.append(result)
    return f"[{reasons.index(result) + 1}](#why-not)"


def main() -> int:
    """Write the page."""
    folder = Path(sys.argv[1])
    results = previous(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    results.update({file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))})
    results.update(_frontends(results))
    PAGE.write_text(page(results), encoding="utf-8")
    for path in SUMMARIES:
        path.write_text(with_summary(path.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 0


def _frontends(results: Dict[str, str]) -> Dict[str, str]:
    """Return the frontends of the matrix that have built, as cells of the machine that the matrix runs on."""
    passed = [frontend for backend in BACKENDS for frontend in FRONTENDS if _passed(results, backend, frontend)]
    names = {frontend.label.split()[0].rstrip(",") for frontend in passed}
    return {f"system.x86_64-unknown-linux-gnu.frontend-{name}": "run" for name in names}


def _passed(results: Dict[str, str], backend: Backend, frontend: Frontend) -> bool:
    return results.get(f"{backend.key}.{frontend.key}.provisioned") == PASSED


def with_summary(text: str, results: Dict[str, str]) -> str:
    """Return a page with the sentence on where builds ran, between the two comments that mark its place."""
    before, start, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    assert start, "the page has no comment that marks the place of the sentence"
    assert end, "the page has no comment that ends the sentence"
    return f"{before}{start}{fill(summary(results), 120)}\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())
