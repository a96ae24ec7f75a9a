"""Two tiny tokenizers of the kinds that matter: byte-level BPE, and LLaMA-2's sentencepiece with a word-start mark."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mmgic.documents.template import IMAGE_FIRST_OPENING, REGION_TITLE, REGIONS_HEADING
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vocabulary import VLVocabulary

CORPUS = [
    f"{IMAGE_FIRST_OPENING}{REGIONS_HEADING}{REGION_TITLE}\nRegion: \nCaption: a woman holding a baby at the beach.",
    "\nObjects and their descriptions:\n- dog: a furry animal\nAttributes of objects:\n- red {dog}\n- on {dog-table}",
    "\nLocation of the selected region in the image: Top Middle\nObjects:\n- cup",
    "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n\nIs there a dog?\nAnswer the question using a single word or phrase. "
    "[/INST] Yes\n [/INST] No [/INST] yes [/INST] no",
] * 20
SPECIAL = ["<unk>", "<s>", "</s>"]


def byte_level() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="session", params=["byte_level", "llama"])
def tokenizer(request) -> PreTrainedTokenizerBase:
    return byte_level() if request.param == "byte_level" else load_text_tokenizer(request.getfixturevalue("llama_2"))


@pytest.fixture(scope="session")
def vocabulary(tokenizer) -> VLVocabulary:
    return VLVocabulary(len(tokenizer), 64)
