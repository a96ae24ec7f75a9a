"""LLaMA-2's folder as Hugging Face ships it, whole and broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM

from mmgic.errors import InputError
from mmgic.evaluation.engines import TransformersEngine
from mmgic.model.assemble import untrained_model
from mmgic.model.llama_config import load_llama_config
from mmgic.model.pretrained import load_llama
from mmgic.settings import Settings
from mmgic.training.export import export_untrained

SHARD, BIN_SHARD = "model-00002-of-00002.safetensors", "pytorch_model-00002-of-00002.bin"


@pytest.fixture
def copy(llama_2: Path, tmp_path: Path) -> Path:
    """The folder with PyTorch's shards beside the others, as LLaMA-2 has them."""
    folder = Path(shutil.copytree(llama_2, tmp_path / "llama"))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for number in (1, 2):
        tensors = load_file(folder / f"model-0000{number}-of-00002.safetensors")
        torch.save(tensors, folder / f"pytorch_model-0000{number}-of-00002.bin")
    for key, shard in index["weight_map"].items():
        index["weight_map"][key] = f"pytorch_{Path(shard).with_suffix('.bin')}"
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def remove(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


@pytest.mark.parametrize("without", ["nothing", "*.bin*", "model*.safetensors*"])
def test_weights_are_read_from_either_kind_of_shards(copy: Path, without: str) -> None:
    remove(copy, without)
    expected = {}
    for number in (1, 2):
        paths = (copy / f"model-0000{number}-of-00002.safetensors", copy / f"pytorch_model-0000{number}-of-00002.bin")
        expected |= load_file(paths[0]) if paths[0].is_file() else torch.load(paths[1], weights_only=True)
    state = load_llama(copy, torch.float32).state_dict()
    assert state.keys() == {key for key in expected if "rotary_emb" not in key}
    for key, value in state.items():
        assert torch.equal(value, expected[key].float()), key


class Hostile:
    def __reduce__(self) -> tuple:
        return (print, ("code of a pickle ran",))


def lose_a_weight(folder: Path) -> None:
    tensors = load_file(folder / SHARD)
    del tensors["model.norm.weight"]
    save_file(tensors, folder / SHARD, {"format": "pt"})


def grow_a_weight(folder: Path) -> None:
    tensors = load_file(folder / SHARD)
    save_file({**tensors, "model.norm.weight": torch.ones(7)}, folder / SHARD, {"format": "pt"})


def hide_code(folder: Path) -> None:
    remove(folder, "model*.safetensors*")
    torch.save({"model.norm.weight": Hostile()}, folder / BIN_SHARD)


def halve(folder: Path) -> None:
    content = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / SHARD).unlink(), "is missing; fetch"),
        (halve, "is damaged"),
        (lambda folder: (folder / SHARD).write_text("<html>429</html>"), "is damaged"),
        (lose_a_weight, r"lacks 1 weights, such as model\.norm\.weight"),
        (grow_a_weight, r"model.norm.weight is \[.*\] but its config.json says"),
        (hide_code, "is damaged or holds more than tensors"),
        (lambda folder: [remove(folder, pattern) for pattern in ("*.safetensors*", "*.bin*")], "holds no weights"),
        (lambda folder: (folder / "config.json").unlink(), "is no Hugging Face model folder"),
    ],
)
def test_a_broken_folder_is_refused_in_one_sentence(
    copy: Path, damage: Callable[[Path], object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(copy)
    with pytest.raises(InputError, match=message) as error:
        load_llama(copy, torch.float32)
    assert "\n" not in str(error.value)
    assert "code of a pickle ran" not in capsys.readouterr().out


def test_an_export_of_such_a_folder_is_plain(llama_2: Path, tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_run(tmp_path / "run", model={"llm": str(llama_2), "dtype": "bfloat16"})
    folder = export_untrained(settings, tmp_path / "model")
    config = load_llama_config(folder)
    text_size = load_llama_config(llama_2).vocab_size
    assert (config.vocab_size, config.dtype) == (text_size + 2 + 16, torch.bfloat16)
    generation = GenerationConfig.from_pretrained(folder)
    assert (generation.bos_token_id, generation.eos_token_id, generation.do_sample) == (1, 2, None)
    template = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False
    )
    system = settings.documents.system_prompt
    assert template == f"<s>[INST] <<SYS>>\n{system}\n<</SYS>>\n\nHi [/INST]"
    before, after = (LlamaForCausalLM.from_pretrained(path, dtype=torch.bfloat16) for path in (llama_2, folder))
    assert torch.equal(after.lm_head.weight[:text_size], before.lm_head.weight)


def test_a_models_sampling_settings_do_not_reach_its_score(llama_2: Path, copy: Path) -> None:
    """Those of a chat model, and some that would change greedy decoding too."""
    path = copy / "generation_config.json"
    odd = {
        "repetition_penalty": 5.0,
        "no_repeat_ngram_size": 2,
        "min_length": 30,
        "suppress_tokens": [300],
        "num_beams": 2,
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | odd))
    (llama_2 / "generation_config.json").read_text()
    prompts = [[1, 300, 301, 302], [1, 400]]
    plain, other = (
        TransformersEngine(folder, dtype="float32", device="cpu").generate(prompts, 12, [2])
        for folder in (llama_2, copy)
    )
    assert plain == other
    model = LlamaForCausalLM.from_pretrained(llama_2, dtype=torch.float32)
    ids = torch.tensor([prompts[0]])
    for token in plain[0]:  # greedy by hand
        assert int(model(ids).logits[0, -1].argmax()) == token
        ids = torch.cat((ids, torch.tensor([[token]])), dim=1)


def test_training_starts_from_the_folder(llama_2: Path, tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    model = untrained_model(tiny_run(tmp_path, model={"llm": str(llama_2), "dtype": "float32"}))
    original = LlamaForCausalLM.from_pretrained(llama_2, dtype=torch.float32)
    ids = torch.arange(3, 40)
    with torch.no_grad():
        ours = model.eval().logits(ids, [37])[:, : original.config.vocab_size]
        torch.testing.assert_close(ours, original(ids[None]).logits[0], rtol=0, atol=1e-4)
