"""The page about `prodkit check`: a section a rule, whose example is found until it is mended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from blocks import DOCS, ROOT, Block, blocks_of, sections_of

from prodkit.scaffold.readiness import RULES, check

PAGE = DOCS / "how-to/check-before-production.md"
SECTIONS = sections_of(PAGE)
#: What the files of settings are read for.
SETTINGS = """from prodkit.service.settings import ServiceSettings, load_settings


class Settings(ServiceSettings):
    pass


load_settings(Settings)
"""


def examples(rule: str) -> list[Block]:
    """Return the blocks of a rule's section; of "" those before the first one."""
    lines = PAGE.read_text("utf-8").splitlines()
    heads = [number for number, line in enumerate(lines, 1) if line.startswith("## ")]
    start = lines.index(f"## {rule}") + 1 if rule else 0
    end = next((head for head in heads if head > start), len(lines))
    return [block for block in blocks_of(PAGE) if start < block.line < end]


def found(folder: Path, block: Block) -> set[str]:
    path = folder / ("app.py" if block.language == "python" else block.title)
    path.parent.mkdir(exist_ok=True)
    path.write_text(block.text)
    if block.language == "yaml":
        (folder / "settings.py").write_text(SETTINGS)
    report = check(folder)
    assert report.unread == ()
    return {finding.rule for finding in report.findings}


def test_every_rule_has_a_section_and_the_other_way_round():
    assert list(SECTIONS) == list(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_the_example_of_a_rule_is_found_and_not_once_it_is_mended(rule, tmp_path):
    bad, good = examples(rule)
    assert found(tmp_path, bad) == {rule}
    assert found(tmp_path, good) == set()


def test_the_examples_above_the_rules_hold(tmp_path):
    above = examples("")
    [ignored] = [block for block in above if block.language == "python"]
    assert found(tmp_path, ignored) == set()
    [shape] = [json.loads(block.text) for block in above if block.language == "json"]
    assert list(shape) == ["version", "files", "findings", "unread"]
    (tmp_path / "app.py").write_text(ignored.text.replace("# prodkit: ignore", "# left"))
    [finding] = check(tmp_path).findings
    [told] = shape["findings"]
    assert (told["rule"], told["message"], told["fix"]) == (
        finding.rule,
        finding.message,
        finding.fix,
    )
    [shown] = [b.text for b in above if b.language == "text"]
    assert shown.splitlines()[0].endswith(f": {finding.rule}: {finding.message}")
    assert shown.splitlines()[1] == f"    fix: {finding.fix}"


def tutorial(folder: Path) -> Path:
    """Write the service as the tutorial leaves it: the last of each file."""
    for page in sorted((DOCS / "tutorial").glob("[0-9]*.md")):
        for block in blocks_of(page):
            if block.language == "python" and block.title:
                (folder / block.title).write_text(block.text)
    return folder


def test_the_service_of_the_tutorial_is_ready(tmp_path):
    report = check(tutorial(tmp_path))
    assert report.files >= 6
    assert (report.findings, report.unread) == ((), ())


def test_the_shop_is_ready():
    """But for the sandbox, which stands for the outside world and is asked by no probe."""
    findings = check(ROOT / "examples/ecommerce").findings
    assert [each for each in findings if "/sandbox/" not in each.path] == []
