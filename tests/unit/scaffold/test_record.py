from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodkit.errors import ConfigurationError
from prodkit.scaffold.record import (
    LOCK,
    RECORD,
    blob_id,
    lock_text,
    read_lock,
    read_record,
    record_text,
)


@pytest.mark.parametrize("content", [b"", b"a\n", b"\0\r\n\xff" * 1000])
def test_contents_are_named_as_git_names_them(content):
    said = subprocess.run(
        ["git", "hash-object", "--stdin", "--no-filters"],
        input=content,
        capture_output=True,
        check=True,
    )
    assert blob_id(content) == said.stdout.decode().strip()


@given(st.dictionaries(st.from_regex(r"[a-z ./]*[a-z]", fullmatch=True), st.binary(), max_size=4))
def test_a_lock_is_read_as_it_was_written(tmp_path_factory, contents):
    contents = {path: content for path, content in contents.items() if path.strip() == path}
    folder = tmp_path_factory.mktemp("lock")
    (folder / LOCK).write_text(lock_text(contents))
    assert read_lock(folder) == {path: blob_id(content) for path, content in contents.items()}


ID = blob_id(b"")


@pytest.mark.parametrize("line", ["x", f"{ID} a", f"{ID}  ", f"{ID[1:]}  a", f"{ID}  a\n{ID}  a"])
def test_a_damaged_lock_is_told_with_its_line(tmp_path, line):
    (tmp_path / LOCK).write_text(f"# a\n\n{line}\n")
    with pytest.raises(ConfigurationError, match=rf"{LOCK}:[34] is no line of ours"):
        read_lock(tmp_path)


def test_a_record_is_a_version_and_answers(tmp_path):
    (tmp_path / RECORD).write_text(record_text("1.2.3", 'name = "a"\n'))
    version, text = read_record(tmp_path)
    assert version == "1.2.3"
    assert 'name = "a"' in text
    (tmp_path / RECORD).write_text('name = "a"\n')
    with pytest.raises(ConfigurationError, match="no line `version"):
        read_record(tmp_path)


@pytest.mark.parametrize(("read", "name"), [(read_lock, LOCK), (read_record, RECORD)])
def test_a_folder_of_somebody_elses_is_told(tmp_path, read, name):
    with pytest.raises(ConfigurationError, match=f"not made by `prodkit new`: there is no {name}"):
        read(tmp_path)
    (tmp_path / name).write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=f"{name} cannot be read"):
        read(tmp_path)
