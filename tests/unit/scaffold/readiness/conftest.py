"""Projects as small as a rule needs, and what the check finds in them."""

from __future__ import annotations

from textwrap import dedent

import pytest

from prodkit.scaffold.readiness import check


@pytest.fixture
def project(tmp_path):
    """Write files by their paths; return the folder."""

    def write(files):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text))
        return tmp_path

    return write


@pytest.fixture
def found(project):
    """Return the rules and lines of what is found in Python by itself, or in several files."""

    def find(files, **options):
        files = {"app.py": files} if isinstance(files, str) else files
        report = check(project(files), **options)
        assert report.unread == ()
        return [(each.rule, each.line) for each in report.findings]

    return find
