"""A web server on this machine with every kind of site that a url list leads to."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

from mmgic.download import DownloadImages
from mmgic.settings import DownloadSettings
from mmgic.sources.captions.pairs import captioned_image


def picture(number: int, kind: str = "PNG", size: tuple[int, int] = (24, 16)) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def bomb(side: int = 40_000) -> bytes:
    """A PNG of a few hundred bytes whose header tells of `side` x `side` pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


class Site:
    """`url(path)` names a page; `seen` counts the requests of each path; `most` is how many were served at once."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: Counter[str] = Counter()
        self.targets: list[str] = []  # as they arrived
        self.agents: set[str] = set()
        self.times: list[float] = []
        self.now = self.most = 0
        self.lock = threading.Lock()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.site = Site(server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.site  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        path = urlsplit(self.path).path.removeprefix("/")
        with site.lock:
            site.seen[path] += 1
            site.targets.append(self.path)
            site.agents.add(self.headers["User-Agent"])
            site.times.append(time.monotonic())
            site.now += 1
            site.most = max(site.most, site.now)
        try:
            name, _, rest = path.partition("/")
            getattr(self, name)(unquote(rest), site.seen[path])
        except ConnectionError:
            pass
        finally:
            with site.lock:
                site.now -= 1

    def answer(self, body: bytes = b"", status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def png(self, rest: str, _: int) -> None:
        self.answer(picture(int(rest)), Content_Type="image/png")

    def jpeg(self, rest: str, _: int) -> None:
        self.answer(picture(int(rest), "JPEG"), Content_Type="application/octet-stream")

    def wait(self, rest: str, _: int) -> None:
        time.sleep(float(rest.split("/")[0]))
        self.answer(picture(0))

    def status(self, rest: str, _: int) -> None:
        self.answer(status=int(rest.split("/")[0]))

    def go(self, rest: str, _: int) -> None:
        self.answer(status=302, Location=rest)

    def loop(self, rest: str, _: int) -> None:
        self.answer(status=301, Location=f"/loop/{int(rest) + 1}")

    def busy(self, rest: str, times: int) -> None:
        """Says twice that it is busy, with a wish of `rest` seconds."""
        if times <= 2:
            self.answer(status=503, **({"Retry_After": rest} if rest else {}))
        else:
            self.answer(picture(7))

    def robots(self, rest: str, _: int) -> None:
        self.answer(picture(1), X_Robots_Tag=rest)

    def text(self, rest: str, _: int) -> None:
        self.answer(b"<html>", Content_Type="text/html; charset=utf-8")

    def broken(self, rest: str, _: int) -> None:
        self.answer(picture(1)[: int(rest)], Content_Type="image/png")

    def cut(self, rest: str, _: int) -> None:
        self.answer(picture(1)[:100], length=5000)
        self.close_connection = True

    def bomb(self, rest: str, _: int) -> None:
        self.answer(bomb(), Content_Type="image/png")

    def zipped(self, rest: str, _: int) -> None:
        self.answer(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")

    def announced(self, rest: str, _: int) -> None:
        self.answer(b"", length=int(rest))

    def endless(self, rest: str, _: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        block = bytes(1 << 16)
        for _number in range(1000):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))

    def postscript(self, rest: str, _: int) -> None:
        self.answer(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


SETTINGS = DownloadSettings(
    backoff_s=0.01, timeout_s=5, concurrency=16, per_host=4, max_bytes=1_000_000, allow_private_addresses=True
)


@pytest.fixture
def download(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Downloads urls as rows of image-caption pairs, with some settings changed."""
    from dataclasses import replace

    def run(*urls: str, **changes: Any) -> list[dict[str, Any]]:
        rows = [captioned_image("s", str(i), 0, url=url, caption_origin=f"number {i}") for i, url in enumerate(urls)]
        return DownloadImages(replace(SETTINGS, **changes), str(tmp_path / "shards"))(rows)

    return run
