"""The arguments of ``provision-backend lock``; apart from what it does, so that no other command pays for that."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``lock`` can be given.

    ``--target`` may be repeated here. It takes the place of the setting of this name, and has another name in the
    result, so that nobody takes it for that.
    """
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project; default this folder")
    parser.add_argument(
        "--target",
        action="append",
        dest="targets",
        metavar="TRIPLE",
        help="a target triple to lock beside those that are locked, or 'all' for every Linux; default this host's",
    )
    parser.add_argument("--upgrade", action="store_true", help="move to the newest archives that satisfy the project")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something would change")
    parser.add_argument("--file", action="store_true", help="write the archives into a file of their own")
    parser.add_argument(
        "--always",
        action="store_const",
        const=True,
        help="use the archives where the running Python satisfies the project too",
    )
    parser.add_argument(
        "--no-always",
        action="store_const",
        const=False,
        dest="always",
        help="use the archives only where an interpreter must be provisioned, as without this key",
    )
