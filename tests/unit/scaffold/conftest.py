from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from merging import Workshop


@pytest.fixture
def shop(tmp_path, monkeypatch):
    return Workshop(tmp_path, monkeypatch)
