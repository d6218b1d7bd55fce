"""Requests that come at the same moment share one step of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple


class Overloaded(RuntimeError):
    """More requests are waiting than may wait; ask again later."""


class _Request(NamedTuple):
    item: Any
    future: asyncio.Future


class MicroBatcher:
    """`await batcher(item)` → result, computed together with whatever else is asked for within max_wait_ms.

    function: a list of items → a sequence of as many results in the same order; it runs in one thread beside the event loop.
    max_batch: items per step; max_wait_ms: how long the first of a batch waits for others (0: only for those already there,
    and while a step runs the next batch gathers anyway); max_queue: requests that may wait. If a step fails, each of its
    items is tried alone, so that an error reaches the request that caused it. A request that was cancelled is not computed.
    One batcher belongs to one event loop. Use it as `async with`, or call `close`.
    """

    def __init__(
        self,
        function: Callable[[list], Sequence],
        *,
        max_batch: int = 16,
        max_wait_ms: float = 2.0,
        max_queue: int = 256,
    ):
        if max_batch < 1 or max_queue < 1 or not 0 <= max_wait_ms < float("inf"):
            raise ValueError(
                f"max_batch and max_queue start at 1 and max_wait_ms at 0, but are {max_batch}, {max_queue} and {max_wait_ms}"
            )
        self.function, self.max_batch, self.max_wait, self.max_queue = function, max_batch, max_wait_ms / 1000, max_queue
        self.steps, self.items = 0, 0  # so far: how often the function was called, and for how many items
        self._queue: asyncio.Queue[_Request | None] = asyncio.Queue()
        self._waiting, self._closed = 0, False
        self._thread: ThreadPoolExecutor | None = None
        self._worker: asyncio.Task | None = None

    async def __call__(self, item):
        """The result for one item, or its own error. Raises Overloaded when the queue is full, RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("this MicroBatcher is closed; make a new one")
        if self._waiting >= self.max_queue:
            raise Overloaded(
                f"{self._waiting} requests are waiting already, no more than {self.max_queue} may; ask again later"
            )
        if self._worker is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch")
            self._worker = asyncio.create_task(self._work())
        request = _Request(item, asyncio.get_running_loop().create_future())
        self._waiting += 1
        self._queue.put_nowait(request)
        return await request.future

    async def close(self) -> None:
        """Take no more, finish what is waiting, end the thread. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)
        if self._worker is not None:
            await self._worker

    async def __aenter__(self) -> MicroBatcher:
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    async def _work(self) -> None:
        """Batch after batch, until the end mark."""
        batch: list[_Request] = []
        try:
            more = True
            while more:
                batch, more = await self._gather()
                await self._answer([request for request in batch if not request.future.done()])
        finally:  # also where the event loop is stopped in the middle: nobody waits for ever
            self._closed = True
            self._thread.shutdown(wait=False)
            left = batch + [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            for request in filter(None, left):
                request.future.cancel()

    async def _gather(self) -> tuple[list[_Request], bool]:
        """A batch, and whether more may come after it."""
        batch = [await self._queue.get()]
        until = asyncio.get_running_loop().time() + self.max_wait
        while batch[-1] is not None and len(batch) < self.max_batch:
            try:
                async with asyncio.timeout_at(until) if self._queue.empty() else asyncio.timeout(None):
                    batch.append(await self._queue.get())
            except TimeoutError:
                break
        more = batch[-1] is not None
        batch = batch if more else batch[:-1]
        self._waiting -= len(batch)
        return batch, more

    async def _answer(self, batch: list[_Request]) -> None:
        """Give each request its result or its error."""
        if not batch:
            return
        try:
            results = await self._run([request.item for request in batch])
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0].future, error=error)
            else:
                for request in batch:
                    await self._answer([request])
            return
        for request, result in zip(batch, results, strict=True):
            _settle(request.future, result)

    async def _run(self, items: list) -> Sequence:
        self.steps += 1
        self.items += len(items)
        results = await asyncio.get_running_loop().run_in_executor(self._thread, self.function, items)
        if len(results) != len(items):
            raise RuntimeError(
                f"the batched function gave {len(results)} results for {len(items)} items; it must give one each"
            )
        return results


def _settle(future: asyncio.Future, result=None, *, error: Exception | None = None) -> None:
    if future.done():  # cancelled meanwhile
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
