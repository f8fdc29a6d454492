import pytest
from prodkit.errors import ConfigurationError
from prodkit.service.settings import SettingsError, read_settings
from pydantic import ValidationError

from ecommerce.engines import database
from ecommerce.peers import SERVICES
from ecommerce.platform import build
from ecommerce.settings import Settings


def test_the_data_folder_is_made(tmp_path):
    folder = tmp_path / "deep" / "var"
    assert Settings(data_dir=folder).make_data_dir() == folder
    assert folder.is_dir()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path):
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(ConfigurationError, match=f"data_dir: .*{taken}"):
        Settings(data_dir=taken).make_data_dir()


def test_stock_is_not_held_for_ever():
    with pytest.raises(ValidationError, match="reservation_lifetime"):
        Settings(reservation_lifetime=float("inf"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("database_url", "mysql://shop:s3cret@db/shop", "must be postgresql://USER:PASSWORD@HOST"),
        ("database_url", "shop.db", "must be postgresql://"),
        ("broker_url", "http://shop:s3cret@mq/shop", "begins with one of .'amqp', 'amqps'"),
        ("broker_url", "amqp://shop:s3cret@mq:many/shop", "its port is no number"),
        ("redis_url", "amqp://:s3cret@redis", "begins with one of .'redis', 'rediss'"),
        ("peers", '{"order": "127.0.0.1:7000"}', "there is no service order; known: users"),
        ("peers", '{"orders": "127.0.0.1"}', "orders: '127.0.0.1' is not HOST:PORT"),
        ("peers", "127.0.0.1:7000", "valid dictionary"),
        ("sandbox_url", "provider:8081", "must be http://HOST:PORT or https://HOST"),
        ("public_url", "http://", "must be http://HOST:PORT or https://HOST"),
        ("database_pool", "0", "greater than or equal to 1"),
        ("mesh", "http", "'local' or 'grpc'"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_no_secret(
    monkeypatch, tmp_path, name, value, said
):
    variable = f"SHOP_{name.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=said) as caught:
        read_settings(Settings, config_dir=tmp_path)
    (line,) = caught.value.problems
    assert line.startswith(f"{name}: ")
    assert line.endswith(f"(from environment variable {variable})")
    assert "s3cret" not in line


def test_what_is_empty_is_not_set(monkeypatch, tmp_path):
    for name in ("DATABASE_URL", "BROKER_URL", "REDIS_URL"):
        monkeypatch.setenv(f"SHOP_{name}", "")
    settings = read_settings(Settings, config_dir=tmp_path)
    assert (settings.database_url, settings.broker_url, settings.redis_url) == (None, None, None)
    assert settings.keys_path == settings.data_dir / "keys"


def test_secrets_are_never_shown_whole():
    url = "postgresql://shop:s3cret@db:5432/shop_{service}"
    settings = Settings(
        database_url=url, broker_url="amqp://shop:s3cret@mq/shop", redis_url="redis://:s3cret@redis"
    )
    shown = f"{settings!r} {settings} {settings.model_dump()} {database(settings, 'orders')!r}"
    assert "s3cret" not in shown
    assert "postgresql://shop@db:5432/shop_orders" in shown


def test_several_services_do_not_share_a_database(tmp_path):
    settings = Settings(data_dir=tmp_path, database_url="postgresql://shop@db:5432/shop")
    with pytest.raises(ConfigurationError, match=r"database_url: must hold \{service\}"):
        build(settings)


def test_a_service_alone_may_name_its_database_itself(tmp_path):
    settings = Settings(
        data_dir=tmp_path,
        database_url="postgresql://shop@db:5432/orders",
        mesh="grpc",
        grpc_port=7003,
        peers=dict.fromkeys({*SERVICES} - {"orders"}, "127.0.0.1:7000"),
    )
    assert build(settings, only=["orders"])
    assert "db:5432/orders" in repr(database(settings, "orders"))


def test_spans_that_cannot_be_written_are_told_before_the_start(tmp_path):
    settings = Settings(data_dir=tmp_path / "var", spans_file=tmp_path)
    with pytest.raises(ConfigurationError, match=f"spans_file: .*{tmp_path}"):
        build(settings)
