"""The images stage against a real server, its driver killed on the way."""

from __future__ import annotations

import io
import os
import runpy
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmgic.errors import InputError
from mmgic.images import read_image
from mmgic.pipelines.images import run_images
from mmgic.schema import CAPTIONED_IMAGE
from mmgic.settings import Settings, merge
from mmgic.sources.captions.pairs import captioned_image
from mmgic.stages import tables
from mmgic.stages.ingest import ingest
from mmgic.stages.places import Places

DRIVER = Path(__file__).with_name("download_driver.py")
CHANGES = runpy.run_path(str(DRIVER))["CHANGES"]
URLS, PER_SHARD, WORKERS = 160, 20, 2  # the last two as in the driver
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Answers /N with a picture of colour N after a moment, and with 404 where N is a multiple of 10."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            number = int(self.path[1:])
            with lock:
                seen[number] += 1
            time.sleep(0.15)
            file = io.BytesIO()
            Image.new("RGB", (16, 16), (number, 0, 0)).save(file, "PNG")
            self.send_response(404 if number % 10 == 0 else 200)
            self.end_headers()
            self.wfile.write(file.getvalue())

    lock, seen = threading.Lock(), Counter[int]()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = seen  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_killed_and_moved_download_asks_again_only_for_what_was_in_flight(
    server: ThreadingHTTPServer, tmp_path: Path, ray_cluster: str
) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/{{}}".format
    rows = [captioned_image("web", str(i), 0, url=url(i), caption_origin="x") for i in range(1, URLS + 1)]
    begun, moved = tmp_path / "begun", tmp_path / "moved"
    ingest("ic/urls", Places(str(begun)), CAPTIONED_IMAGE, [lambda: iter(rows)], {})
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(DRIVER), ray_cluster]
    process = subprocess.Popen([*command, str(begun)], env=environment, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 180
    while finished_blocks(begun) < 2:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    done = finished_blocks(begun)
    assert tables.find_table(f"{begun}/ic/images") is None

    begun.rename(moved)
    finished = subprocess.run([*command, str(moved)], env=environment, capture_output=True, text=True, check=True)
    assert f"ic/images: {URLS} rows in, 144 kept, 16 set aside (download_failed 16)" in finished.stdout
    places = Places(str(moved))
    found = [places.resolve(row) for row in tables.open_table(f"{moved}/ic/images").to_table().to_pylist()]
    for row in found:
        number = int(row["image_id"])
        assert row["keep"] == (number % 10 != 0)
        if row["keep"]:
            assert np.asarray(read_image(row["image_path"]))[0, 0].tolist() == [number, 0, 0]
            assert (row["width"], row["height"]) == (16, 16)
    asked = server.seen  # type: ignore[attr-defined]
    assert set(asked) == set(range(1, URLS + 1))
    assert set(asked.values()) <= {1, 2}
    repeated = sum(count > 1 for count in asked.values())
    # what was in flight: a shard of each worker, and what a worker had fetched but not yet written
    assert repeated <= 2 * WORKERS * PER_SHARD
    assert repeated <= URLS - done * PER_SHARD
    listed = [r["url"] for path in (moved / "ic/shards").glob("*.parquet") for r in pq.read_table(path).to_pylist()]
    assert sorted(listed) == sorted(url(i) for i in range(1, URLS + 1))  # no shard of a killed batch is left


def test_after_an_outage_the_same_command_fetches_what_is_left(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()  # its port answers no more
    url = f"http://127.0.0.1:{server.server_address[1]}/{{}}".format
    rows = [captioned_image("web", str(i), 0, url=url(i), caption_origin="x") for i in range(1, 31)]
    urls = ingest("ic/urls", Places(str(tmp_path)), CAPTIONED_IMAGE, [lambda: iter(rows)], {})
    changes = {**CHANGES, "download": {**CHANGES["download"], "retries": 0}}
    settings = merge(Settings(output=str(tmp_path)), changes)
    with pytest.raises(InputError, match=r"images asked for last could not be reached .*run the same command again"):
        run_images(settings, "ic", urls, CAPTIONED_IMAGE)
    assert tables.find_table(f"{tmp_path}/ic/images") is None

    back = ThreadingHTTPServer(server.server_address, server.RequestHandlerClass)
    threading.Thread(target=back.serve_forever, args=(0.05,), daemon=True).start()
    manifest = run_images(settings, "ic", urls, CAPTIONED_IMAGE).manifest
    back.shutdown()
    back.server_close()
    assert (manifest.rows_out, manifest.kept, manifest.reasons) == (30, 27, {"download_failed": 3})
    assert set(server.seen.values()) == {1}  # type: ignore[attr-defined]


def finished_blocks(output: Path) -> int:
    return sum("pending" not in path.name for path in (output / "ic/images.checkpoint").glob("*.parquet"))
