"""The tests of pyproject-hooks against its own samples wrapped by us. They need the package index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .test_real_sdists import OnlineWorkshop, Release, online, sdist_of, unpacked

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
