"""The SBOM of a build: what it says, that it is CycloneDX, and that the same build gives the same one."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

import pytest
from packaging.version import Version
from support.hosts import FrontendCache
from support.projects import pure
from support.real_interpreters import usable_hosts
from support.toys import BACKENDS, project_of, toy_wheel

from provision_backend.errors import BackendError, UsageError
from provision_backend.hooks import sbom
from provision_backend.hooks.sbom import Tools, record_own_wheel, record_wheel
from provision_backend.interpreter import Interpreter
from provision_backend.settings import Settings

Record = Callable[..., Dict[str, Any]]


def validate(text: str) -> Dict[str, Any]:
    """Return a document that is valid by the schema of CycloneDX 1.6, which a package brings along."""
    if sys.version_info < (3, 10):
        pytest.skip("pip finds no set of packages that reads the schema of CycloneDX under a Python this old")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document: Dict[str, Any] = json.loads(text)
    return document


def properties(component: Dict[str, Any]) -> Dict[str, str]:
    return {item["name"].replace("provision-backend:", ""): item["value"] for item in component["properties"]}


MANAGED = Interpreter(
    "/cache/x/bin/python3.13", "3.13.5", source="managed", triple="x86_64-unknown-linux-gnu", sha256="c" * 64
)
WHEEL = "my_lib-1.0_rc1-py3-none-any.whl"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages, as in a build environment."""
    folder = tmp_path / "site"
    for name, version in (("Zope_Thing", "2.0"), ("alpha", "1.0"), ("beta", "1.0+x"), ("provision_backend", "0.1.0")):
        with zipfile.ZipFile(str(toy_wheel(tmp_path, name, version))) as wheel:
            wheel.extractall(str(folder))
    return folder


@pytest.fixture
def record(tmp_path: Path, site: Path) -> Record:
    """Return a function that records a wheel beside it, and returns the document."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()

    def record(
        name: str = WHEEL, content: bytes = b"", interpreter: Interpreter = MANAGED, files: Mapping[str, Any] = {}
    ) -> Dict[str, Any]:
        (wheels / name).write_bytes(content)
        tools = Tools(interpreter, [str(site)], files)
        record_wheel(wheels / name, "flit_core.buildapi", tools, Settings(sbom="beside"))
        return validate((wheels / f"{name}.cdx.json").read_text())

    return record


class TestDocument:
    """What the document says."""

    def test_the_subject_is_the_wheel(self, record: Record) -> None:
        """Name and version are those that the wheel's file name says, and the strict validator has no objection."""
        metadata = record()["metadata"]

        assert metadata["component"] == {
            "type": "library",
            "bom-ref": "pkg:pypi/my-lib@1.0-rc1",
            "name": "my-lib",
            "version": "1.0-rc1",
            "purl": "pkg:pypi/my-lib@1.0-rc1",
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(b"").hexdigest()}],
            "properties": [{"name": "provision-backend:wheel", "value": WHEEL}],
        }
        assert [each["name"] for each in metadata["tools"]["components"]] == ["provision-backend"]
        assert properties(metadata) == {"build-backend": "flit_core.buildapi"}
        assert "timestamp" not in metadata

    def test_what_was_used_is_not_used_at_run_time(self, record: Record) -> None:
        """That is what the scope excluded says; names are normalised and in order, and we are no component."""
        components = record()["components"]

        assert [(item["purl"], item["scope"]) for item in components] == [
            ("pkg:generic/cpython@3.13.5", "excluded"),
            ("pkg:pypi/alpha@1.0", "excluded"),
            ("pkg:pypi/beta@1.0%2Bx", "excluded"),
            ("pkg:pypi/zope-thing@2.0", "excluded"),
        ]

    @pytest.mark.parametrize(
        ("origin", "url", "hashes"),
        [
            pytest.param(
                {"url": "https://user:secret@example.org/a.whl", "archive_info": {"hashes": {"sha256": "1" * 64}}},
                "https://example.org/a.whl",
                [{"alg": "SHA-256", "content": "1" * 64}],
                id="with credentials",
            ),
            pytest.param(
                {"url": "file:///home/user/a.whl", "archive_info": {"hash": f"sha256={'2' * 64}"}},
                None,
                [{"alg": "SHA-256", "content": "2" * 64}],
                id="a path of this machine, and the older form of a hash",
            ),
            pytest.param(
                {"url": "https://example.org/a.whl", "archive_info": {"hashes": {"blake9": "f"}}},
                "https://example.org/a.whl",
                [],
                id="a hash that CycloneDX does not know",
            ),
            pytest.param(["damaged"], None, None, id="damaged"),
        ],
    )
    def test_direct_urls_are_shown_without_credentials_and_paths(
        self, record: Record, site: Path, origin: Any, url: Any, hashes: Any
    ) -> None:
        """The hash is shown in either form that the specification has had."""
        (site / "alpha-1.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))
        component = record()["components"][1]

        assert component.get("hashes", []) == (hashes or [])
        assert [each["url"] for each in component.get("externalReferences", [])] == ([url] if url else [])

    def test_a_provisioned_interpreter(self, record: Record) -> None:
        """The hash is that of its archive; paths of this machine are not shown."""
        document = record()
        interpreter = document["components"][0]

        assert interpreter["hashes"] == [{"alg": "SHA-256", "content": "c" * 64}]
        assert interpreter["cpe"] == "cpe:2.3:a:python:python:3.13.5:*:*:*:*:*:*:*"
        assert properties(interpreter) == {"source": "managed", "target": "x86_64-unknown-linux-gnu"}
        assert "/cache" not in json.dumps(document)

    def test_an_interpreter_of_the_machine_has_no_archive(self, record: Record) -> None:
        """A free-threaded pre-release is named as one, for people and for programs that look for advisories."""
        running = Interpreter("/usr/bin/python3", "3.14.0rc2", freethreaded=True, source="running")
        interpreter = record(interpreter=running)["components"][0]

        assert "hashes" not in interpreter
        assert interpreter["cpe"] == "cpe:2.3:a:python:python:3.14.0:rc2:*:*:*:*:*:*"
        assert properties(interpreter) == {"freethreaded": "true", "source": "running"}

    def test_its_serial_number_follows_from_what_it_says(self, record: Record) -> None:
        """Two builds that are alike have one document, two that differ have two numbers."""
        assert record() == record()
        assert record()["serialNumber"] != record(content=b"other")["serialNumber"]

    def test_what_is_not_known_is_left_out(self, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
        """A wheel with a name of its own, and our package run from a folder."""
        monkeypatch.setattr(sbom, "own_version", lambda: "")
        metadata = record("odd.whl")["metadata"]

        assert "version" not in metadata["component"]
        assert "version" not in metadata["tools"]["components"][0]


class TestRecord:
    """`record_own_wheel`."""

    @pytest.fixture
    def wheel(self, tmp_path: Path) -> Path:
        """A wheel."""
        return toy_wheel(tmp_path / "dist", "toy", "1.0")

    def record(self, wheel: Path, sbom: str) -> Path:
        """Record a wheel as if it had been built in this process, and return the path of the document."""
        record_own_wheel(wheel, "toy", Settings(sbom=sbom, origins=(("sbom", "PROVISION_BACKEND_SBOM"),)))
        return (wheel.parent if sbom == "beside" else Path(sbom)) / f"{wheel.name}.cdx.json"

    def test_it_goes_into_a_folder_or_beside_the_wheel(self, wheel: Path, tmp_path: Path) -> None:
        """The folder is made; the name is that of PEP 770; the wheel's hash is that of its bytes."""
        path = self.record(wheel, str(tmp_path / "new" / "boms"))

        assert path == tmp_path / "new" / "boms" / "toy-1.0-py3-none-any.whl.cdx.json"
        beside = self.record(wheel, "beside")
        assert beside == wheel.parent / path.name
        assert beside.read_bytes() == path.read_bytes()
        content = json.loads(path.read_text())["metadata"]["component"]["hashes"][0]["content"]
        assert content == hashlib.sha256(wheel.read_bytes()).hexdigest()

    @pytest.mark.parametrize(
        ("epoch", "expected"),
        [("1700000000", "2023-11-14T22:13:20Z"), ("", None), ("soon", None), ("9" * 30, None)],
        ids=["fixed", "none", "no number", "beyond all time"],
    )
    def test_the_time_is_the_one_that_the_builder_fixes(
        self, wheel: Path, monkeypatch: pytest.MonkeyPatch, epoch: str, expected: Any
    ) -> None:
        """Without SOURCE_DATE_EPOCH there is none."""
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)

        assert json.loads(self.record(wheel, "beside").read_text())["metadata"].get("timestamp") == expected

    def test_a_folder_that_cannot_be_written(self, wheel: Path, tmp_path: Path) -> None:
        """The setting and its place are named."""
        (tmp_path / "file").touch()
        with pytest.raises(UsageError) as caught:
            self.record(wheel, str(tmp_path / "file"))

        path = tmp_path / "file" / f"{wheel.name}.cdx.json"
        assert str(caught.value) == (
            f"PROVISION_BACKEND_SBOM names '{tmp_path / 'file'}', and {path} cannot be written: File exists"
        )


DOCUMENT = "toy-1.0.dist-info/sboms/provision-backend.cdx.json"
RECORD = "toy-1.0.dist-info/RECORD"


def check_record(wheel: Path) -> List[str]:
    """Check that the RECORD of a wheel lists each of its files with its hash and size; return their names in order."""
    with zipfile.ZipFile(str(wheel)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        rows = list(csv.reader(io.StringIO(archive.read(record).decode("utf-8"))))
        assert sorted(row[0] for row in rows) == sorted(names)
        for name, digest, size in rows:
            content = archive.read(name)
            encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            assert [digest, size] == (["", ""] if name == record else [f"sha256={encoded}", str(len(content))]), name
    return names


class TestInside:
    """The value ``wheel``."""

    @pytest.fixture
    def wheel(self, tmp_path: Path) -> Path:
        """A wheel whose files differ in all that has to stay, and whose RECORD is neither the last nor the first."""
        path = tmp_path / "dist" / "toy-1.0-py3-none-any.whl"
        path.parent.mkdir()
        files = {"toy.py": b"VERSION = 1\n" * 100, "stored,really.bin": b"\0" * 100, "toy-1.0.dist-info/WHEEL": b"W"}
        hashes = {name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()) for name, data in files.items()}
        rows = [f'"{name}",sha256={hashes[name].decode().rstrip("=")},{len(files[name])}' for name in files]
        files[RECORD] = "\r\n".join([*rows, f"{RECORD},,", ""]).encode()
        with zipfile.ZipFile(str(path), "w") as archive:
            archive.comment = b"a comment"
            archive.writestr(zipfile.ZipInfo("empty/", (1980, 1, 1, 0, 0, 0)), b"")
            for number, name in enumerate(["toy.py", RECORD, "stored,really.bin", "toy-1.0.dist-info/WHEEL"]):
                entry = zipfile.ZipInfo(name, (2020 + number, 2, 3, 4, 5, 6))
                entry.compress_type = zipfile.ZIP_STORED if name.endswith("bin") else zipfile.ZIP_DEFLATED
                entry.external_attr, entry.create_system = (0o100600 + number) << 16, number % 2 * 3
                entry.comment, entry.extra = name.encode(), b"\xfe\xca\x01\x00x"
                archive.writestr(entry, files[name])
        # zipfile itself writes no mode of 0, as some backends do; the last entry's stands in the file's last part.
        content = path.read_bytes()
        attributes = ((0o100600 + 3) << 16).to_bytes(4, "little")
        assert content.count(attributes) == 1
        path.write_bytes(content.replace(attributes, bytes(4)))
        path.chmod(0o640)
        return path

    def put_inside(self, wheel: Path, python: Optional[Path] = None) -> Dict[str, Any]:
        """Put the document inside, by this interpreter or by another one, and return it."""
        settings = Settings(sbom="wheel", origins=(("sbom", "PROVISION_BACKEND_SBOM"),))
        if python is None:
            record_own_wheel(wheel, "toy", settings)
        else:
            record_wheel(wheel, "toy", Tools(Interpreter(str(python), "3.13.5"), []), settings)
        with zipfile.ZipFile(str(wheel)) as archive:
            return validate(archive.read(DOCUMENT).decode("utf-8"))

    def entries(self, wheel: Path) -> List[Any]:
        """Return everything that a wheel says of its files."""
        facts = ["date_time", "compress_type", "external_attr", "internal_attr", "create_system", "comment", "extra"]
        with zipfile.ZipFile(str(wheel)) as archive:
            return [(each.filename, *(getattr(each, fact) for fact in facts)) for each in archive.infolist()]

    @pytest.mark.parametrize("python", [None, *(pytest.param(host.path, id=host.version) for host in usable_hosts())])
    def test_the_document_and_a_line_of_record_are_all_that_is_new(self, wheel: Path, python: Optional[Path]) -> None:
        """By any interpreter: order, dates, modes and compression stay; the document looks like RECORD before it."""
        before = self.entries(wheel)
        document = self.put_inside(wheel, python)
        after = self.entries(wheel)

        assert check_record(wheel) == ["toy.py", DOCUMENT, RECORD, "stored,really.bin", "toy-1.0.dist-info/WHEEL"]
        assert [entry for entry in after if entry[0] != DOCUMENT] == before
        assert after[2] == (DOCUMENT, *after[3][1:])
        assert before[-1][3] == 0
        with zipfile.ZipFile(str(wheel)) as archive:
            assert (archive.comment, archive.read("toy.py")) == (b"a comment", b"VERSION = 1\n" * 100)
        assert stat.S_IMODE(wheel.stat().st_mode) == 0o640
        assert list(wheel.parent.iterdir()) == [wheel]
        assert "hashes" not in document["metadata"]["component"]
        assert str(wheel.parent.parent) not in json.dumps(document)

    def test_a_document_of_an_earlier_run_is_replaced(self, wheel: Path) -> None:
        """Where it stands; the wheel of a second run is the same to the byte."""
        self.put_inside(wheel)
        once = wheel.read_bytes()
        self.put_inside(wheel)

        assert wheel.read_bytes() == once

    def refused(self, wheel: Path) -> str:
        """Return the message of what cannot be done, after which the wheel and its folder are as they were."""
        before = wheel.read_bytes()
        with pytest.raises((BackendError, UsageError)) as caught:
            self.put_inside(wheel)
        assert wheel.read_bytes() == before
        assert list(wheel.parent.iterdir()) == [wheel]
        return str(caught.value)

    @pytest.mark.parametrize("name", ["RECORD.jws", "RECORD.p7s"])
    def test_a_signed_wheel_is_refused(self, wheel: Path, name: str) -> None:
        """A signature is one of RECORD, and a wheel with a broken one is worse than none."""
        with zipfile.ZipFile(str(wheel), "a") as archive:
            archive.writestr(f"toy-1.0.dist-info/{name}", "{}")

        assert self.refused(wheel) == (
            f"PROVISION_BACKEND_SBOM is 'wheel', and {wheel.name} is signed (toy-1.0.dist-info/{name}), "
            "which a changed RECORD would break\n"
            "  have the SBOM beside the wheel, or in a folder: 'beside', or its path"
        )

    def test_what_is_no_wheel_is_refused(self, wheel: Path) -> None:
        """Neither an archive without RECORD nor what is no archive can list the document."""
        cannot = f"PROVISION_BACKEND_SBOM is 'wheel', and {wheel.name} cannot hold an SBOM: "
        with zipfile.ZipFile(str(wheel), "w") as archive:
            archive.writestr("toy.py", "")

        assert self.refused(wheel) == f"{cannot}a wheel has one .dist-info/RECORD, found 0"
        wheel.write_bytes(b"none")
        assert self.refused(wheel) == f"{cannot}File is not a zip file"

    @pytest.mark.parametrize("python", [None, sys.executable], ids=["this process", "another process"])
    def test_a_copy_that_ends_half_way_is_never_seen(self, wheel: Path, python: Optional[str]) -> None:
        """The last file is damaged, so the copy fails after the others have been written."""
        content = wheel.read_bytes()
        wheel.write_bytes(content.replace(b"\0" * 100, b"\0" * 99 + b"x"))
        source = "running" if python is None else "given"
        settings, before = Settings(sbom="wheel"), wheel.read_bytes()
        with pytest.raises(BackendError, match=r"cannot hold an SBOM: Bad CRC-32 for file 'stored,really.bin'"):
            record_wheel(wheel, "toy", Tools(Interpreter(sys.executable, "3.13.5", source=source), []), settings)

        assert wheel.read_bytes() == before
        assert list(wheel.parent.iterdir()) == [wheel]


@pytest.mark.slow
class TestBuilds:
    """Frontends that build with the setting."""

    def settings(self, mirror: Path, tmp_path: Path) -> Dict[str, str]:
        """Return variables by which the interpreter comes from a folder."""
        return {
            "PROVISION_BACKEND_MIRROR": str(mirror),
            "PROVISION_BACKEND_CATALOG": str(mirror / "SHA256SUMS"),
            "PROVISION_BACKEND_CACHE_DIR": str(tmp_path / "cache"),
            "SOURCE_DATE_EPOCH": "1700000000",
        }

    def test_a_provisioned_build_names_the_archive(
        self, frontends: FrontendCache, mirror: Path, tmp_path: Path
    ) -> None:
        """It says which archive built it and what was installed there; a second build gives the same document."""
        root = pure(tmp_path / "pure")
        texts = []
        for _ in range(2):
            arguments = ("--wheel", "-C", "provision-backend.sbom=beside")
            outcome = frontends.below("3.12").build_by_uv(root, *arguments, env=self.settings(mirror, tmp_path))
            assert outcome.returncode == 0, outcome.output
            texts.append((root / "dist" / "pure-1.0-py3-none-any.whl.cdx.json").read_text())
            shutil.rmtree(str(root / "dist"))
        components = validate(texts[0])["components"]

        assert texts[0] == texts[1]
        digest, name = (mirror / "SHA256SUMS").read_text().split()[:2]
        assert components[0]["hashes"] == [{"alg": "SHA-256", "content": digest}]
        assert properties(components[0])["archive"] == name
        assert [each["name"] for each in components[1:]] == ["flit-core"]

    def test_a_build_that_passes_through_names_the_running_interpreter(
        self, frontends: FrontendCache, tmp_path: Path
    ) -> None:
        """Under pip, which deletes the folder of the wheel, it goes where it is told, relative to the start."""
        frontend = frontends.of("3.12")
        root = pure(tmp_path / "pure")
        outcome = frontend.pip(
            *("wheel", "--no-deps", "-w", "out", "-C", "provision-backend.sbom=boms", str(root)), cwd=tmp_path
        )

        assert outcome.returncode == 0, outcome.output
        document = validate((tmp_path / "boms" / "pure-1.0-py3-none-any.whl.cdx.json").read_text())
        names = [each["name"] for each in document["components"]]
        assert document["components"][0]["version"] == frontend.version
        assert properties(document["components"][0]) == {"source": "running"}
        assert "flit-core" in names
        wheel = tmp_path / "out" / "pure-1.0-py3-none-any.whl"
        content = document["metadata"]["component"]["hashes"][0]["content"]
        assert content == hashlib.sha256(wheel.read_bytes()).hexdigest()

    def test_two_machines_make_the_same_wheel_with_the_document_inside(
        self, frontends: FrontendCache, mirror: Path, tmp_path: Path
    ) -> None:
        """By other hosts, caches, folders and umasks; pip installs the document where PEP 770 has it."""
        hosts = [host.path for host in usable_hosts() if Version(host.version) < Version("3.11")]
        contents = []
        for python, umask in ((hosts[0], 0o022), (hosts[-1], 0o077)):
            machine = tmp_path / f"machine-{umask:o}"
            root = pure(machine / "pure")
            before = os.umask(umask)
            try:
                settings = {**self.settings(mirror, machine), "PROVISION_BACKEND_SBOM": "wheel"}
                outcome = frontends.on(python).build(root, "--wheel", env=settings)
            finally:
                os.umask(before)
            assert outcome.returncode == 0, outcome.output
            (wheel,) = (root / "dist").iterdir()
            contents.append(wheel.read_bytes())
        site = tmp_path / "site"
        outcome = frontends.of("3.12").pip("install", "--no-deps", "--target", str(site), str(wheel))
        assert outcome.returncode == 0, outcome.output
        document = validate((site / "pure-1.0.dist-info" / "sboms" / "provision-backend.cdx.json").read_text())

        assert contents[0] == contents[1]
        assert "pure-1.0.dist-info/sboms/provision-backend.cdx.json" in check_record(wheel)
        assert document["metadata"]["component"]["purl"] == "pkg:pypi/pure@1.0"
        assert [each["name"] for each in document["components"]] == ["cpython", "flit-core"]

    def test_a_wheel_that_answers_for_metadata_has_the_document(self, frontends: FrontendCache, tmp_path: Path) -> None:
        """By pip, which takes that wheel, and calls no hook that builds."""
        code = (BACKENDS / "no_metadata.py").read_text(encoding="utf-8")
        root = project_of(tmp_path / "toy", code, python=">=3.8")
        outcome = frontends.of("3.12").pip(
            *("wheel", "--no-deps", "-w", "out", "-C", "provision-backend.sbom=wheel", str(root)), cwd=tmp_path
        )

        assert outcome.returncode == 0, outcome.output
        (wheel,) = (tmp_path / "out").iterdir()
        with zipfile.ZipFile(str(wheel)) as archive:
            assert sum(name.endswith("/sboms/provision-backend.cdx.json") for name in archive.namelist()) == 1
