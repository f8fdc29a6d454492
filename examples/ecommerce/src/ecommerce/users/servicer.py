"""Accounts, as the contract shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prodkit.data.database import Database
from prodkit.errors import FieldViolation, InvalidArgumentError, NotFoundError
from prodkit.messaging.event import Event
from prodkit.security.passwords import PasswordHasher
from sqlalchemy import RowMapping

from ..contract.users.v1 import users_pb2 as pb, users_pb2_grpc as rpc
from ..identity import caller, new_id
from ..wire import Context, timestamp
from . import accounts
from .accounts import Units, Work
from .metrics import UserMetrics
from .sessions import Sessions

DEFAULT_PAGE_SIZE = 20
#: What UpdateMe may change.
MUTABLE = ("name", "phone")


class UserServicer(rpc.UserServiceServicer):
    """Registration, profiles, roles, deactivation."""

    def __init__(
        self,
        *,
        database: Database,
        units: Units,
        sessions: Sessions,
        passwords: PasswordHasher,
        metrics: UserMetrics,
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._units = units
        self._sessions = sessions
        self._passwords = passwords
        self._metrics = metrics
        self._now = now

    async def RegisterUser(self, request: pb.RegisterUserRequest, context: Context) -> pb.User:
        """Keep a new account as a customer."""
        password_hash = await self._passwords.hash(request.password)
        async with self._units() as work:
            account = await accounts.add(
                work,
                new_id("user"),
                name=request.name,
                email=request.email,
                password_hash=password_hash,
                roles=["customer"],
            )
            work.record(
                Event(
                    type="user.registered",
                    subject=account["id"],
                    data={
                        "user_id": account["id"],
                        "email": account["email"],
                        "name": account["name"],
                    },
                )
            )
        self._metrics.registered()
        return _user(account)

    async def GetMe(self, request: pb.GetMeRequest, context: Context) -> pb.User:
        """Return the caller."""
        return await self._get(caller().subject)

    async def UpdateMe(self, request: pb.UpdateMeRequest, context: Context) -> pb.User:
        """Change what the mask names."""
        values = _masked(request)
        async with self._units() as work:
            account = await accounts.change(work, caller().subject, values)
        return _found(account, caller().subject)

    async def DeactivateMe(self, request: pb.DeactivateMeRequest, context: Context) -> pb.User:
        """Close the caller's account."""
        return await self._deactivate(caller().subject)

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.User:
        """Return any account."""
        return await self._get(request.id)

    async def ListUsers(
        self, request: pb.ListUsersRequest, context: Context
    ) -> pb.ListUsersResponse:
        """Return a page of accounts."""
        async with self._database.read() as tx:
            rows, cursor = await accounts.listed(
                tx, size=request.page_size or DEFAULT_PAGE_SIZE, cursor=request.page_token
            )
        return pb.ListUsersResponse(users=[_user(row) for row in rows], next_page_token=cursor)

    async def SetRoles(self, request: pb.SetRolesRequest, context: Context) -> pb.User:
        """Replace an account's roles."""
        async with self._units() as work:
            account = await accounts.revise(
                work, request.id, self._now(), {"roles": sorted(request.roles)}
            )
            if account is not None:
                work.record(_about("user.roles_changed", account))
        return _found(account, request.id)

    async def DeactivateUser(self, request: pb.DeactivateUserRequest, context: Context) -> pb.User:
        """Close any account."""
        return await self._deactivate(request.id)

    async def _get(self, account_id: str) -> pb.User:
        return _found(await accounts.by_id(self._database.fetch, account_id), account_id)

    async def _deactivate(self, account_id: str) -> pb.User:
        async with self._units() as work:
            account = await accounts.by_id(work.execute, account_id)
            changed = account is not None and account["status"] == accounts.ACTIVE
            if changed:
                account = await self._close(work, account_id)
        if changed:
            self._metrics.deactivated()
        return _found(account, account_id)

    async def _close(self, work: Work, account_id: str) -> RowMapping | None:
        account = await accounts.revise(
            work, account_id, self._now(), {"status": accounts.INACTIVE}
        )
        await self._sessions.end_all(work, account_id)
        if account is not None:
            work.record(_about("user.deactivated", account))
        return account


def _about(happened: str, account: RowMapping) -> Event:
    return Event(type=happened, subject=account["id"], data={"user_id": account["id"]})


def _masked(request: pb.UpdateMeRequest) -> dict[str, Any]:
    paths = list(request.update_mask.paths)
    violations = [
        FieldViolation("/update_mask", f"{path} cannot be changed", "in")
        for path in paths
        if path not in MUTABLE
    ]
    if not paths:
        violations = [FieldViolation("/update_mask", "names nothing to change", "required")]
    if "name" in paths and not request.user.name:
        violations.append(FieldViolation("/user/name", "must not be empty", "min_len"))
    if violations:
        raise InvalidArgumentError("the change does not serve", violations=violations)
    return {path: getattr(request.user, path) for path in paths}


def _found(account: RowMapping | None, account_id: str) -> pb.User:
    if account is None:
        raise NotFoundError(f"there is no user {account_id}", reason="USER_NOT_FOUND")
    return _user(account)


def _user(account: RowMapping) -> pb.User:
    return pb.User(
        id=account["id"],
        name=account["name"],
        email=account["email"],
        phone=account["phone"],
        status=account["status"],
        roles=account["roles"],
        created_at=timestamp(account["created_at"]),
        updated_at=timestamp(account["updated_at"]),
    )
