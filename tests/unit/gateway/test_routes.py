import pytest

from prodkit.contract.templates import parse_template
from prodkit.gateway.routes import Route, RouteTable

ROUTES = [
    ("GET", "/"),
    ("GET", "/v1/books"),
    ("POST", "/v1/books"),
    ("GET", "/v1/books:watch"),
    ("GET", "/v1/books/new"),
    ("GET", "/v1/books/{id}"),
    ("DELETE", "/v1/books/{book.id}"),
    ("POST", "/v1/books/{id}:lend"),
    ("GET", "/v1/books/{id}/pages/{page}"),
    ("GET", "/v1/{name=shelves/*}"),
    ("GET", "/v1/{name=shelves/*/rows/*}:count"),
    ("GET", "/v1/files/{path=**}"),
    ("GET", "/v1/{any}/pages/all"),
]


async def handler(*_):
    pytest.fail("not called here")


@pytest.fixture(scope="module")
def table():
    return RouteTable(Route(verb, parse_template(path), handler) for verb, path in ROUTES)


def find(table, path, verb="GET", raw=None):
    found = table.find({"path": path, "raw_path": raw or path.encode()})
    if found is None:
        return None
    endpoint, segments = found
    route = endpoint.route(verb)
    return route and (route.path, route.values(segments))


@pytest.mark.parametrize(
    ("path", "template", "values"),
    [
        ("/", "/", {}),
        ("/v1/books", "/v1/books", {}),
        ("/v1/books:watch", "/v1/books:watch", {}),
        ("/v1/books/new", "/v1/books/new", {}),
        ("/v1/books/7", "/v1/books/{id}", {"id": "7"}),
        ("/v1/books/7:8", "/v1/books/{id}", {"id": "7:8"}),
        ("/v1/books/7/pages/3", "/v1/books/{id}/pages/{page}", {"id": "7", "page": "3"}),
        ("/v1/shelves/a", "/v1/{name=shelves/*}", {"name": "shelves/a"}),
        (
            "/v1/shelves/a/rows/b:count",
            "/v1/{name=shelves/*/rows/*}:count",
            {"name": "shelves/a/rows/b"},
        ),
        ("/v1/files/a/b/c", "/v1/files/{path=**}", {"path": "a/b/c"}),
        ("/v1/files", "/v1/files/{path=**}", {"path": ""}),
        ("/v1/other/pages/all", "/v1/{any}/pages/all", {"any": "other"}),
    ],
)
def test_what_is_found(table, path, template, values):
    assert find(table, path) == (template, values)


def test_a_literal_that_leads_nowhere_gives_way_to_a_variable():
    paths = ["/a/b/c", "/{x}/b/d"]
    table = RouteTable(Route("GET", parse_template(path), handler) for path in paths)
    assert find(table, "/a/b/d") == ("/{x}/b/d", {"x": "a"})


def test_routes_of_one_shape_name_their_variables_themselves(table):
    assert find(table, "/v1/books/7", "DELETE") == ("/v1/books/{book.id}", {"book.id": "7"})


def test_a_custom_verb_wins_over_its_absence(table):
    assert find(table, "/v1/books/7:lend", "POST") == ("/v1/books/{id}:lend", {"id": "7"})
    assert find(table, "/v1/books/7:lend", "GET") is None


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/books/", "/v1//books", "/v2/books", "/v1/shelves/", "/v1/books/7/pages"]
)
def test_what_is_not_found(table, path):
    assert find(table, path) is None


def test_an_encoded_slash_stays_in_its_segment(table):
    found = find(table, "/v1/books/a/b", raw=b"/v1/books/a%2Fb")
    assert found == ("/v1/books/{id}", {"id": "a/b"})


def test_without_a_raw_path_the_decoded_one_is_taken(table):
    endpoint, segments = table.find({"path": "/v1/books/7"})
    assert endpoint.route("GET").values(segments) == {"id": "7"}


def test_a_path_that_is_no_text_is_not_found(table):
    assert find(table, "/v1/books/\ufffd", raw=b"/v1/books/%FF") is None


def test_what_is_allowed(table):
    endpoint, _ = table.find({"path": "/v1/books"})
    assert endpoint.allow == "GET, HEAD, OPTIONS, POST"
    endpoint, _ = table.find({"path": "/v1/books/7:lend"})
    assert endpoint.allow == "OPTIONS, POST"


def test_looking_up_does_not_depend_on_the_number_of_routes():
    class Watched(dict):
        looked = 0

        def get(self, key, default=None):
            Watched.looked += 1
            return super().get(key, default)

    table = RouteTable(
        Route("GET", parse_template(f"/v1/things{n}/{{id}}"), handler) for n in range(500)
    )
    table._root.literals = Watched(table._root.literals)
    table._root.literals["v1"].literals = Watched(table._root.literals["v1"].literals)
    assert find(table, "/v1/things499/7") == ("/v1/things499/{id}", {"id": "7"})
    assert Watched.looked == 2
