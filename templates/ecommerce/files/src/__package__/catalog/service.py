"""The catalog service on one page."""

from __future__ import annotations

import time

from prodkit.messaging.event import Event
from prodkit.service.service import Service
from prodkit.service.workers import Worker

from ..contract.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from ..kit import Kit
from ..runtime import Runtime
from .demo import DemoProducts
from .servicer import CatalogServicer, StockServicer
from .stock import Stock, Work
from .tables import metadata


def build(runtime: Runtime) -> Service:
    """Put the service together."""
    kit = Kit(runtime, "catalog", metadata)
    settings = runtime.settings
    # A little longer than orders wait for their payment: orders decide, the stock follows.
    lifetime = settings.reservation_lifetime + 60.0
    stock = Stock(kit.database, kit.units, lifetime=lifetime, now=time.time)
    catalog = CatalogServicer(kit.database, kit.units, stock)
    holds = StockServicer(stock)

    async def order_cancelled(event: Event, work: Work) -> None:
        await stock.release_in(work, event.data["order_id"])

    demo = [DemoProducts(kit.units)] if settings.environment == "demo" else []
    return kit.service(
        contract=[catalog_pb2],
        registrations=[
            lambda server: catalog_pb2_grpc.add_CatalogServiceServicer_to_server(catalog, server),
            lambda server: catalog_pb2_grpc.add_StockServiceServicer_to_server(holds, server),
        ],
        resources=demo,
        consumers=[kit.consumer({"order.cancelled": kit.once(order_cancelled)})],
        workers=[Worker("sweep reservations", stock.sweep, interval=5.0)],
        unheard=["stock.*"],
    )
