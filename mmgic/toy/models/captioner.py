"""The toy world's BLIP-2: a real `Blip2ForConditionalGeneration`, small, whose image encoder is the toy CLIP's.

As BLIP-2 does, the image encoder stays frozen while the Q-Former learns to read it. The OPT behind it is learned along
with the Q-Former, for there is none to start from.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    OPTConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from mmgic.evaluation.scorers.cider import score_captions
from mmgic.presets import TOY_WEIGHTS
from mmgic.schema import record_generator
from mmgic.settings.fields import Group, number
from mmgic.toy.models.making import StepPrinter
from mmgic.toy.models.pairs import crop
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import Split, make_scene
from mmgic.toy.world.text import captions, sentence
from mmgic.vision.folders import load_config, read_weights
from mmgic.vision.preprocess import normalise, squash

CLIP = TOY_WEIGHTS / "clip"  # whose image encoder it has
USUAL_WORDING = 0.4  # how often a picture is told in the wording that the references begin with
_IGNORED = -100


@dataclass(frozen=True)
class CaptionerRun(Group):
    """What is trained and how; the defaults are the packaged model's."""

    seed: int = number(100, 0)  # of the world; another one than the presets'
    scenes: int = number(5000, 0)
    vocabulary: int = number(448, 0)
    queries: int = number(12, 0)
    qformer_layers: int = number(2, 0)
    language_layers: int = number(3, 0)
    hidden: int = number(128, 0)
    mlp_hidden: int = number(384, 0)
    positions: int = number(96, 0)
    steps: int = number(1000, 1)
    batch: int = number(64, 0)
    learning_rate: float = number(2.5e-3, 0)


def make_blip2(run: CaptionerRun, output: Path) -> dict[str, object]:
    """Leaves a Hugging Face BLIP-2 folder with its processor; the score is the CIDEr of greedy captions."""
    size = load_config(CLIP).image_size
    pictures = captioned_pictures(run.seed, "train", run.scenes, size, crops=True)
    processor = make_processor(run, [text for wordings in pictures.captions for text in wordings], size)
    model = make_captioner(run, processor, CLIP)
    progress = StepPrinter(50, run.steps, "loss")
    train_captioner(run, model, processor.tokenizer, pictures, progress)
    save_half(model, processor, output)
    unseen = captioned_pictures(run.seed, "eval", 300, size, crops=False)
    return {
        "parameters": model.num_parameters(),
        **progress.means(),
        "greedy_cider_on_unseen_scenes": greedy_cider(output, unseen),
    }


@dataclass(frozen=True)
class Captioned:
    """Pictures with the captions that are true of each, the usual wording first."""

    pixels: Tensor  # uint8 [N, 3, S, S]
    captions: Sequence[Sequence[str]]


def captioned_pictures(seed: int, split: Split, scenes: int, size: int, crops: bool) -> Captioned:
    """Scenes in five wordings each and, with `crops`, the surroundings of one thing of each scene in one wording."""
    pixels: list[Tensor] = []
    said: list[list[str]] = []
    for index in range(scenes):
        scene = make_scene(seed, split, index)
        image = render(scene)
        rng = record_generator(seed, "toy captions", split, str(index))
        pixels.append(squash(image, size))
        said.append(captions(scene, rng, 5))
        if crops:
            boxes = torch.tensor([thing.box for thing in scene.things], dtype=torch.float64).numpy()
            boxes = boxes / ([scene.width, scene.height] * 2)
            picture = crop(scene, image, boxes, int(rng.integers(len(boxes))), size)
            pixels.append(picture.pixels)
            said.append([sentence(picture.caption)])
    return Captioned(torch.stack(pixels), said)


def train_caption_tokenizer(texts: Sequence[str], vocabulary: int, **special: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE. `special` names the tokens by role (bos_token, eos_token, pad_token); ids follow this order."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(dict.fromkeys(special.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, clean_up_tokenization_spaces=False, **special)


def make_processor(run: CaptionerRun, texts: Sequence[str], size: int) -> Blip2Processor:
    """The image processor and OPT's kind of tokenizer: `</s>` begins a text and ends it."""
    tokenizer = train_caption_tokenizer(texts, run.vocabulary, pad_token="<pad>", bos_token="</s>", eos_token="</s>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", tokenizer.bos_token_id)]
    )
    image_processor = BlipImageProcessor(size={"height": size, "width": size})
    return Blip2Processor(image_processor, tokenizer, num_query_tokens=run.queries)


def make_captioner(run: CaptionerRun, processor: Blip2Processor, clip: Path) -> Blip2ForConditionalGeneration:
    """An untrained BLIP-2 around the frozen image encoder of the toy CLIP folder `clip`."""
    vision, tokenizer = load_config(clip), processor.tokenizer
    shared = {"hidden_size": run.hidden, "initializer_range": 0.06}  # about 1/sqrt(hidden)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=vision.width,
            intermediate_size=vision.mlp_hidden,
            num_hidden_layers=vision.depth,
            num_attention_heads=vision.num_heads,
            image_size=vision.image_size,
            patch_size=vision.patch_size,
        ),
        qformer_config=Blip2QFormerConfig(
            vocab_size=1,  # it reads no text
            num_hidden_layers=run.qformer_layers,
            num_attention_heads=4,
            intermediate_size=run.mlp_hidden,
            cross_attention_frequency=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            **shared,
        ),
        text_config=OPTConfig(
            vocab_size=len(tokenizer),
            num_hidden_layers=run.language_layers,
            num_attention_heads=4,
            ffn_dim=run.mlp_hidden,
            word_embed_proj_dim=run.hidden,
            max_position_embeddings=run.positions,
            dropout=0.0,
            init_std=0.06,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **shared,
        ),
        num_query_tokens=run.queries,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(run.seed)
    model = Blip2ForConditionalGeneration(config)
    nn.init.normal_(model.query_tokens)  # equal queries would stay equal
    model.vision_model.load_state_dict(blip2_vision_weights(read_weights(clip / "model.safetensors")))
    model.vision_model.requires_grad_(False)
    return model


def blip2_vision_weights(eva: dict[str, Tensor]) -> dict[str, Tensor]:
    """EVA-CLIP's image encoder and final norm under the names of `Blip2VisionModel`."""
    renamed = {
        "embeddings.class_embedding": eva["cls_token"],
        "embeddings.position_embedding": eva["pos_embed"],
        "embeddings.patch_embedding.weight": eva["patch_embed.proj.weight"],
        "embeddings.patch_embedding.bias": eva["patch_embed.proj.bias"],
        "post_layernorm.weight": eva["norm.weight"],
        "post_layernorm.bias": eva["norm.bias"],
    }
    parts = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.projection"}
    for block in range(sum(name.endswith("attn.q_bias") for name in eva)):
        old, new = f"blocks.{block}", f"encoder.layers.{block}"
        query_bias, value_bias = eva[f"{old}.attn.q_bias"], eva[f"{old}.attn.v_bias"]
        renamed[f"{new}.self_attn.qkv.weight"] = eva[f"{old}.attn.qkv.weight"]
        renamed[f"{new}.self_attn.qkv.bias"] = torch.cat((query_bias, torch.zeros_like(query_bias), value_bias))
        for part, kind in itertools.product((*parts, "mlp.fc1", "mlp.fc2"), ("weight", "bias")):
            renamed[f"{new}.{parts.get(part, part)}.{kind}"] = eva[f"{old}.{part}.{kind}"]
    return renamed


@torch.inference_mode()
def encode_pictures(model: Blip2ForConditionalGeneration, pixels: Tensor) -> Tensor:
    """What the frozen image encoder makes of uint8 [N, 3, S, S]: float16 [N, 1 + patches, width]."""
    encoded = []
    for some in pixels.split(128):
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.vision_model(normalise(some)).last_hidden_state
        encoded.append(hidden.half())
    return torch.cat(encoded)


def caption_loss(model: Blip2ForConditionalGeneration, encoded: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of captions [B, T] given encoded pictures [B, 1 + patches, width]; labels of -100 do not count."""
    queries = model.query_tokens.expand(len(encoded), -1, -1)
    read = model.qformer(query_embeds=queries, encoder_hidden_states=encoded).last_hidden_state
    inputs = torch.cat((model.language_projection(read), model.get_input_embeddings()(ids)), dim=1)
    # padding stands at the end, where causal attention never looks
    logits = model.language_model(inputs_embeds=inputs).logits[:, queries.shape[1] : -1]
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_IGNORED)


def train_captioner(
    run: CaptionerRun,
    model: Blip2ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pictures: Captioned,
    report: Callable[[int, float], None],
) -> None:
    """AdamW with warm-up and cosine on everything but the image encoder; `report` gets (step, loss)."""
    encoded = encode_pictures(model, pictures.pixels)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, run.learning_rate, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.learning_rate, total_steps=run.steps, pct_start=0.06)
    for step, (chosen, ids, labels) in enumerate(_steps(run, tokenizer, pictures)):
        with torch.autocast("cpu", torch.bfloat16):
            loss = caption_loss(model, encoded[chosen].float(), ids, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        report(step + 1, loss.item())
    model.eval()


def _steps(
    run: CaptionerRun, tokenizer: PreTrainedTokenizerFast, pictures: Captioned
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each step: which pictures, and a caption of each as ids and as labels, int64 [batch, longest]."""
    encoded = [
        [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in wordings] for wordings in pictures.captions
    ]
    rng = record_generator(run.seed, "toy captioner", "", "")
    for _ in range(run.steps):
        chosen = torch.from_numpy(rng.integers(len(encoded), size=run.batch))
        rows = []
        for wordings in (encoded[i] for i in chosen):
            usual = len(wordings) == 1 or rng.random() < USUAL_WORDING
            rows.append(torch.tensor(wordings[0 if usual else int(rng.integers(1, len(wordings)))]))
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
        yield chosen, ids, nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_IGNORED)


def save_half(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """An ordinary Hugging Face folder; the weights are stored as float16, which halves what a checkout holds."""
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)


@torch.inference_mode()
def greedy_cider(folder: Path, pictures: Captioned) -> float:
    """CIDEr of the most likely captions of a saved model."""
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    processor = Blip2Processor.from_pretrained(folder, local_files_only=True)
    said: list[str] = []
    for pixels in pictures.pixels.split(50):
        ids = model.generate(normalise(pixels), max_new_tokens=48, do_sample=False)
        said += [text.strip() for text in processor.tokenizer.batch_decode(ids, skip_special_tokens=True)]
    print("\n".join(said[:5]), flush=True)
    return round(score_captions(said, pictures.captions).cider, 3)
