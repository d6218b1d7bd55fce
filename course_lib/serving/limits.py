"""What stands between the network and the service: token, size, number and time of requests, and their count."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time

import orjson
from starlette.exceptions import HTTPException

from course_lib.serving import metrics
from course_lib.serving.logs import LOG, say
from course_lib.serving.options import Options

OPEN = ("/metrics", "/v2/health/live", "/v2/health/ready")  # asked by machines, never refused
BODIES = ("POST", "PUT", "PATCH")


class Guard:
    """ASGI middleware. Refuses with 401, 413, 503 (Retry-After), 408 and 504 as `options` say, and counts every request."""

    def __init__(self, app, *, options: Options):
        self.app, self.options = app, options
        self.in_flight, self.routes = 0, metrics.Routes()
        self.secret = f"Bearer {options.token}".encode() if options.token else None
        self.log_requests = LOG.isEnabledFor(logging.DEBUG)

    async def __call__(self, scope, receive, send):
        """Let one request through, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        start = time.perf_counter()
        try:
            if scope["path"] in OPEN:
                await self._answer(request)
            else:
                await self._if_allowed(request)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other") if request.status != 404 else "other"
            self.routes.record(route, request.status, seconds)
            if self.log_requests:
                fields = {"method": scope["method"], "route": route, "status": request.status}
                say(logging.DEBUG, "request", **fields, milliseconds=round(1e3 * seconds, 3))

    async def _if_allowed(self, request: Request) -> None:
        if self.secret is not None and not self._authorised(request.scope):
            challenge = (b"www-authenticate", b"Bearer")
            await self._refuse(request, 401, "auth", "send the token: Authorization: Bearer …", challenge)
            return
        if self.in_flight >= self.options.max_in_flight:
            await self._refuse(request, 503, "overload", "too many requests at once; try again", (b"retry-after", b"1"))
            return
        self.in_flight += 1
        metrics.IN_FLIGHT.inc()
        try:
            await self._answer(request)
        finally:
            self.in_flight -= 1
            metrics.IN_FLIGHT.dec()

    async def _answer(self, request: Request) -> None:
        try:
            if request.scope["method"] in BODIES:
                await self._with_body(request)
            else:
                await self.app(request.scope, request.raw_receive, request.send)
        except Exception:
            say(logging.ERROR, "request failed", error=True)
            if request.started:
                raise
            await request.answer(500, "the service failed; the operator finds the reason in its log")

    async def _with_body(self, request: Request) -> None:
        request.most = self.options.max_body
        if not request.fits:
            await self._refuse(request, 413, "size", f"a request has at most {request.most:,} bytes", (b"connection", b"close"))
            return
        try:
            async with asyncio.timeout(self.options.timeout):
                await self.app(request.scope, request.receive, request.send)
        except TimeoutError:
            if request.started:
                raise
            late = "the request did not arrive" if not request.complete else "the answer was not ready"
            problem = f"{late} within {self.options.timeout:g} seconds"
            await self._refuse(request, 504 if request.complete else 408, "timeout", problem, (b"connection", b"close"))

    async def _refuse(self, request: Request, status: int, reason: str, problem: str, header: tuple[bytes, bytes]) -> None:
        metrics.REASON[reason].inc()
        say(logging.WARNING, "refused", reason=reason, status=status)
        await request.answer(status, problem, header)

    def _authorised(self, scope) -> bool:
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(sent, self.secret)


class Request:
    """One request: what has arrived of it, and what was answered."""

    __slots__ = ("scope", "raw_receive", "raw_send", "status", "started", "most", "arrived", "complete")

    def __init__(self, scope, receive, send):
        self.scope, self.raw_receive, self.raw_send = scope, receive, send
        self.status, self.started, self.most, self.arrived, self.complete = 500, False, 0, 0, False

    @property
    def fits(self) -> bool:
        """Whether the announced length is within `most`."""
        length = next((value for name, value in self.scope["headers"] if name == b"content-length"), b"0")
        return length.isdigit() and int(length[:20]) <= self.most

    async def receive(self):
        """A piece of the body. Raises HTTPException 413 beyond `most` bytes, announced or not."""
        message = await self.raw_receive()
        if message["type"] == "http.request":
            self.arrived += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self.arrived > self.most:
                metrics.REASON["size"].inc()
                raise HTTPException(413, f"a request has at most {self.most:,} bytes", {"connection": "close"})
        return message

    async def send(self, message):
        """A piece of the answer."""
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
        await self.raw_send(message)

    async def answer(self, status: int, problem: str, *headers: tuple[bytes, bytes]) -> None:
        """A whole answer {"error": problem}."""
        body = orjson.dumps({"error": problem})
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
        await self.send({"type": "http.response.start", "status": status, "headers": head})
        await self.send({"type": "http.response.body", "body": body})
