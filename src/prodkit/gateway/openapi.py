"""The OpenAPI 3.1 document of a contract: what is said in the .proto, said again for the web."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from prodkit.contract import Contract, HttpBinding, IdempotencyKey, MethodContract
from prodkit.contract.bindings import HTTP_BODY, field_at
from prodkit.contract.templates import ONE, REST, PathTemplate
from prodkit.gateway.binding import query_parameters
from prodkit.gateway.body import content_of, is_raw, takes_mask
from prodkit.gateway.problems import PROBLEM, RESPONSES, response, statuses
from prodkit.gateway.rules import Schema, required
from prodkit.gateway.schemas import Schemas
from prodkit.v1 import options_pb2


def openapi(contract: Contract, *, title: str, version: str) -> dict[str, Any]:
    """Return the document of everything in `contract` that has an HTTP binding."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    names: dict[str, tuple[str, ...]] = {}
    tags: dict[str, str] = {}
    for method in contract.methods.values():
        for number, binding in enumerate(method.bindings):
            shape = binding.template.shape
            variables = names.setdefault(shape, _variables(binding.template))
            operation = _Operation(method, binding, variables, schemas).describe(number)
            paths.setdefault(_path(binding.template, variables), {})[binding.verb.lower()] = (
                operation
            )
            tags[_tag(method)] = _service_description(method)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "tags": [_described({"name": name}, text) for name, text in sorted(tags.items())],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**dict(sorted(schemas.components.items())), "Problem": PROBLEM},
            "responses": RESPONSES,
            "securitySchemes": {
                "bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _variables(template: PathTemplate) -> tuple[str, ...]:
    """Name the wildcards of a template: by the field that they set, numbered where it has many."""
    names: list[str] = []
    for position, segment in enumerate(template.segments):
        if segment not in (ONE, REST):
            continue
        owner = next(
            (v for v in template.variables if v.start <= position < (v.stop or position + 1)), None
        )
        wildcards = template.segments[owner.start : owner.stop] if owner else ()
        name = owner.field if owner else "segment"
        alone = len([part for part in wildcards if part in (ONE, REST)]) == 1
        names.append(name if alone else f"{name}_{len(names) + 1}")
    return tuple(names)


def _path(template: PathTemplate, names: tuple[str, ...]) -> str:
    left = iter(names)
    parts = (f"{{{next(left)}}}" if part in (ONE, REST) else part for part in template.segments)
    return "/" + "/".join(parts) + (f":{template.verb}" if template.verb else "")


class _Operation:
    """One binding of one method on its way into the document."""

    def __init__(
        self,
        method: MethodContract,
        binding: HttpBinding,
        names: tuple[str, ...],
        schemas: Schemas,
    ) -> None:
        self._method = method
        self._binding = binding
        self._names = names
        self._schemas = schemas

    def describe(self, number: int) -> dict[str, Any]:
        method = self._method
        name = method.full_name.rpartition("/")[2]
        operation: dict[str, Any] = {
            "operationId": f"{_tag(method)}_{name}{f'_{number + 1}' if number else ''}",
            "tags": [_tag(method)],
            **_summary(method),
        }
        if parameters := [*self._path_parameters(), *self._query(), *self._headers()]:
            operation["parameters"] = parameters
        if self._binding.body:
            operation["requestBody"] = self._body()
        operation["responses"] = self._responses()
        operation["security"] = [] if method.access.public else [{"bearerAuth": []}]
        return operation

    def _path_parameters(self) -> list[dict[str, Any]]:
        own = _variables(self._binding.template)
        parameters = []
        for name, field_path in zip(self._names, own, strict=True):
            field = field_at(self._method.input, field_path)
            whole = field is not None and field_path in {
                variable.field
                for variable in self._binding.template.variables
                if variable.stop == variable.start + 1
            }
            schema = self._schemas.field(field) if field and whole else {"type": "string"}
            if schema.get("type") == "string" and "pattern" not in schema:
                schema = {"minLength": 1, **schema}
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
        return parameters

    def _query(self) -> list[dict[str, Any]]:
        parameters = []
        for name, parameter in query_parameters(self._binding, self._method.input).items():
            schema = dict(self._schemas.field(parameter.field))
            found: dict[str, Any] = {"name": name, "in": "query"}
            if text := schema.pop("description", ""):
                found["description"] = text
            if len(parameter.path) == 1 and required(parameter.field):
                found["required"] = True
            parameters.append({**found, "schema": _text(parameter.field, schema)})
        return parameters

    def _headers(self) -> list[dict[str, Any]]:
        taken = self._method.idempotency
        if taken is IdempotencyKey.NONE:
            return []
        return [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Repeating a request under its key does not repeat its effect.",
                "required": taken is IdempotencyKey.REQUIRED,
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 255,
                    "pattern": "^[!#-~]+$",
                },
            }
        ]

    def _body(self) -> dict[str, Any]:
        binding, request = self._binding, self._method.input
        if is_raw(binding, request):
            return {"content": {"*/*": {}}}
        content = content_of(binding, request)
        partial = binding.verb == "PATCH" and takes_mask(request)
        if binding.body != "*" and (
            content is None or request.fields_by_name[binding.body].is_repeated
        ):
            schema = self._schemas.field(request.fields_by_name[binding.body])
        else:
            assert content is not None
            schema = self._schemas.message(content, partial=partial)
        must = binding.body != "*" or any(map(required, request.fields))
        return {"content": {"application/json": {"schema": schema}}, "required": must}

    def _responses(self) -> dict[str, Any]:
        method = self._method
        success: dict[str, Any] = {"description": "Success"}
        if method.output.full_name == HTTP_BODY:
            success["content"] = {"*/*": {}}
        elif method.success_status not in (204, 205):
            schema = self._schemas.message(method.output)
            kinds = (
                ("text/event-stream", "application/x-ndjson")
                if method.server_streaming
                else ("application/json",)
            )
            success["content"] = {kind: _content(kind, schema) for kind in kinds}
        problems = {str(status): _problem(status) for status in statuses(method, self._binding)}
        return {str(method.success_status): success, **problems}


def _problem(status: int) -> dict[str, Any]:
    if str(status) in RESPONSES:
        return {"$ref": f"#/components/responses/{status}"}
    return response(status)


def _content(kind: str, schema: Schema) -> dict[str, Any]:
    """Describe a body; the messages of a stream are told, since its whole has no schema."""
    if kind == "application/json":
        return {"schema": schema}
    return {
        "schema": {"type": "string", "description": "A stream of messages."},
        "x-message": schema,
    }


def _text(field: FieldDescriptor, schema: Schema) -> Schema:
    """Return the schema of a value in a query, where null cannot be written."""
    kind = schema.get("type")
    if isinstance(kind, list) and not field.is_repeated:
        return {**schema, "type": next(name for name in kind if name != "null")}
    return schema


def _tag(method: MethodContract) -> str:
    return method.service.rpartition(".")[2]


def _summary(method: MethodContract) -> dict[str, str]:
    text = method.descriptor.GetOptions().Extensions[options_pb2.method_description]
    if not text:
        return {}
    summary, _, rest = text.replace("\n", " ").partition(". ")
    return {"summary": summary.rstrip("."), **({"description": rest} if rest else {})}


def _service_description(method: MethodContract) -> str:
    options = method.descriptor.containing_service.GetOptions()
    text: str = options.Extensions[options_pb2.service_description]
    return text


def _described(entry: dict[str, Any], text: str) -> dict[str, Any]:
    return {**entry, "description": text} if text else entry
