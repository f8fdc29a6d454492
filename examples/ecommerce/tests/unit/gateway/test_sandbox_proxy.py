import httpx2
import pytest
from starlette.applications import Starlette

from ecommerce.gateway.sandbox_proxy import SandboxProxy

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ask():
    """Send a request through the proxy; return the answer and what reached the sandbox."""
    seen = []

    def sandbox(request):
        seen.append(request)
        return httpx2.Response(200, text="here")

    transport = httpx2.MockTransport(sandbox)
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        proxy = httpx2.ASGITransport(Starlette(routes=SandboxProxy(client).routes()))

        async def ask(method, path, **headers):
            async with httpx2.AsyncClient(transport=proxy, base_url="http://shop") as browser:
                return await browser.request(method, path, headers=headers), seen

        yield ask


async def test_the_pages_are_the_sandboxes(ask):
    answer, [request] = await ask("GET", "/sandbox/mailbox")
    assert (answer.text, request.url.path) == ("here", "/sandbox/mailbox")


@pytest.mark.parametrize("path", ["/sandbox/%00", "/sandbox/%2e%2e/v1/ledger"])
async def test_what_is_no_page_of_the_sandbox_is_not_found(ask, path):
    answer, seen = await ask("GET", path)
    assert (answer.status_code, seen) == (404, [])


async def test_a_content_type_is_passed_on_as_it_came(ask):
    answer, [request] = await ask("POST", "/sandbox/switches", **{"content-type": b"\xff/\xfe"})
    assert answer.status_code == 200
    assert (b"content-type", b"\xff/\xfe") in [(k.lower(), v) for k, v in request.headers.raw]
