"""Settings in files for every environment but production."""

from __future__ import annotations

from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.project import Project, at
from prodkit.scaffold.readiness.settings import settings_of

_ENVIRONMENTS = ("default", "demo", "development", "test")


def missing_files(project: Project) -> Iterator[Finding]:
    """Find projects whose `config` has files for other environments, none for production."""
    guarded = [settings for settings in settings_of(project) if settings.guarded]
    if not guarded or not project.mentioned & {"load_settings", "read_settings"}:
        return
    folders = {document.folder for document in project.documents if _last(document.folder)}
    for folder in sorted(folders):
        names = {each.name for each in project.documents if each.folder == folder}
        if "production" not in names and names & set(_ENVIRONMENTS):
            yield at(
                guarded[0].source.module,
                guarded[0].node,
                "production-settings",
                f"{folder} has settings for other environments, and none for production",
                f"write {folder}/production.yaml: the host that is bound, if nothing else",
            )


def _last(folder: str) -> bool:
    return folder.rpartition("/")[2] == "config"
