"""Every failure a user can meet ends in one clear message without our traceback, and leaves the cache as it was.

All of it through real frontends, which install our own wheel; what a real backend does wrong is done by the toy
backends in ``data/backends``, which are of the project's own tree and so need nothing installed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import re
import shutil
import socket
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from support.hosts import Frontend, Outcome, make_project
from support.servers import ArchiveServer

pytestmark = pytest.mark.slow

BACKENDS = Path(__file__).parent / "data" / "backends"
PREFIX = "provision-backend: "
SECRET = "s3cr3t-pa55word"
TRACEBACK = "Traceback (most recent call last)"


@dataclass
class Machine:
    """A host with a frontend and a cache, on which projects are built that cannot be built."""

    frontend: Frontend
    tool: str
    """``build`` or ``pip``."""
    folder: Path
    cache: Path
    environ: Dict[str, str] = field(default_factory=dict)
    version: str = ""
    """Of the interpreter that runs the real backend."""

    @property
    def provisions(self) -> bool:
        """Whether the real backend runs under another interpreter."""
        return self.version != self.frontend.version

    @property
    def notices(self) -> List[str]:
        """What a build says of its interpreter."""
        return [f"building with CPython {self.version} from the cache: "] if self.provisions else []

    def project(self, backend: str, table: str = "", *, requires_python: str = ">=3.12", path: bool = True) -> Path:
        """Write a project with a toy backend of its own.

        Args:
            backend: the toy backend.
            table: more lines of ``[tool.provision-backend]``.
            requires_python: of the project.
            path: whether the project says where its backend is.
        """
        where = 'backend-path = ["backends"]' if path else ""
        requires = "" if "requires =" in table else "requires = []"
        text = f"""
[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"

[project]
name = "toy"
version = "1.0"
requires-python = "{requires_python}"

[tool.provision-backend]
build-backend = "{backend}"
{where}
{requires}
{table}
"""
        project = make_project(self.folder / "toy", {"pyproject.toml": text})
        shutil.copytree(str(BACKENDS), str(project / "backends"), ignore=shutil.ignore_patterns("__pycache__"))
        return project

    def wheel(self, project: Path, *arguments: str, env: Any = None) -> Outcome:
        """Ask the frontend for a wheel, on any Python."""
        environ = {**self.environ, **(env or {})}
        if self.tool == "build":
            return self.frontend.build_by_uv(project, "--wheel", *arguments, env=environ)
        out = str(self.folder / "out")
        command = ("wheel", "--no-deps", "--ignore-requires-python", "-w", out, *arguments, str(project))
        return self.frontend.pip(*command, env=environ)

    def fails(self, project: Path, message: str, *arguments: str, env: Any = None) -> str:
        """Ask for a wheel, and check that the answer is this message and no more; return all that was said."""
        before = visible(self.cache)
        outcome = self.wheel(project, *arguments, env=env)
        output = check_message(outcome, message)
        assert TRACEBACK not in output
        assert visible(self.cache) == before
        return output


def check_message(outcome: Outcome, message: str) -> str:
    """Check that a frontend failed and showed a message once, as lines of their own; return what it showed."""
    # pip shows the output of a hook indented; the lines of one message keep their indentation among themselves.
    lines = [re.escape(line) for line in message.splitlines()]
    found = re.findall("^( *)" + r"\n\1".join(lines) + "$", outcome.output, re.MULTILINE)
    assert len(found) == 1, f"{message}\n--- is not once in ---\n{outcome.output}"
    assert outcome.returncode != 0
    return outcome.output


def said_by_us(output: str) -> List[str]:
    """Return our own lines of an output, without paths."""
    return [line.partition("/")[0] for line in re.findall(f"{PREFIX}(.*)", output)]


def visible(cache: Path) -> Any:
    """Return what a cache holds that may serve a build; empty folders of its own count as nothing."""
    if not cache.is_dir():
        return cache.read_bytes() if cache.exists() else []
    folders = [cache / name for name in ("interpreters", "downloads", "staging")]
    return [str(path.relative_to(cache)) for folder in folders for path in sorted(folder.glob("*"))]


# For what fails in the same place under every frontend; how each shows a failure is seen with the other tests.
by_build = pytest.mark.parametrize("tool", ["build"], indirect=True)
by_pip = pytest.mark.parametrize("tool", ["pip"], indirect=True)


@pytest.fixture(params=["build", "pip"])
def tool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def warm_cache(frontends: Any, mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that holds the interpreter of the mirror already."""
    folder = tmp_path_factory.mktemp("warm")
    machine = Machine(
        frontends.below("3.12"), "pip", folder, folder / "cache", catalog_settings(mirror, folder / "cache")
    )
    outcome = machine.wheel(machine.project("minimal"))
    assert outcome.returncode == 0, outcome.output
    return machine.cache


@pytest.fixture
def old(frontends: Any, mirror: Path, tool: str, tmp_path: Path) -> Machine:
    """A host that does not satisfy the project, with an empty cache."""
    cache = tmp_path / "cache"
    return Machine(frontends.below("3.12"), tool, tmp_path, cache, catalog_settings(mirror, cache))


@pytest.fixture
def warm(frontends: Any, mirror: Path, tool: str, tmp_path: Path, warm_cache: Path) -> Machine:
    """A host that does not satisfy the project, with an interpreter in its cache that does."""
    return Machine(
        frontends.below("3.12"), tool, tmp_path, warm_cache, catalog_settings(mirror, warm_cache), version(mirror)
    )


@pytest.fixture
def new(frontends: Any, tool: str, tmp_path: Path) -> Machine:
    """A host that satisfies the project."""
    frontend = frontends.from_("3.12")
    return Machine(frontend, tool, tmp_path, tmp_path / "cache", {"PROVISION_BACKEND_OFFLINE": "1"}, frontend.version)


def catalog_settings(mirror: Path, cache: Path) -> Dict[str, str]:
    return {
        "PROVISION_BACKEND_MIRROR": str(mirror),
        "PROVISION_BACKEND_CATALOG": str(mirror / "SHA256SUMS"),
        "PROVISION_BACKEND_CACHE_DIR": str(cache),
        "PROVISION_BACKEND_PREFERENCE": "only-managed",
        "PROVISION_BACKEND_RETRIES": "0",
    }


def listed(mirror: Path) -> Tuple[str, str]:
    """Return the sha256 and the file name of the archive in a mirror."""
    digest, name = (mirror / "SHA256SUMS").read_text().splitlines()[0].split()
    return digest, name


def version(mirror: Path) -> str:
    """Return the version of the CPython in a mirror."""
    return listed(mirror)[1].split("-")[1].split("+")[0]


@pytest.fixture
def make_mirror(mirror: Path, tmp_path: Path) -> Any:
    """Return a function that writes a mirror whose one archive has the right hash and other content."""
    name = listed(mirror)[1]

    def make(content: bytes) -> Tuple[Dict[str, str], str]:
        folder = tmp_path / "mirror"
        make_project(folder, {"SHA256SUMS": f"{hashlib.sha256(content).hexdigest()}  {name}\n"})
        (folder / name).write_bytes(content)
        return catalog_settings(folder, tmp_path / "cache"), name

    return make


def test_a_wrong_sha256(old: Machine, mirror: Path) -> None:
    """An archive that is not the one of the catalog is refused, and both hashes are named."""
    digest, name = listed(mirror)
    catalog = old.folder / "SHA256SUMS"
    catalog.write_text(f"{'0' * 64}  {name}\n")

    message = f"{PREFIX}sha256 of {name} differs from the catalog: expected {'0' * 64}\n"
    message += f"  {mirror}: found {digest}\n"
    message += "  what was found must not be trusted: compare it with the hash that its publisher names"
    old.fails(old.project("minimal"), message, env={"PROVISION_BACKEND_CATALOG": str(catalog)})


@by_build
def test_a_mirror_without_the_archive(old: Machine, mirror: Path) -> None:
    """A 404 names the mirror, and both layouts have been asked for."""
    name = listed(mirror)[1]
    with ArchiveServer() as server:
        message = f"{PREFIX}could not download {name}\n  {server.url}: 404 Not Found, laid out by release and flat"
        old.fails(old.project("minimal"), message, env={"PROVISION_BACKEND_MIRROR": server.url})

        paths = [seen.path for seen in server.requests]
    escaped = name.replace("+", "%2B")
    assert paths == [f"/{name.split('+')[1].split('-')[0]}/{escaped}", f"/{escaped}"]


@by_build
def test_an_unreachable_mirror(old: Machine, mirror: Path) -> None:
    """A mirror that nobody answers for is named with the reason."""
    with socket.socket() as reserved:
        # Bound and not listening: connections are refused, and nobody else can take the port.
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        message = (
            f"{PREFIX}could not download {listed(mirror)[1]}\n  {url}: [Errno {errno.ECONNREFUSED}] Connection refused"
        )
        old.fails(old.project("minimal"), message, env={"PROVISION_BACKEND_MIRROR": url})


@by_build
def test_offline_with_an_empty_cache(old: Machine, mirror: Path) -> None:
    """Offline, what is not in the cache is not fetched, and the ways out are named."""
    message = (
        f"{PREFIX}{listed(mirror)[1]} is not in the cache, and offline is set\n"
        f"  the cache is {old.cache}\n"
        "  provision it once with network, or name a shared cache or a local mirror"
    )
    env = {"PROVISION_BACKEND_OFFLINE": "1", "PROVISION_BACKEND_MIRROR": ""}
    old.fails(old.project("minimal"), message, env=env)


@by_build
def test_a_requires_python_that_nothing_satisfies(old: Machine, mirror: Path) -> None:
    """A version that does not exist is named, with those that do."""
    triple = listed(mirror)[1].partition("-install_only")[0].split("-", 2)[2]
    message = (
        f"{PREFIX}no CPython archive satisfies requires-python '>=3.99' on {triple}\n"
        f"  archives for this platform: {version(mirror)}"
    )
    old.fails(old.project("minimal", requires_python=">=3.99"), message)


def test_credentials_of_a_mirror_are_never_shown(old: Machine, mirror: Path) -> None:
    """A mirror that refuses a password is named without it, however much is told."""
    with ArchiveServer(root=mirror) as server:
        server.login = ("user", "another")
        url = f"http://user:{SECRET}@127.0.0.1:{server.port}"
        message = (
            f"{PREFIX}could not download {listed(mirror)[1]}\n"
            f"  {server.url}: 401 Unauthorized\n"
            "  127.0.0.1 wants other credentials: in the URL, or in the netrc file"
        )
        env = {"PROVISION_BACKEND_MIRROR": url, "PROVISION_BACKEND_VERBOSE": "2"}
        output = old.fails(old.project("minimal"), message, env=env)

        assert server.requests
    assert SECRET not in output


@by_build
def test_an_archive_that_is_no_archive(old: Machine, make_mirror: Any) -> None:
    """Bytes that the catalog vouches for and that are no archive are shown, and do not stay."""
    env, name = make_mirror(b"this is no archive")

    message = f"{PREFIX}could not unpack '{name}': it is neither gzip nor Zstandard: it starts with b'this is '"
    old.fails(old.project("minimal"), message, env=env)


@by_build
def test_an_archive_that_ends_too_early(old: Machine, mirror: Path, make_mirror: Any) -> None:
    """An archive that was truncated before it was hashed is refused, and does not stay."""
    env, name = make_mirror(fake_archive(mirror)[:-20])
    size = (old.folder / "mirror" / name).stat().st_size

    message = f"{PREFIX}could not unpack '{name}': the compressed stream is truncated: it ends after {size} bytes"
    old.fails(old.project("minimal"), message, env=env)


@by_build
def test_an_interpreter_that_is_a_script(old: Machine, mirror: Path, make_mirror: Any) -> None:
    """An archive whose interpreter is no program of this host is not published."""
    env, _ = make_mirror(fake_archive(mirror, b"#!/bin/sh\necho this is a fake >&2\nexit 1\n"))

    message = (
        f"{PREFIX}the archive holds no interpreter for this host: "
        f"cannot read '{listed(mirror)[1]}/python/bin/{program_of(mirror)}' as an ELF file: it starts with b'#!/b'"
    )
    old.fails(old.project("minimal"), message, env=env)


@by_build
def test_an_interpreter_that_does_not_start(old: Machine, mirror: Path, make_mirror: Any) -> None:
    """An archive whose interpreter ends with an error is not published."""
    false = shutil.which("false")
    if false is None or Path(false).resolve().name != "false":
        pytest.skip("there is no program that is false and nothing else")
    env, _ = make_mirror(fake_archive(mirror, Path(false).read_bytes()))

    message = f"{PREFIX}'{listed(mirror)[1]}/python/bin/{program_of(mirror)}' ended with exit status 1"
    old.fails(old.project("minimal"), message, env=env)


def program_of(mirror: Path) -> str:
    """Return the file name of the interpreter in a mirror's archive: ``python3.13``."""
    return "python" + ".".join(version(mirror).split(".")[:2])


def fake_archive(mirror: Path, script: bytes = b"") -> bytes:
    """Return an archive in the right layout, in which something else is where the interpreter belongs."""
    stream, variables = io.BytesIO(), b"build_time_vars = {}\n"
    program = program_of(mirror)
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in ((f"bin/{program}", script), (f"lib/{program}/_sysconfigdata_fake.py", variables)):
            member = tarfile.TarInfo(f"python/{name}")
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@by_build
def test_a_cache_that_cannot_be_written(old: Machine) -> None:
    """A file where the cache should be is named, and left alone."""
    old.cache.write_text("precious")

    message = (
        f"{PREFIX}the cache {old.cache} cannot be written: Not a directory\n"
        "  set PROVISION_BACKEND_CACHE_DIR to a folder that can be, or put the interpreter into a shared cache"
    )
    old.fails(old.project("minimal"), message)


@by_build
def test_an_interpreter_that_is_not_there(old: Machine) -> None:
    """The path of an interpreter that does not exist is named, with where it was written."""
    path = old.folder / "bin" / "python3.13"

    message = f"{PREFIX}PROVISION_BACKEND_PYTHON names '{path}', which does not exist"
    env = {"PROVISION_BACKEND_PYTHON": str(path), "PROVISION_BACKEND_PREFERENCE": "managed"}
    old.fails(old.project("minimal"), message, env=env)


def test_an_unknown_config_setting(old: Machine) -> None:
    """A config setting of ours that there is not is refused, and the nearest one named."""
    message = f"{PREFIX}unknown config setting 'provision-backend.ofline'\n  did you mean 'provision-backend.offline'?"
    old.fails(old.project("minimal"), message, "-Cprovision-backend.ofline=1")


@by_build
def test_a_preference_that_there_is_not(old: Machine) -> None:
    """A value that a setting does not have is named with those it has."""
    message = (
        f"{PREFIX}PROVISION_BACKEND_PREFERENCE must be one of managed, only-managed, system, only-system, found 'best'"
    )
    old.fails(old.project("minimal"), message, env={"PROVISION_BACKEND_PREFERENCE": "best"})


@by_build
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("instaler = 'pip'", "unknown key 'instaler' in [tool.provision-backend]\n  did you mean 'installer'?"),
        ("python = 3.13", "tool.provision-backend.python must be a string, found a float"),
    ],
    ids=["unknown key", "wrong type"],
)
def test_a_broken_table(old: Machine, table: str, message: str) -> None:
    """What is wrong in the tool's table is said in one line."""
    old.fails(old.project("minimal", table), f"{PREFIX}pyproject.toml: {message}")


@by_build
def test_a_project_that_wraps_the_wrapper(old: Machine) -> None:
    """A project whose real backend is we is refused before anything is forked."""
    message = (
        f"{PREFIX}pyproject.toml: tool.provision-backend.build-backend names provision_backend itself\n"
        '  name the backend that builds the project, for example "hatchling.build"'
    )
    old.fails(old.project("provision_backend"), message)


def test_toml_that_cannot_be_parsed(old: Machine) -> None:
    """The frontend itself cannot read the file, says so, and never calls us."""
    project = old.project("minimal")
    (project / "pyproject.toml").write_text("[build-system\n")

    outcome = old.wheel(project)

    assert outcome.returncode != 0
    assert PREFIX not in outcome.output
    assert "Expected ']' at the end of a table declaration (at line 1, column 14)" in outcome.output
    assert "/provision_backend/" not in outcome.output
    assert not old.cache.exists()


@pytest.fixture(params=["warm", "new"], ids=["provisioned", "passing through"])
def host(request: pytest.FixtureRequest, tool: str) -> Machine:
    """A host on which the real backend is called: under a provisioned interpreter, and in the frontend's process."""
    machine: Machine = request.getfixturevalue(request.param)
    return machine


@pytest.mark.parametrize(
    ("backend", "table", "hint"),
    [
        pytest.param(
            *("absent.build", ""),
            "tool.provision-backend.requires must name what provides it",
            id="not required",
        ),
        pytest.param(
            *("absent:backend", 'requires = ["packaging"]'),
            "tool.provision-backend.requires must name what provides it, found packaging",
            id="others required",
        ),
    ],
)
def test_a_real_backend_that_is_missing(host: Machine, backend: str, table: str, hint: str) -> None:
    """A real backend that nothing provides is named, and it is not taken for us."""
    project = host.project(backend, table, path=False)

    message = (
        f"{PREFIX}the real backend '{backend}' could not be imported under Python {host.version}: "
        f"No module named 'absent'\n  {hint}"
    )
    output = host.fails(project, message)

    assert "'provision_backend'" not in output


@by_build
def test_a_real_backend_that_is_not_in_the_tree(host: Machine) -> None:
    """Where the real backend is said to be in the tree and is not, the folders that were looked in are named."""
    project = host.project("absent")
    reason = f"Cannot find module 'absent' in ['{project / 'backends'}']"

    message = (
        f"{PREFIX}the real backend 'absent' could not be imported under Python {host.version}: {reason}\n"
        "  tool.provision-backend.backend-path must lead to it, found backends"
    )
    host.fails(project, message)


def test_a_real_backend_that_imports_what_is_missing(host: Machine) -> None:
    """A module that the real backend itself lacks is named; where that needs it, its own traceback says who does."""
    outcome = host.wheel(host.project("needs_absent"))

    message = (
        f"{PREFIX}the real backend 'needs_absent' could not be imported under Python {host.version}: "
        "No module named 'absent_helper'\n"
        "  tool.provision-backend.backend-path must lead to it, found backends"
    )
    output = check_message(outcome, message)
    assert output.count(TRACEBACK) == host.provisions
    assert "provision_backend/" not in output


def test_a_real_backend_without_the_hook(host: Machine) -> None:
    """A hook that the real backend lacks is named, by pyproject_hooks where it runs in a process of its own."""
    project = host.project("no_wheel")
    if host.provisions:
        check_missing_hook(host.wheel(project), "build_wheel")
    else:
        host.fails(project, f"{PREFIX}the real backend 'no_wheel' has no hook 'build_wheel'")


@by_build
def test_a_real_backend_that_makes_no_sdist(host: Machine) -> None:
    """``build --sdist`` names the hook that the real backend lacks."""
    project = host.project("no_sdist")

    outcome = host.frontend.build_by_uv(project, "--sdist", env=host.environ)

    if host.provisions:
        check_missing_hook(outcome, "build_sdist")
    else:
        output = check_message(outcome, f"{PREFIX}the real backend 'no_sdist' has no hook 'build_sdist'")
        assert TRACEBACK not in output


def check_missing_hook(outcome: Outcome, hook: str) -> None:
    """Check that a build failed as without us, with the traceback of pyproject_hooks' process and none of ours."""
    assert outcome.returncode != 0
    assert f"has no attribute '{hook}'" in outcome.output
    assert outcome.output.count(TRACEBACK) == 1
    assert "provision_backend/" not in outcome.output


@by_build
def test_a_real_backend_that_refuses_the_sdist(host: Machine) -> None:
    """An UnsupportedOperation of the real backend is one for the frontend, which shows it in its own way."""
    project = host.project("refuses_sdist")

    outcome = host.frontend.build_by_uv(project, "--sdist", env=host.environ)

    assert outcome.returncode != 0
    assert "Backend operation failed: UnsupportedOperation(" in outcome.output
    assert "toy is not under version control" in outcome.output
    assert said_by_us(outcome.output) == host.notices


@by_pip
def test_a_real_backend_that_makes_no_editable(host: Machine) -> None:
    """``pip install -e`` says which hook is missing: pip itself where it can know, else we."""
    target = str(host.folder / "target")
    project = host.project("no_editable")

    command = ("install", "--no-deps", "--ignore-requires-python", "--target", target, "-e", str(project))
    outcome = host.frontend.pip(*command, env=host.environ)

    assert outcome.returncode != 0
    assert TRACEBACK not in outcome.output
    if host.provisions:
        check_message(outcome, f"{PREFIX}the real backend 'no_editable' has no hook 'build_editable'")
    else:
        assert "is missing the 'build_editable' hook" in outcome.output


@by_pip
def test_a_real_backend_without_metadata(host: Machine) -> None:
    """Metadata that the real backend cannot make by itself are taken from a wheel: this is no failure."""
    outcome = host.wheel(host.project("no_metadata"))

    assert outcome.returncode == 0, outcome.output
    assert [path.name for path in (host.folder / "out").iterdir()] == ["toy-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("backend", "error"),
    [
        ("crashes", "ValueError: the version of toy is not a version"),
        ("crashes_asked", "ValueError: the setup of toy is broken"),
        ("raises_at_import", "RuntimeError: toy needs the moon to be full"),
    ],
)
def test_a_real_backend_that_raises(host: Machine, backend: str, error: str) -> None:
    """The real backend's own traceback is shown, as without us, and nothing beside it."""
    before = visible(host.cache)

    outcome = host.wheel(host.project(backend))

    assert outcome.returncode != 0
    assert outcome.output.count(TRACEBACK) == 1, outcome.output
    assert re.search(rf"/backends/{backend}\.py\", line \d+, .*\n.*\n(.*\^\n)?\s*{re.escape(error)}\n", outcome.output)
    assert said_by_us(outcome.output) == host.notices
    if host.provisions:
        # In the frontend's own process we stand between it and the real backend; elsewhere nothing of us is seen.
        assert "/provision_backend/" not in outcome.output
    assert visible(host.cache) == before


@by_build
def test_a_real_backend_that_explains_itself(host: Machine) -> None:
    """A sentence with which the real backend ends is all that is shown."""
    output = host.fails(host.project("exits"), "toy cannot be built on a Sunday")

    assert said_by_us(output) == host.notices


def test_a_real_backend_that_is_killed(warm: Machine) -> None:
    """A signal that ended the real backend's process is named."""
    hook = {"build": "build_wheel", "pip": "prepare_metadata_for_build_wheel"}[warm.tool]
    warm.fails(warm.project("killed"), f"{PREFIX}the real backend's {hook} was ended by the signal SIGKILL")


def test_a_real_backend_that_leads_back_to_us(host: Machine) -> None:
    """A build that starts itself is ended at the second turn, wherever the real backend runs."""
    project = host.project("starts_itself", 'requires = ["provision-backend"]')

    message = (
        f"{PREFIX}the build of {project} has started itself\n"
        "  its real backend 'starts_itself' must not lead back to provision_backend"
    )
    host.fails(project, message)


@by_pip
def test_requirements_that_cannot_be_installed(warm: Machine) -> None:
    """A requirement that no index has is named by the installer, in our message."""
    project = warm.project("minimal", 'requires = ["no-such-distribution-of-ours"]')

    message = (
        f"{PREFIX}could not install the real backend's requirements under CPython {warm.version}: "
        "pip ended with exit status 1\n"
        "  ERROR: Could not find a version that satisfies the requirement no-such-distribution-of-ours "
        "(from versions: none)\n"
        "  ERROR: No matching distribution found for no-such-distribution-of-ours"
    )
    warm.fails(project, message)


@pytest.fixture(scope="module")
def bare(frontends: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment with ``build`` and us, without what only provisioning needs."""
    frontend = frontends.below("3.12")
    folder = tmp_path_factory.mktemp("bare") / "env"
    python = folder / "bin" / "python"
    for outcome in (
        frontend.run(["-m", "venv", "--without-pip", str(folder)]),
        frontend.pip("--python", str(python), "install", "-q", "build", "provision-backend", env={"PIP_NO_INDEX": "0"}),
    ):
        assert outcome.returncode == 0, outcome.output
    return python


def test_a_frontend_that_asks_for_no_requirements(old: Machine, bare: Path) -> None:
    """Without isolation and without questions, the package that is missing is named, and the extra that has it."""
    project = old.project("minimal")

    message = (
        f"{PREFIX}the package 'pyelftools' is needed to read the executables of this host and is not installed\n"
        "  pip install 'provision-backend[provision]' where the build runs, or build with isolation"
    )
    inside = Frontend(bare, old.frontend.version, old.frontend.environ)
    if old.tool == "build":
        outcome = inside.build(project, "--wheel", "--no-isolation", "-x", env=old.environ)
    else:
        options = ("--no-deps", "--ignore-requires-python", "--no-build-isolation", "-w", str(old.folder / "out"))
        outcome = old.frontend.pip("--python", str(bare), "wheel", *options, str(project), env=old.environ)
    output = check_message(outcome, message)
    assert TRACEBACK not in output
    assert visible(old.cache) == []
