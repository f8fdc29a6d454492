import pytest
from openapi_spec_validator import validate

from prodkit.contract import Contract
from prodkit.gateway import openapi


@pytest.fixture(scope="module")
def document(library):
    return openapi(Contract.load(library.pb), title="Library", version="1.2")


@pytest.fixture
def paths(document):
    return document["paths"]


def schema(document, name):
    return document["components"]["schemas"][f"library.v1.{name}"]


def test_the_document_is_valid(document):
    validate(document)
    assert document["info"] == {"title": "Library", "version": "1.2"}


def test_only_what_is_bound_is_there(paths):
    assert set(paths) == {
        "/api/v1/books",
        "/api/v1/books/{id}",
        "/api/v1/books/{id}:lend",
        "/api/v1/books:watch",
        "/api/v1/catalog/books/{id}",
        "/api/v1/shelves/{name}",
        "/api/v1/scans",
    }
    assert set(paths["/api/v1/books/{id}"]) == {"get", "patch", "delete"}


def test_operation_ids_are_unique(paths):
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_comments_become_descriptions(document, paths):
    assert paths["/api/v1/books"]["post"]["summary"] == "Put a new book on a shelf"
    assert document["tags"] == [{"name": "Library", "description": "Books on shelves."}]
    assert schema(document, "Book")["description"] == "A book as the library knows it."
    title = schema(document, "Book")["properties"]["title"]
    assert title["description"] == "What is printed on the cover."


def test_statuses_of_own_reasons_are_told(paths):
    lend, get = paths["/api/v1/books/{id}:lend"]["post"], paths["/api/v1/books/{id}"]["get"]
    assert lend["responses"]["402"]["description"] == "Payment Required."
    assert "402" not in get["responses"]


def test_access_becomes_security(paths):
    assert paths["/api/v1/books"]["post"]["security"] == [{"bearerAuth": []}]
    assert paths["/api/v1/books"]["get"]["security"] == []
    assert "401" in paths["/api/v1/books"]["post"]["responses"]
    assert "403" in paths["/api/v1/books"]["post"]["responses"]
    assert "401" in paths["/api/v1/books"]["get"]["responses"]  # a token that does not hold
    assert "403" not in paths["/api/v1/books"]["get"]["responses"]


@pytest.mark.parametrize(
    ("path", "required"),
    [("/api/v1/books", True), ("/api/v1/books/{id}:lend", False), ("/api/v1/scans", None)],
)
def test_idempotency_keys(paths, path, required):
    headers = [p for p in paths[path]["post"].get("parameters", ()) if p["in"] == "header"]
    assert [header["required"] for header in headers] == ([] if required is None else [required])
    assert ("422" in paths[path]["post"]["responses"]) == (required is not None)


def test_rules_become_keywords(document):
    book = schema(document, "Book")["properties"]
    assert (book["title"]["minLength"], book["title"]["maxLength"]) == (1, 200)
    assert (book["rating"]["minimum"], book["rating"]["maximum"]) == (0, 5)
    assert book["authors"]["maxItems"] == 3
    assert book["authors"]["items"] == {"type": "string", "minLength": 1}
    assert schema(document, "LendBookRequest")["properties"]["reader"]["pattern"]
    assert schema(document, "Publisher")["required"] == ["name"]


def test_rules_that_let_zero_pass_are_not_told(document):
    assert schema(document, "Publisher")["properties"]["email"] == {"type": "string"}


def test_json_types(document):
    book = schema(document, "Book")["properties"]
    assert book["price_cents"]["type"] == "string"
    assert book["genre"] == {"$ref": "#/components/schemas/library.v1.Genre"}
    assert book["published"] == {"type": "string", "format": "date-time"}
    assert book["pages"]["type"] == ["integer", "null"]
    assert book["labels"]["additionalProperties"] == {"type": "string"}


def test_query_parameters(paths):
    parameters = {p["name"]: p["schema"] for p in paths["/api/v1/books"]["get"]["parameters"]}
    assert set(parameters) == {
        "page_size",
        "page_token",
        "genres",
        "filter.title",
        "filter.price.least",
        "filter.price.most",
        "lent",
        "published_after",
        "shelf_ids",
    }
    assert parameters["page_size"]["maximum"] == 100
    assert parameters["lent"] == {"type": "boolean"}


def test_bodies(document, paths):
    def body(path, verb):
        return paths[path][verb]["requestBody"]

    created = body("/api/v1/books", "post")["content"]["application/json"]["schema"]
    assert created == {"$ref": "#/components/schemas/library.v1.CreateBookRequest"}
    patched = body("/api/v1/books/{id}", "patch")["content"]["application/json"]["schema"]
    assert patched == {"$ref": "#/components/schemas/library.v1.Book.Partial"}
    assert body("/api/v1/scans", "post") == {"content": {"*/*": {}}}


def test_responses(paths):
    assert paths["/api/v1/books/{id}"]["delete"]["responses"]["204"] == {"description": "Success"}
    stream = paths["/api/v1/books:watch"]["get"]["responses"]["200"]["content"]
    assert set(stream) == {"text/event-stream", "application/x-ndjson"}
    problem = paths["/api/v1/books"]["get"]["responses"]["503"]
    assert problem == {"$ref": "#/components/responses/503"}
