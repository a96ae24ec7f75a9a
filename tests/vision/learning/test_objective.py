import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from mmgic.errors import InputError
from mmgic.settings import SettingsError, TokenizerTraining
from mmgic.toy.models.clip import Pairs, ToyClip, contrastive_loss, patch_shares, train_clip
from mmgic.vision import VisionConfig, VisualTokenizer
from mmgic.vision.learning.codebook import CodebookAverages, spherical_kmeans
from mmgic.vision.learning.features import CachedFeatures, EncodedImages, cache_features
from mmgic.vision.learning.learner import Learner, train
from mmgic.vision.learning.objective import (
    Objective,
    make_feature_decoder,
    sample_policy,
    start_weights,
)
from mmgic.vision.learning.probe import bag_of_codes, linear_probe, micro_f1
from mmgic.vision.network.selector import choose, gumbel_noise
from mmgic.vision.preprocess import normalise

TINY = VisionConfig(
    image_size=16,
    patch_size=4,
    width=16,
    depth=1,
    num_heads=2,
    mlp_hidden=16,
    merger_depth=1,
    merger_heads=2,
    codebook_size=12,
    codebook_dim=4,
)


def test_patch_shares_of_boxes_worked_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.5, 0.25], [0.6, 0.1, 0.1, 0.1]])
    whole, across, within = patch_shares(boxes, 2)
    assert torch.allclose(whole, torch.full((4,), 0.25))
    assert torch.allclose(across, torch.tensor([0.0, 0.0, 0.5, 0.5]))
    assert torch.allclose(within, torch.tensor([0.0, 1.0, 0.0, 0.0]))


def test_contrastive_loss_is_clips_where_no_text_repeats():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([2, 0, 3, 1])
    square = logits[:, target]
    both = (F.cross_entropy(square, torch.arange(4)) + F.cross_entropy(square.T, torch.arange(4))) / 2
    assert contrastive_loss(logits, target).item() == pytest.approx(both.item(), rel=1e-5)


def test_clip_learns_which_colour_a_part_has():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    pixels = torch.zeros(60, 3, 16, 16, dtype=torch.uint8)
    halves = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 0.5, 1.0]])
    phrases = []
    for picture in pixels:
        for half in range(2):
            name = list(colours)[int(torch.randint(3, (1,), generator=generator))]
            picture[:, :, half * 8 : half * 8 + 8] = torch.tensor(colours[name], dtype=torch.uint8)[:, None, None]
            phrases.append(f"a {name} thing")
    captions = [f"{a} and {b}" for a, b in zip(phrases[::2], phrases[1::2], strict=True)]
    pairs = Pairs(pixels, captions, halves.repeat(60, 1), phrases, torch.arange(60).repeat_interleave(2))
    model = ToyClip(TINY, ["a", "and", "blue", "green", "red", "thing"], dim=16)
    losses = []
    train_clip(model, pairs, steps=40, batch=8, lr=5e-3, seed=0, report=lambda _, loss: losses.append(loss))
    assert losses[-1] < losses[0]
    options = [f"a {name} thing" for name in colours]
    with torch.no_grad():
        parts, _ = model.box_embeddings(model.image_embeddings(normalise(pixels)), pairs.boxes, pairs.owners)
        found = (parts @ model.text_embeddings(options).T).argmax(dim=1)
    right = [options[i] == phrase for i, phrase in zip(found.tolist(), phrases, strict=True)]
    assert sum(right) / len(right) > 0.9


def test_kmeans_finds_separate_directions():
    generator = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.eye(5).repeat(40, 1) + 0.05 * torch.randn(200, 5, generator=generator), dim=1)
    centres = spherical_kmeans(vectors, 5, 10, generator)
    assert torch.allclose(centres.norm(dim=1), torch.ones(5))
    # not every start separates all five; no centre may be empty or lie between everything
    assert (vectors @ centres.T).argmax(dim=1).unique().numel() == 5


def test_averages_follow_their_vectors_and_dead_rows_move():
    model = VisualTokenizer(TINY)
    averages = CodebookAverages(model.quantize, decay=0.5)
    vectors = F.normalize(torch.ones(30, 4), dim=1)
    untouched = model.quantize.embedding.weight[4:].clone()
    for _ in range(20):
        averages.update(vectors, torch.arange(30) % 4)
    rows = model.quantize.embedding.weight
    assert torch.allclose(rows[:4], vectors[:4], atol=1e-3)
    assert torch.allclose(rows[4:], untouched, atol=1e-6)
    assert averages.revive(vectors, torch.Generator().manual_seed(0)) == 8
    assert torch.allclose(rows, vectors[:12], atol=1e-3)
    # a revived row counts as much as its sum says: its mean vector has length one
    assert torch.allclose(averages.sums[4:].norm(dim=1), averages.counts[4:])
    assert averages.revive(vectors, torch.Generator().manual_seed(0)) == 0


def test_training_samples_as_inference_does_and_the_selector_gets_a_gradient():
    log_probs = torch.randn(3, 16, 2).log_softmax(dim=-1).requires_grad_()
    noise = gumbel_noise((3, 16, 2), torch.Generator().manual_seed(3), torch.device("cpu"))
    policy = sample_policy(log_probs, noise)
    assert torch.equal(policy.bool(), choose(log_probs, noise))
    assert ((policy == 0) | (policy == 1)).all()
    policy.sum().backward()
    assert (log_probs.grad[..., 0] > 0).all()


def test_training_starts_with_a_merger_that_passes_features_and_a_selector_that_keeps_its_share():
    model = VisualTokenizer(TINY)
    start_weights(model, keep_ratio=0.25)
    features = torch.randn(2, 16, 16)
    assert model.token_predictor(features).exp()[..., 0].mean().item() == pytest.approx(0.25, abs=0.1)
    merged = model.causal_encoder(features, torch.ones(2, 16))
    assert torch.allclose(merged, F.layer_norm(features, (16,), eps=1e-5), atol=1e-6)


class InMemory:
    """Features at hand."""

    def __init__(self, features):
        self.features = features

    def __len__(self):
        return len(self.features)

    def load(self, indices):
        return self.features[torch.tensor(indices)]

    def encode(self, loaded):
        return loaded


QUICK = TokenizerTraining(
    continuous_steps=120,
    quantized_steps=100,
    batch_size=16,
    learning_rate=5e-3,
    decoder_depth=1,
    dtype="float32",
    checkpoint_every=10_000,
)


def of_kinds(count=300, copies=8):
    """Pictures whose halves are of twelve kinds; the kinds must survive the codes."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(12, 16, generator=generator)
    features = kinds[torch.randint(12, (count, 2), generator=generator)].repeat_interleave(copies, dim=1)
    return features + 0.05 * torch.randn(features.shape, generator=generator)


def make_learner(settings, features):
    torch.manual_seed(0)
    model, head = VisualTokenizer(TINY), nn.Identity()
    start_weights(model, settings.keep_ratio)
    objective = Objective(model, head, make_feature_decoder(TINY, settings, 16), settings)
    return Learner(objective, InMemory(features), seed=0, device=torch.device("cpu"))


@pytest.mark.parametrize(("decoder", "target", "after"), [("places", "head", 60), ("lavit", "features", 0)])
def test_tokenizer_training_fills_the_codebook_and_rebuilds_the_features(decoder, target, after):
    learner = make_learner(replace(QUICK, decoder=decoder, target=target, decoder_steps=after), of_kinds())
    learner.standardise()
    before = learner.evaluate(InMemory(of_kinds(40)))
    seen = []
    train(learner, 0, seen.append, lambda step: False, lambda step: None)
    continuous = [figures for figures in seen if figures.stage == "continuous"]
    assert len(continuous) == QUICK.continuous_steps
    assert sum(f.tokens_per_image for f in continuous[-20:]) / 20 == pytest.approx(16 / 3, abs=2)
    quantized = [figures for figures in seen if figures.stage == "quantized"]
    assert quantized[-1].cosine > seen[0].cosine + 0.3
    assert seen[-1].codes_used > 0.7
    rows = learner.objective.quantizer.embedding.weight
    assert torch.allclose(rows.norm(dim=1), torch.ones(12), atol=1e-5)
    figures = learner.evaluate(InMemory(of_kinds(40)))
    assert figures["cosine"] > max(0.4, before["cosine"] + 0.3)
    assert figures["images"] == 40
    assert figures["codes_used"] > 0.5
    if after:
        assert [f.stage for f in seen[-after:]] == ["decoder"] * after
        assert figures["cosine_of_lavit_decoder"] > before["cosine_of_lavit_decoder"] + 0.2


@pytest.mark.parametrize("stop", [3, 4, 5, 6, 9, 11])
def test_going_on_from_a_checkpoint_makes_the_same_steps(stop):
    settings = replace(
        QUICK,
        continuous_steps=4,
        quantized_steps=5,
        decoder_steps=3,
        decoder="places",
        revive_every=2,
        checkpoint_every=1,
    )
    whole, rest, kept = [], [], {}

    def keep(step):
        if step == stop:
            kept["parameters"] = {name: tensor.detach().clone() for name, tensor in first.parameters().items()}
            kept["moments"] = {name: tensor.clone() for name, tensor in first.moments().items()}

    first = make_learner(settings, of_kinds())
    first.standardise()
    train(first, 0, whole.append, lambda step: True, keep)

    second = make_learner(settings, of_kinds())
    second.enter(settings.stage(stop - 1)[0])
    with torch.no_grad():
        for name, tensor in second.parameters().items():
            tensor.copy_(kept["parameters"][name])
    second.resume(stop, kept["moments"])
    train(second, stop, rest.append, lambda step: False, lambda step: None)
    assert rest == whole[stop:]
    for name, tensor in second.parameters().items():
        assert torch.equal(tensor, first.parameters()[name]), name


def test_the_selector_learns_in_the_first_stage_alone():
    learner = make_learner(QUICK, of_kinds())
    before = [p.clone() for p in learner.objective.selector.parameters()]
    learner.step(0, learner.data.load(learner.indices(0)))
    moved = [p.clone() for p in learner.objective.selector.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(before, moved, strict=True))
    learner.step(QUICK.continuous_steps, learner.data.load(learner.indices(1)))
    assert all(torch.equal(a, b) for a, b in zip(moved, learner.objective.selector.parameters(), strict=True))


def test_the_share_that_is_kept_returns_to_its_target():
    """The term's gradient is that of the square: it pushes down where too much is kept, and up where too little."""
    for bias, sign in ((3.0, 1), (-3.0, -1)):
        learner = make_learner(replace(QUICK, keep_weight=1e6), of_kinds())
        last = learner.objective.selector.get_parameter("out_conv.4.bias")
        with torch.no_grad():
            last.copy_(torch.tensor([bias, -bias]))
        noise = gumbel_noise((8, 16, 2), torch.Generator().manual_seed(0), torch.device("cpu"))
        learner.objective(of_kinds(8), noise, "continuous").loss.backward()
        assert last.grad[0].sign().item() == sign


def test_probe_reads_what_codes_say():
    generator = torch.Generator().manual_seed(0)
    codes = [torch.randint(8, (5,), generator=generator) for _ in range(400)]
    labels = torch.stack([torch.tensor([3 in c, 5 in c or 6 in c]) for c in codes])
    answers = linear_probe(bag_of_codes(codes, 8), labels, tested=100)
    assert micro_f1(answers, labels[-100:]) > 0.98


def test_micro_f1_worked_by_hand():
    answers = torch.tensor([[True, False], [True, True]])
    labels = torch.tensor([[True, True], [False, True]])
    assert micro_f1(answers, labels) == pytest.approx(2 * 2 / (3 + 3))


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup_steps": 0},
        {"revive_every": 0},
        {"checkpoint_every": 0},
        {"keep_checkpoints": 0},
        {"keep_ratio": 0.0},
        {"keep_ratio": 1.0},
        {"keep_ratio": -0.1},
        {"learning_rate": -1e-3},
        {"continuous_steps": -1},
        {"decoder_depth": 0},
        {"codebook_decay": float("nan")},
    ],
)
def test_settings_that_would_fail_later_are_refused_at_once(changes):
    with pytest.raises(SettingsError, match=f"{next(iter(changes))}'? is .* must"):
        TokenizerTraining(**changes)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_fill_one_cache_of_features(tmp_path, workers):
    """Each waits for the file that the first one makes, whoever comes first."""
    torch.manual_seed(0)
    encoder = VisualTokenizer(TINY).encoder
    names = []
    for i in range(200):
        names.append(str(tmp_path / f"{i}.png"))
        Image.new("RGB", (4, 4), (i, 255 - i, 7)).save(names[-1])
    images = EncodedImages(names, encoder, 16, False, threads=1)
    barrier = threading.Barrier(workers, timeout=60).wait
    path = tmp_path / "cache" / "features.npy"
    with ThreadPoolExecutor(workers) as pool:
        tasks = [pool.submit(cache_features, images, path, rank, workers, barrier) for rank in reversed(range(workers))]
        for task in tasks:
            task.result()
    cached = CachedFeatures(path, slice(None), torch.device("cpu"))
    expected = images.encode(images.load(range(200)))
    assert torch.allclose(cached.encode(cached.load(range(200))), expected, atol=2e-3)


def test_features_beyond_half_precision_are_not_cached(tmp_path):
    encoder = VisualTokenizer(TINY).encoder
    with torch.no_grad():
        encoder.pos_embed[0, 5] = 1e6
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match="beyond float16"):
        cache_features(EncodedImages([str(tmp_path / "0.png")], encoder, 16, False), tmp_path / "features.npy")
