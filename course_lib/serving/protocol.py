"""The Open Inference Protocol (version 2, REST), so that what knows the protocol can use the model without knowing ours.

Source: KServe, Open Inference Protocol specification, HTTP/REST.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Annotated

import numpy as np
import orjson
from fastapi import FastAPI, HTTPException, Path, Response

from course_lib.serving import metrics
from course_lib.serving.package import Answer, Package
from course_lib.serving.routes import errors, vector_of
from course_lib.serving.schemas import (
    InferRequest,
    InferResponse,
    InputTensor,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
)
from course_lib.serving.service import Service

NONE = {"INT64": -1, "BYTES": ""}  # item id in the places that a row with fewer than k items leaves free
Model = Annotated[str, Path(min_length=1, max_length=64, description="Name of the model.")]
Version = Annotated[str, Path(min_length=1, max_length=64, description="Version of the model.")]


def add_protocol(app: FastAPI, service: Service) -> None:
    """Register /v2 and what is below it."""
    name = app.title
    known = errors(400, 401, 404, 503)

    def checked(model: str, wanted: str | None = None) -> Package:
        package = service.current.package
        if model != package.name or wanted not in (None, package.version):
            raise HTTPException(404, f"this service has the model {package.name}, version {package.version}, and no other")
        return package

    @app.get("/v2", response_model=ServerMetadata, responses=errors(401, 503), tags=["inference protocol"])
    async def server_metadata():
        """Who serves."""
        return {"name": name, "version": version("course_lib"), "extensions": []}

    @app.get("/v2/health/live", response_model=Live, tags=["inference protocol"])
    async def live():
        """Whether the process answers."""
        return {"live": True}

    @app.get("/v2/health/ready", response_model=Ready, responses=errors(503), tags=["inference protocol"])
    async def ready():
        """Whether requests may be sent here: 503 before the model is loaded and while the service stops."""
        if not service.ready:
            raise HTTPException(503, "not ready: the model is being loaded, or the service stops", {"Retry-After": "1"})
        return {"ready": True}

    for path, of_version in (("/v2/models/{model}", False), ("/v2/models/{model}/versions/{version}", True)):
        add_model(app, service, path, checked, known, of_version=of_version)


def add_model(app: FastAPI, service: Service, path: str, checked, known: dict, *, of_version: bool) -> None:
    """The three routes of a model, under a path with or without its version."""
    tags, suffix = ["inference protocol"], "_version" if of_version else ""

    async def metadata(package: Package) -> dict:
        about = {"name": package.name, "versions": [package.version], "platform": "course_lib"}
        inputs = [{"name": "user_id", "datatype": "BYTES", "shape": [-1]}]
        if package.text_map is not None:
            inputs.append({"name": "text", "datatype": "BYTES", "shape": [-1]})
        outputs = [("item_id", kind_of(package)), ("score", "FP32")]
        return about | {"inputs": inputs, "outputs": [{"name": n, "datatype": t, "shape": [-1, -1]} for n, t in outputs]}

    async def readiness(package: Package) -> dict:
        return {"name": package.name, "ready": service.ready}

    async def inference(package: Package, request: InferRequest) -> Response:
        return await infer(service, package, request)

    def register(call, method: str, end: str, model, summary: str, statuses: dict):
        if method == "POST" and of_version:

            async def endpoint(model: Model, version: Version, request: InferRequest):
                return await call(checked(model, version), request)
        elif method == "POST":

            async def endpoint(model: Model, request: InferRequest):
                return await call(checked(model), request)
        elif of_version:

            async def endpoint(model: Model, version: Version):
                return await call(checked(model, version))
        else:

            async def endpoint(model: Model):
                return await call(checked(model))

        options = {"response_model": model, "responses": statuses, "summary": summary, "tags": tags}
        app.add_api_route(path + end, endpoint, methods=[method], name=call.__name__ + suffix, **options)

    register(metadata, "GET", "", ModelMetadata, "What the model takes and gives", known)
    register(readiness, "GET", "/ready", ModelReady, "Whether the model can be used", known)
    posted = known | errors(408, 413, 500, 504)
    register(inference, "POST", "/infer", InferResponse, "The k best items for each user id or text", posted)


async def infer(service: Service, package: Package, request: InferRequest) -> Response:
    """Answers to one tensor, row by row. Raises HTTPException 400 for a tensor that the model cannot take."""
    tensor, k = request.inputs[0], request.parameters.k or service.options.usual_k
    check_tensor(service, tensor, k)
    loaded = service.current
    if tensor.name == "text":
        package = loaded.package
        vectors = await asyncio.gather(*(vector_of(service, loaded, text) for text in tensor.data))
        answers = [package.recommend_text(vector, k, unknown) for vector, unknown in vectors]
    else:
        answers = [package.recommend(user, k) for user in tensor.data]
    for answer in answers:
        metrics.record_answer(package, answer)
    wanted = [output.name for output in request.outputs or []] or ["item_id", "score"]
    made = outputs(package, answers, min(k, len(package.item_ids)))
    body = {"model_name": package.name, "model_version": package.version, "outputs": [made[name] for name in wanted]}
    if request.id is not None:
        body["id"] = request.id
    if any(answer.unknown for answer in answers):
        body["parameters"] = {"unknown": [answer.unknown for answer in answers]}
    return Response(orjson.dumps(body), media_type="application/json")


def check_tensor(service: Service, tensor: InputTensor, k: int) -> None:
    """Raises HTTPException 400 where shape, type, limits and data do not agree."""
    options, rows, want = service.options, len(tensor.data), int if tensor.datatype == "INT64" else str
    longest = options.max_text if tensor.name == "text" else 64
    problem = None
    if tensor.shape != [rows]:
        problem = f"the shape of {tensor.name} does not fit its {rows} values"
    elif rows > options.max_rows:
        problem = f"at most {options.max_rows} rows at once, not {rows}"
    elif k > options.max_k:
        problem = f"k is at most {options.max_k}"
    elif tensor.name == "text" and want is int:
        problem = "texts have the datatype BYTES"
    elif not all(type(value) is want for value in tensor.data):
        problem = f"the values of {tensor.name} are not all {tensor.datatype}"
    elif want is str and max(map(len, tensor.data)) > longest:
        problem = f"a value of {tensor.name} has at most {longest} characters"
    if problem:
        raise HTTPException(400, problem)


def kind_of(package: Package) -> str:
    """Datatype of the item ids."""
    return "INT64" if all(type(item) is int for item in package.item_ids) else "BYTES"


def outputs(package: Package, answers: list[Answer], k: int) -> dict[str, dict]:
    """The answers as two tensors (n, k); a row with fewer items ends in −1 (or "") and the score 0."""
    kind = kind_of(package)
    ids, scores = [], np.zeros((len(answers), k), dtype=np.float32)
    for row, answer in enumerate(answers):
        found = [package.item_ids[item] if kind == "INT64" else str(package.item_ids[item]) for item in answer.rows.tolist()]
        ids += found + [NONE[kind]] * (k - len(found))
        scores[row, : len(found)] = answer.scores
    shape = [len(answers), k]
    return {
        "item_id": {"name": "item_id", "datatype": kind, "shape": shape, "data": ids},
        "score": {"name": "score", "datatype": "FP32", "shape": shape, "data": scores.ravel().tolist()},
    }
