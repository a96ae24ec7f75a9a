"""A generated folder of LaVIT's released layout at reduced size, imported and compared with what it was made from."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import LlamaConfig, LlamaForCausalLM

from mmgic.errors import InputError
from mmgic.vision import VisualTokenizer, load_tokenizer
from mmgic.vision.lavit.importing import LavitError, LavitSizes, import_lavit
from mmgic.vision.lavit.release import shapes
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.continuous import ContinuousFeatures, load_continuous
from mmgic.vision.network.feature_decoder import DecoderConfig, make_decoder
from mmgic.vision.pixels.pixel_decoder import load_pixel_decoder

TINY = {
    "patches": 16,
    "width": 24,
    "depth": 1,
    "num_heads": 2,
    "mlp_hidden": 32,
    "codebook_dim": 6,
    "feature_dim": 24,
    "prompt_dim": 8,
}
SIZES = LavitSizes(
    vision=VisionConfig(
        image_size=32,
        patch_size=8,
        width=24,
        depth=1,
        num_heads=3,
        mlp_hidden=40,
        merger_depth=1,
        merger_heads=2,
        codebook_size=50,
        codebook_dim=6,
    ),
    lowres=DecoderConfig(**TINY),
    highres=DecoderConfig(**TINY, pooled_dim=12),
    feature_dim=32,
    uncond_slots=5,
    lowres_pictures=((16, 16),),
    highres_pictures=((16, 16), (8, 24)),
)
UNET = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}
SDXL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 36}
LM_FILES = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")


def draw(module, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((torch.randn(parameter.shape, generator=generator) * 0.3).bfloat16())
    return module.eval()


def bf16(state):
    return {key: value.bfloat16() for key, value in state.items()}


def old_names(state):
    """The autoencoder's attention as diffusers named it before 0.17."""
    for new, old in {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}.items():
        state = {key.replace(new, old): value for key, value in state.items()}
    return state


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, the models that it holds by name)"""
    folder = tmp_path_factory.mktemp("lavit") / "release"
    models = {"tokenizer": draw(VisualTokenizer(SIZES.vision), 0)}
    models["understanding"] = draw(ContinuousFeatures(VisualTokenizer(SIZES.vision), SIZES.feature_dim), 1)
    vision = folder / "visual_tokenizer"
    vision.mkdir(parents=True)
    state = models["tokenizer"].state_dict()
    head = {"norm.weight": torch.ones(24), "norm.bias": torch.zeros(24), "head.weight": torch.ones(9, 24)}
    torch.save(
        bf16({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}) | head,
        vision / "eva_vitg_psz14.bin",
    )
    torch.save(bf16({k: v for k, v in state.items() if not k.startswith("encoder.")}), vision / "tokenizer_encoder.bin")
    language = folder / "language_model"
    language.mkdir()
    own = ("causal_encoder.", "vit_proj.")
    understanding = {k: v for k, v in models["understanding"].state_dict().items() if k.startswith(own)}
    torch.save(bf16(understanding), language / "visual_weight.bin")
    for name, config, file, target in (
        ("lowres", SIZES.lowres, "tokenizer_decoder.bin", "pixel_decoding"),
        ("highres", SIZES.highres, "highres_tokenizer_decoder.bin", "highres_pixel_decoding"),
    ):
        models[name] = draw(make_decoder(config), 2)
        torch.save(models[name].state_dict(), vision / file)
        extra = SDXL if config.pooled_dim else {}
        unet = draw(UNet2DConditionModel(cross_attention_dim=config.prompt_dim + config.pooled_dim, **UNET, **extra), 3)
        vae = draw(AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, force_upcast=bool(config.pooled_dim)), 4)
        models[f"{name} unet"], models[f"{name} vae"] = unet, vae
        unet.save_config(folder / target / "unet")
        torch.save(bf16(unet.state_dict()), folder / target / "unet" / "diffusion_pytorch_model.bin")
        vae.save_pretrained(folder / target / "vae")
        DDIMScheduler(beta_schedule="scaled_linear").save_pretrained(folder / target / "scheduler")
    shutil.rmtree(folder / "pixel_decoding" / "vae")
    models["lowres vae"].save_config(folder / "pixel_decoding" / "vae")
    torch.save(
        old_names(models["lowres vae"].state_dict()),
        folder / "pixel_decoding" / "vae" / "diffusion_pytorch_model.bin",
    )
    models["uncond"] = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(5)).bfloat16()
    torch.save(models["uncond"], folder / "pixel_decoding" / "uncond_embeddings.bin")

    (folder / "pixel_decoding" / "safety_checker").mkdir()

    config = LlamaConfig(
        vocab_size=32002 + 50,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    models["language_model"] = draw(LlamaForCausalLM(config), 6)
    config.save_pretrained(language)
    weights = bf16(models["language_model"].state_dict())
    names = sorted(weights)
    halves = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    for file, keys in halves.items():
        tables = {f"model.layers.{len(keys) % 2}.self_attn.rotary_emb.inv_freq": torch.ones(8)}
        torch.save({key: weights[key] for key in keys} | tables, language / file)
    index = {"metadata": {}, "weight_map": {key: file for file, keys in halves.items() for key in keys}}
    (language / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    for name in LM_FILES:
        (language / name).write_text("{}")
    return folder, models


@pytest.fixture(scope="module")
def imported(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "lavit"
    notes = import_lavit(made[0], output, sizes=SIZES, report=lambda line: None)
    return output, notes


def test_outputs_equal_those_of_the_models_it_was_made_from(made, imported):
    (_, models), (output, notes) = made, imported
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    policy = (torch.arange(16) % 3 == 0).float().expand(2, -1)
    tokenizer = load_tokenizer(output / "tokenizer")
    codes = tokenizer.encode(pixels, policy=policy)
    assert [c.tolist() for c in codes] == [c.tolist() for c in models["tokenizer"].encode(pixels, policy=policy)]
    assert {note.split(": ")[1] for note in notes} == {
        "left out, as pictures are not filtered here",
        *(
            f"{key} is left out"
            for key in (
                "head.weight",
                "norm.bias",
                "norm.weight",
                *(f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in (0, 1)),
            )
        ),
    }

    continuous = load_continuous(output / "understanding", tokenizer)
    reference = models["understanding"]
    reference.encoder, reference.token_predictor = models["tokenizer"].encoder, models["tokenizer"].token_predictor
    for ours, theirs in zip(continuous(pixels, policy=policy), reference(pixels, policy=policy), strict=True):
        assert ours.shape == (6, 32)
        assert torch.equal(ours, theirs)
    # the two mergers stay apart
    key = "blocks.0.mlp.fc1.weight"
    assert not torch.equal(continuous.causal_encoder.get_parameter(key), tokenizer.causal_encoder.get_parameter(key))

    language = LlamaForCausalLM.from_pretrained(output / "language_model", dtype=torch.float32)
    assert json.loads((output / "language_model" / "vl_vocabulary.json").read_text()) == {
        "text_size": 32000,
        "num_codes": 50,
    }
    ids = torch.tensor([[1, 32000, 32005, 32001]])
    with torch.inference_mode():
        assert torch.equal(language(ids).logits, models["language_model"](ids).logits)


@pytest.mark.parametrize("name", ["lowres", "highres"])
def test_imported_pixel_decoders_draw(made, imported, name):
    (_, models), (output, _) = made, imported
    pixels = load_pixel_decoder(output / f"pixels_{name}", "cpu")
    codes = [torch.tensor([3, 1, 4]), torch.tensor([], dtype=torch.long)]
    rows = models["tokenizer"].quantize.embedding.weight[codes[0]]
    with torch.inference_mode():
        expected = models[name](rows, [3])
    ours = pixels.conditions(codes)
    assert torch.equal(ours.prompt[:1], expected.prompt)
    if name == "highres":
        assert torch.equal(ours.pooled[:1], expected.pooled)
        assert pixels.uncond is None
    else:
        assert torch.equal(pixels.uncond, models["uncond"].float())
    for part, model in (("unet", pixels.unet), ("vae", pixels.vae)):
        for key, value in model.state_dict().items():
            assert torch.equal(value, models[f"{name} {part}"].state_dict()[key]), key
    pictures = pixels.detokenize(codes, steps=2)
    assert [picture.size for picture in pictures] == [(16, 16)] * 2


def damaged(made, tmp_path):
    folder = tmp_path / "release"
    shutil.copytree(made[0], folder)
    return folder


def rewrite(path, change):
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


def test_every_fault_of_a_folder_is_listed(made, tmp_path):
    folder = damaged(made, tmp_path)
    (folder / "visual_tokenizer" / "highres_tokenizer_decoder.bin").unlink()
    (folder / "language_model" / "tokenizer.model").unlink()
    (folder / "highres_pixel_decoding" / "scheduler" / "scheduler_config.json").write_text("{")
    (folder / "pixel_decoding" / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"PK\x03\x04")
    rewrite(folder / "visual_tokenizer" / "tokenizer_decoder.bin", lambda s: s.pop("query_embed"))
    rewrite(
        folder / "visual_tokenizer" / "tokenizer_encoder.bin",
        lambda s: s.update({"vit_proj.bias": s["quantize.embedding.weight"]}),
    )
    rewrite(folder / "language_model" / "visual_weight.bin", lambda s: s.update({"vit_proj.bias": torch.zeros(31)}))
    rewrite(
        folder / "language_model" / "pytorch_model-00001-of-00002.bin",
        lambda s: s.update({"lm_head.weight": torch.zeros(32000, 32)}),
    )
    rewrite(
        folder / "pixel_decoding" / "unet" / "diffusion_pytorch_model.bin",
        lambda s: s.update({"extra": torch.zeros(1)}),
    )
    torch.save(torch.zeros(1, 77, 8), folder / "pixel_decoding" / "uncond_embeddings.bin")
    with pytest.raises(LavitError) as error:
        import_lavit(folder, tmp_path / "out", sizes=SIZES, report=lambda line: None)
    print(error.value)
    assert set(error.value.problems) == {
        "visual_tokenizer/highres_tokenizer_decoder.bin: the file is missing",
        "language_model/tokenizer.model: the file is missing",
        "highres_pixel_decoding/scheduler/scheduler_config.json: the file is no JSON",
        "pixel_decoding/vae/diffusion_pytorch_model.bin: the file is damaged or holds more than tensors",
        "visual_tokenizer/tokenizer_decoder.bin: query_embed is missing",
        "visual_tokenizer/tokenizer_encoder.bin: vit_proj.bias is unexpected",
        "language_model/visual_weight.bin: vit_proj.bias is [31] instead of [32]",
        "language_model/pytorch_model-00001-of-00002.bin: lm_head.weight is [32000, 32] instead of [32052, 32]",
        "pixel_decoding/unet/diffusion_pytorch_model.bin: extra is unexpected",
        "pixel_decoding/uncond_embeddings.bin: holds no tensor [1, 5, 8]",
    }
    assert not list(tmp_path.glob("out*"))


def test_configs_of_other_models_are_listed_with_what_they_break(made, tmp_path):
    folder = damaged(made, tmp_path)
    for name, changes in {
        "language_model/config.json": {"vocab_size": 32000},
        "highres_pixel_decoding/unet/config.json": {"addition_embed_type": None},
        "pixel_decoding/unet/config.json": {"cross_attention_dim": 9},
        "pixel_decoding/vae/config.json": {"norm_num_groups": 3},
    }.items():
        config = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(config | changes))
    with pytest.raises(LavitError) as error:
        import_lavit(folder, tmp_path / "out", sizes=SIZES, report=lambda line: None)
    problems = set(error.value.problems)
    assert {
        "language_model/config.json: vocab_size is 32000 instead of 32052",
        "highres_pixel_decoding/unet/config.json: addition_embed_type is None instead of 'text_time'",
        "pixel_decoding/unet/config.json: cross_attention_dim is 9 instead of 8",
        "pixel_decoding/vae/config.json: no model can be made of it (ValueError)",
    } <= problems
    # and the weights that do not belong to such a config
    beyond = {problem.split(": ")[0] for problem in problems if "config.json" not in problem}
    assert beyond == {
        "highres_pixel_decoding/unet/diffusion_pytorch_model.bin",
        "pixel_decoding/unet/diffusion_pytorch_model.bin",
    }


@pytest.mark.parametrize(
    "content", [b"", b"<html>429 Too Many Requests</html>", b"h", b"version https://git-lfs\n", b"PK"]
)
def test_what_a_failed_download_leaves_is_a_problem_like_any_other(made, tmp_path, content):
    folder = damaged(made, tmp_path)
    names = [
        "visual_tokenizer/eva_vitg_psz14.bin",
        "visual_tokenizer/tokenizer_decoder.bin",
        "language_model/pytorch_model-00001-of-00002.bin",
        "pixel_decoding/uncond_embeddings.bin",
        "highres_pixel_decoding/vae/diffusion_pytorch_model.safetensors",
    ]
    for name in names:
        (folder / name).write_bytes(content)
    with pytest.raises(LavitError) as error:
        import_lavit(folder, tmp_path / "out", sizes=SIZES, report=lambda line: None)
    assert set(error.value.problems) == {f"{name}: the file is damaged or holds more than tensors" for name in names}


class Hostile:
    def __reduce__(self):
        return (print, ("code of a pickle ran",))


def test_pickled_code_is_refused_and_not_run(made, tmp_path, capsys):
    folder = damaged(made, tmp_path)
    for name in ("visual_tokenizer/eva_vitg_psz14.bin", "pixel_decoding/uncond_embeddings.bin"):
        torch.save({"a": Hostile()}, folder / name)
    with pytest.raises(LavitError) as error:
        import_lavit(folder, tmp_path / "out", sizes=SIZES, report=lambda line: None)
    assert len(error.value.problems) == 2
    assert all("holds more than tensors" in problem for problem in error.value.problems)
    assert "code of a pickle ran" not in capsys.readouterr().out


def test_a_shard_outside_the_folder_is_refused(made, tmp_path):
    folder = damaged(made, tmp_path)
    index = folder / "language_model" / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../../secret.bin"}}))
    with pytest.raises(LavitError, match="is no file beside it"):
        import_lavit(folder, tmp_path / "out", parts=["language_model"], sizes=SIZES, report=lambda line: None)


def test_parts_alone_and_an_occupied_output(made, tmp_path):
    folder = damaged(made, tmp_path)
    shutil.rmtree(folder / "language_model")
    import_lavit(folder, tmp_path / "out", parts=["tokenizer"], sizes=SIZES, report=lambda line: None)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tokenizer"]
    with pytest.raises(InputError, match="exists already"):
        import_lavit(folder, tmp_path / "out", sizes=SIZES)
    with pytest.raises(InputError, match="is no folder"):
        import_lavit(tmp_path / "nowhere", tmp_path / "other", sizes=SIZES)


def test_released_sizes_refuse_a_smaller_release(made, tmp_path):
    with pytest.raises(LavitError) as error:
        import_lavit(made[0], tmp_path / "out", parts=["tokenizer"], report=lambda line: None)
    assert len(error.value.problems) > 500
    assert (
        "visual_tokenizer/eva_vitg_psz14.bin: cls_token is [1, 1, 24] instead of [1, 1, 1408]" in error.value.problems
    )


def test_default_sizes_expect_the_released_keys(shared):
    rows = [line.split("\t") for line in (shared / "fixtures/lavit/full_keys.tsv").read_text().splitlines()]
    sizes = LavitSizes()
    for module, make in {
        "lowres_decoder": lambda: make_decoder(sizes.lowres),
        "highres_decoder": lambda: make_decoder(sizes.highres),
    }.items():
        released = {key: shape for name, key, shape in rows if name == module}
        assert {key: str(shape) for key, shape in shapes(make).items()} == released
    tokenizer = {key: shape for name, key, shape in rows if name == "tokenizer"}
    ours = shapes(lambda: ContinuousFeatures(VisualTokenizer(sizes.vision), sizes.feature_dim))
    assert {key: str(shape) for key, shape in ours.items()}.items() <= tokenizer.items()
    assert {key for key in tokenizer if key.startswith("vit_proj")} <= ours.keys()
