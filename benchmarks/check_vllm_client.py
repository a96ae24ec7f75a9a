"""Checks `mmgic.language_model.client` against a real vLLM server on the toy Llama, on a CPU.

    python benchmarks/check_vllm_client.py      # about two minutes, nearly all of it vLLM's start

Kept out of the tests because of that time. Fails with a sentence if vLLM answers otherwise than the tests' servers do.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from mmgic.errors import InputError
from mmgic.language_model.client import LanguageModel, Prompt
from mmgic.presets import TOY_WEIGHTS
from mmgic.settings import LanguageModelSettings

# the toy Llama has no chat template of its own
TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
NAME = "toy-llama"


def main() -> None:
    token, started = secrets.token_urlsafe(16), time.monotonic()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "chat.jinja")
        template.write_text(TEMPLATE)
        server = subprocess.Popen(
            _command(template, port, token), env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        try:
            _wait(server, port)
            print(f"vLLM answers after {time.monotonic() - started:.0f} s")
            _check(f"http://127.0.0.1:{port}/v1", token, f"{folder}/answers.sqlite")
        finally:
            server.terminate()
            server.wait(60)


def _command(template: Path, port: int, token: str) -> list[str]:
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(TOY_WEIGHTS / "llama")),
        *("--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port), "--api-key", token),
        *("--chat-template", str(template), "--dtype", "float32", "--enforce-eager", "--max-model-len", "1024"),
    ]


def _environment() -> dict[str, str]:
    quiet = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return {**os.environ, "HF_HUB_OFFLINE": "1", **quiet}


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    while server.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(1)
    sys.exit("vLLM ended before it answered; run its command by hand to see why")


def _check(base_url: str, token: str, cache: str) -> None:
    os.environ["OPENAI_API_KEY"] = token
    settings = LanguageModelSettings(base_url=base_url, model=NAME, cache=cache, max_tokens=16)
    prompts = [
        Prompt("there is a red car on a street .", f"Is there a {thing} in the image?") for thing in ("car", "dog")
    ]
    client = LanguageModel(settings, "check")
    answers = client.ask(prompts)
    assert all(answer.text.strip() and not answer.failed for answer in answers), answers
    usage = client.usage()
    assert usage.answers == 2, usage
    assert min(usage.prompt_tokens, usage.completion_tokens) > 0, usage
    print(f"answers {[answer.text for answer in answers]}; {usage.summary()}")
    (long,) = client.ask([Prompt("word " * 3000, "too long")])
    assert long.failed, long
    assert "maximum context length" in long.problem, long
    print(f"too long a prompt: {long.problem[:100]}")
    for what, changed in (("key", "wrong"), ("model", token)):
        os.environ["OPENAI_API_KEY"] = changed
        other = LanguageModel(replace(settings, model="another") if what == "model" else settings, "check")
        try:
            other.ask([Prompt("a", "b")])
        except InputError as error:
            print(f"wrong {what}: {error}")
        else:
            sys.exit(f"a wrong {what} was not refused")


if __name__ == "__main__":
    main()
