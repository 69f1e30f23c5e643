"""A broker of a few lines that speaks level 1, and level 2 to those who ask for it, for tests of what is
on the other side: it can be told to lose, double, reorder or damage what it delivers, to close
connections, and to refuse them."""

import contextlib
import json
import re
import socket
import struct
import threading
import time

import raw

INFO = json.dumps({"type": "info", "message": "Connected to HERMES WebSocket server. A fake."})


class Connection:
    def __init__(self, sock, number, peer):
        self.sock, self.number, self.peer = sock, number, peer
        self.topics = []
        self.level = 1
        self.order = None  # among those that subscribed, from 0
        self.deliveries = 0
        self.held = None
        self.dropped = False
        self.lock = threading.Lock()
        self.buffer = bytearray()

    def _need(self, n):
        while len(self.buffer) < n:
            piece = self.sock.recv(1 << 16)
            if not piece:
                raise ConnectionError
            self.buffer += piece

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            self._need(len(self.buffer) + 1)
        top, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        return top.decode("latin-1")

    def frame(self):
        if self.dropped:
            raise ConnectionError
        self._need(2)
        opcode, n, at = self.buffer[0] & 15, self.buffer[1] & 127, 2
        if n == 126:
            self._need(4)
            n, at = struct.unpack_from(">H", self.buffer, 2)[0], 4
        elif n == 127:
            self._need(10)
            n, at = struct.unpack_from(">Q", self.buffer, 2)[0], 10
        self._need(at + 4 + n)
        payload = raw.xor(bytes(self.buffer[at + 4:at + 4 + n]), bytes(self.buffer[at:at + 4]))
        del self.buffer[:at + 4 + n]
        return opcode, payload

    def send(self, payload, opcode=raw.TEXT):
        with self.lock, contextlib.suppress(OSError):
            self.sock.sendall(raw.frame(opcode, payload, key=None))

    def drop(self):
        """With all that it has sent and nobody has read."""
        self.dropped = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self, code):
        self.send(raw.close_body(code), raw.CLOSE)


class FakeBroker:
    """deliver(connection, n, data) tells what comes of the n-th delivery (from 0) to a connection: a
    list of texts to send it in place of `data`, usually [data]; at level 2 they are enveloped, and what
    is no text but a dict is sent as it is. At level 2 it keeps all messages of a topic, in `kept`, and
    what is asked for by `since` or `history` comes from there; forget() empties it."""

    def __init__(self, deliver=None, refuse=None, answer=None, on_publish=None, level=1):
        self.level = level
        self.epoch = "e1"
        self.kept = {}     # by topic: (offset, data as text)
        self.offsets = {}
        self.deliver = deliver or (lambda connection, n, data: [data])
        self.refuse = refuse or (lambda number: False)  # by the number of the connection, from 0
        self.answer = answer or (lambda connection, topic: True)
        self.on_publish = on_publish or (lambda topic, data: None)
        self.lock = threading.Lock()
        self.connections = []
        self.subscribers = []
        self.topics = {}
        self.published = 0
        self.change = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in self.connections:
            with contextlib.suppress(OSError):
                one.sock.shutdown(socket.SHUT_RDWR)
            one.sock.close()

    def wait_published(self, count):
        with self.change:
            assert self.change.wait_for(lambda: self.published >= count, raw.DEADLINE)

    def forget(self, epoch=None):
        with self.lock:
            self.kept.clear()
            if epoch:
                self.epoch = epoch
                self.offsets.clear()

    def drop_all(self):
        for one in list(self.connections):
            one.drop()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, peer = self.listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one = Connection(sock, len(self.connections), peer[0])
                self.connections.append(one)
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one):
        with contextlib.suppress(OSError):
            head = one.head()
            key = re.search(r"(?im)^sec-websocket-key: *(\S+)", head).group(1)
            if self.level == 2 and re.search(r"(?im)^sec-websocket-protocol: *hermes\.v2\r?$", head):
                one.level = 2
            if self.refuse(one.number):
                one.sock.sendall(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n")
                one.sock.close()
                return
            chosen = "Sec-WebSocket-Protocol: hermes.v2\r\n" if one.level == 2 else ""
            one.sock.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              f"{chosen}Sec-WebSocket-Accept: {raw.accept_value(key)}\r\n\r\n").encode())
            one.send(INFO)
            while True:
                opcode, payload = one.frame()
                if opcode == raw.TEXT:
                    self._command(one, json.loads(payload))
                elif opcode == raw.PING:
                    one.send(payload, raw.PONG)
                elif opcode == raw.CLOSE:
                    one.send(payload, raw.CLOSE)
                    break
        with self.lock:
            for topic in one.topics:
                self.topics[topic].remove(one)
        with contextlib.suppress(OSError):
            one.sock.shutdown(socket.SHUT_RDWR)
        one.sock.close()

    def _place(self, topic):
        return {"epoch": self.epoch, "offset": self.offsets.get(topic, 0)}

    def _envelope(self, topic, offset, text):
        return f'{{"type":"message","topic":{json.dumps(topic)},"data":{text},"offset":{offset}}}'

    def _behind(self, message, default):
        """What is kept behind `since`, and whether that is all."""
        since, topic = message.get("since"), message["topic"]
        kept, now = self.kept.get(topic, []), self._place(topic)
        if since is None:
            return default(kept), None
        rows = [row for row in kept if row[0] > since["offset"]]
        whole = since["epoch"] == now["epoch"] and len(rows) == now["offset"] - since["offset"]
        return rows if whole else [], whole

    def _answer2(self, message):
        """Level 2: what a subscribe adds to its ack, what follows it, and other commands."""
        replay = message.get("replay", 0)
        rows, whole = self._behind(message, lambda kept: kept[-replay:] if replay else [])
        more = {"id": message["id"]} if "id" in message else {}
        if whole is not None:
            more["recovered"] = whole
        return {**self._place(message["topic"]), **more}, rows

    def _history(self, one, message):
        with self.lock:
            rows, whole = self._behind(message, list)
            limit = message.get("limit", 100)
            rows = rows[-limit:] if whole is None else rows[:limit]
            one.send(json.dumps({"type": "history", "topic": message["topic"],
                                 **self._place(message["topic"]),
                                 **({} if whole is None else {"recovered": whole}),
                                 "messages": [{"offset": n, "data": json.loads(d)} for n, d in rows],
                                 "id": message.get("id")}))

    def _publish(self, topic, data):
        self.on_publish(topic, data)
        offset = self.offsets[topic] = self.offsets.get(topic, 0) + 1
        self.kept.setdefault(topic, []).append((offset, json.dumps(data)))
        subscribers = list(self.topics.get(topic, []))
        for subscriber in subscribers:
            n = subscriber.deliveries
            subscriber.deliveries += 1
            for text in self.deliver(subscriber, n, json.dumps(data)):
                if isinstance(text, dict):
                    text = json.dumps(text)
                elif subscriber.level == 2:
                    text = self._envelope(topic, offset, text)
                subscriber.send(text)
        return offset, len(subscribers)

    def publish(self, topic, data):
        """As if somebody had who is connected already."""
        with self.lock:
            self._publish(topic, data)

    def _command(self, one, message):
        if message.get("type") == "history":
            self._history(one, message)
            return
        topic = message["topic"]
        if message.get("type") == "subscribe":
            answer = self.answer(one, topic)
            with self.lock:
                if answer is True:
                    if one.order is None:
                        one.order = len(self.subscribers)
                        self.subscribers.append(one)
                    one.topics.append(topic)
                    self.topics.setdefault(topic, []).append(one)
                    answer = {"type": "ack_subscribe", "topic": topic,
                              "message": f"Successfully subscribed to {topic}"}
                    more, rows = self._answer2(message) if one.level == 2 else ({}, [])
                    answer.update(more)
                else:
                    rows = []
                if answer:
                    one.send(json.dumps(answer))
                for offset, text in rows:
                    one.send(self._envelope(topic, offset, text))
        elif message.get("type") == "unsubscribe":
            with self.lock:
                one.topics.remove(topic)
                self.topics[topic].remove(one)
        else:
            with self.lock:
                offset, count = self._publish(topic, message["data"])
                if "id" in message and one.level == 2:
                    one.send(json.dumps({"type": "ack_publish", "topic": topic, "offset": offset,
                                         "subscribers": count, "id": message["id"]}))
            with self.change:
                self.published += 1
                self.change.notify_all()


def pause(seconds):
    """What a stalled server does."""
    time.sleep(seconds)
