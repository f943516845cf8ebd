"""The text of a wrapped ``pyproject.toml`` → the one that it was made of. Pure.

It is computed from the file alone: every text that it may have been is wrapped again, and the one that gives the very
file that is there is it. What a person has changed since, in what is ours, is never guessed at; what stands elsewhere
in the file may change freely.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from ..errors import ProjectError
from .init_arrays import OURSELVES, drop_ourselves, unmark_all
from .init_checks import load_data
from .init_edit import BACKEND, BUILD_SYSTEM, NO_BACKEND, NO_TABLE, apply_edits, wrap_text
from .init_markers import translate_specifiers
from .init_spans import Statement, find_statements
from .pyproject import OWN_NAME, TABLE

__all__ = ["unwrap_text"]

_KEYS = ("build-backend", "backend-path", "requires", "requires-python")

Statements = Dict[str, Statement]


def unwrap_text(text: str) -> str:
    """Return what `wrap_text` made this text of.

    Args:
        text: the ``pyproject.toml`` of a project that is wrapped.

    Raises:
        ProjectError: that is not certain, since what was written has been changed.
    """
    data = load_data(text)
    table = data["tool"][OWN_NAME]
    foreign = [key for key in table if key not in _KEYS]
    if foreign:
        raise _uncertain(f"[{TABLE}] has {foreign[0]!r}, which init does not write")
    form = "table" if "requires" in table else "one-list"
    for candidate in dict.fromkeys(_candidates(text, data)):
        if _gives(candidate, text, form, str(table.get("requires-python", ""))):
            return candidate
    raise _uncertain(f"[build-system] or [{TABLE}] is not as init writes it")


def _uncertain(reason: str) -> ProjectError:
    return ProjectError(
        f"pyproject.toml: what it was before is not certain: {reason}",
        hint=f"move the keys of [{TABLE}] back into [build-system] by hand",
    )


def _gives(candidate: str, text: str, form: str, requires_python: str) -> bool:
    try:
        return wrap_text(candidate, form=form, requires_python=requires_python).text == text
    except ProjectError:
        return False


def _candidates(text: str, data: Mapping[str, Any]) -> Iterator[str]:
    outer, inner = find_statements(text, "build-system"), find_statements(text, "tool", OWN_NAME)
    if "requires" not in outer or "build-backend" not in outer or "build-backend" not in inner:
        return
    ordered = list(inner.values())
    header = re.search(rf"[ \t]*\[{re.escape(TABLE)}\]\r?\n\Z", text[: ordered[0].start])
    together = all(one.end == two.start for one, two in zip(ordered, ordered[1:]))
    if header is None or not together:
        return
    backend = inner["build-backend"]
    comment = text[backend.value_end : backend.end].strip()
    moved = [(outer["build-backend"].value_start, outer["build-backend"].value_end, _value(text, backend))]
    for array in _arrays(text, data, outer, inner):
        edits = [*moved, (outer["requires"].value_start, outer["requires"].value_end, array)]
        for path_edits in _backend_paths(text, outer, inner):
            for removal in _removals(text, header.start(), ordered[-1].end):
                yield from _without_defaults(apply_edits(text, [*edits, *path_edits, removal]), comment)


def _value(text: str, statement: Statement) -> str:
    return text[statement.value_start : statement.value_end]


def _arrays(text: str, data: Mapping[str, Any], outer: Statements, inner: Statements) -> Iterator[str]:
    """Yield what build-system.requires may have been."""
    array = _value(text, outer["requires"])
    if "requires" in inner:
        if array == f"[{OURSELVES}]":
            yield _value(text, inner["requires"])
        return
    table = data["tool"][OWN_NAME]
    marker = translate_specifiers(str(table.get("requires-python") or data.get("project", {}).get("requires-python")))
    for without in drop_ourselves(array):
        unmarked = unmark_all(without, marker or "")
        if unmarked is not None:
            yield unmarked


def _backend_paths(text: str, outer: Statements, inner: Statements) -> Iterator[List[Tuple[int, int, str]]]:
    """Yield the places that backend-path may have had, the usual one first."""
    if "backend-path" not in inner:
        yield []
        return
    line = text[inner["backend-path"].start : inner["backend-path"].end]
    line_break = "\r\n" if "\r\n" in text else "\n"
    if not line.endswith("\n"):
        line += line_break
    for key in ("build-backend", "requires"):
        for position in (outer[key].end, outer[key].start):
            yield [(position, position, line)]


def _removals(text: str, start: int, end: int) -> Iterator[Tuple[int, int, str]]:
    """Yield the ways of taking a block out, with the empty line that may have come with it."""
    behind = re.compile(r"\r?\n").match(text, end)
    before = re.search(r"\r?\n\Z", text[:start])
    # Where the last line of the file had no line break, the block brought two and took one.
    twice = re.search(r"(\r?\n){2}\Z", text[:start])
    if before and end == len(text):
        yield (twice or before).start() if twice and not text.endswith("\n") else before.start(), end, ""
    if behind:
        yield start, behind.end(), ""
    if before:
        yield before.start(), end, ""
    yield start, end, ""


def _without_defaults(text: str, comment: str) -> Iterator[str]:
    """Take out what PEP 517 takes for granted, where the comment says that it was not written."""
    line_break = "\r\n" if "\r\n" in text else "\n"
    if comment == NO_TABLE.strip():
        lines = line_break.join(BUILD_SYSTEM)
    elif comment == NO_BACKEND.strip():
        lines = BACKEND
    else:
        yield text
        return
    start = text.find(lines)
    if start < 0:
        return
    end = start + len(lines)
    if text.startswith(line_break, end):
        end += len(line_break)
    for removal in _removals(text, start, end):
        yield apply_edits(text, [removal])
