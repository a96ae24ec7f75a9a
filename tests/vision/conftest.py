import pytest
import torch

from mmgic.vision import VisionConfig, VisualTokenizer

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
