"""Build environments that serve other builds: when they do, when they must not, and what is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support.real_interpreters import HostInterpreter
from support.toys import ROOT, Host, another_interpreter, host_environment, project_of, toy_wheel

from provision_backend.cache.environments import ReusableEnvironments, fingerprint
from provision_backend.cache.folders import make_folders
from provision_backend.cache.store import open_cache
from provision_backend.cache.upkeep import clean_cache, prune_cache
from provision_backend.settings import Settings

DAY = 24 * 3600.0


@pytest.fixture
def pool(tmp_path: Path) -> ReusableEnvironments:
    opened = ReusableEnvironments.open(Settings(cache_dir=str(tmp_path / "cache")))
    assert opened is not None
    return opened


def make(pool: ReusableEnvironments, key: str = "k", *, resolved: float = 0.0) -> Path:
    """Publish an environment of one file and one link."""
    path = pool.new(600)
    assert path is not None
    (path / "file").write_text("text")
    (path / "link").symlink_to("file")
    pool.publish(key, path, resolved=resolved or time.time(), found=fingerprint(path))
    return path


class TestPool:
    """`ReusableEnvironments`, without anything installed."""

    def test_what_was_published_is_found(self, pool: ReusableEnvironments) -> None:
        """By its key alone."""
        path = make(pool)

        assert pool.find("k", 600) == path
        assert pool.find("other", 600) is None

    def test_it_belongs_to_one_user_alone(self, pool: ReusableEnvironments) -> None:
        """Nobody else can look into it, whatever the umask is."""
        assert pool.folder.name == str(os.geteuid())
        assert oct(pool.folder.stat().st_mode & 0o777) == "0o700"
        assert oct(make(pool).stat().st_mode & 0o777) == "0o700"

    @pytest.mark.parametrize("age", [601, -60], ids=["too old", "from the future"])
    def test_age(self, pool: ReusableEnvironments, age: float) -> None:
        """It counts from when its requirements were resolved."""
        make(pool, resolved=time.time() - age)

        assert pool.find("k", 600) is None

    @pytest.mark.parametrize(
        "code",
        [
            pytest.param("(path / 'file').write_text('TEXT')", id="a file"),
            pytest.param("(path / 'new').write_text('')", id="a new file"),
            pytest.param("(path / 'file').unlink()", id="a file that is gone"),
            pytest.param("(path / 'file').chmod(0o755)", id="a mode"),
            pytest.param("(path / 'link').unlink(), (path / 'link').symlink_to('/')", id="a link"),
            pytest.param("(path / 'folder').mkdir()", id="a new folder"),
            pytest.param("path.chmod(0o755)", id="open to others"),
        ],
    )
    def test_what_somebody_wrote_to_is_not_found(self, pool: ReusableEnvironments, code: str) -> None:
        """Its fingerprint is another one."""
        path = make(pool)
        exec(code, {"path": path})

        assert pool.find("k", 600) is None

    def test_compiled_modules_are_no_change(self, pool: ReusableEnvironments) -> None:
        """Python writes them whenever it imports something."""
        path = make(pool)
        (path / "__pycache__").mkdir()
        (path / "__pycache__" / "x.pyc").write_text("")

        assert pool.find("k", 600) == path

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "../..", "resolved": 9e99, "fingerprint": ""}'])
    def test_a_damaged_note_finds_nothing(self, pool: ReusableEnvironments, text: str) -> None:
        """Whoever wrote it."""
        make(pool)
        (pool.folder / "k.json").write_text(text)

        assert pool.find("k", 600) is None

    def test_the_later_one_of_two_is_found(self, pool: ReusableEnvironments) -> None:
        """Two builds at once make two, and neither waits."""
        first, second = make(pool), make(pool)

        assert first != second
        assert pool.find("k", 600) == second

    @pytest.mark.parametrize(
        "spoil",
        [
            pytest.param("os.chmod(folder, 0o755)", id="open to others"),
            pytest.param("os.rmdir(folder); open(folder, 'w').close()", id="a file in its place"),
            pytest.param("os.rmdir(folder); os.symlink('/tmp', folder)", id="a link in its place"),
        ],
    )
    def test_a_folder_that_is_not_ours_alone_is_not_used(self, tmp_path: Path, spoil: str) -> None:
        """What is run as us comes from nobody else."""
        settings = Settings(cache_dir=str(tmp_path / "cache"))
        opened = ReusableEnvironments.open(settings)
        assert opened is not None
        exec(spoil, {"folder": str(opened.folder), "os": os})

        assert ReusableEnvironments.open(settings) is None

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
    def test_another_users_folder_is_not_used(self, pool: ReusableEnvironments, tmp_path: Path) -> None:
        """Each user has a folder, and one with our number that belongs to somebody else is passed over."""
        path = make(pool)
        os.chown(str(path), 12345, -1)
        assert pool.find("k", 600) is None
        os.chown(str(pool.folder), 12345, -1)
        assert ReusableEnvironments.open(Settings(cache_dir=str(tmp_path / "cache"))) is None

    def test_zero_turns_it_off(self, tmp_path: Path) -> None:
        """Nothing is made in the cache then."""
        assert ReusableEnvironments.open(Settings(cache_dir=str(tmp_path / "c"), environment_freshness=0)) is None
        assert not (tmp_path / "c").exists()

    def test_a_cache_that_cannot_be_written_has_none(self, tmp_path: Path) -> None:
        """A file in the way stands for all reasons."""
        (tmp_path / "c").write_text("")

        assert ReusableEnvironments.open(Settings(cache_dir=str(tmp_path / "c"))) is None


class TestSweep:
    """What goes, and what stays."""

    def test_one_in_use_stays_however_old(self, pool: ReusableEnvironments) -> None:
        """This process holds it."""
        path = make(pool)
        self._age(pool)

        assert pool.sweep() == []
        assert path.exists()

    def test_one_that_nobody_uses_goes(self, pool: ReusableEnvironments, tmp_path: Path) -> None:
        """With its lock and its note; a leftover of a killed process too."""
        names = self._left_by_others(tmp_path, 2)
        (pool.folder / "k.json").write_text("{}")
        self._age(pool)

        assert pool.sweep() == sorted(names)
        assert list(pool.folder.iterdir()) == []

    def test_one_of_this_hour_stays(self, pool: ReusableEnvironments, tmp_path: Path) -> None:
        """Between two hooks of one build nobody holds it."""
        names = self._left_by_others(tmp_path, 1)

        assert pool.sweep() == []
        assert (pool.folder / names[0]).exists()

    def test_who_makes_one_sweeps(self, pool: ReusableEnvironments, tmp_path: Path) -> None:
        """Nobody else would."""
        names = self._left_by_others(tmp_path, 1)
        self._age(pool)
        make(pool)

        assert not (pool.folder / names[0]).exists()

    @pytest.mark.parametrize(("command", "age"), [(prune_cache, 2 * DAY), (clean_cache, 0.0)])
    def test_prune_and_clean_take_them_out(
        self, pool: ReusableEnvironments, tmp_path: Path, command: Any, age: float
    ) -> None:
        """Pruning those that are old, cleaning all that nobody uses."""
        names = self._left_by_others(tmp_path, 1)
        make_folders(tmp_path / "cache")
        cache = open_cache(Settings(cache_dir=str(tmp_path / "cache")))
        if age:
            assert command(cache).leftovers == []
            self._age(pool)

        assert command(cache).leftovers == names
        assert list(pool.folder.iterdir()) == []

    @staticmethod
    def _left_by_others(tmp_path: Path, count: int) -> List[str]:
        code = """
import sys
from provision_backend.cache.environments import ReusableEnvironments
from provision_backend.settings import Settings
pool = ReusableEnvironments.open(Settings(cache_dir=sys.argv[1]))
print(*[pool.new(600).name for _ in range(int(sys.argv[2]))])
"""
        command = [sys.executable, "-c", code, str(tmp_path / "cache"), str(count)]
        return subprocess.check_output(command, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}).split()

    @staticmethod
    def _age(pool: ReusableEnvironments) -> None:
        for path in pool.folder.iterdir():
            os.utime(str(path), (time.time() - 2 * DAY,) * 2)


REPORTS = """
import json, os, sys
import minimal
from minimal import *

def get_requires_for_build_wheel(config_settings=None):
    return os.environ.get("DYNAMIC", "").split()

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import toy_static
    if os.environ.get("WRITES"):
        open(os.path.join(os.path.dirname(toy_static.__file__), "written.py"), "w").close()
    if os.environ.get("KILLS"):
        os.kill(os.getppid(), 9)
    packages = sorted(name for name in os.listdir(os.path.dirname(toy_static.__file__)) if name.endswith(".py"))
    with open(os.environ["REPORT"], "a") as file:
        file.write(json.dumps({"prefix": sys.prefix, "packages": packages}) + "\\n")
    return minimal.build_wheel(wheel_directory)
"""


@pytest.fixture(scope="module")
def other() -> HostInterpreter:
    return another_interpreter()


class Builds:
    """Builds of one project, each in an environment of a frontend of its own."""

    def __init__(self, folder: Path, other: HostInterpreter) -> None:
        self.folder = folder
        self.python = other.path
        self.count = 0
        self.project = project_of(folder / "toy", REPORTS, table='requires = ["toy_static"]')
        for name in ("toy_static", "toy_needed"):
            toy_wheel(folder / "wheels", name, "1.0")

    def host(self) -> Host:
        """Return the environment of one more frontend."""
        self.count += 1
        host = host_environment(self.folder / str(self.count) / "build-env-x")
        host.environ.update(
            PIP_CONFIG_FILE=os.devnull,
            PIP_NO_INDEX="1",
            PIP_FIND_LINKS=str(self.folder / "wheels"),
            PROVISION_BACKEND_PYTHON=str(self.python),
            PROVISION_BACKEND_CACHE_DIR=str(self.folder / "cache"),
            PROVISION_BACKEND_ENVIRONMENT_FRESHNESS="600",
            PROVISION_BACKEND_VERBOSE="2",
            REPORT=str(self.folder / "report"),
        )
        return host

    def build(self, **env: str) -> Dict[str, Any]:
        """Build a wheel, and return where, with what, and how often something was installed."""
        host = self.host()
        host.hook(self.project, "build_wheel", str(self.folder), None, env=env)
        report: Dict[str, Any] = json.loads((self.folder / "report").read_text().splitlines()[-1])
        return {**report, "installs": host.stderr.count("installing"), "stderr": host.stderr}


@pytest.fixture
def builds(tmp_path: Path, other: HostInterpreter) -> Builds:
    return Builds(tmp_path, other)


@pytest.mark.slow
class TestBuilds:
    """Hooks as frontends run them."""

    def test_the_second_build_installs_nothing(self, builds: Builds) -> None:
        """It runs in the environment of the first, and says so."""
        first, second = builds.build(), builds.build()

        assert first["prefix"] == second["prefix"]
        assert Path(first["prefix"]).parent == builds.folder / "cache" / "environments" / str(os.geteuid())
        assert (first["installs"], second["installs"]) == (1, 0)
        assert f"using the build environment {first['prefix']} again" in second["stderr"]

    def test_zero_seconds_turn_it_off(self, builds: Builds) -> None:
        """Then an environment is the frontend's to delete."""
        builds.build()
        second = builds.build(PROVISION_BACKEND_ENVIRONMENT_FRESHNESS="0")

        assert second["installs"] == 1
        assert Path(second["prefix"]).parent == builds.folder / "2" / "build-env-x" / ".provision-backend"

    def test_a_wheel_that_came_to_the_folder_of_links_counts(self, builds: Builds) -> None:
        """As an installer would see it."""
        first = builds.build()
        toy_wheel(builds.folder / "wheels", "toy_static", "2.0")
        second = builds.build()

        assert first["prefix"] != second["prefix"]
        assert second["installs"] == 1

    def test_one_that_a_hook_wrote_to_is_not_given_away(self, builds: Builds) -> None:
        """The next build has what was installed, and nothing more."""
        builds.build(WRITES="1")
        second, third = builds.build(), builds.build()

        assert second["packages"] == ["toy_static.py"]
        assert (second["installs"], third["installs"]) == (1, 0)

    def test_dynamic_requirements_have_an_environment_of_their_own(self, builds: Builds) -> None:
        """What other builds use gets nothing more, and with the third build both are there."""
        first = builds.build(DYNAMIC="toy_needed")
        plain = builds.build()
        second, third = builds.build(DYNAMIC="toy_needed"), builds.build()

        assert first["packages"] == second["packages"] == ["toy_needed.py", "toy_static.py"]
        assert first["prefix"] == second["prefix"]
        assert plain["packages"] == third["packages"] == ["toy_static.py"]
        assert [each["installs"] for each in (first, plain, second, third)] == [2, 1, 0, 0]

    def test_other_dynamic_requirements_leave_a_shared_one_alone(self, builds: Builds) -> None:
        """A build that wants more than the environment it was given has turns to a new one."""
        plain = builds.build()
        more = builds.build(DYNAMIC="toy_needed")
        again = builds.build()

        assert more["packages"] == ["toy_needed.py", "toy_static.py"]
        assert again == {**plain, "installs": 0, "stderr": again["stderr"]}

    def test_a_build_that_was_killed_leaves_nothing_wrong(self, builds: Builds) -> None:
        """What it had completed may be used; what it had not is never found."""
        host = builds.host()
        with pytest.raises(subprocess.CalledProcessError) as caught:
            host.hook(builds.project, "build_wheel", str(builds.folder), None, env={"KILLS": "1"})
        assert caught.value.returncode == -signal.SIGKILL
        done = builds.build()

        assert done["packages"] == ["toy_static.py"]
        assert done["installs"] == 0

    def test_two_at_once_both_build(self, builds: Builds) -> None:
        """Neither waits, and both have what they need."""
        hosts = [builds.host() for _ in range(2)]
        command = "import provision_backend; provision_backend.build_wheel('.')"
        running = [
            subprocess.Popen([str(host.python), "-c", command], cwd=str(builds.project), env=host.environ)
            for host in hosts
        ]

        assert [process.wait(120) for process in running] == [0, 0]
        assert builds.build()["installs"] == 0

    def test_a_cache_that_cannot_be_written_is_no_obstacle(self, builds: Builds) -> None:
        """As before, the environment is the frontend's to delete then."""
        (builds.folder / "file").write_text("")
        done = builds.build(PROVISION_BACKEND_CACHE_DIR=str(builds.folder / "file" / "cache"))

        assert Path(done["prefix"]).parent == builds.folder / "1" / "build-env-x" / ".provision-backend"

    def test_the_time_of_each_step_is_told(self, builds: Builds) -> None:
        """With verbose=2, those within another one are indented and stand above it."""
        lines = builds.build()["stderr"].splitlines()
        steps = [
            line.split(" s  ", 1)[1] for line in lines if line.startswith("provision-backend: ") and " s  " in line
        ]

        assert steps == [
            "read the project and decide",
            "provide an interpreter",
            "  make a virtual environment",
            "  install the real backend's requirements",
            "open a build environment",
            "get_requires_for_build_wheel of toy_backend",
            "build_wheel of toy_backend",
        ]
