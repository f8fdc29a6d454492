"""The session that the shop was specified by, word for word, with curl."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness import SHOPS, Shop, eventually
from terminal import CREATE_ORDER, CREATE_PRODUCT, PAY, REGISTER, Terminal

pytestmark = pytest.mark.parametrize("shop", SHOPS, indirect=True)

#: Series that dashboards read, and what their values look like.
METRICS = [
    r'ecommerce_users_total\{status="active"\} [1-9]',
    r'ecommerce_users_total\{status="inactive"\} ',
    r'ecommerce_orders_total\{currency="USD",status="completed"\} [1-9]',
    r'ecommerce_orders_total\{currency="USD",status="pending"\} [1-9]',
    r'ecommerce_orders_total\{currency="USD",status="cancelled"\} ',
    *(
        rf'ecommerce_order_value_dollars_bucket\{{currency="USD",le="{bound}"\}} '
        for bound in (r"50\.0", r"100\.0", r"500\.0", r"1000\.0", r"\+Inf")
    ),
    r'http_requests_total\{endpoint="/api/v1/orders",method="POST",status="201"\} [1-9]',
    r'http_requests_total\{endpoint="/api/v1/products",method="GET",status="200"\} [1-9]',
    *(
        rf'service_availability\{{service="{name}-service"\}} [0-9.]+$'
        for name in ("user", "order", "payment")
    ),
]
TYPES = {
    "ecommerce_users_total": "counter",
    "ecommerce_orders_total": "counter",
    "ecommerce_order_value_dollars": "histogram",
    "http_requests_total": "counter",
    "service_availability": "gauge",
}


@pytest.fixture
def terminal(shop: Shop, tmp_path: Path) -> Terminal:
    return Terminal(shop.url, tmp_path)


def test_the_session_works_word_for_word(terminal: Terminal, shop: Shop) -> None:
    user = terminal.json(REGISTER, 201)
    assert terminal.run(REGISTER)[0] == 409

    john = terminal.login("john.doe@example.com", "securepassword")
    staff = terminal.login("staff@example.com", "demo-password")

    assert terminal.run(CREATE_PRODUCT, **john)[0] == 403
    product = terminal.json(CREATE_PRODUCT, 201, **staff)
    assert (product["price"], product["inventory"]) == ("1299.99", 100)
    assert terminal.run("curl http://localhost:8080/api/v1/products")[0] == 200

    ids = {"user-123": user["id"], "product-456": product["id"]}
    order = terminal.json(CREATE_ORDER, 201, **ids, **john)
    assert (order["user_id"], order["status"]) == (user["id"], "pending")
    payment = terminal.json(PAY, 201, **{"order-789": order["id"]}, **john)
    assert (payment["status"], payment["amount"]) == ("captured", order["total_amount"])

    mailbox = "curl http://localhost:8080/sandbox/mailbox.json"
    eventually(lambda: order["id"] in terminal.run(mailbox)[1])
    assert "john.doe@example.com" in terminal.run(mailbox)[1]
    assert "John Doe" in terminal.run("curl http://localhost:8080/sandbox/mailbox")[1]

    assert terminal.json("curl http://localhost:8080/health", 200)["status"] == "healthy"
    status, page = terminal.run("curl http://localhost:8080/api/docs")
    assert status == 200
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)

    assert terminal.run("curl http://localhost:8080/metrics")[0] == 200
    metrics = "".join(terminal.run(f"curl {url}")[1] for url in shop.metrics_urls)
    assert [line for line in METRICS if not re.search(f"^{line}", metrics, re.MULTILINE)] == []
    for name, kind in TYPES.items():
        assert f"# TYPE {name} {kind}\n" in metrics


def test_what_a_browser_sees_first(terminal: Terminal) -> None:
    assert "<html" in terminal.run("curl http://localhost:8080/")[1]
    assert "<html" in terminal.run("curl http://localhost:8080/sandbox")[1]
