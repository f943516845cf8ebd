"""Every frontend by every real backend, in both plans: the artifacts are those of the real backend alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Iterator

import pytest
from support.real_interpreters import Unavailable

from .backends import BACKENDS, Backend
from .frontends import FRONTENDS
from .jobs import Frontend
from .matrix import PLANS, check_cell, is_representative
from .workshop import Workshop

pytestmark = pytest.mark.slow

RESULTS = "COMPATIBILITY_RESULTS"
"""Variable with a folder; each cell leaves there what stands in the table."""


def _cells() -> Iterator[object]:
    for plan in PLANS:
        for backend in BACKENDS:
            for frontend in FRONTENDS:
                marks = () if is_representative(backend, frontend, plan) else (pytest.mark.matrix,)
                name = f"{backend.key}-{frontend.key}-{plan}"
                yield pytest.param(backend, frontend, plan, id=name, marks=marks)


@pytest.mark.parametrize(("backend", "frontend", "plan"), list(_cells()))
def test_what_a_frontend_makes_through_us_is_what_the_real_backend_makes_alone(
    workshop: Workshop, backend: Backend, frontend: Frontend, plan: str, tmp_path: Path
) -> None:
    """Wheels, sdists, installed files and metadata are equal; what cannot be is refused with its known reason."""
    try:
        result = check_cell(workshop, backend, frontend, plan, tmp_path)
    except Unavailable as exc:
        keep(f"{backend.key}.{frontend.key}", plan, str(exc))
        pytest.skip(str(exc))
    except BaseException:
        keep(f"{backend.key}.{frontend.key}", plan, "FAILED")
        raise
    keep(f"{backend.key}.{frontend.key}", plan, result)


def keep(name: str, plan: str, result: str) -> None:
    """Leave the result of a cell for the page."""
    folder = os.environ.get(RESULTS)
    if folder:
        Path(folder, f"{name}.{plan}.json").write_text(json.dumps(result), encoding="utf-8")
