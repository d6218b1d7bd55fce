"""The course's encoder beside sentence-transformers: same weights, same texts, one thread, CPU seconds.

python tests/bench/encoder.py → tests/bench/ENCODER.md
"""

import datetime
import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from course_lib.datasets import load_movielens
from course_lib.text import TextEncoder, item_texts

HERE = Path(__file__).parent
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")}
ROUNDS = 5


def cpu():
    """CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    """Encode the catalogue in turns, write the table."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):  # read once, when torch is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD | {"TOKENIZERS_PARALLELISM": "false"})
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    texts = item_texts(load_movielens().items)
    ours = TextEncoder(device="cpu")
    theirs = SentenceTransformer(str(ours.folder), device="cpu")
    sides = {
        "course_lib": lambda texts: ours.encode(texts, cache=False),
        "sentence-transformers": lambda texts: theirs.encode(texts, show_progress_bar=False),
        "sentence-transformers, batch_size = 64": lambda texts: theirs.encode(texts, show_progress_bar=False, batch_size=64),
    }
    seconds, rows = {name: [] for name in sides}, {}
    for encode in sides.values():
        encode(texts[:200])  # warms up
    for _ in range(ROUNDS):  # in turns, so that a busy minute hits everyone
        for name, encode in sides.items():
            start = cpu()
            rows[name] = encode(texts)
            seconds[name].append(cpu() - start)
    reference = rows["sentence-transformers"]
    lines = []
    for name, spent in seconds.items():
        ratio = np.array(seconds["sentence-transformers"]) / spent
        nearest = (rows[name] * reference).sum(1).min()
        spread = f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        lines.append(f"| {name} | {np.median(spent):.2f} | {len(texts) / np.median(spent):.0f} | {spread} | {nearest:.6f} |")
    write(lines, len(texts))


def write(lines, count):
    """The table, with what was measured and where."""
    used = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "sentence-transformers", "numpy"))
    text = f"""# The encoder beside sentence-transformers

The {count:,} item texts of MovieLens-100K ("title (year). genres") through all-MiniLM-L6-v2 in float32, nothing read from
stored vectors. Median CPU seconds of the process over {ROUNDS} rounds in turns, one thread, a first call that warms up not
counted; loading not counted. *Throughput* is relative to sentence-transformers with its own settings, the median and the
range over the rounds; *cosine* is the smallest over all texts with its vectors.

Measured {datetime.date.today()} on {platform.machine()} {platform.system()}, Python {platform.python_version()}, {used}.
Command: `python tests/bench/encoder.py`

| library | CPU s | texts/s | throughput | cosine |
|---|---|---|---|---|
"""
    (HERE / "ENCODER.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
