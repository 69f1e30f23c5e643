"""Replays that are larger than what may wait for one client: they come in pieces, as it takes them,
and nobody may notice but by the time it takes.

"Broken by" says how the broker was broken on purpose to see the test fail.
"""

import json
import signal
import threading

import pytest

from hermes_fixtures import eventually, sanitized, within
from raw import CLOSE, Client2, command, publish_text, since

WORKERS = pytest.mark.parametrize("workers", [1, 2])
SIZE = 20_000
KEPT = [{"match": "t:*", "history": 1000}, {"match": "r:*", "history": 200}]


def numbered(topic, n):
    return publish_text(topic, '"%06d%s"' % (n, "x" * (SIZE - 8)))


def fill(publisher, topic, first, last):
    for n in range(first, last + 1):
        publisher.say(numbered(topic, n))
    publisher.fence()


def began(server, topic, count, rcvbuf=4096):
    """A topic with so many messages, and a client that has been told its epoch."""
    publisher, client = server.client2(), server.client2(rcvbuf=rcvbuf)
    fill(publisher, topic, 1, count)
    return publisher, client, client.history(topic, limit=1)["epoch"]


def expect_run(client, topic, first, last, pattern=None):
    for n in range(first, last + 1):
        got = client.recv_json()
        client.check_message(got, topic, n, pattern)
        assert int(got["data"][:6]) == n


@WORKERS
@pytest.mark.parametrize("how", ["since", "replay"])
def test_live_messages_follow_a_large_replay(start_server, workers, how):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 400)
    wish = {"since": since(epoch, 0)} if how == "since" else {"replay": 1000}
    client.tell("subscribe", topic="t:a", **wish)
    # The client does not read meanwhile.
    fill(publisher, "t:a", 401, 500)
    got = client.recv_json()
    assert got["type"] == "ack_subscribe" and got["offset"] >= 400
    if how == "since":
        assert got["recovered"] is True
    expect_run(client, "t:a", 1, 450)
    fill(publisher, "t:a", 501, 550)
    expect_run(client, "t:a", 451, 550)
    client.fence()
    for n in range(551, 560):
        publisher.say(numbered("t:a", n))
        expect_run(client, "t:a", n, n)
    client.fence()


@WORKERS
def test_many_catch_up_under_load(start_server, workers):
    # Room enough for those who are slow when they have caught up.
    server = start_server(workers=workers, max_backlog_bytes="64m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 150)
    clients = [client] + [server.client2() for _ in range(7)]
    stop = threading.Event()

    def publish():
        n = 150
        while n < 600 and not stop.is_set():
            n += 1
            publisher.say(numbered("t:a", n))
            if n % 20 == 0:
                publisher.fence()
        return n

    def read(number, client):
        client.tell("subscribe", topic="t:a", since=since(epoch, number * 20))
        assert client.recv_json()["recovered"] is True
        expect_run(client, "t:a", number * 20 + 1, 600)

    readers = [within(read, n, c) for n, c in enumerate(clients)]
    publishing = within(publish)
    try:
        for reader in readers:
            reader.result()
    finally:
        stop.set()
    assert publishing.result() == 600
    for client in clients:
        client.fence()


# Broken by delivering live messages by a pattern to who is being brought the same ones by name.
@WORKERS
@pytest.mark.parametrize("before", [True, False])
def test_a_pattern_beside_it_brings_nothing_twice(start_server, workers, before):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 300)
    if before:
        client.subscribe(pattern="t:*")
    client.tell("subscribe", topic="t:a", since=since(epoch, 0))
    if not before:
        client.tell("subscribe", pattern="t:*")
    assert client.recv_json()["recovered"] is True
    fill(publisher, "t:a", 301, 400)
    seen = 0
    while seen < 400:
        got = client.recv_json()
        if got["type"] == "ack_subscribe":
            assert got["pattern"] == "t:*"
            continue
        got["data"] = got["data"][:6]
        client.check_message(got, "t:a", seen + 1)
        assert int(got["data"]) == got["offset"]
        seen += 1
    client.fence()
    publisher.say(numbered("t:a", 401))
    expect_run(client, "t:a", 401, 401)
    client.unsubscribe("t:a")
    publisher.say(numbered("t:a", 402))
    expect_run(client, "t:a", 402, 402, "t:*")


@WORKERS
def test_an_unsubscribe_ends_it(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 300)
    for round in range(3):
        client.tell("subscribe", topic="t:a", since=since(epoch, 0))
        client.recv_json()
        expect_run(client, "t:a", 1, 20)
        number = client.tell("unsubscribe", topic="t:a")
        n = 20
        while True:
            got = client.recv_json()
            if got["type"] == "ack_unsubscribe":
                assert got["id"] == number
                break
            n += 1
            client.check_message(got, "t:a", n)
        publisher.say(numbered("t:a", 301 + round))
        publisher.fence()
        client.fence()
        client.refused("not_subscribed", "unsubscribe", topic="t:a")
    assert {t: n for t, n in publisher.counts().items() if n} == {}


# Joins and leaves are told whatever becomes of the replay.
@WORKERS
@pytest.mark.parametrize("way", ["unsubscribe", "reset", "drop"])
def test_who_leaves_while_catching_up_is_told_to_have_left(start_server, workers, way):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 300)
    watcher = server.client2()
    watcher.subscribe("t:a", presence=True)
    for round in range(4):
        guest = server.client2(rcvbuf=4096)
        guest.tell("subscribe", topic="t:a", since=since(epoch, 0))
        assert watcher.recv_json() == {"type": "join", "topic": "t:a", "client": guest.me}
        if way == "unsubscribe":
            guest.tell("unsubscribe", topic="t:a")
        else:
            getattr(guest, way)()
        assert watcher.recv_json() == {"type": "leave", "topic": "t:a", "client": guest.me}
        assert publisher.presence("t:a") == {watcher.me}
        guest.drop()
    watcher.fence()


def test_the_policy_asked_for_while_catching_up_holds(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 300)
    client.tell("subscribe", topic="t:a", since=since(epoch, 0))
    client.tell("subscribe", topic="t:a", policy="drop_oldest")
    seen, wanted = 0, 1
    while wanted <= 300:
        got = client.recv_json()
        if got["type"] == "ack_subscribe":
            continue
        client.check_message(got, "t:a", wanted)
        wanted += 1
    client.fence()
    fill(publisher, "t:a", 301, 800)
    while wanted <= 800:
        got = client.recv_json()
        if got["type"] == "gap":
            assert got["from"] == wanted
            seen += 1
            wanted = got["to"] + 1
        else:
            client.check_message(got, "t:a", wanted)
            wanted += 1
    assert seen, "nothing was lost"
    client.fence()


@WORKERS
def test_an_end_of_the_connection_ends_it(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 300)
    for round in range(12):
        other = server.client2(rcvbuf=4096)
        other.tell("subscribe", topic="t:a", since=since(epoch, 0))
        other.recv_json()
        expect_run(other, "t:a", 1, round)
        (other.reset, other.drop)[round % 2]()
    eventually(lambda: publisher.counts("t:a") in ({}, {"t:a": 0}), "the end of them all")
    assert publisher.publish_acked("t:a", "last")[1] == 0
    client.fence()


def test_it_is_a_subscription_from_the_answer_on(start_server):
    server = start_server(workers=2, max_backlog_bytes="1m", rules=KEPT, max_subscriptions=3)
    publisher, client, epoch = began(server, "t:a", 300)
    watcher = server.client2()
    watcher.subscribe("t:a", presence=True)
    client.tell("subscribe", topic="t:a", since=since(epoch, 0))
    assert client.recv_json()["recovered"] is True
    assert publisher.counts("t:a") == {"t:a": 2}
    assert publisher.presence("t:a") == {watcher.me, client.me}
    assert watcher.recv_json() == {"type": "join", "topic": "t:a", "client": client.me}
    expect_run(client, "t:a", 1, 10)
    # Asked for again, it goes on.
    before, answer = client.ask_among("subscribe", topic="t:a", policy="latest")
    assert answer["type"] == "ack_subscribe" and answer["offset"] == 300
    for n, got in enumerate(before):
        client.check_message(got, "t:a", 11 + n)
    at = 11 + len(before)
    expect_run(client, "t:a", at, 300)
    client.fence()
    client.unsubscribe("t:a")
    assert watcher.recv_json() == {"type": "leave", "topic": "t:a", "client": client.me}
    watcher.fence()


def test_subscriptions_that_are_catching_up_count_against_the_limit(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m", rules=KEPT, max_subscriptions=3)
    publisher = server.client2()
    for n in range(5):
        fill(publisher, f"t:{n}", 1, 200)
    client = server.client2(rcvbuf=4096)
    ids = [client.tell("subscribe", topic=f"t:{n}", replay=1000) for n in range(5)]
    answers, ends = {}, {}
    while len(answers) < 5 or any(ends.get(f"t:{n}", 0) < 200 for n in range(3)):
        got = client.recv_json()
        if "id" in got:
            answers[got["id"]] = got.get("code", got["type"])
        else:
            client.check_message(got, got["topic"], ends.get(got["topic"], 0) + 1)
            ends[got["topic"]] = got["offset"]
    assert [answers[i] for i in ids] == ["ack_subscribe"] * 3 + ["too_many_subscriptions"] * 2


@WORKERS
def test_several_topics_at_once_each_keep_their_order(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client = server.client2(), server.client2(rcvbuf=4096)
    topics = [f"t:{n}" for n in range(6)]
    for topic in topics:
        fill(publisher, topic, 1, 100)
    client.say(json.dumps({"type": "subscribe", "topics": topics, "replay": 1000}))
    for topic in topics:
        fill(publisher, topic, 101, 120)
    ends, acked = dict.fromkeys(topics, 0), []
    while any(n < 120 for n in ends.values()):
        got = client.recv_json()
        if got["type"] == "ack_subscribe":
            acked.append(got["topic"])
            continue
        assert got["topic"] in acked, "a message before its ack"
        client.check_message(got, got["topic"], ends[got["topic"]] + 1)
        ends[got["topic"]] += 1
    assert acked == topics
    client.fence()


@WORKERS
def test_commands_are_answered_meanwhile(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 300)
    client.tell("subscribe", topic="t:a", since=since(epoch, 0))
    for n in range(20):
        client.say(command("subscribe", f"u:{n}", id=f"s{n}"), publish_text(f"u:{n}", str(n)),
                   '{"type":"ping","id":"p%d"}' % n)
    ends, rest = 0, []
    while ends < 300 or len(rest) < 61:
        got = client.recv_json()
        if got["type"] == "message" and got["topic"] == "t:a":
            ends += 1
            client.check_message(got, "t:a", ends)
        else:
            rest.append(got)
    assert rest[0]["recovered"] is True
    for n in range(20):
        ack, message, pong = rest[3 * n + 1:3 * n + 4]
        assert (ack["id"], message["data"], pong["id"]) == (f"s{n}", n, f"p{n}")
    client.fence()


# What the history has forgotten before its turn came is told.
@WORKERS
def test_what_is_forgotten_meanwhile_is_a_gap(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "r:a", 200)
    client.tell("subscribe", topic="r:a", since=since(epoch, 0))
    assert client.recv_json()["recovered"] is True
    fill(publisher, "r:a", 201, 900)
    wanted, lost = 1, 0
    while wanted <= 900:
        got = client.recv_json()
        if got["type"] == "gap":
            assert got["from"] == wanted, got
            lost += got["to"] - got["from"] + 1
            wanted = got["to"] + 1
        else:
            client.check_message(got, "r:a", wanted)
            assert int(got["data"][:6]) == wanted
            wanted += 1
    assert lost, "the kernel held all of it?"
    client.fence()


# echo:false is about what is delivered live; a replay has everything.
@WORKERS
def test_a_replay_has_what_was_published_without_echo(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 300)
    client.tell("subscribe", topic="t:a", since=since(epoch, 0))
    assert client.recv_json()["recovered"] is True
    client.say('{"topic":"t:a","data":"000301","echo":false}')
    expect_run(client, "t:a", 1, 301)
    client.say('{"topic":"t:a","data":"000302","echo":false}')
    client.fence()
    publisher.say(numbered("t:a", 303))
    expect_run(client, "t:a", 303, 303)


@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
def test_many_who_stall_while_catching_up_cost_little(start_server):
    server = start_server(workers=1, max_backlog_bytes="8m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 400)
    clients = [server.client2(rcvbuf=4096) for _ in range(60)]
    server.reset_peak()
    before = server.memory()
    for c in clients:
        c.tell("subscribe", topic="t:a", since=since(epoch, 0))
    fill(publisher, "t:a", 401, 800)
    growth = server.peak_memory() - before
    # The history's own is in there: 400 messages more.
    assert growth < 400 * SIZE + (8 << 20) + (10 << 20), f"{growth >> 10} KiB"
    # For all of them at once there is not room enough: some may be cut, and are told.
    for c in clients[::20]:
        assert c.recv_json()["recovered"] is True
        for n in range(1, 801):
            got = c.recv()
            if got.opcode == CLOSE:
                c.check_close(got, 4008)
                break
            c.check_message(json.loads(got.payload), "t:a", n)
        else:
            c.fence()


def test_rules_that_go_meanwhile_end_it_truthfully(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m", rules=KEPT)
    publisher, client, epoch = began(server, "t:a", 400)
    client.tell("subscribe", topic="t:a", since=since(epoch, 0))
    assert client.recv_json()["recovered"] is True
    server.write_rules([])
    server.kill(signal.SIGHUP)
    eventually(lambda: publisher.ask("history", topic="t:a", limit=1).get("code") == "no_history", "the new rules")
    publisher.say(numbered("t:a", 401))
    wanted = 1
    while wanted <= 401:
        got = client.recv_json()
        if got["type"] == "gap":
            assert got["from"] == wanted
            wanted = got["to"] + 1
        else:
            client.check_message(got, "t:a", wanted)
            wanted += 1
    client.fence()
    Client2.check_subscribed(client.ask("subscribe", topic="t:a"), "t:a")
