"""Doors for calls that come in, and whether something ends them."""

from __future__ import annotations

import pytest

IMPORTS = """
from prodkit import Pipeline
from prodkit.messaging.consumer import Consumer
from prodkit.policies.deadline import Deadline
from prodkit.policies.timeout import Timeout
from prodkit.service.contract_pipelines import ContractPipelines
from prodkit.telemetry import Observe
from prodkit.transports.asgi import PipelineMiddleware, route_pipeline
from prodkit.transports.grpc import GrpcServer, no_policies
from prodkit.transports.http_server import HttpServer
from prodkit.transports.local import LocalServer
from starlette.applications import Starlette
from starlette.middleware import Middleware
"""

UNLIMITED = [
    "PipelineMiddleware(app, Pipeline(Observe(t)))",
    "PipelineMiddleware(app, Pipeline())",
    "PipelineMiddleware(app, pipeline=Pipeline(Observe(t)))",
    "p = Pipeline(Observe(t))\nPipelineMiddleware(app, p)",
    "p: object = Pipeline(Observe(t))\nPipelineMiddleware(app, p)",
    "o, p = Observe(t), Pipeline(Observe(t))\nPipelineMiddleware(app, Pipeline(o, *p.members))",
    "app.add_middleware(PipelineMiddleware, pipeline=Pipeline())",
    "Middleware(PipelineMiddleware, pipeline=Pipeline())",
    "def made(*policies):\n    return Pipeline(Observe(t), *policies)\n\n\n"
    "PipelineMiddleware(app, made())",
    "def made(policy):\n    observe = Observe(t)\n    return Pipeline(observe, policy)\n\n\n"
    "PipelineMiddleware(app, made(Observe(u)))",
    "def made(p=Observe(t)):\n    return Pipeline(p)\n\n\nPipelineMiddleware(app, made())",
    "GrpcServer(add)",
    "GrpcServer(add, pipelines=no_policies)",
    "GrpcServer(add, pipelines=lambda method: Pipeline(Observe(t)))",
    "p = Pipeline()\nLocalServer(add, pipelines=lambda _: p)",
    "def of(method):\n    return Pipeline(Observe(t))\n\n\nGrpcServer(add, pipelines=of)",
    "Consumer(broker, 'q', {})",
    "Consumer(broker, 'q', {}, pipeline=Pipeline(Observe(t)))",
]

LIMITED_OR_UNKNOWN = [
    "PipelineMiddleware(app, Pipeline(Observe(t), Deadline(2)))",
    "PipelineMiddleware(app, Pipeline(mystery, Deadline(2)))",
    "PipelineMiddleware(app, Pipeline(Timeout(2)))",
    "PipelineMiddleware(app, Pipeline(mystery))",
    "PipelineMiddleware(app, Pipeline(*members))",
    "PipelineMiddleware(app, pipeline)",
    "PipelineMiddleware(app, kit.pipeline())",
    "members = [Observe(t)]\nmembers.append(Deadline(2))\n"
    "PipelineMiddleware(app, Pipeline(*members))",
    "p = Pipeline()\nif strict:\n    p = Pipeline(Deadline(2))\nPipelineMiddleware(app, p)",
    "p = Pipeline()\n\n\ndef change():\n    global p\n    p = Pipeline(Deadline(2))\n\n\n"
    "PipelineMiddleware(app, p)",
    "for p in [Pipeline()]:\n    PipelineMiddleware(app, p)",
    "async def middleware(call, proceed):\n    ...\n\n\n"
    "PipelineMiddleware(app, Pipeline(Observe(t), middleware))",
    "class Deadline:\n    pass\n\n\nPipelineMiddleware(app, Pipeline(Deadline(2)))",
    "def made(*policies):\n    return Pipeline(Observe(t), *policies)\n\n\n"
    "PipelineMiddleware(app, made(Deadline(2)))",
    "def made(policy):\n    return Pipeline(policy)\n\n\nPipelineMiddleware(app, made(thing))",
    "def made(policy):\n    return Pipeline(policy)\n\n\nPipelineMiddleware(app, made(*things))",
    "def made():\n    if x:\n        return Pipeline(Deadline(2))\n    return Pipeline()\n\n\n"
    "PipelineMiddleware(app, made())",
    "@wrapped\ndef made():\n    return Pipeline()\n\n\nPipelineMiddleware(app, made())",
    "def made():\n    return made()\n\n\nPipelineMiddleware(app, made())",
    "p = q\nq = p\nPipelineMiddleware(app, p)",
    "p = Pipeline(*p.members)\nPipelineMiddleware(app, p)",
    "t = (*t, *t)\nPipelineMiddleware(app, Pipeline(*t))",
    "def made(p):\n    p = strict(p)\n    return p\n\n\nPipelineMiddleware(app, made(Pipeline()))",
    "def build():\n    p = Pipeline()\n\n    def change():\n        nonlocal p\n"
    "        p = Pipeline(Deadline(2))\n\n    change()\n    return PipelineMiddleware(app, p)",
    "p: Pipeline\nPipelineMiddleware(app, p)",
    "PipelineMiddleware(app, Pipeline(Deadline(2) if x else Observe(t)))",
    "with opened() as p:\n    PipelineMiddleware(app, p)",
    "try:\n    p = Pipeline()\nexcept OSError:\n    p = strict\nPipelineMiddleware(app, p)",
    "p = Pipeline()\np |= strict\nPipelineMiddleware(app, p)",
    "[PipelineMiddleware(app, p) for p in (Pipeline(),)]",
    "class A:\n    p = Pipeline()\n\n    def build(self, p):\n"
    "        return PipelineMiddleware(app, p)",
    "def build(pipeline):\n    return PipelineMiddleware(app, pipeline)",
    "def build(Pipeline):\n    return PipelineMiddleware(app, Pipeline())",
    # The outer one ends what the inner one lets be.
    "inner = PipelineMiddleware(app, Pipeline())\nPipelineMiddleware(inner, Pipeline(Deadline(2)))",
    "PipelineMiddleware(Starlette(PipelineMiddleware(app, Pipeline())), Pipeline(Deadline(2)))",
    # The routes have limits of their own, or may have.
    "route_pipeline(Pipeline(Deadline(2)))\nPipelineMiddleware(app, Pipeline())",
    "route_pipeline(limits)\nPipelineMiddleware(app, Pipeline())",
    # The methods behind a gateway have theirs.
    "from prodkit.gateway import Gateway\nPipelineMiddleware(Gateway(c, {}), Pipeline(Observe(t)))",
    "GrpcServer(add, pipelines=ContractPipelines(contract))",
    "GrpcServer(add, pipelines=lambda method: Pipeline(Deadline(2)))",
    "GrpcServer(add, pipelines=late.pipeline)",
    "GrpcServer(add, **options)",
    "GrpcServer()",
    "Consumer(broker, 'q', {}, pipeline=self.pipeline())",
    "Consumer(broker, 'q', {}, pipeline=Pipeline(Deadline(9)))",
    "Consumer(broker, 'q', {}, **options)",
    "HttpServer(PipelineMiddleware(app, Pipeline(Deadline(2))))",
    "HttpServer(Starlette(routes=[]))",  # the project has a door: it may be within
]


@pytest.mark.parametrize("text", UNLIMITED)
def test_a_door_without_a_limit_is_found_once_at_its_line(found, text):
    last = (IMPORTS + text).count("\n") + 1
    assert found(IMPORTS + text) == [("inbound-limit", last)]


@pytest.mark.parametrize("text", LIMITED_OR_UNKNOWN)
def test_a_door_with_a_limit_or_with_what_nobody_knows_is_left_in_peace(found, text):
    assert found(IMPORTS + text) == []


@pytest.mark.parametrize(
    ("inner", "lines"),
    [
        # Mounted in another file's app, maybe.
        ("PipelineMiddleware(app, Pipeline())", []),
        ("HttpServer(PipelineMiddleware(app, Pipeline()))", [1]),
        ("door = PipelineMiddleware(app, Pipeline())\nHttpServer(door)", [1]),
    ],
)
@pytest.mark.parametrize("outer", ["Pipeline(Deadline(2))", "limits"])
def test_a_door_may_stand_in_that_of_another_file_unless_it_is_served(found, inner, lines, outer):
    files = {
        "inner.py": IMPORTS + inner,
        "outer.py": IMPORTS + f"HttpServer(PipelineMiddleware(Starlette(), {outer}))",
    }
    first = IMPORTS.count("\n")
    assert found(files) == [("inbound-limit", first + line) for line in lines]


@pytest.mark.parametrize(
    ("imported", "called"),
    [
        ("import prodkit", "prodkit.pipeline.Pipeline"),
        ("from prodkit.pipeline import Pipeline as P", "P"),
        ("import prodkit.pipeline as kernel", "kernel.Pipeline"),
    ],
)
def test_a_name_is_followed_to_where_it_comes_from(found, imported, called):
    door = "from prodkit.transports.asgi import PipelineMiddleware as Door"
    assert found(f"{imported}\n{door}\nDoor(app, {called}())") == [("inbound-limit", 3)]


def test_what_only_bears_the_name_is_somebody_elses(found):
    assert (
        found("from other import PipelineMiddleware, Pipeline\nPipelineMiddleware(a, Pipeline())")
        == []
    )


SERVED = """
from prodkit.transports.http_server import HttpServer
from starlette.applications import Starlette
"""


def test_an_app_that_is_served_without_any_door_is_found(found):
    assert found(SERVED + "app = Starlette()\nHttpServer(app)") == [("inbound-limit", 5)]


@pytest.mark.parametrize(
    "text",
    [
        "HttpServer(app)",
        "HttpServer(Starlette(middleware=m))",
        "HttpServer(Starlette(**options))",
        "app = Starlette()\napp.add_middleware(Door)\nHttpServer(app)",
    ],
)
def test_an_app_that_may_have_a_door_is_not(found, text):
    assert found(SERVED + text) == []
