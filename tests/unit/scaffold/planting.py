"""Small roots of templates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def plant(root: Path, files: Mapping[str, str]) -> Path:
    """Write templates by their paths, and return their root."""
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


#: One that uses all that there is.
SERVICE = {
    "project/base/pyproject.toml.jinja": (
        'name = "{{ name }}"\nneeds = "{{ requirement("http") }}"\n'
    ),
    "project/base/src/__package__/__init__.py": '"""It."""\n',
    "project/deploy/Dockerfile": "FROM python\n",
    "service/base/src/__package__/__service__/__init__.py": "",
    "service/http/src/__package__/__service__/web.py.jinja": "{{ service|camel }}\n",
    "service/events+no-grpc/src/__package__/__service__/news.py": "news\n",
}
PLATFORM = {
    **SERVICE,
    "ecommerce/platform.toml": """\
title = "The shop"
prefix = "SHOP"
[answers]
speaks = ["http", "events"]
state = "postgres"
limiter = "redis"
broker = "rabbitmq"
deploy = true
[project]
without = ["Dockerfile"]
[[services]]
name = "users"
without = ["src/__package__/__service__/news.py"]
[[services]]
name = "orders"
""",
    "ecommerce/files/src/__package__/users/accounts.py": "accounts\n",
    "ecommerce/files/README.md.jinja": "# {{ title }} {{ prefix }} {{ services|join(' ') }}\n",
}
