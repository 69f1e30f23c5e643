"""Who is on a topic: lists over all workers, joins and leaves.

"Broken by" says how the broker was broken on purpose to see the test fail.
"""

import json

import pytest

from hermes_fixtures import eventually, within
from raw import command

WORKERS = pytest.mark.parametrize("workers", [1, 3])


def event(type, topic, client):
    return {"type": type, "topic": topic, "client": client}


# Broken by a list of the asker's worker alone.
@WORKERS
def test_presence_lists_the_subscribers_of_all_workers(server):
    clients = [server.client2() for _ in range(12)]
    stranger = server.client2()
    assert stranger.presence("t") == set()
    for n, client in enumerate(clients):
        client.subscribe("t")
        assert stranger.presence("t") == {c.me for c in clients[: n + 1]}
    clients[5].subscribe("t")
    assert clients[5].presence("t") == {c.me for c in clients}
    assert stranger.presence("u") == set()
    for n, client in enumerate(clients):
        client.unsubscribe("t")
        assert client.presence("t") == {c.me for c in clients[n + 1:]}
    assert stranger.presence("t") == set()
    stranger.fence()


@WORKERS
def test_level_1_clients_are_listed_too(server):
    two, plain = server.client2(), [server.client() for _ in range(5)]
    two.subscribe("t")
    for client in plain:
        client.subscribe("t")
    here = two.presence("t")
    assert len(here) == 6 and two.me in here
    for n, client in enumerate(plain):
        client.unsubscribe("t")
        assert len(two.presence("t")) == 5 - n


# Broken by listing somebody once a subscription.
@WORKERS
def test_who_subscribes_by_pattern_is_there_once(server):
    clients = [server.client2() for _ in range(4)]
    asker = server.client2()
    clients[0].subscribe("a:b")
    clients[1].subscribe(pattern="a:*")
    for pattern in ("a:*", "a:>", ">"):
        clients[2].subscribe(pattern=pattern)
    clients[2].subscribe("a:b")
    clients[3].subscribe(pattern="b:*")
    assert asker.presence("a:b") == {c.me for c in clients[:3]}
    assert asker.presence("a:c") == {c.me for c in clients[1:3]}
    assert asker.presence("b:x") == {c.me for c in clients[2:4]}
    assert asker.presence("a") == {clients[2].me}


@WORKERS
def test_joins_and_leaves_are_told_to_who_asked_and_not_to_oneself(server):
    watchers = [server.client2() for _ in range(3)]
    silent, plain = server.client2(), server.client()
    silent.subscribe("t")
    plain.subscribe("t")
    for n, watcher in enumerate(watchers):
        watcher.subscribe("t", presence=True)
        for other in watchers[:n]:
            assert other.recv_json() == event("join", "t", watcher.me)
    guest = server.client2()
    for round in range(20):
        guest.subscribe("t")
        for watcher in watchers:
            assert watcher.recv_json() == event("join", "t", guest.me)
        guest.publish("t", round)
        for client in (guest, silent, *watchers):
            client.expect_message("t", round, round + 1)
        guest.unsubscribe("t")
        for watcher in watchers:
            assert watcher.recv_json() == event("leave", "t", guest.me)
    for n in range(20):
        assert plain.recv_json() == n
    for client in (guest, silent, plain, *watchers):
        client.fence()


# Broken by ends of sessions that tell nobody.
@WORKERS
@pytest.mark.parametrize("way", ["reset", "drop", "close", "half_close"])
def test_an_end_of_any_kind_is_a_leave(server, way):
    watcher = server.client2()
    topics = [f"t:{n}" for n in range(20)]
    for topic in topics[:10]:
        watcher.subscribe(topic, presence=True)
    guests = [server.client2() for _ in range(6)]
    for guest in guests:
        guest.say(json.dumps({"type": "subscribe", "topics": topics}))
        for topic in topics:
            assert guest.recv_json()["type"] == "ack_subscribe"
        got = [watcher.recv_json() for _ in range(10)]
        assert got == [event("join", t, guest.me) for t in topics[:10]]
    for guest in guests:
        if way == "close":
            guest.send(b"\x88\x80\0\0\0\0")
        else:
            getattr(guest, way)()
        got = [watcher.recv_json() for _ in range(10)]
        assert sorted(map(json.dumps, got)) == sorted(
            json.dumps(event("leave", t, guest.me)) for t in topics[:10])
    for topic in topics:
        assert watcher.presence(topic) == ({watcher.me} if topic in topics[:10] else set())
    watcher.fence()


def test_a_level_1_client_joins_and_leaves_too(server):
    watcher = server.client2()
    watcher.subscribe("t", presence=True)
    names = set()
    for n in range(4):
        plain = server.client()
        plain.subscribe("t")
        got = watcher.recv_json()
        assert got["type"] == "join" and watcher.presence("t") == {watcher.me, got["client"]}
        if n % 2:
            plain.unsubscribe("t")
        else:
            plain.reset()
        assert watcher.recv_json() == event("leave", "t", got["client"])
        names.add(got["client"])
        plain.drop()
    assert len(names) == 4


def test_subscribing_again_is_no_join_and_asks_anew(server):
    watcher, guest = server.client2(), server.client2()
    watcher.subscribe("t", presence=True)
    for _ in range(3):
        guest.subscribe("t")
    guest.subscribe("t", presence=True)
    assert watcher.recv_json() == event("join", "t", guest.me)
    watcher.fence()
    # Who asks only then is told from then on.
    third = server.client2()
    third.subscribe("t")
    for client in (watcher, guest):
        assert client.recv_json() == event("join", "t", third.me)
    third.unsubscribe("t")
    for client in (watcher, guest):
        assert client.recv_json() == event("leave", "t", third.me)
        client.fence()


def test_an_unsubscribe_that_is_an_error_is_no_leave(server):
    watcher, guest = server.client2(), server.client2()
    watcher.subscribe("t", presence=True)
    guest.refused("not_subscribed", "unsubscribe", topic="t")
    watcher.fence()


# Broken by joins that are told to subscribers by name only.
@WORKERS
def test_a_pattern_hears_of_joins_and_makes_none(server):
    watcher, named, guest = server.client2(), server.client2(), server.client2()
    named.subscribe("a:x", presence=True)
    watcher.subscribe(pattern="a:*", presence=True)
    for topic in ("a:x", "a:y", "b"):
        guest.subscribe(topic)
    for topic in ("a:x", "a:y"):
        assert watcher.recv_json() == event("join", topic, guest.me)
    assert named.recv_json() == event("join", "a:x", guest.me)
    guest.subscribe(pattern="a:*")
    guest.unsubscribe(pattern="a:*")
    watcher.fence()
    named.fence()
    guest.unsubscribe("a:y")
    assert watcher.recv_json() == event("leave", "a:y", guest.me)
    guest.reset()
    assert watcher.recv_json() == event("leave", "a:x", guest.me)
    assert named.recv_json() == event("leave", "a:x", guest.me)
    watcher.unsubscribe(pattern="a:*")
    other = server.client2()
    other.subscribe("a:x")
    assert named.recv_json() == event("join", "a:x", other.me)
    watcher.fence()


def test_who_watches_by_topic_and_by_pattern_is_told_once(server):
    watcher, guest = server.client2(), server.client2()
    watcher.subscribe(pattern="a:*", presence=True)
    watcher.subscribe(pattern=">", presence=True)
    watcher.subscribe("a:x", presence=True)
    guest.subscribe("a:x")
    seen = []
    while True:
        number = watcher.tell("ping")
        got = watcher.recv_json()
        while got.get("id") != number:
            seen.append(got)
            got = watcher.recv_json()
        if event("join", "a:x", guest.me) in seen:
            break
    watcher.ask("ping")
    assert seen.count(event("join", "a:x", guest.me)) == 1, seen


def test_a_batch_can_ask_for_joins(server):
    watcher, guest = server.client2(), server.client2()
    watcher.say(json.dumps({"type": "subscribe", "topics": ["a", "b"], "presence": True}))
    for topic in "ab":
        assert watcher.recv_json()["topic"] == topic
    for topic in "abc":
        guest.subscribe(topic)
    for topic in "ab":
        assert watcher.recv_json() == event("join", topic, guest.me)
    watcher.fence()


# A join is told between the message before and the message behind it.
@WORKERS
def test_joins_and_leaves_have_their_place_among_messages(server):
    watcher = server.client2()
    watcher.subscribe("t", presence=True)
    guest = server.client2()
    for n in range(30):
        guest.say(publish_text_of("t", [n, 0]), command("subscribe", "t"), publish_text_of("t", [n, 1]),
                  command("unsubscribe", "t"), publish_text_of("t", [n, 2]))
        watcher.expect_message("t", [n, 0])
        assert watcher.recv_json() == event("join", "t", guest.me)
        watcher.expect_message("t", [n, 1])
        assert watcher.recv_json() == event("leave", "t", guest.me)
        watcher.expect_message("t", [n, 2])
        assert guest.recv_json()["type"] == "ack_subscribe"
        guest.expect_message("t", [n, 1])
        assert guest.recv_json()["type"] == "ack_unsubscribe"


def publish_text_of(topic, value):
    return json.dumps({"topic": topic, "data": value})


# Broken by ends of sessions that tell nobody.
@WORKERS
def test_what_watchers_are_told_adds_up_to_who_is_there(server):
    watcher = server.client2()
    watcher.subscribe("t", presence=True)
    guests = 8

    def come_and_go(number):
        for n in range(25):
            guest = server.client2()
            guest.subscribe("t")
            if n % 3 == 0:
                guest.unsubscribe("t")
                guest.subscribe("t")
            if n == 24:
                return guest.me
            (guest.reset, guest.drop)[n % 2]()

    running = [within(come_and_go, n) for n in range(guests)]
    staying = {r.result() for r in running}
    here = set()
    while here != staying:
        got = watcher.recv_json()
        if got["type"] == "join":
            assert got["client"] not in here, got
            here.add(got["client"])
        else:
            assert got["type"] == "leave", got
            here.remove(got["client"])
    before, answer = watcher.ask_among("presence", topic="t")
    for got in before:
        (here.add if got["type"] == "join" else here.remove)(got["client"])
    eventually(lambda: watcher.ask_among("presence", topic="t")[1]["clients"].__len__() == guests + 1,
               "the end of those who left")
    assert set(watcher.presence("t")) == staying | {watcher.me}
    watcher.fence()


@WORKERS
def test_a_thousand_are_listed(server):
    clients = [server.client() for _ in range(300)]
    asker = server.client2()
    for client in clients:
        client.say(command("subscribe", "t"), command("subscribe", "u"))
    for client in clients:
        client.expect_subscribed("t")
        client.expect_subscribed("u")
    assert len(asker.presence("t")) == 300
    for client in clients[:150]:
        client.reset()
    eventually(lambda: len(asker.presence("t")) == 150, "the end of half of them")
    assert asker.presence("u") == asker.presence("t")


# Presence asks all workers: its answers may come late, but all come, while anything goes on.
@WORKERS
def test_many_questions_at_once_are_all_answered(server):
    clients = [server.client2() for _ in range(6)]
    for client in clients:
        client.subscribe("t")
    for client in clients:
        client.say(*(json.dumps({"type": "presence", "topic": "t", "id": n}) for n in range(100)),
                   '{"type":"ping","id":"end"}')
    for client in clients:
        ids = set()
        for _ in range(101):
            got = client.recv_json()
            assert got["id"] not in ids
            ids.add(got["id"])
            if got["type"] == "presence":
                assert set(got["clients"]) == {c.me for c in clients}
            else:
                assert got["id"] == "end" or got["code"] in ("unavailable", "rate_limited"), got
        assert ids == {*range(100), "end"}


def test_a_question_of_someone_who_leaves_at_once_harms_nobody(server):
    client = server.client2()
    client.subscribe("t")
    for n in range(50):
        asker = server.client2()
        asker.say(*(json.dumps({"type": "presence", "topic": "t", "id": k}) for k in range(20)))
        (asker.reset, asker.drop)[n % 2]()
    assert client.presence("t") == {client.me}


def test_presence_that_a_rule_forbids_is_forbidden(start_server):
    server = start_server(workers=2, rules=[{"match": "dark:*", "presence": False},
                                            {"match": "lit:*", "presence": True}])
    client, other = server.client2(), server.client2()
    other.subscribe("lit:a")
    other.subscribe("dark:a")
    assert client.presence("lit:a") == {other.me}
    assert client.presence("free") == set()
    assert client.refused("forbidden", "presence", topic="dark:a")["topic"] == "dark:a"
    # Joins are not told there either, be it by an error or by silence.
    got = client.ask("subscribe", topic="dark:a", presence=True)
    assert got["type"] == "ack_subscribe" or got["code"] == "forbidden", got
    client.subscribe(pattern="dark:*", presence=True)
    third = server.client2()
    third.subscribe("dark:a")
    third.unsubscribe("dark:a")
    assert [m for m in client.until_fenced() if m["type"] in ("join", "leave")] == []
