"""The floor for `service.py`: the same recommendations from a bare ASGI application (`uvicorn service_bare:app`)."""

import os
from functools import cache
from urllib.parse import parse_qs

import orjson

from course_lib.serving.package import load_package


@cache
def package():
    return load_package(os.environ["COURSE_PACKAGE"])


def answer(user, k):
    """Id, title and score of each item."""
    return {"items": package().listing(package().recommend(user, k))}


async def app(scope, receive, send):
    """GET /recommend/{user}?k= and nothing else: no framework, checks, metrics or limits."""
    if scope["type"] != "http":
        package()
        raise NotImplementedError("no lifespan")  # uvicorn goes on without
    k = int(parse_qs(scope["query_string"].decode()).get("k", ["10"])[0])
    body = orjson.dumps(answer(scope["path"].rsplit("/", 1)[1], k))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
