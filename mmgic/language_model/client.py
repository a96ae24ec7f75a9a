"""Asking a language model over OpenAI's chat API: a hosted one, or a local `vllm serve`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from mmgic.errors import InputError
from mmgic.language_model.answers import Answer, AnswerFile, Usage
from mmgic.settings import LanguageModelSettings, SettingsError

MAX_RESPONSE_BYTES = 4 << 20
_TRANSIENT = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)


@dataclass(frozen=True)
class Prompt:
    system: str
    user: str


class LanguageModel:
    """Asks one model. Raises SettingsError if the settings name none, InputError if the cache is no cache.

    `purpose` marks its answers in the cache, so that `usage` can be told for each purpose.
    """

    def __init__(self, settings: LanguageModelSettings, purpose: str) -> None:
        check_server(settings)
        self.settings = settings
        self.purpose = purpose
        self.failed = 0  # requests that failed after their retries
        self._answers = AnswerFile(settings.cache)
        self._unanswered = 0  # of them, those in a row that did not reach a server that works

    def ask(self, prompts: Sequence[Prompt], progress: Callable[[int], None] | None = None) -> list[Answer]:
        """Returns one answer for each prompt, in their order; only those that the cache lacks are asked for.

        `progress` is called with 1 for each answer that arrives. A request that the server refuses, or that fails
        after its retries, is `failed` and made again next time. Raises InputError if the key is refused, the model
        is unknown, or more requests in a row than are made at once fail to reach the server.
        """
        keys = [self._key(prompt) for prompt in prompts]
        missing = {k: prompt for k, prompt in zip(keys, prompts, strict=True) if self._answers.find(k) is None}
        failed = asyncio.run(self._fetch(missing, progress or (lambda done: None))) if missing else {}
        return [failed.get(key) or self._answers.find(key) or _failed("no answer") for key in keys]

    def usage(self) -> Usage:
        """What all answers of this model for this purpose have cost, in this run and in earlier ones."""
        return self._answers.usage(self.settings, self.purpose)

    def share_usage(self, write: Callable[[Usage], None]) -> None:
        """Calls `write` with `usage` while no other process of this machine does: what was written last is the sum."""
        with self._answers.locked():
            write(self.usage())

    def _key(self, prompt: Prompt) -> str:
        """What an answer depends on. The server's address is no part of it: the same model may move."""
        chosen = self.settings
        asked = [chosen.model, chosen.temperature, chosen.max_tokens, asdict(prompt)]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    async def _fetch(self, missing: dict[str, Prompt], progress: Callable[[int], None]) -> dict[str, Answer]:
        """Asks for the `missing` prompts and keeps the answers; returns those that are none, which are not kept."""
        failed: dict[str, Answer] = {}
        problems: list[InputError] = []
        waiting = iter(missing.items())  # shared by all workers

        async def work(client: openai.AsyncOpenAI) -> None:
            for key, prompt in waiting:
                try:
                    answer = await self._request(client, key, prompt)
                except InputError as problem:
                    problems.append(problem)
                if problems:
                    return  # nothing more is asked for, but what is on its way is paid for: it is waited for and kept
                if answer is not None:
                    failed[key] = answer
                    self.failed += 1
                progress(1)

        async with self._client() as client, asyncio.TaskGroup() as group:
            for _ in range(min(self.settings.concurrency, len(missing))):
                group.create_task(work(client))
        if problems:
            raise problems[0]
        return failed

    async def _request(self, client: openai.AsyncOpenAI, key: str, prompt: Prompt) -> Answer | None:
        """Asks once and keeps the answer, or returns what went wrong."""
        settings = self.settings
        try:
            completion = await client.chat.completions.create(
                model=settings.model,
                messages=[{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
                temperature=settings.temperature,
                max_completion_tokens=settings.max_tokens,
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise InputError(
                f"{settings.base_url} refuses the key ({_sentence(error)}); put a valid one into the environment "
                f"variable {settings.api_key_env or 'that language_model.api_key_env names'}"
            ) from None
        except openai.NotFoundError as error:
            raise InputError(
                f"{settings.base_url} has no model '{settings.model}' or no chat API ({_sentence(error)}); correct "
                "language_model.base_url or language_model.model"
            ) from None
        except _TRANSIENT as error:
            self._unanswered += 1
            if self._unanswered > settings.concurrency:
                raise InputError(
                    f"the language model at {settings.base_url} does not answer ({_sentence(error)}); start it or "
                    "correct language_model.base_url, and run again: the answers so far are kept"
                ) from None
            return _failed(_sentence(error))
        except openai.OpenAIError as error:
            return _failed(_sentence(error))
        except ValueError:
            return _failed("the response is not JSON")
        self._unanswered = 0
        answer = _read(completion)
        if answer is None:
            return _failed("the response is not one of the chat API")
        used = completion.usage
        tokens = (used.prompt_tokens or 0, used.completion_tokens or 0) if used else (0, 0)
        self._answers.keep(key, settings.model, self.purpose, answer, *tokens)
        return None

    def _client(self) -> openai.AsyncOpenAI:
        settings = self.settings
        return openai.AsyncOpenAI(
            base_url=settings.base_url,
            api_key=os.environ.get(settings.api_key_env or " ") or "none",  # a local server may need none
            max_retries=settings.retries,
            timeout=settings.timeout_s,
            http_client=_Http(settings),
        )


def check_server(settings: LanguageModelSettings) -> None:
    """Raises SettingsError if the settings name no server or no model."""
    if not settings.base_url:
        raise SettingsError(
            "no language model is named; set language_model.base_url to an OpenAI-compatible server, such as "
            "http://127.0.0.1:8000/v1 of a local 'vllm serve'"
        )
    url = urlsplit(settings.base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise SettingsError(f"language_model.base_url is '{settings.base_url}'; write http(s)://HOST/v1")
    if url.username or url.password:
        raise SettingsError("language_model.base_url holds a password; keys belong in the environment variable alone")
    if not settings.model:
        raise SettingsError("set language_model.model to the name by which the server knows the model")


def _read(completion: Any) -> Answer | None:
    """A response of the chat API as an answer; None if it is something else."""
    try:
        choice = completion.choices[0]
        message, finish = choice.message, choice.finish_reason
        text, refusal = message.content or "", getattr(message, "refusal", None)
    except (AttributeError, IndexError, TypeError):
        return None
    if refusal or finish == "content_filter":
        return Answer(text, f"refused: {refusal or 'by a content filter'}")
    return Answer(text, "cut off at language_model.max_tokens" if finish == "length" else "")


def _failed(why: str) -> Answer:
    return Answer("", f"the request failed: {why}", failed=True)


def _sentence(error: openai.OpenAIError) -> str:
    """The error's message on one short line."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(message or error).split())[:300]


class _TooLarge(openai.OpenAIError):
    """Not retried: the same request would bring the same flood."""


class _Http(httpx2.AsyncClient):
    """Starts requests, retries among them, no faster than the settings allow; bounds a response's time and size."""

    def __init__(self, settings: LanguageModelSettings) -> None:
        local = (urlsplit(settings.base_url).hostname or "") in ("localhost", "127.0.0.1", "::1")
        # a proxy of the environment is no way to this machine, and no API server redirects
        super().__init__(timeout=settings.timeout_s, follow_redirects=False, trust_env=not local)
        self._timeout_s = settings.timeout_s
        self._pause = 60 / settings.requests_per_minute if settings.requests_per_minute else 0.0
        self._next_start = 0.0

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        await self._wait_for_turn()
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await super().send(request, **{**options, "stream": True})
                try:
                    body = bytearray()
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > MAX_RESPONSE_BYTES:
                            raise _TooLarge(f"the response is larger than {MAX_RESPONSE_BYTES:,} bytes")
                finally:
                    await response.aclose()
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no whole response within {self._timeout_s:g} s", request=request) from None
        coded = ("content-encoding", "content-length", "transfer-encoding")  # the body is decoded by now
        headers = [(name, value) for name, value in response.headers.items() if name.lower() not in coded]
        return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=request)

    async def _wait_for_turn(self) -> None:
        if self._pause:
            now = asyncio.get_running_loop().time()
            start = max(now, self._next_start)
            self._next_start = start + self._pause
            await asyncio.sleep(start - now)
