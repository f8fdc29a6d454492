"""The session that the shop was specified by, word for word, and a terminal to type it in."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def login(self, email: str, password: str) -> dict[str, str]:
        """Sign in; return the word that stands for the token."""
        found = self.json(LOGIN, 200, **{"<email>": email, "<password>": password})
        return {"<jwt_token>": found["access_token"]}
