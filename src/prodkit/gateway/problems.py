"""The refusals of an API in its OpenAPI document: RFC 9457 problems, by status."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from prodkit.contract import HttpBinding, IdempotencyKey, MethodContract

_MEANING = {
    400: "The request is wrong, or the state of the system does not admit it.",
    401: "Nobody, or nobody we know, is calling.",
    403: "The caller may not.",
    404: "No such thing, or none that this caller may see.",
    408: "The body took too long to arrive.",
    409: "In conflict with what is there, or with a request under way.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The idempotency key was used for another request.",
    429: "Too many requests.",
    500: "A fault of ours.",
    503: "Something is not available; try again later.",
    504: "The time of the request was over.",
}
_RETRIABLE = frozenset({429, 503, 504})

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference"},
        "code": {"type": "string", "description": "gRPC's name of the kind of error."},
        "reason": {"type": "string", "description": "The stable word that programs test."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "JSON Pointer of the field."},
                    "detail": {"type": "string"},
                    "rule": {"type": "string"},
                },
                "required": ["pointer", "detail"],
            },
        },
    },
    "required": ["type", "title", "status"],
}


def response(status: int) -> dict[str, Any]:
    """Describe the problem that is answered with `status`."""
    described: dict[str, Any] = {
        "description": _MEANING.get(status) or f"{HTTPStatus(status).phrase}.",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    if status in _RETRIABLE:
        described["headers"] = {
            "Retry-After": {
                "description": f"Seconds to wait after {HTTPStatus(status).phrase}.",
                "schema": {"type": "integer", "minimum": 1},
            }
        }
    return described


RESPONSES = {str(status): response(status) for status in _MEANING}


def statuses(method: MethodContract, binding: HttpBinding) -> Iterator[int]:
    """Yield the statuses, in order, with which one binding of a method may refuse."""
    for status in sorted({*_MEANING, *method.statuses.values()}):
        # A token that does not hold is refused by public methods too, hence 401.
        if status == 403 and method.access.public:
            continue
        if status in (408, 413, 415) and not binding.body:
            continue
        if status == 422 and method.idempotency is IdempotencyKey.NONE:
            continue
        yield status
