"""Wraps an existing project: its ``pyproject.toml`` as text in, the one that names us out, and back."""
