"""TLS: Hermes and the floor, both with one certificate: handshakes, and fan-out."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile

from runner import Trouble, comparing, figures, servers
from runner.comparing import Arm
from runner.saturating import Group
from runner.servers import Running, end

GOAL = 1.15
AT_ONCE = 64


def make_certificate(folder):
    """Of the kind that most have: ECDSA on P-256, signed by itself."""
    paths = [os.path.join(folder, name) for name in ("certificate.pem", "key.pem")]
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Trouble(f"openssl makes no certificate: {done.stderr.strip()}")
    return paths


class Handshakes:
    """bench/handshakes at one server."""

    def __init__(self, stack, options, server):
        self.server = server
        self.runs = {}  # {kind: {repetition: run}}
        running = Running(stack, server)
        self.process = subprocess.Popen(
            [os.path.join(options.build, "bench", "handshakes")] + running.arguments(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(end, self.process)
        if self.process.stdout.readline() != "ready\n":
            raise Trouble("the generator could not shake hands")

    def measure(self, kind, count, repetition):
        self.process.stdin.write(f"{kind} {count} {AT_ONCE}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Trouble(f"{kind} handshakes: the generator failed")
        if repetition is not None:
            self.runs.setdefault(kind, {})[repetition] = json.loads(line)

    def json(self):
        return [
            {"server": self.server.name} | run
            for runs in self.runs.values()
            for run in runs.values()
        ]

    def costs(self, kind):
        return {r: run["cpu_us_per_handshake"] for r, run in self.runs[kind].items()}

    def rate(self, kind):
        """Of the median, as a table shows it."""
        return f"{1e6 / figures.middle(self.costs(kind)):,.0f}"


def handshakes(options, all_servers, report):
    """All in turns. The first ones make a server's memory, and are not counted."""
    counts = {"full": 400, "resumed": 6000} if options.full else {"full": 128, "resumed": 2000}
    loads = []
    with contextlib.ExitStack() as stack:
        for server in all_servers:
            try:
                loads.append(Handshakes(stack, options, server))
                loads[-1].measure("full", AT_ONCE, None)
            except Trouble as trouble:
                report.fault(server, str(trouble))
                return []
        for repetition in range(options.repetitions):
            figures.progress(f"handshakes: {repetition + 1}/{options.repetitions}")
            for kind, count in counts.items():
                for load in loads[:: -1 if repetition % 2 else 1]:
                    try:
                        load.measure(kind, count, repetition)
                    except Trouble as trouble:
                        report.fault(load.server, str(trouble))
                        return []
    figures.progress("")
    return loads


def show_handshakes(loads):
    print(
        f"\nTLS: handshakes, {AT_ONCE} at once, from accepting to closing: server CPU each: median"
        f" (min–max);\n×: to {loads[0].server.name} (goal for hermes: at most {GOAL}; ! misses it)\n"
    )
    rows = []
    for load in loads:
        row = [load.server.name]
        for kind in load.runs:
            mark = ""
            if load is not loads[0]:
                against = figures.ratio(load.costs(kind), loads[0].costs(kind))
                mark = figures.times(against, GOAL)
            row += [figures.spread(load.costs(kind), 1), load.rate(kind), mark]
        rows.append(row)
    head = ["server"]
    for kind in loads[0].runs:
        head += [f"{kind}, µs", "a CPU second", "×"]
    figures.table(head, rows)


def tls(options, report):
    if not shutil.which("openssl"):
        print("\nTLS: left out, openssl is not there to make a certificate")
        return []
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        certificate = make_certificate(folder)
        floor = servers.floor(options.build, "floor", certificate)
        workers = options.workers if options.full else options.workers[:1]
        brokers = [servers.hermes(options.build, n, certificate=certificate) for n in workers]
        loads = handshakes(options, [floor, *brokers], report)
        if loads:
            show_handshakes(loads)
        fanout = Fanout(options, floor, brokers, report)
    return {"handshakes": [run for load in loads for run in load.json()], "fanout": fanout.json()}


class Fanout(comparing.Comparison):
    """One topic, a record or more a subscriber and batch."""

    def __init__(self, options, floor, brokers, report):
        arms = [Arm(floor.name, floor, "bench-", options=["--tls"])]
        for server in brokers:
            arms.append(
                Arm(server.name, server, "bench-", to=floor.name, goal=GOAL, options=["--tls"])
            )
        depths = options.depths or (1, 32, 128)
        payloads = options.payloads or ((64, 256, 1024) if options.full else (64, 1024))
        cells = [(p, d) for p in payloads for d in depths]
        groups = [
            Group("tls", "fanout", {"subscribers": n}, cells, [], 0)
            for n in ((200, 1000) if options.full else (200,))
        ]
        super().__init__(options, arms, groups, report)
        self.show(
            "TLS: fan-out, one topic: server CPU per delivery: median (min–max);"
            f"\n×: to {floor.name} (goal for hermes: at most {GOAL}; ! misses it)"
        )
