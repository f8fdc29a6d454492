from math import inf

import pytest

from prodkit import Doorway, Kind, Severity, Trait
from prodkit.checks import review, worst_case


class Member:
    """A middleware as far as a review sees it."""

    def __init__(self, name, traits=Trait.NONE, **numbers):
        self.__name__, self.traits = name, traits
        vars(self).update(numbers)


def found(*members, kind=Kind.CLIENT, severity=Severity.FAULT, **options):
    findings = review(members, Doorway("door", kind, **options))
    return [str(finding) for finding in findings if finding.severity is severity]


def doubts(*members, **options):
    return found(*members, severity=Severity.DOUBT, **options)


retry = Member("Retry", Trait.REPEATS, attempts=3, longest_wait=3.0)
hedge = Member("Hedge", Trait.REPEATS | Trait.CONCURRENT)
keep = Member("Keep", Trait.REPLAYS)
keyed = Member("Keyed", Trait.NEEDS_PRINCIPAL)
login = Member("Login", Trait.GIVES_PRINCIPAL)
fallback = Member("Fallback", Trait.SUBSTITUTES)
shedder = Member("Shedder", Trait.SHEDS)
breaker = Member("Breaker", Trait.BREAKS)
observe = Member("Observe", Trait.OBSERVES)
timeout = Member("Timeout", Trait.LIMITS_ATTEMPT, limit=2.0)
longer = Member("Timeout", Trait.LIMITS_ATTEMPT, limit=9.0)
deadline = Member("Deadline", Trait.LIMITS_CALL, limit=8.0)
queue = Member("Queue", Trait.QUEUES, longest_wait=inf)
bounded = Member("Queue", Trait.QUEUES, longest_wait=1.0)
places = Member("Places", Trait.HOLDS)
chaos = Member("Chaos", Trait.INJECTS)

INNER_DEADLINE = (
    "Deadline is inside of a Retry: once it is over nothing is repeated; use Timeout there"
)
HOLDS = "Places is outside of a Retry: who waits to be repeated holds a place; swap the two"
UNSEEN = "Chaos is outside of what should see its faults: put it innermost"
LATE = "Shedder is inside of what lets calls wait or run out of time: put it before that"
NEVER = ": the limits inside are never reached"


HANGS = "Breaker has no Timeout inside: what hangs until the Deadline never counts in it"
HIDES = "Fallback hides failures from a Retry or a breaker outside of it; put it outermost"


class TestFaults:
    def test_what_needs_a_principal_comes_after_authentication(self):
        [fault] = found(keyed, login)
        assert fault == (
            "Keyed is keyed by principal, so authentication must come before it; or give it a key "
            "or scope of its own"
        )
        assert found(login, keyed) == found(keyed, principal=True) == []

    @pytest.mark.parametrize("kind", [Kind.SERVER, Kind.CONSUMER])
    def test_what_repeats_is_for_outbound_calls(self, kind):
        assert found(retry, kind=kind) == ["Retry is for outbound calls only"]

    def test_what_repeats_cannot_repeat_a_stream(self):
        assert found(retry, streams=True) == ["Retry cannot repeat a stream"]

    def test_what_repeats_must_be_declared_where_the_door_knows(self):
        [fault] = found(retry, repeatable=False)
        assert fault == (
            "Retry would repeat an operation that is not declared safe; declare it (safe=True) or "
            "give it an idempotency key"
        )
        assert found(retry, repeatable=True) == found(retry) == []

    def test_what_replays_needs_a_door_that_keeps_answers_and_no_stream(self):
        assert found(keep, replays=True, streams=True) == [
            "Keep cannot keep the answer of a stream"
        ]
        [fault] = found(keep)
        assert fault == (
            "Keep needs a door that can keep answers: PipelineMiddleware around the app, or a gRPC "
            "server"
        )
        assert found(keep, replays=True) == []

    def test_what_answers_by_itself_needs_a_door_that_lets_it(self):
        [fault] = found(fallback)
        assert fault == (
            "Fallback cannot answer here in place of the handler; put it on what the handler calls"
        )
        [fault] = found(fallback, substitutes=True, streams=True)
        assert fault == "Fallback cannot answer in place of a stream"
        assert found(fallback, substitutes=True) == []

    def test_what_answers_to_an_exception_that_the_door_translates_never_would(self):
        def instead(kind):
            return "write Code.UNAVAILABLE" if issubclass(kind, OSError) else ""

        member = Member("Retry", Trait.REPEATS, exceptions=(KeyError, ConnectionError))
        assert found(member, instead=instead) == [
            "Retry answers to ConnectionError, which never comes out of this door: write "
            "Code.UNAVAILABLE"
        ]
        assert found(member) == []
        assert found(Member("Retry", exceptions=(KeyError,)), instead=instead) == []

    def test_what_is_keyed_by_operation_needs_a_door_that_knows_it(self):
        [fault] = found(Member("Keyed", Trait.NEEDS_OPERATION), routed=False)
        assert fault == (
            "Keyed is keyed by operation, which nobody knows here before the app has routed: put "
            "it on the routes (@route_pipeline of prodkit.transports.asgi), or give it a key of "
            "its own"
        )
        assert found(Member("Keyed", Trait.NEEDS_OPERATION)) == found(keep, replays=True) == []

    def test_what_is_keyed_by_host_needs_a_door_that_calls_one(self):
        keyed_by_host = Member("Keyed", Trait.NEEDS_HOST)
        assert found(keyed_by_host) == [
            "Keyed is keyed by host, which this door does not know: key it by operation"
        ]
        assert found(keyed_by_host, hosts=True) == found(retry) == []

    def test_a_substitute_is_not_to_be_kept_as_the_answer(self):
        [fault] = found(keep, fallback, replays=True, substitutes=True)
        assert fault == (
            "Fallback is inside of what keeps answers, which would keep a substitute for good"
        )
        assert found(fallback, keep, replays=True, substitutes=True) == []

    def test_what_fails_answered_calls_needs_a_door_that_still_has_the_answer(self):
        [fault] = found(Member("Chaos", Trait.RETRACTS), early=True)
        assert fault == (
            "Chaos cannot take back an answer that has left; put it on what the handler calls"
        )
        assert found(Member("Chaos", Trait.RETRACTS)) == found(breaker, early=True) == []

    @pytest.mark.parametrize("kind", [Kind.CLIENT, Kind.PRODUCER])
    def test_what_sheds_is_for_what_comes_in(self, kind):
        [fault] = found(shedder, kind=kind)
        assert fault == (
            "Shedder sheds what comes in; for what goes out use a Bulkhead or an AdaptiveThrottle"
        )

    @pytest.mark.parametrize("kind", [Kind.SERVER, Kind.CONSUMER, Kind.INTERNAL])
    def test_what_sheds_is_at_home_there(self, kind):
        assert found(shedder, kind=kind) == []

    def test_one_object_is_in_a_pipeline_once(self):
        [fault] = found(breaker, breaker)
        assert fault == "Breaker is in this pipeline twice, so each call would count twice in it"

    def test_attempts_do_not_multiply(self):
        other = Member("Retry", Trait.REPEATS, attempts=2)
        [fault] = found(retry, other)
        assert fault == (
            "Retry is in this pipeline twice: the attempts multiply; keep the inner one"
        )
        assert found(retry, hedge) == []


class TestDoubts:
    def test_hedged_attempts_are_not_repeated_one_by_one(self):
        [doubt] = doubts(hedge, retry)
        assert doubt == (
            "Hedge is outside of a Retry: each of its attempts is repeated; swap the two"
        )
        assert doubts(retry, hedge) == []
        assert len(doubts(hedge, Member("Twice", Trait.REPEATS, attempts=2))) == 1
        assert doubts(hedge, Member("Once", Trait.REPEATS, attempts=1)) == []

    def test_an_order_that_was_meant_raises_none(self):
        ordered = (observe, deadline, fallback, retry, breaker, Member("T", Trait.LIMITS_ATTEMPT))
        assert doubts(*ordered) == []

    @pytest.mark.parametrize(
        ("members", "words"),
        [
            (
                (breaker, observe),
                "Observe is not outermost: what the members before it refuse is not observed",
            ),
            (
                (timeout, retry),
                "Retry repeats inside of a Timeout, which is for one attempt; use Deadline there",
            ),
            (
                (breaker, retry),
                "Breaker is outside of a Retry: all the attempts of a call count as one in it",
            ),
            ((deadline, breaker), HANGS),
            ((deadline, login, breaker, login), HANGS),
            ((retry, fallback), HIDES),
            ((breaker, fallback), HIDES),
            (
                (queue,),
                "Queue may let calls wait for ever: bound the wait, or put a Deadline outside",
            ),
        ],
    )
    def test_an_order_that_was_hardly_meant(self, members, words):
        assert doubts(*members) == [words]

    @pytest.mark.parametrize(
        "members",
        [
            (lambda call, proceed: None, observe),  # it declares nothing, so nothing is missed
            (deadline, breaker, timeout),
            (deadline, queue),
            (Member("Queue", Trait.QUEUES, longest_wait=1.0),),
        ],
    )
    def test_what_is_well(self, members):
        assert doubts(*members) == []

    @pytest.mark.parametrize(
        ("members", "words"),
        [
            ((retry, deadline), INNER_DEADLINE),
            ((places, retry), HOLDS),
            (
                (breaker, hedge),
                "Breaker is outside of a Hedge: all the attempts of a call count as one in it",
            ),
            ((chaos, retry), UNSEEN),
            ((chaos, breaker), UNSEEN),
            ((chaos, timeout), UNSEEN),
            ((chaos, deadline), UNSEEN),
            ((chaos, fallback), UNSEEN),
            ((bounded, shedder), LATE),
            ((timeout, shedder), LATE),
        ],
    )
    def test_an_order_that_defeats_a_member(self, members, words):
        assert doubts(*members) == [words]

    @pytest.mark.parametrize(
        "members",
        [
            (deadline, retry),
            (hedge, deadline),
            (retry, places),
            (places, hedge),
            (retry, breaker, timeout, chaos),
            (chaos, places),
            (observe, login, shedder, bounded, timeout),
        ],
    )
    def test_an_order_that_does_not(self, members):
        assert doubts(*members) == []

    @pytest.mark.parametrize(
        ("inside", "why"),
        [
            ([Member("T", Trait.LIMITS_ATTEMPT, limit=9.0)], f"9 s{NEVER}"),
            (
                [bounded, Member("T", Trait.LIMITS_ATTEMPT, limit=9.0)],
                f"10 s with its waits{NEVER}",
            ),
            (
                [Member("Retry", Trait.REPEATS, attempts=5, longest_wait=0.0), timeout],
                "10 s with all its attempts: the last ones never run",
            ),
        ],
    )
    def test_a_deadline_too_short_says_for_what(self, inside, why):
        assert doubts(deadline, *inside) == [f"Deadline leaves 8 s to what takes {why}"]

    def test_a_deadline_that_comes_before_the_last_attempt(self):
        [doubt] = doubts(deadline, retry, timeout)  # 3 x 2 s and waits of 3 s
        assert doubt == (
            "Deadline leaves 8 s to what takes 9 s with all its attempts and waits: "
            "the last ones never run"
        )
        assert doubts(Member("Deadline", Trait.LIMITS_CALL, limit=9.0), retry, timeout) == []

    @pytest.mark.parametrize("seconds", [2.0, 5.0])
    @pytest.mark.parametrize("trait", [Trait.BREAKS, Trait.REPEATS | Trait.CONCURRENT])
    def test_who_looks_for_slow_calls_where_none_can_be(self, trait, seconds):
        member = Member("Member", trait, slow_after=seconds)
        words = f"Member looks for calls of {seconds:g} s or more, and all end after 2 s"
        assert doubts(member, timeout) == [words]
        assert doubts(Member("Deadline", Trait.LIMITS_CALL, limit=2.0), member, longer)[-1] == words
        assert doubts(member) == doubts(member, longer) == []

    def test_who_times_whole_calls_may_find_slow_ones_of_several_attempts(self):
        member = Member("Member", Trait.BREAKS, slow_after=5.0)
        assert not any("looks for" in doubt for doubt in doubts(member, retry, timeout))


class TestWorstCase:
    def test_without_a_limit_there_is_none(self):
        assert worst_case([retry]) == inf
        assert worst_case([]) == inf

    def test_attempts_and_waits_add_up(self):
        assert worst_case([retry, timeout]) == 9.0
        wait = Member("Queue", Trait.QUEUES, longest_wait=0.5)
        assert worst_case([wait, retry, timeout]) == 9.5

    def test_the_sooner_limit_counts(self):
        assert worst_case([deadline, retry, timeout]) == 8.0
