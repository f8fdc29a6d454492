"""Products over HTTP: search, pages, field masks, restocking; and masks on one's own profile."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from harness import Shop


@pytest.fixture
def staff(shop: Shop) -> dict[str, str]:
    return shop.login("staff@example.com")


def create(shop: Shop, staff: dict[str, str], **fields: Any) -> dict[str, Any]:
    body = {"name": "Thing", "price": "10", "currency": "USD", "inventory": 1} | fields
    answer = shop.api.post("/api/v1/products", json=body, headers=staff)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_products_are_found_by_words_and_category(shop: Shop, staff: dict[str, str]) -> None:
    word, category = secrets.token_hex(6), f"c-{secrets.token_hex(4)}"
    for name in ("Red lamp", "Blue lamp", "100% wool"):
        create(shop, staff, name=f"{name} {word}", category=category)

    def found(**query: str) -> list[str]:
        answer = shop.api.get("/api/v1/products", params=query)
        assert answer.status_code == 200, answer.text
        return [p["name"].removesuffix(f" {word}") for p in answer.json()["products"]]

    assert found(query=word) == ["100% wool", "Blue lamp", "Red lamp"]
    assert found(query=f"LAMP {word} red") == ["Red lamp"]
    assert found(query=f"% {word}") == ["100% wool"]
    assert found(query=f"_ {word}") == []
    assert found(category=category, query="wool") == ["100% wool"]
    categories = shop.api.get("/api/v1/categories").json()["categories"]
    assert {"name": category, "products": 3} in categories


def test_pages_hold_each_product_once(shop: Shop, staff: dict[str, str]) -> None:
    category = f"c-{secrets.token_hex(4)}"
    made = [create(shop, staff, category=category)["id"] for _ in range(5)]
    seen: list[str] = []
    query = {"category": category, "page_size": "2"}
    while True:
        page = shop.api.get("/api/v1/products", params=query).json()
        seen += [product["id"] for product in page["products"]]
        if not page["next_page_token"]:
            break
        query["page_token"] = page["next_page_token"]
        create(shop, staff, category=category)  # newer than the page: it moves nothing
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"page_size": "-1"}, "/page_size"),
        ({"page_size": "101"}, "/page_size"),
        ({"page_size": "many"}, "/page_size"),
        ({"colour": "red"}, "/colour"),
        ({"category": "Not A Slug"}, "/category"),
    ],
)
def test_a_query_that_cannot_be(shop: Shop, query: dict[str, str], pointer: str) -> None:
    answer = shop.api.get("/api/v1/products", params=query)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("token", ["made-up", "e30", "AAAA", "%00"])
def test_a_page_token_that_is_made_up(shop: Shop, token: str) -> None:
    answer = shop.api.get("/api/v1/products", params={"page_token": token})
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_CURSOR")


def test_a_patch_changes_what_its_body_names(shop: Shop, staff: dict[str, str]) -> None:
    product = create(shop, staff, name="Lamp", description="It shines", price="19.90")
    path = f"/api/v1/products/{product['id']}"
    answer = shop.api.patch(path, json={"price": "24.90"}, headers=staff)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["updated_at"] > product["updated_at"]
    assert changed == product | {"price": "24.90", "updated_at": changed["updated_at"]}

    # A mask clears what it names and the body leaves out, and keeps what it does not name.
    body = {"name": "Lantern", "price": "1.00"}
    answer = shop.api.patch(
        path, params={"update_mask": "name,description"}, json=body, headers=staff
    )
    assert answer.status_code == 200, answer.text
    found = shop.api.get(path).json()
    assert (found["name"], found["description"], found["price"]) == ("Lantern", "", "24.90")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"inventory": 7}, "/update_mask"),
        ({"id": "product-other"}, "/id"),
        ({"currency": "EUR"}, "/update_mask"),
        ({"price": "-1"}, "/price"),
        ({"price": "0"}, "/price"),
        ({"price": "1e5"}, "/price"),
        ({"name": ""}, "/name"),
        ({}, "/update_mask"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_patch_that_cannot_be(
    shop: Shop, staff: dict[str, str], body: dict[str, Any], pointer: str
) -> None:
    product = create(shop, staff)
    path = f"/api/v1/products/{product['id']}"
    answer = shop.api.patch(path, json=body, headers=staff)
    assert answer.status_code == 400, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert shop.api.get(path).json() == product


def test_restocking_adds(shop: Shop, staff: dict[str, str]) -> None:
    product = create(shop, staff, inventory=3)
    path = f"/api/v1/products/{product['id']}:restock"
    headers = staff | {"idempotency-key": secrets.token_hex(8)}
    for _ in range(2):
        answer = shop.api.post(path, json={"quantity": 4}, headers=headers)
        assert (answer.status_code, answer.json()["inventory"]) == (200, 7)
    assert shop.api.get("/api/v1/products/nowhere").status_code == 404
    answer = shop.api.post("/api/v1/products/nowhere:restock", json={"quantity": 4}, headers=staff)
    assert answer.status_code == 404


def test_one_changes_ones_own_profile(shop: Shop) -> None:
    headers = shop.customer()
    before = shop.api.get("/api/v1/users/me", headers=headers).json()

    def patch(body: dict[str, Any]) -> Any:
        return shop.api.patch("/api/v1/users/me", json=body, headers=headers)

    assert patch({"phone": "+14155550100"}).json()["phone"] == "+14155550100"
    assert patch({"name": "Ann O'Nym"}).json()["phone"] == "+14155550100"
    assert patch({"phone": None}).json()["phone"] == ""
    for body, pointer in (
        ({"roles": ["admin"]}, "/update_mask"),
        ({"status": "inactive"}, "/update_mask"),
        ({"email": "other@example.com"}, "/update_mask"),
        ({"role_version": 7}, "/role_version"),
        ({"phone": "call me"}, "/phone"),
    ):
        answer = patch(body)
        assert answer.status_code == 400, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    after = shop.api.get("/api/v1/users/me", headers=headers).json()
    assert after == before | {"name": "Ann O'Nym", "updated_at": after["updated_at"]}
