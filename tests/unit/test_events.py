import pkgutil
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from importlib import import_module
from inspect import getdoc

import pytest

import prodkit.data.cache
import prodkit.policies
import prodkit.security
from prodkit import Event


@dataclass(frozen=True, slots=True)
class Opened(Event):
    width: float


def test_an_event_names_its_policy_and_is_a_value():
    assert Opened("door", 0.5) == Opened("door", width=0.5)
    assert Opened("door", 0.5) != Event("door")


def test_an_event_cannot_be_rewritten():
    with pytest.raises(FrozenInstanceError):
        Opened("door", 0.5).policy = "window"


def declared(package):
    """Return the events that the modules of a package declare."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Event) and value is not Event:
                yield value


EVENTS = sorted(
    {
        event
        for package in (prodkit.policies, prodkit.data.cache, prodkit.security)
        for event in declared(package)
    },
    key=lambda event: event.__name__,
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_what_policies_tell_is_told_alike(event):
    """Each is a frozen value whose first field is its policy, with a level that telemetry knows."""
    assert event.__dataclass_params__.frozen
    assert event.__slots__ is not Event.__slots__
    assert event.level in ("", "info", "warning")
    assert fields(event)[0].name == "policy"
    assert fields(event)[0].default is MISSING
    assert getdoc(event)


def test_a_name_is_one_event_only():
    """Telemetry counts by name, and tells apart no two of them."""
    assert len({event.__name__ for event in EVENTS}) == len(EVENTS) > 20
