"""A wheel that was built, and where → a file ``<wheel>.cdx.json``: a CycloneDX 1.6 document of what the build used.

Only on request (setting ``sbom``). The wheel is the real backend's and stays as it is. The same build gives the same
document, to the byte. Its subject is the wheel. What the wheel was built with is listed with the scope ``excluded``,
which stands for what is not used at run time; what the wheel itself needs then is in its own metadata.

Source: CycloneDX v1.6 JSON Reference; Package-URL specification; PEP 770 for the file name.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import sys
import uuid
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple
from urllib.parse import quote

from packaging.utils import canonicalize_name

from ..cache.entries import entry_of, read_marker
from ..errors import UsageError
from ..files import hash_file
from ..interpreter import Interpreter
from ..output import redact_url
from ..project.plan import running_interpreter
from ..project.pyproject import OWN_NAME
from ..settings import BESIDE, Settings
from ..versions import own_version
from .requirements import find_distributions

__all__ = ["record_own_wheel", "record_wheel"]

_PREFIX = "provision-backend:"
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


def record_own_wheel(wheel: Path, build_backend: str, settings: Settings) -> Path:
    """Write down what the build of a wheel used that this process has made; otherwise as `record_wheel`."""
    running = running_interpreter()
    interpreter = Interpreter(running.executable, running.version, running.freethreaded, source="running")
    # The empty path is the source tree; what lies there is not installed.
    packages = [folder for folder in sys.path if folder]
    return record_wheel(wheel, build_backend, interpreter, packages=packages, settings=settings)


def record_wheel(
    wheel: Path, build_backend: str, interpreter: Interpreter, *, packages: Sequence[str], settings: Settings
) -> Path:
    """Write down what the build of a wheel used, and return the path of the file.

    Args:
        wheel: the wheel, just built.
        build_backend: the real backend.
        interpreter: what ran it.
        packages: the folders that its packages are installed in, in the order of ``sys.path``.
        settings: of the build; ``sbom`` names the folder of the file.

    Raises:
        UsageError: the file cannot be written.
    """
    folder = wheel.parent if settings.sbom == BESIDE else Path(settings.sbom)
    path = folder / f"{wheel.name}.cdx.json"
    text = _document(wheel, build_backend, interpreter, find_distributions(packages))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))  # The same bytes on every system.
    except OSError as exc:
        raise UsageError(
            f"{settings.origin('sbom')} names {settings.sbom!r}, and {path} cannot be written: {exc.strerror}"
        ) from None
    return path


def _document(wheel: Path, build_backend: str, interpreter: Interpreter, installed: Dict[str, Distribution]) -> str:
    # A real backend may give its wheel a name that the specification does not know; the frontend will say so.
    name, _, rest = wheel.name.partition("-")
    name, version = canonicalize_name(name), rest.partition("-")[0].replace("_", "-")
    subject = _component("library", name, version, "pypi", hashes={"sha256": hash_file(wheel)})
    subject["properties"] = _properties(wheel=wheel.name)
    tool = _component("application", OWN_NAME, own_version())
    del subject["scope"], tool["scope"], tool["bom-ref"]
    body = {
        "version": 1,
        "metadata": {
            **_timestamp(),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [tool]},
            "component": subject,
            "properties": _properties(**{"build-backend": build_backend}),
        },
        "components": [_interpreter(interpreter), *_distributions(installed)],
        # Which distributions the wheel needs at run time is not looked into.
        "compositions": [{"aggregate": "unknown", "dependencies": [subject["bom-ref"]]}],
    }
    head = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))}",
    }
    return json.dumps({**head, **body}, indent=2) + "\n"


def _timestamp() -> Dict[str, str]:
    """Return the time that the builder fixes for all that is built; any other one would make two builds differ.

    Source: reproducible-builds.org, SOURCE_DATE_EPOCH.
    """
    try:
        seconds = int(os.environ.get("SOURCE_DATE_EPOCH", ""))
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return {}
    return {"timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _interpreter(interpreter: Interpreter) -> Dict[str, Any]:
    version = interpreter.version
    component = _component("platform", "cpython", version, "generic", hashes={"sha256": interpreter.sha256})
    release, _, update = re.sub(r"(a|b|rc)", r" \1", version).partition(" ")
    # Advisories name CPython by this.
    component["cpe"] = f"cpe:2.3:a:python:python:{release}:{update or '*'}:*:*:*:*:*:*"
    entry = entry_of(interpreter)
    component["properties"] = _properties(
        archive="" if entry is None else str(read_marker(entry).get("filename", "")),
        freethreaded="true" if interpreter.freethreaded else "",
        source=interpreter.source,
        target=interpreter.triple,
    )
    return component


def _distributions(installed: Dict[str, Distribution]) -> Iterator[Dict[str, Any]]:
    for name, distribution in sorted(installed.items()):
        if name == OWN_NAME:
            continue
        # An index gives an installer hashes, but no installer writes them down; those of a direct URL are known.
        url, hashes = _origin(distribution.read_text("direct_url.json"))
        component = _component("library", name, distribution.version or "", "pypi", hashes=hashes)
        if url:
            component["externalReferences"] = [{"type": "distribution", "url": url}]
        yield component


def _origin(text: Optional[str]) -> Tuple[str, Dict[str, str]]:
    """Return where a distribution was installed from, without credentials, and the hashes of that archive.

    Source: "Recording the Direct URL Origin of installed distributions", the former PEP 610.
    """
    try:
        facts: Any = json.loads(text or "{}")
        archive = facts.get("archive_info") or {}
        hashes = dict(archive.get("hashes") or {})
        if not hashes and "=" in str(archive.get("hash", "")):
            hashes = dict([archive["hash"].split("=", 1)])
        url = str(facts.get("url", ""))
    except (ValueError, AttributeError, TypeError):
        return "", {}  # Installers write it; what is damaged tells nothing.
    # A path of this machine is nobody else's business, and would make two builds differ.
    shown = redact_url(url) if re.match(r"https?://", url) else ""
    return shown, {str(key): str(value) for key, value in hashes.items()}


def _component(
    kind: str, name: str, version: str, source: str = "", *, hashes: Optional[Dict[str, str]] = None
) -> Dict[str, Any]:
    """Return a component, whose Package-URL begins with its *source*; what is unknown is left out."""
    at = f"@{quote(version, safe='')}" if version else ""
    purl = f"pkg:{source}/{quote(name, safe='')}{at}" if source else ""
    known = sorted((key, value) for key, value in (hashes or {}).items() if key in _ALGORITHMS and value)
    component = {
        "type": kind,
        "bom-ref": purl or name,
        "scope": "excluded",
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": _ALGORITHMS[key], "content": value} for key, value in known],
    }
    return {key: value for key, value in component.items() if value}


def _properties(**values: str) -> List[Dict[str, str]]:
    return [{"name": _PREFIX + name, "value": value} for name, value in sorted(values.items()) if value]
