"""The catalog on its database, on a clock that the test moves."""

from types import SimpleNamespace

import pytest
from prodkit.data.unit_of_work import UnitOfWork

from ecommerce.catalog.servicer import CatalogServicer, StockServicer
from ecommerce.catalog.stock import Stock
from ecommerce.catalog.tables import metadata
from ecommerce.contract.catalog.v1 import catalog_pb2 as pb


@pytest.fixture
async def shop(open_database, clock, events):
    database = await open_database(metadata)
    units = UnitOfWork(database, events)
    stock = Stock(database, units, lifetime=900.0, now=clock.wall)
    servicer = CatalogServicer(database, units, stock)

    async def add(name="Mug", **fields):
        request = pb.CreateProductRequest(
            name=name, **{"price": "12.50", "currency": "USD", "inventory": 50, **fields}
        )
        return await servicer.CreateProduct(request, None)

    async def get(product_id):
        return await servicer.GetProduct(pb.GetProductRequest(id=product_id), None)

    return SimpleNamespace(
        database=database,
        units=units,
        stock=stock,
        servicer=servicer,
        holds=StockServicer(stock),
        add=add,
        get=get,
    )
