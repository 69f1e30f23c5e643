"""The cluster: two nodes on one Redis beside a bare hiredis loop on the same, and one node that has
to subscribe to everything again."""

import contextlib
import json
import os
import subprocess

from runner import Trouble, figures, resubscribing, servers
from runner.redis import Redis
from runner.saturating import FAULTS
from runner.servers import Running, end

CPU_GOAL = 1.3
LATENCY_GOAL = 1.5
STEADY_RATE = 1000
TOPICS = 100000

FLOOR = "floor"
ONE = "one node"
CLUSTER = "two nodes"
KEPT = "two nodes, history of 100"
COMPARED = (CLUSTER, KEPT)


class Cell:
    """payload, in flight for each pair, pairs; rate: by a schedule, 0: as fast as it goes."""

    def __init__(self, payload, inflight, pairs, rate=0):
        self.payload = payload
        self.inflight = inflight
        self.pairs = pairs
        self.rate = rate

    def line(self, warmup, seconds):
        return f"{self.payload} {self.inflight} {warmup} {seconds} {self.rate}\n"

    def json(self):
        return {
            "payload": self.payload,
            "inflight": self.inflight,
            "pairs": self.pairs,
            "rate": self.rate,
        }


class Load:
    """A generator that is connected and measures a cell when told to."""

    def __init__(self, stack, name, command):
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(end, self.process)
        if self.process.stdout.readline() != "ready\n":
            raise Trouble(f"{name}: the generator could not connect")

    def measure(self, cell, warmup, seconds):
        try:
            self.process.stdin.write(cell.line(warmup, seconds))
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        where = f"{self.name}: {cell.payload} B, {cell.inflight} in flight, {cell.pairs} pairs"
        if not line:
            raise Trouble(f"{where}: the generator failed")
        run = json.loads(line)
        faults = [f"{fault} {run[fault]}" for fault in (*FAULTS, "wrong") if run.get(fault)]
        if faults:
            raise Trouble(f"{where}: {', '.join(faults)}")
        return run


def node(options, redis=None, rules=None):
    server = servers.hermes(options.build, 1, rules=rules)
    server.settings["WS_ADMIN_PORT"] = "0"
    if redis:
        server.settings["WS_REDIS_URL"] = redis.url()
    return server


def has_cluster(options):
    """Whether this build can be one of several nodes at all."""
    done = subprocess.run(
        [os.path.join(options.build, "hermes"), "serve", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return "redis-url" in done.stdout


def missing(options):
    """What keeps this part from being measured, or nothing."""
    if not Redis.program():
        return "neither redis-server nor valkey-server is there"
    if not os.access(os.path.join(options.build, "bench", "redis_floor"), os.X_OK):
        return f"{options.build}/bench/redis_floor is not there"
    if not has_cluster(options):
        return "this build knows no WS_REDIS_URL"
    return None


def loads(stack, options, redis, pairs):
    """One generator an arm, the floor first; each with servers of its own, all on one Redis."""
    beside = ["--beside", str(redis.process.pid)]
    floor = [os.path.join(options.build, "bench", "redis_floor"), "--port", str(redis.port)]
    floor += [*beside, "--channels", str(pairs)]
    saturate = [os.path.join(options.build, "bench", "saturate"), "pairs", "--commands"]
    saturate += [*beside, f"--pairs={pairs}"]
    alone = Running(stack, node(options))
    found = [
        Load(stack, FLOOR, floor),
        Load(stack, ONE, saturate + ["--prefix=alone-"] + alone.arguments()),
    ]
    for name, rules in ((CLUSTER, None), (KEPT, [{"match": "kept:*", "history": 100}])):
        a, b = (Running(stack, node(options, redis, rules)) for _ in range(2))
        command = saturate + [f"--port={b.port}", f"--publish-port={a.port}"]
        command += [f"--pid={a.pids[0]},{b.pids[0]}"]
        command.append("--prefix=kept:" if rules else "--prefix=plain:")
        found.append(Load(stack, name, command))
    return found


def measure(options, redis, pairs, cells, report):
    """{cell: {arm: {repetition: run}}}"""
    found = {cell: {} for cell in cells}
    with contextlib.ExitStack() as stack:
        try:
            arms = loads(stack, options, redis, pairs)
            for repetition in range(options.repetitions):
                for cell in cells:
                    seconds = 1 if cell.rate else max(options.seconds, 0.2)
                    for arm in arms[:: -1 if repetition % 2 else 1]:
                        run = arm.measure(cell, seconds / 4, seconds)
                        found[cell].setdefault(arm.name, {})[repetition] = run
                figures.progress(f"cluster: {pairs} pairs: {repetition + 1}/{options.repetitions}")
        except Trouble as trouble:
            figures.progress("")
            report.fault(node(options), f"cluster: {trouble}")
    figures.progress("")
    return found


def of(runs, figure):
    return {repetition: run[figure] for repetition, run in runs.items()}


def added(arms, name):
    """CPU of both nodes over that of one node alone with the same load: what the cluster adds."""
    alone = of(arms[ONE], "cpu_us_per_message")
    both = of(arms[name], "cpu_us_per_message")
    return {r: cost - alone[r] for r, cost in both.items() if r in alone}


def whole(found):
    """The cells in which every arm was measured."""
    return {cell: arms for cell, arms in found.items() if len(arms) == 2 + len(COMPARED)}


def show_cpu(found):
    print(
        "\nCluster: server CPU per publish from node A to a subscriber at node B, µs: median"
        " (min–max);\nfloor: a bare hiredis loop on each of two nodes, on the same Redis;"
        " one node: the same load within one,\nwithout Redis; added: by two nodes over that;"
        f" ×: added to floor (goal: at most {CPU_GOAL}; ! misses it)\n"
    )
    rows, ratios = [], {name: [] for name in COMPARED}
    for cell, arms in whole(found).items():
        if cell.rate:
            continue
        floor = of(arms[FLOOR], "cpu_us_per_message")
        for name in COMPARED:
            more = added(arms, name)
            ratio = figures.ratio(more, floor)
            ratios[name].append(ratio)
            row = [name, cell.pairs, cell.payload, cell.inflight, figures.spread(floor, 2)]
            row += [figures.spread(of(arms[n], "cpu_us_per_message"), 2) for n in (ONE, name)]
            row += [figures.spread(more, 2), figures.times(ratio, CPU_GOAL)]
            redis = [of(arms[n], "beside_us_per_message") for n in (FLOOR, name)]
            rows.append(row + [f"{figures.middle(us):.2f}" for us in redis])
    head = ["", "pairs", "bytes", "in flight", "floor", "one node", "two nodes", "added", "×"]
    figures.table(head + ["Redis: floor", "Redis: nodes"], rows)
    print()
    for name in COMPARED:
        if ratios[name] and min(ratios[name]) > 0:
            mean = figures.times(figures.mean(ratios[name]), CPU_GOAL)
            print(f"{name}: added CPU to floor ×{mean} over all cells (goal: at most {CPU_GOAL})")


def show_latency(found):
    print(
        "\nCluster: latency from publishing at node A to receiving at node B, µs: median of the"
        f" runs (min–max);\n×: of the p99 to the floor's (goal: at most {LATENCY_GOAL}; ! misses"
        " it). The floor's is from hiredis to hiredis,\nof nodes from client to client: both"
        " sockets of clients are in it\n"
    )
    rows = []
    for cell, arms in whole(found).items():
        pace = f"{cell.rate:,}/s" if cell.rate else f"{cell.inflight} in flight"
        floor = of(arms[FLOOR], "p99_us")
        for name in (FLOOR, ONE, *COMPARED):
            p99 = of(arms[name], "p99_us")
            ratio = figures.ratio(p99, floor)
            mark = figures.times(ratio, LATENCY_GOAL if name in COMPARED else None)
            mark = "" if name == FLOOR else mark
            rows.append(
                [name, cell.pairs, cell.payload, pace]
                + [figures.spread(of(arms[name], "p50_us"), 0), figures.spread(p99, 0), mark]
            )
    figures.table(["", "pairs", "bytes", "pace", "p50", "p99", "×"], rows)


def plans(options):
    """{pairs: cells}"""
    depths = options.depths or (1, 32, 128)
    payloads = options.payloads or (64, 256, 1024)
    cells = [Cell(p, d, 1) for p in payloads for d in depths]
    found = {1: cells + [Cell(256, 1, 1, STEADY_RATE)]}
    if options.full:
        found[100] = [Cell(p, d, 100) for p in payloads for d in (1, 8)]
        found[100].append(Cell(256, 1, 100, STEADY_RATE))
    return found


def cluster(options, report):
    why = missing(options)
    if why:
        print(f"\nCluster: left out, {why}")
        return {}
    found = {}
    with contextlib.ExitStack() as stack:
        redis = Redis(stack)
        for pairs, cells in plans(options).items():
            found |= measure(options, redis, pairs, cells, report)
    if whole(found):
        show_cpu(found)
        show_latency(found)
    again = resubscribing.measure(options, TOPICS, report)
    resubscribing.show(again)
    return {
        "cells": [
            cell.json() | {"arm": name, "runs": list(runs.values())}
            for cell, arms in found.items()
            for name, runs in arms.items()
        ],
        "resubscribed": again,
    }
