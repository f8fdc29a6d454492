import logging

import pytest
import structlog
from httpx2 import ASGITransport, AsyncClient
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr

from prodkit.errors import ConfigurationError
from prodkit.service.admin import Admin
from prodkit.service.health import Check, Health

pytestmark = pytest.mark.anyio

TOKEN = {"authorization": "Bearer open-sesame"}


async def fine():
    pass


@pytest.fixture
def asked():
    return []


@pytest.fixture
def browse(asked):
    def browse(token="open-sesame", host="127.0.0.1"):
        registry = CollectorRegistry()
        Counter("orders", "Orders placed", registry=registry).inc()
        admin = Admin(registry, token=SecretStr(token) if token else None, host=host)
        admin.attach(Health([Check("database", fine)]), asked.append)
        return AsyncClient(transport=ASGITransport(admin.app()), base_url="http://admin")

    return browse


async def test_metrics_and_health_are_open_on_loopback(browse):
    async with browse() as client:
        metrics = await client.get("/metrics")
        health = await client.get("/health")
    assert metrics.status_code == 200
    assert "orders_total 1.0" in metrics.text
    assert metrics.headers["content-type"].startswith("text/plain")
    assert health.json()["checks"]["database"]["status"] == "healthy"


async def test_metrics_speak_openmetrics_to_who_asks(browse):
    async with browse() as client:
        answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_elsewhere_metrics_need_the_token_and_health_does_not(browse):
    async with browse(host="0.0.0.0") as client:
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=TOKEN)).status_code == 200
        assert (await client.get("/health/live")).status_code == 200


def test_elsewhere_there_must_be_a_token():
    with pytest.raises(ConfigurationError, match="loopback"):
        Admin(CollectorRegistry(), host="0.0.0.0")


@pytest.mark.parametrize("shown", [{}, {"authorization": "Bearer x"}, {"authorization": "Bearer "}])
async def test_levers_need_the_token(browse, asked, shown):
    async with browse() as client:
        assert (await client.post("/admin/drain", headers=shown)).status_code == 401
        answer = await client.put("/admin/log-level", content="debug", headers=shown)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert asked == []


async def test_without_a_token_there_are_no_levers(browse, asked):
    async with browse(token=None) as client:
        answer = await client.post("/admin/drain", headers={"authorization": "Bearer "})
    assert answer.status_code == 404
    assert asked == []


async def test_drain(browse, asked):
    async with browse() as client:
        assert (await client.post("/admin/drain", headers=TOKEN)).status_code == 202
    assert asked == ["asked on the admin port"]


@pytest.fixture
def logging_as_before():
    before, level = structlog.get_config(), logging.getLogger().level
    yield
    structlog.configure(**before)
    logging.getLogger().setLevel(level)


@pytest.mark.usefixtures("logging_as_before")
async def test_log_level(browse, capsys):
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    log = structlog.get_logger()
    async with browse() as client:
        log.debug("before")
        assert (
            await client.put("/admin/log-level", content="debug", headers=TOKEN)
        ).status_code == 204
        log.debug("after")
        wrong = await client.put("/admin/log-level", content="loud", headers=TOKEN)
    assert wrong.status_code == 400
    out = capsys.readouterr().out
    assert "after" in out
    assert "before" not in out
    assert logging.getLogger().level == logging.DEBUG
