"""The arguments of ``provision-backend cache key``; apart from what it does, so that no other command pays for that."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``cache key`` can be given.

    ``--python`` and ``--target`` may be repeated here. They take the place of the settings of these names, and have
    other names in the result, so that nobody takes them for those.
    """
    parser.add_argument(
        "--python",
        action="append",
        dest="requests",
        metavar="REQUEST",
        help="3.13, 3.13.2, 3.13t or '>=3.12,<3.14'; may be repeated; default what the project in this folder wants",
    )
    parser.add_argument(
        "--target",
        action="append",
        dest="targets",
        metavar="TRIPLE",
        help="a platform, such as x86_64-unknown-linux-musl; may be repeated; default this host's",
    )
