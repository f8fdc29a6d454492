import pytest
from prodkit.errors import ConfigurationError
from pydantic import ValidationError

from ecommerce.settings import ShopSettings


def test_the_data_folder_is_made(tmp_path):
    folder = tmp_path / "deep" / "var"
    assert ShopSettings(data_dir=folder).make_data_dir() == folder
    assert folder.is_dir()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path):
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(ConfigurationError, match=f"data_dir: .*{taken}"):
        ShopSettings(data_dir=taken).make_data_dir()


def test_stock_is_not_held_for_ever():
    with pytest.raises(ValidationError, match="reservation_lifetime"):
        ShopSettings(reservation_lifetime=float("inf"))
