"""The simulator beside Erlang's formula and SimPy, the autoscaler beside a fixed pool, and a real pool under load.

python tests/bench/scaling.py [--peers .venv-bench/bin/python] → tests/bench/SCALING.md
"""

import argparse
import datetime
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
RATE, SERVICE, SERVERS = 14.35, 0.15, 6  # requests per second (1.24 million a day), seconds each on average, fixed replicas
BUSY = 0.72  # utilisation at which simulator and formula are compared
APP = """
import time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    time.sleep(0.02)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})
"""


def cpu():
    """CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def queue(n, seed):
    """Arrivals and exponential services of n requests, in seconds, at the utilisation BUSY."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.exponential(SERVICE / (BUSY * SERVERS), n)), rng.exponential(SERVICE, n)


def with_simpy(n, seed, out):
    """The same queue in SimPy: waits and CPU seconds to a file. Needs numpy and simpy only."""
    import simpy

    times, work = queue(n, seed)
    waits = np.empty(n)
    start = cpu()
    env = simpy.Environment()
    servers = simpy.Resource(env, capacity=SERVERS)

    def request(number, come, seconds):
        with servers.request() as turn:
            yield turn
            waits[number] = env.now - come
            yield env.timeout(seconds)

    def source():
        for number, (come, seconds) in enumerate(zip(times.tolist(), work.tolist(), strict=True)):
            yield env.timeout(come - env.now)
            env.process(request(number, come, seconds))

    env.process(source())
    env.run()
    np.savez(out, waits=waits, seconds=cpu() - start, version=simpy.__version__)


def row(what, value, needed, met):
    """One line of the table; False where the mark is missed."""
    print(line := f"| {what} | {value} | {needed} |", flush=True)
    return line, met


def spread(values, form):
    """Median (lowest to highest)."""
    return f"{np.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def beside_erlang():
    """Mean wait over 2 million requests, five draws."""
    from course_lib.serving.scaling import erlang_c, simulate

    expected = erlang_c(BUSY * SERVERS / SERVICE, SERVICE, SERVERS)
    ratios, seconds = [], []
    for seed in range(5):
        times, work = queue(2_000_000, seed)
        start = cpu()
        ratios.append(simulate(times, work, servers=SERVERS).mean_wait / expected.mean_wait)
        seconds.append(cpu() - start)
    met = all(abs(ratio - 1) <= 0.03 for ratio in ratios)
    yield row("mean wait, 2 million requests, beside Erlang C", f"{spread(ratios, '.4f')} ×", "within 3 %", met)
    yield row("CPU seconds of these 2 million", spread(seconds, ".2f"), "", True)


def beside_simpy(python, *, n=200_000, rounds=3):
    """CPU of the same requests, in turns; the waits must be the same."""
    from course_lib.serving.scaling import simulate

    ratios, apart = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "simpy.npz"
        for seed in range(rounds):
            subprocess.run([python, __file__, "--simpy", str(n), str(seed), str(out)], check=True)
            peer = np.load(out)
            times, work = queue(n, seed)
            start = cpu()
            ours = simulate(times, work, servers=SERVERS)
            ratios.append(float(peer["seconds"]) / (cpu() - start))
            apart = max(apart, float(np.abs(ours.waits - peer["waits"]).max()))
    name = f"SimPy {peer['version']}"
    yield row(f"speed beside {name}, {n:,} requests", f"{spread(ratios, '.1f')} ×", "≥ 10 ×", min(ratios) >= 10)
    yield row(f"largest difference of a wait from {name}'s", f"{apart:.1e} s", "≤ 1e-6 s", apart <= 1e-6)


def beside_fixed():
    """Three days of MovieLens's hours: a fixed pool of 6, and autoscalers that begin with what midnight asks for.

    At 60 % with its window and without, at 60 % with at least three replicas, at 50 %; and at 60 % begun with one replica.
    """
    from course_lib.datasets import load_movielens
    from course_lib.serving.scaling import HorizontalPodAutoscaler, arrivals, hour_profile, simulate

    profile, found = hour_profile(load_movielens()), []
    start = math.ceil(profile[0] * RATE * SERVICE / 0.6)
    kinds = {
        "elastic": ({"target": 0.6}, start),
        "flapping": ({"target": 0.6, "down_stabilisation": 0}, start),
        "three": ({"target": 0.6, "minimum": 3}, start),
        "half": ({"target": 0.5}, start),
        "cold": ({"target": 0.6}, 1),
    }
    for seed in range(3):
        rng = np.random.default_rng(seed)
        times = arrivals(profile, rate=RATE, seconds=86_400, rng=rng)
        work = rng.gamma(4, SERVICE / 4, len(times))
        day = {"fixed": simulate(times, work, servers=SERVERS)}
        for name, (options, first) in kinds.items():
            scaler = HorizontalPodAutoscaler(**options, maximum=12, startup=30)
            day[name] = simulate(times, work, servers=first, autoscaler=scaler)
        found.append(day)
    for name, what in (("elastic", "target .6"), ("three", "target .6, at least 3"), ("half", "target .5")):
        hours = [day[name].replica_hours / day["fixed"].replica_hours for day in found]
        tail = [day[name].percentile(0.99) / day["fixed"].percentile(0.99) for day in found]
        first, fixed = found[0][name], found[0]["fixed"]
        was = f"{first.replica_hours:.0f} of {fixed.replica_hours:.0f} on the first day"
        mark, met = ("≤ .8 ×", max(hours) <= 0.8) if name == "elastic" else ("", True)
        yield row(f"replica-hours beside {SERVERS} fixed replicas, {what}: {was}", f"{spread(hours, '.3f')} ×", mark, met)
        was = f"{1000 * first.percentile(0.99):.0f} and {1000 * fixed.percentile(0.99):.0f} ms on the first day"
        mark, met = ("≤ 1.15 ×", max(tail) <= 1.15) if name == "elastic" else ("", True)
        yield row(f"p99 beside {SERVERS} fixed replicas, {what}: {was}", f"{spread(tail, '.3f')} ×", mark, met)
    waits = {name: [day[name].waits.max() for day in found] for name in ("elastic", "cold")}
    yield row(f"longest wait, target .6, begun with {start} replicas", f"{spread(waits['elastic'], '.1f')} s", "", True)
    yield row("longest wait, target .6, begun with one", f"{spread(waits['cold'], '.1f')} s", "", True)
    steady, flapping = ([day[name].changes for day in found] for name in ("elastic", "flapping"))
    ratio = [a / b for a, b in zip(flapping, steady, strict=True)]
    worse = [day["flapping"].percentile(0.99) / day["elastic"].percentile(0.99) for day in found]
    yield row("changes a day with the window of 300 s", spread(steady, ".0f"), "", True)
    yield row("changes a day without it", f"{spread(flapping, '.0f')}, {np.median(ratio):.0f} ×", "≥ 5 ×", min(ratio) >= 5)
    yield row("p99 without it, beside with it", f"{spread(worse, '.2f')} ×", "> 1 ×", min(worse) > 1)


def real_pool(*, day=45.0):
    """One day in 45 seconds on 1 to 4 workers that take 20 ms for a request; nothing is sent twice."""
    from course_lib.datasets import load_movielens
    from course_lib.serving.scaling import HorizontalPodAutoscaler, Replay, WorkerPool, arrivals, drive, hour_profile

    profile = np.roll(hour_profile(load_movielens()), -9)  # from the quiet hours on
    times = arrivals(profile, rate=50, seconds=day, day=day, rng=np.random.default_rng(0))
    scaler = HorizontalPodAutoscaler(target=0.8, maximum=4, down_stabilisation=3, startup=1, interval=0.5)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "slow.py").write_text(APP, encoding="utf-8")
        with WorkerPool("slow:app", folder=folder, maximum=4) as pool:
            load = Replay(pool.url, times, retries=0).start()

            def in_flight(pool):
                return load.concurrency() / max(pool.ready, 1)

            history = drive(pool, scaler, in_flight, seconds=80, until=lambda: load.done)
            table = load.result()
    changes = int((history["replicas"].diff().fillna(0) != 0).sum())
    lost = int((table["status"] != 204).sum())
    bounds = f"{history['replicas'].min()} to {history['replicas'].max()} workers, {changes} changes"
    yield row(f"requests lost of {len(table):,}, real pool, {bounds}", lost, "0", lost == 0 and changes >= 2)


def main():
    """Measure, print as it comes, write the table; a missed mark is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=".venv-bench/bin/python", help="interpreter that has requirements.txt installed")
    parser.add_argument("--simpy", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.simpy:
        n, seed, out = options.simpy
        with_simpy(int(n), int(seed), out)
        return
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):  # read once, when numpy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    rows = [*beside_erlang(), *beside_simpy(options.peers), *beside_fixed(), *real_pool()]
    write([line for line, _ in rows])
    missed = [line for line, met in rows if not met]
    sys.exit("missed:\n" + "\n".join(missed) if missed else 0)


def write(lines):
    """The table, with what was measured and where."""
    used = ", ".join(f"{name} {version(name)}" for name in ("numpy", "uvicorn"))
    text = f"""# Scaling: the simulator, the autoscaler, a real pool

Queue: {SERVERS} servers, exponential times of {1000 * SERVICE:.0f} ms on average, utilisation {BUSY}. Day: a Poisson process
with the hours of MovieLens-100K's timestamps, {RATE} requests per second on average (1.24 million a day), Gamma times with
shape 4 and mean {1000 * SERVICE:.0f} ms; autoscaler every 15 s, 30 s until a new replica serves, 12 replicas at
most, at the start the 5 that the load at 00:00 asks for. Real pool: uvicorn's supervisor, the same hours run through in
45 s, requests in flight per worker as the metric. Median (range) over draws or rounds, ours and the other side in
one run; CPU seconds of the process.

Measured {datetime.date.today()} on {platform.machine()} {platform.system()}, Python {platform.python_version()}, {used}.
Command: `python tests/bench/scaling.py`

| what | found | needed |
|---|---|---|
"""
    (HERE / "SCALING.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
