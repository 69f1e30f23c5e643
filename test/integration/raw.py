"""A WebSocket client made of a bare socket: it can send what no library would."""

import base64
import collections
import contextlib
import hashlib
import itertools
import json
import os
import socket
import struct

SLOW = float(os.environ.get("HERMES_SLOW", "1"))
DEADLINE = 30 * SLOW

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x37\xfa\x21\x3d"

Frame = collections.namedtuple("Frame", "fin rsv opcode payload")


class Ended(Exception):
    """The connection ended where a frame was expected."""


class Response:
    def __init__(self, status, headers, body, rest):
        self.status, self.headers, self.body, self.rest = status, headers, body, rest

    def header(self, name):
        found = [v for n, v in self.headers if n == name.lower()]
        assert len(found) <= 1, f"{name} stands {len(found)} times"
        return found[0] if found else None


def xor(data, key):
    n = len(data)
    keys = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")).to_bytes(n, "big")


def frame(opcode, payload=b"", fin=True, rsv=0, key=MASK, length=None, width=None):
    """One client frame. `key` None: unmasked; `length`: a lie about it; `width` 0, 2 or 8: the
    size of the extended length where it is not to be the shortest."""
    if isinstance(payload, str):
        payload = payload.encode()
    n = len(payload) if length is None else length
    if width is None:
        width = 0 if n < 126 else 2 if n < 65536 else 8
    out = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0 if key is None else 0x80
    if width == 0:
        out += bytes([mask_bit | n])
    elif width == 2:
        out += bytes([mask_bit | 126]) + struct.pack(">H", n)
    else:
        out += bytes([mask_bit | 127]) + struct.pack(">Q", n)
    if key is None:
        return out + payload
    return out + key + xor(payload, key)


def text(payload, **more):
    return frame(TEXT, payload, **more)


def close_body(code, reason=b""):
    return struct.pack(">H", code) + reason


def head(path="/", key=KEY, version="13", host="localhost", extra=(), upgrade="websocket",
         connection="Upgrade", method="GET", http="HTTP/1.1"):
    """An opening handshake; None leaves a line out."""
    lines = [f"{method} {path} {http}"]
    for name, value in (("Host", host), ("Upgrade", upgrade), ("Connection", connection),
                        ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", version)):
        if value is not None:
            lines.append(f"{name}: {value}")
    lines += extra
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def accept_value(key):
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()


class Raw:
    """A connection, of which every step is taken by hand. Whatever waits, waits DEADLINE at most."""

    def __init__(self, port, host="127.0.0.1", rcvbuf=None, source=None):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(DEADLINE)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.at = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()

    def fileno(self):
        return self.sock.fileno()

    def send(self, *pieces):
        self.sock.sendall(b"".join(pieces))

    def try_send(self, *pieces):
        """Where the server may have closed already."""
        with contextlib.suppress(OSError):
            self.send(*pieces)

    def drop(self):
        self.sock.close()

    def reset(self):
        """Ends it with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def _fill(self):
        try:
            piece = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            piece = b""
        if not piece:
            raise Ended(f"with {bytes(self.buffer[self.at:][:200])!r} left")
        if self.at > 1 << 16:
            del self.buffer[: self.at]
            self.at = 0
        self.buffer += piece

    def _need(self, n):
        while len(self.buffer) - self.at < n:
            self._fill()

    def response(self):
        """An HTTP response, whole, where it has a length; `rest` is what came behind it."""
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        top, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        version, status, reason = (first.split(" ", 2) + [""])[:3]
        assert version == "HTTP/1.1", first
        assert reason, first
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon and name == name.strip(), line
            headers.append((name.lower(), value.strip()))
        length = int(dict(headers).get("content-length", "0"))
        self.buffer = bytearray(rest)
        self.at = 0
        return Response(int(status), headers, length, None)

    def body(self, response):
        self._need(response.body)
        out = bytes(self.buffer[: response.body])
        self.at = response.body
        return out

    def upgrade(self, path="/", extra=(), key=KEY):
        self.send(head(path, key=key, extra=extra))
        return self.upgraded(key)

    def upgraded(self, key=KEY):
        response = self.response()
        if response.status != 101:
            raise AssertionError(f"{response.status}: {self.body(response)!r}")
        assert response.header("sec-websocket-accept") == accept_value(key)
        assert response.header("upgrade").lower() == "websocket"
        assert response.header("connection").lower() == "upgrade"
        return response

    def recv(self):
        """The next frame, of which the rules for servers are checked."""
        self._need(2)
        first, second = self.buffer[self.at], self.buffer[self.at + 1]
        assert not second & 0x80, "a server does not mask"
        size, n = 2, second & 0x7F
        if n == 126:
            self._need(4)
            size, n = 4, struct.unpack_from(">H", self.buffer, self.at + 2)[0]
            assert n > 125, "not the shortest length"
        elif n == 127:
            self._need(10)
            size, n = 10, struct.unpack_from(">Q", self.buffer, self.at + 2)[0]
            assert n > 65535, "not the shortest length"
        self._need(size + n)
        start = self.at + size
        self.at = start + n
        payload = bytes(self.buffer[start:self.at])
        got = Frame(bool(first & 0x80), first >> 4 & 7, first & 15, payload)
        assert got.rsv == 0, got
        assert got.opcode in (0, 1, 2, 8, 9, 10), got
        if got.opcode & 8:
            assert got.fin and n <= 125, got
        return got

    def recv_text(self):
        """The next frame is a whole text message: its text."""
        got = self.recv()
        assert got.fin and got.opcode == TEXT, got
        return got.payload.decode()

    def recv_json(self):
        return json.loads(self.recv_text())

    def expect(self, opcode, payload):
        if isinstance(payload, str):
            payload = payload.encode()
        got = self.recv()
        assert (got.fin, got.opcode) == (True, opcode) and got.payload == payload, (
            f"{got.opcode} {got.payload[:300]!r}, not {opcode} {payload[:300]!r}")

    def expect_close(self, code):
        """The next frame is a close with that code (None: without any), and then comes the end."""
        got = self.recv()
        assert got.opcode == CLOSE, got
        self.check_close(got, code)
        self.try_send(frame(CLOSE, got.payload[:2]))
        self.expect_end()

    @staticmethod
    def check_close(got, *codes):
        if not got.payload:
            assert None in codes, got
            return
        assert len(got.payload) >= 2, got
        assert struct.unpack(">H", got.payload[:2])[0] in codes, (got, codes)
        got.payload[2:].decode()

    def expect_end(self):
        """Nothing more comes but the end."""
        try:
            got = self.recv()
        except Ended:
            assert self.at == len(self.buffer), "half a frame before the end"
            return
        raise AssertionError(f"not the end but {got}")

    def until_end(self):
        """All frames up to the end."""
        frames = []
        with contextlib.suppress(Ended):
            while True:
                frames.append(self.recv())
        return frames

    def until_end_of_bytes(self):
        """All bytes up to the end, whatever they are."""
        with contextlib.suppress(Ended):
            while True:
                self._fill()
        return bytes(self.buffer[self.at:])

    def pending(self):
        """Whether something has come already that is not read yet."""
        if self.at < len(self.buffer):
            return True
        self.sock.setblocking(False)
        try:
            self._fill()
            return True
        except BlockingIOError:
            return False
        finally:
            self.sock.settimeout(DEADLINE)


BAD_JSON = {"type": "error", "message": "Message must be valid JSON."}
MALFORMED = "Malformed message or unknown type. Expected "


FENCES = itertools.count()


def command(type, topic, **more):
    return json.dumps({"type": type, "topic": topic, **more}, ensure_ascii=False)


def publish_text(topic, data):
    """A publish of `data`, which is JSON text."""
    return '{"topic":%s,"data":%s}' % (json.dumps(topic, ensure_ascii=False), data)


class Client(Raw):
    """A connection that speaks level 1, the handshake and the greeting behind it."""

    def __init__(self, port, path="/", extra=(), shake=True, **more):
        super().__init__(port, **more)
        if shake:
            self.send(head(path, extra=extra))
            self.greeted()

    def greeted(self):
        self.handshake = self.upgraded()
        info = self.recv_json()
        assert info["type"] == "info", info

    def say(self, *messages):
        self.send(b"".join(text(m) for m in messages))

    def subscribe(self, topic):
        self.say(command("subscribe", topic))
        self.expect_subscribed(topic)

    def unsubscribe(self, topic):
        self.say(command("unsubscribe", topic))
        self.expect_unsubscribed(topic)

    def publish(self, topic, data):
        self.say(publish_text(topic, data if isinstance(data, str) else json.dumps(data)))

    def expect_subscribed(self, topic):
        got = self.recv_json()
        assert got == {"type": "ack_subscribe", "topic": topic,
                       "message": f"Successfully subscribed to {topic}"}, got

    def expect_unsubscribed(self, topic):
        got = self.recv_json()
        assert got == {"type": "ack_unsubscribe", "topic": topic,
                       "message": f"Successfully unsubscribed from {topic}"}, got

    def expect_error(self, message=None):
        got = self.recv_json()
        assert got["type"] == "error" and got["message"], got
        if message is not None:
            assert got["message"] == message, got
        return got

    def expect_malformed(self):
        got = self.expect_error()
        assert got["message"].startswith(MALFORMED), got

    def topics(self, **fields):
        self.say(json.dumps({"type": "topics", **fields}))
        got = self.recv_json()
        assert got["type"] == "topics", got
        return got

    def counts(self, prefix=""):
        """Every active topic with that prefix and its subscribers."""
        out, after = {}, ""
        while True:
            got = self.topics(prefix=prefix, after=after, limit=1000)
            out.update((row["topic"], row["subscribers"]) for row in got["topics"])
            if got.get("next") is None:
                return out
            after = got["next"]

    def fence(self):
        """All that was sent on this connection has been worked off, and nothing has come
        meanwhile: what it publishes now is the next to come."""
        topic = f"fence~{next(FENCES)}"
        self.say(command("subscribe", topic), publish_text(topic, '"fence"'),
                 command("unsubscribe", topic))
        self.expect_subscribed(topic)
        assert self.recv_text() == '"fence"'
        self.expect_unsubscribed(topic)


V2 = ["Sec-WebSocket-Protocol: hermes.v2"]
CODES = {"bad_json", "malformed", "bad_topic", "bad_pattern", "not_subscribed", "unauthorized",
         "forbidden", "token_expired", "rate_limited", "too_many_subscriptions", "too_large",
         "no_history", "unavailable"}


def burst(messages):
    """Many text frames at once, masked by a key of zeros, which is quick to do."""
    out = []
    for message in messages:
        payload = message.encode() if isinstance(message, str) else message
        n = len(payload)
        out.append(bytes([0x81, 0x80 | n]) if n < 126 else
                   b"\x81\xfe" + struct.pack(">H", n) if n < 65536 else
                   b"\x81\xff" + struct.pack(">Q", n))
        out.append(b"\0\0\0\0")
        out.append(payload)
    return b"".join(out)


class Client2(Client):
    """A connection that speaks level 2. `me` is the id that the server gave it."""

    def __init__(self, port, extra=(), **more):
        self.commands = itertools.count(1)
        super().__init__(port, extra=[*V2, *extra], **more)

    def greeted(self):
        self.handshake = self.upgraded()
        assert self.handshake.header("sec-websocket-protocol") == "hermes.v2"
        info = self.recv_json()
        assert info["type"] == "info" and isinstance(info["client"], str) and info["client"], info
        assert set(info) == {"type", "message", "client"}, info
        self.me = info["client"]

    def tell(self, type, **fields):
        """Sends a command with an id of its own, which is returned."""
        number = next(self.commands)
        self.say(json.dumps({"type": type, "id": number, **fields}, ensure_ascii=False))
        return number

    def ask(self, type, **fields):
        """The answer to a command, which is the next to come."""
        number = self.tell(type, **fields)
        got = self.recv_json()
        assert isinstance(got, dict) and got.get("id") == number, (got, number)
        return got

    def ask_among(self, type, **fields):
        """What came before the answer, and the answer: for answers that are not the next to come."""
        number = self.tell(type, **fields)
        before = []
        while True:
            got = self.recv_json()
            if got.get("id") == number:
                return before, got
            before.append(got)

    def subscribe(self, topic=None, **more):
        """The answer, of which what is always so is checked."""
        if topic is not None:
            more["topic"] = topic
        return self.check_subscribed(self.ask("subscribe", **more), **more)

    @staticmethod
    def check_subscribed(got, topic=None, pattern=None, since=None, **_):
        assert got["type"] == "ack_subscribe", got
        if pattern is not None:
            assert got["pattern"] == pattern and "topic" not in got, got
            return got
        assert got["topic"] == topic, got
        assert got["message"] == f"Successfully subscribed to {topic}", got
        assert isinstance(got["epoch"], str) and got["epoch"], got
        assert type(got["offset"]) is int and got["offset"] >= 0, got
        assert ("recovered" in got) == (since is not None), got
        if since is not None:
            assert type(got["recovered"]) is bool, got
            assert not got["recovered"] or (since["epoch"] == got["epoch"]
                                            and since["offset"] <= got["offset"]), got
        assert set(got) <= {"type", "topic", "message", "id", "epoch", "offset", "recovered"}, got
        return got

    def unsubscribe(self, topic=None, **more):
        if topic is not None:
            more["topic"] = topic
        got = self.ask("unsubscribe", **more)
        assert got["type"] == "ack_unsubscribe", got
        for name, value in more.items():
            assert got[name] == value, got
        return got

    def publish_acked(self, topic, data, **more):
        """The answer's offset and subscribers; for who is not subscribed itself."""
        got = self.ask("publish", topic=topic, data=data, **more)
        assert set(got) == {"type", "topic", "offset", "subscribers", "id"}, got
        assert got["type"] == "ack_publish" and got["topic"] == topic, got
        return got["offset"], got["subscribers"]

    def refused(self, code, type, **fields):
        """The command is answered by an error with that code."""
        got = self.ask(type, **fields)
        assert got["type"] == "error" and got["code"] == code and got["message"], got
        return got

    def expect_refusal(self, code):
        got = self.recv_json()
        assert got["type"] == "error" and got["code"] == code, got
        assert isinstance(got["message"], str) and got["message"], got
        return got

    def expect_message(self, topic, data, offset=None, pattern=None):
        got = self.recv_json()
        self.check_message(got, topic, offset, pattern)
        assert got["data"] == data, (got, data)
        return got["offset"]

    @staticmethod
    def check_message(got, topic, offset=None, pattern=None):
        shown = str(got)[:400]
        assert got["type"] == "message" and got["topic"] == topic, (shown, topic, offset)
        assert type(got["offset"]) is int and got["offset"] >= 1, shown
        assert offset is None or got["offset"] == offset, (shown, offset)
        assert got.get("pattern") == pattern, (shown, pattern)
        assert set(got) <= {"type", "topic", "data", "offset", "pattern"}, shown

    def expect_error(self, message=None):
        got = super().expect_error(message)
        assert got["code"] in CODES, got
        return got

    def presence(self, topic):
        """Who is on it, in any order; other frames that come before the answer are an error."""
        got = self.ask("presence", topic=topic)
        assert set(got) == {"type", "topic", "clients", "id"}, got
        assert got["type"] == "presence" and got["topic"] == topic, got
        clients = got["clients"]
        assert all(isinstance(c, str) for c in clients), got
        assert len(set(clients)) == len(clients), "somebody stands twice"
        return set(clients)

    def history(self, topic, **more):
        """The answer, whose messages are checked to be without a gap."""
        got = self.ask("history", topic=topic, **more)
        return self.check_history(got, topic, **more)

    @staticmethod
    def check_history(got, topic, since=None, limit=100, **_):
        assert got["type"] == "history" and got["topic"] == topic, got
        assert set(got) <= {"type", "topic", "epoch", "offset", "messages", "id", "recovered"}, got
        assert ("recovered" in got) == (since is not None), got
        messages = got["messages"]
        assert all(set(m) == {"offset", "data"} for m in messages), got
        offsets = [m["offset"] for m in messages]
        assert len(offsets) <= limit, got
        if offsets:
            assert offsets == list(range(offsets[0], offsets[-1] + 1)), offsets
            assert offsets[-1] <= got["offset"], got
            if got.get("recovered"):
                assert offsets[0] == since["offset"] + 1, got
        return got

    def counts(self, prefix="", **more):
        out, after = {}, ""
        while True:
            got = self.ask("topics", prefix=prefix, after=after, limit=1000, **more)
            assert got["type"] == "topics", got
            out.update((row["topic"], row["subscribers"]) for row in got["topics"])
            if got.get("next") is None:
                return out
            after = got["next"]

    def fence(self):
        topic = f"fence~{next(FENCES)}"
        self.say(command("subscribe", topic), publish_text(topic, '"fence"'),
                 command("unsubscribe", topic))
        got = self.recv_json()
        assert got["type"] == "ack_subscribe" and got["topic"] == topic, got
        self.expect_message(topic, "fence", got["offset"] + 1)
        got = self.recv_json()
        assert got["type"] == "ack_unsubscribe" and got["topic"] == topic, got

    def until_fenced(self):
        """All that comes up to a fence."""
        topic = f"fence~{next(FENCES)}"
        self.say(command("subscribe", topic), publish_text(topic, '"fence"'),
                 command("unsubscribe", topic))
        out = []
        while True:
            got = self.recv_json()
            if got.get("topic") != topic:
                out.append(got)
            elif got["type"] == "ack_unsubscribe":
                return out


def since(epoch, offset):
    return {"epoch": epoch, "offset": offset}
