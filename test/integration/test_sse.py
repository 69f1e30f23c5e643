"""GET /sse: server-sent events, as the HTML standard has a client read them, and as curl and Chromium do.

"Broken by" says how the broker was broken on purpose to see the test fail.
"""

import collections
import contextlib
import http.server
import json
import random
import re
import shutil
import signal
import subprocess
import threading
import urllib.parse

import pytest

from browser import browser  # noqa: F401
from hermes_fixtures import eventually, sanitized, within
from raw import Client2, Ended, Raw, burst, publish_text
from test_auth import token
from test_token import SECRET
from tls_support import TlsRaw, start_tls, world  # noqa: F401

Event = collections.namedtuple("Event", "type data id")
DEEP = [{"match": "h:>", "history": 100_000}]
POSITION = re.compile(r"[0-9a-f]{16}:[0-9]+")


def query(*fields, **more):
    return urllib.parse.urlencode([*fields, *more.items()], quote_via=urllib.parse.quote)


def request(target, headers=(), method="GET", version="HTTP/1.1"):
    lines = [f"{method} {target} {version}", "Host: localhost", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Stream:
    """A strict client: every line is one that the standard knows, and every event is whole."""

    def __init__(self, conn, *fields, last_id=None, headers=(), path="/sse", version="HTTP/1.1", **more):
        self.conn = conn
        self.retry = None
        self.last_id = last_id
        self.comments = 0
        if last_id is not None:
            headers = [*headers, f"Last-Event-ID: {last_id}"]
        conn.send(request(f"{path}?{query(*fields, **more)}", headers, version=version))
        self.response = conn.response()
        if self.response.status != 200:
            raise AssertionError(f"{self.response.status}: {conn.body(self.response)}")
        assert self.response.header("content-type") == "text/event-stream"
        info = self.hermes("info")
        assert set(info) == {"type", "message", "client"}, info
        self.me = info["client"]

    def _line(self):
        conn = self.conn
        while (end := conn.buffer.find(b"\n", conn.at)) < 0:
            conn._fill()
        line = bytes(conn.buffer[conn.at:end])
        conn.at = end + 1
        assert b"\r" not in line, line
        return line.decode()

    def event(self):
        kind, data = "message", []
        while True:
            line = self._line()
            if line == "":
                if not data:
                    continue
                return Event(kind, "\n".join(data), self.last_id)
            if line.startswith(":"):
                assert not data, "a comment amid an event"
                self.comments += 1
                continue
            name, colon, value = line.partition(": ")
            assert colon, line
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                assert POSITION.fullmatch(value), value
                self.last_id = value
            else:
                assert name == "retry", line
                self.retry = int(value)

    def hermes(self, type=None):
        """The next event is none of the messages."""
        got = self.event()
        assert got.type == "hermes", got
        value = json.loads(got.data)
        assert type is None or value["type"] == type, got
        return value

    def message(self, topic=None, data=None, offset=None, pattern=None):
        got = self.event()
        assert got.type == "message", got
        value = json.loads(got.data)
        assert value["type"] == "message"
        assert topic is None or value["topic"] == topic, value
        assert data is None or value["data"] == data, value
        assert offset is None or value["offset"] == offset, value
        assert value.get("pattern") == pattern, value
        if pattern is None:
            assert self.last_id.endswith(f":{value['offset']}")
        return value

    def joined(self, recovered=None, **name):
        got = self.hermes("ack_subscribe")
        assert got.get("recovered") is recovered, got
        assert all(got[key] == value for key, value in name.items()), got
        return got

    def end(self):
        """The close event and the end."""
        got = self.hermes("close")
        with pytest.raises(Ended):
            self._line()
        assert self.conn.at == len(self.conn.buffer), "bytes behind the last event"
        return got

    def until_end(self):
        """All whole events until the connection ends."""
        out = []
        with contextlib.suppress(Ended):
            while True:
                out.append(self.event())
        return out

    def drop(self):
        self.conn.drop()


def stream(server, *fields, rcvbuf=None, port=None, **more):
    conn = Raw(port or server.port, rcvbuf=rcvbuf)
    server.clients.append(conn)
    return Stream(conn, *fields, **more)


def refused(server, target, headers=(), method="GET"):
    """The answer to a request that gets no stream: its status, headers and JSON."""
    with Raw(server.port) as conn:
        conn.send(request(target, headers, method))
        response = conn.response()
        assert response.header("cache-control") == "no-store"
        assert response.header("connection") == "close"
        body = conn.body(response) if method != "HEAD" else b""
        conn.expect_end()
        if response.status != 204:
            assert response.header("content-type") == "application/json"
        value = json.loads(body) if body else None
        assert not body or (value["type"] == "error" and value["message"])
        return response, value


# --- the bytes ------------------------------------------------------------------------------------

def test_a_stream_byte_for_byte(server):
    conn = server.raw()
    conn.send(request("/sse?topic=a%3Ab&pattern=a:*", ["Origin: http://page.example"]))
    publisher = server.client2()
    eventually(lambda: publisher.counts().get("a:b") == 1)
    publisher.say('{"topic":"a:b","data":{"n":1.50}}', '{"topic":"a:c","data":[]}')
    end = b'"pattern":"a:*"}\n\n'
    while not conn.buffer.endswith(end):
        conn._fill()
    got = bytes(conn.buffer).decode()
    assert re.fullmatch(
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/event-stream\r\n"
        "Cache-Control: no-store\r\n"
        "X-Accel-Buffering: no\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n"
        "Access-Control-Allow-Origin: http://page.example\r\n"
        "Vary: Origin\r\n\r\n"
        "retry: [0-9]+\n"
        'event: hermes\ndata: {"type":"info","message":"Connected to HERMES: messages come as server-sent events."'
        ',"client":"[0-9a-f]{16}"}\n\n'
        'id: ([0-9a-f]{16}):0\nevent: hermes\ndata: {"type":"ack_subscribe","topic":"a:b",'
        '"message":"Successfully subscribed to a:b","epoch":"\\1","offset":0}\n\n'
        'event: hermes\ndata: {"type":"ack_subscribe","pattern":"a:\\*",'
        '"message":"Successfully subscribed to a:\\*"}\n\n'
        'id: \\1:1\ndata: {"type":"message","topic":"a:b","data":{"n":1.50},"offset":1}\n\n'
        'data: {"type":"message","topic":"a:c","data":\\[\\],"offset":1,"pattern":"a:\\*"}\n\n', got), got


# Broken by writing the data as it came: fails.
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\n\n", "\r\r\n", "\n\r"])
def test_line_ends_in_data_are_spaces(server, end):
    got = stream(server, topic="t")
    got.joined(topic="t")
    publisher = server.client2()
    for data in (f'{{{end}"a"{end}:[1,{end} 2 ]{end}}}', f"[{end}]", '"\\n\\r"', f'[{end}{end}"x"]'):
        publisher.publish("t", data)
        event = got.event()
        one_line = data.replace("\n", " ").replace("\r", " ")
        assert f'"data":{one_line},"offset":' in event.data
        assert json.loads(event.data)["data"] == json.loads(data)


# Broken by writing a line of data for each: reset.
def test_a_message_of_line_ends_is_no_larger_than_it_was(start_server):
    server = start_server(max_backlog_bytes="2m")
    got = stream(server, topic="t")
    got.joined(topic="t")
    publisher = server.client2()
    for _ in range(2):
        publisher.publish("t", "[" + "\n" * 1_000_000 + "1]")
    for _ in range(2):
        assert got.message("t")["data"] == [1]


def test_names_and_data_of_any_characters(server):
    names = ["a b&c=d+e%", "stock:Ω", "日本語:\U0001F600", "é" * 500]
    got = stream(server, *(("topic", name) for name in names))
    publisher = server.client2()
    for name in names:
        got.joined(topic=name)
    for name in names:
        publisher.publish(name, json.dumps(name, ensure_ascii=False))
        got.message(name, name)


def test_a_plus_is_a_space_as_in_forms(server):
    conn = server.raw()
    conn.send(request("/sse?topic=a+b"))
    eventually(lambda: server.topic_counts().get("a b") == 1)


def test_a_large_message_and_many_small_ones(server):
    got = stream(server, topic="t")
    got.joined()
    publisher = server.client2()
    large = "x" * 900_000
    publisher.publish("t", json.dumps(large))
    publisher.send(burst(publish_text("t", str(n)) for n in range(5000)))
    got.message("t", large, 1)
    for n in range(5000):
        got.message("t", n, n + 2)


def test_http_1_0_is_answered_too(server):
    got = stream(server, topic="t", version="HTTP/1.0")
    got.joined()
    server.client2().publish("t", "1")
    got.message("t", 1, 1)


def test_a_topic_that_is_named_twice_is_subscribed_once(server):
    got = stream(server, ("topic", "t"), ("topic", "t"), ("pattern", "t"), ("pattern", "t"), ("topic", "u"))
    assert [got.hermes("ack_subscribe").get("topic") for _ in range(3)] == ["t", None, "u"]
    assert server.topic_counts("t") == {"t": 1}
    publisher = server.client2()
    for n in range(3):
        publisher.publish("t", str(n))
        got.message("t", n, n + 1)


def test_what_a_client_sends_is_ignored_and_its_end_ends_it(server):
    got = stream(server, topic="t")
    got.joined()
    got.conn.send(b"\x81\x80\0\0\0\0" * 1000 + b"GET / HTTP/1.1\r\n\r\n" + b"x" * 300_000)
    publisher = server.client2()
    publisher.publish("t", "1")
    got.message("t", 1)
    got.conn.half_close()
    with pytest.raises(Ended):
        got.event()
    eventually(lambda: publisher.counts() == {})


def test_pipelined_bytes_behind_the_request_are_ignored(server):
    conn = server.raw()
    conn.send(request("/sse?topic=t") + b"\x81\x05abcde" + request("/sse?topic=u"))
    eventually(lambda: server.topic_counts() == {"t": 1})


# --- one order, among others ----------------------------------------------------------------------

# Broken by giving an event's bytes to those who get frames: fails.
@pytest.mark.parametrize("io_uring", ["auto", "off"])
@pytest.mark.parametrize("workers", [1, 3])
def test_200_streams_and_websockets_get_one_order(start_server, workers, io_uring):
    server = start_server(workers=workers, io_uring=io_uring)
    per, count = (20, 30) if sanitized() else (100, 100)
    streams, ones, twos = [], [], []
    for n in range(per):
        streams.append(stream(server, topic="t"))
        streams.append(stream(server, pattern="*") if n % 2 else stream(server, topic="t"))
        if n % 4 == 0:
            ones.append(server.client())
            ones[-1].subscribe("t")
            twos.append(server.client2())
            if n % 8:
                twos[-1].subscribe("t")
            else:
                twos[-1].ask("subscribe", pattern="*")
    for one in streams:
        one.joined()
    publishers = [server.client2() for _ in range(4)]
    for n in range(count):
        for p, publisher in enumerate(publishers):
            publisher.publish("t", json.dumps([p, n]))
    total = count * len(publishers)
    order = [tuple(ones[0].recv_json()) for _ in range(total)]
    assert len(set(order)) == total
    for one in ones[1:]:
        assert [tuple(one.recv_json()) for _ in range(total)] == order
    for two in twos:
        assert [tuple(two.recv_json()["data"]) for _ in range(total)] == order
    for one in streams:
        got = [json.loads(one.event().data) for _ in range(total)]
        assert [tuple(m["data"]) for m in got] == order
        assert [m["offset"] for m in got] == list(range(1, total + 1))


def test_who_has_the_topic_and_patterns_gets_a_message_once_by_its_topic(server):
    got = stream(server, ("pattern", "a:>"), ("topic", "a:b"), ("pattern", "a:*"))
    for _ in range(3):
        got.hermes("ack_subscribe")
    publisher = server.client2()
    publisher.publish("a:b", "1")
    publisher.publish("a:c", "2")
    publisher.publish("a:b:c", "3")
    got.message("a:b", 1)
    assert got.event().data.startswith('{"type":"message","topic":"a:c","data":2')
    got.message("a:b:c", 3, pattern="a:>")


# --- coming back ----------------------------------------------------------------------------------

def test_replay_and_since(start_server):
    server = start_server(rules=DEEP)
    publisher = server.client2()
    publisher.send(burst(publish_text("h:t", str(n)) for n in range(1, 11)))
    publisher.fence()
    got = stream(server, topic="h:t", replay=3)
    epoch = got.joined()["epoch"]
    assert got.last_id == f"{epoch}:7", "or it would lose them if it were cut now"
    for n in (8, 9, 10):
        got.message("h:t", n, n)
    got = stream(server, ("topic", "h:t"), ("since", f"{epoch}:5"), ("topic", "h:u"), ("pattern", "x:*"))
    got.joined(recovered=True)
    for n in range(6, 11):
        got.message("h:t", n, n)
    got.joined(topic="h:u")
    got = stream(server, topic="h:t", since=f"{'0' * 16}:5")
    got.joined(recovered=False)
    publisher.publish("h:t", "11")
    got.message("h:t", 11, 11)


# Broken by an acknowledgement without an id: fails.
def test_who_is_cut_before_the_first_message_comes_back_to_all(start_server):
    server = start_server(rules=DEEP)
    publisher = server.client2()
    publisher.publish("h:t", "1")
    publisher.fence()
    got = stream(server, topic="h:t")
    got.joined(offset=1)
    got.drop()
    publisher.publish("h:t", "2")
    publisher.fence()
    got = stream(server, topic="h:t", last_id=got.last_id)
    got.joined(recovered=True)
    got.message("h:t", 2, 2)


@pytest.mark.parametrize("last_id", ["nonsense", "1:2:3", ":", "0123456789abcdef:99999999999999999999999", "x:1"])
def test_an_id_that_is_none_of_ours_is_not_recovered_from(start_server, last_id):
    server = start_server(rules=DEEP)
    got = stream(server, topic="h:t", last_id=last_id)
    got.joined(recovered=False)


def test_an_empty_id_is_none(server):
    conn = server.raw()
    got = Stream(conn, topic="t", headers=["Last-Event-ID:"])
    got.joined(recovered=None)


def test_with_several_topics_the_one_of_the_last_event_is_recovered_and_the_others_are_told(start_server):
    server = start_server(rules=DEEP)
    publisher = server.client2()
    got = stream(server, ("topic", "h:a"), ("topic", "h:b"))
    got.joined()
    got.joined()
    publisher.publish("h:a", "1")
    publisher.publish("h:b", "2")
    got.message("h:a", 1)
    got.message("h:b", 2)
    got.drop()
    publisher.publish("h:a", "3")
    publisher.publish("h:b", "4")
    publisher.fence()
    got = stream(server, ("topic", "h:a"), ("topic", "h:b"), last_id=got.last_id)
    got.joined(topic="h:a", recovered=False)
    got.joined(topic="h:b", recovered=True)
    got.message("h:b", 4, 2)


# Broken by a replay that ends one message before the live ones begin; by ids one too high: fails.
@pytest.mark.parametrize("io_uring", ["auto", "off"])
@pytest.mark.parametrize("workers", [1, 3])
def test_cut_anywhere_under_load_nothing_is_lost_or_doubled(start_server, workers, io_uring):
    server = start_server(workers=workers, io_uring=io_uring, rules=DEEP)
    count = 1500 if sanitized() else 12000
    chance = random.Random(workers)
    first = stream(server, topic="h:t")
    epoch = first.joined()["epoch"]

    def publish():
        with Client2(server.port) as publisher:
            for n in range(0, count, 50):
                publisher.send(burst(publish_text("h:t", f'"{k}{"x" * (k % 700)}"') for k in range(n, n + 50)))
                publisher.fence()

    def follow(seed):
        cut = random.Random(seed)
        last, next_one, cuts = f"{epoch}:0", 1, 0
        while next_one <= count:
            conn = Raw(server.port)
            got = Stream(conn, topic="h:t", last_id=last)
            got.joined(recovered=True)
            left = cut.randrange(1, 60_000)
            with contextlib.suppress(Ended):
                while next_one <= count:
                    message = got.message("h:t", offset=next_one)
                    assert message["data"].rstrip("x") == str(next_one - 1)
                    last, next_one = got.last_id, next_one + 1
                    left -= len(message["data"]) + 100
                    if left < 0:
                        break
            cuts += 1
            conn.reset() if cut.random() < 0.5 else conn.drop()
        return cuts

    publisher = within(publish)
    followers = [within(follow, chance.random()) for _ in range(6)]
    publisher.result()
    first.drop()
    assert min(f.result() for f in followers) > 3


def test_a_large_past_comes_in_pieces_with_ids(start_server):
    server = start_server(workers=1, rules=DEEP, max_backlog_bytes="2m")
    publisher = server.client2()
    count = 3000
    publisher.send(burst(publish_text("h:t", f'"{n}{"y" * 1000}"') for n in range(1, count + 1)))
    publisher.fence()
    epoch = publisher.history("h:t", limit=1)["epoch"]
    got = stream(server, topic="h:t", since=f"{epoch}:0")
    got.joined(recovered=True, offset=count)
    assert got.last_id == f"{epoch}:0"
    publisher.publish("h:t", '"live"')
    for n in range(1, count + 1):
        assert got.message("h:t", offset=n)["data"].rstrip("y") == str(n)
    got.message("h:t", "live", count + 1)


# --- slow and dead clients ------------------------------------------------------------------------

# Broken by cutting where the socket stopped, in the midst of an event: fails.
@pytest.mark.parametrize("io_uring", ["auto", "off"])
@pytest.mark.parametrize("policy", ["disconnect", "latest"])
@pytest.mark.parametrize("size", [300, 9000, 200_000])
def test_a_slow_stream_is_cut_at_an_events_end_and_told(start_server, policy, io_uring, size):
    server = start_server(workers=1, io_uring=io_uring, max_backlog_bytes="1m",
                          rules=[{"match": "t", "policy": policy}])
    slow = stream(server, topic="t", rcvbuf=4096)
    slow.joined()
    fast = stream(server, topic="t")
    fast.joined()
    publisher = server.client2()
    sent = 0
    while "too slow" not in server.log() and sent * size < 1 << 27:
        for _ in range(max(1, 100_000 // size)):
            publisher.publish("t", json.dumps(f"{sent}{'z' * size}"))
            sent += 1
        while json.loads(fast.event().data)["offset"] < sent:
            pass
    events = slow.until_end()
    last = json.loads(events.pop().data)
    if last["type"] == "message":  # it is too large to be kept for whoever does not read
        assert size > 100_000
        events.append(Event("message", json.dumps(last), None))
    else:
        assert last == {"type": "close", "code": 4008, "reason": "too slow"}
    assert [json.loads(e.data)["offset"] for e in events] == list(range(1, len(events) + 1))
    assert slow.conn.at == len(slow.conn.buffer) or last["type"] == "message", "half an event"
    assert len(events) < sent


def test_comments_keep_a_stream_open_and_come_at_the_pace_of_pings(start_server):
    server = start_server(workers=1, ping_seconds="60ms", pong_seconds="40ms")
    got = stream(server, topic="t")
    got.joined()
    while got.comments < 12:  # it lives through many times the time for an answer
        assert got._line() in ("", ":")
        got.comments += 1
    assert server.get("/healthz").status == 200
    assert "no answer to a ping" not in server.log()


def test_a_stream_that_does_not_read_is_ended_like_one_that_does_not_pong(start_server):
    server = start_server(workers=1, ping_seconds="200ms", pong_seconds="200ms")
    slow = stream(server, topic="t", rcvbuf=4096)
    slow.joined()
    publisher = server.client2()
    for _ in range(200):
        publisher.publish("t", json.dumps("z" * 50_000))
    server.wait_log("no answer to a ping|too slow")


# --- what is refused ------------------------------------------------------------------------------

@pytest.mark.parametrize("target, status, code", [
    ("/sse", 400, "malformed"), ("/sse?", 400, "malformed"), ("/sse?x=1&replay=2", 400, "malformed"),
    ("/sse?topic=", 400, "bad_topic"), ("/sse?topic", 400, "bad_topic"), ("/sse?topic=%", 400, "malformed"),
    ("/sse?topic=%0", 400, "malformed"), ("/sse?topic=%00", 400, "malformed"), ("/sse?topic=%ff", 400, "bad_topic"),
    ("/sse?topic=a%0ab", 400, "bad_topic"), ("/sse?topic=t&topic=" + "x" * 33, 400, "bad_topic"),
    ("/sse?pattern=", 400, "bad_pattern"), ("/sse?pattern=a:>:b", 400, "bad_pattern"),
    ("/sse?pattern=%ff", 400, "bad_pattern"), ("/sse?topic=t&replay=", 400, "malformed"),
    ("/sse?topic=t&replay=-1", 400, "malformed"), ("/sse?topic=t&replay=1e3", 400, "malformed"),
    ("/sse?since=a:1&topic=t", 400, "malformed"), ("/sse?pattern=t&since=a:1", 400, "malformed"),
    ("/sse?topic=t&since=a", 400, "malformed"), ("/sse?topic=t&since=a:", 400, "malformed"),
    ("/sse?topic=t&since=a:1&since=a:2", 400, "malformed"),
    ("/sse?topic=a&topic=b&topic=c&topic=d", 400, "too_many_subscriptions"),
])
def test_a_bad_request_is_refused_before_the_stream(start_server, target, status, code):
    server = start_server(max_topic_bytes=32, max_subscriptions=3)
    response, value = refused(server, target)
    assert (response.status, value["code"]) == (status, code)
    assert server.topic_counts() == {}


@pytest.mark.parametrize("target", ["/sse?topic=t&replay=99999999999999999999", "/sse?topic=t&_=17&y", "/sse?&&topic=t&"])
def test_what_is_odd_but_harmless_is_served(server, target):
    conn = server.raw()
    conn.send(request(target))
    assert conn.response().status == 200


def test_other_methods(server):
    response, _ = refused(server, "/sse?topic=t", method="HEAD")
    assert (response.status, response.header("allow")) == (405, "GET")
    assert server.get("/sse?topic=t", method="POST").status == 405
    assert server.get("/sse/?topic=t").status == 404


def test_an_upgrade_on_that_path_is_a_websocket(server):
    server.client2(path="/sse?topic=t").fence()


def test_rules_that_forbid(start_server):
    server = start_server(rules=[{"match": "x:>", "subscribe": "nobody"}])
    response, value = refused(server, "/sse?topic=t&topic=x:y")
    assert (response.status, value["code"], value["topic"]) == (403, "forbidden", "x:y")
    got = stream(server, topic="t", pattern=">")
    got.joined()
    got.joined()
    publisher = server.client2()
    publisher.publish("x:y", "1")
    publisher.publish("t", "2")
    got.message("t", 2)


def test_pages_of_other_origins(start_server):
    server = start_server(allowed_origins="https://good.example")
    good, bad = ["Origin: https://good.example"], ["Origin: https://bad.example"]
    response, value = refused(server, "/sse?topic=t", bad)
    assert (response.status, value["code"]) == (403, "forbidden")
    assert response.header("access-control-allow-origin") is None
    got = stream(server, topic="t", headers=good)
    assert got.response.header("access-control-allow-origin") == "https://good.example"
    response, _ = refused(server, "/sse?topic=%", good)
    assert response.header("access-control-allow-origin") == "https://good.example"
    stream(server, topic="t")  # no page at all
    assert server.get("/sse?topic=t", extra=[*good, *good]).status == 400


def test_a_page_may_ask_whether_it_may_send_its_token(start_server):
    server = start_server(allowed_origins="https://good.example")
    with Raw(server.port) as conn:
        conn.send(request("/sse?topic=t", ["Origin: https://good.example", "Access-Control-Request-Method: GET",
                                           "Access-Control-Request-Headers: authorization"], "OPTIONS"))
        response = conn.response()
        assert response.status == 204
        assert "Authorization" in response.header("access-control-allow-headers")
        assert response.header("access-control-allow-origin") == "https://good.example"
        conn.expect_end()
    response, _ = refused(server, "/sse?topic=t", ["Origin: https://bad.example"], "OPTIONS")
    assert response.status == 403


# --- tokens ---------------------------------------------------------------------------------------

def granted(*subscribe, **more):
    return token(hermes={"subscribe": list(subscribe), "publish": []}, **more)


def test_tokens_are_those_of_websockets(start_server):
    server = start_server(jwt_secret=SECRET, rules=[{"match": "own:>", "subscribe": "token"}])
    held = granted("own:*")
    got = stream(server, topic="own:a", token=held)
    got.joined()
    got = stream(server, topic="own:a", headers=[f"Authorization: Bearer {held}"])
    got.joined()
    for target, headers, status, code in [
            ("/sse?topic=own:a", [], 403, "forbidden"),
            (f"/sse?topic=t&token={held}", [], 403, "forbidden"),
            (f"/sse?pattern=t:*&token={held}", [], 403, "forbidden"),
            ("/sse?topic=own:a&token=x.y.z", [], 401, "unauthorized"),
            (f"/sse?topic=own:a&token={held}", [f"Authorization: Bearer {held}"], 400, "malformed"),
            (f"/sse?topic=own:a&token={granted('own:*', secret='z' * 32)}", [], 401, "unauthorized")]:
        response, value = refused(server, target, headers)
        assert (response.status, value["code"]) == (status, code), target
        assert (response.header("www-authenticate") is None) == (status != 401)


def test_a_stream_ends_when_its_token_does(start_server):
    server = start_server(jwt_secret=SECRET, jwt_leeway_seconds=0)
    got = stream(server, topic="t", token=granted("t", lasts=4))
    got.joined()
    warned = got.hermes("error")
    assert warned["code"] == "token_expired" and "connect again with a new one" in warned["message"]
    assert got.end() == {"type": "close", "code": 4001, "reason": "the token has expired"}


# --- limits, steering, the end --------------------------------------------------------------------

def admitted(server):
    conn = server.raw()
    with contextlib.suppress(AssertionError, Ended):
        return Stream(conn, topic="t")
    conn.drop()  # or it would be one of those that are too many
    return None


def test_connections_count_alike(start_server):
    server = start_server(max_connections=2, workers=1)
    held = [stream(server, topic="t"), server.client()]
    response, value = refused(server, "/sse?topic=t")
    assert (response.status, value["code"], response.header("retry-after")) == (503, "unavailable", "5")
    held[0].drop()
    again = eventually(lambda: admitted(server))
    again.drop()


def test_the_api_shows_and_ends_streams(server):
    got = stream(server, ("topic", "t"), ("pattern", "a:*"))
    server.client2()
    status, value = server.api("GET", f"/api/connections?client={got.me}")
    assert status == 200
    row, = value["connections"]
    assert (row["protocol"], row["topics"], row["client"]) == ("sse", 2, got.me)
    got.hermes("ack_subscribe")
    got.hermes("ack_subscribe")
    assert server.api("POST", "/api/publish", {"topic": "t", "data": [1]})[1]["subscribers"] == 1
    got.message("t", [1], 1)
    assert server.api("POST", "/api/disconnect", {"client": got.me, "code": 4000, "reason": 'so "it" is'})[0] == 200
    assert got.end() == {"type": "close", "code": 4000, "reason": 'so "it" is'}


def test_presence_tells_of_streams(start_server):
    server = start_server(rules=[{"match": ">", "presence": True}])
    watcher = server.client2()
    watcher.ask("subscribe", topic="t", presence=True)
    got = stream(server, topic="t")
    assert watcher.recv_json() == {"type": "join", "topic": "t", "client": got.me}
    got.joined()
    got.drop()
    assert watcher.recv_json() == {"type": "leave", "topic": "t", "client": got.me}


@pytest.mark.parametrize("io_uring", ["auto", "off"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_drain_tells_when_to_come_back_and_ends_the_stream(start_server, workers, io_uring):
    server = start_server(workers=workers, io_uring=io_uring, drain_seconds=5)
    streams = [stream(server, topic="t") for _ in range(20)]
    publisher = server.client2()
    for got in streams:
        got.joined()
    retry = {got: got.retry for got in streams}  # as from the beginning: it counts from the end
    publisher.publish("t", "1")
    publisher.fence()
    server.kill(signal.SIGTERM)
    for got in streams:
        got.message("t", 1)
        assert got.hermes("reconnect")["after_ms"] <= 3750
        assert got.retry == retry[got]
        assert got.end() == {"type": "close", "code": 1012, "reason": "server is shutting down"}
        got.drop()
    assert server.wait() == 0


def test_while_it_drains_none_is_let_in(start_server):
    server = start_server(workers=1, drain_delay_seconds="300s")
    server.kill(signal.SIGTERM)
    eventually(lambda: server.get("/readyz").status == 503)
    response, value = refused(server, "/sse?topic=t")
    assert (response.status, value["code"]) == (503, "unavailable")
    assert response.header("retry-after")
    server.expected_exit = None
    server.kill(signal.SIGTERM)
    server.wait()


# --- other clients --------------------------------------------------------------------------------

@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_curl_reads_a_stream(server):
    reader = subprocess.Popen(["curl", "-sN", f"http://127.0.0.1:{server.port}/sse?topic=t"], stdout=subprocess.PIPE)
    try:
        publisher = server.client2()
        eventually(lambda: publisher.counts().get("t") == 1)
        publisher.publish("t", '{"a":1}')
        for line in reader.stdout:
            if line.startswith(b"data:") and b'"message","topic"' in line:
                break
        assert line == b'data: {"type":"message","topic":"t","data":{"a":1},"offset":1}\n'
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


def test_streams_through_tls(start_tls, world):
    server = start_tls(workers=2)
    conn = TlsRaw(server.tls.port, server.tls.context)
    server.clients.append(conn)
    got = Stream(conn, topic="t")
    got.joined()
    publisher = server.tls.client2()
    for n in range(200):
        publisher.publish("t", json.dumps(f"{n}{'w' * (n * 97)}"))
    for n in range(200):
        assert got.message("t", offset=n + 1)["data"].rstrip("w") == str(n)


PAGE = b"""<!doctype html><title>stream</title><script>
window.seen = []; window.told = []; window.opened = 0; window.states = [];
const source = new EventSource(location.hash.slice(1));
source.onopen = () => { window.opened++; };
source.onmessage = (e) => { window.seen.push([JSON.parse(e.data).data, e.lastEventId]); };
source.addEventListener("hermes", (e) => { window.told.push(JSON.parse(e.data)); });
source.onerror = () => { window.states.push(source.readyState); };
</script>"""


@contextlib.contextmanager
def page_server():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        try:
            yield httpd.server_address[1]
        finally:
            httpd.shutdown()


def test_chromium_comes_back_by_itself_and_misses_nothing(start_server, browser):
    server = start_server(rules=DEEP)
    publisher = server.client2()
    with page_server() as port:
        url = f"http://127.0.0.1:{server.port}/sse?topic=h:t"
        page = browser.open(f"http://127.0.0.1:{port}/#{url}")
        page.until("window.told.some((m) => m.type === 'ack_subscribe')")
        publisher.publish("h:t", "1")
        page.until("window.seen.length === 1")
        client = page.run("window.told[0].client")
        for n in range(2, 6):
            assert server.api("POST", "/api/disconnect", {"client": client, "code": 4000, "reason": "again"})[0] == 200
            publisher.publish("h:t", str(n))
            page.until(f"window.seen.length === {n}")
            client = page.run("window.told.filter((m) => m.type === 'info').at(-1).client")
        assert page.run("window.seen.map((m) => m[0]).join()") == "1,2,3,4,5"
        assert page.run("window.told.filter((m) => m.type === 'ack_subscribe').map((m) => m.recovered).join()"
                             ) == ",true,true,true,true"
        assert page.run("window.opened") == 5
        assert page.run("window.told.filter((m) => m.type === 'close').every((m) => m.code === 4000)") is True
