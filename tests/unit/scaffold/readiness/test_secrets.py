"""Secrets that production would take from the source, and settings that it has no file for."""

from __future__ import annotations

import pytest

from prodkit.scaffold.readiness import check

OURS = (
    "from prodkit.service.settings import ServiceSettings, load_settings\n"
    "from pydantic import Field, SecretBytes, SecretStr, field_validator\n"
    "class Settings(ServiceSettings):\n"
)
PLAIN = (
    "from pydantic import SecretStr, model_validator\nfrom pydantic_settings import BaseSettings\n"
    "class Settings(BaseSettings):\n"
)
URL = "'postgresql://shop:hunter2@db/shop'"

FOUND = [
    OURS + "    smtp_password: str = 'hunter2'",
    OURS + "    smtp_password: str | None = 'hunter2'",
    OURS + "    apiKey: str = Field('hunter2', description='x')",
    OURS + "    token: str = Field(default='hunter2')",
    OURS + f"    database_url: str = {URL}",
    OURS + "    seed: SecretBytes = SecretBytes(b'hunter2')",
    PLAIN + "    secret: SecretStr = SecretStr('hunter2')",
    PLAIN + "    password: str = 'hunter2'",
    PLAIN + f"    url: str = {URL}",
]

LEFT = [
    OURS + "    webhook_secret: SecretStr = Field(SecretStr('demo'))",  # production insists
    OURS + "    token: SecretStr | None = None",
    OURS + "    password: str",
    OURS + "    _default_password: str = 'x'",
    OURS + "    password: str = ''",
    OURS + "    password: str = made_up()",
    OURS + "    password_length: int = 12",
    OURS + "    token_url: str = 'https://id/token'",
    OURS + "    signing_secret: str = '/run/secrets/signing'",
    OURS + "    eos_token: str = 'END'",
    OURS + "    csrf_token: str = 'x-csrf-token'",
    OURS + "    url: str = 'postgresql://db/shop'",
    OURS + "    url: str = 'postgresql://shop:${PASSWORD}@db/shop'",
    OURS + f"    url: SecretStr = SecretStr({URL})",
    OURS + "    token: str = 'x'\n\n    @field_validator('token')\n    @classmethod\n"
    "    def _refuse(cls, value): ...",
    PLAIN + "    secret: SecretStr",
    PLAIN + "    secret: str = 'x'\n\n    @model_validator(mode='after')\n    def _refuse(self):\n"
    "        check(self.secret)",
    PLAIN.replace("class Settings", "class TestSettings") + "    secret: str = 'x'",
    "class Settings:\n    password: str = 'x'",
]


@pytest.mark.parametrize("text", FOUND)
def test_a_secret_with_a_default_that_production_would_take_is_found(found, text):
    assert found(text) == [("plain-secret", 4)]


@pytest.mark.parametrize("text", LEFT)
def test_what_is_no_such_secret_is_left_in_peace(found, text):
    assert found(text) == []


@pytest.mark.parametrize("base", ["from base import Base", "from .base import Base"])
def test_a_class_is_known_through_its_bases_in_other_files(found, base):
    files = {
        "src/shop/base.py": "from prodkit.service.settings import ServiceSettings as S\n"
        "class Base(S): ...",
        "src/shop/settings.py": f"{base.replace('from base', 'from shop.base')}\n"
        "class Settings(Base):\n    password: str = 'x'",
    }
    assert found(files) == [("plain-secret", 3)]


FILES = {
    "app.py": OURS + "    seed: SecretStr = SecretStr('demo')\n\nload_settings(Settings)",
    "config/default.yaml": "port: 80\n",
}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("host: 0.0.0.0\nseed: hunter2\n", [2]),
        ("admin_token: 12345\n", [1]),
        ("smtp:\n  # sent by us\n  password: hunter2\n", [3]),
        (f"database_url: {URL}\n", [1]),
        ("host: 0.0.0.0\nseed:\npassword: ''\ntoken: ${TOKEN}\n", []),
        ("seed: x # prodkit: ignore[secret-in-file] it is everybody's\n", []),
    ],
)
def test_a_secret_in_the_file_of_production_is_found(found, text, lines):
    found_there = found(FILES | {"config/production.yaml": text})
    assert found_there == [("secret-in-file", line) for line in lines]


def test_a_drain_without_time_and_a_debug_mode_are_found_in_the_file_of_production(found):
    text = "drain_timeout: 0\ndebug: yes\nlog_level: debug\n"
    assert found(FILES | {"config/production.yaml": text}) == [("no-drain", 1), ("debug", 2)]
    assert found(FILES | {"config/production.yaml": "x: 1", "config/demo.yaml": text}) == []


def test_files_for_other_environments_want_one_for_production(found):
    assert found(FILES) == [("production-settings", 3)]
    assert found(FILES | {"config/production.yaml": ""}) == []


def test_settings_that_all_come_from_variables_need_no_file(found):
    assert found({"app.py": FILES["app.py"]}) == []


def test_a_file_that_cannot_be_read_is_there_all_the_same(project):
    report = check(project(FILES | {"config/production.yaml": "a: ["}))
    assert [each.path for each in report.unread] == ["config/production.yaml"]
    assert report.findings == ()
