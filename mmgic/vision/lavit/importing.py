"""LaVIT's released checkpoint -> safetensors with a config per part, every name and shape checked first.

    DIR/visual_tokenizer/*.bin, DIR/pixel_decoding/, DIR/highres_pixel_decoding/, DIR/language_model/
    OUT/tokenizer/, OUT/understanding/, OUT/pixels_lowres/, OUT/pixels_highres/, OUT/language_model/

The files hold pickles; they are read with `weights_only`, mapped rather than loaded, and one at a time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from mmgic.errors import InputError
from mmgic.model.vocabulary import VOCABULARY_FILE, VLVocabulary
from mmgic.sources.reading.files import is_safe_name
from mmgic.vision.folders import CODEBOOK, DECODER_FILES, LAVIT_FILES, WEIGHTS_FILE, read_file, save_config
from mmgic.vision.lavit.release import Release, Shapes, save, shapes
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.continuous import ContinuousFeatures, own_keys
from mmgic.vision.network.feature_decoder import DecoderConfig, make_decoder
from mmgic.vision.network.tokenizer import UNUSED_KEYS, VisualTokenizer
from mmgic.vision.pixels.pixel_decoder import HIGHRES_SIZES, LOWRES_SIZES, PixelConfig, write_conditions

Writer = Callable[[Path], None]

ENCODER, TOKENIZER = (f"visual_tokenizer/{name}" for name in LAVIT_FILES)
LOWRES, HIGHRES = (f"visual_tokenizer/{name}" for name in DECODER_FILES)
UNDERSTANDING = "language_model/visual_weight.bin"
TEXT_SIZE = 32000  # LLaMA's text vocabulary; [IMG], [/IMG] and the codes follow it
VAE_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # diffusers' names before 0.17


@dataclass(frozen=True)
class LavitSizes:
    """Sizes of the release, which its files do not state; the defaults are LaVIT-7B-v2's."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    lowres: DecoderConfig = field(default_factory=DecoderConfig)
    highres: DecoderConfig = field(default_factory=lambda: DecoderConfig(pooled_dim=1280))
    feature_dim: int = 4096  # of continuous features: the language model's width
    uncond_slots: int = 77
    lowres_pictures: tuple[tuple[int, int], ...] = LOWRES_SIZES  # (height, width)
    highres_pictures: tuple[tuple[int, int], ...] = HIGHRES_SIZES

    def __post_init__(self) -> None:
        if type(self.uncond_slots) is not int or not 1 <= self.uncond_slots <= self.lowres.patches:
            raise InputError(
                f"sizes: uncond_slots is {self.uncond_slots!r}; it takes 1 to {self.lowres.patches}, lowres's patches"
            )


class LavitError(InputError):
    """The folder is not LaVIT's release; `problems` is the complete list of what is wrong."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{folder} is not a complete LaVIT release; download again what is wrong:{listed}")
        self.problems = problems


def plan_tokenizer(release: Release, sizes: LavitSizes) -> Writer:
    expected = shapes(lambda: VisualTokenizer(sizes.vision))
    encoder = {k.removeprefix("encoder."): v for k, v in expected.items() if k.startswith("encoder.")}
    rest = {k: v for k, v in expected.items() if not k.startswith("encoder.")}
    release.check(ENCODER, encoder, optional=lambda key: f"encoder.{key}" in UNUSED_KEYS)
    # a codebook's training state may lie beside it
    release.check(TOKENIZER, rest, optional=lambda key: key.startswith("quantize."))

    def write(out: Path) -> None:
        # two gigabytes of the encoder stay mapped until they are written
        tensors = {f"encoder.{key}": value for key, value in read_file(release.folder / ENCODER).items()}
        tensors |= read_file(release.folder / TOKENIZER)
        save(out / WEIGHTS_FILE, {key: tensors[key] for key in expected})
        save_config(sizes.vision, out)

    return write


def plan_understanding(release: Release, sizes: LavitSizes) -> Writer:
    def make() -> nn.Module:
        return ContinuousFeatures(VisualTokenizer(sizes.vision), sizes.feature_dim)

    with torch.device("meta"):
        own = own_keys(make())  # type: ignore[arg-type]
    expected = {key: shape for key, shape in shapes(make).items() if key in own}
    release.check(UNDERSTANDING, expected)
    return lambda out: save(out / "model.safetensors", read_file(release.folder / UNDERSTANDING))


def plan_pixels(release: Release, sizes: LavitSizes, *, highres: bool) -> Writer:
    """UNet, autoencoder and scheduler, with the feature decoder and the codebook that it reads."""
    folder = "highres_pixel_decoding" if highres else "pixel_decoding"
    decoder_file, decoder = (HIGHRES, sizes.highres) if highres else (LOWRES, sizes.lowres)
    config = PixelConfig(decoder, sizes.highres_pictures if highres else sizes.lowres_pictures)
    release.check(decoder_file, shapes(lambda: make_decoder(decoder)))
    wanted = {
        "cross_attention_dim": decoder.prompt_dim + decoder.pooled_dim,
        "addition_embed_type": "text_time" if highres else None,
    }
    check_config(release, f"{folder}/unet/config.json", wanted)
    parts = {
        "unet": plan_diffusers(release, f"{folder}/unet", UNet2DConditionModel, {}),
        "vae": plan_diffusers(release, f"{folder}/vae", AutoencoderKL, VAE_RENAMED),
    }
    release.json(f"{folder}/scheduler/scheduler_config.json")
    release.notes += [
        f"{folder}/{name}: left out, as pictures are not filtered here"
        for name in ("safety_checker", "feature_extractor")
        if (release.folder / folder / name).exists()
    ]
    uncond_file = f"{folder}/uncond_embeddings.bin"
    if not highres:
        uncond = release.load(uncond_file)
        wanted_shape = [1, sizes.uncond_slots, decoder.prompt_dim]
        if uncond is not None and not (isinstance(uncond, Tensor) and list(uncond.shape) == wanted_shape):
            release.problems.append(f"{uncond_file}: holds no tensor {wanted_shape}")
    codebook = (sizes.vision.codebook_size, decoder.codebook_dim)
    tensors = release.tensors(TOKENIZER)
    found = tensors and {key: tensors[key] for key in tensors if key == CODEBOOK}
    release.compare(TOKENIZER, found, {CODEBOOK: codebook}, lambda key: False)

    def write(out: Path) -> None:
        tensors = {f"decoder.{k}": v for k, v in read_file(release.folder / decoder_file).items()}
        tensors["codebook"] = read_file(release.folder / TOKENIZER)[CODEBOOK]
        if not highres:
            tensors["uncond_embeddings"] = read_file(release.folder / uncond_file)
        write_conditions(out, config, tensors)
        for name, write_part in parts.items():
            write_part(out / name)
        shutil.copytree(release.folder / folder / "scheduler", out / "scheduler")

    return write


def plan_diffusers(release: Release, folder: str, kind: Any, renamed: Mapping[str, str]) -> Writer:
    """One of diffusers' models. `renamed` maps parts of keys that older versions of diffusers wrote to today's."""
    stem = f"{folder}/diffusion_pytorch_model"
    name = next((n for n in (f"{stem}.safetensors", f"{stem}.bin") if (release.folder / n).is_file()), f"{stem}.bin")

    def today(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        def rename(key: str) -> str:
            if ".attentions." not in key:
                return key
            start, part, kind_of_tensor = key.rsplit(".", 2)
            return f"{start}.{renamed.get(part, part)}.{kind_of_tensor}"

        return {rename(key): value for key, value in tensors.items()}

    config, found = release.json(f"{folder}/config.json"), release.tensors(name)
    if config is not None and found is not None:
        expected = config_shapes(release, f"{folder}/config.json", lambda: kind.from_config(config))
        release.compare(name, today(found) if expected else None, expected, lambda key: False)

    def write(out: Path) -> None:
        save(out / "diffusion_pytorch_model.safetensors", today(read_file(release.folder / name)))
        shutil.copy(release.folder / folder / "config.json", out / "config.json")

    return write


def plan_language_model(release: Release, sizes: LavitSizes) -> Writer:
    """The Llama with the extended vocabulary, shard by shard."""
    folder = "language_model"
    wanted = {
        "model_type": "llama",
        "vocab_size": TEXT_SIZE + 2 + sizes.vision.codebook_size,
        "hidden_size": sizes.feature_dim,
    }
    config = check_config(release, f"{folder}/config.json", wanted)
    index = release.json(f"{folder}/pytorch_model.bin.index.json")
    copied = ["config.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"]
    release.problems += [
        f"{folder}/{name}: the file is missing" for name in copied[1:] if not (release.folder / folder / name).is_file()
    ]
    if config is None or index is None:
        return lambda out: None
    shards = shard_keys(release, f"{folder}/pytorch_model.bin.index.json", index)
    expected = config_shapes(
        release,
        f"{folder}/config.json",
        lambda: LlamaForCausalLM(LlamaConfig.from_dict({**config, **wanted})),
    )
    if not expected:
        return lambda out: None
    mapped = {key for keys in shards.values() for key in keys}
    if shards:
        release.problems += [f"{folder}: no shard holds {key}" for key in sorted(expected.keys() - mapped)]
    for shard, keys in shards.items():
        # a key of the index that the model has no place for is unexpected in its shard
        release.check(f"{folder}/{shard}", {k: expected[k] for k in keys & expected.keys()}, optional=is_rotary)

    def write(out: Path) -> None:
        out.mkdir(parents=True)
        for name in copied:
            shutil.copy(release.folder / folder / name, out / name)
        vocabulary = VLVocabulary(TEXT_SIZE, sizes.vision.codebook_size)
        (out / VOCABULARY_FILE).write_text(json.dumps(asdict(vocabulary), indent=2) + "\n", encoding="utf-8")
        weight_map: dict[str, str] = {}
        size = 0
        for number, (shard, keys) in enumerate(sorted(shards.items()), start=1):
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
            tensors = {k: v for k, v in read_file(release.folder / folder / shard).items() if k in keys}
            tensors = {k: v for k, v in tensors.items() if not is_rotary(k)}
            save(out / name, tensors)
            weight_map |= dict.fromkeys(tensors, name)
            size += sum(value.numel() * value.element_size() for value in tensors.values())
        listing = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (out / "model.safetensors.index.json").write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")

    return write


def check_config(release: Release, name: str, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON object in a file, None if there is none; values other than the `wanted` ones are problems."""
    config = release.json(name)
    if config is not None:
        release.problems += [
            f"{name}: {key} is {config.get(key)!r} instead of {value!r}"
            for key, value in wanted.items()
            if config.get(key) != value
        ]
    return config


def config_shapes(release: Release, name: str, make: Callable[[], nn.Module]) -> Shapes:
    """The shapes of the model that the config in a file describes; none, and a problem, if it describes no model."""
    try:
        return shapes(make)
    except Exception as error:  # the libraries check their configs in many ways
        release.problems.append(f"{name}: no model can be made of it ({type(error).__name__})")
        return {}


def is_rotary(key: str) -> bool:
    """Tables of sines that older versions of Transformers stored; they follow from the config."""
    return key.endswith(".rotary_emb.inv_freq")


def shard_keys(release: Release, name: str, index: Mapping[str, Any]) -> dict[str, set[str]]:
    """File of each shard -> the keys that the index places in it."""
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        release.problems.append(f"{name}: has no weight_map")
        return {}
    shards: dict[str, set[str]] = {}
    for key, shard in weight_map.items():
        if not isinstance(shard, str) or not is_safe_name(shard) or "/" in shard:
            release.problems.append(f"{name}: {shard!r} is no file beside it")
            return {}
        shards.setdefault(shard, set()).add(key)
    return shards


PARTS: dict[str, Callable[[Release, LavitSizes], Writer]] = {
    "tokenizer": plan_tokenizer,
    "understanding": plan_understanding,
    "pixels_lowres": partial(plan_pixels, highres=False),
    "pixels_highres": partial(plan_pixels, highres=True),
    "language_model": plan_language_model,
}


def import_lavit(
    folder: str | Path,
    output: str | Path,
    *,
    parts: Sequence[str] = tuple(PARTS),
    sizes: LavitSizes | None = None,
    report: Callable[[str], None] = print,
) -> list[str]:
    """Converts the release in `folder` to `output`, which must not exist yet, and returns what was left out of it.

    `parts` of PARTS limits what is read and demanded; `sizes` are the release's. Weights keep their float type. Nothing
    is written before everything is checked: raises LavitError with the complete list of missing files, missing or
    unexpected names and wrong shapes.
    """
    output = Path(output)
    if output.exists():
        raise InputError(f"{output} exists already; import into a new folder")
    release = Release(Path(folder))
    if not release.folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that LaVIT's release was downloaded to")
    writers = {}
    for part in parts:
        report(f"checking {part}")
        writers[part] = PARTS[part](release, sizes or LavitSizes())
    if release.problems:
        raise LavitError(release.folder, list(dict.fromkeys(release.problems)))
    unfinished = output.with_name(output.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part, write in writers.items():
        report(f"writing {output / part}")
        write(unfinished / part)
    unfinished.rename(output)
    return list(dict.fromkeys(release.notes))
