"""The outbound side of the gRPC doors, before anything is called."""

import grpc
import pytest

from prodkit import Code, Pipeline
from prodkit.errors import ConfigurationError
from prodkit.policies.retry import Retry
from prodkit.transports.rpc.method import MethodInfo
from prodkit.transports.rpc.outbound import Outbound, OutboundMethod


def method(pipeline):
    return OutboundMethod(
        MethodInfo("/shop.v1.Stock/Get", safe=True), pipeline, print, Outbound(), set()
    )


@pytest.mark.parametrize("kind", [grpc.RpcError, grpc.aio.AioRpcError])
def test_what_waits_for_an_exception_of_grpc_is_refused_at_start(kind):
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__}, .*: write its code"):
        method(Pipeline(Retry(on=kind)))


def test_what_waits_for_codes_and_other_exceptions_is_not():
    method(Pipeline(Retry(on=(Code.UNAVAILABLE, TimeoutError))))
