import pytest
from starlette.routing import Route

from prodkit import Call
from prodkit.policies.load_shedder import Priority, default_priority
from prodkit.service.health import Health


def test_they_are_ordered():
    assert Priority.EXEMPT > Priority.CRITICAL > Priority.DEFAULT > Priority.SHEDDABLE


def test_every_probe_that_prodkit_serves_is_exempt():
    routes = [route for route in Health().routes() if isinstance(route, Route)]
    operations = [f"{method} {route.path}" for route in routes for method in route.methods]
    assert len(operations) == 6
    assert {default_priority(Call(name)) for name in operations} == {Priority.EXEMPT}


@pytest.mark.parametrize("method", ["Check", "Watch"])
def test_so_are_those_of_grpc(method):
    assert default_priority(Call(f"/grpc.health.v1.Health/{method}")) is Priority.EXEMPT


def test_all_else_is_default_whatever_a_stranger_says():
    call = Call("GET /orders", metadata={"priority": "critical"}, edge=True)
    assert default_priority(call) is Priority.DEFAULT
