"""`mmgic vision` as a user calls it, on small random models; good input, and every kind of bad one."""

import argparse
import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from mmgic.cli import main, report_errors
from mmgic.training.export import export_untrained
from mmgic.vision import save_tokenizer
from mmgic.vision.cli import load_models
from mmgic.vision.pixels.pixel_decoder import PixelDecoder, save_pixel_decoder


@pytest.fixture(scope="module")
def folders(small, tiny_pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = tiny_pixels()
    rows = small.quantize.embedding.weight.detach()
    pixels = PixelDecoder(made.config, made.decoder, rows, made.unet, made.vae, made.scheduler, made.uncond, "cpu")
    save_tokenizer(small, folder / "tokenizer")
    save_pixel_decoder(pixels, folder / "pixels")
    save_pixel_decoder(made, folder / "other")
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return path


def vision(*arguments):
    return main(["vision", *map(str, arguments)])


def tokenize(folders, *arguments):
    return vision("tokenize", *arguments, "--tokenizer", folders / "tokenizer")


def bad_flags(capsys, *arguments):
    """What argparse answers."""
    with pytest.raises(SystemExit) as stopped:
        vision(*arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def detokenize(folders, *arguments):
    return vision("detokenize", *arguments, "--pixels", folders / "pixels", "--steps", 2)


def test_there_and_back(folders, image, tmp_path, capsys):
    assert tokenize(folders, image, image, "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    first, second = map(json.loads, lines)
    assert first == second
    assert first["image"] == str(image)
    assert len(first["codes"]) == len(first["kept"]) > 0
    assert set(first["kept"]) <= set(range(16))
    assert tokenize(folders, image) == 0
    assert (
        capsys.readouterr().out
        == f"{image}: {len(first['codes'])} of 16 patches: {' '.join(map(str, first['codes']))}\n"
    )

    (tmp_path / "codes.jsonl").write_text("\n".join(lines))
    assert detokenize(folders, tmp_path / "codes.jsonl", "--output", tmp_path / "out" / "p.png", "--size", "8x24") == 0
    assert {path.name: Image.open(path).size for path in (tmp_path / "out").iterdir()} == {
        "p-0.png": (24, 8),
        "p-1.png": (24, 8),
    }
    # token ids of a model with 100 text tokens, [IMG] and [/IMG] around them
    ids = [100, *(102 + code for code in first["codes"]), 101]
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    (tmp_path / "one.json").write_text(json.dumps(first["codes"]))
    assert detokenize(folders, tmp_path / "ids.json", "--output", tmp_path / "ids.png", "--text-size", 100) == 0
    assert detokenize(folders, tmp_path / "one.json", "--output", tmp_path / "one.png") == 0
    assert (tmp_path / "ids.png").read_bytes() == (tmp_path / "one.png").read_bytes()


def test_reconstruct_writes_a_panel(folders, image, tmp_path, capsys):
    flags = ("--tokenizer", folders / "tokenizer", "--pixels", folders / "pixels", "--steps", 2)
    assert vision("reconstruct", image, "--output", tmp_path / "r.png", *flags) == 0
    assert Image.open(tmp_path / "r.png").size == (3 * 256 + 16, 256)
    assert "kept patches, reconstruction" in capsys.readouterr().out
    flags = ("--tokenizer", folders / "tokenizer", "--pixels", folders / "other")
    assert vision("reconstruct", image, "--output", tmp_path / "x.png", *flags) == 2
    assert "another visual tokenizer's codes" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def png_of_size(width, height):
    """A PNG whose header says any size, with no pixels behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


BAD = {
    "nothing.png": b"",
    "text.jpg": b"no image at all",
    "no_width.png": png_of_size(0, 5),
    "bomb.png": png_of_size(10_000, 10_000),
    "huge_bomb.png": png_of_size(60_000, 60_000),
    "cut.png": png_of_size(30, 30),
}


@pytest.mark.parametrize("name", [*BAD, "missing.png"])
def test_unusable_images_end_in_one_sentence(folders, tmp_path, capsys, name):
    if name in BAD:
        (tmp_path / name).write_bytes(BAD[name])
    assert tokenize(folders, tmp_path / name) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: the image {tmp_path / name} cannot be used: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize("kind", ["cmyk.jpg", "palette.png", "sixteen.png", "animated.gif", "grey_alpha.png"])
def test_unusual_images_are_read(folders, tmp_path, capsys, kind):
    path = tmp_path / kind
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    if kind == "cmyk.jpg":
        picture.convert("CMYK").save(path)
    elif kind == "palette.png":
        picture.convert("P").save(path, transparency=3)
    elif kind == "sixteen.png":
        Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(path)
    elif kind == "animated.gif":
        picture.save(path, save_all=True, append_images=[picture.rotate(180)])
    else:
        picture.convert("LA").save(path)
    assert tokenize(folders, path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["codes"]


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("[1, 50]", [], "code 50 at position 1 is outside the codebook of 50"),
        ("[-1]", [], "code -1 at position 0 is outside the codebook of 50"),
        ("[1, 2.5]", [], "every line is a list of whole numbers"),
        ("[true]", [], "every line is a list of whole numbers"),
        ('{"codes": "1 2"}', [], "every line is a list of whole numbers"),
        ('{"ids": [1]}', [], "every line is a list of whole numbers"),
        ("", [], "holds no codes"),
        ("1 2 3", [], "is no JSON"),
        ("[100, 105, 7, 101]", ["--text-size", 100], "id 7, number 1 of the image, is a text token"),
        ("[1]", ["--size", "64x64"], "cannot be drawn; take one of 16x16, 8x24"),
        (json.dumps([1] * 17), [], "17 codes; this decoder takes 16 at most"),
    ],
)
def test_unusable_codes_end_in_one_sentence(folders, tmp_path, capsys, content, flags, message):
    path = tmp_path / "codes.json"
    path.write_text(content)
    assert detokenize(folders, path, "--output", tmp_path / "p.png", *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "p.png").exists()


def test_flags_that_are_no_values(capsys):
    command = ("detokenize", "codes.json", "--output", "p.png")
    for size in ("64", "64x", "64x64x64", "ax64"):
        assert f"'{size}' is no size; write HxW, such as 512x512" in bad_flags(capsys, *command, "--size", size)
    for number in ("-5", "0"):
        assert f"it is {number}; it must be at least 1" in bad_flags(capsys, *command, f"--text-size={number}")
    assert "'many' is no whole number" in bad_flags(capsys, *command, "--text-size=many")
    for guidance in ("nan", "inf", "-1"):
        assert f"it is {guidance}; it must be at least 0" in bad_flags(capsys, *command, f"--guidance={guidance}")
    assert "invalid choice: 'float16'; did you mean 'bfloat16'?" in bad_flags(capsys, *command, "--dtype", "float16")


def test_images_before_a_bad_one_are_printed(folders, image, tmp_path, capsys):
    assert tokenize(folders, image, tmp_path / "none.png", image) == 2
    out, error = capsys.readouterr()
    assert out.count("\n") == 1
    assert error == f"error: the image {tmp_path / 'none.png'} cannot be used: no such file\n"


def test_paths_that_cannot_be_written_end_in_one_sentence(folders, image, tmp_path, capsys):
    codes = tmp_path / "codes.json"
    codes.write_text("[1]")
    assert detokenize(folders, codes, "--output", tmp_path) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: Is a directory; give a path that can be read or written\n"
    assert detokenize(folders, codes, "--output", codes / "p.png") == 2
    assert "File exists; give a path" in capsys.readouterr().err
    assert detokenize(folders, codes, "--output", "/dev/full") == 2
    assert "no room is left on the disk" in capsys.readouterr().err


def test_other_errors_of_the_system_keep_their_traceback():
    """An error that a worker raised carries its traceback as text, and no answer of the system."""

    def work():
        raise OSError("a worker's traceback")

    with pytest.raises(OSError, match="a worker's traceback"):
        report_errors(work)


def test_device_and_type(folders, image, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert tokenize(folders, image, "--device", "cuda") == 2
    assert "none that PyTorch can use" in capsys.readouterr().err
    tokenizer, pixels = load_models(
        argparse.Namespace(tokenizer=folders / "tokenizer", pixels=folders / "pixels", device="cpu", dtype="bfloat16"),
        "tokenizer",
        "pixels",
    )
    assert (tokenizer.trunk_dtype, pixels.unet.dtype, pixels.device.type) == (torch.bfloat16, torch.bfloat16, "cpu")
    assert tokenize(folders, image, "--dtype", "float32") == 0


def test_unusable_folders_and_files(folders, image, tmp_path, capsys):
    assert vision("tokenize", image, "--tokenizer", tmp_path) == 2
    assert "is no visual tokenizer" in capsys.readouterr().err
    codes = tmp_path / "codes.json"
    codes.write_text("[1]")
    assert vision("detokenize", codes, "--output", tmp_path / "p.png", "--pixels", tmp_path) == 2
    assert "is no pixel decoder" in capsys.readouterr().err
    assert detokenize(folders, tmp_path / "none.json", "--output", tmp_path / "p.png") == 2
    assert "cannot read" in capsys.readouterr().err
    assert vision("import", tmp_path / "nowhere", tmp_path / "out") == 2
    assert "is no folder" in capsys.readouterr().err
    assert vision("import", tmp_path, tmp_path / "out", "--part", "decoder") == 2
    assert "--part decoder is unknown; it takes tokenizer, understanding, pixels_lowres" in capsys.readouterr().err


def test_an_import_lists_what_is_wrong(tmp_path, capsys):
    sizes = {"vision": {"width": 24, "num_heads": 3, "merger_heads": 2, "depth": 1, "merger_depth": 1}}
    (tmp_path / "sizes.json").write_text(json.dumps(sizes))
    (tmp_path / "release").mkdir()
    flags = ("--part", "tokenizer", "--sizes", tmp_path / "sizes.json")
    assert vision("import", tmp_path / "release", tmp_path / "out", *flags) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  visual_tokenizer/eva_vitg_psz14.bin: the file is missing",
        "  visual_tokenizer/tokenizer_encoder.bin: the file is missing",
    ]
    (tmp_path / "sizes.json").write_text('{"uncond_slots": 257}')
    assert vision("import", tmp_path / "release", tmp_path / "out", *flags) == 2
    assert "sizes.json: sizes: uncond_slots is 257; it takes 1 to 256" in capsys.readouterr().err
    (tmp_path / "sizes.json").write_text('{"widths": 3}')
    assert vision("import", tmp_path / "release", tmp_path / "out", *flags) == 2
    assert "holds no sizes; write a JSON object with some of vision, lowres, highres" in capsys.readouterr().err


def test_draw_asks_an_exported_model(tiny_run, tiny_pixels, tmp_path, capsys):
    export_untrained(tiny_run(tmp_path / "run"), tmp_path / "model")
    save_pixel_decoder(tiny_pixels(codes=16), tmp_path / "pixels")
    flags = ("--output", tmp_path / "p.png", "--pixels", tmp_path / "pixels", "--steps", 2)
    assert vision("draw", tmp_path / "model", "word3 word5", *flags) == 0
    assert Image.open(tmp_path / "p.png").size == (16, 16)
    assert vision("draw", tmp_path, "word3", *flags) == 2
    assert "holds no exported model" in capsys.readouterr().err
    save_pixel_decoder(tiny_pixels(codes=17), tmp_path / "pixels")
    assert vision("draw", tmp_path / "model", "word3", *flags) == 2
    assert "reads 17 codes, the model 16" in capsys.readouterr().err
