"""The wheel of ziglang and zig's cache, kept between the runs of the tests: each is made once on a machine.

On a fresh one the wheel is downloaded (101 MB), and the first C extension for a libc takes 20 s of CPU, the first in
C++ 75 s more.
"""

from __future__ import annotations

__all__ = ["installed_zig", "warm_zig_cache", "zig_cache", "zig_wheel"]

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from provision_backend.toolchain import Toolchain

from .real_interpreters import Unavailable, cache_folder, locked


def zig_wheel() -> Path:
    """Return the wheel of ziglang for this machine, which musl machines of the same architecture take, too.

    Raises:
        Unavailable: it is not in the test cache, and this machine reaches no package index.
    """
    folder = cache_folder() / "ziglang"
    with locked(cache_folder() / "ziglang.lock"):
        for wheel in sorted(folder.glob("ziglang-*.whl"))[-1:]:
            return wheel
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*command, "-d", str(folder), "ziglang"], capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(f"the package ziglang cannot be downloaded: {done.stderr.strip()[-300:]}")
    return next(folder.glob("ziglang-*.whl"))


def zig_cache() -> Path:
    """Return the folder in which zig keeps the libraries of its targets from one run of the tests to the next."""
    folder = cache_folder() / "zig-cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def installed_zig() -> Path:
    """Return a folder of packages in which ziglang is installed; the errors are those of `zig_wheel`."""
    wheel = zig_wheel()
    folder = cache_folder() / "ziglang" / wheel.stem
    with locked(cache_folder() / "ziglang.lock"):
        if not (folder / "ziglang" / "zig").is_file():
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile"]
            subprocess.run([*command, "--target", str(folder), str(wheel)], check=True)
    return folder


def warm_zig_cache(triple: str) -> Path:
    """Return `zig_cache` with what a C extension for a triple needs; the errors are those of `zig_wheel`."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"PATH": os.defpath, "ZIG_GLOBAL_CACHE_DIR": str(zig_cache())}
        given.update(Toolchain(triple).variables(Path(folder), [str(installed_zig())], given))
        Path(folder, "one.c").write_text("int one(void) { return 1; }\n", encoding="ascii")
        # As setuptools does it: the libraries that zig compiles depend on the options.
        for command in ("cc -O3 -fPIC -c one.c", "cc -shared -O3 one.o -o one.so"):
            subprocess.run(command.split(), cwd=folder, env=given, check=True)
    return zig_cache()
