"""A contract's options in force: real tokens, policies and telemetry, over both RPC doors."""

import io
from types import SimpleNamespace

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value
from prometheus_client import generate_latest

from prodkit import Code, ServiceError, current_call
from prodkit.contract import Contract
from prodkit.errors import ConfigurationError, UnauthenticatedError
from prodkit.security.authorization import Authenticate, Roles
from prodkit.security.credentials import ServiceCredentials
from prodkit.security.revocations import RevocationList, Revoked
from prodkit.security.tokens import KeySet, TokenSigner, TokenVerifier
from prodkit.service.contract_pipelines import ContractPipelines
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.telemetry.sink import LineSink
from prodkit.telemetry.telemetry import Telemetry
from prodkit.transports.grpc import GrpcServer, MethodInfo, open_channel
from prodkit.transports.local import LocalChannel, LocalServer

pytestmark = pytest.mark.anyio

USERS, AUDIENCE = "https://users.example", "library"
SERVICES = ("statistics", "billing")


class World:
    """Who there is: users with tokens, services with keys, and the library that they call."""

    def __init__(self, library):
        self.pb, self.rpc = library.pb, library.rpc
        self.users = KeySet.generate()
        self.services = {name: KeySet.generate() for name in SERVICES}
        self.signer = TokenSigner(self.users, issuer=USERS, audience=AUDIENCE)
        self.revocations = RevocationList(self.revoked)
        self.telemetry = Telemetry("library", log=LineSink(io.BytesIO()))
        self.created = []

    async def revoked(self):
        return Revoked()

    def pipelines(self, **options):
        issuers = {USERS: self.users} | {f"service:{n}": k for n, k in self.services.items()}
        roles = Roles({"librarian": {"books:write"}})
        verifier = TokenVerifier(issuers, audience=AUDIENCE, roles=roles)
        defaults = {"idempotency": MemoryIdempotencyStore(), "secret": b"0123456789abcdef"}
        return ContractPipelines(
            Contract.load(self.pb),
            telemetry=self.telemetry,
            authenticate=Authenticate(verifier, revocations=self.revocations),
            **defaults | options,
        )

    def token(self, who):
        if who is None:
            return None
        if who in SERVICES:
            return ServiceCredentials(who, self.services[who], audience=AUDIENCE)()
        roles = ["librarian"] if who == "librarian" else []
        return self.signer.sign(who, session=f"session of {who}", roles=roles, role_version=1)

    def register(self, server):
        world = self

        class Library(self.rpc.LibraryServicer):
            async def CreateBook(self, request, context):  # noqa: N802
                world.created.append(current_call().principal.subject)
                return world.pb.Book(id=str(len(world.created)), title=request.book.title)

            async def GetBook(self, request, context):  # noqa: N802
                principal = current_call().principal
                return world.pb.Book(id=request.id, title=principal.subject if principal else "")

            async def UpdateBook(self, request, context):  # noqa: N802
                return request.book

            async def WatchBooks(self, request, context):  # noqa: N802
                for number in range(request.limit):
                    yield world.pb.Book(id=str(number))

            async def CountBooks(self, request, context):  # noqa: N802
                return Int64Value(value=len(world.created))

        self.rpc.add_LibraryServicer_to_server(Library(), server)


@pytest.fixture
def world(library):
    return World(library)


@pytest.fixture(params=["local", "grpc"])
async def stub(request, world):
    pipelines = world.pipelines()
    door = LocalServer if request.param == "local" else GrpcServer
    server = door(world.register, pipelines=pipelines, unknown=pipelines.unknown)
    await server.start()
    if request.param == "local":
        channel = LocalChannel(server)
    else:
        channel = open_channel(f"127.0.0.1:{server.port}")
    yield world.rpc.LibraryStub(channel)
    await channel.close()
    await server.stop(0)


@pytest.fixture
def call(world, stub):
    async def call(method, request, who=None, *, token=None, key=None, **metadata):
        """Return OK and the answer, or the code and its reason."""
        token = token or world.token(who)
        pairs = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        if token:
            pairs.append(("authorization", f"Bearer {token}"))
        if key:
            pairs.append(("idempotency-key", key))
        try:
            answer = await getattr(stub, method)(request, metadata=tuple(pairs))
        except ServiceError as error:
            return SimpleNamespace(code=error.code, answer=None, reason=error.reason)
        return SimpleNamespace(code=Code.OK, answer=answer, reason="")

    return call


async def test_everybody_by_everything(world, call):
    """Scenario 42 in small: who may call what, and nobody else."""
    pb = world.pb
    book = pb.CreateBookRequest(book=pb.Book(title="t"))
    denied, unknown, fine = (
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.OK,
    )
    callers = (None, "reader", "librarian", "statistics", "billing")
    expected = {
        "GetBook": (pb.GetBookRequest(id="1"), [fine] * 5),
        "UpdateBook": (
            pb.UpdateBookRequest(book=pb.Book(title="t")),
            [unknown, fine, fine, denied, denied],
        ),
        "CreateBook": (book, [unknown, denied, fine, denied, denied]),
        "CountBooks": (Empty(), [unknown, denied, denied, fine, denied]),
    }
    for method, (request, codes) in expected.items():
        found = [(await call(method, request, who, key=f"key of {who}")).code for who in callers]
        assert found == codes, method


async def test_a_claimed_identity_is_not_one(world, call):
    answer = await call("GetBook", world.pb.GetBookRequest(id="1"), x_user_id="librarian")
    assert answer.answer.title == ""
    answer = await call("UpdateBook", world.pb.UpdateBookRequest(), x_user_id="librarian")
    assert answer.code is Code.UNAUTHENTICATED


async def test_a_bad_token_is_refused_even_where_none_is_needed(world, call):
    answer = await call("GetBook", world.pb.GetBookRequest(id="1"), token="x.y.z")
    assert answer.code is Code.UNAUTHENTICATED


async def test_a_session_that_ended_and_roles_that_changed(world, call):
    request = world.pb.GetBookRequest(id="1")
    token = world.token("librarian")
    assert (await call("GetBook", request, token=token)).answer.title == "librarian"
    world.revocations.change_roles("librarian", 2)
    assert (await call("GetBook", request, token=token)).code is Code.UNAUTHENTICATED
    token = world.token("reader")
    assert (await call("GetBook", request, token=token)).code is Code.OK
    world.revocations.end_session("session of reader")
    assert (await call("GetBook", request, token=token)).code is Code.UNAUTHENTICATED


async def test_rules_are_held_before_a_key_is_taken(world, call):
    pb = world.pb
    bad = await call("CreateBook", pb.CreateBookRequest(book=pb.Book()), "librarian", key="k")
    assert bad.code is Code.INVALID_ARGUMENT
    good = pb.CreateBookRequest(book=pb.Book(title="t"))
    assert (await call("CreateBook", good, "librarian", key="k")).code is Code.OK


async def test_a_key_is_required_and_has_its_effect_once(world, call):
    pb = world.pb
    request = pb.CreateBookRequest(book=pb.Book(title="t"))
    without = await call("CreateBook", request, "librarian")
    assert (without.code, without.reason) == (Code.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_MISSING")
    first, again = [await call("CreateBook", request, "librarian", key="k") for _ in range(2)]
    assert first.answer == again.answer
    assert world.created == ["librarian"]


async def test_the_rate_holds_per_principal(world, call):
    pb = world.pb
    request = pb.CreateBookRequest(book=pb.Book(title="t"))
    codes = [(await call("CreateBook", request, "librarian", key=f"k{n}")).code for n in range(12)]
    assert codes == [Code.OK] * 10 + [Code.RESOURCE_EXHAUSTED] * 2
    assert len(world.created) == 10


async def test_streams_are_guarded_too(world, stub):
    request = world.pb.WatchBooksRequest(limit=3)
    with pytest.raises(UnauthenticatedError):
        async for _ in stub.WatchBooks(request):
            pass
    metadata = (("authorization", f"Bearer {world.token('reader')}"),)
    assert [book.id async for book in stub.WatchBooks(request, metadata=metadata)] == [
        *("0", "1", "2"),
    ]


async def test_refusals_are_counted_by_method(world, call):
    await call("UpdateBook", world.pb.UpdateBookRequest())
    text = generate_latest(world.telemetry.registry).decode()
    assert 'code="UNAUTHENTICATED"' in text
    assert "UpdateBook" in text


@pytest.mark.parametrize("options", [{"idempotency": None}, {"secret": b"short"}])
async def test_what_cannot_work_refuses_to_start(world, options):
    server = LocalServer(world.register, pipelines=world.pipelines(**options))
    with pytest.raises(ValueError, match=r"CreateBook|secret"):
        await server.start()


async def test_a_method_outside_the_contract_has_no_pipeline(world):
    with pytest.raises(ConfigurationError, match=r"/other\.v1\.Service/Method"):
        world.pipelines()(MethodInfo("/other.v1.Service/Method"))
