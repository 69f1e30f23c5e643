"""Redis servers, nodes that share them, ways to harm both, and clients that keep account of what they get."""

import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import pytest

from hermes_fixtures import PR_SET_PDEATHSIG, clean_environment, eventually
from prometheus_text import Figures
from raw import CLOSE, DEADLINE, SLOW, TEXT, Client, Client2, Ended, since

LIBC = ctypes.CDLL(None)

# How much load: a sanitizer's build gets less of it.
MANY = 1 if SLOW <= 1 else 0.25


def many(n):
    return max(1, int(n * MANY))


def die_with_me():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Port:
    """A port that is nobody else's as long as this lives, though it may be listened on: by a process that
    sets SO_REUSEADDR, as Redis, HAProxy and Hermes do, as often as it likes."""

    def __init__(self):
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.number = self._holder.getsockname()[1]

    def free(self):
        self._holder.close()


# --- Redis ----------------------------------------------------------------------------------------

class RedisError(Exception):
    """What Redis answered with a minus."""


class Talk:
    """A connection that speaks to Redis over its socket file."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(path))
        self.lines = self.sock.makefile("rb")

    def do(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.sock.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self._answer()

    def _answer(self):
        line = self.lines.readline()
        if not line.endswith(b"\r\n"):
            raise Ended("Redis closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.lines.read(int(rest) + 2)[:-2]
        assert kind == b"*", line
        return None if rest == b"-1" else [self._answer() for _ in range(int(rest))]

    def close(self):
        self.lines.close()
        self.sock.close()


class Redis:
    """A redis-server on a port that it keeps when it is started again. `aof`: what it has answered for
    survives its death. `tls`: files of a pair (tls_support.Pair) and of their authority. `net`: the
    namespace it lives in (Net)."""

    def __init__(self, folder, *options, aof=False, user=None, password=None, tls=None, net=None):
        self.folder = folder
        self.user, self.password, self.tls = user, password, tls
        self.net = net
        self._reserved = None if net else Port()
        self.port = 6379 if net else self._reserved.number
        self.options = ["--save", "", "--daemonize", "no", "--dir", folder, "--enable-debug-command", "yes",
                        "--unixsocket", folder / "socket", "--appendonly", "yes" if aof else "no",
                        "--appendfsync", "no", "--repl-diskless-sync-delay", "0",
                        "--bind", "0.0.0.0" if net else "127.0.0.1"]
        if net:
            self.options += ["--protected-mode", "no"]
        if tls:
            pair, authority = tls
            self.options += ["--port", 0, "--tls-port", self.port, "--tls-cert-file", pair.certificate,
                             "--tls-key-file", pair.key, "--tls-ca-cert-file", authority,
                             "--tls-auth-clients", "no"]
        else:
            self.options += ["--port", self.port]
        if user:
            self.options += ["--user", *"default off".split(), "--user", user, "on", f">{password}",
                             *"~hermes:* &hermes:* +@all -@dangerous +role +info".split(),
                             "--user", *"tester on nopass ~* &* +@all".split()]
        elif password:
            self.options += ["--requirepass", password]
        self.options += options
        self.process = None
        self.pid = None
        self._talk = None
        self._log = open(folder / "log", "ab")

    def start(self, *options, wait=True):
        prefix = self.net.prefix if self.net else []
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "socket").unlink()
        self.process = subprocess.Popen(
            [str(a) for a in (*prefix, "redis-server", *self.options, *options)], env=clean_environment(),
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, preexec_fn=die_with_me)
        self.pid = self.process.pid
        eventually(self._answers if wait else self._listens, "an answer of Redis")
        return self

    def _listens(self):
        assert self.process.poll() is None, self.log()
        return (self.folder / "socket").exists()

    def _answers(self):
        if not self._listens():
            return False
        try:
            return self.do("PING") == "PONG"
        except (RedisError, OSError, Ended):
            return False

    def do(self, *words):
        """A command of the test's own, past TLS and the network."""
        if self._talk is None:
            self._talk = Talk(self.folder / "socket")
            if self.user:
                self._talk.do("AUTH", "tester", "")
            elif self.password:
                self._talk.do("AUTH", self.password)
        try:
            return self._talk.do(*words)
        except (OSError, Ended):
            self._forget()
            raise

    def _forget(self):
        if self._talk:
            self._talk.close()
            self._talk = None

    def log(self):
        return (self.folder / "log").read_text("utf-8", "replace")

    def url(self, host=None, port=None, db=None, password=None, scheme=None):
        who = ""
        password = self.password if password is None else password
        if password:
            who = f"{self.user or ''}:{password}@"
        host = host or ("localhost" if self.tls else "127.0.0.1")
        scheme = scheme or ("rediss" if self.tls else "redis")
        return f"{scheme}://{who}{host}:{port or self.port}" + ("" if db is None else f"/{db}")

    def clients(self, kind="normal"):
        """Its connections of that type but the test's own: a list of dicts."""
        rows = self.do("CLIENT", "LIST", "TYPE", kind).decode().splitlines()
        rows = [dict(field.split("=", 1) for field in row.split(" ") if "=" in field) for row in rows]
        return [row for row in rows if "U" not in row["flags"]]

    def cut_subscribers(self):
        """How many connections that had subscribed were cut."""
        return self.do("CLIENT", "KILL", "TYPE", "pubsub")

    def cut_all(self):
        return sum(self.do("CLIENT", "KILL", "ID", row["id"])
                   for kind in ("normal", "pubsub") for row in self.clients(kind))

    def pause(self):
        """Stops it as it stands: connections stay, and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self._forget()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def restart(self, *options, wait=True):
        self.kill()
        return self.start(*options, wait=wait)

    def finish(self):
        if self.process:
            self.kill()
        if self._reserved:
            self._reserved.free()
        self._log.close()


@pytest.fixture
def start_redis():
    if not shutil.which("redis-server"):
        pytest.fail("redis-server is not installed: third_party/install.sh test")
    running = []
    with tempfile.TemporaryDirectory(prefix="hermes-redis-") as folder:

        def start(*options, **more):
            mine = pathlib.Path(folder) / str(len(running))
            mine.mkdir()
            one = Redis(mine, *options, **more)
            running.append(one)
            return one.start()

        try:
            yield start
        finally:
            for one in running:
                one.finish()


@pytest.fixture
def redis(start_redis):
    return start_redis()


# --- between nodes and Redis ----------------------------------------------------------------------

class Wire:
    """A port of its own that leads to another one."""

    def __init__(self, target):
        self.target = target
        self._lock = threading.Lock()
        self._pairs = set()
        self._plugged = True
        self._flowing = threading.Event()
        self._flowing.set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            try:
                with self._lock:
                    target = self.target if self._plugged else None
                if target is None:
                    raise OSError("unplugged")
                far = socket.create_connection(("127.0.0.1", target), timeout=DEADLINE)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.add((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b, (near, far)), daemon=True).start()

    def _pump(self, source, sink, pair):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                self._flowing.wait()
                sink.sendall(piece)
        self._end(pair)

    def _end(self, pair):
        with self._lock:
            known = pair in self._pairs
            self._pairs.discard(pair)
        if known:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()

    def cut(self):
        """Ends all connections; new ones are welcome."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def hold(self):
        """Nothing passes, until it is let go: it is late, not lost."""
        self._flowing.clear()

    def let_go(self):
        self._flowing.set()

    def unplug(self):
        """Ends all, and each new one at once."""
        with self._lock:
            self._plugged = False
        self.cut()

    def plug(self, target=None):
        with self._lock:
            self._plugged = True
            self.target = target or self.target

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.let_go()
        self.unplug()


@pytest.fixture
def wire():
    made = []

    def make(redis):
        made.append(Wire(redis.port))
        return made[-1]

    yield make
    for one in made:
        one.close()


NETS = itertools.count()


class Net:
    """A namespace of the network for a Redis, with so many cables from here to it, each of which can be
    pulled: then nothing passes, and nobody is told."""

    def __init__(self, cables):
        tag = f"{os.getpid():x}{next(NETS)}"
        self.name = f"hermes-{tag}"
        self.cables = []
        self._ip("netns", "add", self.name)
        self.prefix = ["ip", "netns", "exec", self.name]
        try:
            self._ip("-n", self.name, "link", "set", "lo", "up")
            for n in range(cables):
                self._add_cable(f"hh{tag}{n}"[:15], f"hr{tag}{n}"[:15])
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _ip(*words):
        done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def _add_cable(self, here, there):
        self._ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        taken = self._ip("-4", "addr", "show")
        while True:
            # 198.18.0.0/15 is for measurements between networks of one's own.
            net = f"198.{random.randint(18, 19)}.{random.randint(0, 255)}"
            last = random.randrange(0, 64) * 4
            mine, other = f"{net}.{last + 1}", f"{net}.{last + 2}"
            if f" {mine}/" not in taken:
                break
        self._ip("addr", "add", f"{mine}/30", "dev", here)
        self._ip("link", "set", here, "up")
        self._ip("-n", self.name, "addr", "add", f"{other}/30", "dev", there)
        self._ip("-n", self.name, "link", "set", there, "up")
        self.cables.append((here, there, other))

    def address(self, cable):
        """Of Redis, through that cable."""
        return self.cables[cable][2]

    def pull(self, cable):
        self._ip("-n", self.name, "link", "set", self.cables[cable][1], "down")

    def plug(self, cable):
        self._ip("-n", self.name, "link", "set", self.cables[cable][1], "up")

    def close(self):
        for here, _, _ in self.cables:
            with contextlib.suppress(OSError):
                self._ip("link", "del", here)
        self._ip("netns", "del", self.name)


@pytest.fixture
def net():
    if not shutil.which("ip"):
        pytest.fail("ip is not installed: third_party/install.sh test")
    made = []

    def make(cables):
        try:
            made.append(Net(cables))
        except OSError as refusal:
            pytest.skip(f"no namespaces of the network here: {refusal}")
        return made[-1]

    yield make
    for one in made:
        one.close()


# --- nodes ----------------------------------------------------------------------------------------

def is_ready(node):
    return node.get("/readyz").status == 200


def wait_ready(*nodes):
    for node in nodes:
        eventually(lambda: is_ready(node), "200 at /readyz")


def wait_away(*nodes):
    for node in nodes:
        eventually(lambda: not is_ready(node), "503 at /readyz")


def kill_node(node):
    """kill -9"""
    node.expected_exit = -signal.SIGKILL
    assert node.stop(signal.SIGKILL) == -signal.SIGKILL


@pytest.fixture
def start_nodes(start_redis, start_server):
    """Asks for start_redis first, so that nodes end while their Redis is still there."""
    del start_redis

    def start(n, where, wait=True, **settings):
        """`where`: a Redis, several of them, or the text of the setting. `wait`: until they are ready."""
        if not isinstance(where, str):
            where = ",".join(one.url() for one in (where if isinstance(where, (list, tuple)) else [where]))
        nodes = [start_server(**{"workers": 2, "redis_url": where, **settings}) for _ in range(n)]
        if wait:
            wait_ready(*nodes)
        return nodes

    return start


# --- clients that keep account --------------------------------------------------------------------

class Ledger:
    """Which message stands where in its topic, by whoever saw it. Nobody may have seen another one there."""

    def __init__(self):
        self._lock = threading.Lock()
        self.at = {}

    def note(self, topic, epoch, offset, data):
        with self._lock:
            known = self.at.setdefault((topic, epoch, offset), data)
        assert known == data, f"message {offset} of {topic} is {data} here and {known} elsewhere"


class Turn:
    """Who is connected to next: one port after the other, of those that are there now."""

    def __init__(self, nodes, start=0):
        self._lock = threading.Lock()
        self._at = start
        self._ports = [n if isinstance(n, int) else n.port for n in nodes]

    def set(self, nodes):
        with self._lock:
            self._ports = [n if isinstance(n, int) else n.port for n in nodes]

    def next(self):
        with self._lock:
            self._at += 1
            return self._ports[self._at % len(self._ports)]


class Worker:
    """A thread with a connection that it makes again whenever it has ended."""

    def __init__(self, turn):
        self.turn = turn
        self.change = threading.Condition()
        self.fault = None
        self.ending = threading.Event()
        self.connections = 0
        self.closes = []  # codes; None: without a close frame
        self._conn = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def _run(self):
        try:
            while not self.ending.is_set():
                try:
                    conn = self.open(self.turn.next())
                except (Ended, OSError, AssertionError):
                    # Not there, or not for new clients.
                    self.ending.wait(0.01)
                    continue
                with conn:
                    conn.sock.settimeout(None)
                    with self.change:
                        self._conn = conn
                        self.connections += 1
                    if self.ending.is_set():
                        break
                    try:
                        self.work(conn)
                    except (Ended, OSError):
                        self.broken()
                    finally:
                        with self.change:
                            self._conn = None
        except BaseException as fault:
            self.fault = fault
        finally:
            with self.change:
                self.ending.set()
                self.change.notify_all()

    def open(self, port):
        return Client2(port)

    def broken(self):
        pass

    def closed(self, frame):
        self.closes.append(int.from_bytes(frame.payload[:2], "big") if frame.payload else None)
        raise Ended("closed")

    def cut(self):
        """Its connection breaks in the midst of whatever it does."""
        with self.change:
            if self._conn:
                with contextlib.suppress(OSError):
                    self._conn.sock.shutdown(socket.SHUT_RDWR)

    def end(self):
        self.ending.set()
        self.cut()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "a client does not end"
        self.check()

    def check(self):
        if self.fault:
            raise self.fault

    def wait(self, question, what="it", deadline=DEADLINE):
        with self.change:
            done = self.change.wait_for(lambda: self.fault or question(), deadline)
        self.check()
        assert done, f"{what} did not become true: {self}"
        return self


class Follower(Worker):
    """Subscribes to topics, and goes on behind the last message of each whenever it comes back, to the next
    node. Every message has to be the one behind the last, unless a gap or an answer said otherwise:
    `gaps` (topic, from, to, epoch) and `resets` (topic, old place, new place) tell which."""

    def __init__(self, turn, ledger, topics, reads_all=True):
        super().__init__(turn)
        self.ledger, self.topics = ledger, list(topics)
        self.place = {}  # topic → (epoch, offset)
        self.got = {topic: [] for topic in topics}  # (epoch, offset, data)
        self.gaps, self.resets, self.refusals = [], [], []
        self.recovered = 0
        self.subscribed = False

    def __str__(self):
        return f"places {self.place}, gaps {self.gaps}, resets {self.resets}, refused {self.refusals[-3:]}"

    def work(self, conn):
        waited = set(self.topics)
        for topic in self.topics:
            more = {"since": since(*self.place[topic])} if topic in self.place else {}
            conn.tell("subscribe", topic=topic, **more)
        while True:
            frame = conn.recv()
            if frame.opcode == CLOSE:
                self.closed(frame)
            assert frame.opcode == TEXT and frame.fin, frame
            got = json.loads(frame.payload)
            with self.change:
                if not self._take(got, waited):
                    break
                self.change.notify_all()
        # It could not subscribe now: once more, from the start.
        self.ending.wait(0.02)

    def _take(self, got, waited):
        kind, topic = got["type"], got.get("topic")
        if kind == "message":
            assert topic not in waited, f"a message before the answer: {got}"
            epoch, offset = self.place[topic]
            assert got["offset"] == offset + 1, f"not message {offset + 1} of {topic} but {str(got)[:200]}"
            self.ledger.note(topic, epoch, got["offset"], got["data"])
            self.got[topic].append((epoch, got["offset"], got["data"]))
            self.place[topic] = (epoch, got["offset"])
        elif kind == "ack_subscribe":
            waited.discard(topic)
            self.subscribed = self.subscribed or not waited
            old, new = self.place.get(topic), (got["epoch"], got["offset"])
            if old is None:
                self.place[topic] = new
            elif got["recovered"]:
                assert new[0] == old[0] and new[1] >= old[1], (old, got)
                self.recovered += 1
            else:
                self.resets.append((topic, old, new))
                self.place[topic] = new
        elif kind == "gap":
            self.gaps.append((topic, got["from"], got["to"], got.get("epoch")))
            epoch, offset = self.place[topic]
            if "epoch" in got:
                assert got["from"] == 1 and got["to"] >= 0 and got["epoch"] != epoch, got
                self.place[topic] = (got["epoch"], got["to"])
            else:
                assert got["from"] == offset + 1 and got["to"] >= got["from"], (offset, got)
                self.place[topic] = (epoch, got["to"])
        elif kind == "error":
            assert got["code"] == "unavailable", got
            self.refusals.append(got)
            return False
        else:
            assert kind == "reconnect", got
        return True

    def wait_subscribed(self):
        return self.wait(lambda: self.subscribed, "a subscription")

    def data(self, topic):
        return [data for _, _, data in self.got[topic]]


class Listener(Worker):
    """Level 1: what it got of one topic, in order."""

    def __init__(self, turn, topic):
        super().__init__(turn)
        self.topic = topic
        self.got = []
        self.subscribed = False

    def __str__(self):
        return f"{len(self.got)} values"

    def open(self, port):
        conn = Client(port)
        conn.subscribe(self.topic)
        return conn

    def work(self, conn):
        with self.change:
            self.subscribed = True
            self.change.notify_all()
        while True:
            frame = conn.recv()
            if frame.opcode == CLOSE:
                self.closed(frame)
            with self.change:
                self.got.append(json.loads(frame.payload))
                self.change.notify_all()

    def broken(self):
        with self.change:
            self.ending.set()

    def wait_subscribed(self):
        return self.wait(lambda: self.subscribed, "a subscription")


class Publisher(Worker):
    """Publishes [its name, 1], [its name, 2], ... to its topics in turn, none of them twice, until it is
    ended. `acked` has what was answered for by topic and offset; `refused` and `unknown` (the
    connection broke before the answer) may or may not have been published."""

    def __init__(self, turn, name, topics, most=None, size=0, window=20):
        super().__init__(turn)
        self.name, self.topics, self.most, self.window = name, list(topics), most, window
        self.filler = ["x" * size] if size else []
        self.sent = 0
        self.acked = {topic: [] for topic in topics}  # (offset, data)
        self.refused, self.unknown = [], []
        self.answers = 0
        self._open = {}

    def __str__(self):
        return f"{self.sent} sent, {self.answers} answers, {len(self.refused)} refused"

    def work(self, conn):
        while not self.ending.is_set() and (self.most is None or self.sent < self.most):
            # Bursts, so that there is load, with pauses, so that a test's clients can keep up.
            while len(self._open) < self.window and (self.most is None or self.sent < self.most):
                self.sent += 1
                topic = self.topics[self.sent % len(self.topics)]
                data = [self.name, self.sent, *self.filler]
                self._open[conn.tell("publish", topic=topic, data=data)] = (topic, data)
            while len(self._open) > self.window // 2:
                self._take_answer(conn)
            self.ending.wait(0.005)
        while self._open:
            self._take_answer(conn)
        if self.most is not None and self.sent >= self.most:
            self.ending.set()

    def _take_answer(self, conn):
        frame = conn.recv()
        if frame.opcode == CLOSE:
            self.closed(frame)
        got = json.loads(frame.payload)
        if got["type"] == "reconnect":
            return
        topic, data = self._open.pop(got["id"])
        with self.change:
            self.answers += 1
            if got["type"] == "ack_publish":
                self.acked[topic].append((got["offset"], data))
            else:
                assert got["type"] == "error" and got["code"] == "unavailable", got
                self.refused.append((topic, data))
            self.change.notify_all()

    def broken(self):
        with self.change:
            self.unknown += self._open.values()
            self._open = {}

    def end(self):
        """What is on its way is answered first."""
        self.ending.set()
        self._thread.join(DEADLINE)
        super().end()

    def wait_acked(self, more):
        """So many more answers that it was published."""
        with self.change:
            goal = self.count() + more
        return self.wait(lambda: self.count() >= goal, f"{more} more acks", 3 * DEADLINE)

    def count(self):
        return sum(map(len, self.acked.values()))


class Load:
    """Followers and publishers on some topics, and what has to be so at the end."""

    def __init__(self, nodes, topics, followers=6, publishers=3, listeners=0, **more):
        self.nodes, self.topics = nodes, list(topics)
        self.ledger = Ledger()
        self.followers = [Follower(Turn(nodes, k), self.ledger, topics).start() for k in range(followers)]
        self.listeners = [Listener(Turn(nodes, k), topics[0]).start() for k in range(listeners)]
        for one in (*self.followers, *self.listeners):
            one.wait_subscribed()
        self.publishers = [Publisher(Turn(nodes, k), f"p{k}", topics, **more).start()
                           for k in range(publishers)]

    def set_nodes(self, nodes):
        self.nodes = nodes
        for one in (*self.followers, *self.listeners, *self.publishers):
            one.turn.set(nodes)

    def run(self, n):
        """Until each publisher was answered for so many more."""
        for one in self.publishers:
            one.wait_acked(many(n))

    def end(self, **allowed):
        """Ends the load, lets everybody get all of it, and checks it."""
        try:
            for one in self.publishers:
                one.end()
            for topic in self.topics:
                eventually(lambda: self._mark(topic), f"an end of {topic} that all have seen")
        finally:
            for one in (*self.followers, *self.listeners, *self.publishers):
                one.ending.set()
                one.cut()
        for one in (*self.followers, *self.listeners):
            one.end()
        self.check(**allowed)

    def _mark(self, topic):
        """A last message. Where messages may be missed it may be one of them: then another one is the last."""
        try:
            with Client2(self.followers[0].turn.next()) as client:
                got = client.ask("publish", topic=topic, data=["end", topic])
                if got["type"] != "ack_publish":
                    return False
        except (AssertionError, OSError, Ended):
            return False

        def seen(one):
            rows = one.got if isinstance(one, Listener) else [data for _, _, data in one.got[topic][-1:]]
            return rows and rows[-1] == ["end", topic]

        def passed(one):
            """It has seen the message, or was told that it has missed it."""
            return seen(one) or isinstance(one, Follower) and one.place[topic][1] >= got["offset"]

        waiting = [one for one in (*self.followers, *self.listeners)
                   if isinstance(one, Follower) or one.topic == topic and not one.closes]
        for one in waiting:
            one.wait(lambda: passed(one) or one.closes and isinstance(one, Listener), f"an end of {topic}")
        return all(seen(one) or one.closes and isinstance(one, Listener) for one in waiting)

    def check(self, gaps=False, resets=False):
        for one in self.followers:
            one.check()
            assert gaps or not one.gaps, one
            assert resets or not one.resets, one
            for topic in self.topics:
                self._check_order(one.data(topic), topic)
        for one in self.listeners:
            one.check()
            self._check_order(one.got, self.topics[0])
        if gaps or resets:
            return
        # What was answered for is there, where the answer said.
        for topic in self.topics:
            epochs = {epoch for one in self.followers for epoch, _, _ in one.got[topic]}
            assert len(epochs) <= 1, epochs
            for one in self.publishers:
                for offset, data in one.acked[topic]:
                    assert self.ledger.at.get((topic, *epochs, offset)) == data, (topic, offset, data)

    def _check_order(self, seen, topic):
        """None twice, and what one connection was answered for in the order in which it sent it."""
        acked = {one.name: {data[1] for _, data in one.acked[topic]} for one in self.publishers}
        numbers = [tuple(data[:2]) for data in seen if data[0] != "end"]
        assert len(numbers) == len(set(numbers)), f"doubled messages of {topic}"
        for name, mine in acked.items():
            order = [n for who, n in numbers if who == name and n in mine]
            assert order == sorted(order), f"{name}'s messages of {topic} out of order"


def figures(node):
    return Figures(node.admin("GET", "/metrics")[2])
