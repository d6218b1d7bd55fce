"""The HTTP service: `course serve PACKAGE`, or uvicorn --factory course_lib.serving.app:create_app with COURSE_PACKAGE."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from course_lib.serving.limits import OPEN, Guard
from course_lib.serving.logs import configure
from course_lib.serving.options import Options
from course_lib.serving.package import Package, PackageError, load_package
from course_lib.serving.protocol import add_protocol
from course_lib.serving.routes import add_routes
from course_lib.serving.service import Service
from course_lib.serving.texts import Encoder

DESCRIPTION = """Recommendations from a packed model. Every error is `{"error": "what is wrong"}`. The Open Inference Protocol
is under `/v2`. Limits, token and feedback file are set by the operator."""


def create_app(package: Package | Path | str | None = None, *, encoder: Encoder | None = None, **options) -> FastAPI:
    """The service for a package (its folder; default COURSE_PACKAGE).

    options: those of `Options`, which win over the environment; encoder: reads texts instead of the package's own.
    Raises PackageError for a package that cannot be served, ValueError for an option out of range.
    """
    settings = Options.from_environment(**options)
    configure(settings.log)
    package = package or os.environ.get("COURSE_PACKAGE")
    if not package:
        raise PackageError("no package is named: call create_app(folder), set COURSE_PACKAGE, or use `course serve PACKAGE`")
    service = Service(package if isinstance(package, Package) else load_package(package), settings, encoder=encoder)

    @asynccontextmanager
    async def lifespan(_app):
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="course recommender", version="1", description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    app.add_middleware(Guard, options=settings)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    add_routes(app, service)
    add_protocol(app, service)
    app.openapi = lambda: document(app, settings)
    return app


async def http_error(_request: Request, error: HTTPException) -> Response:
    """An error that a route raised, or that there is no such route."""
    return problem(error.status_code, str(error.detail), error.headers)


async def invalid(request: Request, error: RequestValidationError) -> Response:
    """A request that does not fit its schema: where and why, without repeating what was sent."""
    first = error.errors()[0]
    unknown = first["type"] == "extra_forbidden"  # then the last part of the place is a name that the client made up
    where = ".".join(str(part) for part in first["loc"][: -1 if unknown else None])
    status = 400 if request.url.path.startswith("/v2") or first["type"] == "json_invalid" else 422
    return problem(status, f"{where}: {'there is a field too many' if unknown else first['msg']}")


def problem(status: int, message: str, headers=None) -> Response:
    """{"error": message}."""
    body = orjson.dumps({"error": message.encode("utf-8", "replace").decode()})
    return Response(body, status, headers=dict(headers or {}), media_type="application/json")


def document(app: FastAPI, options: Options) -> dict:
    """The OpenAPI document, made once; with the token where one is asked for."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                if path.startswith("/v2"):  # the protocol's status for whatever does not fit
                    operation["responses"].pop("422", None)
                if options.token and path not in OPEN:
                    operation["security"] = [{"token": []}]
                else:
                    operation["responses"].pop("401", None)
        if options.token:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema
