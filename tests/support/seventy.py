# SPDX-License-Identifier: MIT
"""An awqrun.h5 in the shape of a large model's, made up: what a report of it looks like, and how
large it is, can be tested without quantizing one."""

import json
import zlib

import h5py
import numpy as np

GROUPS = {"qkv": "hidden", "o": "hidden", "gate_up": "hidden", "down": "intermediate"}
LINEARS = {"q_proj": ("hidden", "hidden"), "k_proj": ("kv", "hidden"), "v_proj": ("kv", "hidden"),
           "o_proj": ("hidden", "hidden"), "gate_proj": ("intermediate", "hidden"),
           "up_proj": ("intermediate", "hidden"), "down_proj": ("hidden", "intermediate")}
GROUP_OF = {"q_proj": 0, "k_proj": 0, "v_proj": 0, "o_proj": 1, "gate_proj": 2, "up_proj": 2,
            "down_proj": 3}
PHASES = {"read": 2.1, "forward": 9.5, "gram": 7.2, "search": 38.0, "clip": 4.1, "feedback": 0.0,
          "pack": 5.2, "write": 1.4}
LLAMA_70B = {"hidden": 8192, "intermediate": 28672, "kv": 1024, "layers": 80}
# Of the shape of Qwen3-30B-A3B, but with fewer layers, of which the first is dense
MIXTURE = {"hidden": 2048, "intermediate": 6144, "kv": 512, "expert": 768, "experts": 128,
           "layers": 12}
ALPHAS = np.linspace(0, 1, 21)
BEGIN = 1.79e9
SEAL_BYTES = 512


def text(value):
    return np.bytes_(value.encode())


def seal(path):
    """Makes a file that was changed one that awqrun takes for its own."""
    content = path.read_bytes()[SEAL_BYTES:]
    line = f"awqrun seal bytes={len(content)} crc32={zlib.crc32(content):08x}\n"
    path.write_bytes(line.encode().ljust(SEAL_BYTES, b"\0") + content)


def write_group(parent, name, channels, layer, random):
    """Lognormal activations; eight channels are large in all layers, others in one."""
    group = parent.create_group(name)
    mean_abs = random.lognormal(-1.5, 0.5, channels)
    lasting = np.random.default_rng(len(name)).choice(channels, 8, replace=False)
    mean_abs[lasting] *= random.uniform(20, 120, 8)
    mean_abs[random.choice(channels, 3, replace=False)] *= 15
    best = np.clip(random.normal(0.55 if name == "qkv" else 0.4, 0.15), 0, 1)
    loss = 1e-3 * (layer + 4) * (0.35 + 1.8 * (ALPHAS - best) ** 2)
    chosen = int(np.argmin(loss))
    searched = not (name == "o" and layer % 17 == 3)
    group["mean_abs"] = mean_abs.astype("f4")
    group["scales"] = (mean_abs ** ALPHAS[chosen]).astype("f4")
    group["alpha"] = ALPHAS if searched else ALPHAS[:0]
    group["loss"] = loss if searched else loss[:0]
    group["measured"] = np.where(np.arange(len(loss)) == chosen, 1, 0.23)[:len(group["loss"])]
    group["duo"] = np.zeros(len(ALPHAS) if searched else 0, "u1")
    group.attrs["chosen"] = chosen if searched and (layer, name) != (40, "down") else -1


def write_linear(parent, name, rows, columns, layer, random):
    linear = parent.create_group(name)
    energy = 1e8 * random.uniform(0.5, 2)
    rounding = energy * (0.06 + 0.03 * np.sin(layer / 9) + 0.2 * (layer == 1)) ** 2
    groups = rows * columns // 128
    linear.attrs["energy"] = energy
    linear.attrs["damp"] = 0.0
    linear.attrs["loss_rounding"] = rounding * random.uniform(0.9, 1.1)
    linear.attrs["loss"] = rounding * random.uniform(0.2, 0.4)
    linear.attrs["groups"] = groups
    counts = np.zeros((1, 10), np.int64)
    if name[0] not in "qk":
        counts[0] = groups * np.exp(-np.arange(10) / random.uniform(2, 4)) / 5
    counts[0, 0] += groups - counts.sum()
    linear["clip_counts"] = counts
    linear.attrs["clipped_groups"] = counts[0, 1:].sum()


def write_seconds(parent, layer, workers, layers):
    """Ten layers a worker, one stage; the second half of the workers' searches after a pause."""
    seconds = parent.create_group("seconds")
    for phase, value in PHASES.items():
        seconds.attrs[phase] = value
    share = -(-layers // workers)
    worker, place = layer // share, layer % share
    read = BEGIN + 2.1 * place
    flow = BEGIN + 2.1 * share + 12 * worker
    search = flow + 190 + 48 * place + (7200 if place >= share // 2 else 0)
    when = seconds.create_group("when")
    when.attrs["worker"] = worker + 1
    when.attrs["host"] = text(f"node{worker // 4:02}")
    when["begin"] = np.array([read, flow, search, search + 38, search + 46.6])
    when["end"] = np.array([read + 2, flow + 185, search + 38, search + 46.6, search + 48])


def place(parent, name, **places):
    """Says where a group or linear is in its layer: index, expert, and a linear's group."""
    for key, value in places.items():
        parent[name].attrs[key] = value


def write_experts(record, layer, sizes, random):
    """In place of a dense layer's down: each expert's groups and linears, and the router. An expert
    of each layer saw nothing."""
    channels, hidden, count = sizes["expert"], sizes["hidden"], sizes["experts"]
    for expert in range(count):
        name = f"experts.{expert}.down"
        write_group(record["groups"], name, channels, layer, random)
        tokens = 0 if expert == layer else int(random.integers(10, 9000))
        place(record["groups"], name, index=3 + expert, expert=expert, tokens=tokens)
        for k, kind in enumerate(("gate", "up", "down")):
            linear = f"experts.{expert}.{kind}_proj"
            rows, columns = (hidden, channels) if kind == "down" else (channels, hidden)
            write_linear(record["linears"], linear, rows, columns, layer, random)
            place(record["linears"], linear, index=4 + 3 * expert + k, expert=expert,
                  group=3 + expert if kind == "down" else 2)
    write_linear(record["linears"], "gate", count, hidden, layer, random)
    place(record["linears"], "gate", index=4 + 3 * count, expert=-1, group=2)
    router = record["linears/gate"].attrs
    for field in ("energy", "loss", "loss_rounding"):
        router[field] = 0.0
    router["groups"] = router["clipped_groups"] = 0


def write_layer(parent, layer, sizes, workers):
    random = np.random.default_rng(layer)
    record = parent.create_group(f"{layer:05}")
    record.attrs["layer"] = layer
    record.attrs["fingerprint"] = text("5f570919")
    record.attrs["tensors_bytes"], record.attrs["tensors_crc32"] = np.uint64(1), np.uint32(1)
    record.attrs["tokens"] = 65536
    record.attrs["fold_error"] = 1e-4
    record.create_group("groups")
    record.create_group("linears")
    sparse = "experts" in sizes and layer > 0
    for index, (name, channels) in enumerate(GROUPS.items()):
        if sparse and name == "down":
            continue
        write_group(record["groups"], name, sizes[channels], layer, random)
        place(record["groups"], name, index=index, expert=-1, tokens=65536)
    for index, (name, (rows, columns)) in enumerate(LINEARS.items()):
        if sparse and name in ("gate_proj", "up_proj", "down_proj"):
            continue
        write_linear(record["linears"], name, sizes[rows], sizes[columns], layer, random)
        place(record["linears"], name, index=index, expert=-1, group=GROUP_OF[name])
    if sparse:
        write_experts(record, layer, sizes, random)
    write_seconds(record, layer, workers, sizes["layers"])


def write_statistics(out, sizes=None, workers=8):
    """OUT/awqrun.h5 of a model of these sizes, Llama-70B's if none are given."""
    sizes = sizes or LLAMA_70B
    job = {"format": 1, "backend": "cpu", "model": [
        {"file": "model-00001-of-00030.safetensors", "bytes": 4584408808, "header_crc32": 123}],
        "tokens": {"sequences": 128, "length": 512, "crc32": 1484637114},
        "options": {"bits": "4", "group-size": "128", "alpha-steps": "20", "clip": "after"}}
    out.mkdir(exist_ok=True)
    with h5py.File(out / "awqrun.h5", "w", userblock_size=SEAL_BYTES) as file:
        file.attrs["awqrun"], file.attrs["job"] = text("0.1.0"), text(json.dumps(job))
        parent = file.create_group("layers")
        for layer in range(sizes["layers"]):
            write_layer(parent, layer, sizes, workers)
    seal(out / "awqrun.h5")
