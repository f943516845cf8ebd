"""Lacks a hook that PEP 517 wants of every backend."""

from minimal import build_wheel, prepare_metadata_for_build_wheel
