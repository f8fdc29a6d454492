"""What the tests of recovery may ask for."""

import asyncio
import sys
from pathlib import Path

import pytest

from ecommerce.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from shop_files import Quiet, fill


@pytest.fixture
def progress():
    return Quiet()


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "var", port=0, admin_port=0)


@pytest.fixture
def shop(settings):
    """The settings of a shop that has run, and was stopped."""
    settings.make_data_dir()
    asyncio.run(fill(settings))
    return settings
