import pytest

from prodkit.contract.templates import Variable, parse_template
from prodkit.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "segments", "variables", "verb"),
    [
        ("/", (), (), ""),
        ("/v1/books", ("v1", "books"), (), ""),
        ("/v1/books:watch", ("v1", "books"), (), "watch"),
        ("/.well-known/jwks.json", (".well-known", "jwks.json"), (), ""),
        ("/v1/{id}", ("v1", "*"), (Variable("id", 1, 2),), ""),
        (
            "/v1/{a.b}/x/{c}:do",
            ("v1", "*", "x", "*"),
            (Variable("a.b", 1, 2), Variable("c", 3, 4)),
            "do",
        ),
        ("/v1/{name=shelves/*}", ("v1", "shelves", "*"), (Variable("name", 1, 3),), ""),
        ("/v1/{name=a/*/b/*}:x", ("v1", "a", "*", "b", "*"), (Variable("name", 1, 5),), "x"),
        ("/v1/{path=**}", ("v1", "**"), (Variable("path", 1, None),), ""),
        ("/v1/{path=files/**}", ("v1", "files", "**"), (Variable("path", 1, None),), ""),
        ("/v1/*/x", ("v1", "*", "x"), (), ""),
    ],
)
def test_what_a_template_says(text, segments, variables, verb):
    template = parse_template(text)
    assert (template.segments, template.variables, template.verb) == (segments, variables, verb)
    assert template.static == (not variables and "*" not in segments)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1",
        "/v1/{id",
        "/v1/id}",
        "/v1/{}",
        "/v1/a{id}",
        "/v1/{a}/{a}",
        "/v1/**/x",
        "/v1//x",
        "/v1/x*",
        "/v1/{id={x}}",
    ],
)
def test_what_is_no_template(text):
    with pytest.raises(ConfigurationError, match="path template"):
        parse_template(text)


def test_templates_of_one_shape_match_the_same_paths():
    one, other = parse_template("/v1/{name=shelves/*}:x"), parse_template("/v1/shelves/{id}:x")
    assert one.shape == other.shape == "/v1/shelves/*:x"
