"""The HTTP side of a contract: routes, JSON transcoding, OpenAPI."""

from prodkit.gateway.app import Gateway
from prodkit.gateway.openapi import openapi

__all__ = ["Gateway", "openapi"]
