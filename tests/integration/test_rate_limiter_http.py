"""Who is limited together at the HTTP door, whatever the client writes into its headers."""

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from prodkit import Pipeline
from prodkit.errors import UnavailableError
from prodkit.policies.rate_limiter import (
    MemoryRateLimitStore,
    Rate,
    RateLimiter,
    SlidingLog,
    by_client,
)
from prodkit.testing import ManualClock
from prodkit.transports.asgi import PipelineMiddleware

pytestmark = pytest.mark.anyio


async def item(_request):
    return PlainTextResponse("an item")


def client(limiter, peer="192.0.2.1", **options):
    app = Starlette(routes=[Route("/", item)])
    door = PipelineMiddleware(app, Pipeline(limiter), **options)
    transport = httpx2.ASGITransport(app=door, client=(peer, 5000))
    return httpx2.AsyncClient(transport=transport, base_url="http://shop")


def limiter(limit=2, **options):
    return RateLimiter(Rate(limit, per=60), key=by_client, clock=ManualClock(), **options)


async def statuses(shop, forwarded):
    answers = [await shop.get("/", headers={"x-forwarded-for": sent}) for sent in forwarded]
    return [answer.status_code for answer in answers]


async def test_without_a_proxy_the_forwarded_address_is_the_clients_own_invention():
    async with client(limiter()) as shop:
        invented = [f"203.0.113.{number}" for number in range(4)]
        assert await statuses(shop, invented) == [200, 200, 429, 429]


async def test_behind_one_proxy_what_stands_left_of_its_entry_is_invented():
    async with client(limiter(), peer="10.0.0.9", trusted_proxies=1) as shop:
        spoofed = [f"203.0.113.{number}, 198.51.100.7" for number in range(4)]
        assert await statuses(shop, spoofed) == [200, 200, 429, 429]
        assert await statuses(shop, ["198.51.100.7, 198.51.100.8"]) == [200]


async def test_behind_two_proxies_the_outer_one_says_who_it_was():
    async with client(limiter(), peer="10.0.0.9", trusted_proxies=2) as shop:
        hops = [f"203.0.113.{number}, 198.51.100.7, 10.0.0.{number}" for number in range(4)]
        assert await statuses(shop, hops) == [200, 200, 429, 429]


async def test_an_ipv6_client_does_not_get_a_rate_for_each_address_of_its_network():
    async with client(limiter(), peer="10.0.0.9", trusted_proxies=1) as shop:
        own = [f"2001:db8:1:2::{number:x}" for number in range(4)]
        assert await statuses(shop, own) == [200, 200, 429, 429]
        assert await statuses(shop, ["2001:db8:1:3::1"]) == [200]


async def test_a_header_without_an_address_counts_as_the_peer():
    async with client(limiter(), peer="10.0.0.9", trusted_proxies=1) as shop:
        assert await statuses(shop, ["unknown", "", "<script>", "1"]) == [200, 200, 429, 429]


async def test_a_refusal_has_both_fields_and_a_retry_after_that_is_not_too_short():
    burst, hour = Rate(2, per=3), SlidingLog(5, per=3600, name="hour")
    async with client(
        RateLimiter(burst, hour, key=by_client, name="api", clock=ManualClock())
    ) as shop:
        answers = [await shop.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    fields = answers[2].headers
    assert fields["ratelimit-policy"] == '"api-3s";q=2;w=3, "hour";q=5;w=3600'
    assert fields["ratelimit"] == '"api-3s";r=0;t=2, "hour";r=3;t=3600'
    assert fields["retry-after"] == "2"
    assert answers[2].json()["detail"] == "more than 2 calls in 3 s"


class Gone(MemoryRateLimitStore):
    async def take(self, *question):
        raise UnavailableError("gone")


@pytest.mark.parametrize(("treatment", "status"), [("open", 200), ("closed", 503), ("local", 200)])
async def test_each_route_says_what_a_lost_store_means(treatment, status):
    async with client(limiter(store=Gone(), on_store_failure=treatment)) as shop:
        answer = await shop.get("/")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
