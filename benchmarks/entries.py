"""Fill a cache with interpreters, in the interpreter that will look them up: ``python entries.py COUNT REQUEST``.

In: settings from the environment. Out: so many published interpreters, the one that the request comes down to among
them, and the host remembered as a provisioning does; its path on standard output. They are the smallest trees that
count: a lookup reads nothing but their markers. Written for any Python that we support.
"""

from __future__ import annotations

import sys

from support.cache_entries import provide

from provision_backend.cache.platform import current_platform
from provision_backend.cache.store import open_cache
from provision_backend.catalog.selection import load_builtin_catalog, select_archive
from provision_backend.catalog.wanted import Wanted
from provision_backend.settings import load_settings

__all__ = ["main"]


def main() -> int:
    """Fill the cache."""
    settings = load_settings()
    cache = open_cache(settings)
    triple = current_platform(settings, cache).triple
    wanted = Wanted(sys.argv[2])
    archive = select_archive(load_builtin_catalog(triple), wanted, triple)
    print(provide(cache, archive=archive))
    for number in range(int(sys.argv[1]) - 1):
        sha256 = f"{number:064x}"
        name = f"cpython-3.12.{number}+{archive.tag}-{triple}-install_only.tar.gz"
        provide(cache, archive=archive._replace(version=f"3.12.{number}", sha256=sha256[::-1], filename=name))
    current_platform(settings, cache)  # Only now is there a cache to remember it in.
    return 0


if __name__ == "__main__":
    sys.exit(main())
