"""A private RabbitMQ broker, with an epmd of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from prodkit.testing.servers.private import (
    PrivateServer,
    accepts,
    binary,
    folder_for,
    free_port,
)

_PLACE = "usr/lib/rabbitmq/bin"
#: It takes 7 to 37 seconds to boot where two cores are shared.
_PATIENCE = 120.0
#: epmd must be there first, and must end with the broker: both are children of one shell.
_SCRIPT = 'epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 & "$0"; kill $!'


class PrivateRabbitMQ(PrivateServer):
    """A RabbitMQ of one's own at `url` (guest/guest); start one for a whole test run."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        program = binary("rabbitmq-server", _PLACE, package="rabbitmq-server")
        self._ctl = binary("rabbitmqctl", _PLACE, package="rabbitmq-server")
        folder = folder_for("rabbitmq")
        self._environment = _environment(folder, self.port)
        (folder / "rabbitmq.conf").write_text("loopback_users.guest = true\nlog.console = true\n")
        (folder / "plugins").write_text("[rabbitmq_consistent_hash_exchange].\n")
        super().__init__(
            "rabbitmq-server",
            folder,
            ["sh", "-c", _SCRIPT, program],
            lambda: accepts(self.port),
            environment=self._environment,
            patience=_PATIENCE,
        )

    def control(self, *words: str) -> str:
        """Run rabbitmqctl with `words` and return what it prints."""
        done = subprocess.run(
            [self._ctl, "-q", *words],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self._environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


def _environment(folder: Path, port: int) -> dict[str, str]:
    epmd = free_port()
    return {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"prodkit-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
