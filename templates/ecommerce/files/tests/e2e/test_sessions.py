"""Tokens, sessions, roles and keys: what ends, ends everywhere (scenarios 41 and 50)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

from harness import Shop, eventually
from joserfc.jwk import OKPKey
from prodkit.security.keys import KeySet
from prodkit.security.tokens import TokenSigner


def test_41_tokens_that_prove_nothing(shop: Shop) -> None:
    keys = KeySet.open(shop.folder / "var" / "keys" / "users-accounts.json")
    user = shop.api.get("/api/v1/users/me", headers=shop.customer()).json()["id"]
    good = TokenSigner(keys, issuer="users", audience="shop").sign(user)
    assert status(shop, good) == 200
    found = {name: status(shop, token) for name, token in battery(shop, keys, user)}
    assert found == dict.fromkeys(found, 401)
    assert [status(shop, good + "A" * more) for more in (5_000, 10_000, 100_000)] == [401, 431, 431]
    for scheme in ("Basic dXNlcjpwYXNz", good, "Bearer", f"Token {good}"):
        answer = shop.api.get("/api/v1/users/me", headers={"authorization": scheme})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    # A bad token does not pass for no token either.
    assert shop.api.get("/api/v1/products", headers=bearer(good[:-4] + "AAAA")).status_code == 401


def battery(shop: Shop, keys: KeySet, user: str) -> Iterator[tuple[str, str]]:
    """Yield tokens, each wrong in one way."""
    now = int(time.time())
    key = keys.signing_key
    public = key.as_dict(private=False)
    header: dict[str, Any] = {"alg": "Ed25519", "typ": "at+jwt", "kid": key.kid}
    claims: dict[str, Any] = {
        "iss": "users",
        "sub": user,
        "aud": "shop",
        "iat": now,
        "exp": now + 300,
        "sid": "",
        "roles": ["customer"],
        "rv": 0,
        "jti": "x",
    }

    def signed(head: dict[str, Any], body: dict[str, Any], by: Any = key) -> str:
        signing = f"{part(header | head)}.{part(body)}"
        return f"{signing}.{unpadded(by.private_key.sign(signing.encode()))}"

    def changed(**changes: Any) -> dict[str, Any]:
        return {k: v for k, v in (claims | changes).items() if v is not None}

    for algorithm in ("none", "None", "NONE", "nOnE"):
        yield f"alg {algorithm}", f"{part(header | {'alg': algorithm})}.{part(claims)}."
    for name, secret in {
        "jwk": encoded(public),
        "x": public["x"].encode(),
        "raw": base64.urlsafe_b64decode(public["x"] + "=="),
        "pem": key.as_pem(private=False),
        "der": key.as_der(private=False),
    }.items():
        signing = f"{part(header | {'alg': 'HS256'})}.{part(claims)}"
        mac = hmac.new(secret, signing.encode(), hashlib.sha256).digest()
        yield f"HS256 by {name}", f"{signing}.{unpadded(mac)}"
    for kid in ("../../keys/users", "x' OR '1'='1", "", "\x00"):
        yield f"kid {kid!r}", signed({"kid": kid}, claims)
    stranger = OKPKey.generate_key("Ed25519", private=True)
    yield "a stranger's key", signed({}, claims, stranger)
    told = {"jwk": stranger.as_dict(private=False)}
    yield "jwk", signed(told, claims, stranger)
    for name in ("jku", "x5u"):
        yield name, signed({name: f"{shop.sandbox_url}/health"}, claims, stranger)
    yield "crit", signed({"crit": ["exp"], "exp": 1}, claims)
    for name, changes in {
        "no exp": {"exp": None},
        "expired": {"exp": now - 60},
        "text for exp": {"exp": "tomorrow"},
        "of tomorrow": {"iat": now + 3600, "exp": now + 7200},
        "no audience": {"aud": None},
        "another audience": {"aud": "bank"},
        "no issuer": {"iss": None},
        "another issuer": {"iss": "https://evil.example"},
        "a service's issuer": {"iss": "service:orders"},
        "a service's name": {"sub": "service:orders"},
        "nobody": {"sub": ""},
    }.items():
        yield name, signed({}, changed(**changes))
    for kind in ("JWT", "rt+jwt", None):
        yield f"typ {kind}", signed({"typ": kind}, claims)
    whole = signed({}, claims)
    head, _, mac = whole.split(".")
    yield "other claims", f"{head}.{part(changed(roles=['admin']))}.{mac}"
    yield "no signature", whole.rpartition(".")[0] + "."
    yield "two parts", whole.rpartition(".")[0]
    yield "four parts", whole + ".e30"
    yield "no token", "null"


def test_50_a_role_that_was_taken_away_is_gone(shop: Shop) -> None:
    email = shop.account("customer", "staff")
    staff, admin = shop.login(email, "securepassword"), shop.login("admin@example.com")
    body = {"name": "Thing", "price": "1.00", "currency": "USD"}
    assert shop.api.post("/api/v1/products", json=body, headers=staff).status_code == 201
    user = shop.api.get("/api/v1/users/me", headers=staff).json()["id"]
    path = f"/api/v1/users/{user}/roles"
    answer = shop.api.put(path, json={"roles": ["customer"]}, headers=admin)
    assert (answer.status_code, answer.json()["roles"]) == (200, ["customer"])

    def gone() -> bool:
        return shop.api.post("/api/v1/products", json=body, headers=staff).status_code == 401

    eventually(gone)
    demoted = shop.login(email, "securepassword")
    assert shop.api.post("/api/v1/products", json=body, headers=demoted).status_code == 403


def test_signing_out_ends_the_session_everywhere(shop: Shop) -> None:
    email = shop.account()
    first, second = pair(shop, email), pair(shop, email)
    ended, stays = bearer(first["access_token"]), bearer(second["access_token"])
    assert shop.api.post("/api/v1/auth/logout", headers=ended).status_code == 204
    for path in ("/api/v1/users/me", "/api/v1/orders", "/api/v1/payments", "/api/v1/notifications"):
        eventually(lambda path=path: shop.api.get(path, headers=ended).status_code == 401)
    assert refresh(shop, first["refresh_token"])[0] == 401
    assert shop.api.get("/api/v1/users/me", headers=stays).status_code == 200
    assert refresh(shop, second["refresh_token"])[0] == 200


def test_a_refresh_token_that_is_used_again_ends_the_session(shop: Shop) -> None:
    begun = pair(shop, shop.account())
    code, fresh = refresh(shop, begun["refresh_token"])
    assert (code, fresh["token_type"], fresh["expires_in"]) == (200, "Bearer", 300)
    assert status(shop, fresh["access_token"]) == 200
    assert refresh(shop, begun["refresh_token"])[0] == 401  # copied by somebody
    assert refresh(shop, fresh["refresh_token"])[0] == 401
    eventually(lambda: status(shop, fresh["access_token"]) == 401)


def test_a_closed_account_is_out(shop: Shop) -> None:
    inactive = {"status": "inactive"}
    before = shop.metric("ecommerce_users_total", **inactive)
    email, admin = shop.account(), shop.login("admin@example.com")
    begun = pair(shop, email)
    customer = bearer(begun["access_token"])
    assert shop.api.post("/api/v1/users/me:deactivate", headers=customer).json() | inactive
    eventually(lambda: shop.api.get("/api/v1/users/me", headers=customer).status_code == 401)
    assert refresh(shop, begun["refresh_token"])[0] == 401
    body = {"email": email, "password": "securepassword"}
    closed = shop.api.post("/api/v1/auth/login", json=body)
    unknown = shop.api.post("/api/v1/auth/login", json=body | {"email": "nobody@example.com"})
    assert closed.status_code == unknown.status_code == 401
    assert without_id(closed.json()) == without_id(unknown.json())
    assert shop.metric("ecommerce_users_total", **inactive) == before + 1

    other = shop.account()
    theirs = shop.login(other, "securepassword")
    user = shop.api.get("/api/v1/users/me", headers=theirs).json()["id"]
    answer = shop.api.post(f"/api/v1/users/{user}:deactivate", headers=admin)
    assert (answer.status_code, answer.json()["status"]) == (200, "inactive")
    eventually(lambda: shop.api.get("/api/v1/orders", headers=theirs).status_code == 401)


def test_41_keys_rotate_with_an_overlap(shop: Shop) -> None:
    email, admin = shop.account(), shop.login("admin@example.com")
    old = pair(shop, email)["access_token"]
    before = published(shop)
    answer = shop.api.post("/api/v1/auth/keys:rotate", headers=admin)
    assert answer.status_code == 200, answer.text
    fresh = pair(shop, email)["access_token"]
    assert header_of(fresh)["kid"] == answer.json()["key_id"] != header_of(old)["kid"]
    # The key that signs now was published beforehand, and the one before it still verifies.
    assert answer.json()["key_id"] in before
    assert {header_of(old)["kid"], header_of(fresh)["kid"]} < published(shop)
    assert [status(shop, token) for token in (old, fresh)] == [200, 200]
    for path in ("/api/v1/orders", "/api/v1/payments", "/api/v1/notifications"):
        assert shop.api.get(path, headers=bearer(fresh)).status_code == 200


def test_a_forged_identity_is_ignored(shop: Shop) -> None:
    customer, other = shop.customer(), shop.customer()
    user = shop.api.get("/api/v1/users/me", headers=customer).json()["id"]
    forged = {
        "x-user-id": user,
        "x-principal": user,
        "x-roles": "admin",
        "x-prodkit-principal": user,
    }
    assert shop.api.get("/api/v1/users/me", headers=forged).status_code == 401
    assert shop.api.get("/api/v1/users/me", headers=other | forged).json()["id"] != user


def status(shop: Shop, token: str) -> int:
    return shop.api.get("/api/v1/users/me", headers=bearer(token)).status_code


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def pair(shop: Shop, email: str) -> dict[str, Any]:
    body = {"email": email, "password": "securepassword"}
    answer = shop.api.post("/api/v1/auth/login", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers.get("cache-control") == "no-store"
    return answer.json()


def refresh(shop: Shop, token: str) -> tuple[int, dict[str, Any]]:
    answer = shop.api.post("/api/v1/auth/refresh", json={"refresh_token": token})
    return answer.status_code, answer.json()


def published(shop: Shop) -> set[str]:
    keys = shop.api.get("/.well-known/jwks.json").json()["keys"]
    assert all("d" not in key for key in keys)
    return {key["kid"] for key in keys}


def without_id(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name != "request_id"}


def header_of(token: str) -> dict[str, Any]:
    head = token.partition(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def part(value: Any) -> str:
    return unpadded(encoded(value))


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
