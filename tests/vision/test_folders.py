"""Every layout of a visual tokenizer's folder, whole and broken, read by the one module that knows them."""

import json
import shutil
import warnings
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmgic.errors import InputError
from mmgic.model.assemble import untrained_model, vocabulary_of
from mmgic.settings import Settings
from mmgic.vision import VisionConfig, VisualTokenizer, folders, load_tokenizer, save_tokenizer
from mmgic.vision.folders import LAVIT_FILES, load_config, read_codebook, tokenizer_files
from mmgic.vision.lavit.exporting import save_lavit
from mmgic.vision.learning.frozen import load_frozen

LAYOUTS = ("ours", "release", "export")


@pytest.fixture(scope="module")
def released(small) -> VisualTokenizer:
    """As `small`, in bfloat16 values and with LaVIT's 16 heads, which the tensors of its release do not tell."""
    model = VisualTokenizer(replace(small.config, width=32, num_heads=16, merger_heads=16, mlp_hidden=44)).eval()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((torch.randn(parameter.shape, generator=generator) * 0.4).bfloat16())
    return model


def write_release(model, folder):
    """The files of LaVIT's `visual_tokenizer/` as downloaded: encoder and rest in bfloat16, two decoders, no config."""
    folder.mkdir(parents=True)
    state = {key: value.bfloat16() for key, value in model.state_dict().items()}
    width = model.config.width
    end = {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    end |= {"head.weight": torch.ones(3, width), "head.bias": torch.ones(3)}
    encoder = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    torch.save(encoder | end, folder / LAVIT_FILES[0])
    torch.save({key: value for key, value in state.items() if not key.startswith("encoder.")}, folder / LAVIT_FILES[1])
    for name in folders.DECODER_FILES:
        torch.save({"query_embed": torch.zeros(1, 16, width)}, folder / name)


@pytest.fixture(scope="module")
def layouts(released, tmp_path_factory):
    """Folder of one tokenizer in each of LAYOUTS."""
    made = {name: tmp_path_factory.mktemp("layouts") / name for name in LAYOUTS}
    save_tokenizer(released, made["ours"])
    write_release(released, made["release"])
    save_lavit(made["ours"], made["export"])
    return made


@pytest.fixture(params=LAYOUTS)
def folder(request, layouts):
    return layouts[request.param]


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_every_layout_gives_the_tokenizer_its_sizes_and_its_codebook(released, folder, pixels):
    assert load_config(folder) == released.config
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_tokenizer(folder)
    assert loaded.config == released.config
    assert not loaded.training
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, released.state_dict()[key]), key
    ours, theirs = (model.encode(pixels, selection="argmax") for model in (loaded, released))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    codebook = read_codebook(folder)
    assert codebook.dtype == torch.float32
    assert torch.equal(codebook, released.quantize.embedding.weight)
    assert load_tokenizer(folder, "bfloat16").trunk_dtype == torch.bfloat16


def test_every_layout_gives_its_frozen_encoder_whatever_lies_beside_it(released, copy):
    (copy / LAVIT_FILES[1]).unlink(missing_ok=True)
    frozen = load_frozen(copy)
    for key, value in frozen.model.encoder.state_dict().items():
        assert torch.equal(value, released.encoder.state_dict()[key]), key
    assert (frozen.head is None) == (copy / "model.safetensors").is_file()
    sizes = ("image_size", "patch_size", "width", "depth", "num_heads", "mlp_hidden")
    assert [getattr(frozen.model.config, name) for name in sizes] == [getattr(released.config, name) for name in sizes]


def test_a_model_is_built_from_every_layout(released, folder, tiny_run, tmp_path):
    """Pre-training starts from the folder that the tables were made with."""
    settings = tiny_run(tmp_path / "run", vision={"checkpoint": str(folder)})
    vocabulary = vocabulary_of(settings)
    assert vocabulary.num_codes == released.config.codebook_size
    assert torch.equal(untrained_model(settings).embedding.codebook, released.quantize.embedding.weight)


def test_the_release_at_its_own_sizes_has_the_default_config(tmp_path):
    """Tensors without storage under the released names and shapes: the sizes read from them are the paper's."""
    with torch.device("meta"):
        state = VisualTokenizer(VisionConfig()).state_dict()
    names = ("pos_embed", "patch_embed.proj.weight", *(f"blocks.{i}.mlp.fc1.weight" for i in range(40)))
    encoder = {name: torch.zeros(1, dtype=torch.int8).expand(state[f"encoder.{name}"].shape) for name in names}
    torch.save(encoder, tmp_path / LAVIT_FILES[0])
    assert load_config(tmp_path) == VisionConfig()  # of the encoder alone
    rest = {key: value for key, value in state.items() if key.endswith(("fc1.bias", folders.CODEBOOK))}
    torch.save({key: torch.zeros(1).expand(value.shape) for key, value in rest.items()}, tmp_path / LAVIT_FILES[1])
    assert load_config(tmp_path) == VisionConfig()


def test_a_fingerprint_is_of_the_files_that_codes_depend_on(layouts):
    names = {name: [path.name for path in tokenizer_files(folder)] for name, folder in layouts.items()}
    assert names == {
        "ours": ["config.json", "model.safetensors"],
        "release": [*LAVIT_FILES],
        "export": ["config.json", *LAVIT_FILES],
    }


def test_a_codebook_is_read_without_the_rest(copy):
    """Nothing else of the folder has to be readable, so nothing else is read."""
    if (copy / LAVIT_FILES[0]).is_file():
        (copy / LAVIT_FILES[0]).write_bytes(b"")
    assert read_codebook(copy).shape == (50, 6)


def test_an_older_pytorch_file_is_read_too(released, layouts, tmp_path):
    """Before PyTorch 1.6 files were no zip archives, and cannot be mapped."""
    copy = shutil.copytree(layouts["release"], tmp_path / "old")
    for name in LAVIT_FILES:
        state = torch.load(copy / name, weights_only=True)
        torch.save(state, copy / name, _use_new_zipfile_serialization=False)
    assert load_config(copy) == released.config
    assert torch.equal(read_codebook(copy), released.quantize.embedding.weight)


class Hostile:
    def __reduce__(self):
        return (print, ("code of a pickle ran",))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("read", [load_config, load_tokenizer, read_codebook])
def test_pickled_code_is_refused_and_not_run(layouts, tmp_path, capsys, read, old):
    copy = shutil.copytree(layouts["release"], tmp_path / "hostile")
    for name in LAVIT_FILES:
        torch.save({"a": Hostile()}, copy / name, _use_new_zipfile_serialization=not old)
    with pytest.raises(InputError, match=r"\.bin is damaged or holds more than tensors") as error:
        read(copy)
    assert "\n" not in str(error.value)
    assert "code of a pickle ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"h", b"not found", b"<html></html>", b"\x80\x02}q"])
@pytest.mark.parametrize("name", ["weights.bin", "weights.safetensors"])
def test_a_file_of_anything_else_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="is damaged or holds more than tensors"):
        folders.read_weights(tmp_path / name)


def test_tensors_without_names_are_no_weights(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "weights.bin")
    with pytest.raises(InputError, match="holds no tensors by name"):
        folders.read_weights(tmp_path / "weights.bin")


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(path, change):
    if path.suffix == ".bin":
        state = torch.load(path, weights_only=True)
        torch.save(change(state), path)
    else:
        save_file(change(load_file(path)), path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


BROKEN = {
    "no config": (("ours",), lambda f: (f / "config.json").unlink(), r"holds no readable config\.json"),
    "no json": (("ours", "export"), lambda f: (f / "config.json").write_text("{"), "is no JSON file"),
    "other fields": (
        ("ours", "export"),
        lambda f: (f / "config.json").write_text('{"image_size": 32}'),
        "exactly the fields",
    ),
    "other sizes": (
        ("ours", "export"),
        lambda f: change_config(f, codebook_size=51),
        r"quantize\.embedding\.weight \[50, 6\] instead of \[51, 6\]",
    ),
    "no weights": (("ours",), lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "no encoder": (("release", "export"), lambda f: (f / LAVIT_FILES[0]).unlink(), f"{LAVIT_FILES[0]} is missing"),
    "no rest": (("release", "export"), lambda f: (f / LAVIT_FILES[1]).unlink(), f"{LAVIT_FILES[1]} is missing"),
    "truncated": (("ours",), lambda f: truncate(f / "model.safetensors"), "is damaged or holds more than tensors"),
    "truncated encoder": (
        ("release", "export"),
        lambda f: truncate(f / LAVIT_FILES[0]),
        f"{LAVIT_FILES[0]} is damaged",
    ),
    "truncated rest": (("release", "export"), lambda f: truncate(f / LAVIT_FILES[1]), f"{LAVIT_FILES[1]} is damaged"),
    "a layer gone": (
        ("release",),
        lambda f: change_weights(f / LAVIT_FILES[0], lambda s: {k: v for k, v in s.items() if k != "cls_token"}),
        r"lacks encoder\.cls_token",
    ),
}


@pytest.mark.parametrize(
    ("layout", "fault"), [(name, fault) for fault, (names, *_) in BROKEN.items() for name in names]
)
def test_broken_folders_end_in_one_sentence(layouts, tmp_path, layout, fault):
    copy = shutil.copytree(layouts[layout], tmp_path / "copy")
    _, damage, message = BROKEN[fault]
    damage(copy)
    with pytest.raises(InputError, match=message) as error:
        load_tokenizer(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", ["no weights", "no encoder", "no rest", "truncated rest"])
def test_a_codebook_is_not_read_from_half_a_tokenizer(layouts, tmp_path, fault):
    """What the tables could not be made with is refused before they are made, not after."""
    (layout, *_), damage, message = BROKEN[fault]
    copy = shutil.copytree(layouts[layout], tmp_path / "copy")
    damage(copy)
    for read in (read_codebook, tokenizer_files) if fault != "truncated rest" else (read_codebook,):
        with pytest.raises(InputError, match=message):
            read(copy)


def test_a_tokenizer_without_its_codebook_is_refused(copy):
    path = tokenizer_files(copy)[-1]
    change_weights(path, lambda state: {k: v for k, v in state.items() if k != folders.CODEBOOK})
    with pytest.raises(InputError, match="holds no codebook"):
        read_codebook(copy)


@pytest.mark.parametrize("read", [load_config, load_tokenizer, read_codebook, tokenizer_files, load_frozen])
def test_the_folder_above_and_an_empty_one_are_refused(layouts, tmp_path, read):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        read(tmp_path / "empty")
    shutil.copytree(layouts["release"], tmp_path / "lavit" / "visual_tokenizer")
    with pytest.raises(InputError, match=r"name \S+/lavit/visual_tokenizer instead"):
        read(tmp_path / "lavit")


def test_settings_without_a_tokenizer_say_so():
    with pytest.raises(InputError, match=r"set vision\.checkpoint"):
        vocabulary_of(Settings())
