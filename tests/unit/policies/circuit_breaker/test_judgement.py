from prodkit import Call, Code
from prodkit.errors import NotFoundError
from prodkit.policies.circuit_breaker import default_is_failure


def test_the_default_judgement():
    call = Call("op")
    assert not default_is_failure(call, None)
    assert not default_is_failure(call, NotFoundError("x"))
    assert default_is_failure(call, LookupError("unknown"))
    assert default_is_failure(call, TimeoutError())
    call.code = Code.INTERNAL
    assert default_is_failure(call, None)
