"""The service that test_service_process.py starts and signals."""

import argparse
import asyncio
import gc
import json
import sys
import time

import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from prodkit.holding import HELD, Hold, check_nothing_held
from prodkit.service.admin import Admin
from prodkit.service.health import Check, Health
from prodkit.service.service import Service
from prodkit.service.settings import ServiceSettings
from prodkit.service.workers import Worker
from prodkit.transports.http_server import HttpServer

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def tell(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Resource:
    def __init__(self, name):
        self.name = name

    async def start(self):
        pass

    async def stop(self, grace):
        tell(f"-{self.name}")

    async def ping(self):
        pass


poison = asyncio.Event()


async def slow(request):
    try:
        await asyncio.sleep(float(request.query_params["seconds"]))
    except asyncio.CancelledError:
        tell("handler cancelled")
        raise
    return PlainTextResponse("done")


async def stuck(_):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
    return PlainTextResponse("", 202)


async def hold(_):
    token = HELD.set(Hold("database"))
    try:
        check_nothing_held("GET stock")
    finally:
        HELD.reset(token)
    return PlainTextResponse("called")


async def frozen(_):
    return PlainTextResponse(str(gc.get_freeze_count()))


async def kill_worker(_):
    poison.set()
    return PlainTextResponse("", 202)


async def work():
    await poison.wait()
    raise RuntimeError("poisoned")


class Announcer:
    """The last edge to start: by then every port is known."""

    name, edge = "announcer", True

    async def start(self):
        tell(json.dumps({"http": http.port, "admin": admin.port}))

    async def stop(self, grace):
        pass


parser = argparse.ArgumentParser()
parser.add_argument("--drain-delay", type=float, default=0.0)
parser.add_argument("--drain-timeout", type=float, default=5.0)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--environment", default="test")
options = parser.parse_args()

health = Health()
app = Starlette(
    routes=[
        Route("/slow", slow),
        Route("/stuck", stuck),
        Route("/hold", hold),
        Route("/frozen", frozen),
        Route("/kill-worker", kill_worker),
        *health.routes(),
    ]
)
database = Resource("database")
http = HttpServer(app, port=options.port)
admin = Admin(CollectorRegistry(), port=0)

Service(
    "test",
    settings=ServiceSettings(
        environment=options.environment,
        drain_delay=options.drain_delay,
        drain_timeout=options.drain_timeout,
    ),
    resources=[database, Resource("broker")],
    servers=[http, Announcer()],
    workers=[Worker("work", work, essential=True)],
    checks=[Check("database", database.ping)],
    health=health,
    admin=admin,
).run()
