"""What is written under LaVIT's names: every key that its strict loading wants, and our own way back."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmgic.errors import InputError
from mmgic.vision import VisionConfig, VisualTokenizer, load_tokenizer, save_tokenizer
from mmgic.vision.folders import LAVIT_FILES
from mmgic.vision.lavit.exporting import DECODER_FILES, lavit_tensors, save_lavit
from mmgic.vision.learning.frozen import load_frozen
from mmgic.vision.network.feature_decoder import make_decoder
from mmgic.vision.pixels.pixel_decoder import save_pixel_decoder


def test_an_export_at_lavits_sizes_has_the_names_and_shapes_of_the_release(shared):
    rows = [line.split("\t") for line in (shared / "fixtures/lavit/full_keys.tsv").read_text().splitlines()]
    released = {key: shape for name, key, shape in rows if name == "tokenizer" and not key.startswith("vit_proj.")}
    with torch.device("meta"):
        encoder, rest = lavit_tensors(VisualTokenizer(VisionConfig()).state_dict()).values()
    assert len(encoder) == 528
    assert {f"encoder.{key}": str(tuple(value.shape)) for key, value in encoder.items()} == {
        key: shape for key, shape in released.items() if key.startswith("encoder.")
    }
    assert {key: str(tuple(value.shape)) for key, value in rest.items()} == {
        key: shape for key, shape in released.items() if not key.startswith("encoder.")
    }


@pytest.mark.parametrize("pooled", [0, 12])
def test_an_export_of_any_size_is_read_back(small, pixels, tiny_pixels, tmp_path, pooled):
    save_tokenizer(small, tmp_path / "tokenizer")
    drawn = tiny_pixels(pooled)
    drawn.codebook = small.quantize.embedding.weight.detach()
    save_pixel_decoder(drawn, tmp_path / "pixels")
    notes = save_lavit(tmp_path / "tokenizer", tmp_path / "lavit", pixels=tmp_path / "pixels")
    written, other = DECODER_FILES[bool(pooled)], DECODER_FILES[not pooled]
    assert [note.split()[0] for note in notes] == [other]
    assert {path.name for path in (tmp_path / "lavit").iterdir()} == {*LAVIT_FILES, written, "config.json"}

    loaded = load_tokenizer(tmp_path / "lavit")
    ours, theirs = (model.encode(pixels, selection="argmax") for model in (loaded, small))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    decoder = make_decoder(drawn.config.decoder)
    decoder.load_state_dict(torch.load(tmp_path / "lavit" / written, weights_only=True))  # strict
    for key, value in decoder.state_dict().items():
        assert torch.equal(value, drawn.decoder.state_dict()[key]), key


def test_the_encoders_own_end_comes_along(small, tmp_path):
    save_tokenizer(small, tmp_path / "tokenizer")
    own = {"norm.weight": torch.rand(24), "norm.bias": torch.rand(24)}
    own |= {"head.weight": torch.rand(7, 24), "head.bias": torch.rand(7)}
    weights = load_file(tmp_path / "tokenizer" / "model.safetensors")
    save_tokenizer(small, tmp_path / "clip")
    save_file(weights | own, tmp_path / "clip" / "model.safetensors")
    save_lavit(tmp_path / "tokenizer", tmp_path / "lavit", tmp_path / "clip")
    head = load_frozen(tmp_path / "lavit").head
    features = torch.rand(3, 24)
    assert torch.equal(head(features), load_frozen(tmp_path / "clip").head(features))


def test_a_pixel_decoder_of_another_tokenizer_is_refused(small, tiny_pixels, tmp_path):
    save_tokenizer(small, tmp_path / "tokenizer")
    save_pixel_decoder(tiny_pixels(), tmp_path / "pixels")
    with pytest.raises(InputError, match="reads another codebook"):
        save_lavit(tmp_path / "tokenizer", tmp_path / "lavit", pixels=tmp_path / "pixels")
    assert not (tmp_path / "lavit").exists()


def test_targets_that_need_a_head_are_refused_where_there_is_none(small, tmp_path):
    from mmgic.settings import ClusterSettings, Settings, TokenizerTraining
    from mmgic.training.recipes.visual_tokenizer import TOKENIZER
    from mmgic.training.run import run

    save_tokenizer(small, tmp_path / "encoder")
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    settings = Settings(
        output=str(tmp_path / "run"),
        tokenizer_training=TokenizerTraining(images=str(tmp_path), encoder=str(tmp_path / "encoder"), target="head"),
        cluster=ClusterSettings(training_workers=0),
    )
    with pytest.raises(InputError, match="has no norm and head"):
        run(TOKENIZER, settings)
