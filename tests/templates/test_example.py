"""examples/ecommerce is what the templates make, byte for byte."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import example

from prodkit.scaffold import record

#: Names that stay in every shop: of metrics, as dashboards know them, and of tests.
KEPT = re.compile(r"\b(test_)?ecommerce_\w+")
GENERATED = example.generated()
PRESENT = example.present()


def test_the_shop_is_what_the_templates_make():
    wrong = [path for path, file in PRESENT.items() if GENERATED.get(path) != file]
    assert wrong == [], "edit templates/, then `make example`"
    assert sorted(GENERATED.keys() - PRESENT.keys()) == [], "`make example` writes them"


def test_it_is_recorded_with_every_file():
    lock = record.read_lock(example.SHOP)
    assert lock.keys() == PRESENT.keys() - {record.RECORD, record.LOCK}
    for path, blob in lock.items():
        assert record.blob_id(PRESENT[path].content) == blob


@pytest.mark.parametrize("name", ["other", "a-shop-with-a-name-of-forty-characters-x"])
def test_under_another_name_nothing_says_the_first_one(name):
    files = example.generated(name)
    assert len(files) == len(GENERATED)
    for path, file in files.items():
        assert "ecommerce" not in path
        if path not in {record.RECORD, record.LOCK}:
            assert "ecommerce" not in KEPT.sub("", file.content.decode()), path
