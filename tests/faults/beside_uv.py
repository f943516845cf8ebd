"""The same faults for us and for uv, side by side.

    python tests/faults/beside_uv.py [UV] [KILLS] [FAULT ...]     by hand

Both install the same small real CPython from the same loopback server, ours with a catalog of one line, uv with
``UV_PYTHON_DOWNLOADS_JSON_URL``. What is printed is what was seen; ``docs/reliability.md`` has the results of a run.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent.parent.parent)]
from support.servers import ArchiveServer, RawServer, Reply  # noqa: E402
from support.small_archives import ours, shared_small_archives  # noqa: E402
from test_hostile_servers import BIG, CHUNKED, OK, SERVERS, Answer, endlessly, slowly  # noqa: E402

UV = sys.argv[1] if len(sys.argv) > 1 else "uv"
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 20
ARCHIVES = shared_small_archives()[:2]
VERSION = re.match(r"cpython-(\d+)\.(\d+)\.(\d+)", ARCHIVES[0].name)
assert VERSION
FULL = ".".join(VERSION.groups())


class Tool:
    """Something that installs the first archive, or under another version the second one, into a folder."""

    def __init__(self, name: str, folder: Path, server: ArchiveServer) -> None:
        self.name = name
        self.folder = folder
        self.server = server
        folder.mkdir()

    def command(self, number: int = 0, base: str = "") -> Tuple[List[str], Dict[str, str]]:
        """Return the command line that installs, from another server if one is named, and its environment."""
        base = base or self.server.url
        if self.name == "ours":
            command, environ = ours(cache=self.folder / "cache", archive=ARCHIVES[number], mirror=base)
            return command, environ
        major, minor, patch = (int(part) for part in VERSION.groups())  # type: ignore[union-attr]
        patch += number
        catalog = self.folder / f"downloads-{number}.json"
        key = f"cpython-{major}.{minor}.{patch}-linux-x86_64-gnu"
        catalog.write_text(
            json.dumps(
                {
                    key: {
                        "name": "cpython",
                        "arch": {"family": "x86_64", "variant": None},
                        "os": "linux",
                        "libc": "gnu",
                        "major": major,
                        "minor": minor,
                        "patch": patch,
                        "prerelease": "",
                        "url": f"{base}/{ARCHIVES[number].name.replace('+', '%2B')}",
                        "sha256": hashlib.sha256(ARCHIVES[number].read_bytes()).hexdigest(),
                        "variant": None,
                        "build": re.search(r"\+(\d{8})-", ARCHIVES[number].name)[1],  # type: ignore[index]
                    }
                }
            )
        )
        environ = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        environ.update(
            UV_PYTHON_DOWNLOADS_JSON_URL=str(catalog),
            UV_PYTHON_INSTALL_DIR=str(self.folder / "installs"),
            UV_CACHE_DIR=str(self.folder / "cache"),
            UV_NO_CONFIG="1",
            UV_HTTP_RETRIES="3",
        )
        return [UV, "python", "install", "--no-bin", f"{major}.{minor}.{patch}"], environ

    def start(self, number: int = 0, more: Optional[Dict[str, str]] = None) -> subprocess.Popen[str]:
        """Start installing."""
        command, environ = self.command(number)
        return subprocess.Popen(
            command, env={**environ, **(more or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(
        self, number: int = 0, *, timeout: float = 120, more: Optional[Dict[str, str]] = None
    ) -> Tuple[Optional[int], str]:
        """Install; return the exit status, None when it took too long, and what was said."""
        process = self.start(number, more)
        try:
            out = process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None, "still waiting"
        return process.returncode, out

    def trees(self) -> List[Path]:
        """Return what is visible under its final name."""
        folder = self.folder / ("cache/interpreters" if self.name == "ours" else "installs")
        if not folder.is_dir():
            return []
        return [path for path in sorted(folder.iterdir()) if path.name.startswith("cpython-") and not path.is_symlink()]

    def is_patched(self, tree: Path) -> bool:
        """Say whether the record of the build has no path of the machine that built it."""
        records = list(tree.glob("lib/python3.*/_sysconfigdata*.py"))
        return bool(records) and all(not re.search(r"['\" ]/install\b", path.read_text()) for path in records)

    def is_complete(self, tree: Path) -> bool:
        """Say whether the interpreter starts."""
        try:
            done = subprocess.run([str(tree / "bin" / "python3"), "-I", "-B", "-c", "import ssl, json, venv"])
        except OSError:
            return False
        return done.returncode == 0

    def leftovers(self) -> int:
        """Count what is neither published nor needed."""
        places = ("cache/staging/*", "cache/downloads/*/*") if self.name == "ours" else ("installs/.temp/*",)
        return sum(len(list(self.folder.glob(place))) for place in places)

    def reset(self) -> None:
        """Begin with nothing."""
        shutil.rmtree(str(self.folder))
        self.folder.mkdir()
        self.server.script.clear()
        del self.server.requests[:]


def first_script(tool: Tool, *replies: Reply) -> None:
    """Ours asks for the layout by release first, which the server answers with 404."""
    tool.server.script = [Reply(status=404)] if tool.name == "ours" else []
    tool.server.script += replies


def kills(tool: Tool) -> str:
    begin = time.monotonic()
    assert tool.run()[0] == 0
    whole = time.monotonic() - begin
    moments = random.Random(4)
    unpatched = incomplete = failed = unpatched_after = 0
    most = 0
    for _ in range(KILLS):
        for tree in tool.trees():
            shutil.rmtree(str(tree))
        process = tool.start()
        time.sleep(moments.uniform(0, whole * 1.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for tree in tool.trees():
            unpatched += not tool.is_patched(tree)
            incomplete += not tool.is_complete(tree)
        failed += tool.run()[0] != 0
        unpatched_after += any(not tool.is_patched(tree) for tree in tool.trees())
        most = max(most, tool.leftovers())
    return (
        f"{KILLS} kills over {whole:.2f} s: visible unpatched {unpatched}, incomplete {incomplete}; next run failed "
        f"{failed}, still unpatched after it {unpatched_after}; leftovers after it at most {most}"
    )


def publish_window(tool: Tool) -> str:
    """Watch the final name while the tool works: is an unpatched tree ever to be seen there?"""
    seen = 0
    rounds = 10
    for _ in range(rounds):
        for tree in tool.trees():
            shutil.rmtree(str(tree))
        process = tool.start()
        hit = False
        while process.poll() is None:
            for tree in tool.trees():
                hit = hit or not tool.is_patched(tree)
        process.communicate()
        seen += hit
    return f"an unpatched tree was seen under the final name in {seen} of {rounds} installations"


def bad_hash(tool: Tool) -> str:
    data = ARCHIVES[0].read_bytes()
    bad = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]
    more = {"UV_PYTHON_CACHE_DIR": str(tool.folder / "archives")} if tool.name == "uv" else {}
    first_script(tool, *[Reply(body=bad)] * 1)
    code, _ = tool.run(more=more)
    tool.server.script.clear()
    again, text = tool.run(more=more)
    last = "" if again == 0 else f": {text.strip().splitlines()[-1][:150]}"
    return f"damaged bytes: exit {code}; then good bytes: exit {again}{last}"


def resume(tool: Tool) -> str:
    size = ARCHIVES[0].stat().st_size
    first_script(tool, Reply(cut=size // 2), Reply(cut=size // 4))
    code, _ = tool.run()
    return f"cut twice: exit {code}, {tool.server.bytes_sent / size:.2f} times its size was sent"


def other_version(tool: Tool) -> str:
    first_script(tool, Reply(stall=1000))
    slow = tool.start()
    time.sleep(2)
    begin = time.monotonic()
    code, _ = tool.run(1, timeout=8)
    slow.kill()
    slow.communicate()
    result = "waits for it (8 s tried)" if code is None else f"exit {code} after {time.monotonic() - begin:.1f} s"
    return f"while one download stands still, another version: {result}"


def damaged(tool: Tool) -> str:
    tool.run()
    tree = tool.trees()[0]
    next(path for path in tree.glob("bin/python3.*") if not path.is_symlink() and "config" not in path.name).unlink()
    code, _ = tool.run()
    usable = any(tool.is_complete(tree) for tree in tool.trees())
    return f"its program is deleted, installed again: exit {code}, a usable interpreter is there: {usable}"


def full_disk(tool: Tool) -> str:
    if os.geteuid() != 0:
        return "needs root"
    command, environ = tool.command()
    where = tool.folder / ("cache" if tool.name == "ours" else "installs")
    script = (
        f'mkdir -p {where}; mount -t tmpfs -o size=12m,mode=755 none {where}; "$@" >/dev/null 2>&1; echo first $?; '
        f'du -s {where} | cut -f1; mount -o remount,size=200m {where}; "$@" >/dev/null 2>&1; echo then $?'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *command], env=environ, capture_output=True, text=True
    )
    first, left, then = done.stdout.split("\n")[:3]
    return f"12 MB of room: exit {first[6:]}, {left} kB left behind; then with room: exit {then[5:]}"


def concurrent(tool: Tool) -> str:
    processes = [tool.start() for _ in range(8)]
    codes = [process.wait(timeout=200) for process in processes]
    for process in processes:
        process.communicate()
    sent = tool.server.bytes_sent / ARCHIVES[0].stat().st_size
    return f"8 processes at once: {codes.count(0)} succeeded, {sent:.2f} times its size was sent"


REAL = ARCHIVES[0].read_bytes()
WHOLE = OK + CHUNKED + b"%x\r\n" % len(REAL) + REAL + b"\r\n"
HOSTILE: Dict[str, Answer] = {
    "the archive, a byte at a time": slowly(*[bytes([byte]) for byte in REAL[:9999]], first=OK + b"\r\n"),
    "the archive, then slow trailers": slowly(b"A: b\r\n", first=WHOLE + b"0\r\n"),
    "the archive, then endless trailers": endlessly(b"A: b\r\n" * 1000, first=WHOLE + b"0\r\n"),
    "the archive, then bytes without end": endlessly(BIG, first=OK + b"\r\n" + REAL),
    **{
        name: SERVERS[name]
        for name in (
            "bytes", "slow interim answers", "interim answers", "slow fields", "endless fields", "chunks: slow size",
            "a slow size", "a length of 5,000 digits", "a steering reason", "redirect to itself", "a bomb",
        )
        if name in SERVERS
    },
}  # fmt: skip


def hostile(tool: Tool) -> str:
    """Let hostile servers answer, with time-outs of two seconds, for half a minute each; ours has a second mirror."""
    lines = []
    for name, answer in HOSTILE.items():
        tool.reset()
        with RawServer(lambda *_: [answer] if isinstance(answer, bytes) else answer()) as server:  # noqa: B023
            # uv has one source.
            second = f",{tool.server.url}" if tool.name == "ours" else ""
            command, environ = tool.command(base=f"http://127.0.0.1:{server.port}")
            environ["PROVISION_BACKEND_MIRROR"] = environ.get("PROVISION_BACKEND_MIRROR", "") + second
            environ.update(UV_HTTP_TIMEOUT="2", UV_HTTP_CONNECT_TIMEOUT="2", UV_HTTP_RETRIES="0")
            environ.update(PROVISION_BACKEND_READ_TIMEOUT="2", PROVISION_BACKEND_RETRIES="0")
            begin = time.monotonic()
            process = subprocess.Popen(
                command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            try:
                out = process.communicate(timeout=30)[0]
                steers = ", with an escape sequence of the server" if "\x1b]0;" in out else ""
                result = f"exit {process.returncode} after {time.monotonic() - begin:.1f} s{steers}"
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                result = "still there after 30 s"
            kept = sum(path.stat().st_size for path in tool.folder.rglob("*") if path.is_file()) >> 20
        lines.append(f"{name}: {result}" + (f", {kept} MiB there" if kept else ""))
    return "\n    ".join(["", *lines])


FAULTS: List[Callable[[Tool], str]] = [
    concurrent,
    publish_window,
    kills,
    bad_hash,
    resume,
    other_version,
    damaged,
    full_disk,
    hostile,
]


def main() -> None:
    print(subprocess.run([UV, "--version"], stdout=subprocess.PIPE, text=True).stdout.strip(), "; CPython", FULL)
    with tempfile.TemporaryDirectory() as folder, ArchiveServer(root=ARCHIVES[0].parent) as server:
        for fault in [fault for fault in FAULTS if fault.__name__ in sys.argv[3:] or not sys.argv[3:]]:
            for name in ("ours", "uv"):
                tool = Tool(name, Path(folder) / name, server)
                tool.reset()
                try:
                    result = fault(tool)
                except Exception as error:  # A fault that could not be injected is a result too.
                    result = f"not done: {error!r}"
                print(f"{fault.__name__:15} {name:5} {result}", flush=True)
                shutil.rmtree(str(tool.folder))


if __name__ == "__main__":
    main()
