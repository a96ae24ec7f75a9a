import json
import warnings

import pytest
import torch

from mmgic.errors import InputError
from mmgic.vision import folders as checkpoint
from mmgic.vision import load_tokenizer, save_tokenizer


def test_save_and_load_give_the_same_tokenizer(small, pixels, tmp_path):
    save_tokenizer(small, tmp_path / "tokenizer")
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert loaded.config == small.config
    assert not loaded.training
    ours, theirs = (model.encode(pixels, selection="argmax") for model in (loaded, small))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert load_tokenizer(tmp_path / "tokenizer", "bfloat16").trunk_dtype == torch.bfloat16


def test_lavits_released_folder_loads_as_downloaded(small, pixels, tmp_path, monkeypatch):
    """The two files as LaVIT lays them out, at a small size."""
    encoder_file, rest_file = checkpoint.LAVIT_FILES
    state = small.state_dict()
    encoder = {k.removeprefix("encoder."): v.bfloat16() for k, v in state.items() if k.startswith("encoder.")}
    encoder |= {"norm.weight": torch.ones(24), "norm.bias": torch.zeros(24)}
    torch.save(encoder | {"head.weight": torch.ones(3, 24), "head.bias": torch.ones(3)}, tmp_path / encoder_file)
    torch.save({k: v.bfloat16() for k, v in state.items() if not k.startswith("encoder.")}, tmp_path / rest_file)
    monkeypatch.setattr(checkpoint, "VisionConfig", lambda: small.config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_tokenizer(tmp_path)
    assert len(loaded.encode(pixels, policy=torch.ones(5, 16))) == 5
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, state[key].bfloat16().float())


def test_pickled_code_is_not_run(small, tmp_path):
    path = tmp_path / "weights.bin"
    torch.save({"a": print}, path)
    with pytest.raises(InputError, match=r"weights\.bin is damaged or holds more than tensors"):
        checkpoint.read_weights(path)


@pytest.mark.parametrize("content", [b"", b"h", b"not found", b"<html></html>", b"\x80\x02}q"])
@pytest.mark.parametrize("name", ["weights.bin", "weights.safetensors"])
def test_a_file_of_anything_else_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="is damaged or holds more than tensors"):
        checkpoint.read_weights(tmp_path / name)


def test_tensors_without_names_are_no_weights(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "weights.bin")
    with pytest.raises(InputError, match="holds no tensors by name"):
        checkpoint.read_weights(tmp_path / "weights.bin")


def break_folder(folder, what):
    config, weights = folder / "config.json", folder / "model.safetensors"
    if what == "no config":
        config.unlink()
    elif what == "no json":
        config.write_text("{")
    elif what == "other fields":
        config.write_text(json.dumps({"image_size": 32}))
    elif what == "other sizes":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"codebook_size": 51}))
    elif what == "no weights":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no config", r"holds no readable config\.json"),
        ("no json", "is no JSON file"),
        ("other fields", "exactly the fields"),
        ("other sizes", r"quantize\.embedding\.weight \[50, 6\] instead of \[51, 6\]"),
        ("no weights", r"model\.safetensors is missing"),
        ("truncated", "is damaged or holds more than tensors"),
    ],
)
def test_broken_folders_end_in_one_sentence(small, tmp_path, what, message):
    save_tokenizer(small, tmp_path)
    break_folder(tmp_path, what)
    with pytest.raises(InputError, match=message) as error:
        load_tokenizer(tmp_path)
    assert "\n" not in str(error.value)
