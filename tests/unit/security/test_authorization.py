import pytest

from prodkit import Call, Doorway, Kind, Pipeline, Principal, Trait
from prodkit.errors import ConfigurationError, PermissionDeniedError, UnauthenticatedError
from prodkit.security.authorization import (
    Access,
    AccessDenied,
    Authenticate,
    AuthenticationFailed,
    Authorize,
    Roles,
)

pytestmark = pytest.mark.anyio

ALICE = Principal("alice", permissions=frozenset({"orders:read"}), session="s1")
ORDERS = Principal("service:orders")


class FakeVerifier:
    def __init__(self):
        self.verified = []
        self.remembered = {}

    def known(self, token):
        return self.remembered.get(token)

    async def verify(self, token):
        self.verified.append(token)
        if token != "good":
            raise UnauthenticatedError("no", reason="TOKEN_INVALID")
        return ALICE


class EndedSessions(set):
    def revokes(self, principal):
        return principal.session in self


async def principal_of(call):
    return call.principal


def call_with(token=None, **kwargs):
    metadata = {} if token is None else {"authorization": token}
    return Call("op", Kind.SERVER, metadata=metadata, **kwargs)


async def test_no_token_is_anonymous_even_if_the_call_claimed_somebody():
    authenticate = Authenticate(FakeVerifier())
    assert await authenticate(call_with(principal=ALICE), principal_of) is None


async def test_a_good_token_names_the_caller():
    assert await Authenticate(FakeVerifier())(call_with("Bearer good"), principal_of) is ALICE
    assert await Authenticate(FakeVerifier())(call_with("bearer  good "), principal_of) is ALICE


async def test_a_remembered_token_is_not_verified_again():
    verifier = FakeVerifier()
    verifier.remembered["kept"] = ALICE
    assert await Authenticate(verifier)(call_with("Bearer kept"), principal_of) is ALICE
    assert verifier.verified == []


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic good", "good", "Bearer bad"])
async def test_a_credential_that_proves_nothing_is_refused_and_told(header):
    call, heard = call_with(header), []
    call.subscribe(lambda _, event: heard.append(event))
    with pytest.raises(UnauthenticatedError) as caught:
        await Authenticate(FakeVerifier())(call, principal_of)
    assert caught.value.reason == "TOKEN_INVALID"
    assert heard == [AuthenticationFailed("authenticate", "TOKEN_INVALID")]


async def test_a_revoked_session_is_refused():
    authenticate = Authenticate(FakeVerifier(), revocations=EndedSessions({"s1"}))
    with pytest.raises(UnauthenticatedError) as caught:
        await authenticate(call_with("Bearer good"), principal_of)
    assert caught.value.reason == "TOKEN_REVOKED"


@pytest.mark.parametrize(
    ("access", "anonymous", "person", "service"),
    [
        (Access(public=True), True, True, True),
        (Access(authenticated=True), False, True, False),
        (Access(permission="orders:read"), False, True, False),
        (Access(permission="orders:write"), False, False, False),
        (Access(services=("orders",)), False, False, True),
        (Access(services=("payments",)), False, False, False),
        (Access(authenticated=True, services=("orders",)), False, True, True),
        (Access(permission="orders:write", services=("orders",)), False, False, True),
    ],
)
async def test_access_matrix(access, anonymous, person, service):
    assert [access.admits(p) for p in (None, ALICE, ORDERS)] == [anonymous, person, service]


async def test_a_person_cannot_be_a_service_by_permission_nor_the_reverse():
    impostor = Principal("orders", permissions=frozenset({"service:orders"}))
    assert not Access(services=("orders",)).admits(impostor)
    powerful = Principal("service:orders", permissions=frozenset({"orders:read"}))
    assert not Access(permission="orders:read").admits(powerful)


async def test_nobody_is_401_and_somebody_else_403():
    authorize = Authorize(Access(permission="orders:write"))
    with pytest.raises(UnauthenticatedError) as caught:
        await authorize(call_with(), principal_of)
    assert caught.value.reason == "AUTHENTICATION_REQUIRED"
    call, heard = call_with(principal=ALICE), []
    call.subscribe(lambda _, event: heard.append(event))
    with pytest.raises(PermissionDeniedError, match="orders:write"):
        await authorize(call, principal_of)
    assert heard == [AccessDenied("authorize", "PERMISSION_DENIED", "alice")]


async def test_admitted_callers_go_on():
    authorize = Authorize(Access(permission="orders:read"))
    assert await authorize(call_with(principal=ALICE), principal_of) is ALICE


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"public": True, "authenticated": True},
        {"public": True, "services": ("a",)},
        {"authenticated": True, "permission": "x"},
    ],
)
def test_access_that_says_nothing_or_two_things_is_refused(options):
    with pytest.raises(ConfigurationError):
        Access(**options)


def test_authorize_refuses_at_start_without_authentication_before_it():
    authorize = Authorize(Access(authenticated=True))
    with pytest.raises(ConfigurationError, match="Authorize"):
        Pipeline(authorize).admit(Doorway("door", Kind.SERVER))
    Pipeline(Authenticate(FakeVerifier()), authorize).admit(Doorway("door", Kind.SERVER))
    assert Authorize(Access(public=True)).traits is Trait.NONE


def test_roles_give_their_permissions_together_and_unknown_ones_nothing():
    roles = Roles({"staff": {"products:write"}, "admin": {"users:write", "products:write"}})
    assert roles(frozenset({"staff", "admin"})) == {"products:write", "users:write"}
    assert roles(frozenset({"owner"})) == frozenset()
    with pytest.raises(ConfigurationError, match="wildcards"):
        Roles({"admin": {"users:*"}})
