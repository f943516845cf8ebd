"""The arguments of ``provision-backend mirror``; apart from what it does, so that no other command pays for that."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``mirror`` can be given.

    ``--python`` and ``--target`` may be repeated here. They take the place of the settings of these names, and have
    other names in the result, so that nobody takes them for those.
    """
    parser.add_argument("directory", metavar="DIR", help="the folder to fill; made where it does not exist")
    parser.add_argument(
        "--python",
        action="append",
        dest="requests",
        metavar="REQUEST",
        help="3.13, 3.13.2, 3.13t or '>=3.11', which means the newest of each minor version from there on; may be "
        "repeated; default what the project in this folder would be built with",
    )
    parser.add_argument(
        "--target",
        action="append",
        dest="targets",
        metavar="TRIPLE",
        help="the platform of the archives, such as x86_64-unknown-linux-musl; may be repeated; default this host's",
    )
    parser.add_argument("--newest", action="store_true", help="of each request only the archive that a build selects")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--dry-run", action="store_true", help="say what would be fetched, and write nothing")
    group.add_argument(
        "--verify",
        action="store_true",
        help="read everything in DIR and compare it; fetch nothing",
    )
