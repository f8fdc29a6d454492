from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodkit.errors import ConfigurationError
from prodkit.scaffold.answers import CHOICES, Answers


def test_a_service_is_called_as_its_project_and_speaks_http():
    answers = Answers(name="my-shop")
    assert answers.services == ("my_shop",)
    assert (answers.speaks, answers.state) == (("http",), "sqlite")
    assert (answers.limiter, answers.broker, answers.deploy) == ("memory", "memory", False)


def test_a_platform_brings_its_services():
    assert Answers(name="shop", template="ecommerce").services == ()


def test_what_is_spoken_has_one_order():
    assert Answers(name="a", speaks=("events", "http", "events")).speaks == ("http", "events")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("template", "shop", "template is service or ecommerce, not 'shop'"),
        ("state", "mysql", "state is sqlite or none or postgres, not 'mysql'"),
        ("limiter", "", "limiter is memory or redis, not ''"),
        ("broker", "kafka", "broker is memory or rabbitmq, not 'kafka'"),
        ("speaks", (), "speaks is one or more of http, grpc, events, not nothing"),
        ("speaks", ("http", "soap"), "not 'soap'"),
        ("broker", "rabbitmq", "broker rabbitmq is for events, and speaks is http"),
        ("prodkit", 'https://a/"]\nx = ["', "percent-encoded"),
        ("prodkit", "../prodkit_services-1-py3-none-any.whl", "percent-encoded"),
        ("services", ("a", "a"), "two services have one name"),
        ("services", ("a-b",), "recorded by its package, not as 'a-b'"),
        ("services", ("class",), "'class' is no name of a service: it is a keyword"),
        ("services", ("../a",), "'../a' is no name of a service"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(option, value, said):
    with pytest.raises(ConfigurationError) as refused:
        Answers(**{"name": "shop", option: value})
    assert said in str(refused.value)


ANSWERS = st.builds(
    Answers,
    name=st.sampled_from(["a", "my-shop"]),
    template=st.sampled_from(CHOICES["template"]),
    services=st.sampled_from([(), ("users",), ("users", "order_history")]),
    speaks=st.sampled_from([("events",), ("http", "events"), ("grpc", "events")]),
    state=st.sampled_from(CHOICES["state"]),
    limiter=st.sampled_from(CHOICES["limiter"]),
    broker=st.sampled_from(CHOICES["broker"]),
    deploy=st.booleans(),
    prodkit=st.sampled_from(["prodkit-services", "file:///tmp/%C3%A4.whl"]),
)


@given(ANSWERS)
def test_what_is_written_is_read(answers):
    assert Answers.from_toml(answers.to_toml()) == answers


def test_what_the_template_fixes_is_not_written():
    text = Answers(name="a").to_toml(without=frozenset({"state", "speaks"}))
    assert "state" not in tomllib.loads(text)
    assert "speaks" not in tomllib.loads(text)


def test_the_version_beside_the_answers_is_nobodys_answer():
    assert Answers.from_toml('version = "9"\nname = "a"\n') == Answers(name="a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name =", "it is no TOML"),
        ("", "no name"),
        ('name = "a"\ncolour = 1', "no answer is called colour"),
        ("name = 1", "name must be a string, not 1"),
        ('name = "a"\nspeaks = "http"', "speaks must be a list of strings"),
        ('name = "a"\nservices = [1]', "services must be a list of strings"),
        ('name = "a"\ndeploy = "no"', "deploy must be true or false"),
    ],
)
def test_a_damaged_record_is_refused(text, said):
    with pytest.raises(ConfigurationError, match=said):
        Answers.from_toml(text)
