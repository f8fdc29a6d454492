"""What `demo-full` writes down for others to read: ports, variables, nginx."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ecommerce.full import nginx
from ecommerce.full.places import plan
from ecommerce.full.ports import free_ports
from ecommerce.full.variables import SHARED, Variables
from ecommerce.peers import EVERYTHING, SERVICES


def test_ports_are_different_and_out_of_the_way_of_outgoing_connections() -> None:
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = free_ports(200)
    assert len(set(ports)) == 200
    assert max(ports) < first


def test_every_service_has_a_place_and_two_of_them_two() -> None:
    what = plan()
    assert {service: len(what.of(service)) for service in EVERYTHING} == {
        **dict.fromkeys(EVERYTHING, 1),
        "orders": 2,
        "gateway": 2,
    }
    peers = json.loads(what.peers)
    assert set(peers) == set(SERVICES)
    assert len(peers["orders"].split(",")) == 2
    ports = [port for place in what.places for port in place.ports.values()]
    assert len({*ports, what.sandbox_port, what.smtp_port}) == len(ports) + 2


def test_a_command_gets_what_all_are_told_and_then_what_it_alone_is(tmp_path: Path) -> None:
    variables = Variables(tmp_path / "env")
    variables.write(SHARED, {"SHOP_A": "all of 'them'", "SHOP_B": "$HOME `id` {service}"})
    variables.write("orders-1", {"SHOP_A": "me"})
    run = variables.command("orders-1")[:3]
    told = subprocess.run(
        [*run, "printenv", "SHOP_A", "SHOP_B"], capture_output=True, text=True, check=True
    )
    assert told.stdout == "me\n$HOME `id` {service}\n"
    assert (tmp_path / "env").stat().st_mode & 0o077 == 0


@pytest.mark.servers
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    port, one, other = free_ports(3)
    gateways = [f"127.0.0.1:{one}", f"127.0.0.1:{other}"]
    path = nginx.write(tmp_path / "nginx", port=port, gateways=gateways)
    binary = nginx.binary()
    assert binary is not None, "it is not installed"
    tried = subprocess.run(
        [binary, "-t", "-e", "stderr", "-c", path], capture_output=True, text=True, check=False
    )
    assert tried.returncode == 0, tried.stderr
    assert "${" not in (tmp_path / "nginx" / "shop.conf").read_text()
