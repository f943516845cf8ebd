"""The tests of pyproject-hooks against its own samples wrapped by us, and tools that build in their own way.

All of it needs the package index.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

import pytest

from .backends import backend
from .direct import compare, members, reference
from .matrix import PASSED, PLANS
from .others import OTHERS, Tool
from .test_matrix import keep
from .test_real_sdists import OnlineWorkshop, Release, online, sdist_of, unpacked
from .workshop import only

__all__ = ["online"]  # A fixture.

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

HOOKS = Release("pyproject-hooks", "1.3.3", "the library by which build and pip call every backend")

WRAPS = '''
"""Has each sample built through provision_backend, by a copy whose table names the sample's own backend."""

import json, shutil, tempfile
from pathlib import Path

from pyproject_hooks import BuildBackendHookCaller

real = BuildBackendHookCaller.__init__

def wrapping(self, source_dir, build_backend, backend_path=None, **more):
    real(self, source_dir, build_backend, backend_path, **more)  # What it refuses itself is refused.
    if not Path(source_dir, "pyproject.toml").exists():
        return
    copy = Path(tempfile.mkdtemp(), Path(source_dir).name)
    shutil.copytree(source_dir, copy)
    table = ["", "[tool.provision-backend]", f"build-backend = {json.dumps(build_backend)}"]
    table += [f"backend-path = {json.dumps(backend_path)}"] if backend_path else []
    with open(copy / "pyproject.toml", "a", encoding="utf-8") as file:
        file.write("\\n".join(table) + "\\n")
    real(self, str(copy), "provision_backend", **more)

BuildBackendHookCaller.__init__ = wrapping
'''

OURS = {
    "tests/test_call_hooks.py::test_missing_backend_gives_exception",
    "tests/test_inplace_hooks.py::test_intree_backend_not_in_path[buildsys]",
    "tests/test_inplace_hooks.py::test_intree_backend_not_in_path[nested.buildsys]",
}
"""What differs: a real backend that cannot be imported is a sentence of ours, and not `BackendUnavailable`, since that
would name provision_backend, which is there."""


def test_the_tests_of_pyproject_hooks_pass_through_us(online: OnlineWorkshop, tmp_path: Path) -> None:
    """In pass-through its samples behave as they do alone, but for the one difference."""
    suite = unpacked(online, sdist_of(HOOKS, online.tools), tmp_path / "suite")
    (suite / "conftest.py").write_text(WRAPS)
    host = online.host(old=False)
    packages = ["pytest", "testpath", "setuptools", "wheel", "provision-backend", f"pyproject-hooks=={HOOKS.version}"]
    python = online.new_environment(host.path, tmp_path / "tests", *packages)

    command = [str(python), "-m", "pytest", "-q", "-rfs", "-p", "no:cacheprovider", "tests"]
    done = online.run(command, cwd=suite)

    assert set(re.findall(r"^FAILED (\S+)", done.output, re.MULTILINE)) == OURS, done.output
    passed = re.search(r"(\d+) passed", done.output)
    assert passed is not None
    assert int(passed[1]) >= 35
    assert done.output.count("could not be imported under Python") >= len(OURS)


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Leave the output to the tests."""


@contextmanager
def index_of(folder: Path, wheels: Path, own: Path) -> Iterator[str]:
    """Serve wheels as a package index on loopback, and give its address (PEP 503)."""
    (folder / "files").mkdir(parents=True)
    for wheel in (*sorted(wheels.glob("*.whl")), own):
        os.link(wheel, folder / "files" / wheel.name)
        page = folder / "simple" / re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower() / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        with page.open("a") as file:
            file.write(f'<a href="/files/{wheel.name}#sha256={digest}">{wheel.name}</a><br>\n')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/"
    finally:
        server.shutdown()
        server.server_close()


SOURCES = """
[[tool.poetry.source]]
name = "local"
url = "{url}"
priority = "primary"

[[tool.pdm.source]]
name = "pypi"
url = "{url}"
"""


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("tool", OTHERS, ids=lambda tool: str(tool.key))
def test_a_tool_that_builds_in_its_own_way(online: OnlineWorkshop, tmp_path: Path, tool: Tool, plan: str) -> None:
    """It makes the wheel of the real backend alone, or says in its own words that it wants another Python."""
    old = plan == "provisioned"
    host = online.host(old=old, last=True)
    program = online.new_environment(host.path, tmp_path / "tool", *tool.packages).parent / tool.words[0]
    sample = backend("flit-core")
    source = online.source(sample, tmp_path / "source")
    with index_of(tmp_path / "index", online.wheels, online.own_wheel) as url:
        with (source / "pyproject.toml").open("a") as file:
            file.write(SOURCES.format(url=url))
        # What is not on this machine must not be fetched by the tool, and no other Python of it be found.
        closed = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1", "PYENV_ROOT": str(tmp_path)}
        place = {"HOME": str(tmp_path / "home"), "PATH": f"{program.parent}:/usr/bin:/bin"}
        pip = {"PIP_INDEX_URL": url, "UV_DEFAULT_INDEX": url, "PIP_FIND_LINKS": "", "UV_FIND_LINKS": ""}
        # tox hands none of our variables on.
        config = tmp_path / "home/.config/provision-backend/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'mirror = ["{online.mirror}"]\ncatalog = "{online.mirror}"\n')
        words = [word.format(out=tmp_path / "out") for word in tool.words[1:]]
        done = online.run([str(program), *words], cwd=source, env=online.environ(**closed, **place, **pip))

    if old and tool.refusal:
        assert done.returncode != 0
        assert re.search(tool.refusal, done.output), done.output
        assert "building with CPython" not in done.output
        keep(f"other-{tool.key}", plan, tool.reason)
        return
    assert done.returncode == 0, done.output
    python = online.provisioned() if old else host.path
    kind = "wheel-from-sdist" if list((tmp_path / "out").glob("*.tar.gz")) and tool.from_sdist else "wheel"
    theirs = reference(online, sample, python, kind, {})
    if tool.key == "tox":
        # It hands SOURCE_DATE_EPOCH on as little, so only the times in the wheel may differ.
        assert members(only(tmp_path / "out" / ".pkg" / "dist", "*.whl")) == members(theirs.first)
    else:
        compare(only(tmp_path / "out", "*.whl"), theirs)
    keep(f"other-{tool.key}", plan, PASSED)
