"""A start that cannot succeed says why, in one line, and a Redis that is away stops nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, TypeAlias

import pytest
from harness import free_port
from servers import EnginesShop, Servers

Line: TypeAlias = dict[str, Any]

#: Starts the shop as its settings come, a line each; tells how that ended, or drains it once ready.
STARTER = """
import asyncio, json, sys
from ecommerce.platform import build
from ecommerce.settings import Settings
from prodkit.service.component import State

async def checked(platform):
    while True:
        report = await platform.health.report()
        found = {name: result.error for name, result in report.results.items()}
        if "unknown" not in found.values():
            return found
        await asyncio.sleep(0.02)

async def start(settings):
    platform = build(settings)
    serving = asyncio.create_task(platform.serve())
    while not serving.done() and platform.state is not State.READY:
        await asyncio.sleep(0.02)
    health = {} if serving.done() else await checked(platform)
    platform.drain("enough")
    return {"code": await serving, "health": health}

for line in sys.stdin:
    ended = asyncio.run(start(Settings(**json.loads(line))))
    print(json.dumps({"ended": ended}), flush=True)
"""
#: What is wrong with a setting, the code that the start ends with, and words of the one line.
FAULTS = {
    "user": (2, "users database (postgresql://nobody@{postgres}/", "refuses the user"),
    "database": (
        2,
        "(postgresql://postgres@{postgres}/no_users) does not exist: create it",
    ),
    "postgres away": (1, "/shop_users) cannot be reached: is it running"),
    "schema": (
        2,
        "users database (postgresql://postgres@{postgres}/shop",
        "is migrated to nothing, not to 0001:",
        "run `ecommerce migrate` before the service starts",
    ),
    "broker user": (2, "RabbitMQ at {rabbitmq} refuses user 'guest' or the password"),
    "vhost": (2, "RabbitMQ at {rabbitmq} does not open the virtual host 'nowhere' for user"),
    "rabbitmq away": (1, "RabbitMQ at 127.0.0.1:", "cannot be reached"),
    "redis user": (2, "Redis does not let us in"),
}


def faulty(servers: Servers, good: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return the settings that are wrong, by fault; secrets in them must never be shown."""
    postgres, rabbitmq = addresses(servers)
    away = f"127.0.0.1:{free_port()}"
    database = str(good["database_url"]).replace("//postgres", "//nobody:s3cret")
    return {
        "user": {"database_url": database},
        "database": {"database_url": f"postgresql://postgres:s3cret@{postgres}/no_" + "{service}"},
        "postgres away": {"database_url": f"postgresql://shop:s3cret@{away}/shop_" + "{service}"},
        "schema": {"database_url": servers.database_url()},
        "broker user": {"broker_url": f"amqp://guest:s3cret@{rabbitmq}/"},
        "vhost": {"broker_url": f"amqp://guest:guest@{rabbitmq}/nowhere"},
        "rabbitmq away": {"broker_url": f"amqp://guest:s3cret@{away}/"},
        "redis user": {"redis_url": f"redis://shop:s3cret@127.0.0.1:{servers.redis.port}/0"},
        "redis away": {"redis_url": f"redis://:s3cret@{away}/0"},
    }


def addresses(servers: Servers) -> tuple[str, str]:
    return f"127.0.0.1:{servers.postgres.port}", f"127.0.0.1:{servers.rabbitmq.port}"


@pytest.fixture(scope="module")
def starts(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Line]]:
    """What each start wrote, and last how it ended; one process makes them all."""
    folder = tmp_path_factory.mktemp("starts")
    good: dict[str, object] = {
        "database_url": servers.database_url(),
        "broker_url": servers.rabbitmq.url,
        "redis_url": servers.redis.url,
    }
    shop = EnginesShop(folder, **good)
    shop.migrate()
    shop.close()
    good |= {"data_dir": str(folder), "environment": "test"}
    good |= dict.fromkeys(("port", "admin_port", "drain_delay"), 0)
    faults = faulty(servers, good)
    done = subprocess.run(
        [sys.executable, "-c", STARTER],
        input="\n".join(json.dumps(good | fault) for fault in faults.values()),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "s3cret" not in done.stdout + done.stderr
    told: list[list[Line]] = [[]]
    for line in map(json.loads, done.stdout.splitlines()):
        told[-1].append(line)
        if "ended" in line:
            told.append([])
    return dict(zip(faults, told, strict=False))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_start_that_cannot_succeed_says_why_in_one_line(
    starts: dict[str, list[Line]], servers: Servers, fault: str
) -> None:
    code, *words = FAULTS[fault]
    *told, last = starts[fault]
    assert last["ended"]["code"] == code
    (line,) = [each for each in told if each.get("event") == "start failed"]
    postgres, rabbitmq = addresses(servers)
    for said in words:
        assert str(said).format(postgres=postgres, rabbitmq=rabbitmq) in line["error"]
    assert "redacted" not in line["error"]
    assert [each for each in told if "exception" in each] == []


def test_the_shop_starts_without_redis_and_says_so(starts: dict[str, list[Line]]) -> None:
    last = starts["redis away"][-1]["ended"]
    assert last["code"] == 0
    assert {name for name, error in last["health"].items() if error} == {"shared.redis"}
