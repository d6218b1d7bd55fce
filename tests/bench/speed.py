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
ROUNDS, PARTED = 3, 8  # the catalogue is encoded in so many parts
SIZES, FACTORS, QUERIES = (1_682, 100_000, 1_000_000), 64, 32


def cpu():
    """CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def in_turns(sides, inputs, rounds=ROUNDS):
    """Name → CPU seconds for all inputs, and the vectors or lists of each input one after the other.

    For every input all sides run in turns, `rounds` times, and the best time of each counts: a busy moment hits one of many.
    """
    best, results = {name: np.full(len(inputs), np.inf) for name in sides}, {name: [] for name in sides}
    for place, given in enumerate(inputs):
        for number in range(rounds):
            for name, run in sides.items():
                start = cpu()
                found = run(given)
                best[name][place] = min(best[name][place], cpu() - start)
                if number == 0:
                    results[name].append(found)
    return {name: spent.sum() for name, spent in best.items()}, results


def exported(encoder, texts, folder):
    """Name → ONNX encoder: whole and pruned vocabulary, 32 and 8 bits."""
    whole = export_encoder(encoder, folder / "whole.onnx")
    pruned = export_encoder(encoder, folder / "pruned.onnx", vocabulary=used_pieces(texts, tokenizer=encoder.tokenizer))
    sample = {"texts": texts[::50], "tokenizer": encoder.folder}
    files = {
        "ONNX Runtime": whole,
        "ONNX Runtime, int8": quantize(whole, folder / "whole8.onnx", **sample),
        "ONNX Runtime, int8, channels not balanced": quantize(whole, folder / "plain8.onnx"),
        "ONNX Runtime, pruned vocabulary": pruned,
        "ONNX Runtime, int8, pruned vocabulary": quantize(pruned, folder / "pruned8.onnx", **sample),
    }
    return {name: OnnxEncoder(path, tokenizer=encoder.folder) for name, path in files.items()}


def encoder_rows(encoder, onnx, texts):
    """The whole catalogue, batched by length."""
    wider = TextEncoder(encoder.folder, device="cpu", batch_size=32)
    sides = {
        "torch": lambda part: encoder.encode(part, cache=False),
        "torch, batches of 32": lambda part: wider.encode(part, cache=False),
    }
    sides |= {name: o.encode for name, o in onnx.items()}
    parts = [texts[start::PARTED] for start in range(PARTED)]
    texts = sum(parts, [])
    seconds, found = in_turns(sides, parts)
    vectors = {name: np.concatenate(rows) for name, rows in found.items()}
    needed = {"ONNX Runtime": "≥ 1.15 ×", "ONNX Runtime, int8": "≥ 2.3 ×"}
    for name, spent in seconds.items():
        ratio = f"{seconds['torch'] / spent:.2f} ×"
        yield f"{name}: speed beside torch, {len(texts) / spent:.0f} texts/s", ratio, needed.get(name, "")
    for name, o in onnx.items():
        size = f"{o.path.stat().st_size / 1e6:.0f} MB"
        difference = f"{np.abs(vectors[name] - vectors['torch']).max():.1e}"
        yield f"{name}, {size}: largest difference from torch", difference, "" if "int8" in name else "≤ 1e-6"
        kept = f"{overlap(vectors['torch'], o.encode(texts)):.3f}"
        yield f"{name}: kept of the ten nearest", kept, "≥ .85" if name == "ONNX Runtime, int8" else ""
    half, some = in_bfloat16(encoder), texts[:200]  # without the instructions for it bfloat16 takes several times as long
    sides = {"torch": sides["torch"], "half": lambda part: half.encode(part, cache=False)}
    seconds, found = in_turns(sides, [some], 2)
    yield f"torch, bfloat16: speed beside torch, {len(some)} texts", f"{seconds['torch'] / seconds['half']:.2f} ×", ""
    kept = f"{overlap(found['torch'][0], found['half'][0]):.3f}"
    yield "torch, bfloat16: kept of the ten nearest among these", kept, ""


def single_rows(encoder, onnx, texts):
    """One text at a time as clients send them, and sixteen clients at once."""
    some = texts[:: len(texts) // 64][:64]
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
        (name, size): lambda _, e=encode, n=size: asyncio.run(clients(e, n))
        for name, encode in ways.items()
        for size in (1, 16)
    }
    seconds, _ = in_turns(sides, [some])
    for name in ways:
        alone, together = seconds[name, 1], seconds[name, 16]
        cost = f"{alone / len(some) * 1e3:.1f} and {together / len(some) * 1e3:.1f} ms a text"
        yield f"{name}: texts per CPU second, batches of up to 16 beside one by one, {cost}", f"{alone / together:.2f} ×", ""


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
            seconds, found = in_turns({name: lambda one, i=index: i.search(one).items[0]}, queries, 3)
            spent[name], lists = seconds[name] / QUERIES * 1e3, found[name]
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
it comes (batches of 64). *One by one*: 64 of the texts from 16 clients at once through `MicroBatcher`, event loop included.
Search: {FACTORS} numbers an item and a bias, {QUERIES} queries one after the other, drawn around 500 centres. One thread, CPU
seconds of the process, all sides in turns in one run, for each of {PARTED} parts of the texts the best of {ROUNDS} rounds, for
each query the best of 3. What 8 and 16 bits gain depends on the processor: here {machine()}, instructions up to
{instructions}.

Measured {datetime.date.today()} on {platform.machine()} {platform.system()}, Python {platform.python_version()}, {used}.
Command: `python tests/bench/speed.py`

| what | found | needed |
|---|---|---|
"""
    (HERE / "SPEED.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
