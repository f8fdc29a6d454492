from __future__ import annotations

import pytest

from prodkit.errors import ConfigurationError
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.platform import Platform, TemplateError, read_platform


def read(tmp_path, text):
    (tmp_path / "platform.toml").write_text(text)
    return read_platform(tmp_path / "platform.toml")


def test_a_platform_that_says_nothing_fixes_nothing(tmp_path):
    platform = read(tmp_path, "")
    assert platform == Platform()
    answers = Answers(name="a", state="postgres")
    assert platform.settle(answers) == answers


def test_one_that_is_not_there_is_told(tmp_path):
    with pytest.raises(TemplateError, match=r"nowhere\.toml: FileNotFoundError"):
        read_platform(tmp_path / "nowhere.toml")


def test_what_it_fixes_stands_instead_of_the_users_answers(tmp_path):
    platform = read(tmp_path, '[answers]\nspeaks = ["events"]\nbroker = "rabbitmq"\n')
    settled = platform.settle(Answers(name="a", state="none"))
    assert (settled.speaks, settled.broker, settled.state) == (("events",), "rabbitmq", "none")


def test_services_leave_out_files_of_theirs(tmp_path):
    text = '[project]\nwithout = ["x"]\n[[services]]\nname = "users"\nwithout = ["__service__/a"]\n'
    platform = read(tmp_path, text)
    assert platform.services == ("users",)
    assert platform.without == {"x", "users/a"}


def test_what_no_service_of_the_platform_has_is_said_once(tmp_path):
    text = '[service]\nwithout = ["__service__/a"]\n[[services]]\nname = "b"\n'
    platform = read(tmp_path, text + '[[services]]\nname = "c"\nwithout = ["d"]\n')
    assert platform.without == {"b/a", "c/a", "d"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title =", "TOMLDecodeError"),
        ("colour = 1", "unknown: colour; known: answers, api, prefix, project"),
        ("answers = 1", "answers must be a table"),
        ("[answers]\nname = 'x'", "unknown: name"),
        ("[project]\nwithout = 'x'", "without must be a list of strings"),
        ("[service]\nname = 'x'", "unknown: name; known: without"),
        ("services = 1", r"services must be tables, \[\[services\]\]"),
        ("[[services]]\nwithout = []", "KeyError.*name"),
        ("[[services]]\nname = 'a'\nwith = []", "unknown: with"),
    ],
)
def test_a_wrong_one_is_told_with_its_place(tmp_path, text, said):
    with pytest.raises(TemplateError, match=rf"platform\.toml: .*{said}"):
        read(tmp_path, text)


def test_an_answer_that_nobody_could_give_is_no_platforms(tmp_path):
    platform = read(tmp_path, '[answers]\nstate = "mysql"\n')
    with pytest.raises(ConfigurationError, match="not 'mysql'"):
        platform.settle(Answers(name="a"))
