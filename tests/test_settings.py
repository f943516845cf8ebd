"""Settings: which place wins, what each kind accepts, and the exact message for the rest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest

from provision_backend.errors import CacheError, UsageError
from provision_backend.settings import (
    CONFIG_FILE,
    NO_CONFIG,
    OPTIONS,
    PREFIX,
    Settings,
    load_settings,
    secret_variables,
    strip_settings,
)

_NOTHING: Dict[str, str] = {NO_CONFIG: "1"}
_HERE = os.getcwd()


def _given(key: str, value: Any) -> Settings:
    return load_settings({PREFIX + key: value}, environ=_NOTHING)


def test_fields_are_those_of_the_table() -> None:
    """Each option is a field of the same name and order, with a default, and there is no other one but the origins."""
    fields = list(Settings._field_defaults)

    assert [*(option.attribute for option in OPTIONS), "origins"] == fields


def test_names_of_a_setting_follow_from_its_key() -> None:
    """The variable and the attribute are the key in the spelling of their place."""
    option = next(option for option in OPTIONS if option.key == "cache-dir")

    assert (option.attribute, option.variable) == ("cache_dir", "PROVISION_BACKEND_CACHE_DIR")


def test_every_option_can_be_shown_to_people() -> None:
    """Help texts are one line, and only choices have choices."""
    assert all(option.help and "\n" not in option.help for option in OPTIONS)
    choices = ["cpu-level", "preference", "installer", "toolchain"]
    assert [option.key for option in OPTIONS if option.choices] == choices
    assert {option.kind for option in OPTIONS} == {
        "choice", "flag", "location", "locations", "number", "path", "paths", "seconds", "text",
    }  # fmt: skip


def test_nothing_given_means_defaults() -> None:
    """Without any place that names a key, all values are the defaults."""
    assert load_settings(environ=_NOTHING) == Settings()
    assert Settings().origin("mirror") == "default"


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of this process are the environment."""
    monkeypatch.setenv("PROVISION_BACKEND_RETRIES", "7")

    assert load_settings().retries == 7


@pytest.mark.parametrize(
    ("flags", "config", "variable", "project", "value", "origin"),
    [
        pytest.param("uv", "pip", "pip", "pip", "uv", "--installer", id="flag before all"),
        pytest.param(None, "uv", "pip", "pip", "uv", "config setting provision-backend.installer", id="config setting"),
        pytest.param(None, None, "uv", "pip", "uv", "PROVISION_BACKEND_INSTALLER", id="environment"),
        pytest.param(None, None, "", "uv", "uv", "tool.provision-backend.installer", id="an empty variable is unset"),
        pytest.param(None, None, None, "uv", "uv", "tool.provision-backend.installer", id="project"),
        pytest.param(None, None, None, "", "", "default", id="default"),
    ],
)
def test_the_first_place_that_names_a_key_wins(
    flags: Any, config: Any, variable: Any, project: str, value: str, origin: str
) -> None:
    """Flags stand before config settings, these before the environment, then the project, then the default."""
    settings = load_settings(
        None if config is None else {"provision-backend.installer": config},
        environ=_NOTHING if variable is None else {**_NOTHING, "PROVISION_BACKEND_INSTALLER": variable},
        project={"installer": project},
        flags=None if flags is None else {"installer": flags},
    )

    assert (value, origin) == (settings.installer, settings.origin("installer"))


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        pytest.param("python", " 3.13 ", "3.13", id="text loses white space round it"),
        pytest.param("python", "~=3.13", "~=3.13", id="text"),
        pytest.param("cache-dir", "x y", os.path.join(_HERE, "x y"), id="path"),
        pytest.param("cache-dir", "~/x", os.path.expanduser("~/x"), id="path in the home directory"),
        pytest.param("cache-dir", "", "", id="empty text"),
        pytest.param("shared-caches", os.pathsep.join(["/a", "/b,c", ""]), ("/a", "/b,c"), id="paths"),
        pytest.param("shared-caches", ["/a", os.pathsep.join(["/b", "/c"])], ("/a", "/b", "/c"), id="a list of paths"),
        pytest.param("mirror", "https://a.invalid , /b", ("https://a.invalid", "/b"), id="list"),
        pytest.param("mirror", ["/a,/b", "/c"], ("/a", "/b", "/c"), id="a list of lists"),
        pytest.param("mirror", ("/a",), ("/a",), id="a tuple"),
        pytest.param("mirror", "", (), id="an empty list"),
        pytest.param("mirror", [], (), id="a list without items"),
        pytest.param("preference", "only-system", "only-system", id="choice"),
        *(pytest.param("offline", raw, True, id=f"{raw!r} is on") for raw in (True, 1, "1", "true", "YES", " on ")),
        *(pytest.param("offline", raw, False, id=f"{raw!r} is off") for raw in (False, 0, "0", "False", "no", "off")),
        pytest.param("lock-timeout", "0.5", 0.5, id="seconds"),
        pytest.param("lock-timeout", 2, 2.0, id="seconds as an integer of JSON"),
        pytest.param("lock-timeout", 2.5, 2.5, id="seconds as a float of JSON"),
        pytest.param("retries", "0", 0, id="number"),
        pytest.param("retries", 12, 12, id="number of JSON"),
    ],
)
def test_each_kind_is_converted(key: str, raw: Any, value: Any) -> None:
    """A value arrives in the type of its kind, whether as text or as build's --config-json has it."""
    settings = _given(key, raw)
    option = next(option for option in OPTIONS if option.key == key)
    found = getattr(settings, option.attribute)

    assert (value, type(value)) == (found, type(found))


@pytest.mark.parametrize(
    ("key", "raw", "complaint"),
    [
        pytest.param("offline", "maybe", "must be true or false, found 'maybe'", id="flag"),
        pytest.param("offline", "", "must be true or false, found ''", id="flag without a value"),
        pytest.param("offline", 2, "must be true or false, found '2'", id="flag of JSON"),
        pytest.param("offline", None, "must be one string, found NoneType", id="null"),
        pytest.param("offline", ["1", "0"], "must be one string, found list", id="flag given twice"),
        pytest.param("python", ["3.12", "3.13"], "must be one string, found list", id="text given twice"),
        pytest.param("python", {"a": "b"}, "must be one string, found dict", id="table"),
        pytest.param("python", True, "must be one string, found bool", id="text that is true"),
        pytest.param("python", 3.10, "must be one string, found float", id="a version that JSON would cut to 3.1"),
        pytest.param("cache-dir", "a\0b", "must not have a NUL character in it, found 'a\\x00b'", id="path with a NUL"),
        pytest.param("retries", True, "must be one string, found bool", id="number that is true"),
        pytest.param("retries", "2.5", "must be a whole number, 0 or more, found '2.5'", id="fraction"),
        pytest.param("retries", 2.0, "must be a whole number, 0 or more, found '2.0'", id="float"),
        pytest.param("retries", "-1", "must be a whole number, 0 or more, found '-1'", id="negative number"),
        pytest.param("retries", "", "must be a whole number, 0 or more, found ''", id="number without a value"),
        pytest.param("lock-timeout", "-1", "must be a number of seconds, 0 or more, found '-1'", id="negative time"),
        pytest.param("lock-timeout", "nan", "must be a number of seconds, 0 or more, found 'nan'", id="nan"),
        pytest.param("lock-timeout", "inf", "must be a number of seconds, 0 or more, found 'inf'", id="infinity"),
        pytest.param("lock-timeout", "10s", "must be a number of seconds, 0 or more, found '10s'", id="unit"),
        pytest.param("installer", "conda", "must be one of pip, uv, found 'conda'", id="choice"),
        pytest.param(
            "preference",
            "Managed",
            "must be one of managed, only-managed, system, only-system, found 'Managed'",
            id="choice in another case",
        ),
        pytest.param("mirror", 5, "must be a string or a list of strings", id="list that is a number"),
        pytest.param("mirror", ["/a", 5], "must be a string or a list of strings", id="list with a number"),
        pytest.param("shared-caches", None, "must be a string or a list of strings", id="paths that are null"),
    ],
)
def test_a_value_of_another_form_is_refused(key: str, raw: Any, complaint: str) -> None:
    """The message names the place, the form that is wanted and what was found."""
    with pytest.raises(UsageError) as caught:
        _given(key, raw)

    assert str(caught.value) == f"config setting provision-backend.{key} {complaint}"


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        pytest.param({"flags": {"retries": "x"}}, "--retries", id="flag"),
        pytest.param(
            {"environ": {**_NOTHING, "PROVISION_BACKEND_RETRIES": "x"}}, "PROVISION_BACKEND_RETRIES", id="variable"
        ),
        pytest.param({"project": {"retries": "x"}}, "tool.provision-backend.retries", id="project"),
    ],
)
def test_a_refusal_names_the_place_of_the_value(arguments: Dict[str, Any], place: str) -> None:
    """Who has to change it reads where it stands."""
    with pytest.raises(UsageError) as caught:
        load_settings(**{"environ": _NOTHING, **arguments})

    assert str(caught.value) == f"{place} must be a whole number, 0 or more, found 'x'"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        pytest.param("miror", "did you mean 'provision-backend.mirror'?", id="near"),
        pytest.param("cache_dir", "did you mean 'provision-backend.cache-dir'?", id="underscore"),
        pytest.param("zzz", "known keys: " + ", ".join(option.key for option in OPTIONS), id="far"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, hint: str) -> None:
    """A misspelt -C key is an error and not silently without effect."""
    with pytest.raises(UsageError) as caught:
        _given(key, "1")

    assert str(caught.value) == f"unknown config setting 'provision-backend.{key}'\n  {hint}"


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        pytest.param("provision_backend.python", "3.13", "did you mean 'provision-backend.python'?", id="underscore"),
        pytest.param("Provision-Backend.mirror", "/m", "did you mean 'provision-backend.mirror'?", id="capitals"),
        pytest.param("provision-backend", {"python": "3.13"}, "known keys: ", id="a table, as --config-json can have"),
    ],
)
def test_a_key_of_ours_with_another_beginning_is_refused(key: str, value: object, hint: str) -> None:
    """It would go to the real backend, which mostly ignores it, and so would we."""
    with pytest.raises(UsageError) as caught:
        load_settings({key: value}, environ={})

    assert str(caught.value).startswith(f"unknown config setting {key!r}\n  {hint}")


def test_keys_of_the_real_backend_are_not_looked_at() -> None:
    """Whatever does not begin with our name, however that is spelt, is the real backend's."""
    foreign = {"--build-option": ["a", None], "provision-backend-x.mirror": "", "m": 5, "x.provision-backend.y": 0}

    assert load_settings(foreign, environ=_NOTHING) == Settings()


def test_variables_of_no_option_are_not_looked_at() -> None:
    """Newer versions may have more variables than this one."""
    assert load_settings(environ={**_NOTHING, "PROVISION_BACKEND_FUTURE": "x"}) == Settings()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(None, None, id="none stays none"),
        pytest.param({}, {}, id="empty stays empty"),
        pytest.param({"provision-backend.offline": "1"}, {}, id="only ours"),
        pytest.param(
            {"provision-backend.x": "1", "a": ["1", "2"], "--global-option": None},
            {"a": ["1", "2"], "--global-option": None},
            id="mixed",
        ),
    ],
)
def test_our_keys_are_stripped_before_forwarding(before: Any, after: Any) -> None:
    """The real backend gets what is its own, unchanged and in a new dictionary."""
    stripped = strip_settings(before)

    assert after == stripped
    assert stripped is None or stripped is not before


def test_what_config_json_carries_arrives() -> None:
    """Values of build's --config-json may be lists, numbers and booleans."""
    text = (
        '{"provision-backend.mirror": ["/a", "/b"], "provision-backend.offline": true,'
        ' "provision-backend.read-timeout": 1.5, "setup-args": {"x": [1]}}'
    )

    settings = load_settings(json.loads(text), environ=_NOTHING)

    assert (settings.mirror, settings.offline, settings.read_timeout) == (("/a", "/b"), True, 1.5)
    assert strip_settings(json.loads(text)) == {"setup-args": {"x": [1]}}


URLS = "https://bob:s3,cret@a.example/x?sig=1,/2,3", "https://b.example", "/srv/c,d", "./e", "file:///f,g", "~/h"


@pytest.mark.parametrize(
    ("text", "items"),
    [
        pytest.param(", ".join(URLS), URLS, id="white space"),
        pytest.param(",".join(URLS[1:]), URLS[1:], id="none"),
        pytest.param(
            "https://a.example/?sig=1,https://b.example,/c",
            ("https://a.example/?sig=1", *URLS[1:2], "/c"),
            id="a query ends with the next URL",
        ),
        pytest.param("https://bob:s3,,cret@a.example", ("https://bob:s3,,cret@a.example",), id="two in a password"),
        pytest.param(" https://a.example , , /b ,", ("https://a.example", "/b"), id="nothing between"),
        pytest.param("one, two", ("one", "two"), id="relative paths"),
    ],
)
def test_a_comma_separates_where_something_begins(text: str, items: Tuple[str, ...]) -> None:
    """A password and a query may hold one, and so may a path."""
    expected = tuple(item if "://" in item else os.path.join(_HERE, os.path.expanduser(item)) for item in items)

    assert _given("mirror", text).mirror == expected


@pytest.mark.parametrize(
    ("key", "raw", "complaint"),
    [
        ("mirror", "https:/bob:s3cret@m.example/x", "a URL or a path, found 'https:/***@m.example/x'"),
        ("mirror", "https//bob:s3cret@m.example/x", "a URL or a path, found 'https//***@m.example/x'"),
        ("mirror", "bob:s3,cret@m.example/x", "a URL or a path, found '***@m.example/x'"),
        ("mirror", ["/a", "s3cret@m.example/x"], "a URL or a path, found '***@m.example/x'"),
        ("mirror", "//bob:s3cret@m.example/x", "a URL or a path, found '//***@m.example/x'"),
        ("mirror", "https:/m.example/x?sig=s3cret", "a URL or a path, found 'https:/m.example/x?***'"),
        ("catalog", "m.example/x?sig=s3cret", "a URL or a path, found 'm.example/x?***'"),
        ("mirror", "1http://bob:s3cret@m.example/x", "a URL or a path, found '1http://m.example/x'"),
        ("catalog", "bob:s3cret@m.example/SHA256SUMS", "a URL or a path, found '***@m.example/SHA256SUMS'"),
        ("cache-dir", "https://bob:s3cret@m.example/x", "a path, found 'https://m.example/x'"),
        ("cache-dir", "bob:s3cret@m.example/x", "a path, found '***@m.example/x'"),
        ("shared-caches", "/a:https://bob:s3cret@m.example", "a path, found '/a:https://m.example'"),
        ("sbom", "https://m.example/?sig=s3cret", "a path, found 'https://m.example/'"),
        ("python", "https://bob:s3cret@m.example", "no URL, found 'https://m.example'"),
        ("retries", "https://bob:s3cret@m.example", "no URL, found 'https://m.example'"),
        ("installer", "https://bob:s3cret@m.example", "no URL, found 'https://m.example'"),
        ("offline", "bob:s3cret@m.example", "no URL, found '***@m.example'"),
    ],
)
def test_an_address_in_the_wrong_place_or_form_is_refused(key: str, raw: Any, complaint: str) -> None:
    """As a path, or in the message about another kind, its password would be shown."""
    with pytest.raises(UsageError) as caught:
        _given(key, raw)

    assert caught.value.message == f"config setting provision-backend.{key} must be {complaint}"


def test_variables_with_passwords_are_known() -> None:
    """The real backend does not get these."""
    environ = {
        "PROVISION_BACKEND_MIRROR": "https://m.example, https://s3cret@m.example",
        "PROVISION_BACKEND_CATALOG": "https://m.example?sig=s3cret",
        "PROVISION_BACKEND_CACHE_DIR": "/cache",
        "OTHER": "https://s3cret@m.example",
    }

    assert secret_variables(environ) == ["PROVISION_BACKEND_MIRROR", "PROVISION_BACKEND_CATALOG"]


class TestFolders:
    """Relative paths mean the folder that the frontend was started in, in every process."""

    @pytest.mark.parametrize(
        ("key", "raw", "value"),
        [
            ("cache-dir", "c", "/start/c"),
            ("shared-caches", "a:/b", ("/start/a", "/b")),
            ("mirror", "m,/n, file:///o, https://p.example", ("/start/m", "/n", "file:///o", "https://p.example")),
            ("catalog", "m/SHA256SUMS", "/start/m/SHA256SUMS"),
            ("catalog", "https://m.example", "https://m.example"),
            ("sbom", "s", "/start/s"),
            ("sbom", "beside", "beside"),
            ("sbom", "wheel", "wheel"),
            ("sbom", "./wheel", "/start/./wheel"),
            ("python", "bin/python3", "/start/bin/python3"),
            ("python", "3.13", "3.13"),
            ("target", "x", "x"),
        ],
    )
    def test_each_kind_of_path(self, key: str, raw: str, value: Any) -> None:
        """What is no path stays as it is."""
        settings = load_settings({PREFIX + key: raw}, environ=_NOTHING, folder="/start")

        assert getattr(settings, key.replace("-", "_")) == value

    def test_variables_for_other_processes(self) -> None:
        """They have the same meaning in every folder; what other places say is not among them."""
        environ = {
            **_NOTHING,
            "PROVISION_BACKEND_MIRROR": "m,https://a.example/?x=1,2, /n",
            "PROVISION_BACKEND_SHARED_CACHES": "a:/b",
            "PROVISION_BACKEND_PYTHON": "3.13",
            "PROVISION_BACKEND_RETRIES": "1",
        }
        settings = load_settings({PREFIX + "cache-dir": "c"}, environ=environ, folder="/start")

        assert settings.variables() == {
            "PROVISION_BACKEND_MIRROR": "/start/m, https://a.example/?x=1,2, /n",
            "PROVISION_BACKEND_SHARED_CACHES": "/start/a:/b",
            "PROVISION_BACKEND_PYTHON": "3.13",
        }
        again = load_settings(environ={**_NOTHING, **settings.variables()}, folder="/elsewhere")
        assert (again.mirror, again.shared_caches) == (settings.mirror, settings.shared_caches)


class TestFiles:
    """``config.toml`` of the user and of the machine."""

    @pytest.fixture
    def environ(self, tmp_path: Path) -> Dict[str, str]:
        """Name folders for both files."""
        for name in ("user", "machine"):
            (tmp_path / name / "provision-backend").mkdir(parents=True)
        return {
            "XDG_CONFIG_HOME": str(tmp_path / "user"),
            "XDG_CONFIG_DIRS": f"relative:{tmp_path}/none:{tmp_path}/machine",
        }

    @staticmethod
    def write(environ: Dict[str, str], text: str, *, machine: bool = False) -> Path:
        """Write one of the two files and return its path."""
        base = environ["XDG_CONFIG_DIRS"].rpartition(":")[2] if machine else environ["XDG_CONFIG_HOME"]
        path = Path(base, "provision-backend", "config.toml")
        path.write_text(text, encoding="utf-8")
        return path

    def test_every_key_can_stand_there(self, environ: Dict[str, str]) -> None:
        """Values have the types of TOML, or are texts as in a variable; relative paths start at the file."""
        path = self.write(
            environ,
            'mirror = ["https://a.example/x,/y", "m"]\noffline = true\nretries = 5\nread-timeout = 1.5\n'
            'shared-caches = "/a:b"\npython = "3.13"\nsbom = "beside"\ncatalog = "c"\n',
        )
        settings = load_settings(environ=environ, folder="/elsewhere")
        folder = str(path.parent)

        assert settings[:-1] == Settings(
            python="3.13", shared_caches=("/a", f"{folder}/b"), mirror=("https://a.example/x,/y", f"{folder}/m"),
            catalog=f"{folder}/c", offline=True, sbom="beside", read_timeout=1.5, retries=5,
        )[:-1]  # fmt: skip
        assert settings.origin("retries") == f"retries in {path}"

    def test_the_order_of_places(self, environ: Dict[str, str]) -> None:
        """A variable comes first, then the user, the machine, and the project; a value that is empty counts, too."""
        user = self.write(environ, 'offline = false\ninstaller = "uv"\nmirror = []\nretries = 1\n')
        machine = self.write(environ, 'offline = true\nmirror = ["/m"]\npreference = "system"\n', machine=True)
        environ["PROVISION_BACKEND_RETRIES"] = "2"
        settings = load_settings(environ=environ, project={"installer": "pip"})

        assert (settings.offline, settings.mirror, settings.installer, settings.retries) == (False, (), "uv", 2)
        assert settings.origin("preference") == f"preference in {machine}"
        assert settings.origin("offline") == f"offline in {user}"
        assert settings.origin("retries") == "PROVISION_BACKEND_RETRIES"

    def test_another_file_instead(self, environ: Dict[str, str], tmp_path: Path) -> None:
        """The variable names it, in the folder of the frontend where it is relative; both others are not read."""
        self.write(environ, "retries = 1\n")
        self.write(environ, "offline = true\n", machine=True)
        (tmp_path / "other.toml").write_text("read-timeout = 5\n")
        environ[CONFIG_FILE] = "other.toml"
        settings = load_settings(environ=environ, folder=str(tmp_path))

        assert settings == Settings(
            read_timeout=5.0, origins=(("read-timeout", f"read-timeout in {tmp_path}/other.toml"),)
        )

    @pytest.mark.parametrize(
        ("name", "value", "retries"),
        [
            (NO_CONFIG, "1", 3),
            (NO_CONFIG, "true", 3),
            (NO_CONFIG, "0", 1),
            (NO_CONFIG, "", 1),
            (CONFIG_FILE, os.devnull, 3),
        ],
    )
    def test_no_file(self, environ: Dict[str, str], name: str, value: str, retries: int) -> None:
        """A variable turns them off."""
        self.write(environ, "retries = 1\n")

        assert load_settings(environ={**environ, name: value}).retries == retries

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("miror = []", "{path}: unknown key 'miror'\n  did you mean 'mirror'?"),
            (
                "retries = 1\nmirror = nowhere",
                "the configuration file {path} is not valid TOML: Invalid value (at line 2, column 10)",
            ),
            (
                "retries = 1\nmirror = [",
                "the configuration file {path} is not valid TOML: Invalid value (at the end, line 2)",
            ),
            (
                "\ufeffretries = 1",
                "the configuration file {path} is not valid TOML: it begins with a byte order mark; "
                "save it as UTF-8 without one",
            ),
            ("a = " + "[" * 5000, "the configuration file {path} is not valid TOML: it is nested too deeply"),
            ("retries = -1", "retries in {path} must be a whole number, 0 or more, found '-1'"),
            ("python = 3.13", "python in {path} must be one string, found float"),
            ("mirror = 2026-01-01", "mirror in {path} must be a string or a list of strings"),
            (
                'cache-dir = "https://bob:s3cret@m.example"',
                "cache-dir in {path} must be a path, found 'https://m.example'",
            ),
        ],
        ids=["unknown", "TOML", "unfinished", "byte order mark", "deep", "value", "type", "date", "URL"],
    )
    def test_what_is_wrong_is_said(self, environ: Dict[str, str], text: str, complaint: str) -> None:
        """The message names the file, and where in it."""
        path = self.write(environ, text)
        with pytest.raises(UsageError) as caught:
            load_settings(environ=environ)

        assert str(caught.value) == complaint.format(path=path)

    def test_what_is_no_file_of_text_is_said(self, environ: Dict[str, str], tmp_path: Path) -> None:
        """Nothing is waited for, and no byte is guessed."""
        path = self.write(environ, "")
        path.write_bytes(b"\xff")
        with pytest.raises(UsageError, match=r"config.toml is not UTF-8: byte 0$"):
            load_settings(environ=environ)
        path.unlink()
        os.mkfifo(str(path))
        with pytest.raises(UsageError, match=r"config.toml is not a file$"):
            load_settings(environ=environ)
        with pytest.raises(UsageError) as caught:
            load_settings(environ={CONFIG_FILE: f"{tmp_path}/none"})

        assert str(caught.value) == (
            f"the configuration file {tmp_path}/none, which PROVISION_BACKEND_CONFIG_FILE names, cannot be read: "
            "No such file or directory"
        )

    def test_a_file_that_others_may_write_is_refused(self, environ: Dict[str, str]) -> None:
        """Whoever can write there could name a mirror and a catalog, and so what is run."""
        path = self.write(environ, "retries = 1\n")
        path.chmod(0o666)
        with pytest.raises(CacheError) as caught:
            load_settings(environ=environ)

        assert caught.value.message == f"{path} is not trusted: everybody can write to {path}"
        assert caught.value.hint.splitlines()[-1] == "or read no configuration file: PROVISION_BACKEND_NO_CONFIG=1"
        path.chmod(0o644)
        path.parent.chmod(0o777)
        with pytest.raises(CacheError, match=f"everybody can write to {path.parent}\n"):
            load_settings(environ=environ)

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
    def test_the_file_of_another_user_is_refused(self, environ: Dict[str, str]) -> None:
        """Root with the home directory of a user does not believe it; a file that is named is somebody's choice."""
        path = self.write(environ, "retries = 1\n")
        os.chown(str(path), 64001, 64001)
        with pytest.raises(CacheError, match=r"config.toml is not trusted: it belongs to user 64001, not to "):
            load_settings(environ=environ)

        assert load_settings(environ={CONFIG_FILE: str(path)}).retries == 1
