"""What an import brings in: the kernel the standard library alone, each module its own extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

#: The packages that each extra brings, by the names under which they are imported.
EXTRAS = {
    "server": {"uvicorn", "httptools", "uvloop", "websockets"},
    "grpc": {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "google", "buf"}
    | {"protovalidate", "orjson"},
    "sql": {"sqlalchemy", "aiosqlite", "asyncpg", "alembic"},
    "redis": {"redis", "hiredis"},
    "rabbitmq": {"aio_pika", "aiormq", "pamqp"},
    "http": {"httpx2"},
    "auth": {"joserfc", "argon2", "cryptography"},
    "openapi-ui": {"offapi"},
}

#: The extras that each part needs; what is not listed needs none.
NEEDS = {
    "prodkit.transports.amqp": {"rabbitmq"},
    "prodkit.transports.http_server": {"server"},
    "prodkit.transports.http": {"http"},
    "prodkit.transports.grpc": {"grpc"},
    "prodkit.transports.local": {"grpc"},
    "prodkit.transports.rpc": {"grpc"},
    "prodkit.v1": {"grpc"},
    "prodkit.contract": {"grpc"},
    "prodkit.service.admin": {"server"},
    "prodkit.service.contract_pipelines": {"grpc"},
    "prodkit.gateway": {"grpc"},
    "prodkit.stores.redis": {"redis"},
    "prodkit.stores.sql": {"sql"},
    "prodkit.data": {"sql"},
    "prodkit.data.batch": set(),
    "prodkit.data.cache": set(),
    "prodkit.data.detached": set(),
    "prodkit.data.loader": set(),
    "prodkit.data.tasks": set(),
    "prodkit.messaging": {"sql"},
    "prodkit.security.tokens": {"auth"},
    "prodkit.security.keys": {"auth"},
    "prodkit.security.credentials": {"auth"},
    "prodkit.security.passwords": {"auth"},
    "prodkit.security.encryption": {"auth"},
}


def modules(root: Path = SOURCE / "prodkit") -> list[str]:
    names = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        names.append(".".join(parts).removesuffix(".__init__"))
    return names


def needs(module: str) -> frozenset[str]:
    """Return the extras of a module: those of the longest name in the table that begins its own."""
    matching = [name for name in NEEDS if module == name or module.startswith(f"{name}.")]
    return frozenset(NEEDS[max(matching, key=len)]) if matching else frozenset()


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


KERNEL = ["prodkit"] + [
    f"prodkit.{name}"
    for name in (
        "_extras",
        "_tasks",
        "errors",
        "options",
        "clock",
        "events",
        "call",
        "alarms",
        "holding",
        "traits",
        "checks",
        "pipeline",
    )
]
POLICIES = [module for module in modules() if module.startswith("prodkit.policies")]


def test_the_kernel_and_the_policies_load_the_standard_library_alone():
    code = f"""
import sys
before = set(sys.modules)
import {", ".join([*KERNEL, *POLICIES])}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(loaded - set(sys.stdlib_module_names)))
"""
    assert run(code).strip() == "['prodkit']"


GROUPS = sorted({needs(module) for module in modules()}, key=sorted)


@pytest.mark.parametrize("extras", GROUPS, ids=lambda extras: "+".join(sorted(extras)) or "core")
def test_a_module_needs_no_extra_but_its_own(extras):
    absent = set().union(*(EXTRAS[name] for name in EXTRAS.keys() - extras))
    group = [module for module in modules() if needs(module) == extras]
    run(f"""
import importlib, sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"not installed here: {{name}}", name=name)
sys.meta_path.insert(0, Absent())
for module in {group!r}:
    importlib.import_module(module)
""")


@pytest.mark.parametrize("extra", sorted({name for group in GROUPS for name in group}))
def test_a_module_without_its_extra_says_which_to_install(extra):
    group = [module for module in modules() if extra in needs(module)]
    told = run(f"""
import importlib, sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS[extra]!r}:
            raise ModuleNotFoundError(f"not installed here: {{name}}", name=name)
sys.meta_path.insert(0, Absent())
for module in {group!r}:
    try:
        importlib.import_module(module)
    except ImportError as error:
        if "pip install 'prodkit-services[{extra}]'" not in str(error):
            print(module, error)
""")
    assert told == ""


def test_whoever_creates_the_outbox_creates_what_its_relay_needs():
    """Also where the process that creates the tables has no relay."""
    code = "from prodkit.messaging.outbox import metadata; print(*sorted(metadata.tables))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["outbox", "outbox_lease", "outbox_relay"]
