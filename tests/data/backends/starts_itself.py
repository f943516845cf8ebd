"""Wraps the wrapper: its hooks lead back to provision_backend, and so to themselves."""

from provision_backend import build_sdist, build_wheel
