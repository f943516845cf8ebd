"""The SBOM of a build: what it says, that it is CycloneDX, and that the same build gives the same one."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support.hosts import FrontendCache
from support.projects import pure
from support.toys import another_interpreter, toy_wheel

from provision_backend.errors import BuildEnvironmentError, UsageError
from provision_backend.hooks.current import CurrentEnvironment
from provision_backend.hooks.sbom import record_wheel
from provision_backend.hooks.sbom_cyclonedx import Used, sbom_text
from provision_backend.hooks.sbom_installed import Installed, list_installed
from provision_backend.interpreter import Interpreter
from provision_backend.settings import Settings

MANAGED = Interpreter(
    "/cache/x/bin/python3.13", "3.13.5", source="managed", triple="x86_64-unknown-linux-gnu", sha256="c" * 64
)
ARCHIVE = "cpython-3.13.5+20250723-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
USED = Used(
    wheel="my_lib-1.0_rc1-py3-none-any.whl",
    sha256="d" * 64,
    build_backend="flit_core.buildapi",
    interpreter=MANAGED,
    archive=ARCHIVE,
    installed=[
        Installed("flit-core", "3.12.0", "", ()),
        Installed("local", "1.0+x", "https://example.org/local.whl", (("sha256", "e" * 64), ("blake9", "f"))),
        Installed("provision-backend", "0.1.0", "", ()),
    ],
    own_version="0.1.0",
)


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


class TestDocument:
    """`sbom_text`."""

    def test_it_is_what_cyclonedx_wants(self) -> None:
        """The strict validator has no objection, with a time and without."""
        validate(sbom_text(USED))
        dated = validate(sbom_text(replace(USED, timestamp="2023-11-14T22:13:20Z")))

        assert dated["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"

    def test_the_subject_is_the_wheel(self) -> None:
        """Name and version are those that the wheel's file name says."""
        metadata = json.loads(sbom_text(USED))["metadata"]

        assert metadata["component"] == {
            "type": "library",
            "bom-ref": "pkg:pypi/my-lib@1.0-rc1",
            "name": "my-lib",
            "version": "1.0-rc1",
            "purl": "pkg:pypi/my-lib@1.0-rc1",
            "hashes": [{"alg": "SHA-256", "content": "d" * 64}],
            "properties": [{"name": "provision-backend:wheel", "value": USED.wheel}],
        }
        assert metadata["tools"]["components"] == [
            {"type": "application", "name": "provision-backend", "version": "0.1.0"}
        ]
        assert properties(metadata) == {"build-backend": "flit_core.buildapi"}
        assert "timestamp" not in metadata

    def test_what_was_used_is_not_there_at_run_time(self) -> None:
        """That is what the scope excluded says; ourselves are the tool and no component."""
        components = json.loads(sbom_text(USED))["components"]

        assert [(item["name"], item["version"], item["scope"]) for item in components] == [
            ("cpython", "3.13.5", "excluded"),
            ("flit-core", "3.12.0", "excluded"),
            ("local", "1.0+x", "excluded"),
        ]
        assert [item["purl"] for item in components] == [
            "pkg:generic/cpython@3.13.5",
            "pkg:pypi/flit-core@3.12.0",
            "pkg:pypi/local@1.0%2Bx",
        ]
        assert components[2]["hashes"] == [{"alg": "SHA-256", "content": "e" * 64}]
        assert components[2]["externalReferences"] == [{"type": "distribution", "url": "https://example.org/local.whl"}]

    def test_the_interpreter_is_known_by_its_archive(self) -> None:
        """The hash is the one that the catalog or the lock has; paths of this machine are not told."""
        interpreter = json.loads(sbom_text(USED))["components"][0]

        assert interpreter["hashes"] == [{"alg": "SHA-256", "content": "c" * 64}]
        assert interpreter["cpe"] == "cpe:2.3:a:python:python:3.13.5:*:*:*:*:*:*:*"
        assert properties(interpreter) == {
            "archive": ARCHIVE,
            "source": "managed",
            "target": "x86_64-unknown-linux-gnu",
        }
        assert "/cache" not in sbom_text(USED)

    def test_an_interpreter_of_the_machine_has_no_archive(self) -> None:
        """A free-threaded pre-release says so, to people and to those who look for advisories."""
        running = Interpreter("/usr/bin/python3", "3.14.0rc2", freethreaded=True, source="running")
        text = sbom_text(replace(USED, interpreter=running, archive=""))
        interpreter = validate(text)["components"][0]

        assert "hashes" not in interpreter
        assert interpreter["cpe"] == "cpe:2.3:a:python:python:3.14.0:rc2:*:*:*:*:*:*"
        assert properties(interpreter) == {"freethreaded": "true", "source": "running"}

    def test_its_serial_number_follows_from_what_it_says(self) -> None:
        """Two builds that are alike have one document, two that differ have two numbers."""
        other = replace(USED, sha256="0" * 64)

        assert sbom_text(USED) == sbom_text(USED)
        assert json.loads(sbom_text(USED))["serialNumber"] != json.loads(sbom_text(other))["serialNumber"]

    def test_what_is_not_known_is_left_out(self) -> None:
        """A wheel with a name of its own, and our package run from a folder."""
        text = sbom_text(replace(USED, wheel="odd.whl", own_version="", installed=[Installed("x", "", "", ())]))
        document = validate(text)

        assert "version" not in document["metadata"]["component"]
        assert "version" not in document["metadata"]["tools"]["components"][0]
        assert document["components"][1]["purl"] == "pkg:pypi/x"


class TestInstalled:
    """`list_installed`."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder of packages, as under pip's build isolation."""
        import zipfile

        site = tmp_path / "site"
        for name, version in (("Zope_Thing", "2.0"), ("alpha", "1.0"), ("beta", "1.0"), ("gamma", "1.0")):
            with zipfile.ZipFile(str(toy_wheel(tmp_path, name, version))) as wheel:
                wheel.extractall(str(site))
        return site

    def ask(self, folder: Path) -> List[Installed]:
        """Ask another interpreter of this machine, which has the folder on its path."""
        python = str(another_interpreter().path)
        found = list_installed(python, {"PYTHONPATH": str(folder), "PYTHONNOUSERSITE": "1"})
        return [each for each in found if each.name in ("zope-thing", "alpha", "beta", "gamma")]

    def test_names_are_normalised_and_in_order(self, folder: Path) -> None:
        """However a distribution spells its own name."""
        assert [(each.name, each.version) for each in self.ask(folder)] == [
            ("alpha", "1.0"),
            ("beta", "1.0"),
            ("gamma", "1.0"),
            ("zope-thing", "2.0"),
        ]

    def test_direct_urls_are_told_without_credentials_and_paths(self, folder: Path) -> None:
        """The hash is told in either form that the specification has had; what is damaged tells nothing."""
        origins = {
            "alpha": {"url": "https://user:secret@example.org/a.whl", "archive_info": {"hashes": {"sha256": "1" * 64}}},
            "beta": {"url": "file:///home/somebody/b.whl", "archive_info": {"hash": f"sha256={'2' * 64}"}},
            "gamma": ["damaged"],
        }
        for name, origin in origins.items():
            (folder / f"{name}-1.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))

        assert [(each.url, each.hashes) for each in self.ask(folder)[:3]] == [
            ("https://example.org/a.whl", (("sha256", "1" * 64),)),
            ("", (("sha256", "2" * 64),)),
            ("", ()),
        ]

    def test_an_interpreter_that_cannot_answer(self, tmp_path: Path) -> None:
        """What it said is in the hint."""
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
        python.chmod(0o755)
        with pytest.raises(BuildEnvironmentError, match="could not say what is installed: exit status 3") as caught:
            list_installed(str(python), {})

        assert "broken" in caught.value.hint


class TestRecord:
    """`record_wheel`."""

    @pytest.fixture
    def wheel(self, tmp_path: Path) -> Path:
        """A wheel."""
        return toy_wheel(tmp_path / "dist", "toy", "1.0")

    def record(self, wheel: Path, sbom: str) -> Path:
        """Record a wheel as if it had been built in this process."""
        interpreter = Interpreter(sys.executable, "3.13.5", source="running")
        settings = Settings(sbom=sbom, origins=(("sbom", "PROVISION_BACKEND_SBOM"),))
        return record_wheel(wheel, "toy", interpreter, environment=CurrentEnvironment(), settings=settings)

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
            outcome = frontends.below("3.10").build(root, *arguments, env=self.settings(mirror, tmp_path))
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
