"""`prodkit add service`: one more service, merged into a project as an update is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import prodkit
from prodkit.errors import ConfigurationError
from prodkit.scaffold.blueprint import platform_of
from prodkit.scaffold.journal import JOURNAL
from prodkit.scaffold.names import names_of, service_of
from prodkit.scaffold.project import Project, open_project
from prodkit.scaffold.render import render
from prodkit.scaffold.update import Update, prepare


def prepare_service(folder: Path, name: str, *, root: Path | None = None) -> Update:
    """Work out what a service called `name` adds to a project; raise ConfigurationError."""
    project = open_current(folder)
    service = service_of(name)
    answers = project.answers
    services = services_of(project, root=root)
    if service in services:
        raise ConfigurationError(
            f"there is a service {service} already; there are {', '.join(services)}"
        )
    _check_free(project, service)
    return prepare(
        project,
        replace(answers, services=(*answers.services, service)),
        known=render(answers, root=root),
        root=root,
    )


def open_current(folder: Path) -> Project:
    """Read a project that is made by the installed prodkit; raise ConfigurationError."""
    project = open_project(folder)
    if project.version != prodkit.__version__:
        raise ConfigurationError(
            f"this project was made by prodkit {project.version}, and {prodkit.__version__} is"
            " installed: run `prodkit update` first"
        )
    return project


def services_of(project: Project, *, root: Path | None = None) -> tuple[str, ...]:
    """Return the services of a project, its template's own before those that were added."""
    fixed = platform_of(project.answers.template, root=root).services
    return (*fixed, *project.answers.services)


def speaks_of(project: Project, *, root: Path | None = None) -> tuple[str, ...]:
    """Return what the services of a project speak, its template's choice before its own."""
    answers = project.answers
    return platform_of(answers.template, root=root).settle(answers).speaks


def how_to_speak(what: str) -> str:
    """Return what to do where a project does not speak `what`."""
    return f'add "{what}" to speaks in .prodkit.toml, and run `prodkit update`'


def _check_free(project: Project, service: str) -> None:
    """Raise ConfigurationError where something else goes by the name of a service."""
    if (project.folder / JOURNAL).exists():
        return  # it was killed while it was added
    package = Path("src", names_of(project.answers.name).package)
    for path in (package / service, package / f"{service}.py"):
        if (project.folder / path).exists():
            raise ConfigurationError(
                f"the name {service} is taken: there is {path.as_posix()} already"
            )
