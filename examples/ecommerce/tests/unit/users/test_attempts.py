import pytest
from prodkit.errors import Code, UnauthenticatedError, UnavailableError
from prodkit.policies.rate_limiter import Rate
from prodkit.stores.memory import MemoryCacheStore, MemoryRateLimitStore

from ecommerce.contract.users.v1 import users_pb2 as pb
from ecommerce.users.attempts import Attempts, TooManyAttemptsError

pytestmark = pytest.mark.anyio


@pytest.fixture
def attempts(clock):
    return made(clock, MemoryRateLimitStore(), MemoryCacheStore(clock=clock))


def made(clock, rates, known):
    account, address = Rate(5, per=60.0), Rate(20, per=60.0)
    return Attempts(account=account, address=address, rates=rates, known=known, clock=clock)


class Away:
    """A store that is not to be had."""

    async def take(self, *question):
        raise UnavailableError("away")

    async def get(self, key):
        raise UnavailableError("away")

    async def set(self, key, value, *, ttl):
        raise UnavailableError("away")


async def admitted(attempts, account, address, times):
    count = 0
    for _ in range(times):
        try:
            await attempts.admit(account, address)
        except TooManyAttemptsError:
            continue
        else:
            count += 1
    return count


async def test_an_account_is_tried_so_often_a_minute_from_wherever(attempts):
    tried = [await admitted(attempts, "ann", f"192.0.2.{n}", 1) for n in range(20)]
    assert sum(tried) == 5
    assert await admitted(attempts, "bob", "192.0.2.1", 1) == 1


async def test_an_address_tries_so_often_whoever_it_names(attempts):
    tried = [await admitted(attempts, f"user-{n}", "192.0.2.1", 1) for n in range(40)]
    assert sum(tried) == 20
    assert await admitted(attempts, "user-0", "192.0.2.2", 1) == 1


async def test_the_wait_that_is_told_is_long_enough(attempts, clock):
    await admitted(attempts, "ann", "192.0.2.1", 10)
    with pytest.raises(TooManyAttemptsError) as caught:
        await attempts.admit("ann", "192.0.2.1")
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    await clock.advance(caught.value.retry_after - 0.1)
    assert await admitted(attempts, "ann", "192.0.2.1", 1) == 0
    await clock.advance(0.1)
    assert await admitted(attempts, "ann", "192.0.2.1", 1) == 1


async def test_who_guesses_from_elsewhere_does_not_lock_the_owner_out(attempts):
    await attempts.succeeded("ann", "192.0.2.1")
    await admitted(attempts, "ann", "198.51.100.7", 10)
    assert await admitted(attempts, "ann", "198.51.100.8", 1) == 0
    assert await admitted(attempts, "ann", "192.0.2.1", 10) == 5


async def test_processes_that_share_their_stores_count_together(clock):
    stores = MemoryRateLimitStore(), MemoryCacheStore(clock=clock)
    one, other = made(clock, *stores), made(clock, *stores)
    assert await admitted(one, "ann", "198.51.100.7", 3) == 3
    assert await admitted(other, "ann", "198.51.100.8", 3) == 2
    await one.succeeded("ann", "192.0.2.1")
    assert await admitted(other, "ann", "192.0.2.1", 10) == 5


async def test_while_the_stores_are_away_each_process_counts_by_itself(clock):
    attempts = made(clock, Away(), Away())
    await attempts.succeeded("ann", "192.0.2.1")
    assert await admitted(attempts, "ann", "192.0.2.1", 10) == 5


async def test_stores_do_not_learn_who_signs_in(clock):
    rates, known, asked = MemoryRateLimitStore(), MemoryCacheStore(clock=clock), []

    class Listening:
        async def take(self, key, *rest):
            asked.append(key)
            return await rates.take(key, *rest)

    attempts = made(clock, Listening(), known)
    await attempts.succeeded("ann@example.com", "192.0.2.1")
    await attempts.admit("ann@example.com", "192.0.2.1")
    told = " ".join([*asked, *known._values])
    assert len(asked) == 2
    assert "ann" not in told
    assert "192.0.2" not in told


async def refusal(shop, email, password="wrong", **options):
    with pytest.raises(UnauthenticatedError) as caught:
        await shop.login(email, password, **options)
    error = caught.value
    return error.code, error.reason, error.message, error.violations, dict(error.metadata)


async def test_unknown_users_closed_accounts_and_wrong_passwords_answer_alike(shop):
    await shop.register()
    closed = await shop.register("bob@example.com")
    await shop.users.DeactivateUser(pb.DeactivateUserRequest(id=closed.id), None)
    answers = [
        await refusal(shop, "ann@example.com"),
        await refusal(shop, "nobody@example.com"),
        await refusal(shop, "bob@example.com", shop.password),
        await refusal(shop, "bob@example.com"),
    ]
    assert answers == [answers[0]] * 4


async def test_each_guess_costs_one_hash_whoever_it_is_for(shop, passwords):
    verified = []
    verify = passwords.verify

    async def counted(stored, password):
        verified.append(stored)
        return await verify(stored, password)

    passwords.verify = counted
    await shop.register()
    await refusal(shop, "ann@example.com")
    await refusal(shop, "nobody@example.com")
    assert len(verified) == 2
    assert verified[1] is None


async def test_too_many_guesses_are_refused_before_they_are_hashed(shop, passwords):
    await shop.register()
    for _ in range(5):
        await refusal(shop, "ann@example.com")

    async def never(stored, password):
        raise AssertionError("hashed")

    passwords.verify = never
    with pytest.raises(TooManyAttemptsError):
        await shop.login()
    with pytest.raises(TooManyAttemptsError):
        await shop.login("ANN@Example.com", address="198.51.100.7")


async def test_unknown_accounts_are_limited_as_known_ones_are(shop):
    for _ in range(5):
        await refusal(shop, "nobody@example.com")
    with pytest.raises(TooManyAttemptsError):
        await shop.login("nobody@example.com")


async def test_the_owner_gets_in_while_somebody_guesses(shop):
    await shop.register()
    await shop.login(address="192.0.2.1")
    for number in range(10):
        with pytest.raises((UnauthenticatedError, TooManyAttemptsError)):
            await shop.login("ann@example.com", "guess", address=f"198.51.100.{number}")
    assert (await shop.login(address="192.0.2.1")).access_token
