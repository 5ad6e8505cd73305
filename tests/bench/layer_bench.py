#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How fast awqrun quantizes a decoder layer, and how much memory it takes.

Makes a checkpoint of random weights with a known model's layer shapes, runs the real
`awqrun quantize` (or eval) on it, and prints where each layer's time went, beside what the machine
itself does: its single-precision GEMM rate, its reading and its writing, measured before and after
the run. With `--backend cuda` the rate is cuBLAS's on that GPU, in the compute type, and phases
are in TFLOP/s. Rates count useful arithmetic as layers/quantize/cost.h does: one triangle of each
Gram matrix and of each loss. Then the memory that the plan asks for, beside the measured peak: of
each worker's anonymous memory, pages of the mapped checkpoint not counted; of a GPU, what
nvidia-smi says beyond what was in use before, with the CUDA context.

Everything after -- goes to awqrun."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import h5py

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from bench.layer_work import PHASES, PRESETS, PUBLISHED, config_of, layer_flops, linears
from support.program import ENVIRONMENT, ERROR, kill_session

BESIDE = ("read", "write")  # on threads beside the one that computes; write has packing in it


# ---- memory of the ranks ----

class Watch(threading.Thread):
    """Samples the anonymous memory of the awqrun processes of a session every 10 ms."""

    def __init__(self, leader):
        super().__init__(daemon=True)
        self.leader, self.peaks, self.ended = leader, {}, False  # peaks: {pid: bytes}

    def find(self):
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                if pid not in self.peaks and os.getsid(pid) == self.leader:
                    if pathlib.Path(f"/proc/{pid}/comm").read_text() == "awqrun\n":
                        self.peaks[pid] = 0
            except OSError:
                pass  # it has ended

    def sample(self):
        for pid, peak in self.peaks.items():
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"RssAnon:\s+(\d+) kB", status)
            if found:
                self.peaks[pid] = max(peak, 1024 * int(found[1]))

    def run(self):
        turn = 0
        while not self.ended:
            if turn % 20 == 0:
                self.find()
            self.sample()
            turn += 1
            time.sleep(0.01)

    def end(self):
        self.ended = True
        self.join()


class GpuWatch(threading.Thread):
    """Samples the memory in use on all GPUs together, by nvidia-smi; peaks: {None: bytes beyond
    what was in use at first}, empty where that cannot be asked."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peaks, self.process = {}, None
        self.before = self.ask() if shutil.which("nvidia-smi") else []

    QUERY = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")

    def ask(self):
        """MiB of each GPU; none where it does not say."""
        run = subprocess.run(self.QUERY, stdout=subprocess.PIPE, text=True, check=False)
        return [int(line) for line in run.stdout.split() if line.isdigit()]

    def run(self):
        if not self.before:
            return
        self.process = subprocess.Popen([*self.QUERY, "-lms", "20"], stdout=subprocess.PIPE,
                                        text=True)
        sample = []
        for line in self.process.stdout:
            if not line.strip().isdigit():  # "[N/A]": this driver does not say
                continue
            sample.append(int(line))
            if len(sample) == len(self.before):
                self.peaks[None] = max(self.peaks.get(None, 0),
                                       (sum(sample) - sum(self.before)) << 20)
                sample = []

    def end(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.join()


# ---- the steps ----

def tool(options, name):
    if options.emulated and name == "machine_rate":
        return str(options.build / "tests" / "cuda_emulator" / "machine_rate_emulated")
    return str(options.build / "tests" / "bench" / name)


def awqrun(options):
    if options.emulated:
        return str(options.build / "tests" / "cuda_emulator" / "awqrun_emulated")
    return str(options.build / "bin" / "awqrun")


def make_model(options, folder):
    config = config_of(options.preset, options.layers, options.experts)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    subprocess.run([tool(options, "make_checkpoint"), folder, str(options.sequences),
                    str(options.length)], check=True)
    return config


def machine_rates(options, model):
    """{"gemm": GFLOP/s, "read": GB/s, "write": GB/s} with as many threads as all workers have."""
    shard = next(model.glob("*.safetensors"))
    threads = str(options.workers * options.threads)
    side = ["128"] if options.emulated else []
    run = subprocess.run([tool(options, "machine_rate"), threads, shard, options.backend, *side],
                         check=True, stdout=subprocess.PIPE, text=True,
                         env={**os.environ, "OMP_NUM_THREADS": threads})
    return {name: float(value) for name, value in map(str.split, run.stdout.splitlines())}


def print_plan(options, model):
    """What the plan says of memory and arithmetic."""
    command = [awqrun(options), "plan", "--model", model, "--tokens", model / "tokens.h5",
               "--threads", str(options.threads), "--workers", str(options.workers),
               "--stage-layers", str(options.stage_layers), "--backend", options.backend,
               *options.awqrun]
    printed, _ = call_awqrun(options, command)
    print("".join(re.findall(r"^(?:memory|arithmetic) .*\n", printed, re.MULTILINE)), end="")


def fail(sentence):
    sys.exit(f"layer_bench: {sentence}")


def call_awqrun(options, command, watch_of=None):
    """(stdout, stderr), or one line of why there is none. `watch_of` gets the process's id."""
    process = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True, env={**os.environ, **ENVIRONMENT})
    watch = watch_of(process.pid) if watch_of else None
    if watch:
        watch.start()
    try:
        out, log = process.communicate(timeout=options.timeout)
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        fail(f"awqrun was still running after {options.timeout:g} s")
    except BaseException:  # also of a signal: nothing stays behind
        kill_session(process.pid)
        raise
    finally:
        if watch:
            watch.end()
    if process.returncode:
        said = [line for line in log.splitlines() if ERROR in line] or log.splitlines()[-1:]
        fail(said[0] if said else f"awqrun ended with status {process.returncode}")
    return out, log


def run_awqrun(options, command):
    """Runs it, alone or with a coordinator and workers; (stderr, peak bytes by process or, None,
    of the GPUs)."""
    command = [awqrun(options), *map(str, command), "--verbose", "--threads", str(options.threads),
               "--stage-layers", str(options.stage_layers), "--backend", options.backend,
               *options.awqrun]
    if options.workers > 1:
        command = ["mpirun", "--bind-to", "none", "-n", str(options.workers + 1), *command]
    gpus = GpuWatch() if options.backend == "cuda" else None  # before anything is in use
    watches = []

    def watch_of(leader):
        watches.append(gpus or Watch(leader))
        return watches[0]

    _, log = call_awqrun(options, command, watch_of)
    return log, watches[0].peaks


# ---- the report ----

def phase_rows(options, config, shapes, statistics):
    """(phase, mean seconds, least seconds, billions of flops or bytes) of a layer"""
    tokens = options.sequences * options.length
    with h5py.File(statistics) as file:
        layers = [file["layers"][name] for name in sorted(file["layers"])]
        seconds = {phase: [layer["seconds"].attrs[phase] for layer in layers] for phase in PHASES}
        work = layer_flops(config, shapes, tokens, options.length, layers[0])
        work["write"] = float(layers[0].attrs["tensors_bytes"])
    work["read"] = 2.0 * sum(out * n for out, n in shapes.values())
    return [(phase, sum(seconds[phase]) / len(layers), min(seconds[phase]), 1e-9 * work[phase])
            for phase in PHASES]


def print_table(title, rows, machine):
    """Rates are of the layer that was least disturbed."""
    print(f"\n{title}")
    for phase, mean, least, work in rows:
        rate = work / least if least else 0
        print(f"{phase:<10}{mean:10.3f}{least:10.3f}{work:12.3f}{rate:10.1f}"
              f"{100 * rate / machine[phase]:9.0f}%")


def print_phases(options, rows, rates):
    """Arithmetic in GFLOP, or on a GPU in TFLOP."""
    thousands, unit = (1e3, "TFLOP") if options.backend == "cuda" else (1, "GFLOP")
    best = {name: max(rate[name] for rate in rates) for name in rates[0]}
    gemm = best["gemm"] / thousands
    machine = dict.fromkeys(PHASES, gemm if options.backend == "cuda" else gemm / options.workers)
    machine.update(read=best["read"] / options.workers, write=best["write"])
    computed = [row for row in rows if row[0] not in BESIDE]
    head = f"{'s/layer':>10}{'least':>10}"
    print_table(f"{'phase':<10}{head}{unit:>12}{unit + '/s':>10}{'of GEMM':>10}",
                [(*row[:3], row[3] / thousands) for row in computed], machine)
    print(f"\na layer   {sum(row[1] for row in computed):10.3f}"
          f"{sum(row[2] for row in computed):10.3f}")
    print_table(f"{'beside':<10}{head}{'GB':>12}{'GB/s':>10}{'of copy':>10}",
                [row for row in rows if row[0] in BESIDE], machine)


def print_rates(options, rates):
    threads = options.workers * options.threads
    who = "GPU" if options.backend == "cuda" else "machine"
    for when, rate in zip(("before", "after"), rates):
        print(f"{who} {when:<7}GEMM {rate['gemm']:.1f} GFLOP/s, read {rate['read']:.1f} GB/s, "
              f"write {rate['write']:.2f} GB/s, {threads} threads")


def memory_rows(options, log, peaks):
    """(worker, bytes planned, peak bytes); of GPUs one row for all workers, its peak None where
    nothing could be measured"""
    stage = options.stage_layers or -(-options.layers // options.workers)
    found = re.findall(r"worker ready worker=(\d+) .*pid=(\d+) .*layer_bytes=(\d+) "
                       r"fixed_bytes=(\d+) inputs_bytes=(\d+) inputs_layers=(\d+)", log)
    on_cpu = options.backend != "cuda"  # where what experts read is in the same memory
    planned = [(int(worker), int(pid), int(fixed) + stage * int(layer) +
                on_cpu * min(stage, int(kept)) * int(inputs))
               for worker, pid, layer, fixed, inputs, kept in sorted(found)]
    if options.backend == "cuda":
        return [("GPU", sum(row[2] for row in planned), peaks.get(None))] if planned else []
    return [(worker, needs, peaks[pid]) for worker, pid, needs in planned]


def print_memory(rows):
    print(f"\n{'worker':<10}{'planned MB':>12}{'peak MB':>10}{'planned above peak':>20}")
    for worker, planned, peak in rows:
        if peak is None:
            print(f"{worker:<10}{1e-6 * planned:12.1f}  not measured: nvidia-smi says nothing")
            continue
        print(f"{worker:<10}{1e-6 * planned:12.1f}{1e-6 * peak:10.1f}"
              f"{100 * (planned - peak) / peak:19.1f}%")


def check_memory(rows):
    """At most a fifth below the peak, or a fifth and 64 MB above."""
    if not rows:
        sys.exit("layer_bench: no worker said what it needs")
    for worker, planned, peak in rows:
        if peak is None:
            sys.exit("layer_bench: the peak could not be measured")
        if not 0.8 * peak <= planned <= 1.2 * peak + 64e6:
            sys.exit(f"layer_bench: worker {worker} was planned {planned} bytes and took {peak}")


def bench_eval(options, model, _):
    command = ["eval", "--model", model, "--tokens", model / "tokens.h5"]
    if options.against:
        command += ["--against", model]
    return run_awqrun(options, command)


def bench_quantize(options, model, out):
    return run_awqrun(options, ["quantize", "--model", model, "--tokens", model / "tokens.h5",
                                "--out", out])


def bench(options, folder):
    model, out = folder / "model", folder / "out"
    config = make_model(options, model)
    print(f"{options.preset}: {options.layers} layers, {options.sequences} x {options.length} "
          f"tokens, {options.workers} workers of {options.threads} threads, {options.backend} "
          f"{' '.join(options.awqrun)}", flush=True)
    if not options.eval:
        print_plan(options, model)
    rates = [] if options.memory_only else [machine_rates(options, model)]
    run = bench_eval if options.eval else bench_quantize
    log, peaks = run(options, model, out)
    if not options.memory_only:
        rates.append(machine_rates(options, model))
        print_rates(options, rates)
        if not options.eval:
            print_phases(options, phase_rows(options, config, linears(model),
                                             out / "awqrun.h5"), rates)
    memory = memory_rows(options, log, peaks)
    print_memory(memory)
    if options.check_memory:
        check_memory(memory)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=(*PRESETS, *PUBLISHED), default="1b",
                        help="layer shapes; those of a published model are of its usual layer")
    parser.add_argument("--experts", type=int, default=0,
                        help="of a published mixture's layer; 0: all, of which each takes as long")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--length", type=int, default=512, help="tokens of a sequence")
    parser.add_argument("--workers", type=int, default=1,
                        help="1 runs awqrun alone; more run under mpirun, beside a coordinator")
    parser.add_argument("--threads", type=int, default=2, help="threads of a worker")
    parser.add_argument("--stage-layers", type=int, default=0)
    parser.add_argument("--eval", action="store_true", help="awqrun eval instead (memory only)")
    parser.add_argument("--against", action="store_true", help="eval: with --against, two models")
    parser.add_argument("--memory-only", action="store_true", help="measure no rates")
    parser.add_argument("--check-memory", action="store_true",
                        help="fail when the plan's estimate is far from the peak")
    parser.add_argument("--backend", choices=("cpu", "cuda"), default="cpu",
                        help="cuda: on the first GPU; a worker a GPU, or --share-gpu after the --")
    parser.add_argument("--emulated", action="store_true",
                        help="the programs of tests/cuda_emulator, to test this one")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS",
                        help="that a run of awqrun may take (3600)")
    parser.add_argument("--directory", help="where the temporary files go")
    parser.add_argument("awqrun", nargs="*", metavar="-- awqrun options")
    return parser.parse_args()


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: fail("terminated"))  # not without cleaning up
    with tempfile.TemporaryDirectory(prefix="layer_bench-", dir=options.directory) as folder:
        bench(options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
