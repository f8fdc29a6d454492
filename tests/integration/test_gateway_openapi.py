"""The document that the gateway serves, tried against the gateway: nothing undocumented."""

import asyncio

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from prodkit.contract import Contract
from prodkit.gateway import Gateway
from prodkit.pipeline import Pipeline
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.local import LocalChannel, LocalServer

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Served:
    """The gateway with the service behind it, started in whatever loop calls first."""

    def __init__(self, library):
        self._library = library
        self._apps = {}

    async def __call__(self, scope, receive, send):
        loop = asyncio.get_running_loop()
        if loop not in self._apps:
            self._apps[loop] = await self._start()
        await self._apps[loop](scope, receive, send)

    async def _start(self):
        librarian = self._library.librarian.Librarian()
        server = LocalServer(
            lambda server: self._library.rpc.add_LibraryServicer_to_server(librarian, server)
        )
        await server.start()
        channels = {"library.v1.Library": LocalChannel(server)}
        gateway = Gateway(Contract.load(self._library.pb), channels)
        return PipelineMiddleware(gateway, Pipeline())


METHODS = [
    "CreateBook",
    "GetBook",
    "ListBooks",
    "UpdateBook",
    "DeleteBook",
    "LendBook",
    "GetShelf",
    "ReceiveScan",
]
#: Those of which a request can be wrong.
REFUSING = ["CreateBook", "ListBooks", "UpdateBook", "LendBook"]
RIGHT, WRONG = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE


@pytest.mark.parametrize(
    ("method", "mode"),
    [(method, RIGHT) for method in METHODS] + [(method, WRONG) for method in REFUSING],
)
def test_no_answer_is_undocumented(library, method, mode):
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", Served(library))
    operation = schema.find_operation_by_id(f"Library_{method}")

    @settings(
        max_examples=10,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case):
        response = case.call(headers={"authorization": "Bearer t"})
        case.validate_response(response, checks=CHECKS)

    run()
