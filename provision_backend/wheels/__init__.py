"""Wheels for every supported Python in one command: which are planned, built, given their tags, and tested."""
