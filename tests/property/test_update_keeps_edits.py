"""Whatever templates and users do, `prodkit update` loses nothing of the user's."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/scaffold"))
from merging import Workshop, kinds

PATHS = ["a.py", "b.py", "d", "d/c.py", "d/e/f.py"]
LINES = st.lists(st.sampled_from(["one", "two", "", "}", "three"]), min_size=1, max_size=12)


def edits(*lines: str):
    """Draw places, how many lines go there, and what stands there instead."""
    one = st.tuples(st.integers(0, 12), st.integers(0, 2), st.sampled_from([*lines, "}", ""]))
    return st.lists(one, min_size=1, max_size=3) | st.just([])


ENDINGS = st.sampled_from(["\n", "\n", "\r\n"])


def written(lines: list[str], ending: str, *, whole: bool) -> bytes:
    text = "".join(line + ending for line in lines)
    return (text if whole else text.removesuffix(ending)).encode()


def edited(lines: list[str], edits: list[tuple[int, int, str]]) -> list[str]:
    """Return `lines`, some of them replaced, deleted, or others put before them."""
    lines = list(lines)
    for place, dropped, line in edits:
        lines[place : place + dropped] = [line]
    return lines


@st.composite
def trees(draw) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
    """Draw what was generated, what the user has, and what is generated now."""
    base, ours, new = {}, {}, {}
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, unique=True)):
        lines, whole = draw(LINES), draw(st.booleans())
        for tree, change, ending in (
            (base, st.just([]), "\n"),
            (ours, edits("mine"), draw(ENDINGS)),
            (new, edits("theirs"), "\n"),
        ):
            if draw(st.integers(0, 9)) < 9:  # or there is none
                tree[path] = written(edited(lines, draw(change)), ending, whole=whole)
    for tree in (base, ours, new):
        if any(path.startswith("d/") for path in tree):
            tree.pop("d", None)
    return base, ours, new


def lines_of(content: bytes) -> Counter[bytes]:
    return Counter(content.replace(b"\r\n", b"\n").split(b"\n"))


def same(one: bytes, other: bytes) -> bool:
    return one.replace(b"\r\n", b"\n") == other.replace(b"\r\n", b"\n")


def check(base, ours, new, after, done) -> None:
    for path, content in ours.items():
        was, now = base.get(path, b""), after.get(path)
        if now == content or (path in base and same(content, was)):
            continue
        assert now is not None, f"{path} held an edit, and is gone"
        added = lines_of(content) - lines_of(was)
        assert not added - lines_of(now), f"{path} has lost lines of its user"
        assert path in done, f"{path} was changed silently"
        if done[path] == "merged":
            theirs = lines_of(new[path]) - lines_of(was)
            assert not theirs - lines_of(now), f"{path} has lost lines of the templates"
    for path in base.keys() - ours.keys():
        assert path not in after or path in ours, f"{path} was deleted, and is back"


def play(base, ours, new) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        shop = Workshop(Path(folder), patch)
        shop.templates(base)
        shop.new()
        for path in base:
            shop.folder.joinpath(path).unlink()
        for empty in ("d/e", "d"):  # a folder may be a file of the user's
            if shop.folder.joinpath(empty).is_dir():
                shop.folder.joinpath(empty).rmdir()
        for path, content in ours.items():
            shop.write(path, content)
        shop.templates(new)
        update = shop.prepare()
        update.write()
        after = {p: text for p, text in shop.tree().items() if not p.startswith(".prodkit")}
        check(base, ours, new, after, kinds(update))
        if not any(b"<<<<<<<" in content for content in after.values()):
            again = shop.prepare()
            assert set(kinds(again).values()) <= {"gone"}


@given(trees())
@settings(max_examples=15, deadline=None)
def test_every_line_of_yours_is_there_or_its_file_was_not_touched(drawn):
    play(*drawn)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(trees())
@settings(max_examples=400, deadline=None)
def test_the_same_of_many_more_trees(drawn):
    play(*drawn)
