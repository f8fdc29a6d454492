from dataclasses import FrozenInstanceError, dataclass

import pytest

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
