"""A wheel that was built, and with what → a CycloneDX 1.6 document, in a file ``<wheel>.cdx.json`` or in the wheel.

Only on request (setting ``sbom``); without it the wheel stays as the real backend made it. The same build gives the
same document, to the byte, on every machine. Its subject is the wheel, by its sha256 unless the document is inside it.
What the wheel was built with is listed with the scope ``excluded``, which stands for what is not used at run time; what
the wheel itself needs then is in its own metadata.

Source: CycloneDX v1.6 JSON Reference; Package-URL specification; PEP 770 for the names of the files; "Binary
distribution format", The .dist-info directory and The .dist-info/sboms/ directory.
"""

from __future__ import annotations

import base64
import csv
import datetime
import inspect
import io
import json
import os
import re
import shutil
import sys
import tempfile
import uuid
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type
from urllib.parse import quote

from packaging.utils import canonicalize_name

from ..cache.entries import entry_of, read_marker
from ..errors import BackendError, UsageError
from ..files import hash_bytes, hash_file, rename
from ..interpreter import Interpreter
from ..output import redact_url
from ..processes import run_interpreter_json
from ..project.plan import running_interpreter
from ..project.pyproject import OWN_NAME
from ..setting_values import BESIDE, INSIDE
from ..settings import Settings
from ..versions import own_version
from . import embed
from .requirements import find_distributions
from .wheel_file import UNREADABLE

__all__ = ["Tools", "record_own_wheel", "record_wheel"]

_PREFIX = "provision-backend:"
_UNREADABLE: Tuple[Type[Exception], ...] = (*UNREADABLE, csv.Error)  # RECORD is CSV
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


class Tools(NamedTuple):
    """What a wheel was built with."""

    interpreter: Interpreter
    """What ran the real backend."""
    packages: Sequence[str]
    """The folders that its packages are installed in, in the order of ``sys.path``."""
    files: Mapping[str, Mapping[str, str]] = {}
    """What was installed where that is known, as in a locked build: ``filename`` and ``sha256`` by normalised name."""


def record_own_wheel(wheel: Path, build_backend: str, settings: Settings) -> None:
    """Write down what the build of a wheel used that this process has made; otherwise as `record_wheel`."""
    running = running_interpreter()
    interpreter = Interpreter(running.executable, running.version, running.freethreaded, source="running")
    # The empty path is the source tree; what lies there is not installed.
    record_wheel(wheel, build_backend, Tools(interpreter, [folder for folder in sys.path if folder]), settings)


def record_wheel(wheel: Path, build_backend: str, tools: Tools, settings: Settings) -> None:
    """Write down what the build of a wheel used, where the setting ``sbom`` says: in the wheel, beside it, elsewhere.

    Raises:
        UsageError: the file cannot be written, or the wheel is signed.
        BackendError: the wheel cannot be read or rewritten.
    """
    if settings.sbom == INSIDE:
        # The document inside a wheel cannot have the hash of that wheel, and would not follow its name: a tool that
        # repairs a wheel gives it another one.
        _put_inside(wheel, _document(_subject(wheel.name), build_backend, tools), tools.interpreter, settings)
        return
    subject = _subject(wheel.name, hashes={"sha256": hash_file(wheel)})
    subject["properties"] = _properties(wheel=wheel.name)
    folder = wheel.parent if settings.sbom == BESIDE else Path(settings.sbom)
    path = folder / f"{wheel.name}.cdx.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_document(subject, build_backend, tools))
    except OSError as exc:
        raise UsageError(
            f"{settings.origin('sbom')} names {settings.sbom!r}, and {path} cannot be written: {exc.strerror}"
        ) from None


def _put_inside(wheel: Path, content: bytes, interpreter: Interpreter, settings: Settings) -> None:
    """Put a document into a wheel, in one step: the wheel is what it was, or it has the document and lists it."""
    origin = settings.origin("sbom")
    try:
        with tempfile.TemporaryDirectory(dir=str(wheel.parent), prefix=".sbom-") as folder:
            copy = os.path.join(folder, "wheel")
            _copy_wheel(interpreter, str(wheel), copy, _changes(wheel, content, folder, origin))
            shutil.copymode(str(wheel), copy)
            rename(Path(copy), wheel)
    except _UNREADABLE as exc:
        raise BackendError(f"{origin} is {INSIDE!r}, and {wheel.name} cannot hold an SBOM: {exc}") from None


def _copy_wheel(interpreter: Interpreter, wheel: str, copy: str, changes: Dict[str, str]) -> None:
    if interpreter.source == "running":
        embed.copy_wheel(wheel, copy, changes)
        return
    arguments = [wheel, copy, *(each for pair in changes.items() for each in pair)]
    answer = run_interpreter_json(Path(interpreter.executable), inspect.getsource(embed), arguments=arguments)
    if answer["error"]:
        raise ValueError(answer["error"])


def _changes(wheel: Path, content: bytes, folder: str, origin: str) -> Dict[str, str]:
    """Write the document and the wheel's new RECORD to a folder, and return their paths by their names in the wheel."""
    with zipfile.ZipFile(str(wheel)) as archive:
        names = archive.namelist()
        records = [name for name in names if re.fullmatch(r"[^/]+\.dist-info/RECORD", name)]
        if len(records) != 1:
            raise ValueError(f"a wheel has one .dist-info/RECORD, found {len(records)}")
        record = records[0]
        signed = [name for name in names if name in (f"{record}.jws", f"{record}.p7s")]
        if signed:
            raise UsageError(
                f"{origin} is {INSIDE!r}, and {wheel.name} is signed ({signed[0]}), which a changed RECORD would break",
                hint=f"have the SBOM beside the wheel, or in a folder: {BESIDE!r}, or its path",
            )
        rows = list(csv.reader(io.StringIO(archive.read(record).decode("utf-8"), newline="")))
    name = f"{record[: -len('RECORD')]}sboms/{OWN_NAME}.cdx.json"
    # The name is ours: a document that is there already is of an earlier run, and is replaced.
    rows = [row for row in rows if row and row[0] != name]
    digest = base64.urlsafe_b64encode(bytes.fromhex(hash_bytes(content))).decode("ascii").rstrip("=")
    # RECORD's own line, which has no hash, is mostly the last.
    place = next((number for number, row in enumerate(rows) if row[0] == record), len(rows))
    rows.insert(place, [name, f"sha256={digest}", str(len(content))])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    changes = {name: os.path.join(folder, "sbom"), record: os.path.join(folder, "record")}
    for path, data in zip(changes.values(), (content, text.getvalue().encode("utf-8"))):
        Path(path).write_bytes(data)
    return changes


def _subject(wheel: str, hashes: Optional[Dict[str, str]] = None) -> Dict[str, Any]:
    # A real backend may give its wheel a name that the specification does not know; the frontend will say so.
    name, _, rest = wheel.partition("-")
    name, version = canonicalize_name(name), rest.partition("-")[0].replace("_", "-")
    subject = _component("library", name, version, "pypi", hashes=hashes)
    del subject["scope"]
    return subject


def _document(subject: Dict[str, Any], build_backend: str, tools: Tools) -> bytes:
    tool = _component("application", OWN_NAME, own_version())
    del tool["scope"], tool["bom-ref"]
    components = [_interpreter(tools.interpreter), *_distributions(tools)]
    body = {
        "version": 1,
        "metadata": {
            **_timestamp(),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [tool]},
            "component": subject,
            "properties": _properties(**{"build-backend": build_backend}),
        },
        "components": components,
        # Readers may leave out what is not reached from the subject (PEP 770, SBOM data interoperability).
        "dependencies": [{"ref": subject["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]}],
        # Which distributions the wheel needs at run time is not looked into.
        "compositions": [{"aggregate": "unknown", "dependencies": [subject["bom-ref"]]}],
    }
    head = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))}",
    }
    return (json.dumps({**head, **body}, indent=2) + "\n").encode("ascii")  # The same bytes on every system.


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


def _distributions(tools: Tools) -> Iterator[Dict[str, Any]]:
    for name, distribution in sorted(find_distributions(tools.packages).items()):
        if name == OWN_NAME:
            continue
        # An index gives an installer hashes, but no installer writes them down; those of a direct URL are known, and
        # those of a lock.
        url, hashes = _origin(distribution.read_text("direct_url.json"))
        file = tools.files.get(name, {})
        hashes = {"sha256": file["sha256"]} if file else hashes
        component = _component("library", name, distribution.version or "", "pypi", hashes=hashes)
        if file:
            component["properties"] = _properties(archive=file["filename"])
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
