"""Read the headers of an ELF file.

Only what the kernel and the dynamic loader read is read: the file header, the program headers, ``PT_INTERP`` and what
the dynamic section points to. Section headers are not needed, so that stripped and truncated files can be read as far
as their loader would take them. pyelftools decodes the records, and our code goes from one record to the next, because
every count, offset and link in a file may be a lie: each read is checked against the size of the file, and all reads
together against a budget. A malformed file ends in `HostError` and in nothing else.

Source: System V gABI, chapters 4 and 5; Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from ..errors import MissingDependencyError
from .rootfs import HeaderReader, MalformedError, read_headers

__all__ = ["ElfFile", "machine_of", "read_elf", "require_pyelftools"]

# Generous multiples of what the largest real executables need (a browser: 15 program headers, 60 dynamic entries).
_MAX_SEGMENTS = 256
_MAX_RECORDS = 8192
# PATH_MAX: the kernel refuses a longer loader, and no name in the file can be longer and be found.
_MAX_STRING = 4096

_VER_FLG_BASE = 1


class ElfFile(NamedTuple):
    """The facts in the headers of one ELF file."""

    bits: int
    """Word size of the file's class: 32 or 64. An x32 executable is 32 with the machine of x86_64."""
    byte_order: str
    """``little`` or ``big``."""
    machine: int
    """``e_machine``, such as 62 for x86_64."""
    flags: int
    """``e_flags``; their meaning depends on the machine."""
    loader: Optional[str]
    """``PT_INTERP``, the path of the dynamic loader; None in static executables and most libraries."""
    needed: Tuple[str, ...]
    """``DT_NEEDED``, in the order of the file."""
    runpath: Tuple[str, ...]
    """The directories of ``DT_RUNPATH``, or of ``DT_RPATH`` if there is no ``DT_RUNPATH``."""
    version_needs: Tuple[Tuple[str, Tuple[str, ...]], ...]
    """Libraries, each with the symbol versions that the file needs of it, in the order of the file."""
    version_definitions: Tuple[str, ...]
    """The symbol versions that it provides, in the order of the file and without that of the file itself."""


def read_elf(file: Union[BinaryIO, Path]) -> ElfFile:
    """Read the headers of an ELF file, at most 1 MiB of it; a stream must support seeking, and is not closed.

    Raises:
        HostError: the file cannot be read, is not ELF, or contradicts itself.
        MissingDependencyError: pyelftools is not installed.
    """
    return read_headers(file, "an ELF file", lambda headers: _Reader(headers).read())


def machine_of(elf: ElfFile) -> Tuple[int, int, str]:
    """Return what two ELF files must have in common to be loaded into one process: machine, word size, byte order."""
    return elf.machine, elf.bits, elf.byte_order


def require_pyelftools() -> None:
    """Raise MissingDependencyError now if `read_elf` would raise it later."""
    try:
        import elftools  # noqa: F401
    except ImportError as exc:
        raise MissingDependencyError("pyelftools", "read the executables of this host") from exc


class _Segment(NamedTuple):
    type: Union[str, int]
    offset: int
    address: int
    size: int


class _Reader:
    """Reads one file within a budget of records."""

    def __init__(self, headers: HeaderReader) -> None:
        self._bytes = headers.read
        self._size = headers.size
        self._records_left = _MAX_RECORDS
        self._structs: Any = None
        self._segments: List[_Segment] = []

    def read(self) -> ElfFile:
        """Read all headers; raises `MalformedError` at the first contradiction."""
        byte_order, bits = self._read_identification()
        header = self._record(_structs(byte_order, bits).Elf_Ehdr, 0, "the file header")
        self._structs = _structs(byte_order, bits, header["e_machine"])
        self._segments = list(self._read_segments(header))
        dynamic = self._read_dynamic()
        return ElfFile(
            bits=bits,
            byte_order=byte_order,
            machine=_number(header["e_machine"]),
            flags=header["e_flags"],
            loader=self._read_loader(),
            needed=tuple(self._strings(dynamic, "DT_NEEDED")),
            # The loader ignores DT_RPATH if there is a DT_RUNPATH (ld.so(8)).
            runpath=tuple(
                directory
                for text in self._strings(dynamic, "DT_RUNPATH" if "DT_RUNPATH" in dynamic else "DT_RPATH")
                for directory in filter(None, text.split(":"))
            ),
            version_needs=tuple(self._read_version_needs(dynamic)),
            version_definitions=tuple(self._read_version_definitions(dynamic)),
        )

    def _read_identification(self) -> Tuple[str, int]:
        start = self._bytes(0, min(16, self._size), "the identification") if self._size else b""
        if start[:4] != b"\x7fELF":
            raise MalformedError(f"it starts with {start[:4]!r}")
        if len(start) < 16:
            raise MalformedError(f"the identification ends after {len(start)} of 16 bytes")
        bits = {1: 32, 2: 64}.get(start[4])
        byte_order = {1: "little", 2: "big"}.get(start[5])
        if bits is None or byte_order is None:
            raise MalformedError(f"class {start[4]} with data encoding {start[5]} is not defined")
        return byte_order, bits

    def _read_segments(self, header: Any) -> Iterator[_Segment]:
        count = header["e_phnum"]
        size = self._structs.Elf_Phdr.sizeof()
        if count > _MAX_SEGMENTS:
            raise MalformedError(f"{count} program headers, more than {_MAX_SEGMENTS}")
        # With another size, which the kernel refuses too, each header would be read from the wrong place.
        if count and header["e_phentsize"] != size:
            raise MalformedError(f"program headers of {header['e_phentsize']} bytes, expected {size}")
        for index in range(count):
            entry = self._record(self._structs.Elf_Phdr, header["e_phoff"] + index * size, "a program header")
            yield _Segment(entry["p_type"], entry["p_offset"], entry["p_vaddr"], entry["p_filesz"])

    def _read_loader(self) -> Optional[str]:
        segment = self._segment("PT_INTERP")
        if segment is None:
            return None
        if not 2 <= segment.size <= _MAX_STRING:
            raise MalformedError(f"the path of the loader takes {segment.size} bytes")
        text, terminator, _ = self._bytes(segment.offset, segment.size, "the path of the loader").partition(b"\0")
        if not terminator or not text:
            raise MalformedError("the path of the loader is empty or does not end")
        return os.fsdecode(text)

    def _read_dynamic(self) -> Dict[str, List[int]]:
        """Collect the entries of the dynamic section, by the name of their tag."""
        found: Dict[str, List[int]] = {}
        segment = self._segment("PT_DYNAMIC")
        if segment is None:
            return found
        size = self._structs.Elf_Dyn.sizeof()
        for index in range(segment.size // size):
            entry = self._record(self._structs.Elf_Dyn, segment.offset + index * size, "a dynamic entry")
            if entry["d_tag"] == "DT_NULL":
                break
            found.setdefault(str(entry["d_tag"]), []).append(entry["d_val"])
        return found

    def _strings(self, dynamic: Dict[str, List[int]], tag: str) -> Iterator[str]:
        for offset in dynamic.get(tag, ()):
            yield self._string(dynamic, offset)

    def _read_version_needs(self, dynamic: Dict[str, List[int]]) -> Iterator[Tuple[str, Tuple[str, ...]]]:
        structs = self._structs
        for need, offset in self._chain(dynamic, "DT_VERNEED", structs.Elf_Verneed, "vn_next"):
            versions = []
            position = offset + need["vn_aux"]
            for _ in range(need["vn_cnt"]):
                version = self._record(structs.Elf_Vernaux, position, "a symbol version need")
                versions.append(self._string(dynamic, version["vna_name"]))
                if not version["vna_next"]:
                    break
                position += version["vna_next"]
            yield self._string(dynamic, need["vn_file"]), tuple(versions)

    def _read_version_definitions(self, dynamic: Dict[str, List[int]]) -> Iterator[str]:
        structs = self._structs
        for definition, offset in self._chain(dynamic, "DT_VERDEF", structs.Elf_Verdef, "vd_next"):
            if not definition["vd_flags"] & _VER_FLG_BASE and definition["vd_cnt"]:
                # The first name is the version's own; the names after it are those of its parents.
                name = self._record(structs.Elf_Verdaux, offset + definition["vd_aux"], "a symbol version")
                yield self._string(dynamic, name["vda_name"])

    def _chain(self, dynamic: Dict[str, List[int]], tag: str, struct: Any, link: str) -> Iterator[Tuple[Any, int]]:
        """Follow the chain of records that a dynamic entry points to, up to the number in its ``...NUM``."""
        if tag not in dynamic or tag + "NUM" not in dynamic:
            return
        position = self._file_offset(dynamic[tag][0], tag)
        # The count may be any 64-bit number and the links may form a circle; the budget of records ends both.
        for _ in range(dynamic[tag + "NUM"][0]):
            record = self._record(struct, position, f"an entry of {tag}")
            yield record, position
            if not record[link]:
                return
            position += record[link]

    def _string(self, dynamic: Dict[str, List[int]], offset: int) -> str:
        if "DT_STRTAB" not in dynamic:
            raise MalformedError("a dynamic section with names and without DT_STRTAB")
        # Without DT_STRSZ, which the loader does not need, the end of the file is the end of the table.
        limit = dynamic.get("DT_STRSZ", [self._size])[0]
        if offset >= limit:
            raise MalformedError(f"a name at {offset} of a string table of {limit} bytes")
        start = self._file_offset(dynamic["DT_STRTAB"][0], "DT_STRTAB") + offset
        length = max(0, min(_MAX_STRING, limit - offset, self._size - start))
        text = b""
        # Nearly all names are short, so that small reads save much of the budget.
        while len(text) < length and b"\0" not in text:
            text += self._bytes(start + len(text), min(64, length - len(text)), "a name")
        if b"\0" not in text:
            raise MalformedError(f"a name at {offset} of the string table that does not end")
        return _decode(text.partition(b"\0")[0])

    def _file_offset(self, address: int, what: str) -> int:
        # The dynamic section holds addresses in memory; the segments map them to offsets in the file.
        for segment in self._segments:
            if segment.type == "PT_LOAD" and segment.address <= address < segment.address + segment.size:
                return segment.offset + address - segment.address
        raise MalformedError(f"{what} points to {address:#x}, where no segment is loaded")

    def _segment(self, kind: str) -> Optional[_Segment]:
        return next((segment for segment in self._segments if segment.type == kind), None)

    def _record(self, struct: Any, offset: int, what: str) -> Any:
        self._records_left -= 1
        if self._records_left < 0:
            raise MalformedError(f"more than {_MAX_RECORDS} records")
        return struct.parse(self._bytes(offset, struct.sizeof(), what))


@functools.lru_cache(maxsize=16)
def _structs(byte_order: str, bits: int, machine: Any = None) -> Any:
    """Make pyelftools' decoders; the kinds of segments and of dynamic entries depend on the machine."""
    require_pyelftools()
    from elftools.elf.structs import ELFStructs

    structs = ELFStructs(little_endian=byte_order == "little", elfclass=bits)
    structs.create_basic_structs()
    # An unknown machine is a number, although pyelftools' type hints allow only names.
    structs.create_advanced_structs(e_machine=machine)
    return structs


def _number(machine: Union[str, int]) -> int:
    """Return the number of a machine: pyelftools gives the name of a known one, and the number of an unknown one."""
    from elftools.elf.enums import ENUM_E_MACHINE

    return int(ENUM_E_MACHINE[machine]) if isinstance(machine, str) else machine


def _decode(text: bytes) -> str:
    # Names are bytes to the kernel; bytes that are not UTF-8 stay visible and can always be printed.
    return text.decode("utf-8", "backslashreplace")
