import asyncio
import threading
import time

import pytest

from course_lib.serving.batching import MicroBatcher, Overloaded


class Double:
    """Doubles numbers and remembers the batches; `gate` holds the first step until it is opened."""

    def __init__(self, *, gated=False):
        self.batches, self.threads, self.gate, self.started = [], set(), threading.Event(), threading.Event()
        if not gated:
            self.gate.set()

    def __call__(self, items):
        self.batches.append(list(items))
        self.threads.add(threading.current_thread().name)
        self.started.set()
        assert self.gate.wait(20), "the test forgot to open the gate"
        if "bad" in items:
            raise ValueError("bad item")
        return [2 * item for item in items]


def batch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("batch")]


def run(story):
    """The story within twenty seconds; no thread stays behind."""

    async def bounded():
        async with asyncio.timeout(20):
            return await story()

    out = asyncio.run(bounded())
    deadline = time.monotonic() + 5
    while batch_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not batch_threads()
    return out


def test_requests_of_one_moment_share_a_step():
    double = Double()

    async def story():
        async with MicroBatcher(double, max_batch=4, max_wait_ms=50) as batcher:
            out = await asyncio.gather(*(batcher(n) for n in range(10)))
            return out, batcher.steps, batcher.items

    assert run(story) == ([2 * n for n in range(10)], 3, 10)
    assert double.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], "in order, never more than max_batch"
    assert len(double.threads) == 1 and threading.current_thread().name not in double.threads


def test_a_lone_request_waits_no_longer_than_asked():
    async def story():
        async with MicroBatcher(Double(), max_wait_ms=30) as batcher:
            start = asyncio.get_running_loop().time()
            assert await batcher(4) == 8
            return asyncio.get_running_loop().time() - start

    assert 0.025 < run(story) < 5


def test_no_wait_takes_what_is_there():
    double = Double(gated=True)

    async def story():
        async with MicroBatcher(double, max_batch=8, max_wait_ms=0) as batcher:
            first = asyncio.create_task(batcher(0))
            await asyncio.to_thread(double.started.wait, 10)
            others = [asyncio.create_task(batcher(n)) for n in range(1, 6)]
            await asyncio.sleep(0)
            double.gate.set()
            return await asyncio.gather(first, *others)

    assert run(story) == [0, 2, 4, 6, 8, 10]
    assert double.batches == [[0], [1, 2, 3, 4, 5]], "while a step runs the next batch gathers"


def test_the_event_loop_goes_on():
    double = Double(gated=True)

    async def story():
        async with MicroBatcher(double, max_wait_ms=0) as batcher:
            task = asyncio.create_task(batcher(1))
            await asyncio.to_thread(double.started.wait, 10)
            assert not task.done()  # this line runs while the function is held
            double.gate.set()
            return await task

    assert run(story) == 2


def test_an_error_reaches_its_own_request():
    double = Double()

    async def story():
        async with MicroBatcher(double, max_wait_ms=50) as batcher:
            first = await asyncio.gather(batcher(1), batcher("bad"), batcher(3), return_exceptions=True)
            return first, await batcher(4)

    (one, error, three), four = run(story)
    assert (one, three, four) == (2, 6, 8) and isinstance(error, ValueError) and str(error) == "bad item"
    assert double.batches == [[1, "bad", 3], [1], ["bad"], [3], [4]]


@pytest.mark.parametrize("returned", [[], [1, 2, 3], None, iter([1])])
def test_a_function_that_breaks_its_promise(returned):
    async def story():
        async with MicroBatcher(lambda items: returned, max_wait_ms=0) as batcher:
            with pytest.raises((RuntimeError, TypeError)) as caught:
                await batcher(1)
            return str(caught.value)

    message = run(story)
    assert "has no len" in message or f"gave {len(returned)} results for 1 items" in message


def test_a_full_queue_says_so_and_recovers():
    double = Double(gated=True)

    async def story():
        async with MicroBatcher(double, max_batch=2, max_wait_ms=0, max_queue=3) as batcher:
            running = asyncio.create_task(batcher(0))
            await asyncio.to_thread(double.started.wait, 10)
            waiting = [asyncio.create_task(batcher(n)) for n in (1, 2, 3)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="3 requests are waiting"):
                await batcher(4)
            double.gate.set()
            assert await asyncio.gather(running, *waiting) == [0, 2, 4, 6]
            return await batcher(5)

    assert run(story) == 10
    assert 4 not in sum(double.batches, [])


def test_a_cancelled_request_is_not_computed():
    double = Double(gated=True)

    async def story():
        async with MicroBatcher(double, max_wait_ms=0) as batcher:
            running, left, kept = (asyncio.create_task(batcher(n)) for n in (0, 1, 2))
            await asyncio.to_thread(double.started.wait, 10)
            late = [asyncio.create_task(batcher(n)) for n in (3, 4)]
            await asyncio.sleep(0)
            late[0].cancel()
            running.cancel()  # its step runs already: the result is dropped
            double.gate.set()
            return await asyncio.gather(running, left, kept, *late, return_exceptions=True)

    zero, *middle, three, four = run(story)
    assert isinstance(zero, asyncio.CancelledError) and isinstance(three, asyncio.CancelledError)
    assert middle == [2, 4] and four == 8 and 3 not in sum(double.batches, [])


def test_close_finishes_what_waits_and_takes_no_more():
    double = Double(gated=True)

    async def story():
        batcher = MicroBatcher(double, max_batch=2, max_wait_ms=1000)
        tasks = [asyncio.create_task(batcher(n)) for n in range(5)]
        await asyncio.to_thread(double.started.wait, 10)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="closed"):
            await batcher(9)
        double.gate.set()
        await closing
        await batcher.close()
        return [task.result() for task in tasks], asyncio.all_tasks() - {asyncio.current_task()}

    start = time.monotonic()
    assert run(story) == ([0, 2, 4, 6, 8], set())
    assert time.monotonic() - start < 5, "the last batch does not wait for others that cannot come"


def test_closed_before_its_first_request():
    async def story():
        batcher = MicroBatcher(Double())
        await batcher.close()
        with pytest.raises(RuntimeError, match="closed"):
            await batcher(1)

    run(story)


def test_nobody_waits_for_ever_when_the_worker_is_stopped():
    double = Double(gated=True)

    async def story():
        batcher = MicroBatcher(double, max_batch=1, max_wait_ms=0)
        tasks = [asyncio.create_task(batcher(n)) for n in range(3)]
        await asyncio.to_thread(double.started.wait, 10)
        batcher._worker.cancel()
        double.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(out, asyncio.CancelledError) for out in run(story))


@pytest.mark.parametrize("options", [{"max_batch": 0}, {"max_queue": 0}, {"max_wait_ms": -1}, {"max_wait_ms": float("nan")}])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match="max_batch and max_queue start at 1"):
        MicroBatcher(Double(), **options)


def test_thousands_of_requests_each_get_their_own():
    async def story():
        async with MicroBatcher(lambda items: [(n, len(items)) for n in items], max_queue=5000, max_wait_ms=1) as batcher:
            out = await asyncio.gather(*(batcher(n) for n in range(3000)))
            return [n for n, _ in out], max(size for _, size in out), batcher.items

    assert run(story) == (list(range(3000)), 16, 3000)
