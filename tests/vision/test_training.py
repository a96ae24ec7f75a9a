import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmgic.vision import VisionConfig, VisualTokenizer
from mmgic.vision.clip import Clip, Pairs, contrastive_loss, patch_shares, train_clip
from mmgic.vision.preprocess import normalise
from mmgic.vision.probe import bag_of_codes, linear_probe, micro_f1
from mmgic.vision.selector import choose, gumbel_noise
from mmgic.vision.training import (
    CodebookAverages,
    TokenizerTrainer,
    TokenizerTraining,
    sample_policy,
    spherical_kmeans,
    start_weights,
)

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
    model = Clip(TINY, ["a", "and", "blue", "green", "red", "thing"], dim=16)
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
    assert averages.revive(vectors, torch.Generator().manual_seed(0)) == 0


def test_training_samples_as_inference_does_and_the_selector_gets_a_gradient():
    log_probs = torch.randn(3, 16, 2).log_softmax(dim=-1).requires_grad_()
    policy = sample_policy(log_probs, torch.Generator().manual_seed(3))
    noise = gumbel_noise((3, 16, 2), torch.Generator().manual_seed(3), torch.device("cpu"))
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


def test_tokenizer_training_fills_the_codebook_and_rebuilds_the_features():
    """Pictures whose halves are of twelve kinds; the kinds must survive the codes."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(12, 16, generator=generator)
    features = kinds[torch.randint(12, (300, 2), generator=generator)].repeat_interleave(8, dim=1)
    features += 0.05 * torch.randn(features.shape, generator=generator)
    settings = TokenizerTraining(continuous_steps=200, quantized_steps=100, batch_size=16, learning_rate=3e-3)
    trainer = TokenizerTrainer(VisualTokenizer(TINY), nn.Identity(), features, settings, seed=0)
    seen = []
    trainer.train(lambda stage, step, figures: seen.append((stage, figures["cosine"], figures.get("kept"))))
    continuous = [figure for figure in seen if figure[0] == "continuous"]
    assert sum(kept for _, _, kept in continuous[-20:]) / 20 == pytest.approx(1 / 3, abs=0.12)
    assert seen[-1][1] > 0.5
    rows = trainer.model.quantize.embedding.weight
    assert torch.allclose(rows.norm(dim=1), torch.ones(12), atol=1e-5)
    cosine, codes = trainer.evaluate(features, generator)
    assert cosine > 0.5
    assert len(codes) == 300
    assert len(torch.cat(codes).unique()) > 6


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
