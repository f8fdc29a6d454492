"""HTTP requests through the gateway, over a channel, to a service of the toy contract."""

import io
import json

import httpx2
import pytest

from prodkit.contract import Contract
from prodkit.errors import ConfigurationError
from prodkit.gateway import Gateway
from prodkit.pipeline import Pipeline
from prodkit.policies.rate_limiter import Rate, RateLimiter, by_client
from prodkit.telemetry import LineSink, Observe, Telemetry
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.local import LocalChannel, LocalServer

pytestmark = pytest.mark.anyio
SERVICE = "library.v1.Library"
SIGNED_IN = {"authorization": "Bearer token"}
KEYED = {**SIGNED_IN, "idempotency-key": '"k-1"'}


@pytest.fixture
async def librarian(library):
    return library.librarian.Librarian()


@pytest.fixture
async def channel(library, librarian):
    server = LocalServer(
        lambda server: library.rpc.add_LibraryServicer_to_server(librarian, server)
    )
    await server.start()
    channel = LocalChannel(server)
    yield channel
    await channel.close()
    await server.stop(1)


@pytest.fixture
def gateway(library, channel):
    return Gateway(Contract.load(library.pb), {SERVICE: channel}, headers=["x-scanner"])


@pytest.fixture(params=["bare", "behind its door"])
async def http(gateway, request):
    app = gateway if request.param == "bare" else PipelineMiddleware(gateway, Pipeline())
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://library") as client:
        yield client


async def test_what_is_refused_before_it_is_routed_has_its_template_all_the_same(gateway):
    lines, asked = io.BytesIO(), []

    def locate(scope):
        asked.append(scope["path"])
        return gateway.locate(scope)

    telemetry = Telemetry("library", log=LineSink(lines))
    limiter = RateLimiter(Rate(1, per=60), key=by_client)
    pipeline = Pipeline(Observe(telemetry), limiter)
    door = PipelineMiddleware(gateway, pipeline, locate=locate)
    transport = httpx2.ASGITransport(door)
    async with httpx2.AsyncClient(transport=transport, base_url="http://library") as client:
        for path in ("/api/v1/books/7", "/api/v1/books/8", "/nothing/here"):
            await client.get(path)
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["operation"], line["status"]) for line in told] == [
        ("GET /api/v1/books/{id}", 200),
        ("GET /api/v1/books/{id}", 429),
        ("GET _unmatched", 429),
    ]
    assert asked == ["/api/v1/books/8", "/nothing/here"]  # never for what is answered


async def test_path_to_request_and_response_to_json(http):
    answer = await http.get("/api/v1/books/7")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "id": "7",
        "title": "A title",
        "genre": "GENRE_UNSPECIFIED",
        "price_cents": "1000",
        "authors": [],
        "labels": {},
    }
    assert answer.headers["ratelimit"] == '"default";r=9;t=1'


async def test_only_what_is_everybodys_may_be_cached(http):
    assert "cache-control" not in (await http.get("/api/v1/books/7")).headers
    answer = await http.post("/api/v1/books/7:lend", json={"reader": "ann"}, headers=SIGNED_IN)
    assert answer.headers["cache-control"] == "no-store"


async def test_additional_binding(http):
    assert (await http.get("/api/v1/catalog/books/7")).json()["id"] == "7"


async def test_what_path_segments_may_hold(http, librarian):
    await http.get("/api/v1/books/a%2Fb%20%C3%A9:x")
    assert librarian.requests[0].id == "a/b é:x"


async def test_a_variable_over_two_segments(http, librarian):
    answer = await http.get("/api/v1/shelves/left")
    assert librarian.requests[0].name == "shelves/left"
    assert answer.json()["capacity"] == "9007199254740993"


async def test_body_status_and_what_is_forwarded(http, librarian):
    book = {"title": "T", "price_cents": 5, "published": "2026-01-31T12:00:00Z", "pages": 3}
    headers = {
        **KEYED,
        "x-prodkit-retry": "1",
        "x-client-address": "6.6.6.6",
        "cookie": "c",
        "grpc-timeout": "1H",
    }
    answer = await http.post("/api/v1/books", json={"book": book}, headers=headers)
    assert answer.status_code == 201
    assert answer.json()["price_cents"] == "5"
    assert (answer.json()["published"], answer.json()["pages"]) == (book["published"], 3)
    metadata = librarian.metadata[0]
    assert metadata["authorization"] == "Bearer token"
    assert metadata["client-address"] == "127.0.0.1"
    assert not {"cookie", "x-prodkit-retry", "grpc-timeout"} & metadata.keys()
    assert librarian.calls[0].key == "k-1"
    assert librarian.calls[0].deadline is not None


async def test_a_key_that_is_not_taken_has_no_effect(http, librarian):
    headers = {**SIGNED_IN, "idempotency-key": '"k-1"'}
    await http.patch("/api/v1/books/7", json={"title": "T"}, headers=headers)
    assert librarian.calls[0].key is None


async def test_custom_verb_with_an_empty_body(http, librarian):
    answer = await http.post("/api/v1/books/7:lend", headers=SIGNED_IN)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/reader"]
    answer = await http.post("/api/v1/books/7:lend", json={"reader": "ann"}, headers=SIGNED_IN)
    assert answer.json() == {"book_id": "7", "reader": "ann"}


async def test_a_reason_with_a_status_of_its_own(http):
    body = {"reader": "debtor"}
    answer = await http.post("/api/v1/books/7:lend", json=body, headers=SIGNED_IN)
    assert answer.status_code == answer.json()["status"] == 402
    assert answer.json()["title"] == "Payment Required"
    assert answer.json()["reason"] == "FEES_UNPAID"


async def test_a_body_may_not_contradict_the_path(http):
    body = {"id": "8", "reader": "ann"}
    answer = await http.post("/api/v1/books/7:lend", json=body, headers=SIGNED_IN)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/id"


async def test_success_without_content(http):
    answer = await http.delete("/api/v1/books/7", headers=SIGNED_IN)
    assert (answer.status_code, answer.content) == (204, b"")


async def test_every_kind_of_query_parameter(http, librarian, library):
    answer = await http.get(
        "/api/v1/books?page_size=3&genres=GENRE_NOVEL&genres=2&filter.title=a%20b"
        "&filter.price.least=1&lent=true&published_after=2026-01-01T00:00:00Z&shelf_ids=9"
    )
    assert answer.status_code == 200
    assert librarian.requests[0] == library.pb.ListBooksRequest(
        page_size=3,
        genres=[1, 2],
        filter={"title": "a b", "price": {"least": 1}},
        lent={"value": True},
        published_after={"seconds": 1_767_225_600},
        shelf_ids=[9],
    )


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("page_sise=3", "/page_sise"),
        ("pageSize=3", "/pageSize"),
        ("page_size=x", "/page_size"),
        ("page_size=1&page_size=2", "/page_size"),
        ("page_size=101", "/page_size"),
        ("genres=GENRE_MYSTERY", "/genres"),
        ("lent=yes", "/lent"),
        ("filter=x", "/filter"),
        ("filter.price.least=1e1000", "/filter/price/least"),
        ("published_after=yesterday", "/published_after"),
        ("page_token=%FF", ""),
        ("&".join(f"shelf_ids={n}" for n in range(300)), ""),
    ],
)
async def test_queries_that_are_refused(http, query, pointer):
    answer = await http.get(f"/api/v1/books?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_patch_takes_its_mask_from_the_body(http, librarian):
    body = {"title": "T", "publisher": {"name": "P"}, "pages": None, "labels": {"a": "b"}}
    answer = await http.patch("/api/v1/books/7", json=body, headers=SIGNED_IN)
    assert answer.status_code == 200
    request = librarian.requests[0]
    assert list(request.update_mask.paths) == ["title", "publisher.name", "pages", "labels"]
    assert (request.book.id, request.book.title) == ("7", "T")


async def test_a_patch_is_held_against_the_rules_of_its_mask_alone(http):
    answer = await http.patch("/api/v1/books/7", json={"price_cents": "1"}, headers=SIGNED_IN)
    assert answer.status_code == 200
    answer = await http.patch("/api/v1/books/7", json={"title": ""}, headers=SIGNED_IN)
    assert answer.json()["errors"][0]["pointer"] == "/title"
    assert answer.json()["detail"].startswith("/title: ")


async def test_a_patch_may_say_its_mask(http, librarian):
    path = "/api/v1/books/7?update_mask=title,publisher.email"
    await http.patch(path, json={"title": "T"}, headers=SIGNED_IN)
    assert list(librarian.requests[0].update_mask.paths) == ["title", "publisher.email"]
    answer = await http.patch("/api/v1/books/7?update_mask=name", json={}, headers=SIGNED_IN)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/update_mask"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"titel": "T"}', "/titel"),
        (b'{"authors": ["a", 1]}', "/authors/1"),
        (b'{"title": "T", "title": "U"}', "/title"),
        (b'{"title": NaN}', "/title"),
        (b"", ""),
    ],
)
async def test_pointers_lead_through_the_body(http, body, pointer):
    headers = {**KEYED, "content-type": "application/json"}
    wrapped = b'{"book": ' + body + b"}" if body else b""
    answer = await http.post("/api/v1/books", content=wrapped, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/book" + pointer
    answer = await http.patch("/api/v1/books/7", content=body or b"1", headers=headers)
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_strangers_are_told_so_before_anything_else(http):
    answer = await http.post("/api/v1/books", content=b"{")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_what_a_form_can_send_is_refused(http, kind):
    headers = {**KEYED, "content-type": kind}
    answer = await http.post("/api/v1/books", content=b"{}", headers=headers)
    assert answer.status_code == 415


async def test_json_may_have_parameters_and_suffixes(http):
    for kind in ("application/json; charset=utf-8", "application/merge-patch+json"):
        headers = {**SIGNED_IN, "content-type": kind}
        answer = await http.patch("/api/v1/books/7", content=b'{"title": "T"}', headers=headers)
        assert answer.status_code == 200


async def test_raw_bodies_pass_as_they_are(http, librarian):
    headers = {"content-type": "image/png", "x-scanner": "s1", "x-other": "o"}
    answer = await http.post("/api/v1/scans", content=b"\x00\xffabc", headers=headers)
    assert (answer.content, answer.headers["content-type"]) == (b"cba\xff\x00", "image/png")
    assert librarian.metadata[0]["x-scanner"] == "s1"
    assert "x-other" not in librarian.metadata[0]


async def test_a_body_that_is_too_large(http):
    answer = await http.post("/api/v1/scans", content=b"x" * (1 << 20) + b"x")
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("book", "status", "reason"),
    [
        ("missing", 404, "NO_SUCH_BOOK"),
        ("away", 503, "UNAVAILABLE"),
        ("x" * 37, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_errors_of_the_service(http, book, status, reason):
    answer = await http.get(f"/api/v1/books/{book}")
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    if status == 503:
        assert answer.headers["retry-after"] == "7"


async def test_a_fault_of_the_service_tells_nothing(http):
    answer = await http.get("/api/v1/books/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1/books/",
        "/api/v1/books/7/8",
        "/api/v1/Books",
        "//api/v1/books",
        "/api/v1/books/%FF",
        "/library.v1.Library/CountBooks",
    ],
)
async def test_paths_that_lead_nowhere(http, path):
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["reason"]) == (404, "NO_SUCH_PATH")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/api/v1/books", "GET, HEAD, OPTIONS, POST"),
        ("/api/v1/books/7", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/api/v1/books/7:lend", "OPTIONS, POST"),
    ],
)
async def test_verbs_that_are_not_there(http, path, allow):
    answer = await http.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert answer.json()["reason"] == "METHOD_NOT_ALLOWED"
    answer = await http.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (204, allow)


async def test_head_is_get_without_its_body(http):
    get = await http.get("/api/v1/books/7")
    head = await http.head("/api/v1/books/7")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_unreadable_metadata_is_refused(http):
    headers = {"authorization": "Bearer é".encode("latin-1")}
    answer = await http.delete("/api/v1/books/7", headers=headers)
    assert answer.status_code == 400


async def test_doors_read_the_template(gateway):
    operations = []

    async def note(call, proceed):
        try:
            return await proceed(call)
        finally:
            operations.append(call.operation)

    transport = httpx2.ASGITransport(PipelineMiddleware(gateway, Pipeline(note)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://library") as client:
        await client.get("/api/v1/books/7")
        await client.get("/api/v1/books/missing")
        await client.put("/api/v1/books/7")
    assert operations[0] == "GET /api/v1/books/{id}"
    assert operations[1] == "GET /api/v1/books/{id}"
    assert operations[2].startswith("PUT /api/v1/books/{")


async def test_the_request_id_and_the_address_of_the_door_reach_the_service(gateway, librarian):
    app = PipelineMiddleware(gateway, Pipeline(), trusted_proxies=1)
    transport = httpx2.ASGITransport(app)
    headers = {"x-request-id": "r-1", "x-forwarded-for": "1.2.3.4"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://library") as client:
        await client.get("/api/v1/books/7", headers=headers)
    assert librarian.calls[0].request_id == "r-1"
    assert librarian.metadata[0]["client-address"] == "1.2.3.4"


def test_a_service_without_a_channel_is_refused(library):
    with pytest.raises(ConfigurationError, match=r"CreateBook: there is no channel to library"):
        Gateway(Contract.load(library.pb), {})


@pytest.mark.parametrize("name", ["authorization", "idempotency-key", "x-scanner"])
async def test_what_no_service_could_take_is_refused(http, librarian, name):
    headers = {**SIGNED_IN, name: "Bearer " + "x" * 6140}
    answer = await http.post("/api/v1/books/7:lend", json={"reader": "ann"}, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (431, "HEADERS_TOO_LARGE")
    assert name in answer.json()["detail"]
    assert librarian.requests == []


@pytest.mark.parametrize("name", ["X-Prodkit-Retry", "traceparent", "idempotency-key", "grpc-x"])
async def test_reserved_headers_cannot_be_forwarded(library, channel, name):
    with pytest.raises(ConfigurationError, match="cannot be forwarded"):
        Gateway(Contract.load(library.pb), {SERVICE: channel}, headers=[name])


async def test_the_documentation_page_asks_no_other_host(http):
    page = await http.get("/api/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("http-equiv", "")
    for asset in ("style.css", "bundle.js", "preset.js", "start.js"):
        assert f"/api/docs/{asset}" in page.text
        answer = await http.get(f"/api/docs/{asset}")
        assert answer.status_code == 200
        assert len(answer.content) == int(answer.headers["content-length"])


async def test_the_document_is_served(http):
    answer = await http.get("/api/openapi.json")
    assert json.loads(answer.content)["openapi"] == "3.1.0"


async def test_the_documentation_can_be_left_out(library, channel):
    app = Gateway(Contract.load(library.pb), {SERVICE: channel}, docs=False)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://library") as client:
        assert (await client.get("/api/docs")).status_code == 404
