"""The OpenAPI document and Swagger UI, served without a request to any other host.

The assets are those of the `offapi` package, as files: its templates put two megabytes of script
inside of the page, which no strict Content-Security-Policy lets run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from prodkit.contract.templates import parse_template
from prodkit.errors import ConfigurationError
from prodkit.gateway.routes import Handler, Route

DOCUMENT_PATH = "/api/openapi.json"
PAGE_PATH = "/api/docs"
#: Swagger UI sets styles by attribute, so styles alone may be inline.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ASSETS = {
    "style.css": ("swagger_style.css", "text/css"),
    "bundle.js": ("swagger_bundle.js", "text/javascript"),
    "preset.js": ("swagger_preset.js", "text/javascript"),
}
_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API documentation</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{PAGE_PATH}/style.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{PAGE_PATH}/bundle.js"></script>
<script src="{PAGE_PATH}/preset.js"></script>
<script src="{PAGE_PATH}/start.js"></script>
</body>
</html>
"""
#: `validatorUrl: null`, or it would ask a validator on another host.
_START = f"""window.ui = SwaggerUIBundle({{
  url: "{DOCUMENT_PATH}",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "BaseLayout",
  validatorUrl: null,
}});
"""


def documentation(document: Mapping[str, Any]) -> Iterator[Route]:
    """Yield the routes of the document, the page, and what the page needs.

    Raises ConfigurationError if the `openapi-ui` extra is not installed.
    """
    folder = _assets()
    yield _route(DOCUMENT_PATH, orjson.dumps(document), "application/json")
    yield _route(PAGE_PATH, _PAGE.encode(), "text/html; charset=utf-8")
    yield _route(f"{PAGE_PATH}/start.js", _START.encode(), "text/javascript")
    for name, (file, kind) in _ASSETS.items():
        yield _route(f"{PAGE_PATH}/{name}", (folder / file).read_bytes(), kind, max_age=86_400)


def _assets() -> Path:
    spec = find_spec("offapi")  # found, not imported: importing it builds ten megabytes of pages
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "the documentation page needs: pip install 'prodkit-services[openapi-ui]'; "
            "docs=False leaves it out"
        )
    return Path(spec.submodule_search_locations[0])


def _route(path: str, body: bytes, kind: str, *, max_age: int = 0) -> Route:
    caching = f"public, max-age={max_age}" if max_age else "no-cache"
    headers = [
        (b"content-type", kind.encode("ascii")),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", caching.encode("ascii")),
        (b"content-security-policy", _POLICY.encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
    ]
    return Route("GET", parse_template(path), _static(headers, body))


def _static(headers: list[tuple[bytes, bytes]], body: bytes) -> Handler:
    async def answer(scope: Any, receive: Any, send: Any, path: Any) -> None:
        del receive, path
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        head = scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": b"" if head else body})

    return answer
