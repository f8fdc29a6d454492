"""The command."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from prodkit.errors import ConfigurationError, ServiceError
from prodkit.service.settings import load_settings

from . import COMMAND
from .peers import EVERYTHING, SERVICES
from .recovery import commands as recovery
from .settings import Settings

app = typer.Typer(
    help="The shop: six services, a storefront, and a sandbox for the outside world.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(recovery.app)

ConfigDir = Annotated[
    Path, typer.Option("--config", help="The folder of default.yaml and <environment>.yaml.")
]


@app.command()
def demo(config: ConfigDir = Path("config")) -> None:
    """Run shop and sandbox with known accounts, on this machine alone."""
    from . import demo as demonstration

    raise SystemExit(demonstration.run(config))


@app.command()
def demo_full(config: ConfigDir = Path("config")) -> None:
    """Run the same on private PostgreSQL, Redis, RabbitMQ: a process per service, nginx ahead."""
    from .full import launch

    raise SystemExit(launch.run(config))


@app.command()
def serve(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERVICE]...",
            help=f"Of {', '.join(EVERYTHING)}; all of them if none is named.",
        ),
    ] = None,
    config: ConfigDir = Path("config"),
) -> None:
    """Run the shop, or some of its services; what is outside of it must be running already."""
    settings = load_settings(Settings, config_dir=config)
    from .platform import build

    build(settings, only=services or ()).run()


@app.command()
def migrate(config: ConfigDir = Path("config")) -> None:
    """Bring the PostgreSQL database of every service to the schema that this version wants."""
    settings = load_settings(Settings, config_dir=config)
    from .schema import migrate_all

    try:
        ran = asyncio.run(migrate_all(settings, SERVICES))
    except ServiceError as error:
        typer.echo("; ".join(getattr(error, "__notes__", [error.message])), err=True)
        raise SystemExit(1) from None
    for service, revisions in ran.items():
        typer.echo(f"{service}: {', '.join(revisions) or 'up to date'}")


@app.command()
def sandbox(
    config: ConfigDir = Path("config"),
    tied: Annotated[
        bool, typer.Option(help="End when standard input does, as a child should.")
    ] = False,
) -> None:
    """Run the outside world: payment provider, gateways and mailbox."""
    settings = load_settings(Settings, config_dir=config)
    from prodkit.telemetry import configure_logging

    from .sandbox.service import build
    from .sandbox.tied import Tied

    configure_logging("sandbox", level=settings.log_level)
    build(settings, *([Tied()] if tied else [])).run()


@app.command()
def audit(
    config: ConfigDir = Path("config"),
    limit: Annotated[
        float | None,
        typer.Option(help="Seconds that anything may take; else as long as orders hold stock."),
    ] = None,
    patience: Annotated[float, typer.Option(help="Seconds to look again for what differs.")] = 5.0,
) -> None:
    """Check that money, stock and mails add up, while the shop runs or after; needs the sandbox."""
    settings = load_settings(Settings, config_dir=config)
    from .audit import report

    limit = settings.reservation_lifetime + 60.0 if limit is None else limit
    raise SystemExit(report.run(settings, limit=limit, patience=patience))


def main() -> None:
    """Run the command; exit with 2 where it is told what cannot work."""
    try:
        app(prog_name=COMMAND)
    except ConfigurationError as error:
        typer.echo(f"cannot start: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
