"""cibuildwheel as it builds on Linux: in a container of podman, made of this machine's own system.

In: a `Job`. Out: `Made`. The images that cibuildwheel takes by itself cannot be had where these tests run, so the image
is empty; programs, interpreters and wheels are mounted into it, and repairing wheels is left out.
"""

from __future__ import annotations

__all__ = ["cibuildwheel"]

import io
import json
import os
import resource
import shutil
import tarfile
from pathlib import Path
from typing import Dict, List

from support.hosts import clean_environ, run_checked
from support.real_interpreters import Unavailable, locked

from .jobs import Job, Made, found

_IMAGE = "localhost/this-machine"
_FOLDERS = ("usr", "proc", "sys", "dev", "run", "tmp", "var/tmp", "root", "etc", "opt/python")
_LINKS = ("bin", "sbin", "lib", "lib64")
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
# As a machine without systemd can do it: the groups and limits of whoever runs the tests, and its network.
_SETTINGS = """[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
{runtime}
[containers]
netns = "host"
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
"""
_STORAGE = """[storage]
driver = "vfs"
runroot = "{folder}/run"
graphroot = "{folder}/graph"
"""


def cibuildwheel(job: Job) -> Made:
    """Build in a container; where the host does not satisfy the project, see only which builds are selected.

    Raises:
        Unavailable: there is no podman.
    """
    program = (str(job.workshop.tools / "bin" / "python"), "-m", "cibuildwheel", "--platform", "linux")
    minor = int(job.host.version.split(".")[1])
    if minor < 12:
        return Made(job.run(*program, "--print-build-identifiers", str(job.source)))
    if shutil.which("podman") is None:
        raise Unavailable("cibuildwheel builds in containers on Linux, and there is no podman on this machine")
    variables = _podman(job)
    options = {
        "CIBW_CONTAINER_ENGINE": f"podman; create_args: {' '.join(_mounts(job, minor))}",
        "CIBW_MANYLINUX_X86_64_IMAGE": _IMAGE,
        "CIBW_BUILD": f"cp3{minor}-manylinux_x86_64",
        "CIBW_ARCHS": "x86_64",
        "CIBW_REPAIR_WHEEL_COMMAND": "",
        "CIBW_ENVIRONMENT": _inside(job),
    }
    words = (*program, "--output-dir", str(job.out), str(job.source))
    done = job.run(*words, cwd=job.folder, **variables, **options)
    return found(done, job.out)


def _podman(job: Job) -> Dict[str, str]:
    """Return the variables with which podman keeps all below the folder of this run, the image there."""
    folder = job.workshop.folder / "podman"
    variables = {
        "HOME": str(folder),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    with locked(folder.with_name("podman.lock")):
        if not (folder / "complete").exists():
            _configure(folder)
            image = str(folder / "image.tar")
            _write_image(Path(image))
            run_checked(["podman", "import", "-q", image, _IMAGE], {**clean_environ(), **variables})
            (folder / "complete").write_text("")
    return variables


def _configure(folder: Path) -> None:
    policy = folder / ".config" / "containers" / "policy.json"
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text(json.dumps(_POLICY))
    # crun refuses a machine with both versions of control groups.
    runtime = 'runtime = "runc"' if shutil.which("runc") else ""
    files, processes = (resource.getrlimit(each)[1] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    limits = {"files": min(files, 1024), "processes": min(processes, 4096) if processes > 0 else 4096}
    (folder / "containers.conf").write_text(_SETTINGS.format(runtime=runtime, **limits))
    (folder / "storage.conf").write_text(_STORAGE.format(folder=folder))


def _write_image(path: Path) -> None:
    with tarfile.open(str(path), "w") as archive:
        for name in _FOLDERS:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
            archive.addfile(member)
        for name in _LINKS:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(member)
        # CMake tells Debian, which makes no library executable, by this file.
        files = [Path("/etc", name) for name in ("passwd", "group", "ld.so.cache", "debian_version")]
        for name, data in ((str(file)[1:], file.read_bytes()) for file in files if file.exists()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))


def _mounts(job: Job, minor: int) -> List[str]:
    shop, inside = job.workshop, job.host.python.parent.parent
    same = ["/usr", "/etc/alternatives", str(job.host.path.parent.parent), str(shop.wheels), str(shop.mirror)]
    same += [str(shop.own_wheel.parent), str(inside)]
    same += [str(Path.home() / each) for each in (".cargo", ".rustup") if (Path.home() / each).is_dir()]
    # cibuildwheel runs its own scripts by 3.9, which its images have.
    mounts = [f"--volume={inside}:/opt/python/cp{each}-cp{each}:ro" for each in (f"3{minor}", "39")]
    return [f"--volume={each}:{each}:ro" for each in same] + mounts


def _inside(job: Job) -> str:
    """Return the variables of the builds in the container."""
    kept = ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_NO_COMPILE", "SOURCE_DATE_EPOCH", "CFLAGS")
    given = job.workshop.environ()
    listed = {name: given[name] for name in kept}
    for name in ("CARGO_HOME", "RUSTUP_HOME"):
        listed[name] = os.environ.get(name, str(Path.home() / f".{name.partition('_')[0].lower()}"))
    path = f'PATH="{listed["CARGO_HOME"]}/bin:$PATH"'
    return " ".join([*(f"{name}='{value}'" for name, value in listed.items()), path])
