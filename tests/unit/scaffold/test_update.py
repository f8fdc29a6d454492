"""`prodkit update`, file by file."""

from __future__ import annotations

import pytest
from merging import LINES, commit, git

from prodkit.errors import ConfigurationError
from prodkit.scaffold.bases import BASES
from prodkit.scaffold.record import LOCK, RECORD, read_lock
from prodkit.scaffold.update import UnfinishedError


def changed(text: str, line: int, to: str) -> str:
    return text.replace(f"line {line}\n", f"{to}\n")


def test_what_you_did_not_touch_becomes_the_new_one(shop):
    shop.templates({"a.py": LINES, "same.py": "same\n"})
    shop.new()
    shop.templates({"a.py": "new\n", "same.py": "same\n"})
    assert shop.update() == {"a.py": "updated"}
    assert shop.read("a.py") == "new\n"
    assert 'version = "0.2.0"' in shop.read(RECORD)
    assert shop.prepare().nothing


def test_what_only_you_changed_stays(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", "mine\n")
    shop.templates({"a.py": LINES})
    assert shop.update() == {}
    assert shop.read("a.py") == "mine\n"


def test_what_both_changed_is_merged(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", changed(LINES, 2, "mine"))
    shop.templates({"a.py": changed(LINES, 8, "theirs")})
    assert shop.update() == {"a.py": "merged"}
    assert shop.read("a.py") == changed(changed(LINES, 2, "mine"), 8, "theirs")


def test_a_conflict_is_marked_as_git_marks_it(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", changed(LINES, 5, "mine"))
    shop.templates({"a.py": changed(LINES, 5, "theirs")})
    update = shop.prepare()
    assert update.conflicts == 1
    update.write()
    marked = "<<<<<<< yours\nmine\n=======\ntheirs\n>>>>>>> prodkit 0.2.0"
    assert shop.read("a.py") == changed(LINES, 5, marked)


def test_marks_that_still_stand_are_to_be_resolved_first(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", changed(LINES, 5, "mine"))
    shop.templates({"a.py": changed(LINES, 5, "theirs")})
    shop.update()
    shop.templates({"a.py": LINES})
    before = shop.tree()
    with pytest.raises(ConfigurationError, match=r"marks of a conflict still stand in a\.py"):
        shop.prepare()
    assert shop.tree() == before


def test_the_next_update_merges_again_though_git_never_saw_how_the_templates_had_it(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", changed(LINES, 2, "mine"))
    commit(shop.folder)
    for version in range(3):
        shop.templates({"a.py": changed(LINES, 8, f"theirs {version}")})
        assert shop.update() == {"a.py": "merged"}
        assert shop.read("a.py") == changed(changed(LINES, 2, "mine"), 8, f"theirs {version}")
        commit(shop.folder)


def test_a_resolved_conflict_comes_up_once(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", changed(LINES, 5, "mine"))
    shop.templates({"a.py": changed(LINES, 5, "theirs")})
    assert shop.update() == {"a.py": "conflict"}
    shop.write("a.py", changed(LINES, 5, "mine, and theirs"))
    commit(shop.folder)
    shop.templates({"a.py": changed(changed(LINES, 5, "theirs"), 9, "last")})
    assert shop.update() == {"a.py": "merged"}
    assert shop.read("a.py") == changed(changed(LINES, 5, "mine, and theirs"), 9, "last")


def test_texts_are_kept_beside_until_git_has_them(shop):
    shop.templates({"a.py": LINES, "b.py": LINES})
    shop.new()
    assert not (shop.folder / BASES).exists()
    shop.write("a.py", changed(LINES, 2, "mine"))
    shop.templates({"a.py": changed(LINES, 8, "theirs"), "b.py": "new\n"})
    shop.update()
    assert len(shop.read(BASES).splitlines()) == 1 + 2
    commit(shop.folder)
    shop.templates({"a.py": changed(LINES, 8, "theirs"), "b.py": "new\n"})
    shop.update()
    assert len(shop.read(BASES).splitlines()) == 1 + 1, "git has b.py now"


def test_a_damaged_line_beside_is_named(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write(BASES, "# ours\n" + "0" * 40 + " eJwDAAAAAAE=\n")
    with pytest.raises(ConfigurationError, match=r"\.prodkit\.base:2 is damaged"):
        shop.prepare()


def test_a_deleted_file_stays_deleted(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    (shop.folder / "a.py").unlink()
    for text in ("new\n", "newer\n"):
        shop.templates({"a.py": text})
        assert shop.update() == {"a.py": "gone"}
        assert not (shop.folder / "a.py").exists()


def test_a_file_that_you_moved_is_neither_made_again_nor_touched(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    (shop.folder / "a.py").rename(shop.folder / "mine.py")
    shop.templates({"a.py": "new\n"})
    assert shop.update() == {"a.py": "gone"}
    assert shop.read("mine.py") == LINES


def test_a_new_file_comes_unless_you_have_one_there(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("theirs/same.py", "same\n")
    shop.write("theirs/other.py", "mine\n")
    new = {"theirs/new.py": "n\n", "theirs/same.py": "same\n", "theirs/other.py": "theirs\n"}
    shop.templates({"a.py": LINES, **new})
    assert shop.update() == {"theirs/new.py": "new", "theirs/other.py": "conflict"}
    assert shop.read("theirs/other.py").splitlines()[1:4] == ["mine", "=======", "theirs"]


def test_what_the_templates_drop_goes_unless_you_changed_it(shop):
    shop.templates({"a.py": LINES, "deep/down/b.py": "b\n", "deep/c.py": "c\n", "gone.py": "g\n"})
    shop.new()
    shop.write("deep/c.py", "mine\n")
    (shop.folder / "gone.py").unlink()
    shop.templates({"a.py": LINES})
    assert shop.update() == {"deep/down/b.py": "removed", "deep/c.py": "kept"}
    assert shop.read("deep/c.py") == "mine\n"
    assert not (shop.folder / "deep/down").exists(), "an empty folder goes with its last file"
    assert "deep/c.py" not in read_lock(shop.folder)


def test_a_file_may_become_a_folder_and_a_folder_a_file(shop):
    shop.templates({"kit.py": "kit\n", "parts/one.py": "one\n"})
    shop.new()
    shop.templates({"kit.py/inner.py": "kit\n", "parts": "parts\n"})
    shop.update()
    assert shop.read("kit.py/inner.py") == "kit\n"
    assert shop.read("parts") == "parts\n"


def test_what_you_keep_stands_in_the_way_of_neither(shop):
    shop.templates({"kit.py": "kit\n", "parts/one.py": "one\n"})
    shop.new()
    shop.write("kit.py", "mine\n")
    shop.write("parts/mine.py", "mine\n")
    shop.templates({"kit.py/inner.py": "kit\n", "parts": "parts\n"})
    update = shop.prepare()
    update.write()
    notes = {change.path: change.note for change in update.changes if change.conflict}
    assert notes == {
        "kit.py/inner.py": "kit.py is no folder, and the templates changed it",
        "parts": "it is a folder, and the templates changed it",
    }
    assert shop.read("kit.py") == "mine\n"
    assert shop.read("parts/mine.py") == "mine\n"


def test_links_are_left_alone_and_never_followed(shop, tmp_path):
    shop.templates({"a.py": LINES, "b/c.py": LINES, "d.py": LINES})
    shop.new()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/c.py").write_text(LINES)
    for path in ("a.py", "b/c.py", "d.py"):
        (shop.folder / path).unlink()
    (shop.folder / "b").rmdir()
    (shop.folder / "b").symlink_to(tmp_path / "outside")
    (shop.folder / "a.py").symlink_to(tmp_path / "outside/c.py")
    (shop.folder / "d.py").symlink_to("nowhere")
    shop.templates({"a.py": "new\n", "b/c.py": "new\n", "b/more.py": "more\n", "d.py": "new\n"})
    assert set(shop.update().values()) == {"not merged"}
    assert (tmp_path / "outside/c.py").read_text() == LINES
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["c.py"]
    assert (shop.folder / "a.py").is_symlink()
    assert (shop.folder / "d.py").is_symlink()


def test_a_binary_file_that_both_changed_is_yours(shop):
    shop.templates({"logo.png": b"\0one", "icon.png": b"\0one"})
    shop.new()
    shop.write("logo.png", b"\0mine")
    shop.templates({"logo.png": b"\0two", "icon.png": b"\0two"})
    assert shop.update() == {"icon.png": "updated", "logo.png": "not merged"}
    assert shop.read("logo.png") == "\0mine"
    assert shop.read("icon.png") == "\0two"


def test_line_endings_make_no_difference(shop):
    shop.templates({"a.py": LINES, "b.py": LINES, "c.py": LINES})
    shop.new()
    mine = changed(LINES, 2, "mine").replace("\n", "\r\n")
    shop.write("a.py", mine)
    shop.write("b.py", LINES.replace("\n", "\r\n"))
    shop.write("c.py", "new\r\n")
    new = changed(LINES, 8, "theirs")
    shop.templates({"a.py": new, "b.py": new, "c.py": "new\n"})
    assert shop.update() == {"a.py": "merged", "b.py": "updated"}
    assert shop.read("a.py") == changed(mine, 8, "theirs").replace("line 8\r\n", "theirs\r\n")
    assert shop.read("b.py") == new.replace("\n", "\r\n")
    assert shop.read("c.py") == "new\r\n"


def test_a_missing_newline_at_the_end_stays_missing(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", LINES + "mine")
    shop.templates({"a.py": changed(LINES, 1, "theirs")})
    assert shop.update() == {"a.py": "merged"}
    assert shop.read("a.py") == changed(LINES, 1, "theirs") + "mine"


def test_modes_stay_and_what_is_run_can_be_run(shop):
    shop.templates({"run.sh": "one\n", "secret": "one\n"})
    shop.new()
    (shop.folder / "secret").chmod(0o600)
    shop.templates({"run.sh": "two\n", "secret": "two\n", "new.sh": "new\n"})
    for name in ("run.sh", "new.sh"):
        (shop.root / "project/base" / name).chmod(0o755)
    update = shop.prepare()
    update.write()
    assert [change.note for change in update.changes] == ["", "executable now", ""]
    assert (shop.folder / "secret").stat().st_mode & 0o777 == 0o600
    for name in ("run.sh", "new.sh"):
        assert (shop.folder / name).stat().st_mode & 0o100


def test_a_dry_run_writes_nothing(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.templates({"a.py": "new\n", "b.py": "b\n"})
    before = shop.tree()
    assert shop.prepare().changes
    assert shop.tree() == before
    assert git(shop.folder, "status", "--porcelain") == ""


def test_in_a_folder_of_a_repository_it_works_the_same(shop):
    shop.folder = shop.folder.parent / "all/services/my-shop"
    shop.templates({"a.py": LINES})
    shop.new(commits=False)
    git(shop.folder.parents[1], "init", "-q")
    commit(shop.folder.parents[1])
    shop.write("a.py", changed(LINES, 2, "mine"))
    shop.templates({"a.py": changed(LINES, 8, "theirs")})
    assert shop.update() == {"a.py": "merged"}


def test_without_a_repository_conflicts_are_marked_once_and_merged_from_then_on(shop):
    shop.templates({"a.py": LINES, "b.py": LINES})
    shop.new(commits=False)
    shop.write("a.py", changed(LINES, 2, "mine"))
    shop.templates({"a.py": changed(LINES, 8, "theirs"), "b.py": "b\n"})
    update = shop.prepare()
    [change] = [change for change in update.changes if change.conflict]
    assert "git does not know how it was generated" in change.note
    update.write()
    shop.write("a.py", changed(changed(LINES, 2, "mine"), 8, "theirs"))
    shop.templates({"a.py": changed(LINES, 8, "newer"), "b.py": "b\n"})
    assert shop.update() == {"a.py": "merged"}


def test_without_git_what_needs_no_merge_goes_and_the_rest_is_refused(shop, monkeypatch):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.templates({"a.py": "new\n"})
    monkeypatch.setenv("PATH", "")
    assert shop.update() == {"a.py": "updated"}
    shop.write("a.py", "mine\n")
    shop.templates({"a.py": "newer\n"})
    with pytest.raises(ConfigurationError, match="git is missing"):
        shop.prepare()


def test_the_repository_of_a_hook_is_not_asked(shop, tmp_path, monkeypatch):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", changed(LINES, 2, "mine"))
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    shop.templates({"a.py": changed(LINES, 8, "theirs")})
    assert shop.update() == {"a.py": "merged"}


def test_a_repository_that_git_does_not_trust_is_told(shop, monkeypatch):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", changed(LINES, 2, "mine"))
    shop.templates({"a.py": changed(LINES, 8, "theirs")})
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    with pytest.raises(ConfigurationError, match=r"another user's: .* safe\.directory"):
        shop.prepare()


def test_answers_that_you_changed_in_the_record_count(shop):
    shop.templates({"a.py.jinja": "{{ 'redis' if redis else 'memory' }}\n"})
    shop.new()
    shop.write(RECORD, shop.read(RECORD).replace('limiter = "memory"', 'limiter = "redis"'))
    assert shop.update() == {"a.py": "updated"}
    assert shop.read("a.py") == "redis\n"


def test_your_words_in_the_record_stay(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write(RECORD, "# Ask Ann before you change this.\n" + shop.read(RECORD))
    shop.templates({"a.py": LINES})
    shop.update()
    assert shop.read(RECORD).startswith("# Ask Ann before you change this.\n")
    assert 'version = "0.2.0"\n' in shop.read(RECORD)


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        (RECORD, None, "was not made by `prodkit new`"),
        (RECORD, 'version = "0.1.0"\nname = [', "is no TOML|it is no TOML"),
        (RECORD, 'version = "0.1.0"\nname = "my-shop"\ncolour = "red"\n', "colour"),
        (RECORD, 'name = "my-shop"\n', "version"),
        (RECORD, 'version = "new"\nname = "my-shop"\n', "no version of prodkit"),
        (RECORD, b"\xff\xfe", "cannot be read"),
        (LOCK, None, r"\.prodkit\.lock is missing.*git checkout HEAD -- \.prodkit\.lock"),
        (LOCK, "<<<<<<< yours\n", r"\.prodkit\.lock:1 is no line of ours"),
        (LOCK, f"{'0' * 40}  ../out.py\n", "no path within a project"),
        (LOCK, f"{'0' * 40}  /etc/passwd\n", "no path within a project"),
    ],
)
def test_a_record_or_lock_that_cannot_be_read_is_one_line(shop, path, content, said):
    shop.templates({"a.py": LINES})
    shop.new()
    if content is None:
        (shop.folder / path).unlink()
    else:
        shop.write(path, content)
    with pytest.raises(ConfigurationError, match=said) as failed:
        shop.prepare()
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("version", ["0.2.0", "0.1.1", "1.0.0rc1", "0.1.0.post1"])
def test_it_does_not_go_back_to_an_older_prodkit(shop, version):
    shop.templates({"a.py": LINES}, version=version)
    shop.new()
    shop.templates({"a.py": "old\n"}, version="0.1.0")
    with pytest.raises(ConfigurationError, match=r"newer than the installed 0\.1\.0"):
        shop.prepare()


@pytest.mark.parametrize("version", ["0.1.0", "0.1.0rc1", "0.0.9", "0.1", "0.1.0.dev3"])
def test_it_goes_on_from_an_older_one_or_the_same(shop, version):
    shop.templates({"a.py": LINES}, version=version)
    shop.new()
    shop.templates({"a.py": "new\n"}, version="0.1.0")
    assert shop.update() == {"a.py": "updated"}


def test_what_you_save_while_it_runs_is_not_overwritten(shop):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.templates({"a.py": "new\n"})
    update = shop.prepare()
    shop.write("a.py", "saved just now\n")
    with pytest.raises(UnfinishedError, match=r"a\.py has changed since it was read"):
        update.write()
    assert shop.read("a.py") == "saved just now\n"
