import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from prodkit.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from prodkit.policies.claim import CLAIM
from shop_doubles import counted
from sqlalchemy import update as change

from ecommerce.catalog.stock import MOST_UNITS
from ecommerce.catalog.tables import products
from ecommerce.contract.catalog.v1 import catalog_pb2 as pb

pytestmark = pytest.mark.anyio


async def names(shop, **asked):
    found = await shop.servicer.ListProducts(pb.ListProductsRequest(**asked), None)
    return [product.name for product in found.products]


async def update(shop, product_id, *paths, **values):
    request = pb.UpdateProductRequest(
        product=pb.Product(id=product_id, **values), update_mask=FieldMask(paths=paths)
    )
    return await shop.servicer.UpdateProduct(request, None)


async def test_a_product_comes_back_as_it_was_put_on_sale(shop):
    product = await shop.add("Mug", description="holds tea", category="kitchen", inventory=7)
    assert product.id.startswith("product-")
    assert (product.name, product.price, product.currency) == ("Mug", "12.50", "USD")
    assert (product.description, product.category, product.inventory) == ("holds tea", "kitchen", 7)
    assert await shop.get(product.id) == product


@pytest.mark.parametrize(("price", "kept"), [("7", "7.00"), ("7.5", "7.50"), ("0.01", "0.01")])
async def test_prices_have_two_places(shop, price, kept):
    assert (await shop.add(price=price)).price == kept


@pytest.mark.parametrize("price", ["0", "0.00", ""])
async def test_nothing_is_free(shop, price):
    with pytest.raises(InvalidArgumentError) as caught:
        await shop.add(price=price)
    assert [(v.field, v.rule) for v in caught.value.violations] == [("/price", "gt")]
    assert await names(shop) == []


async def test_a_claim_keeps_the_answer_with_the_product(shop):
    class Claim:
        async def complete(self, connection, result):
            assert connection.in_transaction()
            raise LookupError

    token = CLAIM.set(Claim())
    try:
        with pytest.raises(LookupError):
            await shop.add()
    finally:
        CLAIM.reset(token)
    assert await names(shop) == []


async def test_an_unknown_product_is_not_found(shop):
    for asked in (
        shop.get("product-nobody"),
        update(shop, "product-nobody", "name", name="Cup"),
        shop.servicer.RestockProduct(pb.RestockProductRequest(id="p", quantity=1), None),
    ):
        with pytest.raises(NotFoundError) as caught:
            await asked
        assert caught.value.reason == "PRODUCT_NOT_FOUND"


async def test_every_word_must_be_found_in_name_or_description(shop):
    await shop.add("Blue Mug", description="Holds tea")
    await shop.add("Red Mug", description="Holds coffee")
    assert await names(shop, query="mug") == ["Red Mug", "Blue Mug"]
    assert await names(shop, query="TEA mug") == ["Blue Mug"]
    assert await names(shop, query="mug water") == []


@pytest.mark.parametrize("query", ["%", "_", "\\", "'", "mu_", "m%g", "' OR 1=1 --"])
async def test_a_search_takes_signs_as_signs(shop, query):
    await shop.add("Mug")
    assert await names(shop, query=query) == []
    await shop.add(f"The {query}")
    assert await names(shop, query=query) == [f"The {query}"]


async def test_a_category_narrows_the_search(shop):
    await shop.add("Mug", category="kitchen")
    await shop.add("Mug of steel", category="outdoor")
    await shop.add("Tent", category="outdoor")
    await shop.add("Thing")
    assert await names(shop, query="mug", category="outdoor") == ["Mug of steel"]
    found = await shop.servicer.ListCategories(pb.ListCategoriesRequest(), None)
    assert [(c.name, c.products) for c in found.categories] == [("kitchen", 1), ("outdoor", 2)]


async def test_pages_hold_every_product_once_newest_first(shop):
    for number in range(25):
        await shop.add(f"Thing {number}")
    for size in (1, 7, 25, 100):
        found, token = [], ""
        while True:
            request = pb.ListProductsRequest(page_size=size, page_token=token)
            page = await shop.servicer.ListProducts(request, None)
            found += [product.name for product in page.products]
            token = page.next_page_token
            if not token:
                break
        assert found == [f"Thing {number}" for number in reversed(range(25))]
    assert len(await names(shop)) == 20


async def test_a_page_of_a_hundred_takes_as_many_statements_as_one_of_ten(shop):
    """Scenario 24."""
    ids = [(await shop.add(f"Thing {number}")).id for number in range(100)]
    used = []
    for size in (10, 100):
        with counted(shop.database) as statements:
            assert len(await names(shop, page_size=size)) == size
            asked = pb.BatchGetProductsRequest(ids=ids[:size])
            assert len((await shop.servicer.BatchGetProducts(asked, None)).products) == size
        used.append(len([each for each in statements if each.startswith("SELECT")]))
    assert used == [2, 2]


async def test_of_many_ids_those_that_exist_are_returned(shop):
    one, two = await shop.add("One"), await shop.add("Two")
    asked = pb.BatchGetProductsRequest(ids=[two.id, "product-nobody", one.id, two.id])
    found = await shop.servicer.BatchGetProducts(asked, None)
    assert {product.id for product in found.products} == {one.id, two.id}
    assert len(found.products) == 2


async def test_only_what_the_mask_names_changes(shop):
    before = await shop.add("Mug", description="holds tea", category="kitchen")
    changes = {"name": "Cup", "price": "3", "description": "", "category": "bar"}
    after = await update(shop, before.id, "price", "description", **changes)
    assert (after.name, after.category) == ("Mug", "kitchen")
    assert (after.price, after.description) == ("3.00", "")
    assert await shop.get(before.id) == after


@pytest.mark.parametrize("path", ["id", "inventory", "currency", "sold", "created_at", "no_such"])
async def test_what_must_not_change_is_named(shop, path):
    before = await shop.add()
    with pytest.raises(InvalidArgumentError) as caught:
        await update(shop, before.id, "name", path, name="Cup", inventory=99)
    assert [v.field for v in caught.value.violations] == ["/update_mask"]
    assert path in caught.value.violations[0].description
    assert await shop.get(before.id) == before


@pytest.mark.parametrize(
    ("paths", "field"),
    [([], "/update_mask"), (["name"], "/product/name"), (["price"], "/product/price")],
)
async def test_a_change_to_nothing_is_named(shop, paths, field):
    product = await shop.add()
    with pytest.raises(InvalidArgumentError) as caught:
        await update(shop, product.id, *paths)
    assert [v.field for v in caught.value.violations] == [field]


async def test_a_restock_adds_to_what_is_there(shop):
    product = await shop.add(inventory=5)
    await shop.stock.reserve("order-1", [(product.id, 5)])
    request = pb.RestockProductRequest(id=product.id, quantity=3)
    assert (await shop.servicer.RestockProduct(request, None)).inventory == 3


async def test_a_restock_stops_where_the_contract_could_not_tell_the_stock(shop):
    product = await shop.add(inventory=5)
    async with shop.database.transaction() as tx:
        await tx.execute(change(products).values(available=MOST_UNITS - 1, reserved=1))
    request = pb.RestockProductRequest(id=product.id, quantity=1)
    with pytest.raises(FailedPreconditionError) as refusal:
        await shop.servicer.RestockProduct(request, None)
    assert refusal.value.reason == "STOCK_FULL"
    assert (await shop.get(product.id)).inventory == MOST_UNITS - 1
