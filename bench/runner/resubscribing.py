"""One node with many topics whose Redis is killed and started anew: how long until it has subscribed
to all of them again, and until messages come."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import time

from runner import Trouble, figures, servers
from runner.redis import Redis
from runner.servers import Running

EACH = 10000  # subscriptions of a connection: the server's limit
WAVE = 1000  # topics of a command
PROBES = 1000
AWAY_SECONDS = 0.5
REFUSED_SECONDS = 0.02
PATIENCE_SECONDS = 120


class Client:
    """A WebSocket client that speaks level 2; enough of it for here."""

    def __init__(self, stack, port):
        self.link = stack.enter_context(
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        )
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.link.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: hermes.v2\r\n\r\n"
        )
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, _, self.bytes = self.bytes.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Trouble(f"a client was not upgraded: {head[:100]!r}")
        self.expect("info")

    def more(self):
        piece = self.link.recv(1 << 20)
        if not piece:
            raise Trouble("the server closed a connection")
        self.bytes += piece

    def send(self, command):
        text = json.dumps(command, separators=(",", ":")).encode()
        head = b"\x81"  # masked with zeroes, which a server cannot tell from another mask
        if len(text) < 126:
            head += struct.pack("!B", 0x80 | len(text))
        elif len(text) < 65536:
            head += struct.pack("!BH", 0x80 | 126, len(text))
        else:
            head += struct.pack("!BQ", 0x80 | 127, len(text))
        self.link.sendall(head + bytes(4) + text)

    def receive(self):
        """The next text frame, read as JSON."""
        while True:
            while len(self.bytes) < 10 and not self.size():
                self.more()
            head, length = self.size()
            while len(self.bytes) < head + length:
                self.more()
            opcode, payload = self.bytes[0] & 15, self.bytes[head : head + length]
            self.bytes = self.bytes[head + length :]
            if opcode == 1:
                return json.loads(payload)

    def size(self):
        """Of a frame's head and of its payload, when enough has come to tell."""
        if len(self.bytes) < 2:
            return None
        length = self.bytes[1]
        if length == 126:
            return (4, *struct.unpack_from("!H", self.bytes, 2)) if len(self.bytes) >= 4 else None
        if length == 127:
            return (10, *struct.unpack_from("!Q", self.bytes, 2)) if len(self.bytes) >= 10 else None
        return 2, length

    def expect(self, kind):
        while True:
            frame = self.receive()
            if frame.get("type") == kind:
                return frame
            if frame.get("type") == "error":
                raise Trouble(f"{kind} was awaited: {frame}")


def name(number):
    return f"again-{number:06d}"


def subscribe(client, first, last):
    for at in range(first, last, WAVE):
        topics = [name(n) for n in range(at, min(at + WAVE, last))]
        client.send({"type": "subscribe", "topics": topics, "id": at})
        left = set(topics)
        while left:
            answer = client.expect("ack_subscribe")
            told = answer.get("topics") or [answer.get("topic")]
            left -= {t["topic"] if isinstance(t, dict) else t for t in told}


def await_channels(redis, least, patience=PATIENCE_SECONDS):
    give_up = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError):
            have = redis.channels()
            if have >= least:
                return have
            if time.monotonic() > give_up:
                raise Trouble(f"{have:,} of {least:,} channels are subscribed")
        time.sleep(0.005)


def publish(publisher, numbers):
    """Those that were refused."""
    for number in numbers:
        publisher.send({"type": "publish", "topic": name(number), "data": number, "id": number})
    answers = [publisher.receive() for _ in numbers]
    refused = [answer for answer in answers if answer["type"] != "ack_publish"]
    for answer in refused:
        if answer.get("code") != "unavailable":
            raise Trouble(f"a message was not taken: {answer}")
    return [answer["id"] for answer in refused]


def probe(publisher, clients, topics):
    """A message to each of some topics, which has to come: a subscription that Redis knows of
    is of no use when the node does not know of it. Topics that an earlier Redis numbered are
    refused at first, so it is tried again."""
    chosen = list(range(0, topics, max(1, topics // PROBES)))
    begun = time.monotonic()
    left = publish(publisher, chosen)
    while left:
        if time.monotonic() - begun > PATIENCE_SECONDS:
            raise Trouble(f"{len(left)} messages were not taken")
        time.sleep(REFUSED_SECONDS)
        left = publish(publisher, left)
    for at, client in enumerate(clients):
        wanted = {number for number in chosen if number // EACH == at}
        while wanted:
            wanted.discard(client.expect("message")["data"])
    return time.monotonic() - begun


def cpu(pid):
    """Seconds, by the scheduler's own clock of that process."""
    return time.clock_gettime((~pid << 3) | 2)


def bare(options, redis, topics):
    """The same of one bare hiredis connection."""
    done = subprocess.run(
        [os.path.join(options.build, "bench", "redis_floor"), "--port", str(redis.port)]
        + ["--resubscribe", str(topics)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Trouble("the floor could not subscribe")
    return json.loads(done.stdout)


def one_run(redis, running, publisher, clients, topics):
    others = redis.channels() - topics
    spent = cpu(running.pids[0])
    redis.kill()
    killed = time.monotonic()
    time.sleep(AWAY_SECONDS)
    redis.start()
    up = time.monotonic()
    await_channels(redis, topics + others)
    again = time.monotonic()
    return {
        "away": up - killed,
        "seconds": again - up,
        "cpu": cpu(running.pids[0]) - spent,
        "probed": probe(publisher, clients, topics),
    }


def measure(options, topics, report):
    runs, floors = [], []
    server = servers.hermes(options.build, 1)
    server.settings |= {"WS_ADMIN_PORT": "0", "WS_MAX_SUBSCRIPTIONS": str(EACH)}
    try:
        with contextlib.ExitStack() as stack:
            redis = Redis(stack)
            server.settings["WS_REDIS_URL"] = redis.url()
            running = Running(stack, server)
            clients = []
            begun = time.monotonic()
            for first in range(0, topics, EACH):
                clients.append(Client(stack, running.port))
                subscribe(clients[-1], first, min(first + EACH, topics))
                figures.progress(f"resubscribing: {min(first + EACH, topics):,} topics")
            await_channels(redis, topics)
            subscribed = time.monotonic() - begun
            publisher = Client(stack, running.port)
            probe(publisher, clients, topics)
            for repetition in range(9 if options.full else 5):
                figures.progress(f"resubscribing: {repetition + 1}")
                floors.append(bare(options, redis, topics))
                runs.append(one_run(redis, running, publisher, clients, topics))
    except (Trouble, OSError) as trouble:
        figures.progress("")
        report.fault(server, f"resubscribing: {trouble}")
        return {"topics": topics, "runs": runs, "floor": floors}
    figures.progress("")
    return {"topics": topics, "subscribed": subscribed, "runs": runs, "floor": floors}


def show(found):
    runs = found["runs"]
    if not runs:
        return

    def column(key, digits=2):
        return figures.spread({i: run[key] for i, run in enumerate(runs)}, digits)

    bare_runs = {i: run["seconds"] for i, run in enumerate(found["floor"])}
    print(
        f"\nResubscribing: one node with {found['topics']:,} topics; Redis is killed and started"
        " anew. Seconds from its first answer\nuntil it has all of them again; then until a message"
        f" to each of {PROBES:,} has come: none is taken\nas long as another node may still be"
        " about to tell what the old Redis numbered\n"
    )
    figures.table(
        ["", "Redis away, s", "all again, s", "CPU of the node, s", f"{PROBES:,} messages, s"],
        [
            ["hermes, 1 worker", column("away"), column("seconds"), column("cpu"), column("probed")],
            ["a bare hiredis SUBSCRIBE", "", figures.spread(bare_runs, 2), "", ""],
        ],
    )
