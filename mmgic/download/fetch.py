"""Fetching a file by url: politely, within limits, and from the public internet alone."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from yarl import URL

from mmgic.download.addresses import RefusedAddressError, public_socket
from mmgic.errors import of_the_machine
from mmgic.images import ImageError
from mmgic.settings import DownloadSettings

MAX_REDIRECTS = 5
MAX_WAIT_S = 60.0  # what a server may ask for with Retry-After before its image is given up
MAX_SILENCE = 5  # requests in a row that a host leaves unanswered before the batch asks it no more
_REDIRECTS = (301, 302, 303, 307, 308)
_USERS = 2  # bodies in use at once: a large image takes 270 MB when it is decoded
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_NO_IMAGE = ("text/", "audio/", "video/", "application/json", "application/xhtml", "application/xml")
# The opt-outs that img2dataset honours; a value may begin with the name of the only agent that it is meant for.
_OPT_OUTS = ("noai", "noimageai", "noindex", "noimageindex")
_NOT_SENT = re.compile(r"[^!-~]+")
_AGENT = "mmgic"
_PARAMETERS = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")


T = TypeVar("T")


class _RetryError(Exception):
    """It may work later. `wait` is the server's wish in seconds, None if it has none."""

    def __init__(self, detail: str, wait: float | None = None, reason: str = "download_failed") -> None:
        super().__init__(detail)
        self.wait = wait
        self.reason = reason


@dataclass
class _Host:
    slots: asyncio.Semaphore
    resume_at: float = 0.0  # on the clock of time.monotonic
    silence: int = 0  # requests in a row without an answer


class Fetcher:
    """A client of many servers at once, as an async context manager in one event loop."""

    def __init__(self, settings: DownloadSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._hosts: dict[str, _Host] = {}
        self._users = ThreadPoolExecutor(_USERS)

    async def __aenter__(self) -> Fetcher:
        settings = self._settings
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the semaphores limit, for waiting at the connector would count as the server's time
                ttl_dns_cache=300,
                socket_factory=None if settings.allow_private_addresses else public_socket,
            ),
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": settings.user_agent, "Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,  # behind a proxy the address that is checked would be the proxy's
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        self._users.shutdown()

    async def fetch(self, url: str, use: Callable[[bytes], T]) -> T:
        """What `use` makes of the body behind `url`, in a thread; a request gives up its place only after that.

        Raises ImageError (host_unreachable if nothing answers, download_failed if the answer is no image,
        download_refused, image_too_large), and whatever `use` raises.
        """
        attempt = 0
        while True:
            try:
                return await self._follow(url, use)
            except _RetryError as error:
                if attempt == self._settings.retries:
                    raise ImageError(error.reason, str(error)) from None
                if error.wait is not None and error.wait > MAX_WAIT_S:
                    raise ImageError("download_failed", f"{error}, asks to wait {error.wait:.0f} s") from None
                backoff = self._settings.backoff_s * 2**attempt * random.uniform(1, 1.5)
                await asyncio.sleep(backoff if error.wait is None else error.wait)
            attempt += 1

    async def _follow(self, url: str, use: Callable[[bytes], T]) -> T:
        for _ in range(MAX_REDIRECTS + 1):
            target = as_it_came(url)
            async with self._place(target) as host:
                answer = await self._request(target.with_user(None), host)
                if isinstance(answer, bytes):
                    return await asyncio.get_running_loop().run_in_executor(self._users, use, answer)
            url = urljoin(url, answer)
        raise ImageError("download_failed", f"more than {MAX_REDIRECTS} redirects")

    @asynccontextmanager
    async def _place(self, url: URL) -> AsyncIterator[_Host]:
        """One of the places that the host of `url` has, and one of those of all requests."""
        if url.scheme not in ("http", "https"):
            raise ImageError("download_refused", f"{url.scheme or 'no scheme'} is neither http nor https")
        if not url.host:
            raise ImageError("download_failed", "the url names no host")
        if url.host.endswith(".invalid"):  # reserved to mean so (RFC 6761)
            raise ImageError("download_failed", f"there is no host {url.host}")
        if url.host not in self._hosts:
            self._hosts[url.host] = _Host(asyncio.Semaphore(self._settings.per_host))
        host = self._hosts[url.host]
        async with host.slots:  # before the other: waiting for one host must not keep the others from being asked
            await asyncio.sleep(max(0.0, host.resume_at - time.monotonic()))
            async with self._slots:
                if host.silence >= MAX_SILENCE:
                    detail = f"{url.host} left {host.silence} requests in a row unanswered"
                    raise ImageError("host_unreachable", detail)
                yield host

    async def _request(self, url: URL, host: _Host) -> bytes | str:
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                host.silence = 0
                return await self._answer(response, host)
        except TimeoutError:
            host.silence += 1
            detail = f"no whole answer in {self._settings.timeout_s:g} s"
            raise _RetryError(detail, reason="host_unreachable") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise ImageError("download_failed", f"the certificate is not valid: {error.certificate_error}") from None
        except aiohttp.ClientConnectorError as error:
            if of_the_machine(error.os_error):
                raise error.os_error from None
            if isinstance(error.os_error, RefusedAddressError):
                detail = f"{url.host} does not lead to an address of the public internet"
                raise ImageError("download_refused", detail) from None
            if getattr(error.os_error, "errno", None) in (socket.EAI_NONAME, socket.EAI_NODATA):
                raise ImageError("host_unreachable", f"there is no host {url.host}") from None
            host.silence += 1
            raise _RetryError(f"cannot connect: {error.os_error}", reason="host_unreachable") from None
        except aiohttp.InvalidURL as error:
            raise ImageError("download_failed", f"not a url that can be asked for: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            if of_the_machine(error):
                raise
            reason = "host_unreachable" if isinstance(error, OSError) else "download_failed"
            raise _RetryError(f"{type(error).__name__}: {error}", reason=reason) from None

    async def _answer(self, response: aiohttp.ClientResponse, host: _Host) -> bytes | str:
        headers, status = response.headers, response.status
        if status in _REDIRECTS and "Location" in headers:
            return headers["Location"]
        if status in _RETRIED:
            wait = retry_after(headers.get("Retry-After", ""))
            if wait is not None:
                host.resume_at = time.monotonic() + min(wait, MAX_WAIT_S)
            raise _RetryError(f"HTTP {status}", wait)
        if status != 200:
            raise ImageError("download_failed", f"HTTP {status}")
        if directive := opt_out(headers.getall("X-Robots-Tag", [])):
            raise ImageError("download_refused", f"the site says X-Robots-Tag: {directive}")
        kind = headers.get("Content-Type", "").strip().lower()
        if kind.startswith(_NO_IMAGE):
            raise ImageError("download_failed", f"{kind} instead of an image")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ImageError("download_failed", "compressed although it was asked for as it is")
        return await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._settings.max_bytes
        body = bytearray()
        if (response.content_length or 0) <= limit:
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > limit:
                    break
            else:
                return bytes(body)
        response.close()  # without reading the rest
        raise ImageError("image_too_large", f"more than {limit} bytes")


def as_it_came(url: str) -> URL:
    """`url` with its path and query character by character: a signature, or a url inside a url, is about these.

    Only what no request can carry, blanks and characters beyond ASCII, is percent-encoded; the host is made ASCII.
    Raises ImageError (download_failed) if it is no url.
    """
    try:
        parts = urlsplit(url)
        host = URL(f"{parts.scheme}://{parts.netloc}")
        path, query = (_NOT_SENT.sub(_encoded, part) for part in (parts.path, parts.query))
        return URL.build(
            scheme=host.scheme, authority=host.raw_authority, path=path or "/", query_string=query, encoded=True
        )
    except ValueError as error:
        raise ImageError("download_failed", f"not a url that can be asked for: {error}") from None


def _encoded(found: re.Match[str]) -> str:
    return quote(found[0], safe="", errors="surrogateescape")  # a server's header may hold bytes of any encoding


def opt_out(values: Iterable[str]) -> str:
    """The directive of X-Robots-Tag headers by which a site does not want its image used, "" if there is none."""
    for value in values:
        agent, colon, rest = value.partition(":")
        named = colon and "," not in agent and agent.strip().lower() not in _PARAMETERS
        if named and agent.strip().lower() not in (_AGENT, "*"):
            continue
        for directive in (rest if named else value).split(","):
            if directive.strip().lower() in _OPT_OUTS:
                return directive.strip().lower()
    return ""


def retry_after(value: str) -> float | None:
    """The seconds that a Retry-After header (a number or a date) asks for, None if it asks for nothing sensible."""
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
