"""Speed of the data stages on one core, each beside what the same work costs in the bare library.

    python benchmarks/data.py                    # toy sizes, about a minute on one CPU core
    python benchmarks/data.py --scenes 2000      # longer, steadier

Records: cleaning (F.2), regions (F.3) and documents (F.6, F.7) of one image, and documents alone, beside `tokenizers`
encoding the finished texts alone. Images: photos and their regions from JPEG files to codes, beside the model's forward
pass on pixels that are ready in memory.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

import torch
from tokenizers import Tokenizer

from mmgic.cleaning.clean import clean_image
from mmgic.cleaning.counting import count_objects, count_predicates
from mmgic.cleaning.labels import kept_labels
from mmgic.documents.multi_grained import MakeDocument
from mmgic.images import read_image
from mmgic.model.vocabulary import VLVocabulary
from mmgic.presets import preset
from mmgic.regions import crop_region, make_regions
from mmgic.settings import Settings, load_settings
from mmgic.sources.formats import read_source
from mmgic.stages.rows import Row
from mmgic.toy.datasets.write import make_world
from mmgic.vision.preprocess import preprocess
from mmgic.vision.tokenize import TokenizeImages


def cleaning_of(rows: list[Row], settings: Settings, patches: int) -> Callable[[Row], Row]:
    """The cleaning and regions of a row of Visual Genome's, with the label counts of `rows`."""
    source, cleaning = settings.sources[0], settings.cleaning
    counts = count_objects(rows, source, cleaning)
    labels = kept_labels(counts, source, cleaning)
    counts += count_predicates(rows, labels, source, cleaning)
    labels = kept_labels(counts, source, cleaning)
    return lambda row: make_regions(clean_image(row, labels, cleaning), settings.regions, patches)


def rate(number: int, work: Callable[[], object]) -> float:
    """`number` things per second of CPU time of `work`, the better of two runs."""
    seconds = []
    for _ in range(2):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return number / min(seconds)


def image_rates(rows: list[Row], tokenize: TokenizeImages) -> tuple[float, float, list[Row]]:
    """Frames (images and regions) per second through the stage, through the bare forward pass, and the stage's rows."""
    tokenized: list[Row] = []
    frames = sum(1 + len(row["regions"]) for row in rows)
    ours = rate(frames, lambda: (tokenized.clear(), tokenized.extend(tokenize(rows))))
    ready = []
    for row in rows:
        image = read_image(row["image_path"])
        crops = [image, *(crop_region(image, r["x"], r["y"], r["side"]) for r in row["regions"])]
        ready.append(torch.stack([preprocess(crop, tokenize.model.config.image_size) for crop in crops]))

    def forward() -> None:
        for pixels in ready:
            tokenize.model.encode(pixels, selection="argmax")

    return ours, rate(frames, forward), [row for row in tokenized if row["keep"]]


def document_rates(rows: list[Row], settings: Settings, num_codes: int) -> tuple[float, float]:
    """Documents per second from rows, and of encoding their finished texts alone."""
    bare = Tokenizer.from_file(str(Path(settings.model.llm) / "tokenizer.json"))
    vocabulary = VLVocabulary(bare.get_vocab_size(), num_codes)
    make = MakeDocument.of(settings, vocabulary, descriptions=settings.descriptions, repeat=0)
    documents: list[Row] = []
    ours = rate(len(rows), lambda: (documents.clear(), documents.extend(map(make, rows))))
    texts = [document["text"].replace("[IMG]", "") for document in documents]
    return ours, rate(len(rows), lambda: [bare.encode(text, add_special_tokens=False) for text in texts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    scenes = parser.parse_args().scenes
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(preset("toy"), None, [f"output={folder}"])
        make_world(Path(folder) / "world", scenes, 0)
        tokenize = TokenizeImages(settings.vision.checkpoint, settings.vision, settings.seed)
        config = tokenize.model.config
        annotated = list(read_source(settings.sources[0]))
        clean = cleaning_of(annotated, settings, config.grid)
        cleaned = rate(len(annotated), lambda: list(map(clean, annotated)))
        rows = [row for row in map(clean, annotated) if row["keep"]]
        images, forward, tokenized = image_rates(rows, tokenize)
        documents, encoding = document_rates(tokenized, settings, config.codebook_size)
    records = 1 / (1 / cleaned + 1 / documents)
    print(f"{'one core':<12} {'ours /s':>12} {'bare library /s':>16} {'ratio':>7}")
    for name, ours, bare in (
        ("records", records, encoding),
        ("documents", documents, encoding),
        ("images", images, forward),
    ):
        print(f"{name:<12} {ours:>12,.0f} {bare:>16,.0f} {ours / bare:>7.2f}")


if __name__ == "__main__":
    main()
