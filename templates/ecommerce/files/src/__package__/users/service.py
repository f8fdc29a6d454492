"""The users service on one page."""

from __future__ import annotations

import time

from prodkit.policies.rate_limiter import Rate
from prodkit.security.passwords import PasswordHasher
from prodkit.security.revocations import Revoked
from prodkit.security.tokens import TokenSigner
from prodkit.service.service import Service
from prodkit.service.workers import Worker

from ..contract.users.v1 import users_pb2, users_pb2_grpc
from ..kit import Kit
from ..runtime import AUDIENCE, Runtime
from . import accounts
from .attempts import Attempts
from .auth_servicer import TOKEN_LIFETIME, AuthServicer
from .demo import PASSWORD, FirstAccounts
from .metrics import UserMetrics
from .servicer import UserServicer
from .sessions import Sessions
from .tables import metadata

#: Seconds that a session lasts without use.
SESSION_LIFETIME = 30 * 86_400.0


def build(runtime: Runtime) -> Service:
    """Put the service together."""
    kit = Kit(runtime, "users", metadata)
    settings, now = runtime.settings, time.time
    sessions = Sessions(lifetime=SESSION_LIFETIME, remember=TOKEN_LIFETIME + 30.0, now=now)
    # Two threads hash; who would wait longer than a registration may take is refused at once.
    passwords = PasswordHasher(max_pending=128)
    keys = runtime.keys("users-accounts")
    users = UserServicer(
        database=kit.database,
        units=kit.units,
        sessions=sessions,
        passwords=passwords,
        metrics=UserMetrics(kit.registry),
        now=now,
    )
    auth = AuthServicer(
        database=kit.database,
        units=kit.units,
        sessions=sessions,
        passwords=passwords,
        attempts=Attempts(
            account=Rate(settings.login_attempts_per_minute, per=60.0),
            address=Rate(settings.login_attempts_per_address, per=60.0),
            rates=runtime.engines.rates,
            known=runtime.engines.cache,
        ),
        keys=keys,
        signer=TokenSigner(keys, issuer="users", audience=AUDIENCE),
    )

    async def revoked() -> Revoked:
        async with kit.database.read() as tx:
            versions = await accounts.revised_since(tx, sessions.since())
            return Revoked(await sessions.ended(tx), versions)

    async def purge() -> None:
        async with kit.units() as work:
            await sessions.purge(work)

    known = PASSWORD if settings.environment == "demo" else ""
    secret = settings.accounts_password
    password = secret.get_secret_value() if secret is not None else known
    first = [FirstAccounts(kit.units, passwords, password)] if password else []
    return kit.service(
        contract=[users_pb2],
        registrations=[
            lambda server: users_pb2_grpc.add_UserServiceServicer_to_server(users, server),
            lambda server: users_pb2_grpc.add_AuthServiceServicer_to_server(auth, server),
        ],
        resources=[passwords, *first],
        workers=[Worker("purge sessions", purge, interval=3600.0)],
        unheard=["user.*"],
        revoked=revoked,
    )
