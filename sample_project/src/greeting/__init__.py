"""Say hello, with type parameters (PEP 695) and nested f-strings (PEP 701)."""

import sys
from importlib.resources import files

type Names = tuple[str, ...]


def first[T](items: tuple[T, ...]) -> T:
    """Return the first of the items."""
    return items[0]


def origin() -> str:
    """Say what the build hook wrote into the wheel; an editable install has no wheel to write into."""
    file = files("greeting").joinpath("built_by.txt")
    return file.read_text().strip() if file.is_file() else "installed as editable"


def greet(names: Names) -> str:
    """Greet the first of the names."""
    return f"Hello, {f"{first(names)}"}! I was {origin()}."


def main() -> None:
    """Print a greeting, and which interpreter runs it."""
    print(greet(tuple(sys.argv[1:]) or ("world",)))
    print(f"This is Python {".".join(map(str, sys.version_info[:3]))}.")
