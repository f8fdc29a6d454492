import os

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from prodkit.service.mistyped import mistyped
from prodkit.service.settings import ServiceSettings, SettingsError, read_settings

KNOWN = ("database_url", "redis_url", "port", "grpc_port", "log_level", "keys_dir", "smtp_port")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SHOP_DATABSE_URL", "SHOP_DATABASE_URL"),
        ("SHOP_DATABASE_URI", "SHOP_DATABASE_URL"),
        ("shop_databaseurl", "SHOP_DATABASE_URL"),
        ("SHOP_REDIS_URI", "SHOP_REDIS_URL"),
        ("SHOP_GRPC_PROT", "SHOP_GRPC_PORT"),
        ("SHOP_LOG_LEVL__X", "SHOP_LOG_LEVEL"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(variable, meant):
    (line,) = mistyped("SHOP_", KNOWN, {variable: "hush"})
    assert line == f"environment variable {variable}: no such setting, is it {meant}?"


@pytest.mark.parametrize(
    "variable",
    [
        "SHOP_DATABASE_URL",
        "shop_database_url",
        "SHOP_DATABASE_URL__HOST",
        "SHOP_DATABASE_PORT",
        "SHOP_REDIS_SERVICE_HOST",
        "SHOP_SERVICE_PORT",
        "SHOP_PORT_8080_TCP",
        "SHOP_PORT_8080_TCP_PORT",
        "SHOP_V2_DATABASE_URL",
        "SHOP_",
        "OTHER_DATABSE_URL",
        "DATABSE_URL",
    ],
)
def test_what_is_somebody_elses_is_let_be(variable):
    assert mistyped("SHOP_", KNOWN, {variable: "x"}) == []
    assert mistyped("", KNOWN, {variable: "x"}) == []


class Shop(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="MISTYPED_")

    database_url: SecretStr | None = None


def test_a_process_does_not_start_on_the_default_of_what_was_mistyped(monkeypatch, tmp_path):
    for name in [n for n in os.environ if n.startswith("MISTYPED_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MISTYPED_DATABSE_URL", "postgresql://me:hush@db/shop")
    monkeypatch.setenv("MISTYPED_PORT", "many")
    with pytest.raises(SettingsError) as caught:
        read_settings(Shop, config_dir=tmp_path)
    slip, port = caught.value.problems
    assert slip.endswith("MISTYPED_DATABSE_URL: no such setting, is it MISTYPED_DATABASE_URL?")
    assert port.startswith("port: ")
    assert "hush" not in str(caught.value)
