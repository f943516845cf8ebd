"""Has the two hooks that PEP 517 wants of every backend, and no other: metadata come from a wheel."""

from minimal import build_sdist, build_wheel
