"""Templates of a small project that has all that `prodkit add` looks for."""

from __future__ import annotations

PROTO = """\
syntax = "proto3";

package my_shop.contract.my_shop.v1;

import "buf/validate/validate.proto";
import "prodkit/v1/options.proto";

service MyShopService {
  // Say it again.
  rpc Echo(EchoRequest) returns (EchoResponse) {
    option (prodkit.v1.method) = {access: {public: true} deadline: {seconds: 2}};
  }
}

message EchoRequest {
  string text = 1 [(buf.validate.field).string.max_len = 64];
}

message EchoResponse {
  string text = 1;
}
"""
SERVICER = '''\
"""The service's part of the contract."""

from __future__ import annotations

from typing import Any

from ..contract.my_shop.v1 import my_shop_pb2 as pb
from ..contract.my_shop.v1 import my_shop_pb2_grpc as rpc


class Servicer(rpc.MyShopServiceServicer):
    """Answers."""

    async def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        """Say it again."""
        return pb.EchoResponse(text=request.text)
'''
HANDLERS = '''\
"""What the service makes of which event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prodkit.messaging.event import Event

from ..kit import Kit


async def on_my_shop_changed(event: Event) -> None:
    """Take note of it."""


def handlers(kit: Kit) -> dict[str, Callable[[Event], Awaitable[None]]]:
    """Return what is made of which event."""
    return {
        "my_shop.changed": kit.once(on_my_shop_changed),
    }
'''
FILES = {
    "project/base/pyproject.toml": "[tool.ruff]\nline-length = 100\nsrc = ['src']\n",
    "project/base/src/__package__/__init__.py": "",
    "project/base/src/__package__/contract/__init__.py": "",
    "project/base/src/__package__/contract/my_shop/__init__.py": "",
    "project/base/src/__package__/contract/my_shop/v1/__init__.py": "",
    "project/base/src/__package__/contract/my_shop/v1/my_shop.proto": PROTO,
    "service/base/src/__package__/__service__/__init__.py": "",
    "service/base/src/__package__/__service__/servicer.py": SERVICER,
    "service/base/src/__package__/__service__/service.py": HANDLERS,
}
SPEAKS = ("http", "grpc", "events")
