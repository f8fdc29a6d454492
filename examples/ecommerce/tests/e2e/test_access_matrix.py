"""Scenario 42: every route of the contract, tried by everybody who is not meant, and by who is."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from harness import ADDRESS, CARD, Shop
from prodkit.contract import Contract, MethodContract
from prodkit.security.keys import KeySet
from prodkit.security.tokens import TokenSigner

from ecommerce.contract.catalog.v1 import catalog_pb2
from ecommerce.contract.notifications.v1 import notifications_pb2
from ecommerce.contract.orders.v1 import orders_pb2
from ecommerce.contract.payments.v1 import payments_pb2
from ecommerce.contract.users.v1 import users_pb2

CONTRACT = Contract.load(catalog_pb2, notifications_pb2, orders_pb2, payments_pb2, users_pb2)
#: What ends the sessions that the others need comes last.
LAST = ("Logout", "DeactivateMe")
ROUTES = sorted(
    (method for method in CONTRACT.methods.values() if method.bindings),
    key=lambda method: (method.full_name.rpartition("/")[2] in LAST, method.full_name),
)
STAFF = {"catalog:write", "orders:fulfil", "orders:read_all", "payments:refund", "users:read"}
PERMISSIONS = {"owner": set(), "other": set(), "staff": STAFF}
ACTORS = ("anonymous", "other", "staff", "service", "owner")
#: What belongs to `owner`, and whether staff may touch it.
OWNED = {
    "GetOrder": True,
    "WatchOrder": True,
    "CancelOrder": True,
    "GetPayment": True,
    "CreatePayment": False,
}
#: How access itself refuses, unlike a wrong password or signature.
REFUSALS = {"AUTHENTICATION_REQUIRED", "UNAUTHENTICATED", "PERMISSION_DENIED"}


@dataclass
class Cast:
    """Who tries, and what they try it on."""

    headers: dict[str, dict[str, str]]
    ids: dict[str, str]


@pytest.fixture(scope="module")
def cast(shop: Shop) -> Cast:
    owner, other = shop.customer(), shop.customer()
    product = shop.product()
    order, ended, paid = (shop.place(owner, product)["id"] for _ in range(3))
    assert shop.api.post(f"/api/v1/orders/{ended}:cancel", headers=owner).status_code == 200
    user = shop.api.get("/api/v1/users/me", headers=owner).json()["id"]
    ids = {
        "user": user,
        "product": product,
        "order": order,
        "ended": ended,
        "payment": shop.pay(owner, paid).json()["id"],
    }
    keys = KeySet.open(shop.folder / "var" / "keys" / "orders.json")
    token = TokenSigner(keys, issuer="service:orders", audience="shop").sign("service:orders")
    return Cast(
        {
            "anonymous": {},
            "other": other | {"x-user-id": user, "x-principal": user, "x-roles": "admin"},
            "staff": shop.customer("customer", "staff"),
            "service": {"authorization": f"Bearer {token}"},
            "owner": owner,
        },
        ids,
    )


def address() -> dict[str, Any]:
    return {"shipping_address": ADDRESS}


#: A request of each method that is right but for who sends it: ids for its path, its body.
SAMPLES: dict[str, Callable[[dict[str, str]], tuple[dict[str, str], Any]]] = {
    "CreateProduct": lambda _: ({}, {"name": "Thing", "price": "1.00", "currency": "USD"}),
    "GetProduct": lambda ids: ({"id": ids["product"]}, None),
    "ListProducts": lambda _: ({}, None),
    "UpdateProduct": lambda ids: ({"product.id": ids["product"]}, {"name": "Thing"}),
    "RestockProduct": lambda ids: ({"id": ids["product"]}, {"quantity": 1}),
    "ListCategories": lambda _: ({}, None),
    "ListNotifications": lambda _: ({}, None),
    "GetPreferences": lambda _: ({}, None),
    "UpdatePreferences": lambda _: ({}, {"email": True}),
    "CreateOrder": lambda ids: (
        {},
        address() | {"items": [{"product_id": ids["product"], "quantity": 1}]},
    ),
    "Checkout": lambda ids: (
        {},
        address()
        | {"items": [{"product_id": ids["product"], "quantity": 1}]}
        | {"payment_method": "credit_card", "payment_details": CARD},
    ),
    "GetOrder": lambda ids: ({"id": ids["order"]}, None),
    "ListOrders": lambda _: ({}, None),
    "WatchOrder": lambda ids: ({"id": ids["ended"]}, None),
    "CancelOrder": lambda ids: ({"id": ids["ended"]}, {}),
    "ShipOrder": lambda ids: ({"id": ids["ended"]}, {}),
    "DeliverOrder": lambda ids: ({"id": ids["ended"]}, {}),
    "GetCart": lambda _: ({}, None),
    "PutCartItem": lambda ids: ({"product_id": ids["product"]}, {"quantity": 1}),
    "ClearCart": lambda _: ({}, None),
    "CreatePayment": lambda ids: (
        {},
        {"order_id": ids["order"], "payment_method": "credit_card", "payment_details": CARD},
    ),
    "GetPayment": lambda ids: ({"id": ids["payment"]}, None),
    "ListPayments": lambda _: ({}, None),
    "RefundPayment": lambda ids: ({"id": ids["payment"]}, {}),
    "ReceiveWebhook": lambda _: ({}, {"type": "payment.captured"}),
    "RegisterUser": lambda _: (
        {},
        {
            "name": "Some Body",
            "email": f"{secrets.token_hex(6)}@example.com",
            "password": "securepassword",
        },
    ),
    "GetMe": lambda _: ({}, None),
    "UpdateMe": lambda _: ({}, {"name": "Some Body"}),
    "DeactivateMe": lambda _: ({}, {}),
    "GetUser": lambda ids: ({"id": ids["user"]}, None),
    "ListUsers": lambda _: ({}, None),
    "SetRoles": lambda ids: ({"id": ids["user"]}, {"roles": ["admin"]}),
    "DeactivateUser": lambda ids: ({"id": ids["user"]}, {}),
    "Login": lambda _: ({}, {"email": "nobody@example.com", "password": "wrong"}),
    "Refresh": lambda _: ({}, {"refresh_token": "made-up"}),
    "Logout": lambda _: ({}, {}),
    "GetKeys": lambda _: ({}, None),
    "RotateKeys": lambda _: ({}, {}),
}


def named(method: MethodContract) -> str:
    return method.full_name.rpartition("/")[2]


def admitted(method: MethodContract, actor: str) -> bool:
    access = method.access
    if access.public:
        return True
    if actor in ("anonymous", "service"):
        return actor == "service" and "orders" in access.services
    return access.authenticated or access.permission in PERMISSIONS[actor]


def expected(method: MethodContract, actor: str) -> set[int]:
    """Return the statuses that access may give; none of them where it lets the call pass."""
    if not admitted(method, actor):
        return {401} if actor == "anonymous" else {403}
    owned = OWNED.get(named(method))
    hidden = owned is not None and (actor == "other" or (actor == "staff" and not owned))
    return {404} if hidden else set()


@pytest.mark.parametrize("method", ROUTES, ids=named)
def test_42_who_may_call_what(shop: Shop, cast: Cast, method: MethodContract) -> None:
    for actor in ACTORS:
        variables, body = SAMPLES[named(method)](cast.ids)
        for binding in method.bindings:
            path = binding.template.text
            for field, value in variables.items():
                path = path.replace("{" + field + "}", value)
            answer = shop.api.request(binding.verb, path, json=body, headers=cast.headers[actor])
            says = f"{actor} {binding.verb} {path}: {answer.status_code} {answer.text}"
            refusals = expected(method, actor)
            if refusals:
                assert answer.status_code in refusals, says
            elif answer.status_code >= 400:
                assert answer.status_code < 500, says
                assert answer.status_code not in (403, 404), says
                assert answer.json()["reason"] not in REFUSALS, says
