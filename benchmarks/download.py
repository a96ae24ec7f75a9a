"""CPU time and images per second of the download beside a bare aiohttp client, from a server on this machine.

    python benchmarks/download.py [--images 2000] [--milliseconds 20]

The server answers each request with a JPEG of 256 x 256 after some milliseconds. The bare client reads the bodies and
drops them; the download also checks every address, decodes every image whole and writes tar shards.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import multiprocessing
import tempfile
import time
from typing import Any

from alternating import ROUNDS, Way, print_rates, rates

# isort: split
import aiohttp
import numpy as np
from aiohttp import web
from PIL import Image

from mmgic.download import DownloadImages
from mmgic.settings import DownloadSettings
from mmgic.sources.captions.pairs import captioned_image

CONCURRENCY = 64


def serve(ready: Any, seconds: float) -> None:
    file = io.BytesIO()
    smooth = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(smooth).resize((256, 256), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(body=file.getvalue(), content_type="image/jpeg")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{name}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


async def bare(urls: list[str]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

        async def one(url: str) -> None:
            async with session.get(url) as response:
                await response.read()

        await asyncio.gather(*map(one, urls))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--milliseconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    ready: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(ready, arguments.milliseconds / 1000), daemon=True)
    server.start()
    port = ready.get()
    urls = [f"http://127.0.0.1:{port}/{i}.jpg" for i in range(arguments.images)]

    settings = DownloadSettings(concurrency=CONCURRENCY, per_host=CONCURRENCY, allow_private_addresses=True)
    rows = [captioned_image("s", str(i), 0, url=url) for i, url in enumerate(urls)]

    def download() -> None:
        with tempfile.TemporaryDirectory() as folder:
            fetch = DownloadImages(settings, folder)
            kept = [row["keep"] for i in range(0, len(rows), 1000) for row in fetch(rows[i : i + 1000])]
        assert all(kept)

    ways: dict[str, Way] = {"bare client": lambda: asyncio.run(bare(urls)), "download": download}
    amounts = dict.fromkeys(ways, len(urls))
    for name, clock in (("images per CPU second", time.process_time), ("images/s", time.perf_counter)):
        print_rates(rates(amounts, ways, arguments.rounds, clock), "bare client", name)
    server.kill()


if __name__ == "__main__":
    main()
