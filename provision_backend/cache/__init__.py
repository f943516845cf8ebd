"""Interpreters on disk, once for all processes and users, and what is remembered beside them."""
