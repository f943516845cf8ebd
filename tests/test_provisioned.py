"""Hooks in a build environment of our own: what is installed, what is asked, and which wheels are let through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest
from support.hosts import find_uv
from support.real_interpreters import HostInterpreter
from support.toys import Host, another_interpreter, host_environment, project_of, toy_wheel

pytestmark = pytest.mark.slow

HERE = "{}.{}.{}".format(*sys.version_info[:3])

SAYS = """
import os, sys
import minimal
from minimal import *

def get_requires_for_build_wheel(config_settings=None):
    print("asked for a wheel", config_settings)
    return ["toy_needed"]

get_requires_for_build_editable = get_requires_for_build_wheel

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import toy_needed, toy_static
    print("variables", sorted(name for name in os.environ if name.startswith("PROVISION_BACKEND_M")))
    print("built by", sys.version.split()[0], "with", toy_needed.VERSION, toy_static.VERSION, config_settings)
    minimal.TAG = (config_settings or {}).get("tag", "py3-none-any")
    settings = config_settings or {}
    if "name" in settings:
        return eval(settings["name"])
    return minimal.build_wheel(wheel_directory)

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    import toy_needed
    return minimal.prepare_metadata_for_build_wheel(metadata_directory)

build_editable = build_wheel
"""


@pytest.fixture(scope="module")
def other() -> HostInterpreter:
    return another_interpreter()


@pytest.fixture
def host(tmp_path: Path, other: HostInterpreter) -> Host:
    """A frontend's environment whose hooks are provisioned with another interpreter of this machine."""
    host = host_environment(tmp_path / "build-env-x")
    for name in ("toy_needed", "toy_static"):
        toy_wheel(tmp_path / "wheels", name, "1.0")
    host.environ.update(
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path / "wheels"),
        PROVISION_BACKEND_PYTHON=str(other.path),
        PROVISION_BACKEND_VERBOSE="1",
    )
    uv = find_uv()
    if uv is not None:
        # It takes a tenth of pip's time, and what is tested here is the same with both.
        links = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(tmp_path / "wheels")}
        host.environ.update(PROVISION_BACKEND_INSTALLER="uv", UV=uv, UV_CACHE_DIR=str(tmp_path / "uv"), **links)
    return host


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return project_of(tmp_path / "toy", SAYS, table='requires = ["toy_static"]')


def test_static_and_dynamic_requirements_are_installed_there(
    host: Host, project: Path, tmp_path: Path, other: HostInterpreter
) -> None:
    """The real backend is asked under the interpreter that runs it, and has both kinds (frontends 3.1)."""
    assert host.hook(project, "get_requires_for_build_wheel", {"a": "1"}) == []
    name = host.hook(project, "build_wheel", str(tmp_path), {"a": "1", "provision-backend.installer": "pip"})

    assert name == "toy-1.0-py3-none-any.whl"
    assert (tmp_path / name).exists()
    assert f"built by {other.version} with 1.0 1.0 {{'a': '1'}}\n" in host.stdout
    assert host.stdout.count("asked for a wheel {'a': '1'}") == 1


def test_a_question_is_asked_once_a_build(host: Host, project: Path, tmp_path: Path) -> None:
    """Metadata and wheel have the same requirements; other settings are another question (frontends 1.1)."""
    host.hook(project, "prepare_metadata_for_build_wheel", str(tmp_path), None)
    assert "asked for a wheel None" in host.stdout
    assert host.stderr.count("installing") == 2
    host.hook(project, "build_wheel", str(tmp_path), None)
    assert "asked for a wheel" not in host.stdout
    assert "installing" not in host.stderr
    host.hook(project, "build_wheel", str(tmp_path), {"a": "1"})
    assert "asked for a wheel {'a': '1'}" in host.stdout


def test_one_line_a_build_says_which_interpreter_and_from_where(
    host: Host, project: Path, tmp_path: Path, other: HostInterpreter
) -> None:
    """Whatever the verbosity, the hooks of one build say it once, before anything is installed."""
    host.environ["PROVISION_BACKEND_VERBOSE"] = "0"
    line = f"provision-backend: building with CPython {other.version} from PROVISION_BACKEND_PYTHON: "
    host.hook(project, "prepare_metadata_for_build_wheel", str(tmp_path), None)
    assert host.stderr.startswith(line)
    assert host.stderr.count("building with") == 1
    host.hook(project, "build_wheel", str(tmp_path), None)
    assert "building with" not in host.stderr
    host.hook(project, "build_wheel", str(tmp_path), {"a": "1"})
    assert host.stderr.count(line) == 1


@pytest.mark.parametrize("tag", ["py3-none-any", "cp{here}-cp{here}-linux_x86_64"], ids=["pure", "of this version"])
def test_a_wheel_that_fits_is_not_announced(host: Host, project: Path, tmp_path: Path, tag: str) -> None:
    """What the running interpreter can install needs no word."""
    from packaging.tags import sys_tags

    wanted = str(next(iter(sys_tags()))) if tag.startswith("cp") else tag
    host.hook(project, "build_wheel", str(tmp_path), {"tag": wanted})

    assert "cannot install it" not in host.stderr


def test_a_wheel_for_another_abi_is_announced(
    host: Host, project: Path, tmp_path: Path, other: HostInterpreter
) -> None:
    """Pip would install it without a look at its tag (frontends 4)."""
    name = host.hook(project, "build_wheel", str(tmp_path), {"tag": "cp30-cp30-linux_x86_64"})

    assert (tmp_path / name).exists()
    assert host.stderr.endswith(
        f"provision-backend: {name} was built by {other.path}; Python {HERE} cannot install it\n"
    )


def test_an_editable_wheel_for_another_abi_is_refused(
    host: Host, project: Path, tmp_path: Path, other: HostInterpreter
) -> None:
    """It is imported by the interpreter that it is installed for (frontends 6.5)."""
    with pytest.raises(subprocess.CalledProcessError):
        host.hook(project, "build_editable", str(tmp_path), {"tag": "cp30-cp30-linux_x86_64"}, None)

    assert list(tmp_path.glob("*.whl")) == []
    assert host.stderr.endswith(
        f"provision-backend: the editable wheel has the tag cp30-cp30-linux_x86_64: it was built by CPython "
        f"{other.version}, and Python {HERE} cannot import it\n"
        f"  make the editable install with CPython {other.version}: {other.path}\n"
    )


def test_a_pure_editable_wheel_passes(host: Host, project: Path, tmp_path: Path) -> None:
    """A path file is the same for every version."""
    assert host.hook(project, "build_editable", str(tmp_path), None, None) == "toy-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("'toy.whl'", "has returned 'toy.whl', which it has not made in"),
        ("'toy'", "has returned 'toy', which it has not made in"),
        ("''", "has returned '', which it has not made in"),
        ("None", "must return a name, found NoneType"),
        ("['toy.whl']", "must return a name, found list"),
    ],
)
def test_a_wheel_that_was_not_made_is_one_message(
    host: Host, project: Path, tmp_path: Path, name: str, said: str
) -> None:
    """The frontend would end in a traceback when it opens the file."""
    (tmp_path / "out").mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        host.hook(project, "build_wheel", str(tmp_path / "out"), {"name": name}, None)

    assert said in host.stderr
    assert "Traceback" not in host.stderr


def test_passwords_are_hidden_from_the_real_backend(host: Host, project: Path, tmp_path: Path) -> None:
    """It does not get those of our variables that hold one."""
    host.environ["PROVISION_BACKEND_MIRROR"] = "https://user:s3cret@mirror.example"
    host.hook(project, "build_wheel", str(tmp_path), None)

    assert "variables []\n" in host.stdout


def test_changed_requirements_have_a_new_environment(host: Host, project: Path, tmp_path: Path) -> None:
    """In a lasting environment the old one would be wrong."""
    host.hook(project, "build_wheel", str(tmp_path), None)
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace('["toy_static"]', '["toy_static>=1"]'))
    host.hook(project, "build_wheel", str(tmp_path), None)

    assert len(list((tmp_path / "build-env-x" / ".provision-backend").iterdir())) == 2


def test_what_cannot_be_installed_is_one_message(host: Host, project: Path, tmp_path: Path) -> None:
    """The installer's words, and no traceback."""
    host.environ["PROVISION_BACKEND_INSTALLER"] = "pip"
    (tmp_path / "wheels" / "toy_static-1.0-py3-none-any.whl").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        host.hook(project, "build_wheel", str(tmp_path), None, env={"PROVISION_BACKEND_VERBOSE": "0"})

    _, message = host.stderr.split("\n", 1)  # The first line names the interpreter.
    assert message.startswith("provision-backend: could not install the real backend's requirements under CPython ")
    assert "No matching distribution found for toy_static" in host.stderr
    assert "Traceback" not in host.stderr


def test_a_python_of_a_virtual_environment_stands_for_its_base(
    host: Host, project: Path, tmp_path: Path, other: HostInterpreter
) -> None:
    """The setting ``python`` may name any executable; a virtual environment must not be made from another one."""
    venv = tmp_path / "other-venv"
    subprocess.run([str(other.path), "-I", "-m", "venv", "--without-pip", str(venv)], check=True)
    env: Dict[str, str] = {"PROVISION_BACKEND_PYTHON": str(venv / "bin" / "python")}
    host.hook(project, "build_wheel", str(tmp_path), None, env=env)

    made = next((tmp_path / "build-env-x" / ".provision-backend").iterdir())
    assert f"built by {other.version}" in host.stdout
    assert str(venv) not in (made / "pyvenv.cfg").read_text()
