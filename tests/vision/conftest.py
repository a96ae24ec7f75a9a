import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from mmgic.vision import VisionConfig, VisualTokenizer
from mmgic.vision.network.feature_decoder import DecoderConfig, make_decoder
from mmgic.vision.pixels.pixel_decoder import PixelConfig, PixelDecoder

SMALL = VisionConfig(
    image_size=32,
    patch_size=8,
    width=24,
    depth=2,
    num_heads=3,
    mlp_hidden=40,
    merger_depth=2,
    merger_heads=2,
    codebook_size=50,
    codebook_dim=6,
)


@pytest.fixture(scope="session")
def small() -> VisualTokenizer:
    """A small tokenizer whose every parameter is drawn: a bias or norm left at its start would hide a mistake."""
    generator = torch.Generator().manual_seed(7)
    model = VisualTokenizer(SMALL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


@pytest.fixture(scope="session")
def pixels() -> torch.Tensor:
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


DECODER = {
    "patches": 16,
    "width": 24,
    "depth": 1,
    "num_heads": 2,
    "mlp_hidden": 40,
    "codebook_dim": 6,
    "feature_dim": 24,
    "prompt_dim": 8,
}


def make_pixels(pooled=0, slots=5, codes=50, **vae_options):
    torch.manual_seed(0)
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": pooled + 24,
    }
    config = DecoderConfig(**DECODER, pooled_dim=pooled)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=8 + pooled,
        **(added if pooled else {}),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        scaling_factor=0.3,
        sample_size=16,
        **vae_options,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    decoder = make_decoder(config)
    with torch.no_grad():
        for parameter in (*decoder.parameters(), *unet.parameters()):
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    uncond = None if pooled else torch.randn(1, slots, 8)
    pixel_config = PixelConfig(config, ((16, 16), (8, 24)), 5, 2.0)
    return PixelDecoder(pixel_config, decoder, torch.randn(codes, 6), unet, vae, scheduler, uncond, "cpu")


@pytest.fixture(scope="session")
def tiny_pixels():
    """Makes pixel decoders of random weights: low resolution, or high where `pooled` is not 0."""
    return make_pixels
