"""`provision-backend mirror`: which archives it fetches, what it writes, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

import pytest
from support.locked_projects import index_of, lock_to, package_of
from support.mirrors import GNU, MUSL, archive_name, content_of, offer_small, run_mirror, sha256
from support.projects import pure
from support.servers import ArchiveServer, Reply
from support.toys import another_interpreter, toy_wheel

from provision_backend.cache.folders import mark_process
from provision_backend.cache.store import open_cache
from provision_backend.errors import (
    CatalogError,
    DownloadError,
    IntegrityError,
    LockTimeoutError,
    NoMatchingArchiveError,
    OfflineError,
    ProjectError,
    UsageError,
)
from provision_backend.install.catalogs import load_archives
from provision_backend.mirror.wheels import list_wheels
from provision_backend.output import Reporter
from provision_backend.settings import load_settings
from provision_backend.trust import user_name
from provision_backend.versions import minor_of

ROOT = Path(__file__).resolve().parent.parent

V310 = archive_name("3.10.19")
V311 = archive_name("3.11.9", tag="20240814")
V311_NEW = archive_name("3.11.14")
V312 = archive_name("3.12.12")
V313 = archive_name("3.13.9")
V313T = archive_name("3.13.9", freethreaded=True)
V315 = archive_name("3.15.0a1")
MUSL_313 = archive_name("3.13.9", MUSL)
FRONTEND = ("frontend_needs-3.0-py3-none-any.whl", "provision_backend-9.9-py3-none-any.whl")
ALL = (V310, V311, V311_NEW, V312, V313, V313T, V315, MUSL_313)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a folder with all archives, and their catalog."""
    return offer_small(tmp_path / "source", *ALL)


@pytest.fixture
def settings(source: Path) -> Dict[str, str]:
    """Give settings that take archives and catalog from that folder, on a certain platform."""
    return {"mirror": str(source), "catalog": str(source / "SHA256SUMS"), "target": GNU}


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """Give the folder to fill; nothing is there yet."""
    return tmp_path / "deep" / "mirror"


@pytest.fixture
def server(source: Path) -> Iterator[ArchiveServer]:
    """Give a server of the archives."""
    with ArchiveServer(root=source) as running:
        yield running


def names(folder: Path) -> List[str]:
    """Return what is in a folder, the archives before their list."""
    return sorted(os.listdir(folder), key=str.lower)


def listed(folder: Path) -> List[str]:
    """Return the lines of SHA256SUMS."""
    return (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()


def line_of(name: str) -> str:
    """Return the line of an archive as it has to be."""
    return f"{sha256(content_of(name))}  {name}"


class TestWhatIsFetched:
    """The archives that requests come down to."""

    @pytest.mark.parametrize(
        ("requests", "expected"),
        [
            ([">=3.11"], [V313, V312, V311_NEW]),
            ([">=3.11,<3.12"], [V311_NEW]),
            (["3.11.9"], [V311]),
            (["3"], [V313, V312, V311_NEW, V310]),
            (["3.13t"], [V313T]),
            (["3.12", "3.13", "3.13t"], [V312, V313, V313T]),
            ([">=3.12", "3.12"], [V313, V312]),
            (["3.15.0a1"], [V315]),
        ],
        ids=["range", "bounded range", "patch", "major", "freethreaded", "several", "overlapping", "prerelease"],
    )
    def test_a_request_is_the_newest_of_each_minor(
        self, settings: Dict[str, str], to: Path, requests: List[str], expected: List[str]
    ) -> None:
        """Free-threaded builds and pre-releases come only when they are asked for, and each archive once."""
        argv = [word for request in requests for word in ("--python", request)]

        answer = run_mirror(str(to), *argv, **settings)

        assert [row["filename"] for row in answer.data["fetched"]] == expected
        assert names(to) == sorted([*expected, "SHA256SUMS"], key=str.lower)

    def test_newest_takes_only_what_a_build_selects(self, settings: Dict[str, str], to: Path) -> None:
        """With --newest a range is one archive."""
        run_mirror(str(to), "--python", ">=3.11", "--newest", **settings)

        assert names(to) == [V313, "SHA256SUMS"]

    def test_every_target_gets_every_request(self, settings: Dict[str, str], to: Path) -> None:
        """Targets are repeated, and stand before the one of the settings."""
        run_mirror(str(to), "--python", "3.13", "--target", MUSL, "--target", GNU, **settings)

        assert names(to) == sorted([V313, MUSL_313, "SHA256SUMS"], key=str.lower)

    def test_a_request_without_archive_on_one_target_fetches_nothing(self, settings: Dict[str, str], to: Path) -> None:
        """What is not to be had is said before anything is written."""
        with pytest.raises(NoMatchingArchiveError) as caught:
            run_mirror(str(to), "--python", ">=3.12", "--python", "3.10", "--target", GNU, "--target", MUSL, **settings)

        assert (
            caught.value.message == f"no CPython archive satisfies requires-python '' and python '3.10' on {MUSL}"
            or (caught.value.message == f"no CPython archive satisfies python '3.10' on {MUSL}")
        )
        assert not to.exists()

    def test_a_level_of_the_cpu_counts_as_in_a_build(self, source: Path, to: Path) -> None:
        """With cpu-level the archives of that level are fetched."""
        leveled = archive_name("3.13.9", "x86_64_v3-unknown-linux-gnu")
        offer_small(source, leveled, V313)
        settings = {"mirror": str(source), "catalog": str(source), "target": GNU, "cpu_level": "v3"}

        run_mirror(str(to), "--python", "3.13", **settings)

        assert names(to) == [leveled, "SHA256SUMS"]

    def test_a_level_that_nothing_is_built_for_is_the_baseline(self, settings: Dict[str, str], to: Path) -> None:
        """With cpu-level auto, whatever this CPU can, a catalog of baseline archives gives one of them."""
        run_mirror(str(to), "--python", "3.13", cpu_level="auto", **settings)

        assert names(to) == [V313, "SHA256SUMS"]

    def test_the_built_in_catalog_says_what_there_is(self, to: Path) -> None:
        """Without a catalog of one's own a dry run names archives of the built-in one, for any platform."""
        answer = run_mirror(str(to), "--python", ">=3.11", "--target", "aarch64-apple-darwin", "--dry-run")

        minors = [row["version"].rsplit(".", 1)[0] for row in answer.data["missing"]]
        assert minors[-3:] == ["3.13", "3.12", "3.11"]
        assert {row["triple"] for row in answer.data["missing"]} == {"aarch64-apple-darwin"}


class TestTheProject:
    """Without a request the project of the current folder says what is wanted."""

    def test_a_project_is_what_its_builds_select(
        self, settings: Dict[str, str], to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its requires-python is one archive, the newest."""
        monkeypatch.chdir(pure(tmp_path / "project", requires_python=">=3.11,<3.13"))

        run_mirror(str(to), **settings)

        assert names(to) == [V312, "SHA256SUMS"]

    def test_the_setting_python_counts_as_in_a_build(
        self, settings: Dict[str, str], to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever builds may say which of the satisfying ones."""
        monkeypatch.chdir(pure(tmp_path / "project", requires_python=">=3.11"))
        monkeypatch.setenv("PROVISION_BACKEND_PYTHON", "3.11")

        run_mirror(str(to), **settings)

        assert names(to) == [V311_NEW, "SHA256SUMS"]

    def test_a_locked_project_is_what_it_is_locked_to(
        self, settings: Dict[str, str], to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its archives are fetched for the targets that are asked for, whatever is newer."""
        project = pure(tmp_path / "project", requires_python=">=3.11")
        with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(f"[tool.provision-backend.lock]\narchives = ['{line_of(V311)}', '{line_of(MUSL_313)}']\n")
        monkeypatch.chdir(project)

        run_mirror(str(to), "--target", GNU, "--target", MUSL, **settings)

        assert names(to) == [V311, MUSL_313, "SHA256SUMS"]
        with pytest.raises(NoMatchingArchiveError, match="none of them is for aarch64-apple-darwin"):
            run_mirror(str(to), "--target", "aarch64-apple-darwin", **settings)

    def test_who_overrides_a_lock_is_told(
        self, settings: Dict[str, str], to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The setting python comes before the lock, as in a build, and the command says what a build says."""
        project = pure(tmp_path / "project", requires_python=">=3.11")
        with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(f"[tool.provision-backend.lock]\narchives = ['{line_of(V311)}']\n")
        monkeypatch.chdir(project)
        monkeypatch.setenv("PROVISION_BACKEND_PYTHON", "3.12")

        answer = run_mirror(str(to), **settings)

        assert names(to) == [V312, "SHA256SUMS"]
        assert "PROVISION_BACKEND_PYTHON is '3.12'" in answer.told[0]

    def test_a_path_as_python_is_refused(
        self, settings: Dict[str, str], to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An interpreter of the machine needs no archive."""
        monkeypatch.chdir(pure(tmp_path / "project"))
        monkeypatch.setenv("PROVISION_BACKEND_PYTHON", "/opt/python")

        with pytest.raises(UsageError) as caught:
            run_mirror(str(to), **settings)

        assert str(caught.value) == (
            "PROVISION_BACKEND_PYTHON names the interpreter '/opt/python', which is not provisioned from an archive\n"
            "  unset it, or request one: --python '>=3.12'"
        )

    def test_neither_project_nor_request_is_wrong_use(
        self, settings: Dict[str, str], to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Something has to say what is wanted."""
        monkeypatch.chdir(tmp_path)

        with pytest.raises(UsageError) as caught:
            run_mirror(str(to), **settings)

        assert str(caught.value) == (
            f"there is no pyproject.toml in {str(tmp_path)!r}\n  request one: --python '>=3.12'"
        )

    def test_a_project_that_is_not_wrapped_needs_a_request(
        self, settings: Dict[str, str], to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The reader of projects says what is missing, and we say how to do without."""
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")
        monkeypatch.chdir(tmp_path)

        with pytest.raises(ProjectError) as caught:
            run_mirror(str(to), **settings)

        assert str(caught.value) == (
            "pyproject.toml: the project does not build through provision_backend\n"
            "  run 'provision-backend init' first, which wraps its backend\n"
            "  or request one: --python '>=3.12'"
        )


@pytest.mark.parametrize("more", [("--python", "3.13"), ("--verify",)], ids=["requests", "verify"])
def test_an_unknown_target_is_wrong_use(settings: Dict[str, str], to: Path, more: Sequence[str]) -> None:
    """As for list and install, and even where nothing is looked for."""
    to.mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        run_mirror(str(to), *more, "--target", "x86_64-unknown-linux-mull", **settings)

    assert str(caught.value) == (
        "unknown target 'x86_64-unknown-linux-mull'\n  did you mean x86_64-unknown-linux-musl?"
    )


class TestWhatIsWritten:
    """Files and lines."""

    def test_the_folder_is_a_catalog_and_a_mirror(self, settings: Dict[str, str], to: Path) -> None:
        """What `sha256sum` checks is what our own reader takes as a catalog, and the archives are what it says."""
        run_mirror(str(to), "--python", ">=3.12", **settings)

        subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=str(to), check=True)
        fresh = load_settings(flags={"catalog": str(to / "SHA256SUMS")})
        archives = load_archives(fresh, GNU, open_cache(fresh), Reporter())
        assert [archive.filename for archive in archives] == [V312, V313]
        assert listed(to) == [line_of(V312), line_of(V313)]

    def test_everybody_can_read_it_whatever_the_umask(self, settings: Dict[str, str], to: Path) -> None:
        """A web server often runs as another user."""
        before = os.umask(0o077)
        try:
            run_mirror(str(to), "--python", "3.13", **settings)
        finally:
            os.umask(before)

        assert {stat.S_IMODE((to / name).stat().st_mode) for name in names(to)} == {0o644}
        assert stat.S_IMODE(to.stat().st_mode) == 0o755

    def test_the_second_run_fetches_only_what_is_new(
        self, settings: Dict[str, str], server: ArchiveServer, to: Path
    ) -> None:
        """One request for each archive that is not there, and none for the others."""
        settings["mirror"] = server.url
        run_mirror(str(to), "--python", "3.13", **settings)
        server.requests.clear()

        again = run_mirror(str(to), "--python", "3.13", **settings)
        more = run_mirror(str(to), "--python", ">=3.12", **settings)

        assert again.lines == [f"{to}: 0 fetched, 1 already present"]
        assert more.lines == [f"fetched {V312}", f"{to}: 1 fetched, 1 already present"]
        assert [path.rpartition("/")[2] for path in server.paths] == [V312.replace("+", "%2B")] * 2  # both layouts
        assert listed(to) == [line_of(V312), line_of(V313)]

    def test_what_is_new_in_the_catalog_is_fetched(self, source: Path, settings: Dict[str, str], to: Path) -> None:
        """A newer patch release comes beside the older one, which stays: projects may be locked to it."""
        run_mirror(str(to), "--python", "3.13", **settings)
        newer = archive_name("3.13.10")
        offer_small(source, *ALL, newer)

        answer = run_mirror(str(to), "--python", "3.13", **settings)

        assert answer.lines[0] == f"fetched {newer}"
        assert names(to) == sorted([newer, V313, "SHA256SUMS"], key=str.lower)

    def test_lines_of_others_stay(self, settings: Dict[str, str], to: Path) -> None:
        """Comments, other files, and archives that somebody packed are kept; ours are sorted among them."""
        to.mkdir(parents=True)
        packed = "cpython-3.13.1+20251120-x86_64-unknown-linux-gnu-install_only.tar.gz"
        (to / packed).write_bytes(b"packed")
        foreign = [f"{'B' * 64} *./tools/zig.tar.xz", "", f"{sha256(b'packed')}  {packed}", "# from the build farm"]
        (to / "SHA256SUMS").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(foreign).encode())

        run_mirror(str(to), "--python", "3.12", **settings)

        assert listed(to) == [
            "# from the build farm",
            line_of(V312),
            f"{sha256(b'packed')}  {packed}",
            f"{'b' * 64}  tools/zig.tar.xz",
        ]

    def test_archives_that_are_gone_are_listed_no_more(self, settings: Dict[str, str], to: Path) -> None:
        """A catalog must not offer what the mirror cannot give; so old archives can be removed by hand."""
        run_mirror(str(to), "--python", ">=3.12", **settings)
        (to / V312).unlink()

        answer = run_mirror(str(to), "--python", "3.13", **settings)

        assert listed(to) == [line_of(V313)]
        assert answer.data["dropped"] == [V312]
        assert answer.told == [f"provision-backend: removed {V312} from SHA256SUMS: the file does not exist"]

    def test_a_damaged_archive_is_replaced(self, settings: Dict[str, str], to: Path) -> None:
        """A run reads what is there, and fetches again what is not what it was."""
        run_mirror(str(to), "--python", ">=3.12", **settings)
        (to / V313).write_bytes(b"half of it")

        answer = run_mirror(str(to), "--python", ">=3.12", **settings)

        assert answer.lines == [f"fetched {V313}", f"{to}: 1 fetched, 1 already present"]
        assert answer.told[0] == f"provision-backend: {V313} is damaged and fetched again"
        assert (to / V313).read_bytes() == content_of(V313)

    def test_another_archive_of_the_same_name_is_left_alone(self, settings: Dict[str, str], to: Path) -> None:
        """What somebody else put there and listed is never overwritten."""
        to.mkdir(parents=True)
        (to / V313).write_bytes(b"packed here")
        (to / "SHA256SUMS").write_text(f"{sha256(b'packed here')}  {V313}\n", encoding="ascii")

        with pytest.raises(DownloadError) as caught:
            run_mirror(str(to), "--python", "3.13", **settings)

        assert str(caught.value) == (
            f"'{to}' has another {V313}: the catalog has sha256 {sha256(content_of(V313))}, "
            f"the folder has, and lists, {sha256(b'packed here')}\n"
            "  it may have been made by 'provision-backend pack'; use another folder, or remove it"
        )
        assert (to / V313).read_bytes() == b"packed here"

    def test_a_full_disk_is_that_of_the_folder(
        self, settings: Dict[str, str], to: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The cache has nothing to do with it, so another folder is what helps."""
        monkeypatch.setattr("provision_backend.install.partial.free_bytes", lambda _: 1000)
        with pytest.raises(DownloadError) as caught:
            run_mirror(str(to), "--python", "3.13", **settings)

        assert str(caught.value) == (
            f"not enough space for {V313} in '{to / '.incoming'}': wanted 102.4 kB, found 1.0 kB free\n"
            "  make room, or name a folder on another file system"
        )

    def test_an_archive_that_was_only_copied_is_taken_and_listed(self, settings: Dict[str, str], to: Path) -> None:
        """Whoever brings files on a disk needs no network for them."""
        to.mkdir(parents=True)
        (to / V313).write_bytes(content_of(V313))

        answer = run_mirror(str(to), "--python", "3.13", **{**settings, "mirror": "/nowhere"})

        assert answer.lines == [f"{to}: 0 fetched, 1 already present"]
        assert listed(to) == [line_of(V313)]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (b"<html>", "{file}, line 1: expected '<sha256>  <file name>', found '<html>'"),
            (b"\xff", "catalog '{file}' cannot be read: it is not UTF-8 text"),
            (
                f"{'a' * 64}  x\n{'b' * 64}  x\n".encode(),
                f"{{file}}, line 2: x is listed with two different hashes, {'a' * 64} and {'b' * 64}",
            ),
        ],
        ids=["page", "bytes", "twice"],
    )
    def test_a_broken_list_stops_before_anything_is_fetched(
        self, settings: Dict[str, str], to: Path, text: bytes, expected: str
    ) -> None:
        """What cannot be read is not overwritten."""
        to.mkdir(parents=True)
        (to / "SHA256SUMS").write_bytes(text)

        with pytest.raises(CatalogError) as caught:
            run_mirror(str(to), "--python", "3.13", **settings)

        assert caught.value.message == expected.format(file=to / "SHA256SUMS")
        assert names(to) == ["SHA256SUMS"]

    @pytest.mark.parametrize(("name", "kind"), [(V313, ""), ("SHA256SUMS", "catalog ")])
    def test_a_folder_in_place_of_a_file_is_named(
        self, settings: Dict[str, str], to: Path, name: str, kind: str
    ) -> None:
        """What cannot be read is not replaced."""
        (to / name).mkdir(parents=True)

        with pytest.raises(CatalogError) as caught:
            run_mirror(str(to), "--python", "3.13", **settings)

        assert caught.value.message == f"{kind}'{to / name}' cannot be read: it is a directory, not a regular file"

    def test_a_file_in_place_of_the_folder_is_wrong_use(self, settings: Dict[str, str], tmp_path: Path) -> None:
        """DIR is a folder."""
        (tmp_path / "file").touch()

        with pytest.raises(UsageError, match="DIR must name a folder, found"):
            run_mirror(str(tmp_path / "file"), "--python", "3.13", **settings)

    def test_a_folder_that_cannot_be_made_is_named(self, settings: Dict[str, str], tmp_path: Path) -> None:
        """The reason is that of the system."""
        (tmp_path / "file").touch()

        with pytest.raises(DownloadError) as caught:
            run_mirror(str(tmp_path / "file" / "mirror"), "--python", "3.13", **settings)

        assert caught.value.message == f"could not write into '{tmp_path / 'file' / 'mirror'}': File exists"

    def test_a_link_in_place_of_the_work_folder_is_refused(
        self, settings: Dict[str, str], to: Path, tmp_path: Path
    ) -> None:
        """What is in that folder is removed in the end, and another user may have made the link."""
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "file").touch()
        to.mkdir(parents=True)
        (to / ".incoming").symlink_to(tmp_path / "theirs")

        with pytest.raises(DownloadError) as caught:
            run_mirror(str(to), "--python", "3.13", **settings)

        assert caught.value.message == f"'{to}/.incoming' is a link, and unfinished files need a folder"
        assert os.listdir(tmp_path / "theirs") == ["file"]


class TestWheels:
    """The wheels of a locked project, from the user's indexes by the real pip; here a folder of toys."""

    PURE = "toy-1.0-py3-none-any.whl"
    COMPILED = ("tool-2.0-cp313-cp313-manylinux_2_17_x86_64.whl", "tool-2.0-cp37-abi3-musllinux_1_2_aarch64.whl")

    @pytest.fixture
    def index(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Give a folder in which pip finds the wheels, and newer ones that are not locked."""
        folder = tmp_path / "index"
        toy_wheel(folder, "toy", "1.0", ["needless"])
        toy_wheel(folder, "toy", "1.1")
        for number, name in enumerate(self.COMPILED):
            toy_wheel(folder, "tool", "2.0", [f"needless>{number}"]).rename(folder / name)
        toy_wheel(folder, "provision_backend", "9.9", ["frontend_needs"])
        toy_wheel(folder, "frontend_needs", "3.0")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        return folder

    @pytest.fixture
    def project(self, index: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Give a project that is locked for two targets, and go there."""
        packages = [package_of(index / self.PURE), package_of(*(index / name for name in self.COMPILED))]
        project = lock_to(pure(tmp_path / "project"), source / V313, packages, more=[source / MUSL_313])
        monkeypatch.chdir(project)
        return project

    @pytest.mark.slow
    @pytest.mark.usefixtures("project")
    def test_all_that_a_build_without_internet_installs(
        self, settings: Dict[str, str], to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The wheels of every target, and what a frontend installs; each has its hash in the list of the mirror."""
        # The lock says which version; constraints and platforms of the user are about something else.
        (tmp_path / "constraints").write_text("toy>1\nfrontend_needs<1\n", encoding="utf-8")
        monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints"))
        monkeypatch.setenv("PIP_PLATFORM", "win_amd64")
        before = os.umask(0o077)
        try:
            answer = run_mirror(str(to), **settings)
        finally:
            os.umask(before)
        again = run_mirror(str(to), **settings)

        wheels = sorted([self.PURE, *self.COMPILED, *FRONTEND])
        assert names(to / "wheels") == sorted(wheels, key=str.lower)
        assert {stat.S_IMODE((to / "wheels" / name).stat().st_mode) for name in wheels} == {0o644}
        assert stat.S_IMODE((to / "wheels").stat().st_mode) == 0o755
        assert names(to) == [MUSL_313, V313, "SHA256SUMS", "wheels"]
        assert [line.split("  ")[1] for line in listed(to)] == [MUSL_313, V313, *(f"wheels/{name}" for name in wheels)]
        rows = answer.data["fetched"]
        assert [row["filename"] for row in rows[:3]] == [V313, MUSL_313, f"wheels/{self.PURE}"]
        assert (rows[2]["name"], rows[2]["version"], rows[2]["python"]) == ("toy", "1.0", "3.13")
        assert answer.lines[-1] == f"{to}: 7 fetched, 0 already present"
        assert again.lines == [f"{to}: 0 fetched, 7 already present"]

    @pytest.mark.usefixtures("project")
    def test_one_target(self, settings: Dict[str, str], to: Path) -> None:
        """With --target neither archives nor wheels of the others are fetched; a dry run writes nothing."""
        answer = run_mirror(str(to), "--target", MUSL, "--dry-run", **settings)

        wanted = [row["filename"] for row in answer.data["missing"]]
        assert wanted[:3] == [MUSL_313, f"wheels/{self.PURE}", f"wheels/{self.COMPILED[1]}"]
        assert len(wanted) == 5
        assert answer.lines[1] == f"would fetch wheels/{self.PURE}"
        assert not to.exists()

    @pytest.mark.usefixtures("project")
    def test_an_index_with_another_file_gives_nothing(self, index: Path, settings: Dict[str, str], to: Path) -> None:
        """Only the file that was locked gets into the mirror; what came before it stays."""
        toy_wheel(index, "toy", "1.0", ["changed"])

        with pytest.raises(DownloadError) as caught:
            run_mirror(str(to), **settings)

        assert caught.value.message == f"could not fetch {self.PURE}: pip ended with exit status 1"
        assert "DO NOT MATCH THE HASHES" in caught.value.hint
        assert V313 in names(to)
        assert [line for line in listed(to) if "wheels/" in line] == []

    @pytest.mark.slow
    @pytest.mark.usefixtures("project")
    def test_the_python_of_another_host(self, index: Path, settings: Dict[str, str], to: Path) -> None:
        """What its frontend installs is resolved by that Python, since markers are about the one that runs pip."""
        other = minor_of(another_interpreter().version)
        toy_wheel(index, "provision_backend", "9.9", [f"frontend_needs; python_version == '{other}'"])
        options = ["--dry-run", "--target", GNU]

        both = run_mirror(str(to), *options, "--host-python", other, preference="system", **settings)
        own = run_mirror(str(to), *options, **settings)
        each = ["--host-python", "{}.{}".format(*sys.version_info[:2]), "--host-python", other]
        all_of_both = run_mirror(str(to), *options, *each, preference="system", **settings)

        assert [row["filename"] for row in both.data["missing"][3:]] == [f"wheels/{name}" for name in FRONTEND[::-1]]
        assert {row["filename"] for row in all_of_both.data["missing"][3:]} == {f"wheels/{name}" for name in FRONTEND}
        assert len(all_of_both.data["missing"]) == 5
        assert [row["python"] for row in both.data["missing"][3:]] == [other, other]
        assert [row["filename"] for row in own.data["missing"][3:]] == [f"wheels/{FRONTEND[1]}"]

    @pytest.mark.slow
    def test_a_private_index(
        self, index: Path, source: Path, settings: Dict[str, str], to: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its address and password are in a configuration file of pip, not in the lock, and no message has them."""
        wheels = [path for path in index.glob("*.whl") if path.name != self.PURE.replace("1.0", "1.1")]
        project = lock_to(pure(to.parent / "project"), source / V313, [package_of(index / self.PURE)])
        monkeypatch.chdir(project)
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.delenv("PIP_NO_INDEX")
        with ArchiveServer(index_of(*wheels)) as server:
            server.login, server.validators = ("builder", "s3cret-word"), {"Content-Type": "text/html"}
            url = server.url.replace("://", "://builder:s3cret-word@")
            (project / "pip.conf").write_text(f"[global]\nindex-url = {url}/simple\n", encoding="utf-8")
            monkeypatch.setenv("PIP_CONFIG_FILE", str(project / "pip.conf"))
            for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
                monkeypatch.delenv(name, raising=False)

            answer = run_mirror(str(to), **settings)

        assert names(to / "wheels") == sorted([*FRONTEND, self.PURE])
        assert "s3cret" not in f"{answer}"

    @pytest.mark.slow
    @pytest.mark.usefixtures("project")
    def test_a_check_compares_with_the_lock(self, settings: Dict[str, str], to: Path) -> None:
        """In a locked project a wheel that the mirror lacks is missing, although nothing that it lists is wrong."""
        run_mirror(str(to), **settings)
        intact = run_mirror(str(to), "--verify", **settings)
        (to / "wheels" / self.PURE).write_bytes(b"changed")
        (to / "wheels" / self.COMPILED[0]).unlink()
        (to / "wheels" / "more-1.0-py3-none-any.whl").touch()

        answer = run_mirror(str(to), "--verify", **settings)

        assert intact.lines == [f"{to}: 7 intact, 0 wrong"]
        assert answer.lines[0] == f"missing: wheels/{self.COMPILED[0]}"
        assert answer.lines[1].startswith(f"changed: wheels/{self.PURE}: its sha256 is {sha256(b'changed')}, and SHA")
        assert answer.lines[2] == "extra: wheels/more-1.0-py3-none-any.whl: it is not listed in SHA256SUMS"
        assert answer.code == 1

        # A run mends it: a wheel that is gone is listed no more, and fetched again with the one that has changed.
        mended = run_mirror(str(to), **settings)
        assert mended.data["dropped"] == [f"wheels/{self.COMPILED[0]}"]
        assert mended.lines[-1] == f"{to}: 2 fetched, 5 already present"

    @pytest.mark.parametrize(
        "name", ["../../x-1.0-py3-none-any.whl", "%2e%2e%2fx-1.0-py3-none-any.whl", "C:\\x-1.0-py3-none-any.whl"]
    )
    def test_a_name_leads_out_of_no_folder(self, name: str) -> None:
        """A lock is what a project says, and the project may be anybody's."""
        package = {"name": "x", "version": "1.0", "wheels": [{"name": name, "hashes": {"sha256": "a" * 64}}]}

        assert [wheel.filename for wheel in list_wheels([package], "3.13")] == ["wheels/x-1.0-py3-none-any.whl"]

    def test_what_is_no_wheel_is_refused(self) -> None:
        """Pip would be given a version that is none."""
        package = {"name": "x", "version": "1.0", "wheels": [{"path": "x.tar.gz", "hashes": {"sha256": "a" * 64}}]}

        with pytest.raises(ProjectError, match=r"a package is locked to what is no wheel: .*x\.tar\.gz"):
            list_wheels([package], "3.13")

    def test_wheels_are_those_of_a_lock(self, settings: Dict[str, str], to: Path) -> None:
        """Where no build requirement is locked, --host-python would do nothing."""
        with pytest.raises(UsageError, match="--host-python is for fetching what a project with locked build req"):
            run_mirror(str(to), "--python", "3.13", "--host-python", "3.9", **settings)

    @pytest.mark.slow
    def test_a_wheel_of_another_index_is_not_replaced(
        self, project: Path, index: Path, source: Path, settings: Dict[str, str], to: Path
    ) -> None:
        """A mirror of two projects cannot hold two files of one name."""
        run_mirror(str(to), **settings)
        toy_wheel(index, "toy", "1.0", ["changed"])
        os.chdir(str(lock_to(pure(project / "other"), source / V313, [package_of(index / self.PURE)])))

        with pytest.raises(DownloadError) as caught:
            run_mirror(str(to), **settings)

        assert caught.value.message.startswith(f"'{to}' has another wheels/{self.PURE}: the lock has sha256 ")
        assert caught.value.hint == "it may have been fetched from another index; use another folder, or remove it"


class TestSources:
    """Archives come from where those of builds come from, and only the right ones."""

    def test_offline_takes_local_folders_only(self, settings: Dict[str, str], server: ArchiveServer, to: Path) -> None:
        """With offline no server is asked."""
        settings["mirror"] = server.url

        with pytest.raises(OfflineError):
            run_mirror(str(to), "--python", "3.13", offline="1", **settings)

        assert server.requests == []

    def test_a_wrong_archive_is_not_taken(self, source: Path, settings: Dict[str, str], to: Path) -> None:
        """The hash of the catalog decides, and nothing else stays in the folder."""
        (source / V313).write_bytes(b"something else")

        with pytest.raises(IntegrityError):
            run_mirror(str(to), "--python", "3.13", **settings)

        assert names(to) == ["SHA256SUMS"]
        assert listed(to) == []

    def test_what_came_before_a_failure_stays(self, source: Path, settings: Dict[str, str], to: Path) -> None:
        """Each archive is listed as soon as it is there."""
        (source / V312).unlink()

        with pytest.raises(DownloadError):
            run_mirror(str(to), "--python", "3.13", "--python", "3.12", **settings)

        assert listed(to) == [line_of(V313)]
        assert (to / V313).read_bytes() == content_of(V313)

    def test_a_cut_off_download_goes_on_in_the_next_run(
        self, settings: Dict[str, str], server: ArchiveServer, to: Path
    ) -> None:
        """The next process asks for the rest only, and leaves nothing but archives and their list."""
        settings.update(mirror=server.url, retries="0")
        server.script = [Reply(status=404), Reply(cut=60_000)]
        with pytest.raises(DownloadError):
            run_mirror(str(to), "--python", "3.13", **settings)
        server.requests.clear()

        run_mirror(str(to), "--python", "3.13", **settings)

        assert [seen.status for seen in server.requests] == [404, 206]
        assert server.bytes_sent - len(b"nothing here") < len(content_of(V313)) - 40_000
        assert names(to) == [V313, "SHA256SUMS"]


class TestDryRun:
    """`--dry-run` says what would be done."""

    def test_a_dry_run_writes_nothing(self, settings: Dict[str, str], to: Path) -> None:
        """Neither the folder nor anything in it is made."""
        answer = run_mirror(str(to), "--python", ">=3.12", "--dry-run", **{**settings, "mirror": "/nowhere"})

        assert answer.lines == [
            f"would fetch {V313}",
            f"would fetch {V312}",
            f"{to}: 2 to fetch, 0 already present",
        ]
        assert not to.exists()

    def test_a_dry_run_counts_what_is_there(self, settings: Dict[str, str], to: Path) -> None:
        """What is there and right would not be fetched; what is damaged would."""
        run_mirror(str(to), "--python", ">=3.11", **settings)
        (to / V313).write_bytes(b"damaged")

        answer = run_mirror(str(to), "--python", ">=3.10", "--dry-run", **settings)

        assert [row["filename"] for row in answer.data["missing"]] == [V313, V310]
        assert [row["filename"] for row in answer.data["present"]] == [V312, V311_NEW]
        assert (to / V313).read_bytes() == b"damaged"


class TestVerify:
    """`--verify` reads everything."""

    @pytest.fixture
    def filled(self, settings: Dict[str, str], to: Path) -> Path:
        """Give a mirror of two archives."""
        run_mirror(str(to), "--python", ">=3.12", **settings)
        return to

    def verify(self, folder: Path, *argv: str, **settings: str) -> List[str]:
        """Return what is said of a folder, and check that the exit code says the same."""
        answer = run_mirror(str(folder), "--verify", *argv, **{**settings, "mirror": "/nowhere"})
        assert answer.code == int(len(answer.lines) > 1)
        return answer.lines

    def test_an_intact_mirror_is_right(self, filled: Path, settings: Dict[str, str]) -> None:
        """Nothing wrong is exit code 0."""
        assert self.verify(filled, **settings) == [f"{filled}: 2 intact, 0 wrong"]

    def test_whatever_is_wrong_is_named(self, filled: Path, settings: Dict[str, str]) -> None:
        """Changed, missing and extra files are told apart; what is no archive is none of its business."""
        (filled / V312).unlink()
        with (filled / V313).open("r+b") as file:
            file.write(b"?")
        changed = (filled / V313).read_bytes()
        (filled / V311).write_bytes(content_of(V311))
        (filled / "index.html").touch()
        before = names(filled)

        lines = self.verify(filled, **settings)

        assert lines == [
            f"missing: {V312}",
            f"changed: {V313}: its sha256 is {sha256(changed)}, and SHA256SUMS has {sha256(content_of(V313))}",
            f"extra: {V311}: it is not listed in SHA256SUMS",
            f"{filled}: 0 intact, 3 wrong",
        ]
        assert names(filled) == before

    def test_a_list_that_was_changed_with_the_file_is_noticed(self, filled: Path, settings: Dict[str, str]) -> None:
        """Whoever can write the folder can change both; the catalog says what is right."""
        (filled / V313).write_bytes(b"evil")
        text = (filled / "SHA256SUMS").read_text(encoding="ascii").replace(sha256(content_of(V313)), sha256(b"evil"))
        (filled / "SHA256SUMS").write_text(text, encoding="ascii")

        lines = self.verify(filled, **settings)

        assert lines[0] == (
            f"changed: {V313}: its sha256 is {sha256(b'evil')}, as SHA256SUMS has it, "
            f"and the catalog has {sha256(content_of(V313))}"
        )

    def test_a_catalog_by_url_is_not_asked(self, filled: Path) -> None:
        """Verifying needs no network; the list of the mirror itself is compared with in any case."""
        with ArchiveServer() as server:
            assert self.verify(filled, catalog=f"{server.url}/SHA256SUMS") == [f"{filled}: 2 intact, 0 wrong"]

            assert server.requests == []

    def test_what_requests_want_has_to_be_there(self, filled: Path, settings: Dict[str, str]) -> None:
        """With --python a mirror that lacks something is not right, although all that it lists is."""
        assert self.verify(filled, "--python", ">=3.11", **settings)[0] == f"missing: {V311_NEW}"

    def test_an_archive_of_somebody_else_is_compared_with_the_list_alone(
        self, filled: Path, settings: Dict[str, str]
    ) -> None:
        """The catalog does not know what was packed here; nor need it."""
        packed = archive_name("3.13.1")
        (filled / packed).write_bytes(b"packed")
        with (filled / "SHA256SUMS").open("a", encoding="ascii") as file:
            file.write(f"{sha256(b'packed')}  {packed}\n")

        assert self.verify(filled, **settings) == [f"{filled}: 3 intact, 0 wrong"]

    def test_a_name_that_leads_out_of_the_folder_is_missing(self, filled: Path, settings: Dict[str, str]) -> None:
        """A list cannot make us read other files."""
        (filled.parent / "secret").write_bytes(b"secret")
        with (filled / "SHA256SUMS").open("a", encoding="ascii") as file:
            file.write(f"{sha256(b'secret')}  ../secret\n")

        assert self.verify(filled, **settings)[0] == "missing: ../secret"

    def test_an_absolute_name_is_missing(self, filled: Path, settings: Dict[str, str]) -> None:
        """Where the folder is copied to another place, the name would lead out of it."""
        name = str(filled / V313)
        with (filled / "SHA256SUMS").open("a", encoding="ascii") as file:
            file.write(f"{sha256(content_of(V313))}  {name}\n")

        assert self.verify(filled, **settings)[0] == f"missing: {name}"

    def test_a_mirror_by_release_can_be_verified(self, tmp_path: Path, settings: Dict[str, str]) -> None:
        """Names may stand below a folder of the release."""
        folder = tmp_path / "by-release"
        (folder / "20251120").mkdir(parents=True)
        (folder / "20251120" / V313).write_bytes(content_of(V313))
        text = f"{sha256(content_of(V313))}  20251120/{V313}\n"
        (folder / "SHA256SUMS").write_text(text, encoding="ascii")

        assert self.verify(folder, **settings) == [f"{folder}: 1 intact, 0 wrong"]

    def test_a_folder_without_a_list_is_no_mirror(self, tmp_path: Path, settings: Dict[str, str]) -> None:
        """There is nothing to compare with."""
        with pytest.raises(CatalogError) as caught:
            self.verify(tmp_path, **settings)

        assert str(caught.value) == f"'{tmp_path}' has no SHA256SUMS\n  'provision-backend mirror DIR' writes one"

    def test_a_folder_that_is_not_there_is_wrong_use(self, to: Path, settings: Dict[str, str]) -> None:
        """Verifying makes nothing."""
        with pytest.raises(UsageError, match="DIR must name a folder, found"):
            self.verify(to, **settings)


class TestSeveralProcesses:
    """One process at a time fills a folder; one that dies is in nobody's way."""

    SCRIPT = "import sys; from support.mirrors import run_mirror; run_mirror(*sys.argv[1:])"

    def start(self, to: Path, settings: Dict[str, str], *argv: str) -> subprocess.Popen[bytes]:
        """Start a process that fills a folder."""
        variables = {f"PROVISION_BACKEND_{key.upper()}": value for key, value in settings.items()}
        return subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, str(to), *argv],
            env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def test_many_at_once_fetch_each_archive_once(
        self, settings: Dict[str, str], server: ArchiveServer, to: Path
    ) -> None:
        """Whoever comes second finds what the first has fetched, and no line is lost."""
        settings["mirror"] = server.url
        requests = [(">=3.10",), (">=3.12",), ("3.13t",), ("3.10",)]

        started = [self.start(to, settings, "--python", *request) for request in requests]
        outputs = [process.communicate(timeout=120)[0].decode() for process in started]

        assert [process.returncode for process in started] == [0] * 4, outputs
        served = [seen.path for seen in server.requests if seen.status == 200]
        whole = [path.rpartition("/")[2].replace("%2B", "+") for path in served]
        assert sorted(whole) == sorted([V310, V311_NEW, V312, V313, V313T])
        assert names(to) == sorted([*whole, "SHA256SUMS"], key=str.lower)
        assert listed(to) == [line_of(name) for name in sorted(whole)]

    def test_a_killed_process_leaves_what_the_next_goes_on_with(
        self, settings: Dict[str, str], server: ArchiveServer, to: Path
    ) -> None:
        """Nothing of a half archive has its name, and its bytes are not fetched twice."""
        settings["mirror"] = server.url
        server.script = [Reply(status=404), Reply(stall=60_000)]
        process = self.start(to, settings, "--python", "3.13")
        part = to / ".incoming" / f"{V313}.part"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert (to / V313).exists() is False
        assert listed(to) == []

        run_mirror(str(to), "--python", "3.13", **settings)

        assert server.requests[-1].status == 206
        assert names(to) == [V313, "SHA256SUMS"]

    def test_what_a_killed_pack_has_left_is_no_part_of_the_mirror(self, settings: Dict[str, str], to: Path) -> None:
        """A check passes over it, and whatever adds to the mirror next removes it; a living process keeps its own."""
        run_mirror(str(to), "--python", "3.13", **settings)
        dead = to / f".incoming-{mark_process(2**22 + 1)}-abcd1234"
        living = to / f".incoming-{mark_process(os.getpid())}-abcd1234"
        for folder in (dead, living):
            folder.mkdir()
            (folder / V311).touch()
        answer = run_mirror(str(to), "--verify", **settings)

        run_mirror(str(to), "--python", "3.12", **settings)

        assert (answer.code, answer.lines) == (0, [f"{to}: 1 intact, 0 wrong"])
        assert names(to) == [living.name, V312, V313, "SHA256SUMS"]

    def test_waiting_ends_with_the_time_that_is_allowed(self, settings: Dict[str, str], to: Path) -> None:
        """The message says what to do; the folder stays as it is."""
        import fcntl

        to.mkdir(parents=True)
        with (to / ".incoming.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(LockTimeoutError) as caught:
                run_mirror(str(to), "--python", "3.13", lock_timeout="0.3", **settings)

        assert str(caught.value) == (
            f"the lock {to}/.incoming.lock was held for 0.3 seconds "
            f"by process {os.getpid()} of {user_name(os.getuid())}\n"
            "  wait for that process or end it, or raise PROVISION_BACKEND_LOCK_TIMEOUT"
        )
        assert names(to) == [".incoming.lock"]

    def test_a_lock_file_that_its_holder_removed_is_not_taken_for_a_lock(
        self, settings: Dict[str, str], to: Path
    ) -> None:
        """The holder of a lock leaves no lock file in a mirror; a process that waited for it makes a new one."""
        import fcntl

        to.mkdir(parents=True)
        with (to / ".incoming.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            thread = threading.Thread(target=run_mirror, args=(str(to), "--python", "3.13"), kwargs=settings)
            thread.start()
            time.sleep(0.5)
            (to / ".incoming.lock").unlink()
        thread.join(60)

        assert names(to) == [V313, "SHA256SUMS"]

    def test_without_locks_the_result_is_the_same(
        self, settings: Dict[str, str], to: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a file system that has no flock each process works in a folder of its own and removes it."""
        import fcntl

        def refuse(*_: object) -> None:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", refuse)

        run_mirror(str(to), "--python", "3.13", **settings)

        assert [name for name in names(to) if name != ".incoming.lock"] == [V313, "SHA256SUMS"]
        assert listed(to) == [line_of(V313)]
