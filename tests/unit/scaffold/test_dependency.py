from __future__ import annotations

from pathlib import Path

import pytest

from prodkit.errors import ConfigurationError
from prodkit.scaffold.dependency import INDEX, is_direct, located, requirement

ROOT = Path(__file__).parents[3]


def test_the_index_is_asked_by_name():
    assert located(INDEX) == INDEX
    assert requirement(INDEX) == "prodkit-services"
    assert requirement(INDEX, "server,http") == "prodkit-services[server,http]"
    assert not is_direct(INDEX)


def test_a_wheel_is_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    wheel = tmp_path / "a b" / "prodkit_services-0.1.0-py3-none-any.whl"
    wheel.touch()
    monkeypatch.chdir(tmp_path)
    place = located(f"a b/{wheel.name}")
    assert place == wheel.as_uri()
    assert requirement(place, "http") == f"prodkit-services[http] @ {wheel.as_uri()}"
    assert is_direct(place)


def test_a_folder_of_the_source_is_one(monkeypatch):
    monkeypatch.chdir(ROOT / "src")
    assert located("..") == ROOT.as_uri()


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ("git+https://git.example/p.git", "git+https://git.example/p.git"),
        ("git+https://git.example/p@v0.1.0", "git+https://git.example/p@v0.1.0"),
        ("https://git.example/p.git@main", "git+https://git.example/p.git@main"),
        ("ssh://git@git.example/p", "git+ssh://git@git.example/p"),
        ("https://git@git.example/p.git", "git+https://git@git.example/p.git"),
        ("git@git.example:us/p.git", "git+ssh://git@git.example/us/p.git"),
        ("https://files.example/prodkit_services-1.whl",) * 2,
        ("file:///tmp/prodkit_services-1.whl",) * 2,
    ],
)
def test_urls_are_as_pip_wants_them(spec, place):
    assert located(spec) == place


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nowhere", "there is no nowhere"),
        ("prodkit-services==1", "there is no prodkit-services==1"),
        ("", "folder of prodkit's source"),
        ("https://example.org/page", "git URL"),
        ("ftp://example.org/p.whl", "git URL"),
        ("hg+https://example.org/p", "git URL"),
        ("https://u:secret@git.example/p.git", "no password"),
        ("https://secret@git.example/p.git", "no token"),
        ("git+https://secret@git.example/p", "no token"),
        ('git@git.example:a b"c', "percent"),
        ("git@git.example:p\\", "percent"),
        ("https://git.example/\N{GRINNING FACE}.git", "percent"),
        ("https://files.example/\x7f.whl", "percent"),
        ("https://files.example/{root}.whl", "percent"),
        ("~nobody-of-that-name/p.whl", "there is no ~nobody-of-that-name"),
        ('https://git.example/p.git"\nx', "percent"),
        ("https://[git/p.git", "no URL"),
    ],
)
def test_what_leads_nowhere_is_refused(spec, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=said) as refused:
        located(spec)
    assert "secret" not in str(refused.value)


def test_what_is_something_else_is_refused(tmp_path):
    other = tmp_path / "numpy-1-py3-none-any.whl"
    other.touch()
    with pytest.raises(ConfigurationError, match="no wheel of prodkit-services"):
        located(str(other))
    for text in ("name =", '[project]\nname = "shop"', "project = 1"):
        (tmp_path / "pyproject.toml").write_text(text)
        with pytest.raises(ConfigurationError, match="no folder of prodkit's source"):
            located(str(tmp_path))
