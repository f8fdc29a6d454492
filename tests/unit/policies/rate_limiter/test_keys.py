import pytest

from prodkit import Call, Kind, Principal
from prodkit.errors import ConfigurationError, UnauthenticatedError
from prodkit.policies.rate_limiter import by_caller, by_client, by_principal


def ask(subject="ann", **metadata):
    headers = {name.replace("_", "-"): value for name, value in metadata.items()}
    return Call("op", Kind.SERVER, principal=subject and Principal(subject), metadata=headers)


def test_a_principal_is_its_subject_and_nobody_is_refused():
    assert by_principal(ask("ann")) == "ann"
    with pytest.raises(UnauthenticatedError, match=r"^this operation is limited per principal"):
        by_principal(ask(None))


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_a_client_is_its_address_and_for_ipv6_its_network(address, key):
    assert by_client(ask(client_address=address)) == key


def test_a_door_without_addresses_cannot_be_limited_by_them():
    with pytest.raises(ConfigurationError, match="client address"):
        by_client(ask())


def test_a_caller_cannot_pose_as_an_address():
    known = by_caller(ask("192.0.2.7"))
    unknown = by_caller(ask(None, client_address="192.0.2.7"))
    assert known != unknown
