"""Run a program and measure it from a small process: ``python -I -S launcher.py REPORT PROGRAM [ARGUMENT …]``.

In: a command line. Out: a JSON file with wall time, CPU time and peak memory of the program and of all children that
were waited for, and its exit status. A process of its own, since the kernel counts the memory of the parent as the
peak of a child between fork and exec: started from the benchmarks, every small program would seem to need as much as
they do. What is below the size of this process, about 9 MiB, cannot be told.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    """Run the program, write the report, and return 0 if there was one."""
    report, *command = sys.argv[1:]
    begin = time.monotonic()
    # Looked up by posix_spawn as a shell does.
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - begin
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    found = {
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,
        "code": code,
    }
    with open(report, "w", encoding="ascii") as file:
        json.dump(found, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
