from hypothesis import given, strategies as st

from ecommerce.payments.means import Means
from ecommerce.payments.vault import Vault


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def means(number="4111111111111111"):
    return Means("credit_card", number, "12", "2030", "123")


def test_holds_until_it_is_dropped():
    vault = Vault(now=Clock())
    vault.put("m-1", means())
    assert vault.get("m-1") == means()
    vault.drop("m-1")
    assert vault.get("m-1") is None
    vault.drop("m-1")


def test_holds_for_its_lifetime():
    clock = Clock()
    vault = Vault(lifetime=900.0, now=clock)
    vault.put("m-1", means())
    clock.time = 899.9
    assert vault.get("m-1") is not None
    clock.time = 900.0
    assert vault.get("m-1") is None


def test_beyond_its_capacity_the_oldest_goes():
    vault = Vault(capacity=3, now=Clock())
    for number in range(5):
        vault.put(f"m-{number}", means(str(number)))
    assert [vault.get(f"m-{number}") is not None for number in range(5)] == [False] * 2 + [True] * 3


def test_what_is_handed_in_again_is_the_youngest():
    clock = Clock()
    vault = Vault(capacity=2, lifetime=100.0, now=clock)
    vault.put("m-1", means())
    vault.put("m-2", means())
    clock.time = 50.0
    vault.put("m-1", means())
    clock.time = 100.0
    assert (vault.get("m-1"), vault.get("m-2")) == (means(), None)


def test_shows_nothing_of_what_it_holds():
    vault = Vault(now=Clock())
    vault.put("m-1", means())
    assert "4111" not in repr(vault) + str(vault) + repr(vault._held)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4)),
        st.tuples(st.just("drop"), st.integers(0, 4)),
        st.tuples(st.just("wait"), st.integers(0, 60)),
    )
)


@given(steps)
def test_holds_what_a_plain_dictionary_of_expiries_holds(steps):
    clock, model = Clock(), {}
    vault = Vault(capacity=3, lifetime=100.0, now=clock)
    for action, value in steps:
        if action == "wait":
            clock.time += value
        elif action == "drop":
            vault.drop(str(value))
            model.pop(value, None)
        else:
            vault.put(str(value), means())
            model.pop(value, None)
            model[value] = clock.time + 100.0
        model = {key: end for key, end in model.items() if end > clock.time}
        while len(model) > 3:
            del model[next(iter(model))]
        assert {key for key in range(5) if vault.get(str(key))} == set(model)
