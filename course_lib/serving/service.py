"""What is being served now, and how a new package takes its place while requests go on."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from course_lib.serving import metrics
from course_lib.serving.batching import MicroBatcher
from course_lib.serving.feedback import FeedbackLog
from course_lib.serving.logs import say
from course_lib.serving.options import Options
from course_lib.serving.package import CONFIG, Package, PackageError, load_package
from course_lib.serving.texts import Encoder, open_encoder, read


@dataclass(frozen=True)
class Loaded:
    """A package and what reads texts for it. A request takes both once, and so never sees half of a change."""

    package: Package
    reader: MicroBatcher | None = None


class Service:
    """The state behind the routes. `current` is replaced as a whole, never changed."""

    def __init__(self, package: Package, options: Options, *, encoder: Encoder | None = None):
        self.options, self.encoder, self.ready = options, encoder, False
        self.current = Loaded(package)
        self.feedback = FeedbackLog(options.feedback) if options.feedback else None
        self._seen = signature(package.folder)
        self._watcher: asyncio.Task | None = None
        self._retired: list[asyncio.Task] = []

    async def start(self) -> None:
        """Open the encoder, tell the metrics, and begin to watch the package's folder."""
        metrics.forget_dead_workers()
        self.current = await self._opened(self.current.package)
        metrics.served(self.current.package)
        if self.options.reload_seconds:
            self._watcher = asyncio.create_task(self._watch())
        gc.collect()
        gc.freeze()  # what lives as long as the process is not looked through again with every full collection
        self.ready = True
        say(logging.INFO, "ready", model=self.current.package.name, version=self.current.package.version)

    async def stop(self) -> None:
        """No new package; what is being written is finished."""
        self.ready = False
        metrics.withdrawn(self.current.package)
        tasks = [*self._retired, *([self._watcher] if self._watcher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.feedback is not None:
            await self.feedback.close()
        if self.current.reader is not None:
            await self.current.reader.close()
        say(logging.INFO, "stopped")

    async def read(self, loaded: Loaded, text: str) -> tuple[np.ndarray, list[str]]:
        """The vector of a text (h,), and its words that cannot be read. Raises PackageError where the package reads no text."""
        if loaded.reader is None:
            raise PackageError(f"{loaded.package.name} {loaded.package.version} was packed without a text encoder")
        start = time.perf_counter()
        found = await loaded.reader(text)
        metrics.TEXT_SECONDS.observe(time.perf_counter() - start)
        return found

    async def reload(self) -> None:
        """Load what is in the folder now, then let it take over. Raises PackageError, and the old one goes on."""
        before = self.current
        package = await asyncio.to_thread(load_package, before.package.folder)
        self.current = await self._opened(package)
        metrics.served(package, before.package)
        if before.reader is not None and before.reader is not self.current.reader:
            self._retired.append(asyncio.create_task(self._retire(before.reader)))

    async def _retire(self, reader: MicroBatcher) -> None:
        """Close it when no request can still use it."""
        try:
            await asyncio.sleep(self.options.timeout + 1)
        finally:
            await reader.close()

    async def _opened(self, package: Package) -> Loaded:
        """The package with its reader; the encoder that is open is kept if the package asks for the same one."""
        old = self.current
        if package.text_map is None:
            return Loaded(package)
        if old.reader is not None and old.package.encoder == package.encoder:
            return Loaded(package, old.reader)
        encoder = self.encoder or await asyncio.to_thread(open_encoder, package)
        return Loaded(package, MicroBatcher(partial(read, encoder)))

    async def _watch(self) -> None:
        folder, supervisor = self.current.package.folder, multiprocessing.parent_process()
        while True:
            await asyncio.sleep(self.options.reload_seconds)
            if supervisor is not None and not supervisor.is_alive():
                os.kill(os.getpid(), signal.SIGTERM)  # a worker does not outlive its supervisor
            found = signature(folder)
            if found not in (None, self._seen):
                await self._try(folder, found)

    async def _try(self, folder: Path, found: tuple) -> None:
        """One attempt at one state of the folder; a state that fails is not tried again."""
        try:
            await self.reload()
        except Exception as error:
            if signature(folder) != found:  # it is just being replaced: look again
                return
            metrics.OUTCOME["failed"].inc()
            reason = {"reason": str(error)} if isinstance(error, PackageError) else {}
            say(logging.ERROR, "reload failed", error=True, **reason)
        else:
            metrics.OUTCOME["ok"].inc()
            say(logging.INFO, "reloaded", version=self.current.package.version)
        self._seen = found


def signature(folder: Path | None) -> tuple | None:
    """What tells one state of a package's folder from the next; None while there is none."""
    try:
        state = (folder / CONFIG).stat() if folder else None
    except OSError:
        return None
    return state and (state.st_mtime_ns, state.st_ino, state.st_size)
