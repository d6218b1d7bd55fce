"""The course's models beside peer libraries: same splits, same measures, one thread, CPU seconds.

python tests/bench/bench.py [--peers .venv-bench/bin/python] → tests/bench/RESULTS.md
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from adapters import RANKING, RATING, cpu

from course_lib.datasets import load_movielens
from course_lib.evaluation import bootstrap, hit_rate, hits, mae, ndcg, rmse, top_k
from course_lib.models import (
    ALS,
    EASE,
    BayesianMF,
    BiasBaseline,
    FactorizationMachine,
    ItemKNN,
    MatrixFactorization,
    Popularity,
    item_features,
    user_features,
)
from course_lib.splitting import k_fold, leave_last_out

HERE = Path(__file__).parent
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA")}


def our_models(sides):
    """Name → constructor, for ratings and for ranking."""
    rating = {
        "BiasBaseline": BiasBaseline,
        "ItemKNN": ItemKNN,
        "MatrixFactorization, d = 64": MatrixFactorization,
        "ALS, d = 8": ALS,
        "FactorizationMachine, d = 32, side": lambda: FactorizationMachine(**sides),
        "BayesianMF, d = 8": BayesianMF,
        "BayesianMF, d = 8, implicit + side": lambda: BayesianMF(implicit=True, **sides),
        "BayesianMF, d = 16, implicit + side": lambda: BayesianMF(embedding_size=16, implicit=True, **sides),
    }
    ranking = {
        "Popularity": Popularity,
        "ItemKNN, implicit": lambda: ItemKNN(feedback="implicit"),
        "ALS, implicit, d = 32": lambda: ALS(feedback="implicit", embedding_size=32),
        "MatrixFactorization, bpr": lambda: MatrixFactorization(loss="bpr"),
        "MatrixFactorization, bce": lambda: MatrixFactorization(loss="bce"),
        "EASE": EASE,
        "EASE, half_life = 3": lambda: EASE(half_life=3.0),
    }
    return rating, ranking


def run_ours(make, splits, pairs):
    """Fit on each split, predict its pairs → [(predictions, CPU seconds)]."""
    make().fit(splits[0])  # the first fit also warms up
    out = []
    for split, (users, items) in zip(splits, pairs, strict=True):
        start = cpu()
        model = make().fit(split)
        seconds = cpu() - start
        out.append((model.score(users, items), seconds))
    return out


def run_peer(python, name, data, folder):
    """The same in the peers' environment → [(predictions, CPU seconds)], or the last line of its error."""
    out = folder / "peer.npz"
    done = subprocess.run([python, HERE / "adapters.py", name, data, out], capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1]
    result = np.load(out)
    return [(result[f"predicted_{n}"], float(result[f"seconds_{n}"])) for n in range(len(result.files) // 2)]


def rating_row(name, library, runs, folds):
    """Mean and standard deviation over the folds."""
    clipped = [np.clip(predicted, 1, 5) for predicted, _ in runs]
    r, m = (
        [measure(fold.test["rating"].to_numpy(), p) for fold, p in zip(folds, clipped, strict=True)] for measure in (rmse, mae)
    )
    seconds = np.median([s for _, s in runs])
    return (
        f"| ratings | {name} | {library} | {np.mean(r):.4f} ± {np.std(r, ddof=1):.4f} | {np.mean(m):.4f} | | | {seconds:.2f} |"
    )


def ranking_row(name, library, runs, split):
    """Mean over users with a bootstrap interval; every item without a train row is ranked."""
    (predicted, seconds), shape = runs[0], (split.n_users, split.n_items)
    scores = np.nan_to_num(predicted.reshape(shape), nan=-np.inf)
    scores[split.matrix("train").nonzero()] = -np.inf
    users = split.test["user"].to_numpy()
    found = hits(top_k(scores[users], 10), split.test["item"].to_numpy())
    gain, rate = bootstrap(ndcg(found, 1)), bootstrap(hit_rate(found))
    return f"| top ten | {name} | {library} | | | {gain} | {rate} | {seconds:.2f} |"


def main():
    """Run everything, print as it comes, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=".venv-bench/bin/python", help="interpreter that has requirements.txt installed")
    python = parser.parse_args().peers
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):  # read once, when numpy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    if not Path(python).exists():
        sys.exit(f"{python} does not exist: make the environment first (tests/bench/README.md), or name one with --peers")
    ratings = load_movielens()
    sides = {"user_features": user_features(ratings)[0], "item_features": item_features(ratings)[0]}
    folds, ranked = k_fold(ratings, folds=5, seed=0), leave_last_out(ratings, min_rating=4, seed=0)
    everything = tuple(grid.ravel() for grid in np.indices((ratings.n_users, ratings.n_items)))
    pairs = [(fold.test["user"].to_numpy(), fold.test["item"].to_numpy()) for fold in folds]
    rating, ranking = our_models(sides)
    rows = []

    def add(row):
        print(row, flush=True)
        rows.append(row)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_data(folder / "data.npz", folds, ranked, pairs, everything, sides)
        for name, make in rating.items():
            add(rating_row(name, "course_lib", run_ours(make, folds, pairs), folds))
        for name in RATING:
            runs = run_peer(python, name, data, folder)
            library, _, model = name.partition(" ")
            failed = f"| ratings | {model} | {library} | did not run: {runs} | | | | |"
            add(failed if isinstance(runs, str) else rating_row(model, library, runs, folds))
        for name, make in ranking.items():
            add(ranking_row(name, "course_lib", run_ours(make, [ranked], [everything]), ranked))
        for name in RANKING:
            runs = run_peer(python, name, data, folder)
            library, _, model = name.partition(" ")
            failed = f"| top ten | {model} | {library} | did not run: {runs} | | | | |"
            add(failed if isinstance(runs, str) else ranking_row(model, library, runs, ranked))
    write_results(python, rows)


def write_data(path, folds, ranked, pairs, everything, sides):
    """What the peers need, as plain arrays."""
    arrays = {"side_user": sides["user_features"], "side_item": sides["item_features"]}
    columns = ["user", "item", "rating"]
    for number, fold in enumerate(folds):
        arrays[f"fold_{number}_train"] = fold.train[columns].to_numpy(dtype=float)
        arrays[f"fold_{number}_test"] = np.column_stack(pairs[number])
    arrays["rank_0_train"] = ranked.train[columns].to_numpy(dtype=float)
    arrays["rank_0_test"] = np.column_stack(everything)
    np.savez(path, **arrays)
    return path


def write_results(python, rows):
    """RESULTS.md: how it was measured, then one table."""
    peers = subprocess.run([python, HERE / "adapters.py", "--versions"], capture_output=True, text=True).stdout.strip()
    ours = ", ".join(f"{name} {version(name)}" for name in ("course_lib", "torch", "numpy", "scipy"))
    text = f"""# The course's models beside peer libraries

MovieLens-100K. *ratings*: five folds, seeded shuffle (seed 0), predictions clipped to 1–5, mean ± standard deviation over
folds. *top ten*: the last liked item (rating ≥ 4) of each user left out (seed 0), every item without a train row ranked, mean
over users with a 95 % bootstrap interval. CPU: seconds of the process for one fit (median over folds), one thread, a first
fit that warms up not counted. Differences of less than 0.012 in NDCG@10 are noise. Peers run with the settings that
`adapters.py` shows, not with a full search for each. Our own defaults were picked by hand on these data (ratings: two
folds of another shuffle; top ten: a handful of settings on this very split), so read small leads with that in mind.

Measured {datetime.date.today()} on {platform.machine()} {platform.system()}, Python {platform.python_version()}.
Ours: {ours}. Peers: {peers}.
Command: `python tests/bench/bench.py`

| task | model | library | RMSE | MAE | NDCG@10 | HR@10 | CPU s |
|---|---|---|---|---|---|---|---|
"""
    (HERE / "RESULTS.md").write_text(text + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
