"""Training of the pixel decoder: its objective by hand, what dropping the condition means, and that it learns."""

import pytest
import torch
from diffusers import DDIMScheduler

from mmgic.settings import PixelTraining
from mmgic.vision.learning.diffusion import (
    Denoiser,
    denoising_loss,
    freeze_trunk,
    start_projection,
    train_denoiser,
)

CODES = [torch.tensor([3, 1, 4]), torch.tensor([], dtype=torch.long), torch.tensor([7])]


def scheduler(prediction_type):
    return DDIMScheduler(beta_schedule="scaled_linear", prediction_type=prediction_type, clip_sample=False)


def denoiser(pixels):
    return Denoiser(pixels.decoder, pixels.unet, pixels.codebook, pixels.uncond, pixels.scale)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_model_that_knows_the_answer_has_no_loss(prediction_type):
    schedule = scheduler(prediction_type)
    latents = torch.randn(3, 4, 8, 8)
    seen = []

    def oracle(noisy, steps, codes, dropped):
        alpha = schedule.alphas_cumprod[steps][:, None, None, None]
        noise = (noisy - alpha.sqrt() * latents) / (1 - alpha).sqrt()
        seen.append((steps, dropped))
        return noise if prediction_type == "epsilon" else alpha.sqrt() * noise - (1 - alpha).sqrt() * latents

    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        assert denoising_loss(oracle, schedule, latents, CODES, 0.3, generator) < 1e-3
    steps, dropped = (torch.cat(part) for part in zip(*seen, strict=True))
    assert 0.2 < dropped.float().mean() < 0.4
    assert steps.min() < 100
    assert steps.max() > 900


@pytest.mark.parametrize("pooled", [0, 12])
@torch.inference_mode()
def test_what_is_dropped_is_the_unconditional_branch_of_sampling(tiny_pixels, pooled):
    pixels = tiny_pixels(pooled)
    model = denoiser(pixels).eval()
    noisy, steps = torch.randn(3, 4, 8, 8), torch.tensor([5, 500, 900])
    ours = model(noisy, steps, CODES, torch.tensor([False, False, True]))
    other = model(noisy, steps, [CODES[2], CODES[1], CODES[0]], torch.tensor([False, False, True]))
    assert torch.allclose(ours[2], other[2], atol=1e-6)
    assert not torch.allclose(ours[0], other[0], atol=1e-3)
    inputs = pixels._unet_inputs(pixels.conditions(CODES), noisy)
    without, with_codes = pixels.unet(noisy.repeat(2, 1, 1, 1), steps.repeat(2), **inputs).sample.chunk(2)
    # an empty image beside others reads their padding in a batch, and alone does not
    assert torch.allclose(ours[0], with_codes[0], atol=1e-4)
    assert torch.allclose(ours[2], without[2], atol=1e-4)


def test_it_learns_to_draw_from_codes(tiny_pixels):
    """Two images that noise covers alike: only the codes can tell which one to draw."""
    torch.manual_seed(0)
    model = denoiser(tiny_pixels())
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    latents = torch.stack([torch.full((4, 8, 8), value) for value in (-1.0, 1.0)])
    codes = [torch.tensor([1, 2]), torch.tensor([3])]
    settings = PixelTraining(steps=60, batch_size=8, learning_rate=5e-3, warmup_steps=5)
    losses = []
    train_denoiser(
        model,
        scheduler("v_prediction"),
        latents,
        codes,
        settings,
        torch.Generator().manual_seed(0),
        lambda step, loss: losses.append((step, loss)),
        report_every=20,
    )
    assert [step for step, _ in losses] == [20, 40, 60]
    assert losses[-1][1] < 0.8 * losses[0][1]
    with torch.no_grad():
        right, wrong = (
            denoising_loss(
                model,
                scheduler("v_prediction"),
                latents.repeat(20, 1, 1, 1),
                given * 20,
                0.0,
                torch.Generator().manual_seed(1),
            )
            for given in (codes, codes[::-1])
        )
    assert right < 0.7 * wrong


def test_a_new_projection_is_centred_and_spread_about_one():
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([3.0, 1.0, 0.3, 0.001])
    axes = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    features = (torch.randn(4000, 4, generator=generator) * spread) @ axes + 5
    projection = torch.nn.Linear(4, 6)
    start_projection(projection, features)
    out = projection(features).detach()
    assert torch.allclose(out.mean(dim=0), torch.zeros(6), atol=1e-3)
    assert torch.allclose(out.std(dim=0), torch.tensor([1, 1, 0.95, 0.01, 0, 0]), atol=0.03)
    assert torch.corrcoef(out[:, :3].T).fill_diagonal_(0).abs().max() < 1e-3


def test_a_frozen_trunk_stays_as_it_is(tiny_pixels):
    pixels = tiny_pixels()
    freeze_trunk(pixels.decoder)
    model = denoiser(pixels)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = PixelTraining(steps=3, batch_size=2, learning_rate=1e-2, warmup_steps=1)
    generator = torch.Generator().manual_seed(0)
    train_denoiser(
        model, scheduler("epsilon"), torch.randn(2, 4, 8, 8), CODES[::2], settings, generator, lambda step, loss: None
    )
    changed = {
        name.split(".")[1]
        for name, value in model.state_dict().items()
        if not value.equal(before[name]) and "." in name
    }
    assert "unet_proj" in changed
    assert changed.isdisjoint({"in_proj", "blocks", "pos_embed", "query_embed", "decode_task_layer"})
    assert not model.uncond.equal(before["uncond"])
    assert model.codebook.equal(before["codebook"])
