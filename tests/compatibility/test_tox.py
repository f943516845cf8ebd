"""What the guide tells users of tox to write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .workshop import Workshop

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "ci.md"


def test_what_the_guide_says_reaches_each_environment_that_tox_builds_in(workshop: Workshop, tmp_path: Path) -> None:
    """An environment of another Python than tox's own has its wheel built in another packaging environment."""
    section = re.search(r"```ini\n(\[pkgenv\].*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert section is not None
    host = workshop.host(old=True, last=True)
    short = "".join(host.version.split(".")[:2])
    (tmp_path / "tox.ini").write_text(f"[tox]\nenv_list = py{short}\n[testenv]\npackage = wheel\n{section[1]}")
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "none"\n')
    environ = workshop.environ(PATH=f"{host.path.parent}:{workshop.environ()['PATH']}")

    for name in (".pkg", f".pkg-cpython{short}"):
        command = [str(workshop.tools / "bin" / "tox"), "config", "-e", f"py{short},{name}", "-k", "pass_env"]
        said = workshop.check(command, cwd=tmp_path, env=environ).split(f"[testenv:{name}]")[1].split("\n[")[0]
        assert "PROVISION_BACKEND_*" in said, said
        assert "SOURCE_DATE_EPOCH" in said, said
