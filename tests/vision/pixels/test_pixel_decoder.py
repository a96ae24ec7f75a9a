"""Pixels by diffusion: diffusers' own pipelines draw the same pictures from the same conditions."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from mmgic.errors import InputError
from mmgic.vision.network.feature_decoder import DecoderConfig
from mmgic.vision.pixels.pixel_decoder import (
    HIGHRES_SIZES,
    PixelConfig,
    PixelDecoder,
    load_pixel_decoder,
    save_pixel_decoder,
    starting_noise,
)

CODES = [[3, 1, 4, 1], [], [49] * 16]


def noise_of(names, shape=(4, 8, 8), seed=0):
    return torch.stack([starting_noise(seed, name, shape) for name in names])


def arrays(pictures):
    return np.stack([np.asarray(picture) for picture in pictures]).astype(int)


def test_sdxl_pipeline_draws_the_same(tiny_pixels):
    pixels = tiny_pixels(pooled=12)
    pipeline = StableDiffusionXLPipeline(
        pixels.vae, None, None, None, None, pixels.unet, pixels.scheduler, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    for size, latent in (((16, 16), (4, 8, 8)), ((8, 24), (4, 4, 12))):
        conditions = pixels.conditions(CODES)
        theirs = pipeline(
            prompt_embeds=conditions.prompt,
            pooled_prompt_embeds=conditions.pooled,
            negative_prompt_embeds=torch.zeros_like(conditions.prompt),
            negative_pooled_prompt_embeds=torch.zeros_like(conditions.pooled),
            height=size[0],
            width=size[1],
            num_inference_steps=4,
            guidance_scale=3.0,
            latents=noise_of("012", latent),
        ).images
        ours = pixels.detokenize(CODES, size=size, steps=4, guidance=3.0)
        assert [picture.size for picture in ours] == [size[::-1]] * 3
        assert np.abs(arrays(ours) - arrays(theirs)).max() <= 1


def test_stable_diffusion_pipeline_draws_the_same(tiny_pixels):
    pixels = tiny_pixels(slots=16)  # all slots are in use, as the pipeline knows no mask
    pipeline = StableDiffusionPipeline(
        pixels.vae, None, None, pixels.unet, pixels.scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    conditions = pixels.conditions(CODES)
    theirs = pipeline(
        prompt_embeds=conditions.prompt,
        negative_prompt_embeds=pixels.uncond.expand(3, -1, -1),
        height=16,
        width=16,
        num_inference_steps=4,
        guidance_scale=5.0,
        latents=noise_of("012"),
    ).images
    assert np.abs(arrays(pixels.detokenize(CODES, steps=4, guidance=5.0)) - arrays(theirs)).max() <= 1


def test_unconditional_slots_beyond_the_embeddings_are_masked(tiny_pixels):
    """The mask makes them as good as absent: a loop of its own, which gives the UNet the used slots alone."""
    pixels = tiny_pixels(slots=5)
    conditions, guidance = pixels.conditions(CODES), 4.0
    ours = pixels.sample(conditions, noise_of("012"), 3, guidance)
    scheduler = pixels.scheduler
    scheduler.set_timesteps(3)
    with torch.inference_mode():
        x = noise_of("012")
        for t in scheduler.timesteps:
            without = pixels.unet(x, t, pixels.uncond.expand(3, -1, -1)).sample
            answer = without + guidance * (pixels.unet(x, t, conditions.prompt).sample - without)
            alpha = scheduler.alphas_cumprod[t]
            before = t - 1000 // 3
            alpha_before = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod
            clean = (x - (1 - alpha).sqrt() * answer) / alpha.sqrt()
            x = alpha_before.sqrt() * clean + (1 - alpha_before).sqrt() * answer
        expected = (pixels.vae.decode(x / 0.3).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(ours, expected, atol=1e-4)


def test_a_picture_depends_on_its_own_codes_seed_and_name_alone(tiny_pixels):
    pixels = tiny_pixels()
    together = arrays(pixels.detokenize(CODES, names=["a", "b", "c"], batch_size=2))
    for i, name in enumerate("abc"):
        alone = arrays(pixels.detokenize([CODES[i]], names=[name]))[0]
        assert np.abs(together[i] - alone).max() <= 1
    assert torch.equal(pixels.conditions(CODES).prompt[1], pixels.conditions([[]]).prompt[0])
    for other in ({"names": ["z", "b", "c"]}, {"names": ["a", "b", "c"], "seed": 1}):
        assert np.abs(arrays(pixels.detokenize(CODES, **other))[0] - together[0]).max() > 1
    assert np.abs(arrays(pixels.detokenize([[5, 6]], names=["a"]))[0] - together[0]).max() > 1
    assert pixels.detokenize([]) == []


def test_the_autoencoder_stays_in_float32_where_it_must(tiny_pixels):
    kept, cast = (
        PixelDecoder(p.config, p.decoder, p.codebook, p.unet, p.vae, p.scheduler, None, "cpu", torch.bfloat16)
        for p in (tiny_pixels(pooled=12, force_upcast=True), tiny_pixels(pooled=12, force_upcast=False))
    )
    assert (kept.vae.dtype, cast.vae.dtype) == (torch.float32, torch.bfloat16)
    assert kept.unet.dtype == torch.bfloat16
    assert all(isinstance(picture, Image.Image) for picture in kept.detokenize(CODES, steps=2))


def test_official_sizes():
    assert PixelConfig(DecoderConfig()).sizes == ((512, 512),)
    assert {size[0] * size[1] // 2**16 for size in HIGHRES_SIZES} <= {15, 16}
    assert len(set(HIGHRES_SIZES)) == 6
    assert all(edge % 64 == 0 for size in HIGHRES_SIZES for edge in size)


@pytest.mark.parametrize(
    ("codes", "options", "message"),
    [
        ([[3, 50]], {}, "code 50 at position 1 is outside the codebook of 50"),
        ([[-1]], {}, "code -1 at position 0 is outside"),
        ([[0.5]], {}, "a flat list of whole numbers"),
        ([["a"]], {}, "a flat list of whole numbers"),
        ([[[1]]], {}, "a flat list of whole numbers"),
        ([[1] * 17], {}, "17 codes; this decoder takes 16 at most"),
        ([[1]], {"size": (512, 512)}, "a picture of 512x512 .* take one of 16x16, 8x24"),
        ([[1]], {"steps": 0}, "0 steps; take 1 to 999"),
        ([[1]], {"steps": 1000}, "1000 steps; take 1 to 999"),
        ([[1]], {"guidance": float("nan")}, "guidance is nan"),
        ([[1], [2]], {"names": ["a"]}, "1 names for 2 images"),
        ([[1]], {"batch_size": 0}, "batch_size is 0; take at least 1"),
    ],
)
def test_bad_codes_and_settings(tiny_pixels, codes, options, message):
    with pytest.raises(InputError, match=message):
        tiny_pixels().detokenize(codes, **options)


@pytest.mark.parametrize(("spacing", "most"), [("leading", 3), ("trailing", 4), ("linspace", 4)])
def test_the_most_steps_that_a_schedule_allows(tiny_pixels, spacing, most):
    pixels = tiny_pixels()
    pixels.scheduler = DDIMScheduler(num_train_timesteps=4, steps_offset=1, timestep_spacing=spacing)
    for steps in range(1, most + 1):
        assert len(pixels.detokenize([[1]], steps=steps)) == 1
    with pytest.raises(InputError, match=f"{most + 1} steps; take 1 to {most}"):
        pixels.detokenize([[1]], steps=most + 1)


def test_pictures_are_decoded_one_by_one(tiny_pixels):
    pixels, sizes = tiny_pixels(), []
    pixels.vae.decoder.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    pixels.detokenize(CODES, steps=1)
    assert sizes == [1, 1, 1]


@pytest.mark.parametrize("pooled", [0, 12])
def test_save_and_load(tiny_pixels, pooled, tmp_path):
    pixels = tiny_pixels(pooled)
    save_pixel_decoder(pixels, tmp_path)
    loaded = load_pixel_decoder(tmp_path, "cpu")
    assert loaded.config == pixels.config
    assert (arrays(loaded.detokenize(CODES)) == arrays(pixels.detokenize(CODES))).all()


def change_config(part, **values):
    def change(folder):
        path = folder / part
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def change_weights(part, **values):
    """Replaces tensors by name; None removes one."""

    def change(folder):
        tensors = {**load_file(folder / part), **values}
        save_file({name: value for name, value in tensors.items() if value is not None}, folder / part)

    return change


UNET, DECODER = "unet/diffusion_pytorch_model.safetensors", "decoder.safetensors"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_weights(UNET, **{"conv_in.bias": None}), "unet lacks conv_in.bias"),
        (change_weights(UNET, extra=torch.zeros(1)), "unet has no place for extra"),
        (change_weights(UNET, **{"conv_in.bias": torch.zeros(3)}), "unet is incomplete or of other sizes"),
        (change_weights("vae/" + UNET[5:], **{"decoder.conv_in.bias": None}), "vae lacks decoder.conv_in.bias"),
        (change_config("unet/config.json", block_out_channels="8"), "unet is incomplete"),
        (change_config("scheduler/scheduler_config.json", num_train_timesteps="9"), "is incomplete"),
        (change_weights(DECODER, codebook=torch.zeros(50)), r"codebook is float32 \[50\] instead of floats \[codes, 6"),
        (change_weights(DECODER, codebook=torch.zeros(50, 6, dtype=torch.int64)), "codebook is int64"),
        (change_weights(DECODER, codebook=None), "lacks the codebook"),
        (change_weights(DECODER, uncond_embeddings=None), "lacks uncond_embeddings"),
        (change_weights(DECODER, uncond_embeddings=torch.zeros(1, 17, 8)), r"instead of floats \[1, 1 to 16, 8\]"),
        (change_weights(DECODER, uncond_embeddings=torch.zeros(5, 8)), r"instead of floats \[1, 1 to 16, 8\]"),
        (change_config("config.json", sizes=[[15, 16]]), "size 15x16 is no multiple of 2"),
        (change_config("config.json", sizes=[]), "sizes takes a list"),
        (change_config("config.json", sizes=[[16.5, 16]]), "sizes takes a list"),
        (change_config("config.json", sizes=[[16]]), "does not hold the fields"),
        (change_config("config.json", steps="25"), "steps is '25'"),
        (change_config("config.json", guidance=float("nan")), "guidance is nan"),
        (lambda folder: (folder / "config.json").write_text("3"), "does not hold the fields"),
    ],
)
def test_every_part_is_checked(tiny_pixels, change, message, tmp_path, capfd):
    save_pixel_decoder(tiny_pixels(), tmp_path)
    change(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        load_pixel_decoder(tmp_path, "cpu")
    assert "\n" not in str(error.value)
    assert "TRAIN this model" not in capfd.readouterr().err


def test_another_unet_is_named_in_full(tiny_pixels, tmp_path):
    save_pixel_decoder(tiny_pixels(pooled=12), tmp_path)
    save_pixel_decoder(tiny_pixels(), tmp_path / "low")
    shutil.copytree(tmp_path / "low" / "unet", tmp_path / "unet", dirs_exist_ok=True)
    with pytest.raises(InputError) as error:
        load_pixel_decoder(tmp_path, "cpu")
    for wrong in ("cross_attention_dim is 8 instead of 20", "addition_embed_type is None instead of 'text_time'"):
        assert wrong in str(error.value)


def damage(folder, what):
    if what == "no config":
        (folder / "config.json").unlink()
    elif what == "other fields":
        (folder / "config.json").write_text(json.dumps({"decoder": {"depths": 1}, "sizes": []}))
    elif what == "no unet":
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    elif what == "pickled unet":
        (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
            folder / "unet" / "diffusion_pytorch_model.bin"
        )
    else:
        config = json.loads((folder / "config.json").read_text())
        config["decoder"]["width"] = 26
        (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no config", "is no pixel decoder"),
        ("other fields", "does not hold the fields decoder, sizes, steps, guidance"),
        ("no unet", "is incomplete or of other sizes"),
        ("pickled unet", "is incomplete or of other sizes"),
        ("other sizes", "is incomplete or of other sizes"),
    ],
)
def test_broken_folders_end_in_one_sentence(tiny_pixels, what, message, tmp_path):
    save_pixel_decoder(tiny_pixels(), tmp_path)
    damage(tmp_path, what)
    with pytest.raises(InputError, match=message) as error:
        load_pixel_decoder(tmp_path, "cpu")
    assert "\n" not in str(error.value)
