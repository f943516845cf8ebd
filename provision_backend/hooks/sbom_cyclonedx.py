"""What a build used → a CycloneDX 1.6 document. Pure; the same build gives the same document, to the byte.

The subject is the wheel. What it was built with is listed with the scope ``excluded``, which stands for what is not
there at run time; what the wheel itself needs then is in its own metadata and not said here.
Source: CycloneDX v1.6 JSON Reference; Package-URL specification; PEP 770 for the file name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

from ..interpreter import Interpreter
from .sbom_installed import Installed

__all__ = ["Used", "sbom_text"]

_PREFIX = "provision-backend:"
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


@dataclass(frozen=True)
class Used:
    """What is known of the build of one wheel."""

    wheel: str
    """Its file name."""
    sha256: str
    """Of its bytes, lower-case hex."""
    build_backend: str
    """The real backend."""
    interpreter: Interpreter
    archive: str
    """File name of the archive that the interpreter was made of; empty where there is none."""
    installed: Sequence[Installed]
    own_version: str
    """Of provision-backend; empty where it is not known."""
    timestamp: str = ""
    """In UTC, as RFC 3339 writes it; empty for none, since it would make two builds differ."""


def sbom_text(used: Used) -> str:
    """Return the document of a build."""
    import uuid

    name, version = _wheel_name(used.wheel)
    subject = _component("library", name, version, _purl("pypi", name, version))
    del subject["scope"]
    subject["hashes"] = [{"alg": "SHA-256", "content": used.sha256}]
    subject["properties"] = _properties(wheel=used.wheel)
    tool = _component("application", "provision-backend", used.own_version)
    del tool["scope"], tool["bom-ref"]
    metadata: Dict[str, Any] = {"timestamp": used.timestamp} if used.timestamp else {}
    metadata.update(
        lifecycles=[{"phase": "build"}],
        tools={"components": [tool]},
        component=subject,
        properties=_properties(**{"build-backend": used.build_backend}),
    )
    others = [each for each in used.installed if each.name != "provision-backend"]
    body = {
        "version": 1,
        "metadata": metadata,
        "components": [_interpreter(used), *map(_distribution, others)],
        # Which distributions the wheel needs at run time is not looked into.
        "compositions": [{"aggregate": "unknown", "dependencies": [subject["bom-ref"]]}],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    head = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
    }
    return json.dumps({**head, **body}, indent=2) + "\n"


def _wheel_name(wheel: str) -> Tuple[str, str]:
    # A real backend may give its wheel a name that the specification does not know; the frontend will say so.
    name, _, rest = wheel.partition("-")
    return re.sub(r"[-_.]+", "-", name).lower(), rest.partition("-")[0].replace("_", "-")


def _component(kind: str, name: str, version: str, purl: str = "") -> Dict[str, Any]:
    component = {"type": kind, "bom-ref": purl or name, "scope": "excluded", "name": name}
    if version:
        component["version"] = version
    if purl:
        component["purl"] = purl
    return component


def _purl(kind: str, name: str, version: str) -> str:
    from urllib.parse import quote

    return f"pkg:{kind}/{quote(name, safe='')}" + (f"@{quote(version, safe='')}" if version else "")


def _interpreter(used: Used) -> Dict[str, Any]:
    interpreter = used.interpreter
    component = _component("platform", "cpython", interpreter.version, _purl("generic", "cpython", interpreter.version))
    release, _, update = re.sub(r"(a|b|rc)", r" \1", interpreter.version).partition(" ")
    # Advisories name CPython by this.
    component["cpe"] = f"cpe:2.3:a:python:python:{release}:{update or '*'}:*:*:*:*:*:*"
    if interpreter.sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": interpreter.sha256}]
    component["properties"] = _properties(
        archive=used.archive,
        freethreaded="true" if interpreter.freethreaded else "",
        source=interpreter.source,
        target=interpreter.triple,
    )
    return component


def _distribution(installed: Installed) -> Dict[str, Any]:
    name, version = installed.name, installed.version
    component = _component("library", name, version, _purl("pypi", name, version))
    hashes = [{"alg": _ALGORITHMS[key], "content": value} for key, value in installed.hashes if key in _ALGORITHMS]
    if hashes:
        component["hashes"] = hashes
    if installed.url:
        component["externalReferences"] = [{"type": "distribution", "url": installed.url}]
    return component


def _properties(**values: str) -> List[Dict[str, str]]:
    return [{"name": _PREFIX + name, "value": value} for name, value in sorted(values.items()) if value]
