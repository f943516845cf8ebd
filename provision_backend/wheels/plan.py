"""Decide what is built for whom, and what is only tested: `WheelPlan`. Pure.

The kind of a project's wheels is read from its files before anything is built, and it is a guess: what the first build
makes decides which of the others are still needed.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..catalog.archive import Archive
from ..catalog.selection import matching_archives, newest_of_minors, select_archive
from ..catalog.wanted import Lock, Wanted, locked_archive
from ..errors import UsageError
from ..host.targets import ELF_TARGETS, split_level
from ..versions import VersionRequest, label_of, parse_version
from .kind import Guess
from .options import LIBCS, WheelOptions

__all__ = ["PlannedBuild", "Python", "WheelPlan", "choose_pythons", "make_plan", "target_triples"]

_FIRST_ABI3T = (3, 15)  # PEP 803; before it a free-threaded Python has no stable ABI.

Pythons = Mapping[str, Sequence["Python"]]
"""The Pythons of each target triple, lowest first; the triple of the host comes first."""


class Python(NamedTuple):
    """A Python of a target that can be provisioned, to build a wheel and to test it on."""

    python: str
    """Its minor version, ``3.13`` or, for a free-threaded one, ``3.14t``."""
    triple: str
    """The target triple."""
    version: str
    """Its full version, without ``t``."""

    @property
    def request(self) -> str:
        """The request for exactly this interpreter, as `parse_request` reads it: ``3.14.1t``."""
        return label_of(self.version, freethreaded=self.freethreaded)

    @property
    def id(self) -> str:
        """The id that a build for this Python has: ``cp311-x86_64-unknown-linux-gnu``."""
        return f"cp{self.python.replace('.', '')}-{self.triple}"

    @property
    def freethreaded(self) -> bool:
        """Whether it is a free-threaded one."""
        return self.python.endswith("t")

    @property
    def number(self) -> Tuple[int, ...]:
        """Its minor version as numbers."""
        return parse_version(self.version)[:2]

    @property
    def sort_key(self) -> Tuple[Tuple[int, ...], bool]:
        """Lowest first; the free-threaded one of a minor version comes after the other one."""
        return self.number, self.freethreaded


class PlannedBuild(NamedTuple):
    """A wheel to build, and the Pythons that it is tested on."""

    tests: Tuple[Python, ...]
    """Where its wheel is tested: on the Python that builds it, then on those that are expected to use it, too."""

    @property
    def own(self) -> Python:
        """The Python that builds it."""
        return self.tests[0]

    @property
    def python(self) -> str:
        """The minor version of that Python, ``3.13`` or ``3.14t``."""
        return self.own.python

    @property
    def version(self) -> str:
        """Its full version, without ``t``."""
        return self.own.version

    @property
    def triple(self) -> str:
        """The target triple."""
        return self.own.triple

    @property
    def request(self) -> str:
        """The request for exactly this interpreter."""
        return self.own.request

    @property
    def id(self) -> str:
        """The name of its log, and what a shard is made of."""
        return self.own.id


class WheelPlan(NamedTuple):
    """Everything that is built and tested."""

    kind: str
    """``pure``, ``none``, ``abi3``, ``abi3t`` or ``each``: what the wheels are expected to be."""
    reason: str
    """Where in the project that was read."""
    builds: Tuple[PlannedBuild, ...]
    """Lowest Python first."""
    pythons: Tuple[str, ...]
    """The minor versions that are built or tested, lowest first."""
    notes: Tuple[str, ...] = ()
    """What a person should know of it, each a sentence."""

    def newest_on(self, triple: str) -> str:
        """Return the request for the newest Python of a triple, which makes the sdist; empty where there is none."""
        found = [test for build in self.builds for test in build.tests if test.triple == triple]
        best = max(found, key=lambda test: (not test.freethreaded, parse_version(test.version)), default=None)
        return best.request if best else ""

    def as_dict(self) -> Dict[str, Any]:
        """Return the plan for ``--json``."""
        builds = [
            {
                "id": build.id,
                "python": build.python,
                "version": build.version,
                "triple": build.triple,
                "tests": [test._asdict() for test in build.tests],
            }
            for build in self.builds
        ]
        facts = {"kind": self.kind, "reason": self.reason, "notes": list(self.notes)}
        return {**facts, "pythons": list(self.pythons), "builds": builds}


def target_triples(options: WheelOptions, host: str) -> Tuple[str, ...]:
    """Return the target triples that wheels are asked for, that of the host first if it is among them.

    Raises:
        UsageError: there is no such triple, or the host is no Linux and another one is asked for.
    """
    # Wheels are for every CPU of their architecture.
    host = split_level(host)[0]
    here = ELF_TARGETS.get(host)
    if here is None:
        if options.libc or options.arch:
            raise UsageError(f"--libc and --arch are for Linux, and this host is {host}")
        return (host,)
    libcs = [LIBCS[name] for name in options.libc] or [here.libc]
    found: List[str] = []
    for architecture in options.arch or (here.architecture,):
        for libc in libcs:
            own = (architecture, libc) == (here.architecture, here.libc)
            # Of ARM there are wheels for hard float only (PEP 600).
            environment = f"{libc}eabihf" if architecture == "armv7" else libc
            triple = host if own else f"{architecture}-unknown-linux-{environment}"
            if triple not in ELF_TARGETS:
                raise UsageError(f"there is no {libc} for the architecture {architecture!r}")
            found.append(triple)
    return tuple(sorted(dict.fromkeys(found), key=lambda triple: triple != host))


def choose_pythons(
    archives: Sequence[Archive], requires_python: str, requests: Sequence[VersionRequest], triple: str
) -> Tuple[Python, ...]:
    """Return the newest patch release of each minor version that a project and any of the requests allow.

    Without requests those are all that the project allows, without free-threaded ones and pre-releases.

    Raises:
        NoMatchingArchiveError: nothing satisfies the project and one of the requests.
    """
    found: Dict[str, Python] = {}
    for request in requests or (None,):
        wanted = Wanted(requires_python, request)
        # It raises what a build would where nothing matches.
        select_archive(archives, wanted, triple)
        for archive in newest_of_minors(matching_archives(archives, wanted, triple)):
            python = Python(archive.minor, triple, archive.version)
            known = found.setdefault(python.python, python)
            found[python.python] = max(known, python, key=lambda each: parse_version(each.version))
    return tuple(sorted(found.values(), key=lambda python: python.sort_key))


def make_plan(project_lock: Optional[Lock], guess: Guess, pythons: Pythons, *, asked: bool = False) -> WheelPlan:
    """Decide what is built and tested, of Pythons that can be provisioned, at least one for each triple.

    The lock is the one that the project is built with; None if it has none, or a setting overrides it. Pythons that a
    person has *asked* for are built with or without it.

    Raises:
        NoMatchingArchiveError: the project is locked, and not for one of the triples.
    """
    notes: Tuple[str, ...] = ()
    locked: Dict[str, Python] = {}
    if project_lock is not None:
        archives = [locked_archive(project_lock, triple) for triple in pythons]
        locked = {each.triple: Python(each.minor, each.triple, each.version) for each in archives}
        pythons = {triple: _with_locked(found, locked[triple]) for triple, found in pythons.items()}
        notes = _lock_notes(project_lock, guess, locked, asked=asked)
    builds: List[PlannedBuild] = []
    if guess.kind == "pure":
        builds.append(_plan_pure(pythons, locked))
    else:
        for triple, found in pythons.items():
            # Of a locked project, what is built for one Python is built by the locked one, unless more is asked for.
            only = locked.get(triple) if not asked else None
            builds += [PlannedBuild(tuple(group)) for group in _groups(guess, found, only)]
    builds.sort(key=lambda build: (*build.own.sort_key, build.triple))
    kind = "abi3t" if guess.kind == "abi3" and all(map(_serves_both, builds)) else guess.kind
    labels = {test.python: parse_version(test.version) for build in builds for test in build.tests}
    order = sorted(labels, key=lambda label: (labels[label][:2], label))
    return WheelPlan(kind, guess.reason, tuple(builds), tuple(order), notes)


def _with_locked(pythons: Sequence[Python], locked: Python) -> Tuple[Python, ...]:
    """Put the locked Python in the place of the newest one of its minor version."""
    others = [python for python in pythons if python.python != locked.python]
    return tuple(sorted([*others, locked], key=lambda python: python.sort_key))


def _lock_notes(lock: Lock, guess: Guess, locked: Mapping[str, Python], *, asked: bool) -> Tuple[str, ...]:
    labels = " and ".join(dict.fromkeys(python.python for python in locked.values()))
    if asked:
        return (f"wheels for other Pythons than {labels} are built without the lock in {lock.place}",)
    if guess.kind == "each":
        return (f"the lock in {lock.place} is for {labels} only; --python asks for wheels that are built without it",)
    return ()


def _plan_pure(pythons: Pythons, locked: Mapping[str, Python]) -> PlannedBuild:
    # It is the same everywhere. The newest Python has the newest backend, and has made the sdist too.
    triple, found = next(iter(pythons.items()))
    builder = locked.get(triple) or _newest(found)
    return PlannedBuild(tuple(dict.fromkeys([builder, *chain.from_iterable(pythons.values())])))


def _newest(pythons: Sequence[Python]) -> Python:
    return max(pythons, key=lambda python: (not python.freethreaded, python.number))


def _groups(guess: Guess, pythons: Sequence[Python], only: Optional[Python]) -> List[List[Python]]:
    """Return the Pythons of each wheel of one triple; the first of each builds it."""
    if guess.kind == "none":
        first = only or min(pythons, key=lambda python: (python.freethreaded, python.number))
        return [[first, *(python for python in pythons if python != first)]]
    if guess.kind == "each":
        return [[only]] if only else [[python] for python in pythons]
    if only:
        return [[only, *(each for each in pythons if each.number > only.number and not each.freethreaded)]]
    own = [[each] for each in pythons if each.number < (_FIRST_ABI3T if each.freethreaded else guess.floor)]
    stable = [each for each in pythons if not each.freethreaded and each.number >= guess.floor]
    both = [each for each in pythons if each.freethreaded and each.number >= _FIRST_ABI3T]
    # One wheel serves both where the free-threaded Python that makes it is not newer than the other ones.
    if guess.freethreaded and both and stable and both[0].number <= stable[0].number:
        both, stable = [both[0], *sorted([*stable, *both[1:]], key=lambda python: python.sort_key)], []
    return [*own, *filter(None, (stable, both))]


def _serves_both(build: PlannedBuild) -> bool:
    return build.own.freethreaded and not all(test.freethreaded for test in build.tests)
