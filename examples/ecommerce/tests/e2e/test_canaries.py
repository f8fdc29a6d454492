"""Scenario 39: secrets that go through every flow are found nowhere afterwards."""

from __future__ import annotations

import base64
import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from harness import CARD, Shop, eventually

from ecommerce.payments.means import passes_luhn

#: What carries tokens on purpose: the answers that hand them out.
HANDS_OUT_TOKENS = {"/api/v1/auth/login", "/api/v1/auth/refresh"}
JWT = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}")
#: Password hashes and the provider's tokens have a place in a database, and nowhere else.
KEPT = re.compile(rb"\$argon2id\$|\btok_[0-9a-f]{20}")
CVV = "7391"
#: As a word, not as digits of a longer number.
CVV_WORD = re.compile(rb"(?<![\w.:+-])" + CVV.encode() + rb"(?![\w.:-])")


def word(kind: str) -> str:
    return f"canary-{kind}-{secrets.token_hex(8)}"


def card_number(prefix: str = "4") -> str:
    """Return a random card number whose check digit is right."""
    body = prefix + "".join(secrets.choice("0123456789") for _ in range(15 - len(prefix)))
    return next(body + digit for digit in "0123456789" if passes_luhn(body + digit))


@contextmanager
def missing(database: Path, table: str) -> Iterator[None]:
    """Take a table away: whoever needs it meets an error that nobody has foreseen."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=10)) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
        yield
        connection.execute(f"ALTER TABLE {table}_gone RENAME TO {table}")


class Canaries:
    """A shop, the secrets that it was told or told us, and every body that it answered with."""

    def __init__(self, folder: Path) -> None:
        self.words = {kind: word(kind) for kind in ("webhook", "idempotency", "admin", "dsn")}
        self.cards: list[str] = []
        self.bodies: list[bytes] = []
        self.spans = folder.with_name("spans.jsonl")
        self.shop = Shop(
            folder,
            spans_file=self.spans,
            sample_ratio=1,
            log_level="debug",
            payment_patience=1,
            webhook_secret=self.words["webhook"],
            idempotency_secret=self.words["idempotency"],
            admin_token=self.words["admin"],
        )
        address = self.shop.sandbox_url.replace("://", f"://shop:{self.words['dsn']}@")
        self.shop.env["SHOP_SANDBOX_URL"] = address
        self.shop.api.event_hooks["response"].append(self._keep)

    def _keep(self, response: httpx2.Response) -> None:
        response.read()
        if response.url.path not in HANDS_OUT_TOKENS or response.is_error:
            self.bodies.append(response.content + repr(response.headers.raw).encode())

    def secret(self, kind: str) -> str:
        """Return a new secret that is looked for at the end."""
        return self.words.setdefault(f"{kind}-{len(self.words)}", word(kind))

    def card(self, number: str = "") -> dict[str, str]:
        """Return a card that is looked for at the end."""
        self.cards.append(number or card_number())
        return CARD | {"card_number": self.cards[-1], "cvv": CVV}

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        return self.shop.api.post(path, json=body, headers=headers)

    def hunt(self) -> list[str]:
        """Return where which secret was found: in any file, answer or metric."""
        places = {str(p): p.read_bytes() for p in self.shop.folder.rglob("*") if p.is_file()}
        places["spans"] = self.spans.read_bytes()
        places |= {f"answer {n}: {body[:200]!r}": body for n, body in enumerate(self.bodies)}
        places["metrics"] = (
            self.shop.api.get("/metrics").content if self.shop.shop.running() else b""
        )
        return [
            f"{name} in {place}" for place, data in places.items() for name in self._found(data)
        ]

    def _found(self, data: bytes) -> Iterator[str]:
        for kind, text in self.words.items():
            if text.encode() in data or base64.b64encode(text.encode())[:-4] in data:
                yield kind
        for number in self.cards:
            spaced = " ".join(number[i : i + 4] for i in range(0, 16, 4))
            if number[:-4].encode() in data or spaced.encode() in data:
                yield "card number"
        if CVV_WORD.search(data):
            yield "CVV"
        if JWT.search(data):
            yield "JWT"

    def spilt(self) -> list[str]:
        """Return where secrets that a database may keep were found outside of it."""
        places = [p for p in self.shop.folder.rglob("*") if p.suffix in (".log", ".jsonl")]
        texts = {str(p): p.read_bytes() for p in [*places, self.spans]}
        texts |= {f"answer {n}": body for n, body in enumerate(self.bodies)}
        return [place for place, data in texts.items() if KEPT.search(data)]


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    folder = tmp_path / "shop"
    folder.mkdir()
    canaries = Canaries(folder)
    try:
        canaries.shop.start()
        yield canaries
    finally:
        canaries.shop.close()


def sessions(canaries: Canaries) -> dict[str, str]:
    """Register, sign in, refresh and fail at each; return a header that is signed in."""
    post, password = canaries.post, canaries.secret("password")
    email = f"{secrets.token_hex(6)}@example.com"
    cookie = {"cookie": f"session={canaries.secret('cookie')}"}
    account = {"name": "Some Body", "email": email, "password": password}
    assert post("/api/v1/users", account, **cookie).status_code == 201
    assert post("/api/v1/users", account).status_code == 409
    for wrong in (
        account | {"email": canaries.secret("password")},
        account | {"password": [canaries.secret("password")]},
        account | {"password": canaries.secret("password") * 9},
        account | {"passwrod": canaries.secret("password")},
    ):
        assert post("/api/v1/users", wrong).status_code == 400
    broken = b'{"email": "a@b.c", "password": "%s' % canaries.secret("password").encode()
    api = canaries.shop.api
    assert api.post("/api/v1/auth/login", content=broken).status_code == 400
    login = {"email": email, "password": password}
    assert post("/api/v1/auth/login", login | {"password": canaries.secret("password")}).is_error
    signed_in = post("/api/v1/auth/login", login, **cookie).json()
    canaries.words["access"] = signed_in["access_token"]
    canaries.words["refresh"] = signed_in["refresh_token"]
    assert post("/api/v1/auth/refresh", {"refresh_token": canaries.secret("refresh")}).is_error
    pair = post("/api/v1/auth/refresh", {"refresh_token": signed_in["refresh_token"]}).json()
    canaries.words["access-2"], canaries.words["refresh-2"] = (
        pair["access_token"],
        pair["refresh_token"],
    )
    return {"authorization": f"Bearer {pair['access_token']}"}


def strangers(canaries: Canaries) -> None:
    """Say secrets where they do not belong."""
    api, token = canaries.shop.api, canaries.words["access"]
    api.get("/api/v1/orders", headers={"authorization": f"Bearer {token[:-9]}"})
    api.get("/api/v1/orders", headers={"authorization": f"Basic {canaries.secret('basic')}"})
    api.get("/api/v1/orders", params={"access_token": token, "password": canaries.secret("query")})
    api.get(f"/api/v1/orders/{token}")
    api.get(f"/nowhere/{card_number()}", headers={"x-api-key": canaries.secret("api-key")})
    forged = {"x-provider-signature": f"t=1,v1={canaries.secret('signature')}"}
    assert api.post("/api/v1/webhooks/payments", content=b"{}", headers=forged).is_error
    admin = f"http://127.0.0.1:{canaries.shop.env['SHOP_ADMIN_PORT']}"
    for offered in (canaries.words["admin"], canaries.secret("admin")):
        httpx2.get(f"{admin}/metrics", headers={"authorization": f"Bearer {offered}"})


def payments(canaries: Canaries, customer: dict[str, str], product: str) -> None:
    """Pay well, and badly in every way; each order is one's own."""
    shop = canaries.shop

    def pay(card: dict[str, str], **wrong: str) -> httpx2.Response:
        return shop.pay(customer, shop.place(customer, product)["id"], **(card | wrong))

    assert pay(canaries.card()).status_code == 201
    # The sandbox's test cards are no secrets, but they are card numbers.
    for number in ("4000000000000002", "4000000000009995"):
        assert pay(canaries.card(number)).status_code == 402
    good = canaries.card()
    for wrong in (
        {"cvv": canaries.secret("cvv")},
        {"card_number": good["card_number"][:-1]},
        {"card_number": f"{good['card_number']} "},
        {"expiry_month": good["card_number"]},
    ):
        assert pay(good, **wrong).status_code == 400
    assert shop.checkout(customer, product, **{"idempotency-key": word("key")}).status_code == 201


def confirmed(shop: Shop, customer: dict[str, str], order: str) -> Callable[[], bool]:
    return lambda: shop.order(customer, order)["status"] == "confirmed"


def outage(canaries: Canaries, customer: dict[str, str], product: str) -> None:
    """Pay while the provider is away, and see it through."""
    shop = canaries.shop
    for switches in ({"down": True}, {"hang": True}, {"lose_replies": 1}):
        order = shop.place(customer, product)["id"]
        shop.switch(**switches)
        assert shop.pay(customer, order, **canaries.card()).json()["status"] in (
            "pending",
            "captured",
        )
        shop.switch(down=False, hang=False)
        eventually(confirmed(shop, customer, order), within=40)
    order = shop.place(customer, product)["id"]
    shop.sandbox.kill()
    assert shop.pay(customer, order, **canaries.card()).status_code == 201
    shop.shop.kill()
    shop.start_sandbox()
    shop.start_shop()


def faults(canaries: Canaries, customer: dict[str, str], product: str) -> None:
    """Meet errors that nobody has foreseen, with secrets in hand."""
    shop, data = canaries.shop, canaries.shop.folder / "var"
    order = shop.place(customer, product)["id"]
    account = {"name": "B", "email": "b@example.com", "password": canaries.secret("password")}
    with missing(data / "users.db", "accounts"):
        assert canaries.post("/api/v1/users", account).status_code == 500
        login = {"email": account["email"], "password": account["password"]}
        assert canaries.post("/api/v1/auth/login", login).status_code == 500
    with missing(data / "users.db", "sessions"):
        token = canaries.words["refresh-2"]
        assert canaries.post("/api/v1/auth/refresh", {"refresh_token": token}).status_code == 500
    with missing(data / "payments.db", "means"):
        assert shop.pay(customer, order, **canaries.card()).status_code == 500


def test_39_secrets_are_found_nowhere(canaries: Canaries) -> None:
    customer, product = sessions(canaries), canaries.shop.product()
    strangers(canaries)
    payments(canaries, customer, product)
    faults(canaries, customer, product)
    outage(canaries, customer, product)
    assert canaries.hunt() == []
    assert canaries.spilt() == []
    assert canaries.shop.shop.terminate() == 0
    keys = canaries.shop.folder / "var" / "keys"
    for path in sorted(keys.iterdir()):
        for key in json.loads(path.read_text())["keys"]:
            canaries.words[f"private key {path.stem} {key['kid']}"] = key["d"]
        path.rename(path.with_suffix(".elsewhere"))
    found = [hit for hit in canaries.hunt() if ".elsewhere" not in hit]
    assert found == []


def test_39_the_hunt_finds_what_is_there(canaries: Canaries) -> None:
    card = canaries.card()
    leaks = (CVV, card["card_number"], canaries.words["webhook"], "eyJhbGciOiJFZ.eyJhbGciOiJFZ")
    for leak in leaks:
        (canaries.shop.folder / "var" / "leak.db-wal").write_bytes(f"\0{leak}\1".encode())
        assert len(canaries.hunt()) == 1
