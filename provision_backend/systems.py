"""Name the operating systems that interpreters are provisioned for, and what differs between them: one row for each.

Nothing else looks at ``sys.platform`` or ``os.name``: a module asks `RUNNING`, or whether a feature exists (``fcntl``,
a flag of ``open``). What a host is beyond that, `provision_backend.host.detection` reads from executables.

Another system is a row of `SYSTEMS`, with the architectures that it has archives for, and the file
``catalog/data/<triple>.txt`` that lists them. FreeBSD, whose programs are ELF files and whose folders are those of any
Unix, would be ``System("freebsd", "FreeBSD", "freebsd", "unknown-freebsd", ("aarch64", "x86_64"), "ELF")``.

A build that passes through imports this module, so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Dict, Mapping, NamedTuple, Tuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RUNNING", "SYSTEMS", "System", "kernel_machine"]


class System(NamedTuple):
    """One operating system; the defaults are those of a Unix that keeps to the XDG Base Directory Specification."""

    name: str
    """As in JSON: ``linux``, ``macos``, ``windows``."""
    title: str
    """As its makers write it."""
    sys_platform: str
    """What ``sys.platform`` begins with there."""
    triple: str
    """What follows the architecture in a target triple; a regular expression for Linux, which goes on with a libc."""
    architectures: Tuple[str, ...]
    """Those of its target triples, as python-build-standalone calls them; none for Linux, see ``targets.py``."""
    executable_format: str
    """``ELF``, ``Mach-O`` or ``PE``."""
    machines: Mapping[str, str] = {}
    """What ``platform.machine()`` calls an architecture there, where that is another name."""
    version_file: str = ""
    """File of the system that changes with its version; variables of the environment are expanded."""

    # The tree of an installed interpreter.
    interpreter: str = "bin/python3.*"
    """Pattern of its program, below the tree."""
    library: str = "lib/libpython3.*.so.1.0"
    """Pattern of the library that the program may be linked to."""

    # A virtual environment.
    environment_programs: str = "bin"
    """Folder of its programs, ``python`` among them."""
    environment_packages: str = "lib/python*/site-packages"
    """Pattern of the folders that packages are installed in: the free-threaded build calls its own python3.13t."""
    program_suffix: str = ""
    """What the name of a program's file ends with."""
    build_variables: Tuple[str, ...] = ()
    """Variables for a build that name another Python elsewhere, and that whoever builds sets on purpose here."""

    # Folders of users and of the machine. Each pair is a variable, and what holds where it is not set.
    cache: Tuple[str, str] = ("XDG_CACHE_HOME", "~/.cache")
    """The user's cache folder."""
    cache_name: str = "provision-backend"
    """Our folder below it."""
    config: Tuple[str, str] = ("XDG_CONFIG_HOME", "~/.config")
    """The user's folder of configuration files, also those of pip and uv."""
    machine_config: Tuple[str, str] = ("XDG_CONFIG_DIRS", "/etc/xdg")
    """Those of the machine, also those of pip and uv; several are separated as in PATH."""
    own_config: Tuple[str, ...] = ()
    """Folders for our configuration file alone, the user's and then the machine's; empty: those above."""
    pip_file: str = "pip.conf"
    """Name of pip's configuration file."""
    pip_folder: str = ".pip"
    """pip's old folder in the home directory."""

    def cache_folder(self, environ: Mapping[str, str]) -> str:
        """Return the default folder of our cache; it is relative where there is no home directory."""
        return os.path.join(_named_folder(environ, *self.cache), self.cache_name)

    def user_folder(self, environ: Mapping[str, str]) -> str:
        """Return the folder that the user's configuration files are below, those of pip and uv among them."""
        return _named_folder(environ, *self.config)

    def machine_folders(self, environ: Mapping[str, str]) -> Tuple[str, ...]:
        """Return the folders that the machine's configuration files are below, the first of them first."""
        variable, default = self.machine_config
        named = (environ.get(variable) or default).split(os.pathsep)
        # The XDG Base Directory Specification has relative paths ignored; an empty one would be the source tree.
        return (*filter(os.path.isabs, named), *(["/etc"] if default else []))

    def config_folders(self, environ: Mapping[str, str]) -> Tuple[str, ...]:
        """Return the folders that our configuration file may be below: the user's, then those of the machine."""
        own = tuple(map(os.path.expanduser, self.own_config))
        return own or (self.user_folder(environ), *self.machine_folders(environ))

    def environment_python(self, environment: Path) -> Path:
        """Return the path of the interpreter of a virtual environment."""
        return environment / self.environment_programs / f"python{self.program_suffix}"

    def tree_of(self, executable: Path) -> Path:
        """Return the folder of an installed tree whose interpreter this is."""
        return executable.parents[self.interpreter.count("/")]


def _named_folder(environ: Mapping[str, str], variable: str, default: str) -> str:
    # The XDG Base Directory Specification has relative paths ignored.
    named = environ.get(variable, "")
    return named if os.path.isabs(named) else os.path.expanduser(default)


def kernel_machine() -> str:
    """Return what the kernel calls the machine, empty on Windows; its word size may not be that of the programs."""
    return os.uname().machine if hasattr(os, "uname") else ""


SYSTEMS: Dict[str, System] = {
    system.name: system
    for system in (
        System("linux", "Linux", "linux", "unknown-linux-[a-z]+", (), "ELF"),
        System(
            "macos", "macOS", "darwin", "apple-darwin", ("aarch64", "x86_64"), "Mach-O",
            machines={"aarch64": "arm64"},
            version_file="/System/Library/CoreServices/SystemVersion.plist",
            library="lib/libpython3.*.dylib",
            # cibuildwheel and others set it to build a universal wheel, or one for the other architecture.
            build_variables=("_PYTHON_HOST_PLATFORM",),
            cache=("", "~/Library/Caches"),
            own_config=("~/Library/Application Support", "/Library/Application Support"),
        ),
        System(
            "windows", "Windows", "win32", "pc-windows-msvc", ("aarch64", "i686", "x86_64"), "PE",
            machines={"x86_64": "AMD64", "aarch64": "ARM64", "i686": "x86"},
            version_file=r"${SystemRoot}\System32\kernel32.dll",
            interpreter="python.exe",
            library="python3*.dll",
            environment_programs="Scripts",
            environment_packages="Lib/site-packages",
            program_suffix=".exe",
            cache=("LOCALAPPDATA", "~/AppData/Local"),
            cache_name=os.path.join("provision-backend", "Cache"),
            config=("APPDATA", "~/AppData/Roaming"),
            machine_config=("PROGRAMDATA", ""),
            pip_file="pip.ini",
            pip_folder="pip",
        ),
    )
}  # fmt: skip
"""All of them, by name."""

# Another Unix has the layout of Linux; detection then finds no libc that it knows, and says so.
RUNNING: System = next(
    (system for system in SYSTEMS.values() if sys.platform.startswith(system.sys_platform)), SYSTEMS["linux"]
)
"""The system that this process runs on."""
