"""Services that nobody can ask, and those that do not ask what they need."""

from __future__ import annotations

import pytest

IMPORTS = """
from prodkit.data.database import Database
from prodkit.service.admin import Admin
from prodkit.service.health import Check, Health
from prodkit.service.service import Service
from prodkit.transports.embedded import EmbeddedBroker
database = Database("x.db")
"""

UNASKED = [
    "Service('x', resources=[database])",
    "Service('x', resources=[client, EmbeddedBroker('b')], checks=[])",
    "Service('x', resources=[database], health=Health())",
    "health = Health()\nr = health.routes()\nService('x', resources=[database], health=health)",
]

ASKED_OR_UNKNOWN = [
    "Service('x', resources=[database], checks=[Check('database', database.ping)])",
    "Service('x', resources=[database], checks=checks)",
    "Service('x', resources=[database], health=health)",
    "Service('x', resources=[database], **more)",
    "Service('x', resources=resources)",
    "Service('x', resources=[client])",
    "Service('x')",
    "health = Health()\nprepare(health)\nService('x', resources=[database], health=health)",
    "health = Health([Check('d', fn)])\nService('x', resources=[database], health=health)",
    "s = Service('x', resources=[database])\ns.health.add(Check('d', fn))",
    # Another service of the same platform asks for both.
    "Service('a', checks=[Check('d', database.ping)])\nService('x', resources=[database])",
]


@pytest.mark.parametrize("text", UNASKED)
def test_a_database_that_no_check_asks_is_found(found, text):
    assert found(IMPORTS + text) == [("health-checks", (IMPORTS + text).count("\n") + 1)]


@pytest.mark.parametrize("text", ASKED_OR_UNKNOWN)
def test_what_is_asked_or_may_be_is_left_in_peace(found, text):
    assert found(IMPORTS + text) == []


SERVICE = "from prodkit.service.service import Service\n"


def test_a_service_that_no_probe_can_ask_is_found(found):
    assert found(SERVICE + "Service('x', servers=[web]).run()") == [("health-routes", 2)]


@pytest.mark.parametrize(
    "files",
    [
        {"app.py": SERVICE + "Service('x', health=health)"},
        {"app.py": SERVICE + "Service('x', admin=admin)"},
        {"app.py": SERVICE + "s = Service('x')\nroutes = s.health.routes()"},
        {
            "app.py": SERVICE + "Service('x')",
            "all.py": "from prodkit.service.platform import Platform",
        },
        {
            "app.py": SERVICE + "Service('x')",
            "g.py": "from prodkit.transports.grpc import GrpcServer",
        },
    ],
)
def test_health_may_be_told_elsewhere(found, files):
    assert found(files) == []
