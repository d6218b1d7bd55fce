"""Peer libraries, each behind one function; runs in the peers' own environment and knows nothing of course_lib.

python adapters.py NAME DATA.npz OUT.npz: fits peer NAME on every split in DATA, writes predictions and CPU seconds.
A peer is a function fit(train, sides) → predict: train (n, 3) of user, item, rating; sides the feature matrices of users
and items; predict maps pairs (m, 2) to (m,) stars or scores. Only the fit is timed.
"""

import resource
import sys

import numpy as np
from scipy import sparse


def surprise_model(make):
    def fit(train, sides):
        import pandas as pd
        import surprise

        frame = pd.DataFrame({"user": train[:, 0].astype(int), "item": train[:, 1].astype(int), "rating": train[:, 2]})
        data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
        model = make(surprise).fit(data)
        return lambda test: np.array([model.predict(int(u), int(i)).est for u, i in test])

    return fit


def lenskit_model(make):
    def fit(train, sides):
        import pandas as pd
        from lenskit.data import ItemList, from_interactions_df

        frame = pd.DataFrame({"user_id": train[:, 0].astype(int), "item_id": train[:, 1].astype(int), "rating": train[:, 2]})
        model = make()
        model.train(from_interactions_df(frame))

        def predict(test):
            users, items = test[:, 0].astype(int), test[:, 1].astype(int)
            out = np.full(len(test), np.nan)
            for user in np.unique(users):
                rows = np.flatnonzero(users == user)
                out[rows] = model(query=int(user), items=ItemList(item_ids=items[rows])).scores()
            return out

        return predict

    return fit


def lenskit_biased():
    from lenskit.als import BiasedMFScorer

    return BiasedMFScorer(embedding_size=50, epochs=10, regularization=0.1)


def lenskit_implicit():
    from lenskit.als import ImplicitMFScorer

    return ImplicitMFScorer(embedding_size=32, epochs=15, regularization=1.0, weight=10.0, use_ratings=False)


def cornac_model(make):
    def fit(train, sides):
        import cornac

        rows = [(int(u), int(i), float(r)) for u, i, r in train]
        data = cornac.data.Dataset.from_uir(rows, seed=0)
        model = make(cornac.models).fit(data)
        users, items = data.uid_map, data.iid_map

        def predict(test):
            known = [(users.get(int(u)), items.get(int(i))) for u, i in test]
            scores = {u: model.score(u) for u in {u for u, _ in known if u is not None}}
            return np.array([np.nan if u is None or i is None else scores[u][i] for u, i in known])

        return predict

    return fit


def myfm_model(*, rank, rich):
    def fit(train, sides):
        from myfm import MyFMGibbsRegressor, RelationBlock

        n_users, n_items = len(sides["user"]), len(sides["item"])
        pairs = train[:, :2].astype(int)
        rated = sparse.csr_matrix((np.ones(len(pairs)), pairs.T), shape=(n_users, n_items))
        blocks, shapes = [], []
        for side, matrix in (("user", rated), ("item", rated.T.tocsr())):
            groups = [sparse.identity(matrix.shape[0])]
            if rich:
                scale = sparse.diags(1 / np.sqrt(np.maximum(np.diff(matrix.indptr), 1)))
                groups += [scale @ matrix, sparse.csr_matrix(sides[side])]
            blocks.append(sparse.hstack(groups, format="csr"))
            shapes += [group.shape[1] for group in groups]

        def relations(test):
            return [RelationBlock(test[:, column].astype(int), block) for column, block in enumerate(blocks)]

        model = MyFMGibbsRegressor(rank=rank, random_seed=0)
        model.fit(None, train[:, 2], X_rel=relations(train), n_iter=200, n_kept_samples=160, group_shapes=shapes)
        return lambda test: model.predict(None, X_rel=relations(test))

    return fit


def implicit_model(make):
    def fit(train, sides):
        import implicit

        shape = len(sides["user"]), len(sides["item"])
        pairs = train[:, :2].astype(int)
        liked = sparse.csr_matrix((np.ones(len(pairs), dtype=np.float32), pairs.T), shape=shape)
        model = make(implicit)
        model.fit(liked, show_progress=False)

        def predict(test):
            if hasattr(model, "user_factors"):
                scores = model.user_factors @ model.item_factors.T
            else:
                scores = (liked @ model.similarity).toarray()
            return np.asarray(scores)[test[:, 0].astype(int), test[:, 1].astype(int)]

        return predict

    return fit


RATING = {
    "scikit-surprise BaselineOnly": surprise_model(lambda s: s.BaselineOnly(verbose=False)),
    "scikit-surprise SVD, tuned": surprise_model(
        lambda s: s.SVD(n_factors=100, n_epochs=40, reg_all=0.1, lr_all=0.01, random_state=0)
    ),
    "scikit-surprise KNNBaseline, items": surprise_model(
        lambda s: s.KNNBaseline(verbose=False, sim_options={"name": "pearson_baseline", "user_based": False})
    ),
    "lenskit BiasedMF (ALS)": lenskit_model(lenskit_biased),
    "cornac MF": cornac_model(
        lambda m: m.MF(k=100, max_iter=40, learning_rate=0.01, lambda_reg=0.1, use_bias=True, num_threads=1, seed=0)
    ),
    "myfm Gibbs, rank 8": myfm_model(rank=8, rich=False),
    "myfm Gibbs, rank 8, implicit + side": myfm_model(rank=8, rich=True),
}
RANKING = {
    "implicit ALS": implicit_model(
        lambda i: i.als.AlternatingLeastSquares(
            factors=32, regularization=5.0, alpha=5.0, iterations=15, num_threads=1, random_state=0
        )
    ),
    "implicit cosine item kNN": implicit_model(lambda i: i.nearest_neighbours.CosineRecommender(K=100, num_threads=1)),
    "lenskit ImplicitMF": lenskit_model(lenskit_implicit),
    "cornac BPR": cornac_model(lambda m: m.BPR(k=32, max_iter=100, learning_rate=0.05, lambda_reg=0.01, num_threads=1, seed=0)),
}
VERSIONS = ("scikit-surprise", "lenskit", "cornac", "myfm", "implicit", "torch", "numpy")


def cpu() -> float:
    """CPU seconds of this process so far, all threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(name: str, data: str, out: str) -> None:
    given = dict(np.load(data))
    sides = {"user": given["side_user"], "item": given["side_item"]}
    fit, splits = (RATING[name], "fold") if name in RATING else (RANKING[name], "rank")
    numbers = sorted(int(key[5:-6]) for key in given if key.startswith(f"{splits}_") and key.endswith("_train"))
    fit(given[f"{splits}_{numbers[0]}_train"], sides)  # the first fit also imports and compiles
    result = {}
    for number in numbers:
        start = cpu()
        predict = fit(given[f"{splits}_{number}_train"], sides)
        result[f"seconds_{number}"] = cpu() - start
        predicted = np.asarray(predict(given[f"{splits}_{number}_test"]), dtype=float)
        if name in RATING:  # a peer that knows nothing of an item gives no number
            predicted = np.where(np.isnan(predicted), given[f"{splits}_{number}_train"][:, 2].mean(), predicted)
        result[f"predicted_{number}"] = predicted
    np.savez(out, **result)


if __name__ == "__main__":
    if sys.argv[1:] == ["--versions"]:
        from importlib.metadata import version

        print(", ".join(f"{name} {version(name)}" for name in VERSIONS))
    else:
        main(*sys.argv[1:])
