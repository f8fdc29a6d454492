"""Signing in and out, and the keys that tokens are verified by."""

from __future__ import annotations

import asyncio
import json

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from prodkit.call import current_call
from prodkit.data.database import Database
from prodkit.errors import UnauthenticatedError
from prodkit.security.keys import KeySet
from prodkit.security.passwords import PasswordHasher
from prodkit.security.tokens import TokenSigner
from sqlalchemy import RowMapping

from ..contract.users.v1 import users_pb2 as pb, users_pb2_grpc as rpc
from ..identity import caller
from ..wire import Context
from . import accounts
from .accounts import Units
from .attempts import Attempts
from .sessions import Sessions, refused

#: Seconds that an access token lives.
TOKEN_LIFETIME = 300


class AuthServicer(rpc.AuthServiceServicer):
    """Sessions and keys."""

    def __init__(
        self,
        *,
        database: Database,
        units: Units,
        sessions: Sessions,
        passwords: PasswordHasher,
        attempts: Attempts,
        keys: KeySet,
        signer: TokenSigner,
    ) -> None:
        self._database = database
        self._units = units
        self._sessions = sessions
        self._passwords = passwords
        self._attempts = attempts
        self._keys = keys
        self._signer = signer

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.TokenPair:
        """Check the password and open a session.

        An unknown account, a closed one and a wrong password cost the same and answer the same.
        """
        call = current_call()
        address = call.metadata.get("client-address", "") if call is not None else ""
        email = accounts.normal(request.email)
        await self._attempts.admit(email, address)
        account = await accounts.by_email(self._database.fetch, email)
        known = account["password_hash"] if account is not None else None
        good = await self._passwords.verify(known, request.password)
        if account is None or not good or account["status"] != accounts.ACTIVE:
            raise UnauthenticatedError(
                "the email or the password is wrong", reason="CREDENTIALS_INVALID"
            )
        await self._attempts.succeeded(email, address)
        async with self._units() as work:
            session, refresh = await self._sessions.begin(work, account["id"])
        return self._pair(account, session, refresh)

    async def Refresh(self, request: pb.RefreshRequest, context: Context) -> pb.TokenPair:
        """Exchange a refresh token."""
        async with self._units() as work:
            exchanged = await self._sessions.rotate(work, request.refresh_token)
            account = await accounts.by_id(work.execute, exchanged[1]) if exchanged else None
        if exchanged is None or account is None or account["status"] != accounts.ACTIVE:
            raise refused()
        session, _, fresh = exchanged
        return self._pair(account, session, fresh)

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> Empty:
        """End the caller's session."""
        async with self._units() as work:
            await self._sessions.end(work, caller().session)
        return Empty()

    async def GetKeys(self, request: pb.GetKeysRequest, context: Context) -> HttpBody:
        """Return the public key set."""
        return HttpBody(
            content_type="application/jwk-set+json", data=json.dumps(self._keys.jwks()).encode()
        )

    async def RotateKeys(
        self, request: pb.RotateKeysRequest, context: Context
    ) -> pb.RotateKeysResponse:
        """Let the next key sign."""
        await asyncio.to_thread(self._rotate)
        return pb.RotateKeysResponse(key_id=str(self._keys.signing_key.kid))

    def _rotate(self) -> None:
        self._keys.reload()  # another process may have rotated them
        self._keys.rotate()

    async def ListRevocations(
        self, request: pb.ListRevocationsRequest, context: Context
    ) -> pb.ListRevocationsResponse:
        """Return what tokens that are still alive do not know of."""
        async with self._database.read() as tx:
            ended = await self._sessions.ended(tx)
            revised = await accounts.revised_since(tx, self._sessions.since())
        return pb.ListRevocationsResponse(sessions=ended, role_versions=revised)

    def _pair(self, account: RowMapping, session: str, refresh: str) -> pb.TokenPair:
        token = self._signer.sign(
            account["id"],
            lifetime=TOKEN_LIFETIME,
            session=session,
            roles=account["roles"],
            role_version=account["role_version"],
        )
        return pb.TokenPair(
            access_token=token,
            refresh_token=refresh,
            token_type="Bearer",
            expires_in=TOKEN_LIFETIME,
        )
