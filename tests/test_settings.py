"""Settings: which place wins, what each kind accepts, and the exact message for the rest."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Mapping

import pytest

from provision_backend.errors import UsageError
from provision_backend.settings import OPTIONS, PREFIX, Settings, load_settings, strip_settings

_NOTHING: Dict[str, str] = {}


def _given(key: str, value: Any) -> Settings:
    return load_settings({PREFIX + key: value}, environ=_NOTHING)


def test_fields_are_those_of_the_table() -> None:
    """Each option is a field of the same name, order and default, and there is no other field but the origins."""
    fields = list(Settings._field_defaults.items())

    assert [(option.attribute, option.default) for option in OPTIONS] + [("origins", ())] == fields


def test_names_of_a_setting_follow_from_its_key() -> None:
    """The variable and the attribute are the key in the spelling of their place."""
    option = next(option for option in OPTIONS if option.key == "cache-dir")

    assert (option.attribute, option.variable) == ("cache_dir", "PROVISION_BACKEND_CACHE_DIR")


def test_every_option_can_be_shown_to_people() -> None:
    """Help texts are one line, and only choices have choices."""
    assert all(option.help and "\n" not in option.help for option in OPTIONS)
    assert [option.key for option in OPTIONS if option.choices] == ["cpu-level", "preference", "installer"]
    assert {option.kind for option in OPTIONS} == {
        "choice", "flag", "list", "number", "path", "paths", "seconds", "text",
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
        environ={} if variable is None else {"PROVISION_BACKEND_INSTALLER": variable},
        project={"installer": project},
        flags=None if flags is None else {"installer": flags},
    )

    assert (value, origin) == (settings.installer, settings.origin("installer"))


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        pytest.param("python", " 3.13 ", "3.13", id="text loses white space round it"),
        pytest.param("python", "~=3.13", "~=3.13", id="text"),
        pytest.param("cache-dir", "~/x y", "~/x y", id="path"),
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
        pytest.param({"environ": {"PROVISION_BACKEND_RETRIES": "x"}}, "PROVISION_BACKEND_RETRIES", id="variable"),
        pytest.param({"project": {"retries": "x"}}, "tool.provision-backend.retries", id="project"),
    ],
)
def test_a_refusal_names_the_place_of_the_value(arguments: Dict[str, Mapping[str, str]], place: str) -> None:
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


def test_keys_of_the_real_backend_are_not_looked_at() -> None:
    """Whatever has not our prefix is the real backend's."""
    foreign = {"--build-option": ["a", None], "provision-backend": "x", "mirror": 5, "provision_backend.mirror": 5}

    assert load_settings(foreign, environ=_NOTHING) == Settings()


def test_variables_of_no_option_are_not_looked_at() -> None:
    """Newer versions may have more variables than this one."""
    assert load_settings(environ={"PROVISION_BACKEND_FUTURE": "x"}) == Settings()


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
