import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from mmgic.captions.merging import MAX_ORIGIN_CHARACTERS, MergeCaptions, merge_prompt, needs_merging, read_caption
from mmgic.errors import InputError
from mmgic.language_model.answers import Answer
from mmgic.language_model.client import LanguageModel
from mmgic.settings import LanguageModelSettings
from mmgic.toy.models.language_model_server import MODEL, serve


def row(origin="Mill St | Buy now", coco="a street with a house", capsfusion="", **changes):
    captions = {"caption_origin": origin, "caption_coco": coco, "caption_capsfusion": capsfusion}
    return {"source": "web", **captions, "drops": [], **changes}


@pytest.fixture
def merge(tmp_path, monkeypatch):
    """Merges rows with the toy server; returns the rows and what it was asked."""

    def run(rows):
        with serve() as server:
            monkeypatch.setenv("OPENAI_API_KEY", server.token)
            settings = LanguageModelSettings(
                base_url=server.base_url, model=MODEL, cache=str(tmp_path / "answers.sqlite"), retries=0
            )
            return MergeCaptions(LanguageModel(settings, "captions"), 0.05)(rows), server.asked

    return run


def test_only_rows_that_lack_a_detailed_caption_are_merged(merge):
    rows = [row(), row(capsfusion="A street."), row(origin=" "), row(coco=""), row(image_id="7")]
    merged, asked = merge(rows)
    assert merged[0] == row(capsfusion="A street with a house, known as Mill St | Buy now.")
    assert merged[1:4] == rows[1:4]
    assert merged[4] == {**merged[0], "image_id": "7"}
    assert len(asked) == 1  # two rows with the same captions are one question


def test_what_the_model_cannot_merge_keeps_the_short_caption_and_is_counted(merge):
    # the sentence of the toy model is longer than a merged caption may be
    bad = row(origin="x " * 80, coco="y " * 60, drops=[{"reason": "image_failed", "count": 1}])
    merged, _ = merge([bad, row()])
    assert merged[0]["caption_capsfusion"] == bad["caption_coco"]
    assert merged[0]["drops"] == [{"reason": "caption_not_merged", "count": 1}, {"reason": "image_failed", "count": 1}]
    assert merged[1]["drops"] == []


@pytest.fixture
def failing(tmp_path):
    """Merges rows with a server that answers the first `fail[prompt number]` requests of a prompt with HTTP 503."""
    asked, fail = Counter(), Counter()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = int(body["messages"][-1]["content"].partition("Mill St ")[2].partition("\n")[0])
            asked[number] += 1
            message = {"role": "assistant", "content": f"House {number}."}
            reply = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
            self.send_response(503 if asked[number] <= fail[number] else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    settings = LanguageModelSettings(
        base_url=url, model="m", api_key_env="", cache=str(tmp_path / "failing.sqlite"), retries=0, concurrency=20
    )
    reports = []
    merge = MergeCaptions(LanguageModel(settings, "captions"), 0.05, report=reports.append)
    yield lambda: merge([row(origin=f"Mill St {i}") for i in range(40)]), fail, asked, reports
    server.shutdown()
    server.server_close()


def test_a_request_that_failed_is_made_once_more(failing):
    merge, fail, asked, reports = failing
    fail.update({3: 1, 5: 2})
    rows = merge()
    assert rows[3] == row(origin="Mill St 3", capsfusion="House 3.")
    drops = [{"reason": "caption_request_failed", "count": 1}]
    assert rows[5] == row(origin="Mill St 5", capsfusion=rows[5]["caption_coco"], drops=drops)
    assert asked.total() == 42
    assert [usage.answers for usage in reports] == [39]


def test_too_many_failures_stop_the_batch_and_the_next_run_asks_for_those_alone(failing):
    merge, fail, asked, _ = failing
    fail.update(dict.fromkeys(range(8), 2))
    sentence = r"8 of the 40 captions .*failed twice .*cluster.max_error_rate = 0.05; .*kept"
    with pytest.raises(InputError, match=sentence):
        merge()
    asked.clear()
    fail.clear()
    assert [merged["caption_capsfusion"] for merged in merge()] == [f"House {i}." for i in range(40)]
    assert sorted(asked) == list(range(8))


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        (Answer(' "A house\nin Mill Street."\n'), "A house in Mill Street."),
        (Answer("Merged caption: A house."), "A house."),
        (Answer(""), ""),
        (Answer('""'), ""),
        (Answer("A house.\n\nI hope that this helps!"), ""),
        (Answer("I'm sorry, I cannot merge these."), ""),
        (Answer("word " * 121), ""),
        (Answer("word " * 120), ("word " * 120).strip()),
        (Answer("A house in", problem="cut off at language_model.max_tokens"), ""),
        (Answer("", problem="the request failed: no", failed=True), ""),
    ],
)
def test_replies_are_checked(answer, caption):
    assert read_caption(answer) == caption


def test_long_web_captions_are_cut_at_a_word():
    prompt = merge_prompt("wordy " * 1000, "a\nhouse")
    web, short = prompt.user.splitlines()[:2]
    assert web.endswith(" wordy ...")
    assert len(web) <= len("Web caption: ") + MAX_ORIGIN_CHARACTERS + 4
    assert short == "Short caption: a house"
    assert merge_prompt("one two", "x").user.startswith("Web caption: one two\n")


def test_needs_merging():
    assert needs_merging(row())
    assert not needs_merging(row(capsfusion="x"))
    # made of a short caption that another took the place of
    assert needs_merging(row(capsfusion="x"), anew=["web"])
    assert not needs_merging(row(capsfusion="x", origin=""), anew=["web"])
    assert not needs_merging(row(capsfusion="x", source="journeydb"), anew=["web"])


def test_a_server_that_is_gone_stops_the_merging(tmp_path):
    settings = LanguageModelSettings(
        base_url="http://127.0.0.1:9/v1", model=MODEL, cache=str(tmp_path / "a.sqlite"), retries=0, concurrency=2
    )
    rows = [row(origin=f"Mill St {i}") for i in range(9)]
    with pytest.raises(InputError, match=r"the language model at http://127\.0\.0\.1:9/v1 does not answer"):
        MergeCaptions(LanguageModel(settings, "captions"), 0.05)(rows)
