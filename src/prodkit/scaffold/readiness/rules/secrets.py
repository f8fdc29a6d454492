"""Secrets that production would take from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.project import Project, at
from prodkit.scaffold.readiness.settings import Field, Settings, settings_of

_SECRET = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secret|apikey|api_key|secret_key|private_key"
    r"|secret_access_key|encryption_key|signing_key)$"
    # Other tokens are what texts are made of, or names of cookies.
    r"|^token$|(?:^|_)(?:access|admin|api|auth|bearer|bot|github|refresh|secret|slack)_token$"
)
#: Where a secret is, or what fills it in, but not the secret.
_ELSEWHERE = re.compile(r"^(?:[./~<\[]|\$|env:|vault:|arn:|file:|https?:|projects/|\{\{)")
_PASSWORD = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@:\s]*:(?P<password>[^/@\s]+)@")
#: Classes of settings that production does not use, by their names.
_OTHERS = re.compile(r"Dev|Test|Local|Demo|Debug")
#: Who asks for these looks at every field.
_ALL = ("model_fields", "__fields__")
_ENVIRONMENT = "make it SecretStr, which production takes from the environment alone"


def defaults(project: Project) -> Iterator[Finding]:
    """Find secrets among settings whose default production would take."""
    for settings in settings_of(project):
        if _OTHERS.search(settings.node.name):
            continue
        for field in settings.fields():
            message = _exposed(settings, field)
            if message and not _watched(settings, field):
                fix = _ENVIRONMENT if settings.guarded else "give it no default"
                yield at(settings.source.module, field.node, "plain-secret", message, fix)


def _exposed(settings: Settings, field: Field) -> str:
    wrapped, text = _literal(field.default)
    if not text or (settings.guarded and field.kind == "SecretStr"):
        return ""
    if wrapped:
        return f"{field.name} has a default, and nothing refuses it in production"
    if _has_password(text):
        return f"{field.name} has a default with a password in it, which production would take"
    if field.kind == "str" and _is_secret(field.name, text):
        return f"{field.name} is plain text with a default, which production would take"
    return ""


def _literal(default: ast.expr | None) -> tuple[bool, str]:
    """Return the text of a default, and whether it stands in a SecretStr or SecretBytes."""
    wrapped = False
    if isinstance(default, ast.Call) and isinstance(default.func, ast.Name) and default.args:
        wrapped = default.func.id in ("SecretStr", "SecretBytes")
        default = default.args[0] if wrapped else None
    value = default.value if isinstance(default, ast.Constant) else ""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return wrapped, value if isinstance(value, str) else ""


def _is_secret(name: str, text: str) -> bool:
    """Say whether a value is a secret by its name, and not a name or a place itself."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rpartition(".")[2]).lower()
    same = text.lower().replace("-", "_").removeprefix("x_") == name
    return bool(_SECRET.search(name)) and not same and not _ELSEWHERE.match(text)


def _has_password(text: str) -> bool:
    found = _PASSWORD.match(text)
    return found is not None and not found["password"].startswith(("$", "{", "<", "%"))


def _watched(settings: Settings, field: Field) -> bool:
    """Say whether the class looks at the field by itself: it may refuse what it finds."""
    for node in settings.node.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
            for each in ast.walk(node):
                said = isinstance(each, ast.Constant) and each.value == field.name
                if said or (isinstance(each, ast.Attribute) and each.attr in (field.name, *_ALL)):
                    return True
    return False


def files(project: Project) -> Iterator[Finding]:
    """Find secrets that stand in `config/production.yaml`."""
    guarded = [settings for settings in settings_of(project) if settings.guarded]
    if not guarded:
        return
    names = {f.name for s in guarded for f in s.fields() if f.kind.startswith("Secret")}
    names.add("admin_token")
    for document in project.documents:
        if document.name != "production":
            continue
        for entry in document.entries:
            if entry.kind == "null" or not entry.value:
                continue
            secret = entry.key in names
            text = entry.kind == "str" and _is_secret(entry.key, entry.value)
            if secret or text or _has_password(entry.value):
                yield Finding(
                    document.path,
                    entry.line,
                    "secret-in-file",
                    f"{entry.key} is a secret, and whoever reads the file has it",
                    "take it out, rotate it, and set it by an environment variable",
                )
