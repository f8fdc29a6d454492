"""What a file says of findings that are to be left out: `prodkit: ignore[rule] reason`."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prodkit.scaffold.readiness.finding import RULES, Finding

_MARK = re.compile(r"(?:#|//)\s*prodkit:\s*ignore\b(?:\[(?P<rules>[^\]]*)\])?(?P<reason>.*)")
_HOW = "write `prodkit: ignore[rule] why it is right here`"


@dataclass(slots=True)
class Suppressions:
    """The lines of a file on which rules do not hold."""

    lines: dict[int, set[str]] = field(default_factory=dict)
    wrong: list[Finding] = field(default_factory=list)

    def hold(self, finding: Finding) -> bool:
        """Say whether a finding is to be left out."""
        return finding.rule in self.lines.get(finding.line, ())


def suppressions_of(path: str, text: str) -> Suppressions:
    """Return the suppressions of a file; one without a rule or a reason is a finding itself.

    A comment holds for its line, and one that has a line to itself for the next line too.
    """
    found = Suppressions()
    if "prodkit:" not in text:
        return found
    for line, comment, alone in _comments(path, text):
        mark = _MARK.match(comment)
        if mark is None:
            continue
        rules = {rule.strip() for rule in (mark["rules"] or "").split(",")} - {""}
        problem = _problem(rules, mark["reason"].strip().removesuffix("*/").strip(" -:"))
        if problem:
            found.wrong.append(Finding(path, line, "ignore", problem, _HOW))
            continue
        for each in (line, line + 1) if alone else (line,):
            found.lines.setdefault(each, set()).update(rules)
    return found


def _problem(rules: Iterable[str], reason: str) -> str:
    unknown = sorted(set(rules) - RULES.keys())
    if unknown:
        return f"there is no rule {', '.join(unknown)} to ignore"
    if not rules:
        return "what is ignored here has no name"
    return "" if reason else "what is ignored here has no reason"


def _comments(path: str, text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield each comment that may be a suppression, its line, and whether it is alone there."""
    if path.endswith(".py"):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string, not token.line[: token.start[1]].strip()
        return
    sign = "//" if path.endswith(".proto") else "#"
    for number, line in enumerate(text.split("\n"), 1):
        found = re.search(rf"(?:^|(?<=\s)){sign}\s*prodkit:.*", line)
        if found is not None:
            yield number, found.group(), not line[: found.start()].strip()
