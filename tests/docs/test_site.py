"""The site builds, strictly, and asks no other host for anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_tools"))
import assets
from blocks import DOCS, ROOT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_builds_and_asks_no_other_host():
    done = subprocess.run(
        [shutil.which("make") or "make", "docs"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    site = ROOT / "site"
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert {page for page in pages if not (site / page).exists()} == set()
    assert assets.foreign(site) == []
    assert "prodkit.policies.retry.Retry" in (site / "reference/policies.html").read_text("utf-8")
