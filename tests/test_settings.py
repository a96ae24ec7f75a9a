"""Presets, YAML and overrides: what is accepted, what is refused and how."""

import dataclasses
import itertools
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.presets import PRESETS, preset
from mmgic.settings import Settings, SettingsError, TokenizerTraining, load_settings, merge, to_yaml


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_effective_settings_survive_yaml(name: str, tmp_path: Path) -> None:
    settings = load_settings(preset(name))
    file = tmp_path / "settings.yaml"
    file.write_text(to_yaml(settings))
    assert load_settings(Settings(), file) == settings


def test_presets_that_share_a_folder_do_not_refuse_each_other() -> None:
    """They have the same world and the same sources, or none that the other has, and runs of other names."""
    by_output: dict[str, list[Settings]] = {}
    for name in PRESETS:
        settings = preset(name)
        by_output.setdefault(settings.output, []).append(settings)
    assert len(by_output) > 4
    for sharing in by_output.values():
        assert len({settings.toy for settings in sharing}) == 1
        for first, second in itertools.combinations(sharing, 2):
            of_first = {source.name: source for source in first.sources}
            assert all(of_first.get(source.name, source) == source for source in second.sources)
            assert first.training.name != second.training.name, (first.preset, second.preset)


def test_defaults_are_table_10() -> None:
    settings = preset("mmgic-7b")
    training = settings.training
    assert (training.learning_rate, training.weight_decay, training.batch_size) == (2e-4, 0.05, 512)
    assert (training.warmup_ratio, training.min_lr_ratio, training.epochs) == (0.1, 0.1, 1)
    assert settings.documents.max_tokens == 2048


def test_overrides_win_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("training: {learning_rate: 1e-3, batch_size: 8}\noutput: there\n")
    settings = load_settings(preset("toy"), file, ["training.batch_size=16"])
    assert (settings.training.learning_rate, settings.training.batch_size) == (1e-3, 16)
    assert settings.training.curriculum == preset("toy").training.curriculum
    assert settings.sources[0].path == "there/world/visual_genome"


@given(st.floats(0, 1))
def test_numbers_in_range_are_taken_exactly(value: float) -> None:
    assert load_settings(Settings(), None, [f"loss.mask_prob={value!r}"]).loss.mask_prob == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.batchsize=8", "did you mean 'training.batch_size'"),
        ("traning.batch_size=8", "did you mean 'training'"),
        ("training.batch_size=many", "takes a whole number, not 'many'"),
        ("training.batch_size=1.5", "takes a whole number"),
        ("training.batch_size=true", "takes a whole number"),
        ("loss.mask_prob=1.5", "between 0 and 1"),
        ("documents.recipe=CDL", "one of C, CL, CLD, CLDR, LDR"),
        ("training=3", "is a group of settings"),
        ("training.batch_size", "write --set"),
        ("evaluation.benchmarks=pope", "takes a list"),
        ("evaluation.benchmarks=[{name: pope, files: file.json}]", r"benchmarks\[0\]\.files' takes a list"),
        ("vision.batch_size=0", "'vision.batch_size' is 0; it must be at least 1"),
        ("regions.min_patches=-1", "at least 0"),
        ("training.adam_beta2=1", "be at least 0 and less than 1"),
        ("language_model.usd_per_million_prompt_tokens=-0.5", "at least 0"),
        ("captions.min_words=30", r"'captions\.min_words' is 30 and 'captions\.max_words' is 25"),
        ("regions.max_patches=1", r"'regions\.min_patches' is 2 and 'regions\.max_patches' is 1"),
        ("sources=[{name: a}, {name: b, repeats: 0}]", r"'sources\[1\]\.repeats' is 0; it must be at least 1"),
        ("sources=[{min_pairing_iou: 1.5}]", r"'sources\[0\]\.min_pairing_iou' is 1.5; it must lie between 0 and 1"),
        ("sources=[{min_pairing_iou: .nan}]", "between 0 and 1"),
        ("output=", "'output' is empty"),
        ("output= ", "'output' is empty"),
    ],
)
def test_a_wrong_override_is_refused_in_one_sentence(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        load_settings(Settings(), None, [override])
    assert "\n" not in str(error.value)


def test_rules_of_two_settings_hold_of_the_final_ones() -> None:
    overrides = ["captions.min_words=30", "captions.max_words=40", "regions.min_patches=14", "regions.max_patches=14"]
    captions = load_settings(Settings(), None, overrides).captions
    assert (captions.min_words, captions.max_words) == (30, 40)


def fields(kind: type) -> Iterator[tuple[str, type, dataclasses.Field]]:
    """Group and name, type and declaration of each setting."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        inner = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
        if dataclasses.is_dataclass(inner):
            yield from fields(inner)  # type: ignore[arg-type]
        else:
            yield f"{kind.__name__}.{field.name}", inner, field


def test_every_number_has_a_range_and_every_range_a_number() -> None:
    numbers = [name for name, kind, _ in fields(Settings) if kind in (int, float, int | None, float | None)]
    assert len(numbers) > 100
    assert numbers == [name for name, _, field in fields(Settings) if "range" in field.metadata]


def test_a_group_is_checked_wherever_it_is_made() -> None:
    with pytest.raises(SettingsError, match="'batch_size' is 0; it must be at least 1"):
        dataclasses.replace(Settings().training, batch_size=0)
    with pytest.raises(SettingsError, match="'keep_ratio' is 1; it must be more than 0 and less than 1"):
        TokenizerTraining(keep_ratio=1)
    with pytest.raises(SettingsError, match="'output' is empty"):
        Settings(output=" ")


@pytest.mark.parametrize("text", ["- a list", "just text", "a: [1, 2", "\x00"])
def test_a_file_that_holds_no_settings_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"bad\.yaml"):
        load_settings(Settings(), file)


def test_text_settings_stay_text() -> None:
    assert load_settings(Settings(), None, ["output=123"]).output == "123"


@given(st.text(min_size=1).filter(lambda key: key not in {f.name for f in dataclasses.fields(Settings)}))
def test_any_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(SettingsError, match="unknown setting"):
        merge(Settings(), {key: 1})


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'mmgic-7b'"):
        preset("mmgic7b")


@pytest.mark.parametrize("text", ["sources: []\noutput: a\nsources: []\n", "training:\n  seed: 1\n  seed: 1\n"])
def test_a_key_that_comes_twice_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "my.yaml").write_text(text)
    name, first, second = ("sources", 1, 3) if "sources" in text else ("seed", 2, 3)
    with pytest.raises(SettingsError, match=f"my.yaml: '{name}' is on line {first} and again on line {second}"):
        load_settings(Settings(), tmp_path / "my.yaml")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("preset=other", "choose it with --preset other"),
        ("output={output}/x", "it is what {output} stands for"),
        ("training.name=../../x", "'training.name' is '../../x'; it may hold letters, digits, _, - and ."),
        ("training.name=", "'training.name' is ''"),
        ("documents.name=a/b", "'documents.name' is 'a/b'"),
        ("foo=3", "unknown setting 'foo'; there are preset, output"),
        ("sources=[1]", "'sources[0]' is a group of settings; write {key: value}"),
    ],
)
def test_what_would_lead_astray_is_refused(override: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        load_settings(preset("toy"), None, [override])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_in_any_dress(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "my.yaml").write_bytes(f"output: größe{end}seed: 5{end}".encode(encoding))
    settings = load_settings(Settings(), tmp_path / "my.yaml")
    assert (settings.output, settings.seed) == ("größe", 5)
