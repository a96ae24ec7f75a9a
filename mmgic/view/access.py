"""Who may see the page: whoever opened it by the address with the token that the command printed."""

from __future__ import annotations

import secrets
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

COOKIE = "mmgic_view"


class TokenGate:
    """ASGI middleware in front of pages, images and web sockets.

    A request carries the token as `?token=` once and in a cookie from then on; any other is answered with 403.
    """

    def __init__(self, app: Any, token: str) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        by_query = secrets.compare_digest(given.encode(), self.token.encode())
        if not by_query and not secrets.compare_digest(_cookie(scope).encode(), self.token.encode()):
            await _refuse(scope, send)
            return

        async def send_with_cookie(message: dict[str, Any]) -> None:
            if by_query and message["type"] == "http.response.start":
                cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/".encode()
                message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie)]}
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def _cookie(scope: dict[str, Any]) -> str:
    header = next((value for name, value in scope["headers"] if name == b"cookie"), b"")
    morsel = SimpleCookie(header.decode("latin-1")).get(COOKIE)
    return morsel.value if morsel else ""


async def _refuse(scope: dict[str, Any], send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4403})
        return
    body = b"Open the address that `mmgic view` printed: it carries the token.\n"
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
