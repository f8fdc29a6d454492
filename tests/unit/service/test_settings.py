import os
import subprocess
import sys
import textwrap

import pytest
from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from prodkit.service.settings import ServiceSettings, SettingsError, load_settings, read_settings


class Database(BaseModel, extra="forbid"):
    url: str = "sqlite:///shop.db"
    password: SecretStr = SecretStr("development-only")


class ShopSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_")

    database: Database = Database()
    origins: list[str] = Field(default_factory=list)
    signing_key: SecretStr = SecretStr("development-only")
    sms_token: SecretStr | None = None


class StrictSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="STRICT_")

    api_key: SecretStr


@pytest.fixture
def config(tmp_path, monkeypatch):
    for name in [n for n in os.environ if n.startswith(("SHOP_", "STRICT_"))]:
        monkeypatch.delenv(name)

    def write(**files):
        for name, text in files.items():
            data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
            (tmp_path / f"{name}.yaml").write_bytes(data)
        return tmp_path

    return write


def problems(directory, cls=ShopSettings):
    with pytest.raises(SettingsError) as caught:
        read_settings(cls, config_dir=directory)
    return caught.value.problems


def test_layers_default_file_environment_file_environment_variable(config, monkeypatch):
    directory = config(
        default="{port: 1001, admin_port: 1002, log_level: debug, database: {url: a}}",
        test="{admin_port: 2002, log_level: warning}",
        production="{port: 9}",
    )
    monkeypatch.setenv("SHOP_ENVIRONMENT", "test")
    monkeypatch.setenv("SHOP_LOG_LEVEL", "error")
    monkeypatch.setenv("SHOP_DATABASE__PASSWORD", "from-env")
    settings = read_settings(ShopSettings, config_dir=directory)
    assert (settings.host, settings.port, settings.admin_port) == ("127.0.0.1", 1001, 2002)
    assert settings.log_level == "error"
    assert settings.database.url == "a"
    assert settings.database.password.get_secret_value() == "from-env"


def test_the_default_file_may_choose_the_environment(config):
    directory = config(default="environment: test", test="port: 7")
    assert read_settings(ShopSettings, config_dir=directory).port == 7


def test_no_files_are_no_fault(tmp_path, monkeypatch):
    assert read_settings(ShopSettings, config_dir=tmp_path).port == 8080
    monkeypatch.chdir(tmp_path)
    assert read_settings(ShopSettings).port == 8080


def test_a_folder_that_is_named_and_not_there_is_a_fault(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no folder .*/none"):
        read_settings(ShopSettings, config_dir=tmp_path / "none")


def test_built_directly_it_reads_no_environment(monkeypatch):
    monkeypatch.setenv("SHOP_PORT", "1")
    assert ShopSettings().port == 8080


def test_a_wrong_value_names_key_file_and_what_is_allowed(config):
    directory = config(default="port: 1", test="port: 99999")
    (directory / "default.yaml").write_text("{environment: test, log_level: loud}")
    port, level = sorted(problems(directory), reverse=True)
    assert port == (
        f"port: Input should be less than or equal to 65535 (from {directory / 'test.yaml'})"
    )
    assert level == (
        "log_level: Input should be 'debug', 'info', 'warning' or 'error' "
        f"(from {directory / 'default.yaml'})"
    )


def test_a_wrong_variable_is_named(config, monkeypatch):
    monkeypatch.setenv("SHOP_PORT", "eighty")
    (problem,) = problems(config())
    assert problem.startswith("port: Input should be a valid integer")
    assert problem.endswith("(from environment variable SHOP_PORT)")


def test_text_that_is_no_json_is_a_wrong_value_like_any_other(config, monkeypatch):
    monkeypatch.setenv("SHOP_ORIGINS", "a,b")
    (problem,) = problems(config())
    assert problem == (
        "origins: Input should be a valid list (from environment variable SHOP_ORIGINS)"
    )


def test_json_lists_come_from_the_environment(config, monkeypatch):
    monkeypatch.setenv("SHOP_ORIGINS", '["https://shop.example"]')
    assert read_settings(ShopSettings, config_dir=config()).origins == ["https://shop.example"]


def test_unknown_keys_are_errors_and_the_near_one_is_named(config):
    directory = config(default="{prot: 1, database: {pasword: x}}")
    nested, top = sorted(problems(directory))
    assert nested.startswith("database.pasword: no such key, did you mean password?")
    assert top.startswith("prot: no such key, did you mean port?")


def test_an_unknown_environment_names_the_four_and_opens_no_file(config, monkeypatch):
    directory = config(default="port: 1")
    (directory.parent / "secret.yaml").write_text("nonsense: 1")
    monkeypatch.setenv("SHOP_ENVIRONMENT", "../secret")
    (problem,) = problems(directory)
    assert "'demo', 'development', 'test' or 'production'" in problem
    assert "SHOP_ENVIRONMENT" in problem


def test_values_are_never_shown(config, monkeypatch):
    monkeypatch.setenv("SHOP_SIGNING_KEY", '["hunter2"]')
    monkeypatch.setenv("SHOP_PORT", "hunter2")
    directory = config(default="{database: {pasword: hunter2}, log_level: hunter2}")
    text = "\n".join(problems(directory))
    assert "port" in text
    assert "hunter2" not in text


def test_production_refuses_default_secrets_and_names_the_variables(config, monkeypatch):
    monkeypatch.setenv("SHOP_ENVIRONMENT", "production")
    assert set(problems(config())) == {
        "signing_key: a secret has no default in production; set SHOP_SIGNING_KEY",
        "database.password: a secret has no default in production; set SHOP_DATABASE__PASSWORD",
    }


def test_production_refuses_secrets_in_files(config, monkeypatch):
    monkeypatch.setenv("SHOP_ENVIRONMENT", "production")
    monkeypatch.setenv("SHOP_SIGNING_KEY", "x")
    directory = config(production="database: {password: hunter2}")
    (problem,) = problems(directory)
    assert problem == (
        f"database.password: a secret does not belong in {directory / 'production.yaml'}; "
        "set SHOP_DATABASE__PASSWORD"
    )


def test_production_starts_when_every_secret_is_given(config, monkeypatch):
    monkeypatch.setenv("SHOP_ENVIRONMENT", "production")
    monkeypatch.setenv("SHOP_SIGNING_KEY", "x")
    monkeypatch.setenv("SHOP_DATABASE__PASSWORD", "y")
    settings = read_settings(ShopSettings, config_dir=config())
    assert settings.sms_token is None
    assert "x" not in repr(settings.signing_key)


def test_a_required_secret_names_its_variable_everywhere(config):
    assert problems(config(), StrictSettings) == (
        "api_key: required and not set; set STRICT_API_KEY",
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "shop.example"])
def test_the_demo_binds_loopback_only(config, host):
    (problem,) = problems(config(default=f"{{environment: demo, host: '{host}'}}"))
    assert problem == "host: the demo has known passwords, so it binds 127.0.0.1"
    assert ShopSettings(environment="demo", host="::1").host == "::1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "line 1: not YAML"),
        (b"a: \xff", "default.yaml: not YAML"),
        ("- a", "must be a mapping"),
    ],
)
def test_files_that_are_no_mapping_are_named(config, text, said):
    directory = config(default=text)
    (problem,) = problems(directory)
    assert problem.startswith(str(directory / "default.yaml"))
    assert said in problem


def test_load_settings_prints_and_exits_with_2(config, capsys):
    with pytest.raises(SystemExit) as caught:
        load_settings(ShopSettings, config_dir=config(default="port: -1"))
    assert caught.value.code == 2
    assert "port: Input should be greater than or equal to 0" in capsys.readouterr().err


def test_a_process_exits_with_2_without_a_traceback(config):
    program = (
        "from prodkit.service.settings import ServiceSettings, load_settings\n"
        "load_settings(ServiceSettings, config_dir='.')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=config(default="port: many"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "default.yaml" in done.stderr
