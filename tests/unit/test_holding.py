import asyncio
import logging

import pytest

from prodkit import Pipeline
from prodkit.holding import (
    HELD,
    HeldConnectionError,
    Hold,
    check_nothing_held,
    only_warned,
    outside_transactions,
    remote_calls_allowed,
)


@pytest.fixture
def hold():
    hold = Hold("orders database")
    token = HELD.set(hold)
    yield hold
    HELD.reset(token)


def test_who_holds_nothing_may_call():
    check_nothing_held("GET stock")


def test_the_error_names_the_call_and_the_database(hold):
    with pytest.raises(HeldConnectionError, match=r"^GET stock: .* of orders database; end the"):
        check_nothing_held("GET stock")


def test_what_was_given_back_is_not_held(hold):
    hold.open = False
    check_nothing_held("GET stock")


@pytest.mark.anyio
async def test_a_task_that_was_begun_meanwhile_may_not_call_either(hold):
    async def call():
        check_nothing_held("GET stock")

    with pytest.raises(HeldConnectionError):
        await asyncio.create_task(call())


@pytest.mark.anyio
async def test_a_function_behind_outside_transactions_does_not_run(hold):
    ran = []

    @Pipeline(outside_transactions)
    async def send_mail() -> None:
        ran.append(1)

    with pytest.raises(HeldConnectionError, match="send_mail: "):
        await send_mail()
    hold.open = False
    await send_mail()
    assert ran == [1]


def test_where_it_is_meant_it_is_allowed(hold):
    with remote_calls_allowed():
        check_nothing_held("GET stock")
    with pytest.raises(HeldConnectionError):
        check_nothing_held("GET stock")


def test_production_warns_of_each_kind_of_call_once_and_says_where(hold, caplog):
    with only_warned():
        for _ in range(3):
            check_nothing_held("GET stock of production")
        check_nothing_held("GET prices of production")
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage().partition(":")[0] for record in told] == [
        "GET stock of production",
        "GET prices of production",
    ]
    assert "test_production_warns_of_each_kind" in told[0].stack_info
    with pytest.raises(HeldConnectionError):
        check_nothing_held("GET stock of production")
