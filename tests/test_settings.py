from __future__ import annotations

import pytest
from pydantic import ValidationError

from querywright import AsyncDatabase, ConfigurationError, Database, DatabaseSettings

URL = "postgresql+asyncpg://user:s3cret@localhost/app"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "QUERYWRIGHT_URL", "QUERYWRIGHT_POOL_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", ["DATABASE_URL", "QUERYWRIGHT_URL"])
def test_from_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, URL)
    monkeypatch.setenv("QUERYWRIGHT_POOL_SIZE", "7")
    settings = DatabaseSettings()
    assert settings.url.get_secret_value() == URL
    assert settings.pool_size == 7
    assert Database_repr(AsyncDatabase()) == "AsyncDatabase(postgresql+asyncpg://user:***@localhost/app)"


def Database_repr(db: object) -> str:  # noqa: N802 - reads as what it is
    return repr(db)


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    monkeypatch.setenv("QUERYWRIGHT_POOL_SIZE", "7")
    settings = DatabaseSettings(url=URL, pool_size=3)
    assert settings.url.get_secret_value() == URL
    assert settings.pool_size == 3


def test_options_of_a_database_win_over_its_settings() -> None:
    settings = DatabaseSettings(url=URL, pool_size=3, max_overflow=4)
    changed = AsyncDatabase(settings, pool_size=5).settings
    assert (changed.pool_size, changed.max_overflow) == (5, 4)
    assert settings.pool_size == 3


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        DatabaseSettings(url=URL).pool_size = 1


def test_the_password_is_never_printed() -> None:
    settings = DatabaseSettings(url=URL)
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_bad_value_names_its_variable_and_an_example() -> None:
    with pytest.raises(ConfigurationError) as caught:
        DatabaseSettings(url=URL, pool_size="many", pool_timeout=0)
    message = str(caught.value)
    assert "QUERYWRIGHT_POOL_SIZE: input should be a valid integer" in message
    assert "for example 10" in message
    assert "QUERYWRIGHT_POOL_TIMEOUT: input should be greater than 0; for example 5" in message
    assert "many" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_missing_url_names_both_variables() -> None:
    with pytest.raises(ConfigurationError, match=r"QUERYWRIGHT_URL \(or DATABASE_URL\): is missing; for example postg"):
        Database()


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'poolsize' is not a setting; the settings are url, pool_size"):
        Database("sqlite+pysqlite://", poolsize=3)


def test_empty_variables_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("QUERYWRIGHT_POOL_SIZE", "")
    assert DatabaseSettings().pool_size == 5


def test_a_secret_that_could_be_guessed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        DatabaseSettings(url="sqlite://", cursor_secret="hunter2")  # noqa: S106 - it is refused
    assert "QUERYWRIGHT_CURSOR_SECRET: has less than 16 characters" in str(caught.value)
    assert "secrets.token_urlsafe(32)" in str(caught.value)
    assert "hunter2" not in str(caught.value)
