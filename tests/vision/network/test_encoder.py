from functools import partial

import torch
from timm.models.eva import Eva
from torch import nn


def test_encoder_equals_timms_eva(small, pixels):
    config = small.config
    eva = Eva(
        img_size=config.image_size,
        patch_size=config.patch_size,
        num_classes=5,
        global_pool="token",
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_hidden / config.width,
        qkv_bias=True,
        qkv_fused=True,
        swiglu_mlp=False,
        use_abs_pos_emb=True,
        init_values=None,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    ).eval()
    report = eva.load_state_dict(small.encoder.state_dict(), strict=False)
    assert not report.unexpected_keys
    assert {key.split(".")[0] for key in report.missing_keys} == {"norm", "head"}
    eva.norm = nn.Identity()
    # inputs of a small scale are where another LayerNorm eps would show
    for scale in (1.0, 1e-2):
        with torch.no_grad():
            theirs, ours = eva.forward_features(pixels * scale), small.encoder(pixels * scale)
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


def test_no_convolution_is_computed(small, pixels):
    """Float32 convolutions are rounded to TF32 on a GPU by default."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, torch.no_grad():
        ours = small.encoder.patch_embed(pixels)
    assert not [event.key for event in profile.key_averages() if "conv" in event.key]
    theirs = small.encoder.patch_embed.proj(pixels).flatten(2).transpose(1, 2)
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_patches_come_in_raster_order(small):
    config = small.config
    pixels = torch.zeros(1, 3, config.image_size, config.image_size)
    row, column = 2, 1
    patch = config.patch_size
    pixels[:, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = 1
    embedded = small.encoder.patch_embed(pixels)[0]
    changed = (embedded - embedded[0]).abs().sum(dim=-1).nonzero().flatten()
    assert changed.tolist() == [row * config.grid + column]
