import pytest

from prodkit import Call, Kind, Principal
from prodkit.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def ask():
    def make(subject="ann", kind=Kind.SERVER, deadline=None):
        call = Call("op", kind, principal=Principal(subject), deadline=deadline)
        heard = []
        call.subscribe(lambda _, event: heard.append(event))
        call.payload = heard
        return call

    return make
