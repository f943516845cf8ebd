"""Builds without internet from a mirror that the command made: each a whole ``python -m build`` of an old Python.

The mirror is filled from a folder with a real CPython. Then the only ways out are those that the test names: the
package index is a folder of wheels, and the proxies of the environment lead nowhere.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

import pytest
from support.alpine_host import MIRROR, AlpineHost
from support.hosts import Frontend, FrontendCache, Outcome
from support.locked_projects import lock_to, wheels_in
from support.mirrors import run_mirror
from support.nginx import Nginx, find_nginx
from support.projects import c_extension, pure
from support.real_interpreters import musl_archive

from provision_backend.catalog.archive import Archive
from provision_backend.catalog.selection import load_catalog_file
from provision_backend.project.pylock import PYLOCK
from provision_backend.versions import minor_of

pytestmark = pytest.mark.slow

MUSL = "x86_64-unknown-linux-musl"
LOGIN = ("builder", "s3cret-word")
SERVER = 'auth_basic "archives"; auth_basic_user_file {work}/passwords; location /python/ { alias {root}/; }'
HATCHLING = ("hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
NO_WAY_OUT = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    "NO_PROXY": "127.0.0.1",
    "NETRC": "/nowhere",
}


class Mirror(NamedTuple):
    """A mirror that the command made, and the archive in it."""

    folder: Path
    archive: Archive

    def settings(self, cache: Path, base: str = "") -> Dict[str, str]:
        """Return the variables by which interpreters come from it, by its path or from a URL, catalog included."""
        base = base or str(self.folder)
        return {
            **NO_WAY_OUT,
            "PROVISION_BACKEND_MIRROR": base,
            "PROVISION_BACKEND_CATALOG": f"{base}/SHA256SUMS",
            "PROVISION_BACKEND_CACHE_DIR": str(cache),
        }


@pytest.fixture(scope="module")
def made(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    """Make a mirror of one archive for this host; the folder that it came from is not used any more."""
    (archive, *_) = load_catalog_file(mirror)
    folder = tmp_path_factory.mktemp("mirror") / "python"
    settings = {"mirror": str(mirror), "catalog": str(mirror / "SHA256SUMS")}
    run_mirror(str(folder), "--python", archive.version, "--target", archive.triple, **settings)
    return Mirror(folder, archive)


@pytest.fixture(scope="module")
def nginx(made: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Serve the mirror below a path, to those who have the password; every whole answer is slow."""
    find_nginx()
    server = SERVER.replace("{root}", str(made.folder))
    with Nginx(tmp_path_factory.mktemp("nginx"), server, login=LOGIN) as running:
        yield running


@pytest.fixture
def frontend(frontends: FrontendCache) -> Frontend:
    """Give a frontend on a Python that satisfies no project here."""
    return frontends.below("3.12")


def base_of(nginx: Nginx) -> str:
    """Return the URL of the mirror, with user name and password."""
    return nginx.url.replace("://", f"://{LOGIN[0]}:{LOGIN[1]}@") + "/python"


def is_built(project: Path, outcome: Outcome) -> bool:
    """Check that source distribution and wheel are there, and show what was said where they are not."""
    names = sorted(path.name for path in (project / "dist").glob("*"))
    assert (outcome.returncode, names) == (0, ["pure-1.0-py3-none-any.whl", "pure-1.0.tar.gz"]), outcome.output
    return True


def interpreters(cache: Path) -> List[str]:
    """Return the keys of the interpreters in a cache."""
    return sorted(path.name for path in (cache / "interpreters").glob("*"))


def test_offline_from_a_path(made: Mirror, frontend: Frontend, tmp_path: Path) -> None:
    """With offline set, a folder of this machine is all that a build needs."""
    settings = {**made.settings(tmp_path / "own"), "PROVISION_BACKEND_OFFLINE": "1"}
    project = pure(tmp_path / "project")

    outcome = frontend.build_by_uv(project, env=settings)

    assert is_built(project, outcome)
    assert f"provision-backend: downloading {made.archive.filename} (" in outcome.output
    assert interpreters(tmp_path / "own") == [made.archive.key]


def test_from_nginx_with_a_password_below_a_path(
    made: Mirror, nginx: Nginx, frontend: Frontend, tmp_path: Path
) -> None:
    """Catalog and archive come from one server, each in one answer, and the password is in nobody's log."""
    nginx.forget()
    project = pure(tmp_path / "project")

    outcome = frontend.build_by_uv(project, env=made.settings(tmp_path / "own", base_of(nginx)))

    assert is_built(project, outcome)
    quoted = made.archive.filename.replace("+", "%2B")
    served = [request.target for request in nginx.requests if request.status == 200]
    assert served == ["/python/SHA256SUMS", f"/python/{quoted}"]
    assert LOGIN[1] not in outcome.output


def test_a_wrong_password_is_one_clear_message(made: Mirror, nginx: Nginx, frontend: Frontend, tmp_path: Path) -> None:
    """The build ends with what the server said and what to do, without the password."""
    wrong = base_of(nginx).replace(LOGIN[1], "wrong-word")
    settings = {**made.settings(tmp_path / "own", wrong), "PROVISION_BACKEND_CATALOG": str(made.folder)}

    outcome = frontend.build_by_uv(pure(tmp_path / "project"), env=settings)

    assert outcome.returncode == 1
    assert (
        f"provision-backend: could not download {made.archive.filename}\n"
        f"  {nginx.url}/python: 401 Unauthorized\n"
        "  127.0.0.1 wants other credentials: in the URL, or in the netrc file\n"
    ) in outcome.output
    assert "wrong-word" not in outcome.output
    assert "Traceback" not in outcome.output.replace("Traceback (most recent call last) in", "")


def test_an_installation_that_was_killed_goes_on(
    made: Mirror, frontend: Frontend, tmp_path: Path, nginx: Nginx
) -> None:
    """What a killed process has fetched is not fetched again: the next one asks nginx for the rest."""
    server = f"limit_rate $rate; location /python/ {{ alias {made.folder}/; }}"
    http = 'map $http_range $rate { "" 4m; default 0; }'
    assert frontend.run(["-m", "pip", "install", "-q", "provision-backend[provision]"]).returncode == 0
    with Nginx(tmp_path / "slow", server, http=http) as slow:
        settings = {**frontend.environ, **made.settings(tmp_path / "own", f"{slow.url}/python")}
        settings["PROVISION_BACKEND_CATALOG"] = str(made.folder)
        command = [str(frontend.python), "-m", "provision_backend", "install", made.archive.version]
        kill_when_begun(command, settings, tmp_path / "own")

        done = subprocess.run(command, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True)

        last = slow.requests[-1]
    assert done.returncode == 0, done.stderr
    size = (made.folder / made.archive.filename).stat().st_size
    assert last.status == 206
    assert last.range == f"bytes={size - last.sent}-"
    assert last.sent < size - 1_000_000


def kill_when_begun(command: List[str], settings: Dict[str, str], cache: Path) -> None:
    """Start an installation, and kill it when it has fetched a megabyte."""
    process = subprocess.Popen(command, env=settings, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.stat().st_size > 1_000_000 for path in cache.rglob("*.part")):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_from_a_read_only_shared_cache(made: Mirror, frontend: Frontend, tmp_path: Path) -> None:
    """What was installed once from the mirror serves builds that can neither write there nor reach a mirror."""
    shared, own, project = tmp_path / "shared", tmp_path / "own", pure(tmp_path / "project")
    assert frontend.run(["-m", "pip", "install", "-q", "provision-backend[provision]"]).returncode == 0
    installed = frontend.run(["-m", "provision_backend", "install", made.archive.version], env=made.settings(shared))
    assert installed.returncode == 0, installed.output
    settings = {
        **NO_WAY_OUT,
        "PROVISION_BACKEND_SHARED_CACHES": str(shared),
        "PROVISION_BACKEND_CACHE_DIR": str(own),
        "PROVISION_BACKEND_CATALOG": str(made.folder),
        "PROVISION_BACKEND_OFFLINE": "1",
    }

    outcome = build_read_only(frontend, project, shared, settings)

    assert is_built(project, outcome)
    assert "downloading" not in outcome.output
    assert interpreters(shared) == [made.archive.key]
    assert interpreters(own) == []


def build_read_only(frontend: Frontend, project: Path, shared: Path, settings: Dict[str, str]) -> Outcome:
    """Build while nobody, root included, can write to a folder."""
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "a-w", str(shared)], check=True)
        return frontend.build(project, env=settings)
    if shutil.which("unshare") is None:
        pytest.skip("there is no program unshare")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ! touch "$0/x" 2>/dev/null && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, str(shared), str(frontend.python), "-m", "build", str(project)]
    done = subprocess.run(
        command,
        env={**frontend.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = done.stdout.decode("utf-8", "backslashreplace")
    if "mount: " in output:
        pytest.skip(f"nothing can be mounted: {output}")
    return Outcome(done.returncode, output)


@pytest.fixture(scope="module")
def locked(made: Mirror, frontends: FrontendCache, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """Lock two projects, and fetch all that they are built with into one mirror: the command is all that is run."""
    folder = tmp_path_factory.mktemp("locked")
    frontend, archive = frontends.below("3.12"), made.folder / made.archive.filename
    links = [Path(text) for text in frontend.environ["PIP_FIND_LINKS"].split()]
    wheels = next(path for path in links if path.name == minor_of(made.archive.version))
    (folder / "cext").mkdir()
    (folder / "cext" / "MANIFEST.in").write_text(f"include {PYLOCK}\n")
    projects = {
        "pure": lock_to(pure(folder / "pure", "hatchling.build"), archive, wheels_in(wheels, *HATCHLING)),
        "cext": lock_to(c_extension(folder / "cext"), archive, wheels_in(wheels, "setuptools")),
    }
    assert frontend.run(["-m", "pip", "install", "-q", "provision-backend[provision]"]).returncode == 0
    for project in projects.values():
        command = ["-m", "provision_backend", "mirror", str(folder / "mirror")]
        done = frontend.run(command, env=made.settings(folder / "cache"), cwd=project)
        assert done.returncode == 0, done.output
    checked = frontend.run([*command, "--verify"], cwd=projects["cext"])
    assert ", 0 wrong\n" in checked.output, checked.output
    return {**projects, "mirror": folder / "mirror"}


@pytest.mark.parametrize(("name", "installer"), [("pure", "uv"), ("cext", "pip")])
def test_a_locked_project_on_a_machine_without_network(
    locked: Dict[str, Path], frontend: Frontend, tmp_path: Path, name: str, installer: str
) -> None:
    """There is no network, cache and installers are new, and two variables are all that a frontend needs."""
    mirror, project = locked["mirror"], tmp_path / "project"
    shutil.copytree(str(locked[name]), str(project))
    wheels = str(mirror / "wheels")
    variables = {
        **frontend.environ,
        **Mirror(mirror, load_catalog_file(mirror)[0]).settings(tmp_path / "cache"),
        "PROVISION_BACKEND_OFFLINE": "1",
        "PIP_FIND_LINKS": wheels,
        "UV_FIND_LINKS": wheels,
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "PIP_CACHE_DIR": str(tmp_path / "pip"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), frontend.environ["PATH"]]),  # uv is there.
    }
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("this user may not make a network namespace")
    command = [*unshare, str(frontend.python), "-m", "build", "--installer", installer, str(project)]

    done = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((project / "dist").glob("*"))) == 2


@pytest.fixture(scope="module")
def both(made: Mirror) -> Path:
    """Add the archive for musl to the mirror, from another machine; what is there stays."""
    archive = musl_archive("3.13")
    settings = {"mirror": str(archive.parent), "catalog": str(archive.parent / "SHA256SUMS")}
    answer = run_mirror(str(made.folder), "--python", "3.13", "--target", MUSL, **settings)
    assert [row["triple"] for row in answer.data["fetched"]] == [MUSL]
    assert len(list(made.folder.glob("*.tar.gz"))) == 2
    return made.folder


def check_alpine(alpine: AlpineHost, project: str, settings: Dict[str, str]) -> str:
    """Build a project in the root, check what is there, and return what was said."""
    pure(alpine.inside(project), requires_python=">=3.13")
    done = alpine.build(project, env=settings)
    names = sorted(path.name for path in (alpine.inside(project) / "dist").iterdir())
    assert names == ["pure-1.0-py3-none-any.whl", "pure-1.0.tar.gz"]
    found = alpine.ours("find", "3.13", "--json", env=settings)
    assert json.loads(found.stdout)["triple"] == MUSL
    return done.stdout + done.stderr


def test_on_alpine_offline_from_a_path(alpine: AlpineHost, both: Path) -> None:
    """The folder is copied, as a disk would be carried, and the network is not touched."""
    shutil.copytree(str(both), str(alpine.inside(MIRROR)))
    settings = {**alpine.settings("/build/by-path"), **NO_WAY_OUT, "PROVISION_BACKEND_OFFLINE": "1"}

    assert "provision-backend: downloading cpython-3.13" in check_alpine(alpine, "/build/one", settings)


@pytest.mark.usefixtures("both")
def test_on_alpine_from_nginx_with_a_password(alpine: AlpineHost, nginx: Nginx) -> None:
    """The mirror serves both platforms, and each takes its own archive."""
    nginx.forget()

    output = check_alpine(alpine, "/build/two", {**alpine.settings("/build/by-url", base_of(nginx)), **NO_WAY_OUT})

    served = [request.target for request in nginx.requests if request.status == 200]
    assert [MUSL in target for target in served] == [False, True]
    assert LOGIN[1] not in output
