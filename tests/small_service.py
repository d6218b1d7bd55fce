"""A package of a few users and items, and a service for it in this process, for the tests of serving."""

import threading
import time
from contextlib import contextmanager

import pandas as pd
import uvicorn
from small_split import random_split_of, small_items

from course_lib.datasets.ratings import build_ratings
from course_lib.models import ALS
from course_lib.serving import write_package


def small_ratings(*, n_users=7, n_items=9, name=str):
    """The catalogue of `small_items` and a table that has every user and item; user ids are u1 … or numbers."""
    users = [name(f"u{n + 1}") if name is str else n + 1 for n in range(n_users)]
    items = small_items(n_items)
    pairs = [(u, i) for u in users for i in items["item_id"]]
    table = pd.DataFrame(pairs, columns=["user_id", "item_id"]).assign(rating=3.0, timestamp=0)
    people = pd.DataFrame({"user_id": users, "age": 30, "gender": "F", "occupation": "artist", "zip_code": "1"})
    return build_ratings("small", table, items, people, scale=(1.0, 5.0), source="test")


def small_model(*, seed=0):
    return ALS(feedback="implicit", embedding_size=3, reg=0.5, seed=seed)


def small_package(folder, *, version="1", seed=0, **options):
    """Written from an implicit ALS; the last of the 7 users and the last of the 9 items have no train rows."""
    split = random_split_of()
    options = {"ratings": small_ratings(), "split": split, "version": version, "metrics": {"ndcg": 0.25}} | options
    ratings = options.pop("ratings")
    return write_package(folder, small_model(seed=seed).fit(split), ratings, **options)


@contextmanager
def running(app):
    """The app behind a real socket of this computer, in a thread; yields its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the service did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
