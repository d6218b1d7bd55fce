import os
import sys

import numpy as np
import pytest

from course_lib import evaluation
from course_lib.serving import search
from course_lib.serving.search import Index, SearchError, overlap, top_k


def need_faiss():
    """Faiss is an extra, which a test run in CI has to have."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        words = "faiss is an extra: python -m pip install faiss-cpu"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)


@pytest.fixture(params=["numpy", "torch", "faiss"])
def backend(request):
    if request.param == "faiss":
        need_faiss()
    return request.param


def catalogue(n=200, d=8, queries=5):
    draw = np.random.default_rng(0)
    return draw.normal(size=(n, d)), draw.normal(size=n), draw.normal(size=(queries, d))


def brute_force(vectors, bias, queries, k, exclude=None):
    """Item by item in Python, best first, ties to the lower index."""
    lists = []
    for row, query in enumerate(queries):
        left_out = set() if exclude is None else {int(i) for i in exclude[row]}
        scored = [(-(float(query @ v) + float(b)), i) for i, (v, b) in enumerate(zip(vectors, bias, strict=True))]
        lists.append(([i for _, i in sorted(s for s in scored if s[1] not in left_out)] + [-1] * k)[:k])
    return lists


def test_top_k_by_hand():
    scores = [[1, 5, 5, 2], [0, -np.inf, -np.inf, -np.inf], [7, 7, 7, 7]]
    assert top_k(scores, 2).tolist() == [[1, 2], [0, -1], [0, 1]]
    assert top_k(scores, 4).tolist() == [[1, 2, 3, 0], [0, -1, -1, -1], [0, 1, 2, 3]]
    assert top_k(np.zeros((0, 3)), 2).shape == (0, 2)


@pytest.mark.parametrize("seed", range(20))
def test_top_k_is_the_full_sort(seed):
    draw = np.random.default_rng(seed)
    n, m = draw.integers(1, 6), draw.integers(1, 60)
    scores = draw.integers(0, draw.choice([2, 8, 1000]), size=(n, m)).astype(draw.choice(["f4", "f8"]))  # many are equal
    scores[draw.random((n, m)) < 0.2] = -np.inf
    for k in {1, int(draw.integers(1, m + 1)), m}:
        np.testing.assert_array_equal(top_k(scores, k), evaluation.top_k(scores, k))


def test_top_k_refuses():
    for k in (1, 2, 3):
        with pytest.raises(ValueError, match="NaN"):
            top_k([[1.0, np.nan, 2.0]], k)
    for scores, k in (([[1.0, 2.0]], 0), ([[1.0, 2.0]], 3), ([1.0, 2.0], 1)):
        with pytest.raises(ValueError, match="two axes"):
            top_k(scores, k)


def test_search_is_brute_force(backend):
    vectors, bias, queries = catalogue()
    index = Index(vectors, bias, backend=backend)
    assert index.backend == backend
    for k in (1, 10, 200):
        items, scores = index.search(queries, k)
        assert items.tolist() == brute_force(vectors, bias, queries, k) and items.dtype == np.int64
        exact = np.take_along_axis(queries @ vectors.T + bias, items, axis=1)
        np.testing.assert_allclose(scores, exact, atol=1e-5)
        assert scores.dtype == np.float32
    assert (index.search(queries[0], 7).items == index.search(queries, 7).items[:1]).all(), "one query without its axis"
    assert index.search(np.empty((0, 8)), 3).items.shape == (0, 3)


def test_the_bias_counts(backend):
    vectors, _, queries = catalogue()
    bias = np.zeros(200)
    bias[17] = 100.0
    assert (Index(vectors, bias, backend=backend).search(queries, 1).items == 17).all()
    assert Index(vectors, backend=backend).search(queries, 5).items.tolist() == brute_force(vectors, bias * 0, queries, 5)


def test_what_is_excluded_is_not_found(backend):
    vectors, bias, queries = catalogue()
    draw = np.random.default_rng(1)
    exclude = [draw.choice(200, size=n, replace=False) for n in (0, 3, 50, 195, 200)]
    found = Index(vectors, bias, backend=backend).search(queries, 10, exclude=exclude)
    assert found.items.tolist() == brute_force(vectors, bias, queries, 10, exclude)
    assert (np.isneginf(found.scores) == (found.items < 0)).all()
    assert (found.items[3] >= 0).sum() == 5 and (found.items[4] == -1).all()


def test_many_queries_are_done_in_parts(backend, monkeypatch):
    vectors, bias, queries = catalogue(queries=7)
    exclude = [[n] for n in range(7)]
    index = Index(vectors, bias, backend=backend)
    monkeypatch.setattr(search, "_AT_ONCE", 450)  # two queries of 200 items
    assert index.search(queries, 4, exclude=exclude).items.tolist() == brute_force(vectors, bias, queries, 4, exclude)


@pytest.mark.parametrize("exact", ["numpy", "torch"])
def test_equal_scores_go_to_the_lower_index(exact):
    vectors = np.zeros((500, 4))
    vectors[[400, 90]] = 1
    assert Index(vectors, backend=exact).search(np.ones((2, 4)), 5).items.tolist() == [[90, 400, 0, 1, 2]] * 2


def test_cells_find_most_of_the_best():
    need_faiss()
    vectors, bias, queries = catalogue(4000, 16, 50)
    exact = Index(vectors, bias, backend="numpy").search(queries, 10).items

    def recall(probes):
        found = Index(vectors, bias, backend="faiss", cells=40, probes=probes).search(queries, 10).items
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])

    assert recall(40) == 1.0, "every cell"
    assert 0.1 < recall(1) < recall(10) < 1.0
    again = [Index(vectors, bias, backend="faiss", cells=40, probes=3).search(queries, 10).items for _ in range(2)]
    assert (again[0] == again[1]).all()


def test_auto_takes_faiss_for_very_many_where_it_is(monkeypatch):
    vectors, bias, _ = catalogue(20)
    assert Index(vectors, bias).backend == "numpy"
    monkeypatch.setattr(search, "MANY", 19)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert Index(vectors, bias).backend == "torch"
    with pytest.raises(SearchError, match=r"course_lib\[search\]"):
        Index(vectors, bias, backend="faiss")


def test_auto_with_faiss(backend, monkeypatch):
    monkeypatch.setattr(search, "MANY", 19)
    chosen = Index(catalogue(20)[0]).backend
    assert chosen == "faiss" if backend == "faiss" else chosen in ("faiss", "torch")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"item_vectors": np.ones(5)}, "item_vectors must be"),
        ({"item_vectors": np.ones((0, 3))}, "item_vectors must be"),
        ({"item_vectors": [[1.0, np.nan]]}, "finite"),
        ({"bias": np.ones(4)}, "one number for each of the 5"),
        ({"bias": [1, 2, np.inf, 0, 0]}, "finite"),
        ({"backend": "annoy"}, "'annoy'"),
        ({"cells": 2}, "cells"),
        ({"cells": 6, "backend": "faiss"}, "cells"),
        ({"probes": 0}, "probes"),
    ],
)
def test_what_makes_no_index(change, words):
    with pytest.raises(ValueError, match=words):
        Index(**({"item_vectors": np.ones((5, 3))} | change))


@pytest.mark.parametrize(
    ("queries", "options", "words"),
    [
        (np.ones((2, 4)), {}, r"\(n, 3\)"),
        ([[np.nan, 0, 0]], {}, "finite"),
        (np.ones((2, 3)), {"k": 0}, "between 1 and"),
        (np.ones((2, 3)), {"k": 6}, "between 1 and"),
        (np.ones((2, 3)), {"exclude": [[1]]}, "one list for each of the 2"),
        (np.ones((2, 3)), {"exclude": [[1], [5]]}, "outside 0 … 4"),
        (np.ones((2, 3)), {"exclude": [[-1], []]}, "outside 0 … 4"),
    ],
)
def test_what_is_no_query(queries, options, words):
    with pytest.raises(ValueError, match=words):
        Index(np.ones((5, 3))).search(queries, **({"k": 2} | options))


def test_overlap_by_hand():
    line = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3], [0.0, 1.0]])
    assert overlap(line, 5 * line, k=1) == 1.0
    turned = line[[0, 1, 3, 2]]
    before, after = [1, 0, 1, 2], [1, 0, 3, 1]  # the nearest of each
    assert overlap(line, turned, k=1) == np.mean([a == b for a, b in zip(before, after, strict=True)]) == 0.5
    assert overlap(line, turned, k=3) == 1.0, "with three of three everything stays"
    for a, b, k in ((line, line[:3], 1), (line, line, 4), (line, line, 0), (line[0], line[0], 1)):
        with pytest.raises(ValueError, match="same items"):
            overlap(a, b, k=k)
