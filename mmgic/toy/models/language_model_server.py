"""A small server of OpenAI's chat API that knows what the toy world's words mean. It runs without any download.

    python -m mmgic.toy.models.language_model_server --port 8009     # prints the settings and the token to use it with

It answers the prompts of `mmgic.descriptions` from the toy world's own descriptions, calls any other label "Invalid."
where the prompt allows that, and merges two captions into one sentence. It listens on 127.0.0.1 alone and asks for its
token.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from mmgic.arguments import Parser, whole
from mmgic.toy.datasets.write import descriptions
from mmgic.toy.world import text

MODEL = "toy-language-model"
_MEANINGS = {(row["kind"], row["label"].lower()): row["description"] for row in descriptions()}


def answer(system: str, user: str) -> str:
    """What the toy model says to a prompt: a pure function of the prompt."""
    if asked := re.search(r"^(Object|Attribute|Relationship) label: (.+)$", user, re.MULTILINE):
        kind, label = asked[1].lower(), asked[2].strip()
        bare = re.sub(r" \(.*\)$", "", label).lower()
        if meaning := _MEANINGS.get((kind, bare)):
            return f'In the toy world, "{label}" is this: {meaning}'
        if "Invalid." in system:
            return f'Invalid. The toy world has no {kind} called "{label}".'
        return f'The toy world has no {kind} called "{label}", so little can be said of how it looks.'
    captions = re.findall(r"^(?:Web|Short) caption: (.*)$", user, re.MULTILINE)
    if len(captions) == 2:
        web_caption, short = (caption.strip(" .") for caption in captions)
        return text.sentence(f"{short}, known as {web_caption}")
    return "I am sorry, but I only know the toy world."


@dataclass(frozen=True)
class ToyServer:
    """Where a running server is, and what it was asked: the user prompts, in the order of their arrival."""

    base_url: str
    token: str
    asked: list[str]


@contextmanager
def serve(token: str = "", port: int = 0, seconds: Callable[[], float] = lambda: 0.0) -> Iterator[ToyServer]:
    """A server in a thread of this process, on a free port of 127.0.0.1 unless `port` names one.

    `token` is made up if none is given; each answer takes `seconds()`.
    """
    token = token or secrets.token_urlsafe(24)
    asked: list[str] = []
    application = _application(token, asked, seconds)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        bound = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        yield ToyServer(f"http://127.0.0.1:{bound}/v1", token, asked)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _application(token: str, asked: list[str], seconds: Callable[[], float]) -> web.Application:
    async def complete(request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
            return _error(401, "the token is wrong or missing")
        try:
            body = await request.json()
            messages = {message["role"]: message["content"] for message in body["messages"]}
            system, user = messages.get("system", ""), messages["user"]
        except (ValueError, KeyError, TypeError):
            return _error(400, "send JSON with model and messages")
        if body.get("model") != MODEL:
            return _error(404, f"the only model here is '{MODEL}'")
        asked.append(user)
        await asyncio.sleep(seconds())
        return web.json_response(_completion(system, user))

    application = web.Application(client_max_size=1 << 20)
    application.router.add_post("/v1/chat/completions", complete)
    return application


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)


def _completion(system: str, user: str) -> dict[str, Any]:
    said = answer(system, user)
    prompt_tokens, completion_tokens = len(f"{system} {user}".split()), len(said.split())
    return {
        "id": "chatcmpl-toy",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--port", type=whole(0, 65535), default=8009, help="port to listen on; 0: any that is free")
    arguments = parser.parse_args()
    with serve(port=arguments.port) as server:
        print(f"OPENAI_API_KEY={server.token}")
        print(f"--set language_model.base_url={server.base_url} --set language_model.model={MODEL}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
