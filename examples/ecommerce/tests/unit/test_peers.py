import pytest
from prodkit.errors import ConfigurationError

from ecommerce.peers import EVERYTHING, SERVICES, placed, target

EVERYWHERE = dict.fromkeys(SERVICES, "127.0.0.1:7000")


def test_a_process_that_is_told_nothing_serves_everything():
    placement = placed((), mesh="local", grpc_port=0, peers={})
    assert placement.here == EVERYTHING
    assert placement.services == SERVICES
    assert placement.elsewhere == ()


def test_services_start_in_one_order_however_they_are_named():
    placement = placed(("gateway", "orders", "users"), mesh="grpc", grpc_port=1, peers=EVERYWHERE)
    assert placement.here == ("users", "orders", "gateway")
    assert placement.services == ("users", "orders")
    assert placement.elsewhere[:3] == ("catalog", "payments", "notifications")


def test_the_gateway_alone_needs_no_port_for_others():
    placement = placed(("gateway",), mesh="grpc", grpc_port=0, peers=EVERYWHERE)
    assert placement.services == ()


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        (("order",), {}, "there is no service order; known: users, catalog, orders"),
        (("orders",), {"mesh": "local"}, r"mesh: must be grpc .*elsewhere \(users, catalog, pay"),
        (("orders",), {"peers": {"users": ":1"}}, "peers: does not say where catalog, payments"),
        (("orders",), {"grpc_port": 0}, "grpc_port: must be set, or nobody finds orders"),
    ],
)
def test_services_that_could_not_find_each_other_are_refused(names, settings, said):
    with pytest.raises(ConfigurationError, match=said):
        placed(names, **{"mesh": "grpc", "grpc_port": 7000, "peers": EVERYWHERE, **settings})


@pytest.mark.parametrize(
    ("addresses", "called"),
    [
        ("127.0.0.1:7000", "ipv4:127.0.0.1:7000"),
        ("127.0.0.1:7000, 127.0.0.1:7001", "ipv4:127.0.0.1:7000,127.0.0.1:7001"),
        ("[::1]:7000", "ipv6:[::1]:7000"),
        ("orders.shop.svc:7000", "dns:///orders.shop.svc:7000"),
    ],
)
def test_addresses_are_called_as_grpc_calls_them(addresses, called):
    assert target("orders", addresses) == called


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        ("127.0.0.1", "orders: '127.0.0.1' is not HOST:PORT"),
        ("127.0.0.1:0", "not HOST:PORT"),
        (":7000", "not HOST:PORT"),
        ("", "not HOST:PORT"),
        ("a:7000,b:7000", "orders: of several addresses each must be IP:PORT"),
        ("127.0.0.1:7000,[::1]:7000", "cannot be mixed"),
    ],
)
def test_addresses_that_do_not_serve_are_refused(addresses, said):
    with pytest.raises(ValueError, match=said):
        target("orders", addresses)
