"""The page of `mmgic view` in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmgic import schema
from mmgic.model.llama_config import load_llama_config
from mmgic.model.vocabulary import VLVocabulary
from mmgic.presets import TOY_WEIGHTS
from mmgic.stages import tables
from mmgic.stages.rows import blank_row, to_table
from mmgic.stages.tables import Manifest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the path")

ROWS, TOKEN = 40, "s3cret"
TEXT = load_llama_config(str(TOY_WEIGHTS / "llama")).vocab_size


def _write(folder: Path, stage: str, rows: list[dict[str, Any]], columns: Any) -> None:
    path = folder / stage
    path.mkdir(parents=True)
    pq.write_table(to_table([blank_row(columns) | row for row in rows], columns), path / "part-0.parquet")
    counts = tables.count(tables.open_table(str(path)))
    tables.write_manifest(str(path), Manifest(stage, "", len(rows), **counts, seconds=0.0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a build, as far as the page reads it: images, tokens, documents, settings."""
    folder = tmp_path_factory.mktemp("run")
    vocabulary = VLVocabulary(TEXT, 512)
    images, documents = [], []
    for number in range(ROWS):
        path = folder / f"{number}.png"
        Image.new("RGB", (120, 90), (40, 6 * number, 90)).save(path)
        label = "<b>dog</b>" if number == 7 else "cat"
        key = {"row_id": number + 1, "source": "coco", "image_id": str(number)}
        region = {"x": 0.25, "y": 0.5, "side": 0.25, "location": "Center", "labels": [label], "codes": [1]}
        candidates = [{"caption": "a good one", "score": 0.31, "round": 0}]
        images.append(
            {
                **key,
                "image_path": str(path),
                "width": 120,
                "height": 90,
                "caption": f"Picture number {number}",
                "candidates": candidates,
                "objects": [
                    {"object_id": "1", "label": label, "synset": "", "x": 30.0, "y": 45.0, "w": 30.0, "h": 22.0}
                ],
                "regions": [region],
                "codes": [3, 4],
                **schema.KEPT,
            }
        )
        ids = [1, 40, *vocabulary.image_tokens([3, 4]), 41, 2]
        documents.append({**key, "template": "image_first", "text": "Image: [IMG]", "input_ids": ids, **schema.KEPT})
    _write(folder, "mmgic/tokens", images, schema.TOKENIZED_IMAGE)
    _write(folder, "mmgic/documents/CLDR/repeat_0", documents, schema.DOCUMENT)
    (folder / "settings.yaml").write_text(f"model: {{llm: {TOY_WEIGHTS / 'llama'}}}\n")
    return folder


@pytest.fixture(scope="module")
def address(dataset: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mmgic.cli", "view", str(dataset), "--port", str(port), "--token", TOKEN]
    # nicegui takes PYTEST_CURRENT_TEST for a sign that it is itself under test
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    process = subprocess.Popen(command, env=environment)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/?token={TOKEN}")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*flags, "--disable-component-update"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}/?token={TOKEN}")
        page.wait_for_selector(".row-card")
        yield page
        browser.close()


def test_nothing_is_shown_without_the_token(address: str) -> None:
    for path in ("/", "/picture?table=mmgic/tokens&row=1", "/?token=wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address + path)
        assert refused.value.code == 403


def test_rows_are_searched_and_one_is_shown_in_full(page: Any) -> None:
    assert page.locator(".row-card").count() == 24
    page.wait_for_function("[...document.querySelectorAll('.row-card img')].some(i => i.naturalWidth > 0)")
    page.fill('input[aria-label="label, whole"]', "<b>dog</b>")
    page.wait_for_function("document.body.innerText.includes('1 rows')")
    assert page.locator(".row-card").count() == 1
    page.click(".row-card")
    page.wait_for_selector(".picture svg rect")
    assert page.locator(".picture svg rect").count() == 2  # the box on its dark rim
    assert page.locator(".picture svg text").text_content() == "<b>dog</b>"  # a label is never markup
    assert "a good one" in page.locator(".q-dialog").inner_text()
    page.click(".q-dialog button:has-text('close')")
    page.wait_for_selector(".q-dialog", state="detached")


def test_a_document_shows_its_token_ids(page: Any) -> None:
    page.get_by_label("table").click()
    page.get_by_role("option", name="mmgic/documents/CLDR/repeat_0").click()
    page.wait_for_function("document.body.innerText.includes('40 rows')")
    page.locator(".row-card").nth(3).click()
    page.wait_for_selector(".tokens .token")
    tokens = page.locator(".tokens .token")
    assert [tokens.nth(i).get_attribute("title") for i in range(tokens.count())] == [
        str(token) for token in (1, 40, TEXT, TEXT + 5, TEXT + 6, TEXT + 1, 41, 2)
    ]
    assert [tokens.nth(i).inner_text() for i in (2, 3, 4, 5)] == ["[IMG]", "3", "4", "[/IMG]"]


def test_a_row_has_an_address_and_neighbours(page: Any, address: str) -> None:
    page.goto(f"{address}/?table=mmgic%2Ftokens&row=8")
    page.wait_for_selector(".picture svg rect")
    assert page.locator(".picture svg text").text_content() == "<b>dog</b>"
    page.click('[aria-label="next row"]')
    page.wait_for_function("document.body.innerText.includes('9 of 40')")
    page.wait_for_url("**row=9")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("document.body.innerText.includes('8 of 40')")
    page.wait_for_url("**row=8")
    page.get_by_role("switch", name="objects").click()
    page.wait_for_function("document.querySelectorAll('.picture svg rect').length === 4")
    page.get_by_role("switch", name="regions").click()
    page.wait_for_function("document.querySelectorAll('.picture svg rect').length === 2")
    page.click(".q-dialog button:has-text('close')")
    page.wait_for_url("**?table=mmgic%2Ftokens")
    page.goto(f"{address}/?table=mmgic%2Ftokens&row=1")
    page.wait_for_selector(".picture svg rect")
    assert page.locator('[aria-label="previous row"]').is_disabled()
    page.goto(f"{address}/?table=mmgic%2Ftokens&row=999")
    page.wait_for_function("document.body.innerText.includes('has no row 999')")
