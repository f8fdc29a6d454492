"""OpenTelemetry's attribute names, all in one place because the rpc and messaging ones still move.

HTTP names are stable; the rest follows semantic conventions 1.44.
"""

from __future__ import annotations

from typing import Final

SERVICE_NAME: Final = "service.name"
ERROR_TYPE: Final = "error.type"

HTTP_METHOD: Final = "http.request.method"
HTTP_METHOD_ORIGINAL: Final = "http.request.method_original"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
URL_PATH: Final = "url.path"
USER_AGENT: Final = "user_agent.original"

RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"

MESSAGING_DESTINATION: Final = "messaging.destination.name"
MESSAGING_OPERATION: Final = "messaging.operation.type"

#: Ours, under our own prefix as the conventions ask.
REQUEST_ID: Final = "prodkit.request_id"
CODE: Final = "prodkit.code"
ATTEMPT: Final = "prodkit.attempt"
EVENTS: Final = "prodkit.events"
POLICY: Final = "prodkit.policy"
MEASURED: Final = "prodkit.measured"
THRESHOLD: Final = "prodkit.threshold"
RETRY_AFTER: Final = "prodkit.retry_after"
NOTES: Final = "prodkit.notes"

#: Every other word in a request line is `_OTHER`: the label must not be a stranger's to choose.
HTTP_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY"}
)
OTHER: Final = "_OTHER"
UNMATCHED: Final = "_unmatched"
