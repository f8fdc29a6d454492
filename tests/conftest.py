"""What every test may ask for, and one thing about which of them run in one process."""

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

# Slow machines are busy, not wrong: no test of ours fails by time. Each run draws other examples;
# `make test-slow` draws as many as twenty runs.
_ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("prodkit", _ANY_SPEED, max_examples=50)
settings.register_profile("long", _ANY_SPEED, max_examples=1000)
settings.load_profile("prodkit")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Library(NamedTuple):
    """The toy contract of tests/fixtures/library, compiled."""

    root: Path
    pb: ModuleType
    rpc: ModuleType
    librarian: ModuleType


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    from prodkit.contract.compile import compile_contracts

    root = tmp_path_factory.mktemp("contract")
    shutil.copytree(Path(__file__).parent / "fixtures" / "library", root / "library")
    for generated in compile_contracts([root], [root]):
        generated.write()
    sys.path.insert(0, str(root))
    modules = ("library.v1.library_pb2", "library.v1.library_pb2_grpc", "library.librarian")
    return Library(root, *map(importlib.import_module, modules))


@pytest.hookimpl(wrapper=True)
def pytest_xdist_make_scheduler() -> Iterator[Any]:
    """Give the tests of the adapter for RabbitMQ to one process: it takes ten seconds to start."""
    scheduler = yield
    if scheduler is not None:  # the shop's own
        scope_of = scheduler._split_scope
        scheduler._split_scope = lambda nodeid: (
            "amqp" if "/test_amqp.py::" in nodeid else scope_of(nodeid)
        )
    return scheduler


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with them; the shop's longest come before."""
    items.sort(key=lambda item: "/test_amqp.py::" not in item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[pytest.TestReport]:
    """Write what was captured so that it can travel: xdist refuses lone surrogates."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
