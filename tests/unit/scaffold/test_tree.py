from __future__ import annotations

import os

import pytest

from prodkit.errors import ConfigurationError
from prodkit.scaffold import tree
from prodkit.scaffold.render import File

FILES = {"a/b/c": File(b"c"), "a/run": File(b"#!/bin/sh\n", executable=True), "d": File(b"d")}


def test_files_are_written_with_their_folders(tmp_path):
    folder = tmp_path / "new" / "shop"
    tree.write(FILES, folder)
    assert (folder / "a/b/c").read_bytes() == b"c"
    assert os.access(folder / "a/run", os.X_OK)
    assert not os.access(folder / "d", os.X_OK)


def test_an_empty_folder_or_one_of_git_alone_will_do(tmp_path):
    (tmp_path / ".git").mkdir()
    tree.write(FILES, tmp_path)
    assert (tmp_path / "d").exists()


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "notes").touch()
    with pytest.raises(ConfigurationError, match="is not empty: it holds mine and 1 more; a new"):
        tree.write(FILES, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["mine", "notes"]
    with pytest.raises(ConfigurationError, match="mine can be no folder: Not a directory"):
        tree.write(FILES, tmp_path / "mine")
    with pytest.raises(ConfigurationError, match="Not a directory"):
        tree.check_empty(tmp_path / "mine" / "shop")


@pytest.mark.parametrize("there", [False, True])
def test_what_cannot_be_written_whole_is_not_written_at_all(tmp_path, there):
    folder = tmp_path / "shop"
    if there:
        folder.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written: File name too long"):
        tree.write({**FILES, "e" * 300: File(b"")}, folder)
    assert folder.exists() is there
    assert not there or os.listdir(folder) == []


def test_an_interruption_leaves_nothing_either(tmp_path):
    class Interrupted:
        content = b""

        @property
        def executable(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tree.write({**FILES, "e": Interrupted()}, tmp_path / "shop")
    assert os.listdir(tmp_path) == []


def test_a_tree_is_drawn_files_first():
    assert "\n".join(tree.lines(["b", "a/x/y", "a/b", "c/d", ".git"], "shop")) == (
        "shop/\n├── .git\n├── b\n├── a/\n│   ├── b\n│   └── x/\n│       └── y\n└── c/\n    └── d"
    )
