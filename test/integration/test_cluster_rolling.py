"""test/cluster: three nodes behind a real HAProxy as `run` starts them; a rolling restart under load."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

import pytest

import raw
from cluster_fixtures import Load, die_with_me, many
from hermes_fixtures import HERMES, TOP, clean_environment, eventually
from raw import DEADLINE

FOLDER = TOP / "test" / "cluster"
NODE = shutil.which("nodejs") or shutil.which("node")
yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")


class Program:
    """A process whose lines are waited for."""

    def __init__(self, argv, **env):
        self.lines = []
        self.change = threading.Condition()
        self.process = subprocess.Popen(
            [str(a) for a in argv], env=clean_environment(**env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", preexec_fn=die_with_me)
        self.pid = self.process.pid
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self.change:
                self.lines.append(line.rstrip("\n"))
                self.change.notify_all()
        with self.change:
            self.lines.append(None)
            self.change.notify_all()

    def wait_line(self, pattern, deadline=3 * DEADLINE, start=0):
        """The first one from `start` on that matches."""
        pattern = re.compile(pattern)

        def find():
            return next((m for m in map(pattern.search, filter(None, self.lines[start:])) if m), None)

        with self.change:
            self.change.wait_for(lambda: find() or None in self.lines, deadline)
            found = find()
        assert found, f"no {pattern.pattern!r} in:\n" + "\n".join(map(str, self.lines[-60:]))
        return found

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.send(number)
        code = self.process.wait(3 * DEADLINE)
        self._thread.join(DEADLINE)
        return code


@pytest.fixture
def start_program():
    running = []

    def start(argv, **env):
        running.append(Program(argv, **env))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


class Place:
    """test/cluster/run, and what it says of what it has started."""

    def __init__(self, start_program, **env):
        # As many workers as there are processors would be three times as many as there are.
        self.program = start_program([FOLDER / "run", "--port", "0", "--hermes", HERMES], WS_WORKERS=2,
                                     WS_PING_SECONDS=25, **env)
        self.program.wait_line("^ready")
        self.port = int(self.program.wait_line(r"^clients +ws://127\.0\.0\.1:(\d+)")[1])
        self.url = f"ws://127.0.0.1:{self.port}"
        found = [self.program.wait_line(rf"^node{n} +http://127\.0\.0\.1:(\d+) +pid (\d+).*port (\d+)")
                 for n in (1, 2, 3)]
        self.admins = [int(m[1]) for m in found]
        self.pids = [int(m[2]) for m in found]
        self.ports = [int(m[3]) for m in found]
        found = self.program.wait_line(r"^redis +redis://127\.0\.0\.1:(\d+) +pid (\d+)")
        self.redis_pid = int(found[2])

    def children(self):
        return [int(pid) for pid in pathlib.Path(
            f"/proc/{self.program.pid}/task/{self.program.pid}/children").read_text().split()]


@pytest.fixture
def place(start_program):
    one = Place(start_program, WS_DRAIN_DELAY_SECONDS="1500ms", WS_DRAIN_SECONDS="2")
    yield one
    children = one.children() if one.program.process.poll() is None else []
    assert one.program.end(signal.SIGINT) == 0, one.program.lines[-40:]
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")], "something is left running"
    said = "\n".join(filter(None, one.program.lines))
    assert not re.search("Sanitizer|runtime error:|Assertion .* failed", said), said[-4000:]


# --- as it stands ---------------------------------------------------------------------------------

def test_it_says_how_it_is_used():
    done = subprocess.run([FOLDER / "run", "--help"], capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0 and "--port" in done.stdout and "SIGUSR1" in done.stdout


def test_clients_are_spread_over_the_nodes_and_share_their_topics(place):
    clients = [raw.Client2(place.port) for _ in range(9)]
    plain = raw.Client(place.port)
    for client in (*clients, plain):
        client.subscribe("t")
    for n, client in enumerate(clients, 1):
        client.publish("t", n)
        for other in clients:
            other.expect_message("t", n, n)
        assert plain.recv_json() == n
    counts = []
    for admin in place.admins:
        import http.client
        conn = http.client.HTTPConnection("127.0.0.1", admin, timeout=DEADLINE)
        conn.request("GET", "/api/connections")
        rows = json.loads(conn.getresponse().read())["connections"]
        conn.close()
        # The PROXY header's address, not that of HAProxy's own connection.
        ports = {c.sock.getsockname()[1] for c in (*clients, plain)}
        assert {int(row["address"].rsplit(":", 1)[1]) for row in rows} <= ports
        counts.append(len(rows))
    assert sum(counts) == 10 and min(counts) >= 3, counts
    for client in (*clients, plain):
        client.drop()


def test_what_is_killed_comes_back_by_itself(place):
    """A node, and then Redis, by kill -9, and nothing is lost."""
    load = Load([place.port], ["news:a", "news:b"], followers=4, publishers=2)
    for what, pid in (("node2", place.pids[1]), ("redis", place.redis_pid)):
        load.run(30)
        os.kill(pid, signal.SIGKILL)
        place.program.wait_line(f"^{what} ended")
        load.run(30)
    load.end()


# --- the rolling restart --------------------------------------------------------------------------

def follow_rows(program, kind):
    """What hermes.js or hermes sub told of messages: {topic: [(offset, data), ...]}; gaps are faults."""
    by_topic = {}
    for line in filter(None, program.lines):
        got = json.loads(line) if line.startswith(("{", "[")) else None
        if kind == "js" and got:
            assert got[0] != "gap", got
            if got[0] == "message":
                by_topic.setdefault(got[1], []).append((got[3], got[4]))
        elif kind == "cli" and got:
            assert got["type"] == "message", got
            by_topic.setdefault(got["topic"], []).append((got["offset"], got["data"]))
    return by_topic


def test_a_rolling_restart_of_all_nodes_loses_nothing(place, start_program):
    """SIGTERM to each node in turn, through HAProxy, under load: clients that recover get every message, once
    and in order. Three kinds of clients: this test's own, hermes.js under Node, and the client library (by
    `hermes sub`)."""
    topics = ["news:a", "news:b", "news:c"]
    others = [(start_program([HERMES, "sub", "--url", place.url, "--json", *topics]), "cli") for _ in range(2)]
    if NODE:
        modules = os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), "/usr/share/nodejs"]))
        script = pathlib.Path(__file__).parent / "node" / "cluster_follow.mjs"
        others += [(start_program([NODE, "--no-warnings", script, place.url, *topics], NODE_PATH=modules), "js")
                   for _ in range(2)]
    with raw.Client2(place.port) as client:
        eventually(lambda: all(len(client.presence(topic)) == len(others) for topic in topics), "all subscriptions")
    load = Load([place.port], topics, followers=6, publishers=3)
    load.run(30)
    before = len(place.program.lines)
    place.program.send(signal.SIGUSR1)
    place.program.wait_line("^restarted all nodes", 6 * DEADLINE, before)
    load.run(30)
    load.end()
    # Each was told to go and went, to another node.
    assert all(one.recovered >= len(topics) for one in load.followers)
    codes = {code for one in load.followers for code in one.closes}
    assert codes <= {1001, 1012}, codes
    for program, kind in others:
        for topic in topics:
            last = max(offset for name, _, offset in load.ledger.at if name == topic)
            program.wait_line(rf'"{topic}".*\b{last}\b.*' if kind == "js" else rf'"{topic}".*"offset":{last}\b')
        for topic, rows in follow_rows(program, kind).items():
            offsets = [offset for offset, _ in rows]
            assert offsets == list(range(offsets[0], offsets[-1] + 1)), (kind, topic)
            for (name, _, offset), data in load.ledger.at.items():
                if name == topic and offset >= offsets[0]:
                    assert rows[offset - offsets[0]][1] == data
    # HAProxy has seen each node go, by its health check, before it closed anything.
    said = "\n".join(filter(None, place.program.lines[before:]))
    for n in (1, 2, 3):
        assert re.search(rf"nodes/node{n} is DOWN, reason: Layer7 wrong status, code: 503", said), said[-3000:]


# --- for Docker -----------------------------------------------------------------------------------

def test_the_compose_file_says_what_the_script_does():
    """Nothing here runs Docker; what it would be told is read as YAML and compared with what `run` does."""
    import runpy
    script = runpy.run_path(str(FOLDER / "run"), run_name="looked_at")
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"redis", "haproxy", *(f"node{n}" for n in range(1, script["NODES"] + 1))}
    assert all(one["restart"] == "always" for one in services.values())
    for n in range(1, script["NODES"] + 1):
        node = services[f"node{n}"]
        env = node["environment"]
        assert (FOLDER / node["build"] / "Dockerfile").resolve() == TOP / "Dockerfile"
        for name, value in script["SETTINGS"].items():
            # In a container it listens on all addresses.
            assert name == "WS_HOST" or env[name] == value, name
        assert env["WS_REDIS_URL"] == "redis://redis:6379"
        source, target, mode = node["volumes"][0].split(":")
        assert (FOLDER / source).exists() and target == env["WS_CONFIG"] and mode == "ro"
        grace = int(re.fullmatch(r"(\d+)s", node["stop_grace_period"])[1])
        assert grace > int(env["WS_DRAIN_DELAY_SECONDS"]) + int(env["WS_DRAIN_SECONDS"])
        known = (TOP / "src" / "server" / "settings.def").read_text()
        assert all(f'"{name}"' in known for name in env), env
        haproxy = services["haproxy"]["environment"]
        assert haproxy[f"HERMES_NODE_{n}"] == f"node{n}:{env['WS_PORT']}"
    config = (FOLDER / "haproxy.cfg").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", config)) == set(services["haproxy"]["environment"])
    assert "--appendonly" in services["redis"]["command"]
    inter, fall = re.search(r"inter (\d+)ms fall (\d+)", config).groups()
    assert int(inter) * int(fall) < 1000 * int(script["SETTINGS"]["WS_DRAIN_DELAY_SECONDS"])
    assert "check-send-proxy" in config and "send-proxy-v2" in config and "/readyz" in config and "leastconn" in config


def test_haproxy_takes_its_configuration_without_a_warning(tmp_path):
    env = {"HERMES_BIND": "127.0.0.1:1", "HERMES_STATS": str(tmp_path / "stats"),
           **{f"HERMES_NODE_{n}": f"127.0.0.1:{n}" for n in (1, 2, 3)}}
    haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
    done = subprocess.run([haproxy, "-c", "-f", FOLDER / "haproxy.cfg"], env=clean_environment(**env),
                          capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr and "ALERT" not in done.stderr, done.stderr


def test_the_rules_are_good(start_server):
    server = start_server(rules=(FOLDER / "rules.json").read_text())
    server.wait_log("rules loaded")
