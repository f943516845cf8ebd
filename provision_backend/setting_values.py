"""What one setting is, and what a text that is given for it means: an absolute path, a URL, a number, a choice.

Addresses may hold passwords, and what might be one without a scheme is refused: as a path it would be shown.
"""

from __future__ import annotations

import os
import re
from typing import Any, List, NamedTuple, Tuple

from .errors import UsageError
from .output import redact_text, redact_url, shorten

__all__ = ["BESIDE", "INSIDE", "PATH_KINDS", "Option", "absolute_path", "check_text", "convert", "parse_text"]

# Values of the setting ``sbom`` that are no folders: that of the wheel itself, and the wheel.
BESIDE, INSIDE = "beside", "wheel"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# What stands behind a comma that separates: white space or a URL, and a path where the item before it has no query.
_BEGINNING = re.compile(rf"\s|{_URL.pattern}")
_BEGINNING_OR_PATH = re.compile(rf"{_BEGINNING.pattern}|[~/\\]|\.\.?[/\\]|[A-Za-z]:[/\\]")

PATH_KINDS = ("path", "paths", "location", "locations")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class Option(NamedTuple):
    """One setting: a row of the reference page and of ``provision-backend settings``."""

    key: str
    """The name after ``provision-backend.``, in lower case with hyphens."""
    kind: str
    """text, path, paths, location (a path or a URL), locations, flag, seconds, number or choice."""
    help: str
    """One line for people."""
    choices: Tuple[str, ...] = ()
    """The accepted values of a choice."""
    form: Tuple[str, str] = ("", "")
    """The pattern of a text that is no choice, and what that is, for messages; empty where any text is accepted."""
    in_project: bool = False
    """Whether ``[tool.provision-backend]`` has a key of this name, which decides where whoever builds does not."""

    @property
    def attribute(self) -> str:
        """Name of the field of `Settings`."""
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return f"PROVISION_BACKEND_{self.attribute.upper()}"


def convert(option: Option, raw: Any, place: str, folder: str, *, whole: bool) -> Any:
    """Return the value that something given for a setting means, or raise `UsageError`.

    Args:
        option: the setting.
        raw: a text; or a boolean, a number or a list where the setting is one.
        place: where it was given, for messages.
        folder: where relative paths start; empty for the current one.
        whole: whether each item of a list stands for itself, and is not several with commas between them.
    """
    if option.kind in ("locations", "paths"):
        return _split(option, raw, place, folder, whole=whole)
    if isinstance(raw, bool) and option.kind == "flag":
        return raw
    # Numbers in JSON and TOML are accepted where a number is meant. A version would not do: 3.10 would arrive as 3.1.
    if isinstance(raw, (int, float)) and not isinstance(raw, bool) and option.kind in ("flag", "number", "seconds"):
        raw = str(raw)
    if not isinstance(raw, str):
        raise UsageError(f"{place} must be one string, found {type(raw).__name__}")
    return parse_text(option, raw.strip(), place, folder)


def _split(option: Option, raw: Any, place: str, folder: str, *, whole: bool) -> Tuple[str, ...]:
    parts = raw if isinstance(raw, (list, tuple)) else [raw]
    if not all(isinstance(part, str) for part in parts):
        raise UsageError(f"{place} must be a string or a list of strings")
    # In the list of a file each item stands for itself. Frontends make lists of options that are repeated.
    if not whole or isinstance(raw, str):
        parts = [item for part in parts for item in _items(option, part, place)]
    return tuple(parse_text(option, item.strip(), place, folder) for item in parts if item.strip())


def _items(option: Option, text: str, place: str) -> List[str]:
    if option.kind == "paths":
        _refuse_address(option, text, place)  # In pieces, a URL with its colons would not be recognised.
        return text.split(os.pathsep)
    # A comma may be part of a URL and of a path, so it separates only where something begins behind it.
    first, *pieces = text.rstrip(", ").split(",")
    items = [first]
    for piece in pieces:
        beginning = _BEGINNING if _URL.match(items[-1].lstrip()) and "?" in items[-1] else _BEGINNING_OR_PATH
        if beginning.match(piece):
            items.append(piece)
        else:
            items[-1] += "," + piece
    return items


def parse_text(option: Option, text: str, place: str, folder: str) -> Any:
    """Return the value that a text means for a setting, or raise `UsageError`; the arguments are as for `convert`."""
    _refuse_address(option, text, place)
    if "\0" in text:
        raise UsageError(f"{place} must not have a NUL character in it, found {text!r}")
    if option.kind == "flag":
        if text.lower() not in _TRUE | _FALSE:
            raise UsageError(f"{place} must be true or false, found {text!r}")
        return text.lower() in _TRUE
    if option.kind in ("seconds", "number"):
        return _parse_number(option, text, place)
    if text or option.kind == "choice":
        check_text(option, text, place)
    return absolute_path(text, folder) if _is_path(option, text) else text


def check_text(option: Option, text: str, place: str) -> None:
    """Raise `UsageError` for a text that a choice, or a setting of a certain form, does not accept."""
    if option.kind == "choice" and text not in option.choices:
        raise UsageError(f"{place} must be one of {', '.join(option.choices)}, found {shorten(text)!r}")
    pattern, wanted = option.form
    if pattern and not re.fullmatch(pattern, text):
        raise UsageError(f"{place} must be {wanted}, found {shorten(text)!r}")


def _refuse_address(option: Option, text: str, place: str) -> None:
    """Refuse a URL where none is wanted, and what may be one without a scheme: it would be shown, as a path is."""
    can_be_url, shown = option.kind in ("location", "locations"), redact_text(redact_url(text))
    if can_be_url and _URL.match(text):
        return
    if "://" in text or (redact_url(text) != text and (can_be_url or ":" in text)):
        wanted = "a URL or a path" if can_be_url else "a path" if "path" in option.kind else "no URL"
        hint = "a URL begins with https://, and a path with such a name with ./" if can_be_url else ""
        raise UsageError(f"{place} must be {wanted}, found {shown!r}", hint=hint)


def _is_path(option: Option, text: str) -> bool:
    if option.key == "sbom" and text in (BESIDE, INSIDE):
        return False
    # A version request has no slash in it.
    is_python = option.key == "python" and ("/" in text or os.sep in text)
    return bool(text) and "://" not in text and (is_python or option.kind in PATH_KINDS)


def absolute_path(path: str, folder: str) -> str:
    """Return a path that starts in a folder, or in the current one where that is empty; ``~`` is the home."""
    path = os.path.expanduser(path)
    return path if os.path.isabs(path) else os.path.join(folder or os.getcwd(), path)


def _parse_number(option: Option, text: str, place: str) -> float:
    convert = float if option.kind == "seconds" else int
    try:
        value = convert(text)
    except ValueError:
        value = -1
    # The chained comparison is false for "nan", too; the limit keeps time.sleep() and select() from an OverflowError.
    if not 0 <= value < 1e9:
        wanted = "a number of seconds" if option.kind == "seconds" else "a whole number"
        raise UsageError(f"{place} must be {wanted}, 0 or more, found {shorten(text)!r}")
    return value
