"""Read pip's configuration files, and say what the frontend's pip finds there and the inner one does not.

In: variables of the environment. Out: values by key, with the file that each comes from. Nothing here is an error: a
file that does not exist is normal, and pip itself reports what is wrong with one that does.

Source: pip documentation, Configuration.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Dict, Iterator, Mapping, Tuple

from ..files import read_file
from ..systems import RUNNING

__all__ = ["configured_variables", "pip_variable", "read_pip_files"]


def configured_variables(environ: Mapping[str, str]) -> Dict[str, str]:
    """Return variables for what configuration files tell the frontend's pip and not the inner one.

    That is the file of the frontend's own environment, and constraints of build environments, which a pip that installs
    by its command line obeys in further builds only.
    """
    own = os.path.join(sys.prefix, RUNNING.pip_file)
    found = read_pip_files(environ)
    keys = [key for key, (_, place) in found.items() if place == own or key == "build-constraint"]
    return {pip_variable(key): found[key][0] for key in keys if not environ.get(pip_variable(key))}


def pip_variable(option: str) -> str:
    """Return the name of the environment variable for an option of pip."""
    return f"PIP_{option.upper().replace('-', '_')}"


def read_pip_files(environ: Mapping[str, str]) -> Dict[str, Tuple[str, str]]:
    """Return the value and the file of each key in the configuration files of the running Python's pip."""
    import configparser  # Only what installs with pip asks for its files.

    found: Dict[str, Tuple[str, str]] = {}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser()
        with suppress(OSError, UnicodeDecodeError, configparser.Error):
            parser.read_string(read_file(Path(path)).decode("utf-8"))
        # The section of a command overrides [global], whatever their order in the file.
        for section in filter(parser.has_section, ("global", "install")):
            found.update({key.replace("_", "-"): (value, path) for key, value in parser.items(section)})
    return found


def _pip_files(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the configuration files that pip reads, existing or not; a later one wins."""
    given = environ.get("PIP_CONFIG_FILE", "")
    if given == os.devnull:
        return
    home = os.path.expanduser("~")
    # macOS has folders of its own beside those of any Unix.
    for base in (*RUNNING.machine_folders(environ), *RUNNING.own_config[1:]):
        yield os.path.join(base, *([] if base == "/etc" else ["pip"]), RUNNING.pip_file)
    yield os.path.join(home, RUNNING.pip_folder, RUNNING.pip_file)
    for base in (RUNNING.user_folder(environ), *map(os.path.expanduser, RUNNING.own_config[:1])):
        yield os.path.join(base, "pip", RUNNING.pip_file)
    yield os.path.join(sys.prefix, RUNNING.pip_file)
    if given:
        yield given
