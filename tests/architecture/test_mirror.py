"""Tests mirror the source: each module has its test file, or the table says which one holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE, TESTS = ROOT / "src" / "prodkit", ROOT / "tests"

#: Parts that only show through their whole, and where that is tested.
ELSEWHERE = {
    "_extras.py": "architecture/test_imports.py",
    "cli/*.py": "unit/cli/test_saga.py",
    "cli/commands.py": "unit/cli/test_prodkit.py",
    "cli/migrate.py": "integration/test_postgres_migrations.py",
    "cli/proto.py": "unit/contract/test_compile.py",
    "cli/questions.py": "unit/cli/test_new.py",
    "contract/*.py": "unit/contract/test_contract.py",
    "contract/json_*.py": "unit/contract/test_json_codec.py",
    "contract/well_known.py": "unit/contract/test_json_codec.py",
    "data/batch.py": "unit/data/test_loader.py",
    "data/cache/*.py": "unit/data/cache/test_cache.py",
    "data/cache/store.py": "unit/stores/test_memory_cache.py",
    "data/database/*.py": "integration/test_postgres_database.py",
    "data/migrations.py": "integration/test_postgres_migrations.py",
    "data/revisions.py": "integration/test_postgres_migrations.py",
    "data/saga/*.py": "unit/data/saga/test_runner.py",
    "gateway/*.py": "integration/test_gateway.py",
    "gateway/docs.py": "integration/test_gateway_openapi.py",
    "gateway/problems.py": "unit/gateway/test_openapi.py",
    "gateway/schemas.py": "unit/gateway/test_openapi.py",
    "gateway/streaming.py": "integration/test_gateway_streams.py",
    "messaging/dead_letters.py": "unit/messaging/test_consumer.py",
    "messaging/housekeeping.py": "unit/messaging/test_relay.py",
    "messaging/outbox*.py": "unit/messaging/test_relay.py",
    "policies/circuit_breaker/events.py": "unit/policies/circuit_breaker/test_breaker.py",
    "policies/circuit_breaker/fleet.py": "unit/policies/circuit_breaker/test_shared.py",
    "policies/circuit_breaker/store.py": "unit/stores/test_memory_breaker.py",
    "policies/circuit_breaker/telling.py": "unit/policies/circuit_breaker/test_shared.py",
    "policies/circuit_breaker/view.py": "unit/policies/circuit_breaker/test_shared.py",
    "policies/_idempotency_key.py": "unit/policies/test_idempotency.py",
    "policies/claim.py": "unit/policies/test_idempotency.py",
    "policies/rate_limiter/*.py": "unit/policies/rate_limiter/test_policy.py",
    "policies/hedge/events.py": "unit/policies/hedge/test_policy.py",
    "policies/hedge/race.py": "unit/policies/hedge/test_policy.py",
    "policies/retry/events.py": "unit/policies/retry/test_policy.py",
    "policies/retry/outcome.py": "unit/policies/retry/test_policy.py",
    "scaffold/add*.py": "unit/cli/test_add.py",
    "scaffold/bases.py": "unit/scaffold/test_update.py",
    "scaffold/disk.py": "unit/scaffold/test_interrupted_update.py",
    "scaffold/event.py": "unit/cli/test_add.py",
    "scaffold/event_table.py": "unit/scaffold/test_insertion.py",
    "scaffold/git.py": "unit/scaffold/test_update.py",
    "scaffold/journal.py": "unit/scaffold/test_interrupted_update.py",
    "scaffold/layout.py": "unit/cli/test_add.py",
    "scaffold/merge.py": "unit/scaffold/test_update.py",
    "scaffold/places.py": "unit/cli/test_add.py",
    "scaffold/project.py": "unit/scaffold/test_update.py",
    "scaffold/protofile.py": "unit/scaffold/test_insertion.py",
    "scaffold/readiness/*.py": "unit/scaffold/readiness/test_check.py",
    "scaffold/readiness/rules/*.py": "unit/scaffold/readiness/test_rules.py",
    "scaffold/rpc.py": "unit/cli/test_add.py",
    "service/component.py": "unit/service/test_lifecycle.py",
    "service/layers.py": "unit/service/test_settings.py",
    "service/service.py": "integration/test_service_process.py",
    "stores/memory/breaker.py": "unit/stores/test_memory_breaker.py",
    "stores/memory/cache.py": "unit/stores/test_memory_cache.py",
    "stores/memory/idempotency.py": "unit/stores/test_memory_idempotency.py",
    "stores/redis/*.py": "unit/stores/redis/test_connection.py",
    "stores/redis/breaker.py": "integration/test_redis_stores.py",
    "stores/redis/cache.py": "integration/test_redis_stores.py",
    "stores/redis/idempotency.py": "integration/test_redis_stores.py",
    "stores/redis/lock.py": "integration/test_redis_stores.py",
    "stores/redis/rate_limit.py": "integration/test_redis_limits.py",
    "telemetry/*.py": "unit/telemetry/test_observe.py",
    "testing/clock.py": "unit/testing/test_manual_clock.py",
    "testing/conformance/_expect.py": "unit/stores/test_memory_idempotency.py",
    "testing/conformance/breaker.py": "unit/stores/test_memory_breaker.py",
    "testing/conformance/cache.py": "unit/stores/test_memory_cache.py",
    "testing/conformance/idempotency.py": "unit/stores/test_memory_idempotency.py",
    "testing/conformance/rate_limit.py": "unit/stores/test_memory_rate_limit.py",
    "testing/servers/*.py": "integration/test_private_servers.py",
    "testing/recorder.py": "unit/testing/test_event_recorder.py",
    "transports/amqp/*.py": "integration/test_amqp.py",
    "transports/asgi/exchange.py": "unit/transports/asgi/test_middleware.py",
    "transports/asgi/route.py": "unit/transports/asgi/test_guests.py",
    "transports/broker.py": "unit/transports/embedded/test_broker.py",
    "transports/embedded/*.py": "unit/transports/embedded/test_broker.py",
    "transports/grpc/*.py": "integration/test_grpc_server.py",
    "transports/http/*.py": "unit/transports/test_http.py",
    "transports/http_server/*.py": "integration/test_http_server.py",
    "transports/http_server/protocol.py": "integration/test_http_framing.py",
    "transports/local/*.py": "integration/test_rpc_doors.py",
    "transports/rpc/*.py": "integration/test_rpc_doors.py",
}


def modules() -> list[Path]:
    """Return what somebody wrote that does more than name others."""
    found = (path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
    return sorted(p for p in found if p.name != "__init__.py" and "_pb2" not in p.name)


@pytest.mark.parametrize("module", modules(), ids=str)
def test_each_module_has_its_tests(module):
    own = TESTS / "unit" / module.parent / f"test_{module.stem.lstrip('_')}.py"
    elsewhere = [test for pattern, test in ELSEWHERE.items() if module.match(pattern)]
    assert own.exists() or elsewhere


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_the_table_is_current(pattern):
    assert (TESTS / ELSEWHERE[pattern]).exists()
    assert any(module.match(pattern) for module in modules())
