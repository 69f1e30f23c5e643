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
DEADLINE = 10 * SLOW

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
