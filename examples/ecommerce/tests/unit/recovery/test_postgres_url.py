"""The URL that PostgreSQL's programs are given: where the database is, and no secret."""

import pytest
from prodkit.errors import ConfigurationError, UnavailableError

from ecommerce.recovery.postgres_url import (
    PostgresUrl,
    finish,
    program,
    start,
)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://u:s3cret@h:1/shop", "postgresql://u@h:1/shop"),
        ("postgres://h/shop", "postgresql://h/shop"),
        ("postgresql+asyncpg://u:s3%40cret@h/a%20b", "postgresql://u@h/a%20b"),
        (
            "postgresql://u:s3cret@h:1,g:2/shop?search_path=x&sslmode=require",
            "postgresql://u@h:1,g:2/shop?sslmode=require&target_session_attrs=read-write",
        ),
    ],
)
def test_the_password_is_in_no_argument(given, shown):
    url = PostgresUrl(given)
    assert url.shown == repr(url) == shown


def test_the_password_is_in_the_environment(monkeypatch):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    assert PostgresUrl("postgresql://u:s3%40:cret@h/d").environment["PGPASSWORD"] == "s3@:cret"
    assert "PGPASSWORD" not in PostgresUrl("postgresql://u@h/d").environment


def test_another_database_beside_it():
    url = PostgresUrl("postgresql://u:p@h:1,g:2/shop?sslmode=require")
    assert url.to("a/b").url == "postgresql://u:p@h:1,g:2/a%2Fb?sslmode=require"
    assert url.to("a/b").database == "a/b"


def test_a_program_that_is_not_there_says_what_to_install():
    with pytest.raises(ConfigurationError, match="no-such-thing is not installed; on Debian"):
        program("no-such-thing")


def test_a_program_that_fails_says_why_and_no_secret():
    url = PostgresUrl("postgresql://u:s3cret@127.0.0.1:1/shop")
    with pytest.raises(UnavailableError, match=r"pg_dump failed: .*refused") as failed:
        finish(start(["pg_dump"], url))
    assert "s3cret" not in str(failed.value)
