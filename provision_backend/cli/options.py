"""What the commands of this package can be given; apart from what they do, so that a parser costs no imports."""

from __future__ import annotations

import argparse

__all__ = [
    "add_cache_clean",
    "add_cache_prune",
    "add_cache_verify",
    "add_completions",
    "add_detect",
    "add_find",
    "add_install",
    "add_list",
    "add_pack",
    "add_run",
]

_REQUEST = "3.13, 3.13.2, 3.13t or '>=3.12,<3.14'; '.' or nothing: what the project in this folder wants"


def add_detect(parser: argparse.ArgumentParser) -> None:
    """Say what ``detect`` can be given."""
    parser.add_argument("--root", metavar="DIR", help="inspect an unpacked image in place of the host")


def add_list(parser: argparse.ArgumentParser) -> None:
    """Say what ``list`` can be given."""
    text = "only those that satisfy it: 3.13, 3.13t or '>=3.12'; '.' for what the project in this folder wants"
    parser.add_argument("request", nargs="?", metavar="REQUEST", help=text)
    parser.add_argument("--all", action="store_true", help="every version, in place of the newest of each minor")


def add_find(parser: argparse.ArgumentParser) -> None:
    """Say what ``find`` can be given."""
    parser.add_argument("request", nargs="?", default=".", metavar="REQUEST", help=_REQUEST)


def add_install(parser: argparse.ArgumentParser) -> None:
    """Say what ``install`` can be given."""
    parser.add_argument("request", nargs="*", metavar="REQUEST", help=f"{_REQUEST}; may be repeated")
    text = "also compile what builds import, pip too; for an image, or a cache that builds cannot write"
    parser.add_argument("--compile-bytecode", action="store_true", help=text)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Say what ``run`` can be given; what stands after ``--`` has been taken off before."""
    add_find(parser)
    # Taken so that the answer is a reason, and not that there is no such option.
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)


def add_pack(parser: argparse.ArgumentParser) -> None:
    """Say what ``pack`` can be given."""
    parser.add_argument("interpreter", metavar="PYTHON", help="path of its executable")
    parser.add_argument("--to", required=True, metavar="DIR", help="folder for the archive and its SHA256SUMS")
    parser.add_argument("--tag", metavar="YYYYMMDD", help="release tag in the archive's name; default today")


def add_cache_verify(parser: argparse.ArgumentParser) -> None:
    """Say what ``cache verify`` can be given."""
    parser.add_argument("key", nargs="*", metavar="KEY", help="only these interpreters")


def add_cache_prune(parser: argparse.ArgumentParser) -> None:
    """Say what ``cache prune`` can be given."""
    parser.add_argument("--unused-for", metavar="DAYS", help="interpreters that were not used for so long")
    parser.add_argument("--max-size", metavar="SIZE", help="the longest unused, until the rest has 500M, 2G or so")


def add_cache_clean(parser: argparse.ArgumentParser) -> None:
    """Say what ``cache clean`` can be given."""
    parser.add_argument("--force", action="store_true", help="also what processes use")


def add_completions(parser: argparse.ArgumentParser) -> None:
    """Say what ``completions`` can be given."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="whose script")
