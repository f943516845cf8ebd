"""A build environment in, the distributions that are installed in it out."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import BuildEnvironmentError
from ..processes import run_quiet

__all__ = ["Installed", "list_installed"]

_QUESTIONS = """
import importlib.metadata, json, sys
# The empty path is the folder that this was started in; what lies there is not installed.
sys.path[:] = [path for path in sys.path if path]
print("\\ninstalled=" + json.dumps([
    [found.metadata["Name"], found.version, found.read_text("direct_url.json")]
    for found in importlib.metadata.distributions() if found.metadata["Name"]
]))
"""


class Installed(NamedTuple):
    """A distribution that a build could use."""

    name: str
    """Normalised as in PEP 503."""
    version: str
    url: str
    """Where it was installed from, without credentials, where that was asked for directly; else empty."""
    hashes: Tuple[Tuple[str, str], ...]
    """Names of algorithms, as in ``hashlib``, and lower-case hex, of the archive behind the URL."""


def list_installed(python: str, environ: Mapping[str, str]) -> List[Installed]:
    """Ask an environment what is installed in it.

    An index gives an installer hashes, but no installer writes them down; those of a direct URL are known.

    Args:
        python: path of the environment's interpreter.
        environ: variables of a process in it.

    Returns:
        Ordered by name; each name once, as an import would find it.

    Raises:
        BuildEnvironmentError: it did not answer.

    Source: "Recording the Direct URL Origin of installed distributions", the former PEP 610.
    """
    done = run_quiet([python, "-c", _QUESTIONS], env=environ)
    answers = re.findall(r"^installed=(\[.*\])$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not answers:
        raise BuildEnvironmentError(
            f"{python} could not say what is installed: exit status {done.returncode}", hint=done.stderr.strip()[-2000:]
        )
    found: Dict[str, Installed] = {}
    for name, version, origin in json.loads(answers[-1]):
        normalised = re.sub(r"[-_.]+", "-", name).lower()
        found.setdefault(normalised, Installed(normalised, version or "", *_origin(origin)))
    return [found[name] for name in sorted(found)]


def _origin(text: Optional[str]) -> Tuple[str, Tuple[Tuple[str, str], ...]]:
    try:
        facts: Any = json.loads(text or "{}")
        archive = facts.get("archive_info") or {}
        hashes = dict(archive.get("hashes") or {})
        if not hashes and "=" in str(archive.get("hash", "")):
            algorithm, _, value = archive["hash"].partition("=")
            hashes = {algorithm: value}
        url = str(facts.get("url", ""))
    except (ValueError, AttributeError, TypeError):
        return "", ()  # Installers write it; what is damaged tells nothing.
    # A path of this machine is nobody else's business, and would make two builds differ.
    shown = re.sub(r"//[^/@]*@", "//", url) if re.match(r"https?://", url) else ""
    return shown, tuple(sorted((str(key), str(value)) for key, value in hashes.items()))
