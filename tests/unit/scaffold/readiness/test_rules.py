"""The other rules, each with what it finds and what it leaves in peace."""

from __future__ import annotations

import inspect

import pytest

from prodkit import policies, security
from prodkit.scaffold.readiness import RULES
from prodkit.scaffold.readiness.pipelines import MEMBERS

KEPT = "import asyncio, queue\n\n\nclass W:\n    def __init__(self):\n        self._q = {}\n\n"
WORK = "    async def run(self):\n        while True:\n            await self._q.get()\n"
PIPELINE = (
    "from prodkit import Pipeline\nfrom prodkit.policies.bulkhead import Bulkhead\n"
    "from prodkit.policies.deadline import Deadline\n"
)
SERVICE = (
    "from prodkit.service.service import Service\nfrom prodkit.service.platform import Platform\n"
    "import asyncio\n"
)
CALLS = (
    "import httpx2\nfrom prodkit import Pipeline\n"
    "from prodkit.policies.circuit_breaker import CircuitBreaker\n"
    "from prodkit.policies.timeout import Timeout\n"
    "from prodkit.transports.grpc import open_channel\n"
    "from prodkit.transports.http import PipelineTransport\n"
    "breaker = CircuitBreaker('x')\np = Pipeline(breaker, Timeout(1))\n"
)
CORS = (
    "from starlette.middleware import Middleware\n"
    "from starlette.middleware.cors import CORSMiddleware\n"
)

FOUND = {
    "unbounded-queue": [
        KEPT.format("asyncio.Queue()") + WORK,
        KEPT.format("asyncio.Queue(maxsize=0)") + WORK,
        KEPT.format("queue.Queue(-1)") + WORK,
        "import asyncio\nq = asyncio.Queue()\n\n\nasync def run():\n    while True:\n"
        "        item = await q.get()",
        PIPELINE + "Pipeline(Bulkhead('x', limit=2, queue=None))",
    ],
    "unbounded-retry": [
        "from tenacity import retry\n\n\n@retry\ndef f(): ...",
        "import tenacity\n\n\n@tenacity.retry(wait=w)\ndef f(): ...",
        "from tenacity import AsyncRetrying, stop_never\nAsyncRetrying(stop=stop_never)",
        "import backoff\n\n\n@backoff.on_exception(backoff.expo, OSError)\ndef f(): ...",
        "import stamina\n\n\n@stamina.retry(on=OSError, attempts=None, timeout=None)\ndef f(): ...",
    ],
    "shared-breaker": [
        CALLS + "open_channel('a:1', lambda _: p)\nopen_channel('b:1', lambda _: p)",
        CALLS + "httpx2.AsyncClient(base_url='http://a/x', transport=PipelineTransport(p))\n"
        "httpx2.AsyncClient(base_url='http://b/x', transport=PipelineTransport(p))",
        CALLS + "open_channel('a:1', lambda _: p)\n"
        "open_channel('b:1', lambda _: Pipeline(breaker, Timeout(2)))",
    ],
    "no-drain": [
        "import uvicorn\nuvicorn.run(app)",
        "import uvicorn\nif device and locale:\n    uvicorn.run(app)",
        "import uvicorn\nif __name__ == '__main__':\n    uvicorn.run('app:app')",
        "from uvicorn import Config, Server\nServer(Config(app)).run()",
        SERVICE + "asyncio.run(Platform([s]).serve())",
        SERVICE + "s = Service('x', admin=a)\nasyncio.run(s.platform().serve())",
        SERVICE + "Platform([s], drain_timeout=0)",
    ],
    "debug": [
        "from starlette.applications import Starlette\nStarlette(debug=True)",
        "from fastapi import FastAPI\napp = FastAPI(debug=True)",
        "from flask import Flask\napp = Flask('x')\napp.run(debug=True)",
        "import asyncio\nasyncio.run(main(), debug=True)",
        "import sqlalchemy\nsqlalchemy.create_engine(url, echo=True)",
    ],
    "cors": [
        CORS + "CORSMiddleware(app, allow_origins=['*'], allow_credentials=True)",
        CORS + "app.add_middleware(CORSMiddleware, allow_origins=('*',), allow_credentials=True)",
        CORS + "o = ['*']\nMiddleware(CORSMiddleware, allow_origins=o, allow_credentials=True)",
        CORS + "CORSMiddleware(app, allow_origin_regex='.*', allow_credentials=True)",
    ],
}

LEFT = {
    "unbounded-queue": [
        KEPT.format("asyncio.Queue(100)") + WORK,
        KEPT.format("asyncio.Queue(size)") + WORK,
        KEPT.format("asyncio.Queue()"),  # nobody works it off: a pool, an answer
        KEPT.format("asyncio.Queue()") + WORK + "        self._q.qsize()\n",
        "import asyncio\n\n\nasync def f():\n    q = asyncio.Queue()\n    while True:\n"
        "        await q.get()",
        PIPELINE + "Pipeline(Bulkhead('x', limit=2, queue=None, max_wait=1))",
        PIPELINE + "Pipeline(Bulkhead('x', limit=2, queue=5))",
        PIPELINE + "Pipeline(Deadline(2), Bulkhead('x', limit=2, queue=None))",
        PIPELINE + "Pipeline(mystery, Bulkhead('x', limit=2, queue=None))",
    ],
    "unbounded-retry": [
        "from tenacity import retry, stop_after_attempt\n\n\n@retry(stop=stop_after_attempt(3))\n"
        "def f(): ...",
        "from tenacity import retry, retry_if_result\n\n\n@retry(retry=retry_if_result(none))\n"
        "def f(): ...",
        "from other import retry\n\n\n@retry\ndef f(): ...",
        "import backoff\n\n\n@backoff.on_exception(wait, OSError, max_time=9)\ndef f(): ...",
        "import stamina\n\n\n@stamina.retry(on=OSError)\ndef f(): ...",
    ],
    "shared-breaker": [
        CALLS + "open_channel('a:1', lambda _: p)\nopen_channel('a:1', lambda _: p)",
        CALLS + "open_channel('a:1', lambda _: p)\nopen_channel(target, lambda _: p)",
        CALLS + "open_channel('a:1', lambda _: p)\n"
        "open_channel('b:1', lambda _: Pipeline(CircuitBreaker('y'), Timeout(1)))",
        CALLS + "httpx2.AsyncClient(base_url='http://a/x', transport=PipelineTransport(p))\n"
        "httpx2.AsyncClient(base_url='http://a/y', transport=PipelineTransport(p))",
    ],
    "no-drain": [
        "import uvicorn\nif settings.debug:\n    uvicorn.run(app)",
        "import uvicorn\n\n\ndef run_dev():\n    uvicorn.run(app)",
        "import uvicorn\n\n\n@cli.command('develop')\ndef run():\n    uvicorn.run(app)",
        "import uvicorn\ns = uvicorn.Server(c)\ns.should_exit = True",
        "from hypercorn.asyncio import serve\nserve(app, c, shutdown_trigger=event.wait)",
        SERVICE + "Service('x', admin=a).run()",
        SERVICE + "asyncio.run(main())",
        SERVICE + "asyncio.run(other.serve())",
        SERVICE + "Platform([s], drain_timeout=settings.drain_timeout)",
    ],
    "debug": [
        "from fastapi import FastAPI\nFastAPI(debug=settings.debug)",
        "from starlette.applications import Starlette\nStarlette()",
        "import asyncio\nif local:\n    asyncio.run(main(), debug=True)",
        "other.run(debug=True)",
    ],
    "cors": [
        CORS + "CORSMiddleware(app, allow_origins=['*'])",
        CORS + "CORSMiddleware(app, allow_origins=['https://x'], allow_credentials=True)",
        CORS + "CORSMiddleware(app, allow_origins=origins, allow_credentials=True)",
    ],
}


@pytest.mark.parametrize(("rule", "text"), [(r, t) for r, ts in FOUND.items() for t in ts])
def test_a_rule_finds(found, rule, text):
    assert [name for name, _ in found(text)] == [rule]


@pytest.mark.parametrize(("rule", "text"), [(r, t) for r, ts in LEFT.items() for t in ts])
def test_a_rule_leaves_in_peace(found, rule, text):
    assert found(text) == []


def test_every_rule_is_one_of_those_that_are_told():
    assert set(FOUND) < set(RULES)


def test_the_members_of_pipelines_that_are_known_are_all_that_there_are():
    """What a new policy does must be known here, or nothing is said of a pipeline with it."""
    from importlib import import_module
    from pkgutil import walk_packages

    there = set()
    for package in (policies, security):
        for info in walk_packages(package.__path__, package.__name__ + "."):
            for name, each in vars(import_module(info.name)).items():
                own = inspect.isclass(each) and each.__module__.startswith(package.__name__)
                if own and hasattr(each, "traits") and "__call__" in vars(each):
                    there.add(name)
    others = {"Authorize", "Observe", "Validate", "outside_transactions"}
    assert there | others == MEMBERS
