"""Where Redis is, from the environment."""

from pathlib import Path

import pytest

from hive_runtime.errors import SettingsError
from hive_runtime.redis_url import RedisAddress, address_from_environment


def test_the_address_comes_with_user_and_password(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    environ = {"HIVE_REDIS_URL": "unix:///r", "HIVE_REDIS_USER": "ada", "HIVE_REDIS_PASSWORD_FILE": str(secret)}
    address = address_from_environment(environ)
    assert address == RedisAddress("unix:///r", "ada", password_file=secret, client_name="ada")
    assert "s3cret" not in repr(address)
    assert secret.exists()


def test_a_password_to_be_read_once_is_gone_afterwards(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret")
    environ = {"HIVE_REDIS_URL": "unix:///r", "HIVE_REDIS_PASSWORD_FILE": str(secret)}
    assert address_from_environment(environ, once=True).password == "s3cret"
    assert not secret.exists()
    with pytest.raises(SettingsError, match=f"cannot read the Redis password file {secret}"):
        address_from_environment(environ, once=True)


def test_no_address_is_a_sentence_that_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="HIVE_REDIS_URL is not set"):
        address_from_environment({})


@pytest.mark.parametrize("url", ["localhost:6379", "http://x", "redis//x", " "])
def test_an_address_of_no_known_form_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="HIVE_REDIS_URL"):
        address_from_environment({"HIVE_REDIS_URL": url})


def test_a_server_without_a_user_needs_none() -> None:
    assert address_from_environment({"HIVE_REDIS_URL": "redis://h:1/0"}) == RedisAddress("redis://h:1/0")


@pytest.mark.parametrize(
    ("url", "number"),
    [
        ("redis://host", 0),
        ("redis://host:6379/", 0),
        ("rediss://host:6379/3", 3),
        ("redis://host/3?db=4", 4),
        ("unix:///run/7/redis.sock", 0),
        ("unix:///run/redis.sock?db=2", 2),
    ],
)
def test_the_database_is_what_the_url_names(url: str, number: int) -> None:
    assert RedisAddress(url).database == number


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("sentinel://one:26379,two:26380/hive", [("one", 26379), ("two", 26380)]),
        ("sentinel://one,two/hive?db=2", [("one", 26379), ("two", 26379)]),
        ("redis://one:1/0", []),
    ],
)
def test_sentinels_are_named_with_their_ports(url: str, places: list[tuple[str, int]]) -> None:
    address = RedisAddress(url)
    assert address.sentinels == places
    assert not places or address.service == "hive"
