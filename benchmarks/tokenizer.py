"""Speed of the visual tokenizer, beside a plain eager implementation of the same equations in the same run.

    python benchmarks/tokenizer.py                              # ViT-g/14, a few images on one CPU core; 6 GB of memory
    python benchmarks/tokenizer.py --size toy
    python benchmarks/tokenizer.py --device cuda --batch 64 --compile

Weights are random. Images/s count normalised pixels in, codes out. The share of the peak is that of the fastest large
matrix product of the same type on the same device, measured first; operations are those that ours does (the last
merger block on kept rows alone). Plain: attention with all weights in memory, every position through every block, a
one-hot of the codebook per token. On a CPU, seconds are those of the process, so that neighbours do not count.
"""

from __future__ import annotations

import argparse
import copy
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from alternating import ROUNDS, THREADS, Way, print_rates, rates

# isort: split
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgic.presets import TOY_WEIGHTS
from mmgic.vision import VisionConfig, VisualTokenizer
from mmgic.vision.folders import load_config
from mmgic.vision.network.attention import plain_attention
from mmgic.vision.network.selector import choose, gumbel_noise


@dataclass(frozen=True)
class Clock:
    device: torch.device
    repeats: int

    def best(self, work: Callable[[], object]) -> float:
        """Seconds of `work`, the best of the repeats after one to warm up."""
        work()
        return min(self.once(work) for _ in range(self.repeats))

    def once(self, work: Callable[[], object]) -> float:
        started = self.now()
        work()
        return self.now() - started

    def now(self) -> float:
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def matmul_peak(dtype: torch.dtype, clock: Clock) -> float:
    """Operations per second of the best of some large square products."""
    best = 0.0
    for size in (1024, 2048) if clock.device.type == "cpu" else (4096, 8192, 16384):
        a, b = (torch.randn(size, size, device=clock.device).to(dtype) for _ in range(2))
        best = max(best, 2 * size**3 / clock.best(lambda a=a, b=b: a @ b))  # type: ignore[misc]
    return best


def random_tokenizer(config: VisionConfig, dtype: torch.dtype, device: torch.device) -> VisualTokenizer:
    """Random weights straight in the type and on the device that they stay on."""
    with torch.device("meta"):
        model = VisualTokenizer(config).cast_trunk(dtype)
    model = model.to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm):
                parameter.fill_(float(name == "weight"))
            else:
                parameter.normal_(std=0.02, generator=generator)
    # a third of the patches is kept, as after training
    last = model.token_predictor.get_parameter("out_conv.4.bias")
    last.copy_(torch.tensor([1 / 3, 2 / 3]).log())
    return model


def operations(config: VisionConfig, kept: float) -> float:
    """Multiplications and additions of one image of which `kept` patches are kept."""
    d, m, n = config.width, config.mlp_hidden, config.patches
    seen = n + 1
    encoder = config.depth * (2 * seen * (4 * d * d + 2 * d * m) + 4 * seen * seen * d) + 2 * n * d * 3 * (
        config.patch_size**2
    )
    selector = 2 * n * (d * d + d * d // 2 + d * d // 8 + d // 2)
    on_all = 2 * n * 5 * d * d + 2 * 4 * n * n * d + 2 * 2 * n * n * d  # q, k, v twice less one q; attention; maxima
    on_rows = 2 * (3 * d * d + 2 * d * m)
    merger = config.merger_depth * on_all + on_rows * ((config.merger_depth - 1) * n + kept)
    quantizer = 2 * kept * (d * d + d * config.codebook_dim + config.codebook_dim * config.codebook_size)
    return encoder + selector + merger + quantizer


def plain_encode(model: VisualTokenizer, pixels: Tensor, noise: Tensor) -> list[Tensor]:
    """`VisualTokenizer.encode` as one would write it down."""
    half = model.trunk_dtype is torch.bfloat16
    with torch.inference_mode(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=half):
        encoder, merger = model.encoder, model.causal_encoder
        x = torch.cat((encoder.cls_token.expand(len(pixels), -1, -1), encoder.patch_embed(pixels)), dim=1)
        x = x + encoder.pos_embed
        for block in encoder.blocks:
            own = block.attn
            bias = torch.cat((own.q_bias, torch.zeros_like(own.q_bias), own.v_bias))
            query, key, value = heads(F.linear(block.norm1(x), own.qkv.weight, bias), own.heads, 3)
            weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
            x = x + own.proj((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))
            x = x + block.mlp(block.norm2(x))
        features = x[:, 1:]
        with torch.autocast(pixels.device.type, enabled=False):
            policy = choose(model.token_predictor(features.float()), noise).float()
        patches, x = merger.ln_vision(features), features
        positions = torch.arange(x.shape[1], device=x.device)
        before = (positions[:, None] > positions).float()
        causal = before * policy[:, None, None] + torch.eye(len(positions), device=x.device)
        for block in merger.blocks:
            own, cross = block.token_causal_attn, block.token_cross_attn
            parts = heads(own.qkv(block.norm0(x)), own.heads, 3)
            x = x + own.proj(plain_attention(*parts, causal).transpose(1, 2).flatten(2))
            query = heads(cross.query(block.norm1(x)), own.heads, 1)[0]
            key, value = (heads(layer(patches), own.heads, 1)[0] for layer in (cross.key, cross.value))
            mixed = plain_attention(query, key, value, 1 - policy[:, None, None])
            x = x + cross.proj(mixed.transpose(1, 2).flatten(2))
            x = x + block.mlp(block.norm2(x))
        merged = merger.norm(x)[policy.bool()]
        with torch.autocast(pixels.device.type, enabled=False):
            query = F.normalize(model.encode_task_layer(merged.float()), dim=-1)
            rows = model.quantize.embedding.weight
            distance = query.square().sum(dim=-1, keepdim=True) + rows.square().sum(dim=-1) - 2 * query @ rows.T
            codes = distance.argmin(dim=-1)
            F.one_hot(codes, len(rows)).to(rows.dtype) @ rows
        return list(codes.split(policy.sum(dim=1).int().tolist()))


def heads(x: Tensor, count: int, parts: int) -> tuple[Tensor, ...]:
    """[B, N, parts * width] -> `parts` times [B, heads, N, width / heads]."""
    return x.unflatten(-1, (parts, count, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("released", "toy"), default="released")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--depth", type=int, help="fewer blocks of the encoder, where memory or time is short")
    parser.add_argument("--merger-depth", type=int)
    parser.add_argument("--batch", type=int, help="images of a forward pass (default: 2 on a CPU, toy 64; 64 on a GPU)")
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--compile", action="store_true", help="ours also through torch.compile")
    parser.add_argument("--repeats", type=int, default=ROUNDS, help="in turns")
    arguments = parser.parse_args()

    torch.set_num_threads(THREADS)
    device = torch.device(arguments.device)
    on_cpu = device.type == "cpu"
    config = VisionConfig() if arguments.size == "released" else load_config(TOY_WEIGHTS / "clip")
    cut = {"depth": arguments.depth, "merger_depth": arguments.merger_depth}
    config = replace(config, **{name: depth for name, depth in cut.items() if depth})
    batch = arguments.batch or (2 if on_cpu and arguments.size == "released" else 64)
    clock = Clock(device, arguments.repeats)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(batch, 3, config.image_size, config.image_size, generator=generator).to(device)
    noise = gumbel_noise((batch, config.patches, 2), generator, torch.device("cpu")).to(device)
    blocks = f"{config.depth} + {config.merger_depth} blocks"
    print(f"{arguments.size} size ({blocks} of width {config.width}), batches of {batch}, {device}", flush=True)
    print(f"{'':<22}{'TFLOP/s':>10}{'of peak':>10}", flush=True)
    for name in arguments.dtypes:
        dtype = getattr(torch, name)
        peak = matmul_peak(dtype, clock)
        print(f"{name + ' matmul':<22}{peak / 1e12:>10.3f}", flush=True)
        model = random_tokenizer(config, dtype, device)
        codes = model.encode(pixels, noise=noise)
        work = operations(config, sum(map(len, codes)) / batch) * batch
        ways: dict[str, Way] = {
            "plain": lambda model=model: plain_encode(model, pixels, noise),  # type: ignore[misc]
            "ours": lambda model=model: model.encode(pixels, noise=noise),  # type: ignore[misc]
        }
        if arguments.compile:
            compiled = copy.deepcopy(model)
            compiled.compile_trunk()
            ways["compiled"] = lambda compiled=compiled: compiled.encode(pixels, noise=noise)  # type: ignore[misc]
        found = rates(dict.fromkeys(ways, batch), ways, clock.repeats, clock.now)
        print_rates(found, "plain", "images/s")
        for way, values in found.items():
            done = work / batch * median(values)
            print(f"{name + ' ' + way:<22}{done / 1e12:>10.3f}{done / peak:>10.1%}", flush=True)
        if dtype is torch.float32:
            other = plain_encode(model, pixels, noise)
            same = sum(int((a == b).sum()) if len(a) == len(b) else 0 for a, b in zip(codes, other, strict=True))
            print(f"codes equal to the plain form's: {same} of {sum(map(len, codes))}", flush=True)
        del model
        gc.collect()


if __name__ == "__main__":
    main()
