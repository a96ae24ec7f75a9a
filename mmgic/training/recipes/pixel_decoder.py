"""Training of a pixel decoder on the codes of a trained tokenizer: feature decoder and UNet together."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mmgic.errors import InputError
from mmgic.files import model_fingerprint, whole_folder
from mmgic.settings import PixelTraining, Settings, SettingsError, computed
from mmgic.training.checkpoints import load_moments, load_parameters
from mmgic.training.metrics import read_metrics
from mmgic.training.recipe import RunResult, TrainingRecipe
from mmgic.training.recipes.visual_tokenizer import TOKENIZER, check_batch
from mmgic.training.worker import Worker
from mmgic.vision.folders import load_config, load_tokenizer
from mmgic.vision.learning.diffusion import load_trunk
from mmgic.vision.learning.features import fingerprint_of_images, list_images
from mmgic.vision.learning.learner import train
from mmgic.vision.learning.objective import decoder_config
from mmgic.vision.learning.pixel_learner import PixelData, PixelLearner, denoiser_of
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.feature_decoder import DecoderConfig
from mmgic.vision.network.tokenizer import VisualTokenizer
from mmgic.vision.pixels.pixel_decoder import PixelDecoder, load_pixel_decoder, save_pixel_decoder

_NO_START = "'pixel_training.start' is empty; set it to the folder of a pixel decoder to begin with"


@dataclass(frozen=True)
class PixelResult(RunResult):
    """The last step's figures. `model` is a pixel decoder's folder, which `mmgic vision reconstruct` draws with."""

    loss: float


def _images(settings: Settings) -> str:
    return settings.pixel_training.images or settings.tokenizer_training.images


def tokenizer_folder(settings: Settings) -> str:
    """The folder of the tokenizer whose codes are drawn."""
    return settings.pixel_training.tokenizer or str(TOKENIZER.run_folder(settings) / "model")


def _inputs(settings: Settings) -> dict[str, str]:
    if not _images(settings):
        raise SettingsError("'pixel_training.images' is empty; set it to the folder that training reads")
    if not settings.pixel_training.start:
        raise SettingsError(_NO_START)
    return {
        "list of images": fingerprint_of_images(_images(settings)),
        "visual tokenizer": model_fingerprint(tokenizer_folder(settings)),
        "pixel decoder to start from": model_fingerprint(settings.pixel_training.start),
    }


def _check(settings: Settings) -> None:
    training = settings.pixel_training
    check_start(training.start, load_config(tokenizer_folder(settings)), tokenizer_folder(settings))
    check_batch(training.batch_size, settings.cluster.training_workers)


def check_ahead(settings: Settings) -> None:
    """Raises SettingsError or InputError if pixel_training cannot go on from what tokenizer_training will make."""
    training = settings.tokenizer_training
    if not settings.pixel_training.start:
        raise SettingsError(_NO_START)
    config = load_config(training.encoder)
    ranked = training.decoder == "lavit" or training.decoder_steps > 0
    trunk = decoder_config(config, training.decoder_depth, config.width) if ranked else None
    check_start(settings.pixel_training.start, config, training.encoder, trunk)


def check_start(start: str, config: VisionConfig, tokenizer: str, trunk: DecoderConfig | None = None) -> None:
    """Raises InputError if the pixel decoder `start` cannot go on with the codes of a tokenizer of `config`, which is
    named `tokenizer`, or with the feature decoder `trunk` that will be trained with it."""
    pixels = load_pixel_decoder(start, "cpu")
    codebook = (config.codebook_size, config.codebook_dim)
    if (pixels.config.decoder.patches, pixels.codebook.shape) != (config.patches, codebook):
        raise InputError(f"the pixel decoder {start} reads codes of other sizes than {tokenizer} makes")
    height, width = pixels.config.sizes[0]
    if height != width:
        raise InputError(f"{start} draws {height}x{width} first; training takes a square first size")
    for name in ("depth", "width", "num_heads", "mlp_hidden", "feature_dim") if trunk else ():
        own, trained = getattr(pixels.config.decoder, name), getattr(trunk, name)
        if own != trained:
            raise InputError(
                f"the feature decoder of {start} has {name} {own}, the one to be trained {trained}; give a pixel "
                "decoder of its sizes (decoder_depth sets the depth)"
            )


def _train_worker(settings: Settings, worker: Worker) -> dict[str, object]:
    training = settings.pixel_training
    pixels, tokenizer = _untrained(training, tokenizer_folder(settings))
    size, picture = tokenizer.config.image_size, pixels.config.sizes[0][0]
    data = PixelData(list_images(_images(settings)), size, picture, ThreadPoolExecutor(4))
    learner = PixelLearner(pixels, tokenizer, data, training, settings.seed, worker.device)
    start = worker.begin(training.steps)
    if worker.newest:
        load_parameters(worker.newest, learner.trained)
        learner.resume(start, load_moments(worker.newest, learner.trained))

    def save(step: int) -> None:
        worker.save(step, learner.parameters(), learner.moments())

    train(learner, start, worker.log, worker.due, save)
    return {"steps": training.steps, "loss": read_metrics(worker.folder)[-1]["loss"]} if worker.rank == 0 else {}


def _untrained(training: PixelTraining, folder: str) -> tuple[PixelDecoder, VisualTokenizer]:
    """The pixel decoder before training, with the feature decoder that the tokenizer's training left in its folder, if
    it did; and the tokenizer."""
    pixels, tokenizer = load_pixel_decoder(training.start, "cpu"), load_tokenizer(folder, training.dtype)
    # the codes' rows are the tokenizer's, whatever the decoder began with
    pixels.codebook = tokenizer.quantize.embedding.weight.detach().clone()
    load_trunk(pixels.decoder, Path(folder))
    return pixels, tokenizer


def _export(settings: Settings, result: RunResult, folder: Path) -> None:
    training = settings.pixel_training
    pixels, _ = _untrained(training, tokenizer_folder(settings))
    model = denoiser_of(pixels)
    load_parameters(result.checkpoint, dict(model.named_parameters()))
    if model.uncond is not None:
        pixels.uncond = model.uncond.detach()
    with whole_folder(folder) as unfinished:
        save_pixel_decoder(pixels, unfinished)
        last = read_metrics(Path(result.run_folder))[-1]
        metrics = {"seed": settings.seed, "settings": computed(training), **last}
        (unfinished / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


PIXEL_DECODER = TrainingRecipe(
    group="pixel_training",
    compared=("pixel_training",),
    inputs=_inputs,
    check=_check,
    train=_train_worker,
    export=_export,
    result=PixelResult,
)
