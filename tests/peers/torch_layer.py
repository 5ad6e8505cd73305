#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long one decoder layer takes plain PyTorch, by AutoAWQ's algorithm: beside layer_bench.py.

The layer has Llama-3.1-70B's shape and random weights, with channels that stand out. What AutoAWQ
does for a layer is written anew: the layer is run once and the inputs of its linears are kept;
scales of qkv (by the error of the whole attention), of gate and up (by that of the whole MLP) and
of down, each from 20 alphas with duo scaling, all sequences at once; none for o, whose inputs
have more channels than v has rows; a smaller range for each group of v, o, gate, up and down, 10
steps on 512 tokens; codes of the GEMM format.

    lean       everything stays on the GPU, codes are packed by whole matrices: the least that this
               algorithm takes in plain PyTorch
    autoawq    besides, as AutoAWQ's code has it: inputs of each linear copied to host memory and
               back, means of activations on the host, weights restored from the host for each
               alpha, codes packed column by column

Prints seconds of each phase, with a wait for the GPU around it, and a last line of JSON.
--device cpu --preset tiny --check tries it without a GPU."""

import argparse
import contextlib
import json
import time

import torch
import torch.nn.functional as F

PRESETS = {  # hidden, intermediate, heads, key-value heads, head_dim
    "tiny": (256, 768, 8, 2, 32),
    "8b": (4096, 14336, 32, 8, 128),
    "70b": (8192, 28672, 64, 8, 128),
}
BITS_MOST, ALPHAS, CLIP_STEPS, CLIP_TOKENS = 15, 20, 10, 512
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # of codes in a word
PIECE = 1 << 28                   # elements that are compared at a time
DEVICE = torch.device("cpu")      # main() may set another


class Phases:
    """Seconds by name, the device having finished at both ends; also of parts of phases, in
    `inside`, which are then not counted twice."""

    def __init__(self):
        self.seconds, self.copies = {}, 0.0

    def wait(self):
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    @contextlib.contextmanager
    def phase(self, name):
        self.wait()
        begin = time.monotonic()
        yield
        self.wait()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begin

    @contextlib.contextmanager
    def copying(self):
        """Part of whatever phase it is in."""
        self.wait()
        begin = time.monotonic()
        yield
        self.wait()
        self.copies += time.monotonic() - begin


class Layer:
    """A Llama layer: its weights, and its functions of them."""

    def __init__(self, preset, length, dtype):
        self.hidden, self.wide, self.heads, self.kv, self.head_dim = PRESETS[preset]
        q, kv = self.heads * self.head_dim, self.kv * self.head_dim
        shapes = {"q": (q, self.hidden), "k": (kv, self.hidden), "v": (kv, self.hidden),
                  "o": (self.hidden, q), "gate": (self.wide, self.hidden),
                  "up": (self.wide, self.hidden), "down": (self.hidden, self.wide)}
        self.w = {}
        for name, (out, n) in shapes.items():
            w = torch.randn(out, n, device=DEVICE, dtype=torch.float32) * (0.7 / n ** 0.5)
            self.w[name] = w.to(dtype)
        self.norms = [outliers(self.hidden).to(dtype) for _ in range(2)]
        for names, norm in (("qkv", self.norms[0]), (("gate", "up"), self.norms[1])):
            for name in names:  # channels that stand out are read with small weights
                self.w[name] /= norm
        angle = torch.outer(torch.arange(length, device=DEVICE, dtype=torch.float32),
                            10000.0 ** (-torch.arange(0, self.head_dim, 2, device=DEVICE,
                                                      dtype=torch.float32) / self.head_dim))
        self.cosine = torch.cat([angle, angle], 1).cos().to(dtype)
        self.sine = torch.cat([angle, angle], 1).sin().to(dtype)

    @staticmethod
    def norm(x, weight):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
        return wide.to(x.dtype) * weight

    def turn(self, x):
        half = self.head_dim // 2
        return x * self.cosine + torch.cat([-x[..., half:], x[..., :half]], -1) * self.sine

    def mix(self, x):
        """What o reads: the attention without its last linear."""
        count, length, _ = x.shape
        split = lambda y, heads: y.view(count, length, heads, self.head_dim).transpose(1, 2)
        q = self.turn(split(F.linear(x, self.w["q"]), self.heads))
        k = self.turn(split(F.linear(x, self.w["k"]), self.kv))
        v = split(F.linear(x, self.w["v"]), self.kv)
        repeat = self.heads // self.kv
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).reshape(count, length, -1)

    def attention(self, x):
        return F.linear(self.mix(x), self.w["o"])

    def between(self, x):
        """What down reads."""
        return F.silu(F.linear(x, self.w["gate"])).mul_(F.linear(x, self.w["up"]))

    def mlp(self, x):
        return F.linear(self.between(x), self.w["down"])

    def down(self, x):
        return F.linear(x, self.w["down"])


def outliers(count):
    """Three channels in a hundred are 20 to 60 times larger."""
    stand_out = torch.rand(count, device=DEVICE) < 0.03
    return torch.where(stand_out, 20 + 40 * torch.rand(count, device=DEVICE),
                       torch.ones(count, device=DEVICE))


# ---- the quantizer ----

def quantize(w, group):
    """(values, scales, zeros) of asymmetric 4 bits; scales and zeros by row and group"""
    flat = w.reshape(-1, group)
    most, least = flat.amax(1, keepdim=True), flat.amin(1, keepdim=True)
    scale = (most - least).clamp(min=1e-5) / BITS_MOST
    zero = (-torch.round(least / scale)).clamp_(0, BITS_MOST)
    values = (torch.clamp(torch.round(flat / scale) + zero, 0, BITS_MOST) - zero) * scale
    return values.reshape(w.shape), scale.view(len(w), -1), zero.view(len(w), -1)


# ---- scales ----

def weight_mean(weights, group):
    joined = torch.cat(weights)
    flat = joined.abs().view(-1, group)
    return (flat / (flat.amax(1, keepdim=True) + 1e-6)).view(joined.shape).mean(0)


def activation_mean(x):
    """By pieces, in float32."""
    flat = x.reshape(-1, x.shape[-1])
    total = torch.zeros(x.shape[-1], dtype=torch.float32, device=x.device)
    rows = max(1, PIECE // x.shape[-1])
    for piece in flat.split(rows):
        total += piece.abs().float().sum(0)
    return (total / len(flat)).to(x.dtype)


def loss(y, other):
    total, count = 0.0, y.numel()
    y, other = y.view(-1), other.view(-1)
    for a, b in zip(y.split(PIECE), other.split(PIECE)):
        total += float((a - b).float().pow(2).sum())
    return total / count


def candidate(x_mean, w_mean, alpha):
    scales = (x_mean.pow(alpha) / (w_mean.pow(1 - alpha) + 1e-4)).clamp(min=1e-4)
    scales = scales / (scales.max() * scales.min()).sqrt()
    scales[~torch.isfinite(scales)] = 1
    return scales


class Search:
    def __init__(self, layer, phases, group, alphas, autoawq):
        self.layer, self.phases, self.group = layer, phases, group
        self.alphas, self.autoawq = alphas, autoawq

    def to_host(self, tensor):
        with self.phases.copying():
            return tensor.cpu()

    def to_device(self, tensor):
        with self.phases.copying():
            return tensor.to(DEVICE)

    def scales(self, names, inside, function, x):
        """The best for these linears, by the error of function(x); `inside` are all it uses."""
        layer, name = self.layer, "+".join(names)
        with self.phases.phase(f"search {name}"):
            if self.autoawq:
                x = self.to_device(x)
            w_mean = weight_mean([layer.w[n] for n in names], self.group)
            if self.autoawq:
                x_mean = activation_mean(self.to_host(x)).to(DEVICE)
            else:
                x_mean = activation_mean(x)
            original = {n: self.to_host(layer.w[n]) if self.autoawq else layer.w[n] for n in inside}
            wanted = function(x)
            best, least = None, float("inf")
            for i in range(self.alphas):
                scales = candidate(x_mean, w_mean, i / ALPHAS)
                for n in names:
                    layer.w[n] = quantize(layer.w[n] * scales, self.group)[0] / scales
                error = loss(wanted, function(x))
                if error < least:
                    best, least = scales, error
                for n in inside:
                    layer.w[n] = self.to_device(original[n]) if self.autoawq else original[n]
            if best is None:
                raise SystemExit(f"peer_layer: no finite error for {name}")
        return best, least

    # ---- ranges ----

    def clip(self, name, x):
        """Clamps the weights of a linear whose input is x, already divided by its scales."""
        w = self.layer.w[name]
        with self.phases.phase(f"clip {name}"):
            flat = x.reshape(-1, x.shape[-1])
            flat = flat[::max(1, len(flat) // CLIP_TOKENS)]
            if self.autoawq:
                flat = self.to_device(flat)
            flat = flat.reshape(1, len(flat), -1, self.group)
            rows = 256 if len(w) % 256 == 0 else 64
            limits = torch.cat([self.limits(part, flat) for part in
                                w.view(len(w), 1, -1, self.group).split(rows)])
            limits = limits.view(len(w), -1, 1)
            w = w.view(len(w), -1, self.group)
            self.layer.w[name] = torch.clamp(w, -limits, limits).reshape(len(w), -1)

    def limits(self, w, x):
        most = w.abs().amax(-1, keepdim=True)
        best, least = most.clone(), torch.full_like(most, 1e9)
        wanted = (x * w).sum(-1)
        for i in range(CLIP_STEPS):
            limit = most * (1 - i / (2 * CLIP_STEPS))
            q = quantize(torch.clamp(w, -limit, limit), self.group)[0]
            error = ((x * q).sum(-1) - wanted).pow(2).mean(1).view(least.shape)
            smaller = error < least
            least = torch.where(smaller, error, least)
            best = torch.where(smaller, limit, best)
        return best

    # ---- codes ----

    def pack(self, name):
        with self.phases.phase("pack"):
            values, scale, zero = quantize(self.layer.w[name].half(), self.group)
            columns = self.autoawq
            codes = codes_by_column if columns else codes_whole
            words = words_by_column if columns else words_whole
            packed = words(codes(values, scale, zero, self.group)), words(zero.t().int())
            scales = scale.t().contiguous()
            packed = tuple(self.to_host(part) for part in (*packed, scales))
        return packed


def codes_whole(values, scale, zero, group):
    wide = values.view(len(values), -1, group) + (zero * scale)[..., None]
    return torch.round(wide / scale[..., None]).int().view(values.shape).t().contiguous()


def codes_by_column(values, scale, zero, group):
    shift, columns = zero * scale, []
    for i in range(values.shape[1]):
        g = i // group
        columns.append(torch.round((values[:, i] + shift[:, g]) / scale[:, g]).int()[:, None])
    return torch.cat(columns, 1).t().contiguous()


def words_whole(codes):
    """Eight columns in each word."""
    nibbles = codes.reshape(len(codes), -1, 8)[..., list(ORDER)]
    words = torch.zeros(nibbles.shape[:2], dtype=torch.int32, device=codes.device)
    for i in range(8):
        words |= nibbles[..., i] << (4 * i)
    return words


def words_by_column(codes):
    words = torch.zeros(len(codes), codes.shape[1] // 8, dtype=torch.int32, device=codes.device)
    for column in range(words.shape[1]):
        for i in range(8):
            words[:, column] |= codes[:, 8 * column + ORDER[i]] << (4 * i)
    return words


# ---- a layer ----

def forward(layer, x, search):
    """The layer once: its output, and what each group of linears reads."""
    keep = (lambda y, copies: [search.to_host(y) for _ in range(copies)][0]) if search.autoawq \
        else lambda y, _: y
    with search.phases.phase("forward"):
        normed = layer.norm(x, layer.norms[0])
        kept = {"qkv": keep(normed, 3)}
        mixed = layer.mix(normed)
        kept["o"] = keep(mixed, 1)
        x = x + F.linear(mixed, layer.w["o"])
        normed = layer.norm(x, layer.norms[1])
        kept["gate_up"] = keep(normed, 2)
        between = layer.between(normed)
        kept["down"] = keep(between, 1)
        x = x + F.linear(between, layer.w["down"])
    return x, kept


def fold(layer, kept, found, search):
    with search.phases.phase("fold"):
        for group, names, producer in (("qkv", "qkv", 0), ("gate_up", ("gate", "up"), 1)):
            scales = found[group][0]
            layer.norms[producer] = layer.norms[producer] / scales
            for name in names:
                layer.w[name] = layer.w[name] * scales
            kept[group] = kept[group] / scales.to(kept[group].device)
        scales = found["down"][0]
        layer.w["up"] = layer.w["up"] / scales[:, None]
        layer.w["down"] = layer.w["down"] * scales
        kept["down"] = kept["down"] / scales.to(kept["down"].device)


def quantize_layer(layer, x, phases, options, autoawq):
    """(output, {group: (scales, loss)}, {linear: packed})"""
    search = Search(layer, phases, options.group, options.alphas, autoawq)
    y, kept = forward(layer, x, search)
    found = {"qkv": search.scales("qkv", "qkvo", layer.attention, kept["qkv"]),
             "gate_up": search.scales(("gate", "up"), ("gate", "up", "down"), layer.mlp,
                                      kept["gate_up"]),
             "down": search.scales(("down",), ("down",), layer.down, kept["down"])}
    fold(layer, kept, found, search)
    for name, group in (("v", "qkv"), ("o", "o"), ("gate", "gate_up"), ("up", "gate_up"),
                        ("down", "down")):
        search.clip(name, kept[group])
    return y, found, {name: search.pack(name) for name in layer.w}


def check(layer, y, x, found, packed, group):
    """Codes give back the weights that were rounded; the output is near to the original's."""
    for name, (words, zeros, scale) in packed.items():
        codes = [torch.empty(0)] * 8
        zero = [torch.empty(0)] * 8
        for i in range(8):
            codes[ORDER[i]], zero[ORDER[i]] = words >> 4 * i & 15, zeros >> 4 * i & 15
        codes, zero = (torch.stack(part, -1).flatten(1).float() for part in (codes, zero))
        steps = scale.float().repeat_interleave(group, 0)
        value = ((codes - zero.repeat_interleave(group, 0)) * steps).t()
        wanted = quantize(layer.w[name].half(), group)[0].float().cpu()
        assert torch.allclose(value, wanted, rtol=2e-3, atol=1e-6), name
        assert ((value - layer.w[name].float().cpu()).abs() <= 0.51 * steps.t() + 1e-3).all(), name
        layer.w[name] = value.to(DEVICE, layer.w[name].dtype)
    z = x + layer.attention(layer.norm(x, layer.norms[0]))
    z = z + layer.mlp(layer.norm(z, layer.norms[1]))
    relative = float((z - y).float().norm() / (y - x).float().norm())
    assert relative < 0.5, relative
    print(f"check: codes give back the weights; the output is {100 * relative:.1f} % off; losses "
          + ", ".join(f"{name} {error:.3g}" for name, (_, error) in found.items()))


def run(mode, options):
    """{phase: seconds} of one layer"""
    torch.manual_seed(1)
    dtype = getattr(torch, options.dtype)
    layer = Layer(options.preset, options.length, dtype)
    x = torch.randn(options.sequences, options.length, layer.hidden, device=DEVICE, dtype=dtype)
    phases = Phases()
    y, found, packed = quantize_layer(layer, x, phases, options, mode == "autoawq")
    if options.check:
        check(layer, y, x, found, packed, options.group)
    return phases


def report(mode, phases):
    total = sum(phases.seconds.values())
    merged = {}
    for name, seconds in phases.seconds.items():
        merged[name] = seconds
        print(f"{mode:<10}{name:<18}{seconds:10.3f} s")
    if phases.copies:
        print(f"{mode:<10}{'of these, copies':<18}{phases.copies:10.3f} s")
    print(f"{mode:<10}{'a layer':<18}{total:10.3f} s", flush=True)
    return {"seconds": merged, "copies": phases.copies, "layer": total}


def warm_up(options):
    """Libraries loaded, kernels there: the first use of each takes long."""
    few = argparse.Namespace(**{**vars(options), "preset": "tiny", "sequences": 2, "alphas": 1,
                                "length": 64, "group": 32, "check": False})
    run("autoawq", few)
    if DEVICE.type == "cuda":
        a = torch.randn(4096, 4096, device=DEVICE, dtype=getattr(torch, options.dtype))
        for _ in range(10):
            a = a @ a * 0.01
        del a
        torch.cuda.empty_cache()


def main():
    global DEVICE
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="70b")
    parser.add_argument("--mode", choices=("lean", "autoawq", "both"), default="both")
    parser.add_argument("--sequences", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--alphas", type=int, default=ALPHAS, help="fewer: not what AutoAWQ does")
    parser.add_argument("--group", type=int, default=128)
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--check", action="store_true", help="that the result is right")
    options = parser.parse_args()
    DEVICE = torch.device(options.device)
    if DEVICE.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("peer_layer: torch sees no GPU here; --device cpu --preset tiny tries it")
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {options.dtype}: a layer of {options.preset}, "
          f"{options.sequences} x {options.length} tokens, {options.alphas} alphas", flush=True)
    begin = time.monotonic()
    with torch.no_grad():
        warm_up(options)
        print(f"warmed up in {time.monotonic() - begin:.1f} s", flush=True)
        result = {}
        for mode in ("lean", "autoawq") if options.mode == "both" else (options.mode,):
            result[mode] = report(mode, run(mode, options))
            if DEVICE.type == "cuda":
                peak = torch.cuda.max_memory_allocated() / 1e9
                print(f"{mode:<10}{'peak memory':<18}{peak:10.1f} GB")
                torch.cuda.empty_cache()
    print(json.dumps({"device": name, "preset": options.preset, "alphas": options.alphas,
                      **result}))


if __name__ == "__main__":
    main()
