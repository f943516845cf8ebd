r"""The command line on Windows, with real CPythons under wine: 3.9.13 is the host, and 3.13.2 is provisioned.

What is marked ``matrix`` is left to ``scripts/test --windows``; the rest is part of ``scripts/test``. What Windows does
and wine does not is simulated where the code is tested: a folder with an open file is renamed under wine, names of
devices are files, and paths may be long.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import random
import shutil
import threading
import time
from typing import Iterator, List

import pytest
from support.archives import gzipped, member, tar
from support.systems_table import recorded
from support.wine import ARCHIVE, Windows, open_windows, windows_path

pytestmark = [pytest.mark.slow, pytest.mark.windows]

TARGET = "x86_64-pc-windows-msvc"


@pytest.fixture(scope="module")
def machine() -> Iterator[Windows]:
    """Give a Windows machine, which the tests of this file share."""
    with open_windows() as windows:
        yield windows


@pytest.fixture
def windows(machine: Windows) -> Windows:
    """Give the machine with an empty cache."""
    shutil.rmtree(machine.folder / "cache", ignore_errors=True)
    return machine


def _names(windows: Windows, folder: str) -> List[str]:
    return sorted(path.name for path in (windows.folder / "cache" / folder).iterdir())


def test_an_interpreter_is_installed_found_run_and_kept_while_it_runs(windows: Windows) -> None:
    """From a folder, on the host's 3.9; the paths are those of Windows, and what a process runs is not removed."""
    with recorded(TARGET, "detect", how="wine"):
        detected = windows.ours("detect").stdout.splitlines()
    assert detected[0] == TARGET
    with recorded(TARGET, "install", how="wine"):
        python = windows.ours("install", ">=3.12").stdout.strip()
    assert python.startswith(windows_path(windows.folder / "cache"))
    assert python.endswith("\\python.exe")
    assert windows.ours("find", ">=3.12").stdout.strip() == python
    assert windows.ours("cache", "verify").stdout.endswith(": as it was published\n")
    code = "import sys; print(sys.version_info[:3], sys.executable); sys.exit(5)"
    done = windows.ours("run", "3.13", "--", "Python.EXE", "-c", code, check=False)
    assert (done.returncode, done.stdout.strip()) == (5, f"(3, 13, 2) {python}")
    running = windows.start([python, "-c", "print(1, flush=True); import time; time.sleep(300)"])
    assert running.stdout is not None
    assert running.stdout.readline().strip() == "1"
    kept = windows.ours("uninstall", "3.13", check=False)
    windows.kill(running)
    assert (kept.returncode, kept.stdout) == (1, "0 B freed\n")
    assert kept.stderr.endswith(": a process uses it\n")
    assert windows.ours("uninstall", "3.13").stdout.splitlines()[-1].endswith(" freed")
    assert [_names(windows, folder) for folder in ("interpreters", "staging", "downloads")] == [[], [], []]


@pytest.fixture
def served(windows: Windows) -> Iterator[List[str]]:
    """Serve the mirror by HTTP on loopback; gives its address, and then the paths that were fetched."""
    fetched: List[str] = []

    class _Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, *seen: object) -> None:
            if seen[:1] == (200,):
                fetched.append(self.path)

        def log_message(self, *_arguments: object) -> None:
            pass

    handler = functools.partial(_Handler, directory=str(windows.mirror))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        fetched.append(f"http://127.0.0.1:{server.server_port}")
        yield fetched
        server.shutdown()


@pytest.mark.matrix
def test_eight_installs_at_once_fetch_one_archive(windows: Windows, served: List[str]) -> None:
    """From a server: the lock is that of Windows, and everybody has the same interpreter."""
    url = served[0]
    environ = {**windows.settings(), "PROVISION_BACKEND_MIRROR": url, "PROVISION_BACKEND_CATALOG": f"{url}/SHA256SUMS"}
    command = [str(windows.python), "-m", "provision_backend", "install", ">=3.12"]
    running = [windows.start(command, env=environ) for _ in range(8)]
    answers = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 8
    assert len(set(answers)) == 1
    assert len([path for path in served if path.endswith(".tar.gz")]) == 1
    assert _names(windows, "staging") == []


@pytest.mark.matrix
def test_after_a_kill_at_any_moment_the_next_install_succeeds(windows: Windows, served: List[str]) -> None:
    """Whatever was unfinished is never visible, and is removed; a download goes on."""
    environ = {**windows.settings(), "PROVISION_BACKEND_MIRROR": served[0]}
    moments = random.Random(5)
    command = [str(windows.python), "-m", "provision_backend", "install", ">=3.12"]
    for _ in range(5):
        process = windows.start(command, env=environ)
        time.sleep(moments.uniform(1, 9))
        windows.kill(process)
        windows.ours("install", ">=3.12", env=environ)
        assert windows.ours("cache", "verify").stdout.endswith(": as it was published\n")
        shutil.rmtree(windows.folder / "cache/interpreters")
    windows.ours("install", ">=3.12")
    assert _names(windows, "downloads") == []


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["with a space and \u00fc", "\u65e5\u672c"])
def test_the_path_of_a_cache_may_have_any_character(windows: Windows, name: str) -> None:
    """What the code page of the console lacks is written in UTF-8, and the answer of ``--json`` is plain ASCII."""
    environ = {"PROVISION_BACKEND_CACHE_DIR": windows_path(windows.folder / name)}
    windows.ours("install", "3.13", env=environ)
    found = json.loads(windows.ours("find", "--json", "3.13", env=environ).stdout)["executable"]
    assert found.startswith(windows_path(windows.folder / name))
    if name == "\u65e5\u672c":
        assert windows.ours("find", "3.13", env=environ).stdout.strip() == found


@pytest.mark.matrix
def test_a_mirror_may_be_a_file_url_with_a_drive(windows: Windows) -> None:
    """As Windows writes it: ``file:///Z:/mirror``."""
    url = "file:///" + windows_path(windows.mirror).replace("\\", "/")
    environ = {"PROVISION_BACKEND_MIRROR": url, "PROVISION_BACKEND_CATALOG": f"{url}/SHA256SUMS"}
    assert windows.ours("install", "3.13", env=environ).stdout.strip().endswith("python.exe")


@pytest.mark.matrix
def test_a_share_of_another_machine_is_a_folder(windows: Windows) -> None:
    """A file URL with a host is a path that begins with two backslashes."""
    environ = {"PROVISION_BACKEND_MIRROR": "file://nas/share/mirror"}
    done = windows.ours("install", "3.13", env=environ, check=False)
    assert done.returncode == 1
    assert "file://nas/share/mirror: there is no such folder" in done.stderr


@pytest.mark.matrix
def test_a_path_that_is_too_long_for_windows_is_refused(windows: Windows) -> None:
    """Where long paths are not allowed, no tree is published whose files other programs could not open."""
    cache = windows_path(windows.folder / "deep") + ("\\" + "d" * 50) * 3
    done = windows.ours("install", "3.13", env={"PROVISION_BACKEND_CACHE_DIR": cache}, check=False)
    assert done.returncode == 1
    assert "characters, and Windows takes 259" in done.stderr
    assert "allow long paths in Windows" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("python/python.exe", b"x"), member("python/PYTHON.exe", b"y")], "the name of another member"),
        ([member("python/Lib/os.py", b"x"), member("python/lib/re.py", b"y")], "the name of another member"),
        ([member("python/nul", b"x")], "which on Windows is something else than that file"),
        ([member("python/os.py:stream", b"x")], "which on Windows is something else than that file"),
        ([member("python/bin/python3.13", b"x")], "holds no"),
    ],
    ids=["file of another case", "folder of another case", "device", "stream", "of another system"],
)
def test_an_archive_that_windows_would_write_elsewhere_is_refused(
    windows: Windows, members: List[bytes], message: str
) -> None:
    """With one sentence, and nothing of it stays."""
    mirror = windows.folder / "hostile"
    shutil.rmtree(mirror, ignore_errors=True)
    mirror.mkdir()
    (mirror / ARCHIVE).write_bytes(gzipped(tar(*members)))
    digest = hashlib.sha256((mirror / ARCHIVE).read_bytes()).hexdigest()
    (mirror / "SHA256SUMS").write_text(f"{digest}  {ARCHIVE}\n", encoding="ascii")
    environ = {
        "PROVISION_BACKEND_MIRROR": windows_path(mirror),
        "PROVISION_BACKEND_CATALOG": windows_path(mirror / "SHA256SUMS"),
    }
    done = windows.ours("install", "3.13", env=environ, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [_names(windows, folder) for folder in ("interpreters", "staging")] == [[], []]


@pytest.mark.matrix
def test_mirror_lock_and_doctor_work_and_what_cannot_be_done_is_said(windows: Windows) -> None:
    """The other commands, on a project of flit_core."""
    project = windows.folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["provision-backend"]\nbuild-backend = "provision_backend"\n'
        '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.12"\n'
        '[tool.provision-backend]\nbuild-backend = "flit_core.buildapi"\nrequires = ["flit_core"]\n',
        encoding="ascii",
    )
    assert ARCHIVE in windows.ours("lock", "--only-interpreter", cwd=project).stdout
    assert "nothing to do" in windows.ours("lock", "--check", cwd=project).stderr
    assert "1 fetched" in windows.ours("mirror", "copy", "--python", "3.13").stdout
    assert "1 intact, 0 wrong" in windows.ours("mirror", "copy", "--verify").stdout
    doctor = windows.ours("doctor", cwd=project).stdout
    assert f"ok       host: {TARGET}, Windows 10." in doctor
    assert "extension modules need Microsoft Visual C++" in doctor
    packed = windows.ours("pack", windows_path(windows.newer), "--to", "packed", check=False)
    assert (packed.returncode, "only interpreters for Linux are" in packed.stderr) == (1, True)
    inspected = windows.ours("detect", "--root", windows_path(windows.folder), check=False)
    assert (inspected.returncode, "Windows opens no folder to look into it" in inspected.stderr) == (1, True)


@pytest.mark.matrix
def test_interpreters_of_path_and_registry_are_found(windows: Windows) -> None:
    """Installers note theirs in the registry (PEP 514), and few put them on PATH."""
    key = r"HKCU\Software\Python\PythonCore\3.13\InstallPath"
    value = windows_path(windows.newer)
    environ = {"PROVISION_BACKEND_PREFERENCE": "only-system"}
    library = windows.newer.parent / "Lib/venv"
    library.mkdir()
    (library / "__init__.py").write_text("", encoding="ascii")  # The embeddable distribution has none.
    try:
        on_path = {**environ, "WINEPATH": windows_path(windows.newer.parent)}
        assert windows.ours("find", ">=3.12", env=on_path).stdout.strip() == value
        assert windows.ours("find", ">=3.12", env=environ, check=False).returncode == 1
        windows.run(["reg", "add", key, "/v", "ExecutablePath", "/d", value, "/f"])
        assert windows.ours("find", ">=3.12", env=environ).stdout.strip() == value
    finally:
        shutil.rmtree(library)
