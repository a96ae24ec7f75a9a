"""Images of a benchmark and the control that swaps them."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import image_name
from mmgic.evaluation.visual_codes import ImageCodes, other_images
from mmgic.settings import VisionSettings
from mmgic.vision import VisionConfig, VisualTokenizer, save_tokenizer


@given(st.sets(st.text(max_size=8), min_size=2, max_size=30), st.randoms())
def test_every_image_gets_another_one(names, random):
    other = other_images(names)
    assert set(other) == set(other.values()) == names
    assert all(name != own for name, own in other.items())
    shuffled = sorted(names)
    random.shuffle(shuffled)
    assert other_images(shuffled) == other


def test_one_image_has_no_other():
    with pytest.raises(InputError, match="at least two images"):
        other_images(["a.jpg"])


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    config = VisionConfig(
        image_size=32,
        patch_size=8,
        width=32,
        depth=1,
        num_heads=2,
        mlp_hidden=32,
        merger_depth=1,
        merger_heads=2,
        codebook_size=16,
        codebook_dim=4,
    )
    save_tokenizer(VisualTokenizer(config), folder)
    return VisionSettings(checkpoint=str(folder))


def test_codes_depend_on_image_name_and_seed_alone(vision, tmp_path):
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        Image.new("RGB", (40, 30), (80 * i, 100, 200)).save(tmp_path / name)
    together = ImageCodes(vision, seed=1)(str(tmp_path), ["a.png", "b.png", "c.png"])
    alone = ImageCodes(vision, seed=1)
    assert {name: alone(str(tmp_path), [name])[name] for name in reversed(together)} == together
    assert ImageCodes(vision, seed=2)(str(tmp_path), list(together)) != together


def test_an_image_inside_the_benchmarks_files_is_known_by_its_content(vision, tmp_path):
    Image.new("RGB", (40, 30), (80, 100, 200)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    codes = ImageCodes(vision, seed=1)("", [content, content])
    assert list(codes) == [image_name(content)]
    shutil.copy(tmp_path / "a.png", tmp_path / image_name(content))
    assert ImageCodes(vision, seed=1)(str(tmp_path), [image_name(content)]) == codes
    with pytest.raises(InputError, match=r"image_undecodable"):
        ImageCodes(vision, seed=1)("", [b"no image"])


@pytest.mark.parametrize(
    ("name", "message"), [("absent.png", "image_missing"), ("../a.png", "leads out"), ("text.png", "image_undecodable")]
)
def test_unusable_images_are_named(vision, tmp_path, name, message):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=message):
        ImageCodes(vision, seed=0)(str(tmp_path), [name])
