"""The catalog's part of the contract."""

from __future__ import annotations

from collections.abc import Iterable

from prodkit.data.database import Database
from prodkit.errors import FieldViolation, InvalidArgumentError, NotFoundError
from prodkit.policies.idempotency import current_claim

from ..contract.catalog.v1 import catalog_pb2 as pb, catalog_pb2_grpc as rpc
from ..identity import new_id
from ..wire import Context, timestamp
from . import products
from .products import Row
from .stock import Reservation, Stock, Units

DEFAULT_PAGE_SIZE = 20


class CatalogServicer(rpc.CatalogServiceServicer):
    """Products."""

    def __init__(self, database: Database, units: Units, stock: Stock) -> None:
        self._database = database
        self._units = units
        self._stock = stock

    async def CreateProduct(self, request: pb.CreateProductRequest, context: Context) -> pb.Product:
        """Put a product on sale."""
        now = products.stamp()
        row = {
            "id": new_id("product"),
            "name": request.name,
            "description": request.description,
            "price": products.price(request.price, "/price"),
            "currency": request.currency,
            "category": request.category,
            "available": request.inventory,
            "reserved": 0,
            "sold": 0,
            "created_at": now,
            "updated_at": now,
        }
        product = _product(row)
        async with self._units() as work:
            await products.add(work, row)
            if (claim := current_claim()) is not None:
                await claim.complete(work.connection, product)
        return product

    async def GetProduct(self, request: pb.GetProductRequest, context: Context) -> pb.Product:
        """Return one product."""
        return _found(await products.get(self._database.fetch, request.id), request.id)

    async def ListProducts(
        self, request: pb.ListProductsRequest, context: Context
    ) -> pb.ListProductsResponse:
        """Search."""
        async with self._database.read() as tx:
            rows, cursor = await products.search(
                tx,
                query=request.query,
                category=request.category,
                size=request.page_size or DEFAULT_PAGE_SIZE,
                cursor=request.page_token,
            )
        return pb.ListProductsResponse(products=_products(rows), next_page_token=cursor)

    async def UpdateProduct(self, request: pb.UpdateProductRequest, context: Context) -> pb.Product:
        """Change what the mask names."""
        values = _masked(request)
        async with self._units() as work:
            row = await products.change(work, request.product.id, values)
        return _found(row, request.product.id)

    async def RestockProduct(
        self, request: pb.RestockProductRequest, context: Context
    ) -> pb.Product:
        """Add to the stock."""
        async with self._units() as work:
            row = await self._stock.restock(work, request.id, request.quantity, products.stamp())
            product = _found(row, request.id)
            if (claim := current_claim()) is not None:
                await claim.complete(work.connection, product)
        return product

    async def ListCategories(
        self, request: pb.ListCategoriesRequest, context: Context
    ) -> pb.ListCategoriesResponse:
        """Return the categories in use."""
        found = await products.categories(self._database.fetch)
        category = pb.ListCategoriesResponse.Category
        return pb.ListCategoriesResponse(
            categories=[category(name=name, products=count) for name, count in found]
        )

    async def BatchGetProducts(
        self, request: pb.BatchGetProductsRequest, context: Context
    ) -> pb.BatchGetProductsResponse:
        """Return many products in one statement."""
        rows = await products.get_many(self._database.fetch, request.ids)
        return pb.BatchGetProductsResponse(products=_products(rows))


class StockServicer(rpc.StockServiceServicer):
    """Stock, for orders."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    async def Reserve(self, request: pb.ReserveRequest, context: Context) -> pb.Reservation:
        """Hold all lines or none."""
        lines = [(line.product_id, line.quantity) for line in request.lines]
        return _reservation(await self._stock.reserve(request.order_id, lines))

    async def Commit(self, request: pb.CommitRequest, context: Context) -> pb.Reservation:
        """Sell what is held."""
        return _reservation(await self._stock.commit(request.order_id))

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.Reservation:
        """Give back what is held."""
        return _reservation(await self._stock.release(request.order_id))


def _masked(request: pb.UpdateProductRequest) -> dict[str, str]:
    paths = list(request.update_mask.paths)
    violations = [
        FieldViolation("/update_mask", f"{path} cannot be changed", "in")
        for path in paths
        if path not in products.MUTABLE
    ]
    if not paths:
        violations = [FieldViolation("/update_mask", "names nothing to change", "required")]
    values: dict[str, str] = {path: getattr(request.product, path, "") for path in paths}
    if "name" in values and not values["name"]:
        violations.append(FieldViolation("/product/name", "must not be empty", "min_len"))
    if violations:
        raise InvalidArgumentError("the change does not serve", violations=violations)
    if "price" in values:
        values["price"] = products.price(values["price"], "/product/price")
    return values


def _found(row: Row | None, product_id: str) -> pb.Product:
    if row is None:
        raise NotFoundError(f"there is no product {product_id}", reason="PRODUCT_NOT_FOUND")
    return _product(row)


def _products(rows: Iterable[Row]) -> list[pb.Product]:
    return [_product(row) for row in rows]


def _product(row: Row) -> pb.Product:
    return pb.Product(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        price=row["price"],
        currency=row["currency"],
        category=row["category"],
        inventory=row["available"],
        created_at=timestamp(row["created_at"]),
        updated_at=timestamp(row["updated_at"]),
    )


def _reservation(reservation: Reservation) -> pb.Reservation:
    message = pb.Reservation(order_id=reservation.order_id, status=reservation.status)
    message.expires_at.FromNanoseconds(int(reservation.expires_at * 1e9))
    return message
