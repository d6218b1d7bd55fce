"""The course's own routes: recommendations, feedback and metrics."""

import uuid
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI, HTTPException, Path, Query, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST

from course_lib.serving import metrics
from course_lib.serving.batching import Overloaded
from course_lib.serving.feedback import FeedbackError
from course_lib.serving.package import Answer, Package, PackageError
from course_lib.serving.schemas import ErrorBody, Feedback, Recommendations, Stored, cold_start
from course_lib.serving.service import Service

ERRORS = {
    400: "The body cannot be read.",
    401: "The token is missing or wrong.",
    404: "There is no such thing.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    422: "A value is missing or out of range.",
    500: "The service failed.",
    503: "Too much at once, or not ready: try again after Retry-After seconds.",
    504: "The answer was not ready in time.",
}


def errors(*statuses: int) -> dict:
    """The OpenAPI entries of these error statuses, with the one body that all errors have."""
    return {status: {"model": ErrorBody, "description": ERRORS[status]} for status in statuses}


BODY = errors(400, 401, 408, 413, 422, 500, 503, 504)


def add_routes(app: FastAPI, service: Service) -> None:
    """Register the routes with the limits of the service."""
    options = service.options
    usual = options.usual_k
    LikedItems, FreeText = cold_start(options.max_k, options.max_liked, options.max_text)
    Count = Annotated[int, Query(ge=1, le=options.max_k, description="Items of the list.")]
    User = Annotated[str, Path(min_length=1, max_length=64, description="Id of the user; an unknown one gets what is popular.")]

    async def recommend(user_id: User, k: Count = usual):
        """Items for a user: those with the largest ⟨x_u, v_i⟩ + b_i that the user has not rated."""
        package = service.current.package
        return as_json(answered(package, package.recommend(user_id, k)))

    class Lean(APIRoute):
        """The route above with its own reading of the two parameters: FastAPI's general one takes most of its time."""

        async def handle(self, scope, receive, send):
            if scope["method"] != "GET":
                await super().handle(scope, receive, send)
                return
            package, k = service.current.package, count_of(scope["query_string"], usual, options.max_k)
            body = answered(package, package.recommend(user_of(scope), k))
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    about = {"response_model": Recommendations, "responses": errors(401, 422, 500, 503), "tags": ["recommend"]}
    app.router.add_api_route("/recommend/{user_id}", recommend, methods=["GET"], route_class_override=Lean, **about)

    @app.post("/recommend", response_model=Recommendations, responses=BODY, tags=["recommend"])
    async def recommend_newcomer(wish: LikedItems | FreeText):
        """Items for someone new, who names items or describes what to watch; both are folded into the model."""
        loaded = service.current
        package = loaded.package
        if isinstance(wish, LikedItems):
            return as_json(answered(package, package.recommend_for(wish.liked, wish.k)))
        vector, unknown = await vector_of(service, loaded, wish.text)
        return as_json(answered(package, package.recommend_text(vector, wish.k, unknown)))

    if service.feedback is not None:

        @app.post("/feedback", response_model=Stored, status_code=201, responses=BODY, tags=["feedback"])
        async def feedback(event: Feedback):
            """Store what a person did; answered when the event is on the disk, so that what is acknowledged is not lost."""
            row = event.model_dump(exclude_none=True)
            row["event_id"] = row.get("event_id") or uuid.uuid4().hex
            row["received"] = datetime.now(UTC).isoformat(timespec="milliseconds")
            try:
                await service.feedback.append(row)
            except FeedbackError as error:
                raise HTTPException(503, str(error), {"Retry-After": "5"}) from None
            metrics.EVENT[event.event].inc()
            return as_json(orjson.dumps({"event_id": row["event_id"]}), 201)

    text = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus's text format."}}

    @app.get("/metrics", response_class=Response, responses=text, tags=["operations"])
    async def prometheus():
        """Metrics for Prometheus, of all workers."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def user_of(scope) -> str:
    """The user id in the path. Raises HTTPException 422 where it is too long."""
    user = scope["path_params"]["user_id"]
    if len(user) > 64:
        raise HTTPException(422, "path.user_id: at most 64 characters")
    return user


def count_of(query: bytes, usual: int, most: int) -> int:
    """The k of a query string, `usual` without one. Raises HTTPException 422 unless it is a whole number from 1 to `most`."""
    if not query:
        return usual
    text = query[2:].decode("latin-1") if query.startswith(b"k=") else ""
    if not text.isdigit():
        values = [value for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if name == "k"]
        text = values[-1] if values else str(usual)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise HTTPException(422, f"query.k: a whole number from 1 to {most} is needed")
    return int(text)


async def vector_of(service: Service, loaded, text: str):
    """The vector of a text, and its words that cannot be read; what stands in the way as an HTTP error."""
    try:
        return await service.read(loaded, text)
    except PackageError as error:
        raise HTTPException(422, str(error)) from None
    except Overloaded:
        metrics.REASON["overload"].inc()
        raise HTTPException(503, "too many texts at once; try again", {"Retry-After": "1"}) from None


def answered(package: Package, answer: Answer) -> bytes:
    """The list as JSON, counted."""
    metrics.record_answer(package, answer)
    body = {
        "kind": answer.kind,
        "model": package.name,
        "version": package.version,
        "propensity": 1.0,
        "items": package.listing(answer),
        "unknown": answer.unknown,
    }
    return orjson.dumps(body)


def as_json(body: bytes, status: int = 200) -> Response:
    """Bytes of JSON as a response."""
    return Response(body, status, media_type="application/json")
