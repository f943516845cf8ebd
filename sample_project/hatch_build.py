"""Write into the wheel which interpreter has built it."""

import platform
from pathlib import Path
from tempfile import TemporaryDirectory

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

type Data = dict[str, dict[str, str]]


class BuiltBy(BuildHookInterface):
    """Adds greeting/built_by.txt to the wheel without writing into the source tree."""

    def initialize(self, version: str, build_data: Data) -> None:
        """Add the file."""
        self.folder = TemporaryDirectory()
        file = Path(self.folder.name, "built_by.txt")
        file.write_text(f"built by {f"{platform.python_implementation()} {platform.python_version()}"}\n")
        build_data["force_include"][str(file)] = "greeting/built_by.txt"

    def finalize(self, version: str, build_data: Data, artifact_path: str) -> None:
        """Remove what the wheel holds by now."""
        self.folder.cleanup()
