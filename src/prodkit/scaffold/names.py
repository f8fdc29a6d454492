"""What a project and its services may be called."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass

from prodkit.errors import ConfigurationError

LONGEST = 40
_RULE = (
    f"lower-case letters and digits in words joined by hyphens, a letter first, at most {LONGEST}"
    " characters"
)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_INSTALLED = """
aio_pika aiormq aiosmtpd aiosqlite alembic annotated_doc annotated_types anyio argon2 argon2_cffi
argon2_cffi_bindings ast_serialize async_timeout asyncpg atpublic attr attrs buf certifi cffi click
colorama coverage cryptography dotenv exceptiongroup execnet google googleapis_common_protos
greenlet grimp grpc grpc_health grpc_reflection grpc_status grpc_tools grpcio grpcio_health_checking
grpcio_reflection grpcio_status grpcio_tools h11 hatchling hiredis httpcore2 httptools httpx httpx2
hypothesis idna import_linter importlinter iniconfig jinja2 joserfc librt mako markdown_it
markdown_it_py markupsafe mdurl msgspec multidict mypy mypy_extensions mypy_protobuf mypyc offapi
opentelemetry opentelemetry_api opentelemetry_sdk opentelemetry_semantic_conventions orjson
packaging pamqp pathspec pip pluggy prodkit prodkit_services prometheus_client propcache protobuf
protobuf_ext protobuf_py protobuf_py_ext protobuf_py_pure protovalidate public py pycparser pydantic
pydantic_core pydantic_settings pygments pytest pytest_timeout pytest_xdist python_dotenv pyyaml
redis rich ruff setuptools shellingham sortedcontainers sqlalchemy starlette structlog supervisor
tomli tomlkit trove_classifiers truststore typer types_protobuf typing_extensions typing_inspection
uv uvicorn uvloop websockets wheel xdist yaml yarl
"""
#: What a generated project may install beside itself: a package of its own by one of these names
#: would hide it, or could not be installed with it. Its test looks whether any is missing.
DEPENDENCIES = frozenset(_INSTALLED.split())
_OURS = frozenset({"conftest", "docs", "prodkit", "src", "test", "tests"})


@dataclass(frozen=True, slots=True)
class Names:
    """A project's name in the forms in which files write it."""

    name: str  # my-shop: the distribution, the command, the folder
    package: str  # my_shop
    prefix: str  # MY_SHOP, of settings variables
    title: str  # My shop


def names_of(name: str) -> Names:
    """Return the forms of a project's name; raise ConfigurationError for one that cannot be."""
    package = _identifier(name, "project")
    if reason := _reserved(package):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a project: it is {reason}; take another, as {name}-app"
        )
    words = name.replace("-", " ")
    return Names(name, package, package.upper(), words[0].upper() + words[1:])


def service_of(name: str) -> str:
    """Return the package of a service called `name`; raise ConfigurationError.

    It lies within its project's package, so that it hides nobody's.
    """
    return _identifier(name, "service")


def _identifier(name: str, what: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise ConfigurationError(f"{name!r} is no name of a {what}: {_RULE}{_instead(name)}")
    package = name.replace("-", "_")
    if keyword.iskeyword(package):
        raise ConfigurationError(f"{name!r} is no name of a {what}: it is a keyword of Python")
    return package


def _reserved(package: str) -> str:
    if package in sys.stdlib_module_names:
        return "a module of Python's standard library"
    if package in DEPENDENCIES:
        return "a package that projects of prodkit depend on"
    if package in _OURS:
        return "kept for the project's own folders"
    return ""


def _instead(name: str) -> str:
    near = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    near = near.strip("-0123456789")[:LONGEST].strip("-")
    return f"; {near} would do" if _NAME.fullmatch(near) else ""
