"""The users service on its database, on a clock that the test moves."""

from types import SimpleNamespace

import pytest
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.policies.rate_limiter import Rate
from prodkit.security.keys import KeySet
from prodkit.security.passwords import PasswordHasher
from prodkit.security.tokens import TokenSigner, TokenVerifier
from prodkit.stores.memory import MemoryCacheStore, MemoryRateLimitStore
from prometheus_client import CollectorRegistry
from shop_doubles import calling

from ecommerce.contract.users.v1 import users_pb2 as pb
from ecommerce.users.attempts import Attempts
from ecommerce.users.auth_servicer import AuthServicer
from ecommerce.users.metrics import UserMetrics
from ecommerce.users.servicer import UserServicer
from ecommerce.users.sessions import Sessions
from ecommerce.users.tables import metadata

PASSWORD = "correct horse battery"


@pytest.fixture
async def passwords():
    """A hasher of the weakest hashes: what they cost is tested elsewhere."""
    passwords = PasswordHasher(memory_cost=8, time_cost=1)
    await passwords.start()
    yield passwords
    await passwords.stop(1.0)


@pytest.fixture
async def shop(open_database, clock, events, passwords):
    database = await open_database(metadata)
    units = UnitOfWork(database, events)
    sessions = Sessions(lifetime=86_400.0, remember=330.0, now=clock.wall)
    keys = KeySet.generate()
    registry = CollectorRegistry()
    users = UserServicer(
        database=database,
        units=units,
        sessions=sessions,
        passwords=passwords,
        metrics=UserMetrics(registry),
        now=clock.wall,
    )
    auth = AuthServicer(
        database=database,
        units=units,
        sessions=sessions,
        passwords=passwords,
        attempts=Attempts(
            account=Rate(5, per=60.0),
            address=Rate(20, per=60.0),
            rates=MemoryRateLimitStore(),
            known=MemoryCacheStore(clock=clock),
            clock=clock,
        ),
        keys=keys,
        signer=TokenSigner(keys, issuer="users", audience="shop", clock=clock),
    )
    verifier = TokenVerifier({"users": keys}, audience="shop", clock=clock)

    async def register(email="ann@example.com", name="Ann"):
        request = pb.RegisterUserRequest(name=name, email=email, password=PASSWORD)
        return await users.RegisterUser(request, None)

    async def login(email="ann@example.com", password=PASSWORD, *, address="192.0.2.1"):
        with calling("anonymous", client_address=address):
            return await auth.Login(pb.LoginRequest(email=email, password=password), None)

    async def refresh(token):
        return await auth.Refresh(pb.RefreshRequest(refresh_token=token), None)

    async def revocations():
        return await auth.ListRevocations(pb.ListRevocationsRequest(), None)

    return SimpleNamespace(
        database=database,
        units=units,
        sessions=sessions,
        users=users,
        auth=auth,
        keys=keys,
        verify=verifier.verify,
        password=PASSWORD,
        registry=registry,
        register=register,
        login=login,
        refresh=refresh,
        revocations=revocations,
    )
