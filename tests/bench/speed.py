"""What makes a text's vector and the ten best items quick: ONNX, 8 and 16 bits, micro-batching, ways of searching.

python tests/bench/speed.py [encoder] [single] [search] → tests/bench/SPEED.md (all three: several minutes of one core)
"""

import asyncio
import datetime
import os
import platform
import resource
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from course_lib.datasets import load_movielens
from course_lib.experiments.runner import machine
from course_lib.serving.batching import MicroBatcher
from course_lib.serving.onnx import OnnxEncoder, export_encoder, quantize
from course_lib.serving.precision import in_bfloat16
from course_lib.serving.search import Index, overlap
from course_lib.text import TextEncoder, item_texts, used_pieces

HERE = Path(__file__).parent
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
PARTS = ("encoder", "single", "search")
ROUNDS = 5
SIZES, FACTORS, QUERIES = (1_682, 100_000, 1_000_000), 64, 64


def cpu():
    """CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def in_turns(sides, rounds=ROUNDS):
    """Name → CPU seconds (rounds,), one side after the other in every round, and what each returned last."""
    seconds, results = {name: [] for name in sides}, {}
    for _ in range(rounds):
        for name, run in sides.items():
            start = cpu()
            results[name] = run()
            seconds[name].append(cpu() - start)
    return {name: np.array(spent) for name, spent in seconds.items()}, results


def times(ratio):
    """Median and range over the rounds."""
    return f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f}) ×"


def exported(encoder, texts, folder):
    """Name → ONNX encoder: whole and pruned vocabulary, 32 and 8 bits."""
    whole = export_encoder(encoder, folder / "whole.onnx")
    pruned = export_encoder(encoder, folder / "pruned.onnx", vocabulary=used_pieces(texts, tokenizer=encoder.tokenizer))
    files = {
        "ONNX Runtime": whole,
        "ONNX Runtime, int8": quantize(whole, folder / "whole8.onnx"),
        "ONNX Runtime, pruned vocabulary": pruned,
        "ONNX Runtime, int8, pruned vocabulary": quantize(pruned, folder / "pruned8.onnx"),
    }
    return {name: OnnxEncoder(path, tokenizer=encoder.folder) for name, path in files.items()}


def encoder_rows(encoder, onnx, texts):
    """The whole catalogue, batched by length."""
    batched = {size: TextEncoder(encoder.folder, device="cpu", batch_size=size) for size in (16, 32)}
    sides = {"torch": lambda: encoder.encode(texts, cache=False)}
    sides |= {f"torch, batches of {size}": lambda b=b: b.encode(texts, cache=False) for size, b in batched.items()}
    sides |= {name: lambda o=o: o.encode(texts) for name, o in onnx.items()}
    seconds, vectors = in_turns(sides)
    needed = {"ONNX Runtime": "≥ 1.15 ×", "ONNX Runtime, int8": "≥ 2.3 ×"}
    for name, spent in seconds.items():
        speed = f"{len(texts) / np.median(spent):.0f} texts/s"
        yield f"{name}: speed beside torch, {speed}", times(seconds["torch"] / spent), needed.get(name, "")
    for name, o in onnx.items():
        size = f"{o.path.stat().st_size / 1e6:.0f} MB"
        difference = f"{np.abs(vectors[name] - vectors['torch']).max():.1e}"
        kept = f"{overlap(vectors['torch'], vectors[name]):.3f}"
        exact = "int8" not in name
        yield f"{name}, {size}: largest difference from torch", difference, "≤ 1e-6" if exact else ""
        yield f"{name}: kept of the ten nearest", kept, "" if exact else "≥ .85"
    some = texts[::8]  # without the instructions for it, bfloat16 takes several times as long
    half = in_bfloat16(encoder)
    seconds, vectors = in_turns(
        {"torch": lambda: encoder.encode(some, cache=False), "half": lambda: half.encode(some, cache=False)}, 2
    )
    yield f"torch, bfloat16: speed beside torch, {len(some)} texts", times(seconds["torch"] / seconds["half"]), ""
    yield "torch, bfloat16: kept of the ten nearest among these", f"{overlap(vectors['torch'], vectors['half']):.3f}", ""


def single_rows(encoder, onnx, texts):
    """One text at a time as clients send them, and sixteen clients at once."""
    some = texts[:: len(texts) // 128][:128]
    ways = {
        "torch": lambda batch: encoder.encode(batch, cache=False),
        "ONNX Runtime": onnx["ONNX Runtime"].encode,
        "ONNX Runtime, int8": onnx["ONNX Runtime, int8"].encode,
    }

    async def clients(encode, size):
        async with MicroBatcher(encode, max_batch=size) as batcher:

            async def client(mine):
                return [await batcher(text) for text in mine]

            await asyncio.gather(*(client(some[n::16]) for n in range(16)))

    sides = {
        (name, size): lambda e=encode, n=size: asyncio.run(clients(e, n)) for name, encode in ways.items() for size in (1, 16)
    }
    seconds, _ = in_turns(sides)
    for name in ways:
        alone, together = seconds[name, 1], seconds[name, 16]
        cost = f"{np.median(alone) / len(some) * 1e3:.1f} and {np.median(together) / len(some) * 1e3:.1f} ms a text"
        yield f"{name}: texts per CPU second, batches of up to 16 beside one by one, {cost}", times(alone / together), ""


def search_rows():
    """Ten best of many items; the vectors lie in clouds, as factors of taste do."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(500, FACTORS))
    for n in SIZES:
        items = (centres[rng.integers(500, size=n)] + rng.normal(size=(n, FACTORS))).astype(np.float32) / 8
        queries = (centres[rng.integers(500, size=QUERIES)] + rng.normal(size=(QUERIES, FACTORS))).astype(np.float32) / 8
        bias = rng.normal(size=n).astype(np.float32) / 8
        cells = int(2 * n**0.5)
        ways = {"numpy": {}, "torch": {}, "faiss": {}, f"faiss, 8 of {cells} cells": {"backend": "faiss", "cells": cells}}
        best, spent = None, {}
        for name, options in ways.items():  # one index in memory at a time
            index = Index(items, bias, **({"backend": name} | options))
            index.search(queries[0])
            seconds, found = in_turns({name: lambda i=index, q=queries: [i.search(one).items[0] for one in q]}, 3)
            spent[name] = seconds[name].min() / QUERIES * 1e3
            lists = found[name]
            best = lists if best is None else best
            recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(lists, best, strict=True)])
            share = f"{spent[name]:.3f} ms, {spent['numpy'] / spent[name]:.1f} × numpy's speed, found {recall:.3f} of the best"
            yield f"ten best of {n:,}, one query: {name}", share, "" if "cells" in name else "all"


def main():
    """Measure what was asked for, print as it comes, write the table."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):  # read once, when torch is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD | {"TOKENIZERS_PARALLELISM": "false"})
    parts = sys.argv[1:] or PARTS
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"{', '.join(unknown)}: the parts are {', '.join(PARTS)}")
    torch.set_num_threads(1)
    lines = []

    def add(rows):
        for row in rows:
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)

    if {"encoder", "single"} & set(parts):
        texts = item_texts(load_movielens().items)
        encoder = TextEncoder(device="cpu")
        with tempfile.TemporaryDirectory() as folder:
            onnx = exported(encoder, texts, Path(folder))
            for ways in [encoder, *onnx.values()]:
                ways.encode(texts[:32], **({"cache": False} if ways is encoder else {}))  # warms up
            if "encoder" in parts:
                add(encoder_rows(encoder, onnx, texts))
            if "single" in parts:
                add(single_rows(encoder, onnx, texts))
    if "search" in parts:
        add(search_rows())
    if set(parts) == set(PARTS):
        write(lines)


def write(lines):
    """SPEED.md: how it was measured, then one table."""
    used = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "onnxruntime", "numpy", "faiss-cpu"))
    instructions = torch.backends.cpu.get_cpu_capability()
    text = f"""# Speed: the encoder as a file, fewer bits, batches of requests, search

The 1,682 item texts of MovieLens-100K through all-MiniLM-L6-v2, nothing read from stored vectors; torch is `TextEncoder` as
it comes (batches of 64). *One by one*: 128 of the texts from 16 clients at once through `MicroBatcher`, event loop included.
Search: {FACTORS} numbers an item and a bias, {QUERIES} queries one after the other, drawn around 500 centres. One thread, CPU
seconds of the process, all sides in turns in one run; median (range) over {ROUNDS} rounds, search: the best of 3. What 8 and
16 bits gain depends on the processor: here {machine()}, instructions up to {instructions}.

Measured {datetime.date.today()} on {platform.machine()} {platform.system()}, Python {platform.python_version()}, {used}.
Command: `python tests/bench/speed.py`

| what | found | needed |
|---|---|---|
"""
    (HERE / "SPEED.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
