import json
import os
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from mmgic.captions.merging import merge_prompt
from mmgic.descriptions.prompts import label_prompt
from mmgic.language_model.client import Prompt
from mmgic.toy.datasets.write import descriptions
from mmgic.toy.models.language_model_server import MODEL, answer, serve


def asked(prompt: Prompt) -> str:
    return answer(prompt.system, prompt.user)


def test_every_label_of_the_world_has_its_meaning():
    for row in descriptions():
        said = asked(label_prompt(row["kind"], row["label"], ("car",), noisy=True))
        assert said.endswith(row["description"])
    assert "A four-legged pet" in asked(label_prompt("object", "dog (canine)"))


def test_other_labels_are_invalid_where_the_prompt_allows_it():
    assert asked(label_prompt("object", "doodad 7", noisy=True)).startswith("Invalid. ")
    assert "nvalid" not in asked(label_prompt("object", "doodad 7"))
    # a kind is taken at its word
    assert asked(label_prompt("attribute", "dog", noisy=True)).startswith("Invalid. ")
    assert asked(merge_prompt("Rex, 2019", "a dog in a park")) == "A dog in a park, known as Rex, 2019."
    assert asked(Prompt("", "What is the time?")).startswith("I am sorry")


@pytest.fixture(scope="module")
def server():
    with serve(token="the-token") as server:
        yield server


def post(server, body: bytes, token="the-token") -> dict:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urlopen(Request(f"{server.base_url}/chat/completions", body, headers), timeout=10) as response:
        return json.load(response)


def test_it_speaks_the_chat_api_to_those_who_have_the_token(server):
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Object label: dog"}]}).encode()
    said = post(server, body)
    assert said["choices"][0]["message"]["content"] == answer("", "Object label: dog")
    assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"] > 10
    assert server.asked == ["Object label: dog"]
    assert server.base_url.startswith("http://127.0.0.1:")
    for wrong, token, status in (
        (body, "another", 401),
        (b"{", "the-token", 400),
        (b"[]", "the-token", 400),
        (b'{"model": "gpt", "messages": [{"role": "user", "content": "x"}]}', "the-token", 404),
    ):
        with pytest.raises(HTTPError) as error:
            post(server, wrong, token)
        assert error.value.code == status
    assert len(server.asked) == 1


def test_as_a_command_it_prints_how_to_use_it():
    command = [sys.executable, "-m", "mmgic.toy.models.language_model_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        key, settings = process.stdout.readline(), process.stdout.readline()
        process.terminate()
    assert len(key.removeprefix("OPENAI_API_KEY=").strip()) > 20
    assert settings.startswith("--set language_model.base_url=http://127.0.0.1:")
    assert f"language_model.model={MODEL}" in settings
