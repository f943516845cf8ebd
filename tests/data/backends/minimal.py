"""A whole build backend without requirements: every hook of PEP 517 and PEP 660, for a project of one module."""

import io
import os
import sys
import tarfile
import zipfile

NAME = "toy"
INFO = NAME + "-1.0.dist-info"
TAG = "py3-none-any"
METADATA = "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def get_requires_for_build_editable(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = os.path.join(metadata_directory, INFO)
    os.mkdir(folder)
    for name, text in _info_files().items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    return INFO


def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    return prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {"toy.py": "BUILT_BY = {!r}\n".format(sys.version)})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {"toy.pth": os.getcwd() + "\n"})


def build_sdist(sdist_directory, config_settings=None):
    root = NAME + "-1.0"
    with tarfile.open(os.path.join(sdist_directory, root + ".tar.gz"), "w:gz") as archive:
        for name in sorted(os.listdir(".")):
            if name not in ("dist", "out"):
                archive.add(name, root + "/" + name)
        data = METADATA.encode()
        member = tarfile.TarInfo(root + "/PKG-INFO")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return root + ".tar.gz"


def _info_files():
    wheel = "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: " + TAG + "\n"
    return {"METADATA": METADATA, "WHEEL": wheel}


def _write_wheel(folder, files):
    name = "-".join([NAME, "1.0", TAG]) + ".whl"
    files = dict(files)
    for info, text in _info_files().items():
        files[INFO + "/" + info] = text
    files[INFO + "/RECORD"] = "".join(path + ",,\n" for path in files) + INFO + "/RECORD,,\n"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name
