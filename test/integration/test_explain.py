"""Why a client did not get a message: what /api/explain says of a running broker."""

import random
import threading
import urllib.parse

import pytest

from hermes_fixtures import eventually, within

MIB = 1 << 20


def explain(server, client, topic, offset):
    query = urllib.parse.urlencode({"client": client, "topic": topic, "offset": offset})
    status, got = server.api("GET", f"/api/explain?{query}")
    assert status == 200, got
    assert got["client"] == client and got["topic"] == topic and got["offset"] == offset, got
    assert got["words"].endswith("."), got
    assert got["verdict"] == got["outcome"] and got["words"] == got["text"], got
    assert isinstance(got["facts"], list), got
    return got


def verdict(server, client, topic, offset):
    return explain(server, client, topic, offset)["verdict"]


@pytest.mark.parametrize("workers", [1, 3])
def test_each_client_is_explained_by_the_worker_that_has_it(start_server, workers):
    server = start_server(workers=workers)
    clients = [server.client2() for _ in range(6)]
    late, gone = clients[4], clients[5]
    for client in clients[:4] + [gone]:
        client.subscribe("a b")
    offset, count = late.publish_acked("a b", 1)
    assert (offset, count) == (1, 5)
    late.subscribe("a b")
    for client in clients[:4] + [gone]:
        assert client.recv_json()["offset"] == 1
    for client in clients[:4] + [gone]:
        assert verdict(server, client.me, "a b", 1) == "delivered"
        got = explain(server, client.me, "a b", 2)
        assert got["verdict"] == "not_published"
        (fact,) = got["facts"]
        assert fact.pop("at").endswith("Z")
        assert fact == {"what": "subscribed", "from": 1, "replayed": 0, "policy": "disconnect"}
    got = explain(server, late.me, "a b", 1)
    assert got["verdict"] == "subscribed_later" and got["facts"][0]["from"] == 2
    gone.drop()
    eventually(lambda: server.topic_counts().get("a b") == 5)
    clients[0].unsubscribe("a b")
    assert clients[0].publish_acked("a b", 2) == (2, 4)
    got = explain(server, gone.me, "a b", 2)
    assert got["verdict"] == "closed" and got["facts"][0]["what"] == "closed", got
    assert verdict(server, gone.me, "a b", 1) == "delivered"
    assert verdict(server, clients[0].me, "a b", 2) == "left"
    assert verdict(server, "0123456789abcdef", "a b", 1) == "unknown_client"
    assert verdict(server, late.me, "nobody", 1) == "epoch_ended"


def test_who_was_too_slow_is_told_so(start_server):
    server = start_server(workers=2, max_backlog_bytes="1m")
    slow, lossy, publisher = server.client2(rcvbuf=4096), server.client2(rcvbuf=4096), server.client2()
    slow.subscribe("t")
    lossy.subscribe("t", policy="drop_oldest")
    text = "x" * 8000
    newest = 0
    while server.topic_counts().get("t") == 2:
        for _ in range(100):
            newest, _ = publisher.publish_acked("t", text)
        assert newest < 20000
    newest, _ = publisher.publish_acked("t", text)
    got = explain(server, slow.me, "t", newest)
    assert got["verdict"] == "closed" and "4008" in got["words"], got
    up_to = got["facts"][0]["delivered_up_to"]
    assert got["facts"][0]["code"] == 4008 and got["facts"][0]["lost_bytes"] > 0
    assert verdict(server, slow.me, "t", up_to) == "cut_off"
    assert verdict(server, slow.me, "t", up_to + 1) == "closed"

    def dropped():
        publisher.publish_acked("t", text)
        facts = explain(server, lossy.me, "t", 1)["facts"]
        return [fact for fact in facts if fact["what"] == "dropped"]

    fact = eventually(dropped, "something dropped")[0]
    got = explain(server, lossy.me, "t", fact["from"])
    assert got["verdict"] == "dropped" and "drop_oldest" in got["words"], got
    newest, _ = publisher.publish_acked("t", text)
    assert verdict(server, lossy.me, "t", newest) == "queued"
    seen = {}
    while newest not in seen:
        frame = lossy.recv_json()
        for offset in range(frame.get("from", 0), frame.get("to", -1) + 1):
            seen[offset] = "dropped"
        if "offset" in frame:
            seen[frame["offset"]] = "delivered"
    assert sorted(seen) == list(range(1, newest + 1))
    for offset in {1, newest, *random.sample(sorted(seen), 50)}:
        assert verdict(server, lossy.me, "t", offset) == seen[offset], offset


def test_who_may_not_subscribe_is_told_so(start_server):
    server = start_server(rules=[{"match": "secret:>", "subscribe": "authenticated", "history": 9}])
    spy, publisher = server.client2(), server.client2()
    assert publisher.publish_acked("secret:x", 1)[0] == 1
    spy.refused("forbidden", "subscribe", topic="secret:x")
    got = explain(server, spy.me, "secret:x", 1)
    assert got["verdict"] == "refused" and got["facts"][0]["error"] == "forbidden", got
    assert verdict(server, publisher.me, "secret:x", 1) == "not_subscribed"


@pytest.mark.parametrize("query", [
    "", "client=0123456789abcdef&topic=t", "client=0123456789abcdef&offset=1", "topic=t&offset=1",
    "client=x&topic=t&offset=1", "client=0123456789abcdef&topic=&offset=1",
    "client=0123456789abcdef&topic=t&offset=0", "client=0123456789abcdef&topic=t&offset=-1",
    "client=0123456789abcdef&topic=t&offset=x", "client=0123456789abcdef&topic=%ff&offset=1",
])
def test_what_is_asked_must_be_whole(server, query):
    status, got = server.api("GET", f"/api/explain?{query}")
    assert status == 400 and got["error"]["code"] in ("malformed", "bad_topic"), got


def test_questions_beside_those_who_come_and_go(start_server):
    """Nobody is said to have got what it cannot have got; and the registry was right all the time."""
    server = start_server(workers=3)
    stays = server.client2()
    stays.subscribe("t")
    publisher = server.client2()
    ids = [stays.me]
    done = threading.Event()

    def churn():
        for _ in range(150):
            client = server.client2()
            client.subscribe("t")
            client.ask_among("subscribe", pattern="t:*")
            ids.append(client.me)
            client.drop()

    def publish():
        while not done.is_set():
            publisher.publish_acked("t", 1)

    publisher.publish_acked("t", 1)
    churns = [within(churn) for _ in range(3)]
    publishing = within(publish)
    asked = 0
    while not all(thread.done() for thread in churns) or asked < 50:
        got = explain(server, random.choice(ids), "t", 1)
        assert got["verdict"] not in ("unknown_client", "not_published", "forgotten"), got
        asked += 1
    done.set()
    for thread in [*churns, publishing]:
        thread.result()
    assert explain(server, stays.me, "t", 1)["verdict"] == "delivered"
    _, _, text = server.admin("GET", "/metrics")
    assert b"\nhermes_registry_mismatches_total 0\n" in text
