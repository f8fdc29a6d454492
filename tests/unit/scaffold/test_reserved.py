"""Names that a service would share with a part of its project."""

from __future__ import annotations

import pytest

from prodkit.errors import ConfigurationError
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.reserved import RESERVED


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("health", "HTTP doors and the admin port answer at /health"),
        ("api", "answer at /api"),
        ("metrics", "answer at /metrics"),
        ("shared", "the project has a part of that name"),
        ("outside", "the project has a part of that name"),
        ("front", "the project has a part of that name"),
        ("broker", "broker.db is where the events are kept"),
        ("google", "a contract of that name would hide google's own"),
        ("redis", "a container beside its own is called so"),
    ],
)
def test_no_service_is_called_what_a_part_of_its_project_is(name, reason):
    with pytest.raises(ConfigurationError) as refused:
        Answers(name="my-shop", services=("my_shop", name))
    assert str(refused.value).startswith(f"a service cannot be called {name}: ")
    assert reason in str(refused.value)
    assert str(refused.value).endswith(f"; take another, as {name}-service")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_what_is_offered_instead_can_be_had(name):
    assert Answers(name="my-shop", services=(f"{name}_service",)).services == (f"{name}_service",)
