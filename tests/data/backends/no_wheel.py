"""Lacks the hook that every frontend calls."""

from minimal import build_sdist, prepare_metadata_for_build_wheel
