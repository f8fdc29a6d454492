"""Calls to others, and whether something ends them."""

from __future__ import annotations

import pytest

IMPORTS = """
import http.client
import smtplib
import urllib.request
import httpx
import httpx2
import requests
from urllib.request import urlopen
from prodkit import Pipeline
from prodkit.policies.circuit_breaker import CircuitBreaker
from prodkit.policies.deadline import Deadline
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout
from prodkit.transports.grpc import no_policies, open_channel
from prodkit.transports.http import PipelineTransport
"""

UNLIMITED = [
    "open_channel('orders:50051')",
    "open_channel('orders:50051', no_policies)",
    "open_channel('orders:50051', lambda method: Pipeline(CircuitBreaker('orders')))",
    "open_channel('orders:50051', pipelines=lambda method: Pipeline())",
    "PipelineTransport(Pipeline(Retry(on=Exception)))",
    "PipelineTransport(pipeline=Pipeline())",
    "PipelineTransport(Pipeline(), httpx2.AsyncHTTPTransport(retries=1))",
    "PipelineTransport(Pipeline(), None)",
    "requests.get(url)",
    "requests.request('GET', url, timeout=None)",
    "urllib.request.urlopen(url)",
    "urlopen(url, data)",
    "http.client.HTTPSConnection(host)",
    "smtplib.SMTP(host, 25)",
    "httpx2.AsyncClient(timeout=None)",
    "httpx.get(url, timeout=None)",
]

LIMITED_OR_UNKNOWN = [
    "open_channel('orders:50051', lambda method: Pipeline(Deadline(2)))",
    "open_channel('orders:50051', pipelines)",
    "open_channel(*where)",
    "open_channel('orders:50051', **options)",
    "open_channel('orders:50051')\nstub.GetOrder(request, timeout=2.0)",
    "from prodkit.gateway import Gateway\nGateway(c, {'x': open_channel('orders:50051')})",
    "PipelineTransport(Pipeline(Retry(on=Exception), Timeout(1)))",
    "PipelineTransport(kit.outbound())",
    "PipelineTransport(Pipeline(), inner)",
    "PipelineTransport(Pipeline(), httpx2.ASGITransport(app))",
    "requests.get(url, timeout=3)",
    "requests.get(url, **options)",
    "session.get(url)",
    "urlopen(url, None, 3)",
    "urlopen(url, timeout=limit)",
    "import socket\nsocket.setdefaulttimeout(3)\nurlopen(url)",
    "http.client.HTTPConnection(host, 80, 3)",
    "smtplib.SMTP(host, 25, timeout=3)",
    "httpx2.AsyncClient()",
    "httpx2.AsyncClient(timeout=5.0)",
    "httpx2.AsyncClient(timeout=None, transport=transport)",
    "def get(requests):\n    return requests.get(url)",
]


@pytest.mark.parametrize("text", UNLIMITED)
def test_what_waits_for_ever_is_found(found, text):
    assert found(IMPORTS + text) == [("outbound-limit", (IMPORTS + text).count("\n") + 1)]


@pytest.mark.parametrize("text", LIMITED_OR_UNKNOWN)
def test_what_has_a_limit_or_may_have_one_is_left_in_peace(found, text):
    assert found(IMPORTS + text) == []
