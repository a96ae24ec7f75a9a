import io
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.request import urlopen

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from mmgic.images import ImageError, read_bytes, read_image, slice_path, stored_size
from mmgic.schema import REASONS
from mmgic.vision.preprocess import CLIP_MEAN, CLIP_STD, preprocess


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [32, 64])
def test_preprocess_equals_torchvision(photo, size):
    transform = v2.Compose(
        [
            v2.Resize((size, size), interpolation=v2.InterpolationMode.BICUBIC),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    assert torch.allclose(preprocess(photo, size), transform(photo), atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(photo, mode, tmp_path):
    grey = photo.convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "LA":
        image = photo.convert("RGBA").convert("LA")
    else:
        image = photo.convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path)
    read = read_image(path)
    assert (read.mode, read.size) == ("RGB", (53, 37))
    if mode in ("L", "LA", "I;16"):
        assert np.abs(np.asarray(read)[..., 0].astype(int) - np.asarray(grey)).max() <= 1
    elif mode in ("RGB", "RGBA"):
        assert np.array_equal(np.asarray(read), np.asarray(photo))


def test_first_frame_of_an_animation_and_pixels_as_stored(tmp_path):
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "film.gif").getpixel((0, 0)) == (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    frames[0].save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (8, 4)


def test_what_cannot_be_read_says_why(photo, tmp_path):
    photo.save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:700])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.png").touch()
    # Pillow would start Ghostscript on it
    (tmp_path / "script.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    expected = {
        "script.jpg": "image_undecodable",
        "none.jpg": "image_missing",
        "half.jpg": "image_undecodable",
        "text.jpg": "image_undecodable",
        "empty.png": "image_undecodable",
    }
    for name, reason in expected.items():
        with pytest.raises(ImageError) as error:
            read_image(tmp_path / name)
        assert error.value.reason == reason
        assert reason in REASONS
        assert name in error.value.detail
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "whole.jpg", max_pixels=37 * 53 - 1)
    assert error.value.reason == "image_too_large"
    assert read_image(tmp_path / "whole.jpg", max_pixels=37 * 53).size == (53, 37)


@pytest.fixture
def archive(photo):
    """A file with the photo as PNG between other bytes, and where it lies."""
    file = io.BytesIO()
    photo.save(file, "PNG")
    return b"x" * 1000 + file.getvalue() + b"y" * 500, 1000, len(file.getvalue())


@pytest.mark.parametrize("root", ["local", "memory://slices"])
def test_a_slice_of_an_archive_is_the_image(photo, archive, root, tmp_path):
    content, offset, length = archive
    path = f"{tmp_path if root == 'local' else root}/00012.tar"
    with fsspec.open(path, "wb") as file:
        file.write(content)
    name = slice_path(path, offset, length)
    assert name == f"{path}#bytes=1000-{length}"
    assert np.array_equal(np.asarray(read_image(name)), np.asarray(photo))
    assert stored_size(name) == photo.size == (53, 37)


def test_a_slice_is_one_ranged_read(archive, tmp_path, monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    content, offset, length = archive
    reads = []
    monkeypatch.setattr(
        MemoryFileSystem, "cat_file", lambda self, path, start, end: reads.append((start, end)) or content[start:end]
    )
    read_image(slice_path("memory://slices/00013.tar", offset, length))
    assert reads == [(offset, offset + length)]


def test_slices_outside_their_file_are_refused(archive, tmp_path):
    content, offset, _ = archive
    (tmp_path / "a.tar").write_bytes(content)
    end = len(content)
    for start, size in [(end, 10), (offset, end), (end - 5, 6), (offset, 0), (10**30, 5), (0, 100)]:
        with pytest.raises(ImageError) as error:
            read_image(slice_path(str(tmp_path / "a.tar"), start, size))
        assert error.value.reason == "image_undecodable"
    with pytest.raises(ImageError, match="image_too_large"):
        read_image(slice_path(str(tmp_path / "a.tar"), 0, 1 << 40))
    with pytest.raises(ImageError, match="image_missing"):
        read_image(slice_path(str(tmp_path / "b.tar"), 0, 10))


def test_a_file_may_have_a_hash_in_its_name(photo, tmp_path):
    photo.save(tmp_path / "a#bytes=1.png")
    assert read_image(tmp_path / "a#bytes=1.png").size == photo.size


def test_reasons_do_not_depend_on_the_run(tmp_path):
    """Details are part of a table's digest; Pillow's own message for this holds an object's address."""
    (tmp_path / "a.png").write_bytes(b"no picture")
    details = set()
    for _ in range(2):
        with pytest.raises(ImageError) as error:
            read_image(tmp_path / "a.png")
        details.add(error.value.detail)
    assert details == {f"{tmp_path / 'a.png'}: no image in a format that is read here"}


def test_no_name_makes_this_machine_ask_a_host(tmp_path, photo):
    photo.save(tmp_path / "photo.png")
    asked = []

    class Site(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def parse_request(self):
            asked.append(self.raw_requestline)
            return super().parse_request()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/photo.png"
        assert Image.open(urlopen(url)).size == photo.size
        assert len(asked) == 1
        host = f"127.0.0.1:{server.server_port}/photo.png"
        for name in (
            url,
            url.replace("http", "HTTP"),
            f"webhdfs://{host}",
            f"ftp://{host}",
            f"simplecache::{url}",
            f"blockcache::{url}",
            f"zip://photo.png::{url}",
            f"reference://photo.png::{url}",
            slice_path(url, 0, 99),
        ):
            for read in (read_image, read_bytes, stored_size):
                with pytest.raises(ImageError, match="local files and object stores alone") as error:
                    read(name)
                assert error.value.reason == "image_missing"
        server.shutdown()
    assert len(asked) == 1


@pytest.mark.parametrize("root", ["local", "file://local", "memory://names"])
def test_files_are_given_out_as_they_are_stored_if_they_are_images(photo, root, tmp_path):
    folder = root.replace("local", str(tmp_path))
    photo.save(file := io.BytesIO(), "JPEG")
    for name, content in (("a.jpg", file.getvalue()), ("id_rsa", b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl")):
        with fsspec.open(f"{folder}/{name}", "wb") as out:
            out.write(content)
    assert read_bytes(f"{folder}/a.jpg") == file.getvalue()
    for name, reason in (("id_rsa", "image_undecodable"), ("none", "image_missing"), ("a.jpg", "image_too_large")):
        with pytest.raises(ImageError) as error:
            read_bytes(f"{folder}/{name}", max_bytes=200)
        assert error.value.reason == reason
    with pytest.raises(ImageError, match="image_missing"):
        read_bytes("")


def test_sixteen_bit_values_keep_their_upper_half_in_every_byte_order(tmp_path):
    values = np.array([[0, 255, 256, 40000, 65535]], dtype=np.uint16)
    for mode, stored in (("I;16", values), ("I;16B", values.astype(">u2"))):
        Image.frombytes(mode, (5, 1), stored.tobytes()).save(tmp_path / "image.tif")
        assert np.asarray(read_image(tmp_path / "image.tif"))[0, :, 0].tolist() == [0, 0, 1, 156, 255]
    Image.fromarray(np.array([[-5, 256, 70000]], dtype=np.int32)).save(tmp_path / "signed.tif")
    assert np.asarray(read_image(tmp_path / "signed.tif"))[0, :, 0].tolist() == [0, 1, 255]


def test_float_pixels_are_refused_and_not_read_as_black(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(tmp_path / "image.tif")
    with pytest.raises(ImageError, match=r"image_undecodable.*floats"):
        read_image(tmp_path / "image.tif")


def test_a_pillow_without_a_decoder_still_reads_the_formats_after_it():
    script = """
import io
from PIL import Image
Image.init()
Image.OPEN.pop("AVIF", None), Image.OPEN.pop("WEBP", None)
from mmgic.images import decode_image
file = io.BytesIO()
Image.new("RGB", (3, 2)).save(file, "PPM")
print(decode_image(file, "a").size)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "(3, 2)\n", done.stderr
