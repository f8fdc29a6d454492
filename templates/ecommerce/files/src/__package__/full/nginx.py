"""The load balancer's configuration: what compose.yaml shares, and what is around it here."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from string import Template

_AROUND = """\
# Written by `demo-full`. The part that matters is shop.conf.
daemon off;
pid $folder/nginx.pid;
error_log stderr warn;
worker_processes 2;
worker_rlimit_nofile $files;
# Streams that are open when it is told to go are cut then.
worker_shutdown_timeout 5s;
$user
events {
    worker_connections $connections;
}
http {
    access_log off; # each request has its line in a gateway's log
    default_type application/octet-stream;
    client_body_temp_path $folder/tmp/body;
    proxy_temp_path $folder/tmp/proxy;
    fastcgi_temp_path $folder/tmp/fastcgi;
    uwsgi_temp_path $folder/tmp/uwsgi;
    scgi_temp_path $folder/tmp/scgi;
    include $folder/shop.conf;
}
"""
_CONNECTIONS = 16_384


def binary() -> str | None:
    """Return where nginx is, None if it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def write(folder: Path, *, port: int, gateways: Sequence[str]) -> Path:
    """Write the configuration to `folder`; return the file to start nginx with."""
    (folder / "tmp").mkdir(parents=True)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(most if most > 0 else 2 * _CONNECTIONS, 2 * _CONNECTIONS)
    words = {
        "folder": str(folder),
        "files": str(limit),
        "connections": str(min(_CONNECTIONS, limit)),
        "user": "user root;" if os.geteuid() == 0 else "",  # the folder may be root's alone
    }
    path = folder / "nginx.conf"
    path.write_text(Template(_AROUND).substitute(words))
    shared = Path(__file__).with_name("shop.conf.template").read_text("utf-8")
    servers = "\n    ".join(f"server {each} max_fails=1 fail_timeout=2s;" for each in gateways)
    (folder / "shop.conf").write_text(
        # nginx's own $variables are not named here, and stay.
        Template(shared).safe_substitute(SHOP_LISTEN=f"127.0.0.1:{port}", SHOP_GATEWAYS=servers)
    )
    return path
