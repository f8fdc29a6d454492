"""From nothing to an open shop, and back: the order in which `demo-full` does things."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.service.settings import load_settings
from prodkit.testing.servers import ServerError

from ..settings import Settings
from . import nginx, tables
from .engines import Engines, engines
from .places import Plan, plan
from .ports import is_free
from .programs import groups
from .readiness import await_ready
from .running import Running
from .supervision import Supervisor
from .variables import SHARED, Variables


def run(config: Path) -> int:
    """Run the shop on real engines until SIGINT or SIGTERM; return the exit code.

    0 after everything ended in order, 1 where something could not start or died for good, 2 where
    what it was told cannot work.
    """
    settings = _settings(config)
    # Until the shop runs there is nothing to drain: a signal ends us, and our end all we started.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with _folder(settings) as folder:
        try:
            tables.say("Starting PostgreSQL, Redis and RabbitMQ ...")
            with engines() as servers:
                return _shop(settings, config.resolve(), folder, servers)
        except (ServerError, OSError) as error:
            tables.say(f"demo-full: {error}")
            return 1


def _settings(config: Path) -> Settings:
    os.environ.setdefault("SHOP_ENVIRONMENT", "demo")
    settings = load_settings(Settings, config_dir=config)
    if settings.environment != "demo":
        raise ConfigurationError(f"SHOP_ENVIRONMENT is {settings.environment}; it must be demo")
    if not is_free(settings.port):
        raise ConfigurationError(f"port {settings.port} is in use; set SHOP_PORT")
    if nginx.binary() is None:
        raise ConfigurationError("nginx is not installed; on Debian: apt-get install nginx")
    if shutil.which("setpriv") is None:
        raise ConfigurationError("setpriv is not installed; on Debian: apt-get install util-linux")
    return settings


@contextmanager
def _folder(settings: Settings) -> Iterator[Path]:
    """Return an empty folder that nobody else uses while we do; it stays, for its logs."""
    folder = settings.make_data_dir().resolve() / "full"
    try:
        lock = folder.with_suffix(".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    except BlockingIOError:
        raise ConfigurationError(f"another demo-full is in {folder}; set SHOP_DATA_DIR") from None
    except OSError as error:
        raise ConfigurationError(f"data_dir: {error}; set SHOP_DATA_DIR") from error
    with lock:
        yield folder


def _shop(settings: Settings, config: Path, folder: Path, servers: Engines) -> int:
    what = plan()
    variables = _variables(settings, folder, what, servers)
    tables.say("Creating the tables ...")
    migrating = variables.command(SHARED, "migrate", "--config", str(config))
    if subprocess.run(migrating, check=False).returncode:  # noqa: S603 - the command is ours
        raise OSError("the databases could not be brought to the shop's schema")
    gateways = [f"127.0.0.1:{place.ports['port']}" for place in what.of("gateway")]
    balancer = nginx.write(folder / "nginx", port=settings.port, gateways=gateways)
    programs = groups(settings, config, variables, what, balancer)
    supervisor = Supervisor(folder, config.parent, programs)
    tables.say("Starting the shop ...\n")
    with Running(supervisor) as running:
        await_ready(_urls(settings, what), folder, running)
        if not running.told:
            tables.explain(settings, folder, what, servers, supervisor)
        return running.until_told()


def _variables(settings: Settings, folder: Path, what: Plan, servers: Engines) -> Variables:
    variables = Variables(folder / "env")
    shared = {
        "SHOP_ENVIRONMENT": "demo",
        "SHOP_PORT": str(settings.port),
        "SHOP_DATA_DIR": str(folder / "data"),
        "SHOP_KEYS_DIR": str(folder / "keys"),
        **servers.settings,
        "SHOP_MESH": "grpc",
        "SHOP_PEERS": what.peers,
        "SHOP_SANDBOX_PORT": str(what.sandbox_port),
        "SHOP_SMTP_PORT": str(what.smtp_port),
        "SHOP_TRUSTED_PROXIES": "1",
    }
    variables.write(SHARED, shared)
    for place in what.places:
        variables.write(place.name, place.settings)
    return variables


def _urls(settings: Settings, what: Plan) -> dict[str, str]:
    """Return what answers 200 once a process is ready, by its name; nginx last, for it asks all."""
    urls = {place.name: place.ready_url for place in what.places}
    urls |= {"sandbox": f"http://127.0.0.1:{what.sandbox_port}/health"}
    return urls | {"nginx": f"http://127.0.0.1:{settings.port}/health/ready"}
