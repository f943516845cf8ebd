"""Pins the interpreters of a project: the archives that its builds use, written down in the project itself."""
