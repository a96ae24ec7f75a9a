"""The client against real HTTP servers: what they answer, what they refuse, and what they never finish."""

import asyncio
import gzip
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from mmgic.errors import InputError
from mmgic.language_model.answers import Answer, AnswerFile, sum_usage
from mmgic.language_model.client import MAX_RESPONSE_BYTES, LanguageModel, Prompt
from mmgic.settings import LanguageModelSettings, SettingsError


class Server:
    """What a scripted server was asked: (user prompt, time of arrival), and the requests themselves."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.requests: list[web.Request] = []
        self.at_once = self.most_at_once = 0
        self.base_url = ""


@contextmanager
def serving(handler) -> Iterator[Server]:
    """A server whose answers `await handler(user prompt, how often it was asked before)` makes."""
    server, loop = Server(), asyncio.new_event_loop()

    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        user = body["messages"][-1]["content"]
        before = sum(prompt == user for prompt, _ in server.asked)
        server.asked.append((user, time.monotonic()))
        server.requests.append(request)
        server.at_once += 1
        server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            return await handler(user, before)
        finally:
            server.at_once -= 1

    application = web.Application()
    application.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(70)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def completion(text: str, finish: str = "stop", **message) -> web.Response:
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text, **message},
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    return web.json_response(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    )


def error(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


async def echo(user: str, before: int) -> web.Response:
    return completion(user.upper())


@pytest.fixture
def model(tmp_path):
    """Makes a client of a server; `changes` go into its settings."""

    def make(server: Server, **changes) -> LanguageModel:
        settings = LanguageModelSettings(
            base_url=server.base_url, model="m", cache=str(tmp_path / "answers.sqlite"), retries=1, timeout_s=5
        )
        return LanguageModel(replace(settings, **changes), "test")

    return make


def prompts(*users: str) -> list[Prompt]:
    return [Prompt("be brief", user) for user in users]


def test_answers_come_in_the_order_of_the_prompts_and_are_asked_once(model):
    async def slower_first(user: str, before: int) -> web.Response:
        await asyncio.sleep(0.2 if user == "a" else 0)
        return completion(user.upper())

    with serving(slower_first) as server:
        first = model(server)
        assert [a.text for a in first.ask(prompts("a", "b", "a", "c"))] == ["A", "B", "A", "C"]
        assert sorted(user for user, _ in server.asked) == ["a", "b", "c"]
        again = model(server)
        assert [a.text for a in again.ask(prompts("c", "d"))] == ["C", "D"]
        assert [user for user, _ in server.asked].count("c") == 1
    # without any server
    assert again.ask(prompts("a", "d")) == [Answer("A"), Answer("D")]


def test_what_the_answer_depends_on_is_part_of_the_key(model):
    with serving(echo) as server:
        for changes in ({}, {"model": "other"}, {"temperature": 0.5}, {"max_tokens": 9}, {"base_url": server.base_url}):
            model(server, **changes).ask(prompts("a"))
        model(server).ask([Prompt("be long", "a")])
        assert len(server.asked) == 5


def test_usage_is_counted_by_model_and_purpose(model, tmp_path):
    prices = {"usd_per_million_prompt_tokens": 2.0, "usd_per_million_completion_tokens": 10.0}
    with serving(echo) as server:
        model(server, model="other").ask(prompts("a"))
        labels = model(server, **prices)
        labels.ask(prompts("a", "b"))
        model(server).ask(prompts("b"))
        usage = labels.usage()
    assert (usage.answers, usage.prompt_tokens, usage.completion_tokens) == (2, 20, 6)
    assert usage.usd == pytest.approx((20 * 2 + 6 * 10) / 1e6)
    assert AnswerFile(labels.settings.cache).usage(labels.settings, "test") == usage
    assert AnswerFile(labels.settings.cache).usage(labels.settings, "another").answers == 0


def test_no_more_requests_at_once_than_set(model):
    async def slow(user: str, before: int) -> web.Response:
        await asyncio.sleep(0.05)
        return completion("x")

    with serving(slow) as server:
        model(server, concurrency=3).ask(prompts(*map(str, range(9))))
        assert server.most_at_once == 3


def test_requests_keep_the_rate(model):
    with serving(echo) as server:
        model(server, requests_per_minute=600).ask(prompts(*map(str, range(6))))
        arrivals = sorted(moment for _, moment in server.asked)
    assert arrivals[-1] - arrivals[0] > 0.45  # five pauses of 0.1 s


def test_failures_are_tried_again_when_the_server_says(model):
    async def busy(user: str, before: int) -> web.Response:
        if before == 0:
            return error(429, "slow down", **{"Retry-After": "1"}) if user == "a" else error(500, "oops")
        return completion("fine")

    with serving(busy) as server:
        assert [a.text for a in model(server).ask(prompts("a", "b"))] == ["fine", "fine"]
        first, second = (moment for user, moment in server.asked if user == "a")
    assert second - first >= 0.95


@pytest.mark.parametrize(
    ("respond", "problem"),
    [
        (lambda: error(400, "the prompt is too long"), "the prompt is too long"),
        (lambda: error(500, "broken"), "broken"),
        (lambda: web.Response(text="<html>hello</html>", content_type="text/html"), "not one of the chat API"),
        (lambda: web.json_response({"choices": []}), "not one of the chat API"),
        (lambda: web.Response(text="{", content_type="application/json"), ""),
        (lambda: web.Response(body=b"x" * (MAX_RESPONSE_BYTES + 1)), "larger than"),
        (
            lambda: web.Response(
                body=gzip.compress(b" " * (MAX_RESPONSE_BYTES + 1)), headers={"Content-Encoding": "gzip"}
            ),
            "larger than",
        ),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/v1/chat/completions"}), ""),
    ],
)
def test_a_failed_request_is_told_and_made_again_next_time(model, respond, problem):
    state = {"broken": True}

    async def handler(user: str, before: int) -> web.Response:
        return respond() if user == "bad" and state["broken"] else completion("fine")

    with serving(handler) as server:
        client = model(server, retries=0)
        bad, good = client.ask(prompts("bad", "good"))
        assert bad.failed
        assert bad.problem.startswith("the request failed: ")
        assert problem in bad.problem
        assert (good, client.failed, client.usage().answers) == (Answer("fine"), 1, 1)
        state["broken"] = False
        assert client.ask(prompts("bad")) == [Answer("fine")]


@pytest.mark.parametrize("way", ["sleep", "drip"])
def test_a_server_that_sleeps_or_drips_runs_into_the_timeout(model, way):
    async def handler(user: str, before: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if way == "drip":
            await response.prepare(server.requests[-1])
        for _ in range(100):
            await asyncio.sleep(0.05)
            if way == "drip":
                await response.write(b" ")
        return response

    with serving(handler) as server:
        started = time.monotonic()
        (answer,) = model(server, timeout_s=0.4, retries=0).ask(prompts("a"))
        assert answer.failed
        assert 0.4 <= time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (lambda: completion("half a sen", finish="length"), "cut off"),
        (lambda: completion("", finish="content_filter"), "refused: by a content filter"),
        (lambda: completion("", refusal="not my job"), "refused: not my job"),
    ],
)
def test_answers_that_are_no_whole_answers_are_kept_as_such(model, response, problem):
    async def handler(user: str, before: int) -> web.Response:
        return response()

    with serving(handler) as server:
        for _ in range(2):
            (answer,) = model(server).ask(prompts("a"))
            assert problem in answer.problem
            assert not answer.failed
        assert len(server.asked) == 1  # it was paid for


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "refuses the key .*environment variable MY_KEY"), (403, "refuses the key"), (404, "has no model 'm'")],
)
def test_what_concerns_every_request_ends_the_run(model, status, sentence):
    async def handler(user: str, before: int) -> web.Response:
        return error(status, "no")

    with serving(handler) as server, pytest.raises(InputError, match=sentence):
        model(server, api_key_env="MY_KEY").ask(prompts("a", "b", "c"))


def test_an_outage_ends_the_run_and_keeps_what_was_answered(model):
    async def dies(user: str, before: int) -> web.Response:
        return completion("fine") if int(user) < 5 else error(503, "overloaded")

    with serving(dies) as server:
        client = model(server, retries=0, concurrency=2)
        with pytest.raises(InputError, match=r"does not answer \(overloaded\).*the answers so far are kept"):
            client.ask(prompts(*map(str, range(50))))
        assert client.usage().answers == 5
        assert len(server.asked) < 15
    with pytest.raises(InputError, match="does not answer"):  # nobody listens there any more
        client.ask(prompts(*map(str, range(50))))
    assert [a.text for a in client.ask(prompts("0", "4"))] == ["fine", "fine"]


def test_an_answer_that_is_on_its_way_when_the_run_ends_is_kept(model):
    async def handler(user: str, before: int) -> web.Response:
        if user == "refused":
            return error(401, "no")
        await asyncio.sleep(0.5)
        return completion("paid for")

    with serving(handler) as server:
        client = model(server, concurrency=2)
        with pytest.raises(InputError, match="refuses the key"):
            client.ask(prompts("slow", "refused", "later"))
        assert [user for user, _ in server.asked] == ["slow", "refused"]
        assert client.usage().answers == 1
    assert [a.text for a in client.ask(prompts("slow"))] == ["paid for"]


def test_the_key_comes_from_the_environment_alone(model, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-token")
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    with serving(echo) as server:
        model(server, api_key_env="MY_KEY").ask(prompts("a"))
        assert server.requests[-1].headers["Authorization"] == "Bearer secret-token"
        model(server, api_key_env="").ask(prompts("b"))
        assert "another" not in str(server.requests[-1].headers)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base_url": ""}, "no language model is named; set language_model.base_url"),
        ({"base_url": "127.0.0.1:8000"}, "http"),
        ({"base_url": "ftp://host/v1"}, "http"),
        ({"base_url": "http://me:word@host/v1"}, "holds a password"),
        ({"model": ""}, "set language_model.model"),
        ({"cache": "s3://bucket/answers.sqlite"}, "a disk of this machine"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_a_sentence(tmp_path, changes, sentence):
    settings = LanguageModelSettings(base_url="http://127.0.0.1:9/v1", model="m", cache=str(tmp_path / "a.sqlite"))
    with pytest.raises(SettingsError, match=sentence):
        LanguageModel(replace(settings, **changes), "test")


def test_those_who_share_a_cache_tell_their_usage_one_after_the_other(tmp_path):
    settings = LanguageModelSettings(base_url="http://127.0.0.1:9/v1", model="m", cache=str(tmp_path / "a.sqlite"))
    told = []

    def ask(worker):
        model, answers = LanguageModel(settings, "test"), AnswerFile(settings.cache)
        for number in range(5):
            answers.keep(f"{worker}-{number}", "m", "test", Answer("x"), 3, 1)
            model.share_usage(told.append)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    assert [usage.answers for usage in told] == sorted(usage.answers for usage in told)
    assert (told[-1].answers, told[-1].prompt_tokens) == (20, 60)
    assert sum_usage([told[-1], told[0]]).answers == 20 + told[0].answers


def test_a_cache_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "a.sqlite").write_text("something else that is long enough to be looked at as a database header" * 20)
    settings = LanguageModelSettings(base_url="http://127.0.0.1:9/v1", model="m", cache=str(tmp_path / "a.sqlite"))
    with pytest.raises(InputError, match="cannot keep answers in"):
        LanguageModel(settings, "test")
