"""The processor of an exported model: images to tokens and back, in the form of Transformers' processors.

Importing this module lets `AutoProcessor.from_pretrained` find it; nothing of a model's folder is run as code. The
folder holds the visual tokenizer and, if the run named one, the pixel decoder. Both are loaded when first used.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from huggingface_hub import snapshot_download
from PIL import Image
from transformers import AutoProcessor, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_processing_base import ImageProcessingMixin
from transformers.image_utils import make_flat_list_of_images
from transformers.utils import PROCESSOR_NAME

from mmgic.documents.prompts import CAPTION_PREFIXES, drawing_prompt, line_stop_ids
from mmgic.errors import InputError
from mmgic.exported.chat_template import system_prompt_of
from mmgic.files import read_mapping
from mmgic.images import to_rgb
from mmgic.model.visual_tokens import IMAGE_PLACE, image_text, text_tokens
from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import CORPORA, Corpus
from mmgic.settings import VisionSettings

if TYPE_CHECKING:
    from mmgic.vision import VisualTokenizer
    from mmgic.vision.network.selector import Selection
    from mmgic.vision.pixels.pixel_decoder import PixelDecoder

VISUAL_TOKENIZER, PIXELS = "visual_tokenizer", "pixels"  # in an exported folder


def write_processor(
    tokenizer: PreTrainedTokenizerBase, chat_template: str, form: Corpus, vision: VisionSettings, folder: Path
) -> None:
    """Writes what `MMGICProcessor.from_pretrained` reads; `tokenizer` knows the visual tokens.

    `form` is the corpus in whose documents the model is asked for captions and pictures.
    """
    tokenizer.chat_template = chat_template
    MMGICProcessor(tokenizer, vision.selection, chat_template, form).save_pretrained(folder)
    _write_visual_tokenizer(vision.checkpoint, folder / VISUAL_TOKENIZER)
    if vision.pixels:
        shutil.copytree(vision.pixels, folder / PIXELS)


def _write_visual_tokenizer(source: str, folder: Path) -> None:
    """The tokenizer of `source` in safetensors."""
    from mmgic.vision.folders import load_tokenizer, save_tokenizer, tokenizer_files

    files = tokenizer_files(source)
    if any(file.suffix == ".bin" for file in files):
        save_tokenizer(load_tokenizer(source), folder)
        return
    folder.mkdir()
    for file in files:
        shutil.copyfile(file, folder / file.name)


class ImageCoder(ImageProcessingMixin):
    """Images to visual codes. The patch selection's noise belongs to an image's pixels: same image, same codes."""

    def __init__(self, folder: Path, selection: Selection) -> None:
        super().__init__()
        self.folder, self.selection = folder, selection

    def __call__(self, images: Any, device: str = "cpu", **_: Any) -> dict[str, list[list[int]]]:
        """The codes of each image, of one or of lists of images as Transformers takes them."""
        from mmgic.vision.reconstruct import tokenize_image

        tokenizer = _visual_tokenizer(self.folder, str(device))
        codes = []
        for image in map(_picture, make_flat_list_of_images(images)):
            name = hashlib.blake2b(image.tobytes()).hexdigest()
            codes.append(tokenize_image(image, tokenizer, selection=self.selection, name=name).codes)
        return {"codes": codes}


class MMGICProcessor(ProcessorMixin):
    """Text with images to the tokens that an exported model reads, and its tokens to text and pictures.

    In a text `image_token` is where an image stands; chat templates write it. `device` is an option of every call that
    reads images.
    """

    image_token = IMAGE_PLACE

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        selection: Selection = "gumbel",
        chat_template: str | None = None,
        form: Corpus = "mmgic",
    ) -> None:
        super().__init__(tokenizer, chat_template=chat_template)
        self.selection = selection
        self.form = form

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> MMGICProcessor:  # type: ignore[override]
        """The processor of a local folder, or of the Hub, from which only its own files are fetched."""
        processor: MMGICProcessor = super().from_pretrained(folder, **options)
        if not Path(folder).is_dir():
            parts = [f"{VISUAL_TOKENIZER}/*", f"{PIXELS}/*"]
            folder = snapshot_download(str(folder), revision=options.get("revision"), allow_patterns=parts)
        processor.folder = Path(folder)
        processor.image_processor = ImageCoder(processor.folder / VISUAL_TOKENIZER, processor.selection)
        return processor

    def save_pretrained(self, folder: str | Path, *arguments: Any, **options: Any) -> Any:
        """Also copies the visual tokenizer and the pixel decoder, if this processor was read from a folder."""
        files = super().save_pretrained(folder, *arguments, **options)
        for part in (VISUAL_TOKENIZER, PIXELS):
            if hasattr(self, "folder") and (self.folder / part).is_dir():
                shutil.copytree(self.folder / part, Path(folder) / part, dirs_exist_ok=True)
        return files

    @functools.cached_property
    def vocabulary(self) -> VLVocabulary:
        first = text_tokens(self.tokenizer)
        return VLVocabulary(first, len(self.tokenizer) - first - 2)

    def validate_inputs(self, images: Any = None, text: Any = None, **options: Any) -> None:
        """Raises InputError if there are not as many images as places for them."""
        super().validate_inputs(images=images, text=text, **options)
        places = sum(part.count(self.image_token) for part in text or ())
        given = 0 if images is None else len(make_flat_list_of_images(images))
        if text is not None and places != given:
            raise InputError(f"the text has {places} places for images ({self.image_token}), but {given} are given")

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        return image_text(image_inputs["codes"][image_idx])

    @property
    def unused_input_names(self) -> list[str]:
        return ["codes"]

    @property
    def caption_prompt(self) -> str:
        """A document of an image up to where its caption begins, in the form that the model was trained on; it holds
        its own start token."""
        if self.form == "sft":
            asked = [{"role": "user", "content": [{"type": "image"}]}]
            return str(self.apply_chat_template(asked, task="image_caption"))
        parts = (part if isinstance(part, str) else self.image_token for part in CAPTION_PREFIXES[self.form])
        return "".join([self.tokenizer.bos_token or "", *parts])

    @property
    def line_ends(self) -> list[int]:
        """The token ids that end a caption or another answer of one line."""
        return line_stop_ids(self.tokenizer)

    def decode_images(self, ids: Sequence[int], pixels: str | None = None, **options: Any) -> list[Image.Image]:
        """The pictures that the images within token `ids` stand for; `options` are those of `PixelDecoder.detokenize`.

        `pixels` is a pixel decoder's folder; without it the model's own is taken. Raises InputError if there is none.
        """
        vocabulary = self.vocabulary
        images: list[list[int]] = []
        for token in map(int, ids):
            if token == vocabulary.img:
                images.append([])
            elif token >= vocabulary.first_code and images:
                images[-1].append(vocabulary.id_to_code(token))
        decoder = self._pixel_decoder(pixels, "cpu")
        return decoder.detokenize([codes for codes in images if codes], **options)

    def draw(
        self, model: PreTrainedModel, caption: str, *, pixels: str | None = None, seed: int = 0, **options: Any
    ) -> Image.Image:
        """The picture that `model` draws for a caption; `options` are those of `draw_image`, `pixels` as above."""
        from mmgic.generation.drawing import draw_image, start_ids

        decoder = self._pixel_decoder(pixels, str(model.device))
        start = start_ids(model.config, self.vocabulary, self.tokenizer.bos_token_id)
        before = drawing_prompt(self.tokenizer, caption, self.form, system_prompt_of(self.chat_template or ""))
        prompt = [*start, *before]
        return draw_image(model, self.vocabulary, decoder, prompt, seed=seed, **options)

    def _pixel_decoder(self, pixels: str | None, device: str) -> PixelDecoder:
        folder = Path(pixels) if pixels else self.folder / PIXELS
        if not folder.is_dir():
            raise InputError(f"{folder} holds no pixel decoder; give one for these codes as pixels=FOLDER")
        return _load_pixels(folder, device)


def read_form(folder: str | Path) -> Corpus:
    """The corpus in whose documents the exported model of `folder` is asked; MMGIC's if the folder does not say it."""
    path = str(Path(folder) / PROCESSOR_NAME)
    found = (read_mapping(path, "export the model again") or {}).get("form", "mmgic")
    if found not in CORPORA:
        raise InputError(f"{path} has the form {found!r}; it is one of {', '.join(CORPORA)}: export the model again")
    return cast(Corpus, found)


@functools.lru_cache(maxsize=2)
def _visual_tokenizer(folder: Path, device: str) -> VisualTokenizer:
    from mmgic.vision.folders import load_tokenizer

    if not folder.is_dir():
        raise InputError(f"{folder.parent} holds no {folder.name}, which reads images; export the model again")
    return load_tokenizer(folder).to(device)


@functools.lru_cache(maxsize=2)
def _load_pixels(folder: Path, device: str) -> PixelDecoder:
    from mmgic.vision.pixels.pixel_decoder import load_pixel_decoder

    return load_pixel_decoder(folder, device)


def _picture(image: Any) -> Image.Image:
    return to_rgb(image if isinstance(image, Image.Image) else Image.fromarray(image))


AutoProcessor.register("mmgic", MMGICProcessor)  # a key that no model's configuration is: others keep their processors
