"""The API of the admin listener, one endpoint after the other: every answer and every wrong value.

How requests are spoken and who may ask is test_admin.py's."""

import http.client
import itertools
import json
import re
import signal
import threading
import urllib.parse

import pytest

from hermes_fixtures import eventually, within
from raw import CLOSE, DEADLINE, TEXT, since
from test_auth import bearer, token
from test_token import SECRET

ADMIN = re.compile(r"admin.*?\bport\"?[=:]\s*\"?(\d+)")
MIB = 1 << 20


class Api:
    """One connection to a server's admin listener, kept."""

    def __init__(self, server):
        self.server = server
        self.port = int(server.wait_log(ADMIN).group(1))
        self.conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3 * DEADLINE)
        server.clients.append(self)

    def drop(self):
        self.conn.close()

    def request(self, method, path, body=None, **headers):
        """Status and body's bytes."""
        if isinstance(body, str):
            body = body.encode()
        if method == "POST":
            headers.setdefault("Content-Type", "application/json")
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value}
        self.conn.request(method, path, body, headers)
        response = self.conn.getresponse()
        return response.status, response.read()

    def get_text(self, path, **query):
        if query:
            path += "?" + urllib.parse.urlencode(query)
        status, body = self.request("GET", path)
        assert status == 200, (status, body[:500])
        return body

    def get(self, path, **query):
        return json.loads(self.get_text(path, **query))

    def post(self, path, value, status=200, **headers):
        """`value`: or JSON text."""
        text = value if isinstance(value, (str, bytes)) else json.dumps(value)
        got, body = self.request("POST", path, text, **headers)
        assert got == status, (got, body[:500])
        return json.loads(body)

    def refused(self, status, code, method, path, body=None, **headers):
        got, text = self.request(method, path, body, **headers)
        answer = json.loads(text)["error"]
        assert got == status and answer["code"] == code, (got, answer)
        assert answer["message"].endswith("."), answer
        return answer["message"]

    def publish(self, topic, text, **more):
        """`text`: JSON."""
        rest = "".join(f',"{name}":{json.dumps(value)}' for name, value in more.items())
        return self.post("/api/publish", '{"topic":%s,"data":%s%s}' % (json.dumps(topic), text, rest))


@pytest.fixture
def start(start_server):
    """A server with an admin listener, and a connection to that."""

    def start_both(*flags, **more):
        more.setdefault("workers", 2)
        server = start_server(*flags, admin_port=0, **more)
        return server, Api(server)

    return start_both


@pytest.fixture
def pair(start):
    return start()


def subscribe_all(client, names):
    """A thousand a command; each is answered."""
    for at in range(0, len(names), 1000):
        some = names[at:at + 1000]
        client.say(json.dumps({"type": "subscribe", "topics": some}))
        for name in some:
            got = client.recv_json()
            assert got["type"] == "ack_subscribe" and got["topic"] == name, got


# --- publish ----------------------------------------------------------------------------------


EXACT = ["170.50", "1e400", "-0.0", "12345678901234567890123456789", '{"b":1,"a":2, "b":3}',
         '"\\u0000\\ud83d\\ude00\\/é"', "[1 ,2\t,\n 3]", "null", "false", '""', "{}", '"\\ud800"']


@pytest.mark.parametrize("text", EXACT)
def test_data_comes_byte_for_byte(pair, text):
    server, api = pair
    client = server.client()
    client.subscribe("t")
    got = api.publish("t", text)
    client.expect(TEXT, text)
    assert got["offset"] == 1 and got["subscribers"] == 1, got


def test_the_answer_has_offset_epoch_and_subscribers(pair):
    server, api = pair
    clients = [server.client2() for _ in range(5)]
    for client in clients[:4]:
        client.subscribe("t:1")
    epoch = clients[4].subscribe(pattern="t:*") and clients[0].subscribe("t:1")["epoch"]
    for n in range(1, 4):
        assert api.publish("t:1", str(n)) == {
            "topic": "t:1", "offset": n, "epoch": epoch, "subscribers": 5}
        for client in clients[:4]:
            client.expect_message("t:1", n, n)
        clients[4].expect_message("t:1", n, n, "t:*")
    assert clients[0].publish_acked("t:1", 4, echo=False)[0] == 4


def test_to_nobody_is_published_too(pair):
    _, api = pair
    assert api.publish("t", "1") == {"topic": "t", "offset": 0, "epoch": "", "subscribers": 0}
    assert api.server.topic_counts() == {}


def test_keys_may_stand_in_any_order_and_be_repeated(pair):
    server, api = pair
    client = server.client()
    client.subscribe("t")
    api.post("/api/publish", ' {"data":1,"x":[{}],"topic":"u","data" : 2 ,"top\\u0069c":"t"} ')
    client.expect(TEXT, "2")


BAD_PUBLISH = [
    ("", 400, "bad_json"), ("{", 400, "bad_json"), ("nothing", 400, "bad_json"),
    ('{"topic":"t","data":1}x', 400, "bad_json"), ('{"topic":"t","data":01}', 400, "bad_json"),
    (b'{"topic":"t","data":"\xff"}', 400, "bad_json"),
    ("7", 400, "malformed"), ("null", 400, "malformed"), ('"t"', 400, "malformed"),
    ("{}", 400, "malformed"), ('{"topic":"t"}', 400, "malformed"), ('{"data":1}', 400, "malformed"),
    ('{"topic":7,"data":1}', 400, "malformed"), ('{"topic":null,"data":1}', 400, "malformed"),
    ('{"topic":"","data":1}', 400, "malformed"), ('{"topic":["t"],"data":1}', 400, "malformed"),
    ('{"topic":"\\ud800","data":1}', 400, "bad_topic"),
    ('{"topic":"a\\u0000b","data":1}', 400, "bad_topic"),
    ('{"topic":"\\u0085","data":1}', 400, "bad_topic"),
    ('{"topic":"%s","data":1}' % ("x" * 1025), 400, "bad_topic"),
    ('{"topic":"t","data":1,"idempotency_key":7}', 400, "malformed"),
    ('{"topic":"t","data":1,"idempotency_key":""}', 400, "malformed"),
    ('{"topic":"t","data":1,"idempotency_key":null}', 400, "malformed"),
    ('{"topic":"t","data":1,"idempotency_key":"%s"}' % ("k" * 256), 400, "malformed"),
    ('{"topic":"t","data":1,"idempotency_key":"\\ud800"}', 400, "malformed"),
    ('{"messages":7}', 400, "malformed"), ('{"messages":{}}', 400, "malformed"),
    ('{"messages":null}', 400, "malformed")]


@pytest.mark.parametrize("body,status,code", BAD_PUBLISH)
def test_a_wrong_publish_is_refused_and_nothing_is_published(pair, body, status, code):
    server, api = pair
    client = server.client()
    client.subscribe("t")
    api.refused(status, code, "POST", "/api/publish", body)
    client.fence()


def test_sizes_at_their_limits(start):
    server, api = start(max_message_bytes=1000, rules=[{"match": "small", "max_bytes": 10}])
    client = server.client()
    client.subscribe("t")
    client.subscribe("small")
    api.publish("t", '"%s"' % ("x" * 998))
    assert len(client.recv_text()) == 1000
    api.refused(413, "too_large", "POST", "/api/publish", '{"topic":"t","data":"%s"}' % ("x" * 999))
    api.publish("small", "1234567890")
    client.expect(TEXT, "1234567890")
    api.refused(413, "too_large", "POST", "/api/publish", '{"topic":"small","data":12345678901}')
    topic = "x" * 1024
    assert api.publish(topic, "1")["topic"] == topic
    client.fence()


def test_a_message_of_a_mebibyte(pair):
    server, api = pair
    client = server.client()
    client.subscribe("t")
    text = '"%s"' % ("x" * (MIB - 2))
    assert api.publish("t", text)["subscribers"] == 1
    client.expect(TEXT, text)


# Broken by asking the rule.
@pytest.mark.parametrize("who", ["nobody", "token", "authenticated"])
def test_the_operator_may_publish_where_clients_may_not(start, who):
    server, api = start(rules=[{"match": "t", "publish": who}], jwt_secret=SECRET)
    client = server.client()
    client.subscribe("t")
    client.publish("t", 1)
    client.expect_error()
    api.publish("t", "2")
    client.expect(TEXT, "2")


# --- many at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_a_thousand_messages_come_in_order(pair, named):
    server, api = pair
    client = server.client2()
    client.subscribe("a")
    client.subscribe("b")
    messages = [{"topic": "ab"[n % 2], "data": n} for n in range(1000)]
    got = api.post("/api/publish", {"messages": messages} if named else messages)
    results = got["results"] if named else got
    assert len(results) == 1000
    for n, result in enumerate(results):
        assert (result["topic"], result["offset"], result["subscribers"]) == ("ab"[n % 2], n // 2 + 1, 1)
        client.expect_message("ab"[n % 2], n, n // 2 + 1)


def test_one_more_than_a_thousand_are_refused_whole(pair):
    server, api = pair
    client = server.client()
    client.subscribe("t")
    body = json.dumps({"messages": [{"topic": "t", "data": 1}] * 1001})
    api.refused(400, "malformed", "POST", "/api/publish", body)
    client.fence()


def test_each_of_many_has_its_own_answer_or_error(pair):
    server, api = pair
    client = server.client()
    client.subscribe("t")
    got = api.post("/api/publish", {"messages": [
        {"topic": "t", "data": 1}, 7, {"topic": "\n", "data": 1}, {"topic": "t"}, [],
        {"topic": "t", "data": 2}]})["results"]
    assert [r["error"]["code"] if "error" in r else None for r in got] == [
        None, "malformed", "bad_topic", "malformed", "malformed", None]
    assert all(r["error"]["message"] for r in got[1:5])
    assert (got[0]["offset"], got[5]["offset"]) == (1, 2)
    client.expect(TEXT, "1")
    client.expect(TEXT, "2")
    client.fence()


def test_none_at_all_are_nothing(pair):
    _, api = pair
    assert api.post("/api/publish", {"messages": []}) == {"results": []}
    assert api.post("/api/publish", "[ ]") == []


def test_a_flood_of_messages_comes_whole(start):
    server, api = start(workers=1)
    clients = [server.client() for _ in range(20)]
    for client in clients:
        client.subscribe("t")

    def read(client):
        for _ in range(300):
            assert client.recv().opcode == TEXT

    readers = [within(read, client) for client in clients]
    body = json.dumps({"messages": [{"topic": "t", "data": "x" * 100000}] * 10})
    for _ in range(30):
        for result in api.post("/api/publish", body)["results"]:
            assert result["subscribers"] == 20, result
    for reader in readers:
        reader.result()


# --- idempotency ------------------------------------------------------------------------------


# Broken by not looking the key up, and by not remembering it.
def test_a_key_publishes_once_and_gives_the_first_answer_again(pair):
    server, api = pair
    client = server.client()
    client.subscribe("t")
    first = api.publish("t", "1", idempotency_key="a key")
    assert "repeated" not in first
    again = api.publish("t", "1", idempotency_key="a key")
    assert again == {**first, "repeated": True}
    other = api.publish("t", "2", idempotency_key="another")
    assert other["offset"] == 2
    # Whatever else is asked for by that key.
    assert api.publish("u", "3", idempotency_key="a key") == again
    client.expect(TEXT, "1")
    client.expect(TEXT, "2")
    client.fence()


def test_a_key_may_come_in_a_header(pair):
    server, api = pair
    client = server.client()
    client.subscribe("t")
    body = {"topic": "t", "data": 1}
    first = api.post("/api/publish", body, Idempotency_Key="k")
    assert api.post("/api/publish", body, Idempotency_Key='"k"') == {**first, "repeated": True}
    assert api.publish("t", "1", idempotency_key="k") == {**first, "repeated": True}
    # That of the message goes before.
    assert api.post("/api/publish", {**body, "idempotency_key": "l"}, Idempotency_Key="k")["offset"] == 2
    api.refused(400, "malformed", "POST", "/api/publish", "[]", Idempotency_Key="k")
    api.refused(400, "malformed", "POST", "/api/publish",
                '{"topic":"t","data":1,"idempotency_key":"\\ud800"}', Idempotency_Key="m")
    api.refused(400, "malformed", "POST", "/api/publish", json.dumps(body), Idempotency_Key="k" * 256)
    client.expect(TEXT, "1")
    client.expect(TEXT, "1")
    client.fence()


def test_keys_among_many_messages(pair):
    _, api = pair
    message = {"topic": "t", "data": 1, "idempotency_key": "k\u00e9"}
    got = api.post("/api/publish", {"messages": [message, message, {**message, "idempotency_key": "l"}]})
    assert [r.get("repeated") for r in got["results"]] == [None, True, None]


def test_what_failed_may_be_tried_again(start):
    server, api = start(rules=[{"match": "t", "max_bytes": 10}])
    client = server.client()
    client.subscribe("t")
    big = json.dumps({"topic": "t", "data": "x" * 20, "idempotency_key": "k"})
    for _ in range(2):
        api.refused(413, "too_large", "POST", "/api/publish", big)
    assert "repeated" not in api.publish("t", "1", idempotency_key="k")
    client.expect(TEXT, "1")


def test_two_connections_share_the_keys(pair):
    server, api = pair
    first = api.publish("t", "1", idempotency_key="k")
    assert Api(server).publish("t", "1", idempotency_key="k") == {**first, "repeated": True}


# --- topics -----------------------------------------------------------------------------------


def test_topics_in_name_order_page_by_page(pair):
    server, api = pair
    client = server.client2()
    names = sorted((f"t:{n}" for n in range(25)), key=str.encode) + ["é", "\U0001f600"]
    subscribe_all(client, names)
    other = server.client2()
    other.subscribe("t:7")
    found, after, pages = [], "", 0
    while after is not None:
        got = api.get("/api/topics", after=after, limit=10)
        assert set(got) == {"topics", "next"}
        found += got["topics"]
        after = got["next"]
        pages += 1
    assert [row["topic"] for row in found] == names and pages == 3
    for row in found:
        assert set(row) == {"topic", "subscribers", "offset", "epoch", "rate", "history"}, row
        assert row["subscribers"] == (2 if row["topic"] == "t:7" else 1)
        assert row["offset"] == 0 and len(row["epoch"]) == 16 and row["history"] is None
    got = api.get("/api/topics", prefix="t:2")
    assert [row["topic"] for row in got["topics"]] == ["t:2", "t:20", "t:21", "t:22", "t:23", "t:24"]
    assert got["next"] is None
    assert api.get("/api/topics", prefix="none") == {"topics": [], "next": None}


def test_the_operator_sees_what_clients_may_not(start):
    server, api = start(rules=[{"match": "secret:*", "subscribe": "authenticated"}], jwt_secret=SECRET)
    client = server.client2(extra=bearer(token()))
    client.subscribe("secret:1")
    assert server.topic_counts() == {}
    assert [row["topic"] for row in api.get("/api/topics")["topics"]] == ["secret:1"]


@pytest.mark.parametrize("query,word", [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("limit=", "limit"),
    ("limit=-1", "limit"), ("limit=1.0", "limit"), ("limit=99999999999999999999", "limit"),
    ("sort=age", "sort"), ("sort=Name", "sort"), ("prefix=%zz", "prefix"), ("prefix=%e", "prefix"),
    ("after=%00", "after"), ("sort=rate&after=x", "after"), ("sort=subscribers&after=x", "after")])
def test_wrong_parameters_of_topics(pair, query, word):
    _, api = pair
    assert word in api.refused(400, "malformed", "GET", "/api/topics?" + query)


def test_limits_at_their_bounds(pair):
    server, api = pair
    client = server.client2()
    subscribe_all(client, [f"t:{n:04}" for n in range(1000)])
    client.subscribe("u")
    assert len(api.get("/api/topics")["topics"]) == 100
    assert len(api.get("/api/topics", limit=1)["topics"]) == 1
    got = api.get("/api/topics", limit=1000)
    assert len(got["topics"]) == 1000 and got["next"] == "t:0999"


# Broken by an order the other way round.
def test_the_topics_with_the_most_subscribers_among_twenty_thousand(start):
    server, api = start(max_subscriptions=0)
    names = [f"t:{n:05}" for n in range(20000)]
    client = server.client2()
    subscribe_all(client, names)
    popular = ["t:00003", "t:19999", "t:11111", "t:07654"]
    for n, name in enumerate(popular):
        for _ in range(n + 1):
            server.client2().subscribe(name)
    got = api.get("/api/topics", sort="subscribers", limit=10)
    assert got["next"] is None and len(got["topics"]) == 10
    rows = [(row["topic"], row["subscribers"]) for row in got["topics"]]
    assert rows[:4] == [(name, n + 2) for n, name in reversed(list(enumerate(popular)))]
    assert rows[4:] == [(name, 1) for name in ["t:00000", "t:00001", "t:00002", "t:00004", "t:00005", "t:00006"]]
    narrow = api.get("/api/topics", sort="subscribers", limit=1, prefix="t:1")
    assert [row["topic"] for row in narrow["topics"]] == ["t:11111"]
    # Page by page all of them, too.
    found, after = [], ""
    while after is not None:
        page = api.get("/api/topics", after=after, limit=1000)
        found += [row["topic"] for row in page["topics"]]
        after = page["next"]
    assert found == names


class Publisher:
    """Publishes for as long as it is not told to stop."""

    def __init__(self, server, topics):
        self.client = server.client()
        self.topics = topics
        self.stopped = threading.Event()
        self.done = within(self.run)

    def run(self):
        for _ in itertools.count():
            for topic, times in self.topics.items():
                for _ in range(times):
                    self.client.publish(topic, 1)
            if self.stopped.wait(0.005):
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.done.result()


def test_the_busiest_topics_come_first(pair):
    server, api = pair
    client = server.client2()
    subscribe_all(client, ["cold", "hot", "warm", "zero"])
    drain = within(lambda: client.until_end())
    with Publisher(server, {"hot": 50, "warm": 10, "cold": 1}):
        got = api.get("/api/topics", sort="rate")["topics"]
        assert [row["topic"] for row in got] == ["hot", "warm", "cold", "zero"], got
        rates = [row["rate"] for row in got]
        assert rates[0] > rates[1] > rates[2] > rates[3] == 0, rates
        # They are kept up, and told elsewhere then.
        named = {row["topic"]: row["rate"] for row in api.get("/api/topics")["topics"]}
        assert named["zero"] == 0 and named["hot"] > named["cold"]
        assert api.get("/api/topics/hot")["rate"] > 0
        assert [row["topic"] for row in api.get("/api/topics", sort="rate", limit=1)["topics"]] == ["hot"]
    eventually(lambda: api.get("/api/topics/hot")["rate"] == 0, "quiet", pause=0.1)
    client.sock.shutdown(2)
    drain.result()


def test_rates_are_null_until_they_are_known(pair):
    server, api = pair
    server.client().subscribe("t")
    assert api.get("/api/topics/t")["rate"] is None
    assert eventually(lambda: api.get("/api/topics/t")["rate"] is not None, "a rate", pause=0.1)


# --- one topic --------------------------------------------------------------------------------


def test_a_topic_by_its_name(start):
    server, api = start(rules=[{"match": "kept:>", "history": 3}])
    client = server.client2()
    epoch = client.subscribe("kept:é/1?")["epoch"]
    server.client2().subscribe(pattern="kept:*")
    server.client2().subscribe(pattern=">")
    path = "/api/topics/" + urllib.parse.quote("kept:é/1?", safe="")
    got = api.get(path)
    assert (got["topic"], got["epoch"], got["offset"], got["subscribers"]) == ("kept:é/1?", epoch, 0, 3)
    for n in range(5):
        api.publish("kept:é/1?", f'"{n}"')
    got = api.get(path)
    assert got["history"] == {"messages": 3, "bytes": 9, "first": 3} and got["offset"] == 5, got
    assert sorted(got["patterns"]) == [">", "kept:*"]
    assert set(got) == {"topic", "epoch", "offset", "subscribers", "rate", "history", "patterns"}


def test_a_topic_without_history_or_patterns(pair):
    server, api = pair
    server.client2().subscribe("a b")
    got = api.get("/api/topics/a%20b")
    assert got["history"] is None and got["patterns"] == [] and got["subscribers"] == 1


@pytest.mark.parametrize("name", [".", "..", "a&b=c é/+"])
def test_a_topic_by_a_parameter(pair, name):
    server, api = pair
    server.client().subscribe(name)
    server.client().subscribe("other")
    got = api.get("/api/topics", topic=name, prefix="x")
    by_path = api.get("/api/topics/" + urllib.parse.quote(name, safe=""))
    assert {**got, "rate": None} == {**by_path, "rate": None}
    assert (got["topic"], got["subscribers"], got["history"]) == (name, 1, None)


def test_topics_that_cannot_be_told_of_by_a_parameter(pair):
    _, api = pair
    api.refused(404, "not_found", "GET", "/api/topics?topic=none")
    api.refused(400, "malformed", "GET", "/api/topics?topic=")
    api.refused(400, "malformed", "GET", "/api/topics?topic=%")
    api.refused(400, "bad_topic", "GET", "/api/topics?topic=%0a")


def test_topics_that_cannot_be_told_of(pair):
    _, api = pair
    api.refused(404, "not_found", "GET", "/api/topics/none")
    api.refused(404, "not_found", "GET", "/api/topics/")
    api.refused(400, "malformed", "GET", "/api/topics/%")
    api.refused(400, "malformed", "GET", "/api/topics/%00")
    api.refused(400, "bad_topic", "GET", "/api/topics/%0a")
    api.refused(400, "bad_topic", "GET", "/api/topics/%ff")
    api.refused(400, "bad_topic", "GET", "/api/topics/" + "x" * 1025)
    api.refused(404, "not_found", "GET", "/api/topics/" + "x" * 1024)


# --- connections ------------------------------------------------------------------------------


KEYS = {"client", "address", "user", "protocol", "tls", "worker", "topics", "queued_bytes",
        "unsent_bytes", "rtt_us", "rtt_ms", "retransmits", "connected_seconds", "age_seconds", "blocked"}


def test_connections_are_told_as_they_are(start):
    server, api = start(jwt_secret=SECRET)
    plain = server.client()
    named = server.client2(extra=bearer(token(sub="al\"ice é")))
    named.subscribe("a")
    named.subscribe("b")
    named.subscribe(pattern="c:*")
    got = api.get("/api/connections")
    assert got["total"] == 2 and got["next"] is None
    rows = {row["protocol"]: row for row in got["connections"]}
    assert set(rows) == {"hermes.v1", "hermes.v2"}
    two, one = rows["hermes.v2"], rows["hermes.v1"]
    assert set(two) == KEYS and set(one) == KEYS
    assert two["client"] == named.me and two["user"] == "al\"ice é" and two["topics"] == 3
    assert one["user"] is None and one["topics"] == 0
    for row, client in ((one, plain), (two, named)):
        host, port = client.sock.getsockname()
        assert row["address"] == f"{host}:{port}"
        assert row["tls"] is False and row["blocked"] is False and row["worker"] in (0, 1)
        assert row["queued_bytes"] == 0 and row["retransmits"] == 0
        assert row["rtt_us"] > 0 and row["rtt_ms"] == row["rtt_us"] / 1000
        assert row["age_seconds"] == row["connected_seconds"] >= 0
    assert one["worker"] != two["worker"]


# Broken by a census that keeps the last ones instead of the first.
def test_whoever_is_slow_comes_first(start):
    server, api = start(workers=3)
    clients = [server.client2() for _ in range(40)]
    for client in clients:
        client.subscribe("quiet")
    slow = [server.client2(rcvbuf=4096) for _ in range(3)]
    for n, client in enumerate(slow):
        for i in range(n + 1):
            client.subscribe(f"t:{i}")
    text = json.dumps("x" * 900000)
    for _ in range(8):
        for n in range(3):
            api.publish(f"t:{n}", text)
    # All that the sockets take is in them.
    order = [client.me for client in reversed(slow)]

    def slowest():
        rows = api.get("/api/connections", sort="queued", limit=5)["connections"]
        return rows if [row["client"] for row in rows[:3]] == order and all(
            row["blocked"] for row in rows[:3]) else None

    rows = eventually(slowest, "the slow ones at the top")
    assert rows[0]["queued_bytes"] > rows[1]["queued_bytes"] > rows[2]["queued_bytes"] > 0
    assert rows[3]["queued_bytes"] == 0 and not rows[3]["blocked"]

    def unsent():
        """The last answer to a quiet one counts until its system has acknowledged it."""
        rows = api.get("/api/connections", sort="unsent", limit=4)["connections"]
        return rows if rows[3]["unsent_bytes"] == 0 else None

    rows = eventually(unsent, "acknowledged answers")
    assert {row["client"] for row in rows[:3]} == set(order)
    assert rows[2]["unsent_bytes"] > 0


@pytest.mark.parametrize("sort,key", [
    ("queued", "queued_bytes"), ("unsent", "unsent_bytes"), ("rtt", "rtt_us"),
    ("retransmits", "retransmits"), ("age", "connected_seconds")])
def test_each_order_is_one_from_the_top_down(start, sort, key):
    server, api = start(workers=2)
    for _ in range(30):
        server.client()
    got = api.get("/api/connections", sort=sort, limit=20)
    assert got["total"] == 30 and len(got["connections"]) == 20
    values = [row[key] for row in got["connections"]]
    assert values == sorted(values, reverse=True)
    if sort == "rtt":
        assert values[-1] > 0


def test_the_oldest_come_first(start):
    server, api = start()
    first = server.client2()
    eventually(lambda: api.get("/api/connections")["connections"][0]["age_seconds"] >= 1, "a second", pause=0.1)
    for _ in range(10):
        server.client2()
    got = api.get("/api/connections", sort="age", limit=1)["connections"]
    assert [row["client"] for row in got] == [first.me]


def test_all_connections_page_by_page(start):
    server, api = start(workers=3)
    ids = {server.client2().me for _ in range(75)}
    found, query = [], {"sort": "client"}
    while True:
        got = api.get("/api/connections", limit=20, **query)
        assert got["total"] == 75
        found += [row["client"] for row in got["connections"]]
        if got["next"] is None:
            break
        query = {"after": got["next"]}
    assert len(found) == 75 and set(found) == ids and found == sorted(found)


def test_connections_that_are_looked_for(start):
    server, api = start(jwt_secret=SECRET)
    alice = [server.client2(extra=bearer(token(sub="alice"))) for _ in range(3)]
    bob = server.client2(extra=bearer(token(sub="bob")))
    nobody = server.client2()

    def found(**query):
        got = api.get("/api/connections", **query)
        assert got["total"] == len(got["connections"])
        return {row["client"] for row in got["connections"]}

    assert found(user="alice") == {client.me for client in alice}
    assert found(client=bob.me) == {bob.me}
    assert found(client=bob.me, user="alice") == set()
    assert found(user="carol") == set()
    assert found(address="127.0.0.1") == {client.me for client in [*alice, bob, nobody]}
    assert found(address="::ffff:127.0.0.1") == found()
    assert found(address="127.0.0.1:%d" % nobody.sock.getsockname()[1]) == {nobody.me}
    assert found(address="127.0.0.2") == set()


@pytest.mark.parametrize("query", [
    "limit=0", "limit=1001", "sort=name", "sort=x", "client=x", "client=0123", "client=0000000000000000",
    "client=zzzzzzzzzzzzzzzz", "after=x", "address=localhost", "address=1.2.3", "address=1.2.3.4:x",
    "user=%", "sort=age&after=0123456789abcdef"])
def test_wrong_parameters_of_connections(pair, query):
    _, api = pair
    api.refused(400, "malformed", "GET", "/api/connections?" + query)


# --- history and presence ---------------------------------------------------------------------


def as_told(frame):
    """What a command's answer has besides the id."""
    return {name: value for name, value in frame.items() if name != "id"}


def test_history_is_what_the_command_tells(start):
    server, api = start(rules=[{"match": "kept", "history": 5}])
    client = server.client2()
    for n in range(8):
        api.publish("kept", f'{{"n":{n}.50}}')
    told = client.history("kept")
    assert api.get("/api/history", topic="kept") == as_told(told)
    assert [m["offset"] for m in told["messages"]] == [4, 5, 6, 7, 8]
    epoch = told["epoch"]
    for offset in (0, 3, 5, 8, 9):
        for limit in (1, 2, 1000):
            command = client.history("kept", since=since(epoch, offset), limit=limit)
            got = api.get("/api/history", topic="kept", since=offset, epoch=epoch, limit=limit)
            assert got == as_told(command), (offset, limit)
            # Without an epoch there is nothing that could be another.
            bare = api.get("/api/history", topic="kept", since=offset, limit=limit)
            assert "recovered" not in bare and bare["messages"] == got["messages"]
    got = api.get("/api/history", topic="kept", since=2, epoch="0123456789abcdef")
    assert got == as_told(client.history("kept", since=since("0123456789abcdef", 2)))
    assert got["recovered"] is False
    assert api.get("/api/history", topic="kept", limit=2) == as_told(client.history("kept", limit=2))
    assert b'"data":{"n":7.50}' in api.get_text("/api/history", topic="kept")


# Broken by leaving out the other end.
def test_a_large_history_is_cut_as_the_command_cuts_it(start):
    server, api = start(rules=[{"match": "kept", "history": 5}])
    for n in range(4):
        api.publish("kept", json.dumps(f"{n}" * 400000))
    client = server.client2()
    newest = api.get("/api/history", topic="kept")
    assert newest == as_told(client.history("kept"))
    assert [m["offset"] for m in newest["messages"]] == [3, 4]
    first = api.get("/api/history", topic="kept", since=0, epoch=newest["epoch"])
    assert first == as_told(client.history("kept", since=since(newest["epoch"], 0)))
    assert [m["offset"] for m in first["messages"]] == [1, 2]


def test_a_topic_that_is_not_there_yet_has_an_empty_history(start):
    server, api = start(rules=[{"match": "kept", "history": 5}])
    got = api.get("/api/history", topic="kept")
    assert got == as_told(server.client2().history("kept"))


@pytest.mark.parametrize("query,status,code", [
    ("", 400, "malformed"), ("topic=", 400, "malformed"), ("topic=%ff", 400, "bad_topic"),
    ("topic=%0a", 400, "bad_topic"), ("topic=%", 400, "malformed"),
    ("topic=none", 404, "no_history"), ("topic=kept&since=x", 400, "malformed"),
    ("topic=kept&since=-1", 400, "malformed"), ("topic=kept&since=9223372036854775808", 400, "malformed"),
    ("topic=kept&limit=0", 400, "malformed"), ("topic=kept&limit=1001", 400, "malformed"),
    ("topic=kept&epoch=0123456789abcdef", 400, "malformed"),
    ("topic=kept&since=1&epoch=" + "x" * 65, 400, "malformed")])
def test_wrong_parameters_of_history(start, query, status, code):
    _, api = start(rules=[{"match": "kept", "history": 5}])
    api.refused(status, code, "GET", "/api/history?" + query)


@pytest.mark.parametrize("workers", [1, 3])
def test_presence_is_what_the_command_tells(start, workers):
    server, api = start(workers=workers, rules=[{"match": "t:*", "presence": True}])
    clients = [server.client2() for _ in range(6)]
    for client in clients[:4]:
        client.subscribe("t:1")
    clients[3].subscribe(pattern="t:*")
    clients[4].subscribe(pattern="t:>")
    got = api.get("/api/presence", topic="t:1")
    assert set(got) == {"type", "topic", "clients", "count"}
    assert got["type"] == "presence" and got["topic"] == "t:1" and got["count"] == 5
    assert len(got["clients"]) == 5
    assert set(got["clients"]) == clients[5].presence("t:1") == {client.me for client in clients[:5]}
    assert api.get("/api/presence", topic="none") == {
        "type": "presence", "topic": "none", "clients": [], "count": 0}


def test_the_operator_knows_who_is_there_where_clients_may_not(start):
    server, api = start(rules=[{"match": "t", "presence": False}])
    client = server.client2()
    client.subscribe("t")
    assert api.get("/api/presence", topic="t")["clients"] == [client.me]
    assert client.ask("presence", topic="t")["code"] == "forbidden"


@pytest.mark.parametrize("query,code", [
    ("", "malformed"), ("topic=", "malformed"), ("topic=%0a", "bad_topic"), ("topic=%x", "malformed")])
def test_wrong_parameters_of_presence(pair, query, code):
    _, api = pair
    api.refused(400, code, "GET", "/api/presence?" + query)


# --- disconnect -------------------------------------------------------------------------------


# Broken by closing with the default code.
@pytest.mark.parametrize("code", [None, 1000, 1001, 1008, 1012, 1013, 3000, 4003, 4500, 4999])
def test_a_client_is_closed_with_code_and_reason(pair, code):
    server, api = pair
    clients = [server.client2() for _ in range(4)]
    for client in clients:
        client.subscribe("t")
    reason = "because of é " + "x" * 109
    assert len(reason.encode()) == 123
    order = {"client": clients[2].me, "reason": reason}
    if code:
        order["code"] = code
    assert api.post("/api/disconnect", order) == {"disconnected": 1}
    got = clients[2].recv()
    assert got.opcode == CLOSE and got.payload == (code or 4003).to_bytes(2, "big") + reason.encode()
    clients[2].expect_end()
    assert api.publish("t", "1")["subscribers"] == 3
    for n in (0, 1, 3):
        clients[n].expect_message("t", 1)
    api.refused(404, "not_found", "POST", "/api/disconnect", json.dumps(order))


def test_the_reason_may_be_left_out(pair):
    server, api = pair
    client = server.client2()
    api.post("/api/disconnect", {"client": client.me})
    got = client.recv()
    assert got.opcode == CLOSE and got.payload == b"\x0f\xa3closed by an operator"
    server.wait_log("clients disconnected.*count=1.*code=4003.*" + client.me)


@pytest.mark.parametrize("workers", [1, 3])
def test_all_of_a_user_are_closed_and_nobody_else(start, workers):
    server, api = start(workers=workers, jwt_secret=SECRET)
    alice = [server.client2(extra=bearer(token(sub="alice"))) for _ in range(7)]
    others = [server.client2(extra=bearer(token(sub="bob"))), server.client2(), server.client()]
    got = api.post("/api/disconnect", '{"user":"al\\u0069ce","code":4500}')
    assert got == {"disconnected": 7}
    for client in alice:
        client.expect_close(4500)
    for client in others:
        client.fence()
    api.refused(404, "not_found", "POST", "/api/disconnect", '{"user":"alice"}')


def test_whoever_does_not_read_is_closed_too(pair):
    server, api = pair
    slow = server.client2(rcvbuf=4096)
    slow.subscribe("t")
    for _ in range(4):
        api.publish("t", json.dumps("x" * 1000000))
    eventually(lambda: api.get("/api/connections")["connections"][0]["blocked"], "a full socket")
    assert api.post("/api/disconnect", {"client": slow.me, "code": 4321}) == {"disconnected": 1}
    frames = slow.until_end()
    assert frames[-1].opcode == CLOSE and frames[-1].payload[:2] == (4321).to_bytes(2, "big")
    assert len(frames) < 5 and all(len(got.payload) > 1000000 for got in frames[:-1])


BAD_DISCONNECT = [
    ("", "bad_json"), ("{", "bad_json"), (b'{"user":"\xff"}', "bad_json"), ("[]", "malformed"),
    ("7", "malformed"), ("{}", "malformed"), ('{"client":"0123456789abcdef","user":"a"}', "malformed"),
    ('{"client":7}', "malformed"), ('{"client":""}', "malformed"), ('{"client":"x"}', "malformed"),
    ('{"client":"0000000000000000"}', "malformed"), ('{"user":""}', "malformed"),
    ('{"user":7}', "malformed"), ('{"user":null}', "malformed"), ('{"user":"\\ud800"}', "malformed"),
    *[('{"user":"a","code":%s}' % code, "malformed") for code in (
        "0", "999", "1002", "1004", "1005", "1006", "1007", "1009", "1010", "1011", "1014", "1015",
        "2999", "5000", '"4000"', "4000.0", "-4000", "null", "4e3")],
    ('{"user":"a","reason":7}', "malformed"), ('{"user":"a","reason":"a\\u0000b"}', "malformed"),
    ('{"user":"a","reason":"\\ud800"}', "malformed"),
    ('{"user":"a","reason":"%s"}' % ("x" * 124), "malformed")]


@pytest.mark.parametrize("body,code", BAD_DISCONNECT)
def test_a_wrong_disconnect_is_refused(pair, body, code):
    _, api = pair
    api.refused(400, code, "POST", "/api/disconnect", body)


# --- drain ------------------------------------------------------------------------------------


def test_drain_ends_the_server_as_a_signal_does(start):
    server, api = start()
    one, two = server.client(), server.client2()
    two.subscribe("t")
    assert api.post("/api/drain", "", status=202) == {"draining": True}
    one.expect_close(1012)
    assert two.recv_json()["type"] == "reconnect"
    two.expect_close(1012)
    assert server.wait() == 0


# Broken by refusing from the beginning of the drain on.
@pytest.mark.parametrize("delay", [0, 300])
def test_it_is_published_for_as_long_as_there_are_clients(start, delay):
    server, api = start(drain_delay_seconds=delay, drain_seconds="12h", workers=2)
    here, there = server.client(), server.client2()
    slow = server.client(rcvbuf=4096)
    for client in (here, there, slow):
        client.subscribe("t")
    for _ in range(8):
        api.publish("t", json.dumps("x" * 1000000))
    api.post("/api/drain", "{}", status=202)
    assert api.post("/api/drain", "{}", status=202) == {"draining": True}
    if delay:
        assert api.publish("t", "1")["subscribers"] == 3
        for client in (here, there):
            while b"xxx" in (got := client.recv()).payload:
                pass
            assert b"1" in got.payload
        server.expected_exit = None
        server.kill(signal.SIGKILL)
        server.wait()
        return
    for client in (here, there):
        assert client.until_end()[-1].payload[:2] == (1012).to_bytes(2, "big")
    # The slow one has its close behind what is queued: it is there, but no subscriber.
    eventually(lambda: api.get("/api/topics")["topics"] == [], "the end of all subscriptions")
    assert api.publish("t", "2")["subscribers"] == 0
    frames = slow.until_end()
    assert frames[-1].opcode == CLOSE and frames[-1].payload[:2] == (1012).to_bytes(2, "big")
    assert sum(b"xxx" in frame.payload for frame in frames) == 8
    assert server.wait() == 0


# Broken by an end that does not wait for answers.
def test_questions_under_way_are_answered_when_it_ends(start):
    server, api = start(workers=3)
    for _ in range(20):
        server.client()
    others = [Api(server) for _ in range(6)]
    paths = ["/api/topics?sort=rate", "/api/connections?sort=rtt", "/api/topics?sort=subscribers"]

    def ask(one, path):
        count = 0
        try:
            while True:
                status, _ = one.request("GET", path)
                assert status in (200, 503), status
                count += 1
        except (http.client.HTTPException, OSError):
            return count

    asking = [within(ask, one, paths[n % 3]) for n, one in enumerate(others)]
    eventually(lambda: api.get("/api/connections")["total"] == 20)
    api.post("/api/drain", "", status=202)
    assert server.wait() == 0
    for one in asking:
        one.result()


# --- log --------------------------------------------------------------------------------------


def test_log_lines_are_kept(start):
    server, api = start(log_level="debug")
    first = api.get("/api/log")
    assert set(first) == {"events", "next"} and first["events"]
    listening = [event for event in first["events"] if event["event"] == "listening"]
    assert len(listening) == 1
    got = listening[0]
    assert set(got) == {"number", "time", "level", "event", "fields"}
    assert got["level"] == "info" and got["fields"]["port"] == server.port
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", got["time"])
    numbers = [event["number"] for event in first["events"]]
    assert numbers == list(range(1, len(numbers) + 1)) and first["next"] == numbers[-1]
    client = server.client2()
    api.post("/api/disconnect", {"client": client.me, "code": 4001, "reason": "x"})
    news = api.get("/api/log", after=first["next"])["events"]
    assert [event["number"] for event in news] == list(range(first["next"] + 1, first["next"] + 1 + len(news)))
    gone = [event for event in news if event["event"] == "clients disconnected"]
    assert gone[0]["fields"] == {"count": 1, "code": 4001, "client": client.me}
    levels = {event["level"] for event in api.get("/api/log", level="info")["events"]}
    assert "debug" not in levels and "info" in levels
    assert "debug" in {event["level"] for event in api.get("/api/log", level="debug")["events"]}
    assert api.get("/api/log", level="error") == {"events": [], "next": api.get("/api/log")["next"]}


def test_a_number_of_another_life_begins_anew(pair):
    server, api = pair
    server.wait_log("sending (by|without) io_uring")  # the last line of the start
    assert api.get("/api/log", after=10**12) == api.get("/api/log")


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=9223372036854775808", "level=x", "level=off", "level=%"])
def test_wrong_parameters_of_log(pair, query):
    _, api = pair
    api.refused(400, "malformed", "GET", "/api/log?" + query)


def test_no_secret_is_in_the_log(start):
    server, api = start(jwt_secret=SECRET, log_level="debug")
    secret = token(sub="alice")
    client = server.client2(extra=bearer(secret))
    client.fence()
    text = api.get_text("/api/log").decode()
    assert SECRET not in text and secret not in text and secret.split(".")[2] not in text
