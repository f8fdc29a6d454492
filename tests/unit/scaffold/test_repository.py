from __future__ import annotations

import os
import subprocess

import pytest

from prodkit.scaffold.repository import GitError, begin


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nobody's configuration, and no repository above."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "gitconfig"
    config.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    return config


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "a").write_text("a")
    (folder / ".gitignore").write_text("b\n")
    (folder / "b").write_text("b")
    return folder


def said(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_everything_is_committed_as_the_user(project, home):
    home.write_text("[user]\nname = Ann\nemail = ann@example.org\n")
    assert begin(project, "prodkit new shop") == ""
    assert said(project, "log", "--format=%an %ae %s") == "Ann ann@example.org prodkit new shop"
    assert said(project, "ls-files").split() == [".gitignore", "a", "b"]
    assert said(project, "status", "--porcelain") == ""


def test_who_told_git_no_name_gets_ours(project, home):
    home.write_text("[user]\nuseConfigOnly = true\n")
    assert begin(project, "new") == ""
    assert said(project, "log", "--format=%an %ae") == "prodkit prodkit@localhost"


def test_nothing_is_asked_and_no_hook_is_run(project, home):
    hooks = project.parent / "hooks"
    hooks.mkdir()
    for hook in ("pre-commit", "prepare-commit-msg", "reference-transaction"):
        (hooks / hook).write_text("#!/bin/sh\nexit 1\n")
        (hooks / hook).chmod(0o755)
    home.write_text(
        f"[core]\nhooksPath = {hooks}\n[commit]\ngpgSign = true\n[user]\nsigningKey = none\n"
    )
    assert begin(project, "new") == ""


def test_files_are_kept_byte_for_byte_whatever_git_makes_of_line_ends(project, home):
    home.write_text("[core]\nautocrlf = true\nsafecrlf = true\n")
    (project / "a").write_bytes(b"one\ntwo\r\n")
    assert begin(project, "new") == ""
    assert said(project, "cat-file", "-s", "HEAD:a") == "9"


def test_a_repository_that_is_there_is_left_alone(project):
    subprocess.run(["git", "init", "-q"], cwd=project.parent, check=True)
    assert begin(project, "new") == "it lies in a repository already"
    assert not (project / ".git").exists()


def test_the_repository_of_a_hook_is_not_ours(project, tmp_path, monkeypatch):
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert begin(project, "new") == ""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name)
    assert said(project, "ls-files").split() == [".gitignore", "a", "b"]
    assert said(other, "status", "--porcelain") == ""


def test_without_git_there_is_no_commit(project, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert begin(project, "new") == "git is not installed"


def test_what_git_says_is_told_in_a_line(project, home):
    home.write_text("[core\n")
    with pytest.raises(GitError, match=r"git init --quiet in .*bad config line 1") as failed:
        begin(project, "new")
    assert "\n" not in failed.value.message
