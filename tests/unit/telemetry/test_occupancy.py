from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from prodkit.policies.timeout import Timeout
from prodkit.telemetry.occupancy import Occupancy


class Shedder:
    def __init__(self, name="", **numbers):
        self.name = name
        vars(self).update(numbers)


def shown(occupancy):
    return {
        (sample.name, sample.labels["policy"]): sample.value
        for family in occupancy.collect()
        for sample in family.samples
    }


def test_policies_of_one_label_are_added_up_each_once():
    occupancy = Occupancy()
    first, second = Shedder("api", in_flight=2, limit=8.5), Shedder("api", in_flight=3, limit=4)
    for policy in (first, second, first):
        occupancy.watch(policy)
    assert shown(occupancy) == {
        ("policy_calls_running", "Shedder api"): 5,
        ("policy_calls_limit", "Shedder api"): 12.5,
    }


def test_what_holds_nobody_is_passed_over():
    occupancy = Occupancy()
    occupancy.watch(Timeout(1.0))  # its limit is one of seconds
    occupancy.watch(SimpleNamespace(running="yes"))
    assert shown(occupancy) == {}


def test_a_policy_without_a_name_is_called_by_its_class():
    occupancy = Occupancy()
    occupancy.watch(Shedder(running=1))
    assert shown(occupancy) == {("policy_calls_running", "Shedder"): 1}


def test_a_registry_notices_duplicates():
    registry = CollectorRegistry()
    registry.register(Occupancy())
    assert registry.get_sample_value("policy_calls_running", {"policy": "x"}) is None
