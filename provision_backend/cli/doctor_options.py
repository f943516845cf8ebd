"""The arguments of ``provision-backend doctor``; apart from what it does, so that no other command pays for that."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``doctor`` can be given."""
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project; default this folder")
    parser.add_argument(
        "--full", action="store_true", help="also compare every file of the cache with what was published"
    )
