"""What every answer of the gateway carries, and the document that describes them (scenario 43)."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from harness import ADDRESS, ORIGIN, Shop
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

SECURE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: What would end the session that the others are tried with, or is tried with a stream of its own.
LEFT_OUT = {
    "AuthService_Logout",
    "AuthService_RotateKeys",
    "OrderService_WatchOrder",
    "UserService_DeactivateMe",
    "UserService_RegisterUser",  # its rate is everybody's
}


@pytest.mark.parametrize(
    "path", ["/", "/health", "/api/v1/products", "/api/v1/nothing", "/api/v1/orders", "/nothing"]
)
def test_every_answer_is_secured(shop: Shop, path: str) -> None:
    headers = shop.api.get(path).headers
    assert SECURE.items() <= dict(headers).items()
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-request-id"]
    assert "server" not in headers


def test_the_documentation_asks_nobody_else(shop: Shop) -> None:
    answer = shop.api.get("/api/docs")
    assert answer.status_code == 200
    assert "//" not in answer.text.replace("<!--", "").replace("</", "")
    for name in ("style.css", "bundle.js", "preset.js", "start.js"):
        assert shop.api.get(f"/api/docs/{name}").status_code == 200
    policies = answer.headers.get_list("content-security-policy")
    assert all("http" not in policy for policy in policies)


def test_only_the_pages_that_were_named_may_call(shop: Shop) -> None:
    asks = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    answer = shop.api.options("/api/v1/orders", headers=asks | {"origin": ORIGIN})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in answer.headers["access-control-allow-headers"]
    answer = shop.api.get("/api/v1/products", headers={"origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    # Refusals must be readable too.
    answer = shop.api.get("/api/v1/orders", headers={"origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, ORIGIN)
    stranger = {"origin": "https://evil.example"}
    assert shop.api.options("/api/v1/orders", headers=asks | stranger).status_code == 400
    answer = shop.api.get("/api/v1/products", headers=stranger)
    assert "access-control-allow-origin" not in answer.headers


def test_rate_limits_are_told(shop: Shop) -> None:
    headers = shop.api.get("/api/v1/products").headers
    assert headers["ratelimit-policy"].startswith('"gateway";q=')
    assert headers["ratelimit"].startswith('"gateway";r=')


@pytest.fixture(scope="module")
def document(shop: Shop) -> dict[str, Any]:
    return shop.api.get("/api/openapi.json").json()


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    pay = document["paths"]["/api/v1/payments"]["post"]["responses"]
    assert {"201", "400", "401", "402", "404", "409", "422", "429", "503"} <= set(pay)


def test_43_no_request_is_answered_but_as_documented(shop: Shop, document: dict[str, Any]) -> None:
    """Right and wrong requests to every operation, signed in as a customer and as staff."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = shop.url
    staff, customer = shop.login("staff@example.com"), shop.customer()
    for path in document["paths"].values():
        for operation in path.values():
            name = operation["operationId"]
            if name not in LEFT_OUT:
                tried = schema.find_operation_by_id(name)
                who = staff if name.startswith("Catalog") else customer
                attack(tried, schemathesis.GenerationMode.POSITIVE, who)
                if "requestBody" in operation and name != "PaymentService_ReceiveWebhook":
                    attack(tried, schemathesis.GenerationMode.NEGATIVE, who)
    body = shop.order_body(shop.product()) | {"shipping_address": ADDRESS}
    assert shop.api.post("/api/v1/orders", json=body, headers=customer).status_code == 201


def attack(operation: Any, mode: Any, who: dict[str, str]) -> None:
    @settings(
        max_examples=4,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        case.validate_response(case.call(headers=who), checks=CHECKS)

    run()
