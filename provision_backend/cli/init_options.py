"""The arguments of ``provision-backend init``; apart from what it does, so that no other command pays for that."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``init`` can be given."""
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project; default this folder")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something would change")
    parser.add_argument("--undo", action="store_true", help="give the project its own build system back")
    parser.add_argument(
        "--form",
        choices=("one-list", "table"),
        help="where the real requirements go; default one-list where requires-python can be a marker",
    )
    parser.add_argument(
        "--requires-python", metavar="SPECIFIER", help="for a project whose [project] does not say it, such as '>=3.12'"
    )
