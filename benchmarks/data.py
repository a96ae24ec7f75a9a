"""Speed of the data stages on one core, each beside what the same work costs in the bare library, in turns.

    python benchmarks/data.py                        # toy sizes, about two minutes on one CPU core
    python benchmarks/data.py --only documents       # or instructions, or images

Documents (F.6, F.7) and instruction rounds (H) beside `tokenizers` encoding the finished texts alone; cleaning (F.2)
and regions (F.3), which no library does. Images: photos and their regions from JPEG files to codes, beside the model's
forward pass on pixels that are ready in memory. Seconds are those of the process.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from alternating import ROUNDS, THREADS, Way, print_rates, rates

# isort: split
import numpy as np
import torch
from tokenizers import Tokenizer

from mmgic.cleaning.clean import clean_image
from mmgic.cleaning.counting import count_objects, count_predicates
from mmgic.cleaning.labels import kept_labels
from mmgic.documents.cached_ids import cached_ids
from mmgic.documents.multi_grained import MakeDocument
from mmgic.documents.rounds import MakeRounds
from mmgic.images import read_image
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import sources_of
from mmgic.presets import preset
from mmgic.regions import crop_region, make_regions
from mmgic.settings import Settings, SourceSettings, load_settings
from mmgic.sources.formats import read_source
from mmgic.stages.rows import Row
from mmgic.toy.datasets.write import make_world
from mmgic.vision.preprocess import preprocess
from mmgic.vision.tokenize import TokenizeImages


def cleaning_of(rows: list[Row], source: SourceSettings, settings: Settings, patches: int) -> Callable[[Row], Row]:
    """The cleaning and regions of a row of `source`, with the label counts of `rows`."""
    cleaning = settings.cleaning
    counts = count_objects(rows, source, cleaning)
    labels = kept_labels(counts, source, cleaning)
    counts += count_predicates(rows, labels, source, cleaning)
    labels = kept_labels(counts, source, cleaning)
    return lambda row: make_regions(clean_image(row, labels, cleaning), settings.regions, patches)


def image_ways(rows: list[Row], tokenize: TokenizeImages) -> dict[str, Way]:
    """Photos and their regions through the stage, and the bare forward pass on pixels that are ready in memory."""
    ready = []
    for row in rows:
        image = read_image(row["image_path"])
        crops = [image, *(crop_region(image, r["x"], r["y"], r["side"]) for r in row["regions"])]
        ready.append(torch.stack([preprocess(crop, tokenize.model.config.image_size) for crop in crops]))

    def forward() -> None:
        for pixels in ready:
            tokenize.model.encode(pixels, selection="argmax")

    return {"the stage": lambda: tokenize(rows), "model alone": forward}


def document_ways(rows: list[Row], makers: list[Callable[[Row], Row]], bare: Tokenizer) -> dict[str, Way]:
    """Each of the `makers` on all `rows`, and the encoding of the finished texts alone, one by one and in one call."""

    def documents() -> list[Row]:
        cached_ids.cache_clear()  # no round finds what the one before it remembered
        return [make(row) for make in makers for row in rows]

    texts = [document["text"].replace("[IMG]", "") for document in documents() if document["keep"]]

    return {
        "documents": documents,
        "tokenizers alone, one by one": lambda: [bare.encode(text, add_special_tokens=False) for text in texts],
        "tokenizers alone, in one batch": lambda: bare.encode_batch_fast(texts, add_special_tokens=False),
    }


def compare(what: str, amount: float, ways: dict[str, Way], bare: str, rounds: int) -> None:
    print(f"\n{what}: {amount:,.0f} of them, one core, {rounds} rounds", flush=True)
    print_rates(rates(dict.fromkeys(ways, amount), ways, rounds), bare, "/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("documents", "instructions", "images"))
    flags = parser.parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(preset("toy-all"), None, [f"output={folder}"])
        make_world(Path(folder) / "world", flags.scenes, 0)
        tokenize = TokenizeImages(settings.vision.checkpoint, settings.vision, settings.seed)
        config = tokenize.model.config
        bare = Tokenizer.from_file(str(Path(settings.model.llm) / "tokenizer.json"))
        vocabulary = VLVocabulary(bare.get_vocab_size(), config.codebook_size)
        source = next(source for source in settings.sources if source.format == "visual_genome")
        annotated = list(read_source(source))
        clean = cleaning_of(annotated, source, settings, config.grid)
        rows = [row for row in map(clean, annotated) if row["keep"]]
        if flags.only in (None, "documents"):
            codes = np.random.default_rng(0).integers(0, config.codebook_size, (1 << 16, config.patches // 3)).tolist()
            coded = [with_any_codes(row, codes) for row in rows]
            makers = [
                MakeDocument.of(settings, vocabulary, descriptions=settings.descriptions, repeat=repeat)
                for repeat in range(source.repeats)
            ]
            ways = document_ways(coded, makers, bare)
            amount = len(rows) * len(makers)
            compare("documents of annotated images", amount, ways, "tokenizers alone, one by one", flags.rounds)
            cleaning = {"cleaning and regions": lambda: list(map(clean, annotated))}
            compare("annotated images", len(rows), cleaning, "cleaning and regions", flags.rounds)
        if flags.only in (None, "instructions"):
            asked = [row for source in sources_of(settings, "sft") for row in read_source(source) if row["keep"]]
            for row in asked:
                row["images"] = [{**image, "codes": [1, 2, 3]} for image in row["images"]]
            rounds = MakeRounds.of(settings, vocabulary, corpora={row["source"]: "sft" for row in asked})
            ways = document_ways(asked, [rounds], bare)
            compare("instruction documents", len(asked), ways, "tokenizers alone, one by one", flags.rounds)
        if flags.only in (None, "images"):
            frames = sum(1 + len(row["regions"]) for row in rows)
            compare("frames", frames, image_ways(rows, tokenize), "model alone", flags.rounds)


def with_any_codes(row: Row, codes: list[list[int]]) -> Row:
    """The row as if tokenized: documents depend on how many codes there are, and not on which."""
    drawn = row["row_id"] % (len(codes) - 64)
    regions = [{**region, "codes": codes[drawn + i]} for i, region in enumerate(row["regions"][:63], 1)]
    return {**row, "codes": codes[drawn], "regions": regions}


if __name__ == "__main__":
    main()
