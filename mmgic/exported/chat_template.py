"""The chat template of an exported model: Table 16's rounds as `mmgic.documents.rounds` makes them.

    tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "codes": [3, 7]}, {"type": "text", "text": "What is it?"}]}],
        task="open_vqa",
    )

`task` is one of `mmgic.documents.tasks.TEMPLATES` and puts its words around instruction and response. Without a system
message the run's own system prompt is used, which the model has seen in every first round; an empty one leaves it out.
The tokens are those of the documents, but for names of special tokens that a text spells out: here they are the tokens.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files

from mmgic.documents.tasks import TEMPLATES

_SET = "{{%- set {} = "


def chat_template(system_prompt: str) -> str:
    """The Jinja text, with Table 16's words and the `system_prompt` of the run's documents in it."""
    tasks = {task: asdict(template) for task, template in TEMPLATES.items()}
    values = {"tasks": tasks, "system_prompt": system_prompt}
    # JSON's literals are Jinja's too
    given = [f"{_SET.format(name)}{json.dumps(value, ensure_ascii=False)} -%}}\n" for name, value in values.items()]
    return "".join([*given, files(__package__).joinpath("chat_template.jinja").read_text(encoding="utf-8")])


def system_prompt_of(template: str) -> str:
    """The system prompt that `chat_template` has put into `template`; "" if there is none in it."""
    _, _, after = template.partition(_SET.format("system_prompt"))
    return str(json.JSONDecoder().raw_decode(after)[0]) if after else ""
