"""The session that the shop was specified by, word for word, with curl."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import Shop, eventually

REGISTER = """
curl -X POST http://localhost:8080/api/v1/users \\
  -H "Content-Type: application/json" \\
  -d '{
    "name": "John Doe",
    "email": "john.doe@example.com",
    "password": "securepassword"
  }'
"""
LOGIN = """
curl -X POST http://localhost:8080/api/v1/auth/login \\
  -H "Content-Type: application/json" \\
  -d '{"email": "<email>", "password": "<password>"}'
"""
CREATE_PRODUCT = """
curl -X POST http://localhost:8080/api/v1/products \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer <jwt_token>" \\
  -d '{
    "name": "Premium Laptop",
    "description": "High-performance laptop for professionals",
    "price": "1299.99",
    "currency": "USD",
    "inventory": 100
  }'
"""
CREATE_ORDER = """
curl -X POST http://localhost:8080/api/v1/orders \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer <jwt_token>" \\
  -d '{
    "user_id": "user-123",
    "items": [
      {
        "product_id": "product-456",
        "quantity": 1
      }
    ],
    "shipping_address": {
      "street": "123 Main St",
      "city": "San Francisco",
      "state": "CA",
      "zip": "94105",
      "country": "US"
    }
  }'
"""
PAY = """
curl -X POST http://localhost:8080/api/v1/payments \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer <jwt_token>" \\
  -d '{
    "order_id": "order-789",
    "payment_method": "credit_card",
    "payment_details": {
      "card_number": "4111111111111111",
      "expiry_month": "12",
      "expiry_year": "2025",
      "cvv": "123"
    }
  }'
"""
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


@dataclass
class Terminal:
    """Runs command lines as they are written down, with the words in them replaced."""

    url: str
    folder: Path

    def run(self, command: str, **words: str) -> tuple[int, str]:
        """Return the status and the body of the answer."""
        for mark, word in words.items():
            assert mark in command
            command = command.replace(mark, word)
        command = command.replace("http://localhost:8080", self.url).strip()
        body = self.folder / "body"
        script = f"{command} --silent --output {body} --write-out '%{{http_code}}'"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        return int(done.stdout), body.read_text()

    def json(self, command: str, status: int, **words: str) -> Any:
        """Return the decoded body of an answer that must have `status`."""
        found, body = self.run(command, **words)
        assert found == status, body
        return json.loads(body)


@pytest.fixture
def terminal(shop: Shop, tmp_path: Path) -> Terminal:
    return Terminal(shop.url, tmp_path)


def test_the_session_works_word_for_word(terminal: Terminal) -> None:
    user = terminal.json(REGISTER, 201)
    assert terminal.run(REGISTER)[0] == 409

    def token(email: str, password: str) -> str:
        found = terminal.json(LOGIN, 200, **{"<email>": email, "<password>": password})
        return found["access_token"]

    john = {"<jwt_token>": token("john.doe@example.com", "securepassword")}
    staff = {"<jwt_token>": token("staff@example.com", "demo-password")}

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

    status, metrics = terminal.run("curl http://localhost:8080/metrics")
    assert status == 200
    assert [line for line in METRICS if not re.search(f"^{line}", metrics, re.MULTILINE)] == []
    for name, kind in TYPES.items():
        assert f"# TYPE {name} {kind}\n" in metrics


def test_what_a_browser_sees_first(terminal: Terminal) -> None:
    assert "<html" in terminal.run("curl http://localhost:8080/")[1]
    assert "<html" in terminal.run("curl http://localhost:8080/sandbox")[1]
