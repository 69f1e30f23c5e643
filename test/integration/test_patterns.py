"""Subscribing by pattern: what matches, once each, in order, and with what it costs.

"Broken by" says how the broker was broken on purpose to see the test fail.
"""

import itertools
import json
import random
import threading

import pytest

from hermes_fixtures import eventually, sanitized, within
from raw import burst, publish_text

WORKERS = pytest.mark.parametrize("workers", [1, 3])


def matches(pattern, topic):
    """The definition, as PROTOCOL has it."""
    wanted, given = pattern.split(":"), topic.split(":")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and all(
            w in ("*", g) for w, g in zip(wanted[:-1], given))
    return len(given) == len(wanted) and all(w in ("*", g) for w, g in zip(wanted, given))


def by_pattern(pattern, **more):
    return json.dumps({"type": "subscribe", "pattern": pattern, **more}, ensure_ascii=False)


TOPICS = ["a", "a:b", "a:b:c", "a:b:c:d", "b", "b:b", ":", "::", ":a", "a:", "a::b", "a:*", "*", ">",
          "a:>", "*:b", "A:b", "aa:b", "ab", "ż:b", "a b:c", "a*:b"]
PATTERNS = ["a", "*", ">", "a:b", "a:*", "a:>", "*:b", "*:*", "*:>", "a:*:c", "a:*:>", "*:*:*", "*:b:>",
            "a::b", "a:*:b", ":*", "*:", "::", ":>", "ż:*", "a:b:c:d", "a:b:c:>", "a:b:c:d:>", "*:*:>"]


# Broken by `>` that stands for no segment too; by `*` that stands for no empty one.
@WORKERS
def test_every_pattern_hears_what_matches_it_and_nothing_else(server):
    clients = {p: server.client2() for p in PATTERNS}
    for pattern, client in clients.items():
        client.subscribe(pattern=pattern)
    publisher = server.client2()
    for n, topic in enumerate(TOPICS):
        assert matches(topic, topic) or ">" in topic
        offset, subscribers = publisher.publish_acked(topic, n)
        assert subscribers == sum(matches(p, topic) for p in PATTERNS), topic
        assert offset == 1
    for pattern, client in clients.items():
        expected = [(t, n) for n, t in enumerate(TOPICS) if matches(pattern, t)]
        for topic, n in expected:
            client.expect_message(topic, n, 1, pattern)
        if pattern not in ("*", ">"):
            client.fence()
    assert matches("a:>", "a:b") and not matches("a:>", "a") and not matches("a:*", "a:b:c")


# Broken by a delivery for each pattern that matches.
@WORKERS
def test_a_subscriber_gets_a_message_once_however_many_of_its_subscriptions_match(server):
    clients = [server.client2() for _ in range(4)]
    everything = ["a:*", "*:b", "a:>", "*:*", ">", "a:b"]
    for n, client in enumerate(clients):
        for pattern in everything[n:] + everything[:n]:
            client.subscribe(pattern=pattern)
            client.subscribe(pattern=pattern)
    publisher = server.client2()
    for n in range(50):
        publisher.publish("a:b", n)
    for n in range(50):
        for client in clients:
            client.expect_message("a:b", n, n + 1, everything[0])
    # By the topic itself: no pattern is named any more, and still once.
    for client in clients:
        client.subscribe("a:b")
    for n in range(50):
        publisher.publish("a:b", n)
    for n in range(50):
        for client in clients:
            client.expect_message("a:b", n, 51 + n)
    for client in clients:
        client.unsubscribe("a:b")
        # Of its own patterns, for what it publishes itself.
        client.subscribe("mark")
    publisher.publish("a:b", 1)
    publisher.publish("mark", 2)
    for client in clients:
        client.expect_message("a:b", 1, 101, everything[0])
        client.expect_message("mark", 2)


@WORKERS
def test_the_oldest_pattern_is_named_and_then_the_next(server):
    watcher, client, publisher = server.client2(), server.client2(), server.client2()
    patterns = ["x:*", ">", "*:y", "x:>"]
    for pattern in patterns:
        client.subscribe(pattern=pattern)
    watcher.subscribe(pattern="x:>")
    for n in range(len(patterns)):
        publisher.publish("x:y", n)
        client.expect_message("x:y", n, n + 1, patterns[n])
        watcher.expect_message("x:y", n, n + 1, "x:>")
        client.unsubscribe(pattern=patterns[n])
    publisher.publish("x:y", 9)
    watcher.expect_message("x:y", 9, 5, "x:>")
    client.fence()


def test_a_pattern_is_no_topic_and_a_topic_is_no_pattern(server):
    client, other = server.client2(), server.client2()
    client.subscribe("a:*")
    other.subscribe(pattern="a:*")
    assert client.publish_acked("a:b", 1) == (1, 1)
    client.publish("a:*", 2)
    client.expect_message("a:*", 2, 1)
    other.expect_message("a:b", 1, 1, "a:*")
    other.expect_message("a:*", 2, 1, "a:*")
    client.refused("not_subscribed", "unsubscribe", pattern="a:*")
    other.refused("not_subscribed", "unsubscribe", topic="a:*")
    client.unsubscribe("a:*")
    other.unsubscribe(pattern="a:*")


@WORKERS
def test_offsets_are_the_topics_own(server):
    pattern, topic, publisher = server.client2(), server.client2(), server.client2()
    pattern.subscribe(pattern="a:*")
    topic.subscribe("a:x")
    for n in range(1, 31):
        for name in ("a:x", "a:y", "b"):
            publisher.publish(name, n)
    for n in range(1, 31):
        pattern.expect_message("a:x", n, n, "a:*")
        pattern.expect_message("a:y", n, n, "a:*")
        topic.expect_message("a:x", n, n)
    assert topic.subscribe("a:y")["offset"] == 30
    assert topic.subscribe("b")["offset"] == 0


@WORKERS
def test_ends_of_a_subscription_by_pattern_are_exact(server):
    client, other, publisher = server.client2(), server.client2(), server.client2()
    other.subscribe(pattern="a:>")
    for n in range(50):
        client.say(publish_text("a:t", '"early"'), by_pattern("a:*"), publish_text("a:t", str(n)),
                   json.dumps({"type": "unsubscribe", "pattern": "a:*"}), publish_text("a:t", '"late"'))
        assert client.recv_json()["type"] == "ack_subscribe"
        client.expect_message("a:t", n, None, "a:*")
        assert client.recv_json()["type"] == "ack_unsubscribe"
        for data in ("early", n, "late"):
            other.expect_message("a:t", data, None, "a:>")
        client.subscribe(pattern="a:*")
        publisher.publish("a:t", n)
        client.expect_message("a:t", n, None, "a:*")
        other.expect_message("a:t", n, None, "a:>")
        client.unsubscribe(pattern="a:*")
        publisher.publish("a:t", '"too late"')
        other.expect_message("a:t", "too late", None, "a:>")
    client.fence()


# Broken by a match set that is kept though patterns came or went.
@WORKERS
def test_topics_that_are_known_already_are_found_by_new_patterns(server):
    keeper, publisher = server.client2(), server.client2()
    names = [f"a:{n}" for n in range(40)]
    for name in names:
        keeper.subscribe(name)
        publisher.publish(name, 0)
        keeper.expect_message(name, 0, 1)
    clients = [server.client2() for _ in range(6)]
    for round in range(1, 4):
        for client in clients:
            client.subscribe(pattern="a:*")
            publisher.publish(names[round], round)
            keeper.expect_message(names[round], round)
            for other in clients[: clients.index(client) + 1]:
                other.expect_message(names[round], round, None, "a:*")
        for client in clients:
            client.unsubscribe(pattern="a:*")
        publisher.publish(names[round], -1)
        keeper.expect_message(names[round], -1)
        for client in clients:
            client.fence()


def test_a_pattern_of_someone_who_left_abruptly_is_gone(server):
    for n in range(10):
        client = server.client2()
        for pattern in ("a:*", "a:>", ">"):
            client.subscribe(pattern=pattern)
        client.reset() if n % 2 else client.drop()
    publisher = server.client2()
    eventually(lambda: publisher.publish_acked("a:b", 1)[1] == 0, "the end of all patterns")
    assert publisher.publish_acked("a:b", 1) == (0, 0), "nobody is there to number it for"


@WORKERS
def test_order_is_one_for_topics_and_patterns(server):
    subscribers = [server.client2() for _ in range(8)]
    for n, client in enumerate(subscribers):
        if n % 2:
            client.subscribe(pattern=["t:*", ">", "*:x", "t:>"][n // 2])
        else:
            client.subscribe("t:x")
    publishers = [server.client2() for _ in range(4)]
    each = 300

    def publish(number, client):
        client.send(burst(publish_text("t:x", json.dumps([number, n])) for n in range(each)))

    def read(client):
        return [client.recv_json() for _ in range(each * len(publishers))]

    readers = [within(read, c) for c in subscribers]
    for done in [within(publish, n, c) for n, c in enumerate(publishers)]:
        done.result()
    heard = [reader.result() for reader in readers]
    for one in heard:
        assert [m["offset"] for m in one] == list(range(1, each * len(publishers) + 1))
        assert [m["data"] for m in one] == [m["data"] for m in heard[0]]
    for number in range(len(publishers)):
        assert [m["data"][1] for m in heard[0] if m["data"][0] == number] == list(range(each))


# Guarantee 2 where the messages reach a subscriber by ways that differ.
@WORKERS
def test_one_publisher_is_heard_in_order_across_topics_and_patterns(server):
    clients = [server.client2() for _ in range(6)]
    topics = [f"t:{n}" for n in range(7)] + ["u:0", "u:0:x"]
    for n, client in enumerate(clients):
        for topic in topics[n % 3::3]:
            client.subscribe(topic)
        for pattern in (["t:*", "u:>"], [">"], ["*:*", "*:0:x"])[n % 3]:
            client.subscribe(pattern=pattern)
    publishers, each = [server.client2() for _ in range(3)], 450
    for number, publisher in enumerate(publishers):
        publisher.send(burst(publish_text(topics[n % 9], json.dumps([number, n])) for n in range(each)))
    for client in clients:
        last = {n: -1 for n in range(3)}
        for _ in range(3 * each):
            number, n = client.recv_json()["data"]
            assert n == last[number] + 1
            last[number] = n


# Patterns come and go while others publish: between ack and ack nothing is missing, none is double.
@WORKERS
def test_acks_by_pattern_keep_their_place_in_a_storm(server):
    stop = []
    publishers = [server.client2() for _ in range(2)]

    def publish(number, client):
        client.subscribe(f"echo{number}")
        n = 0
        while not stop:
            client.say(*(publish_text("t:x", json.dumps([number, n + k])) for k in range(50)),
                       publish_text(f"echo{number}", "0"))
            n += 50
            if n > 200:
                client.recv_text()

    def in_and_out(client, patterns):
        last = {}
        for round in range(40):
            pattern = patterns[round % len(patterns)]
            client.subscribe(pattern=pattern)
            run, offset = {}, None
            number = None
            for count in itertools.count():
                if count == 20:
                    number = client.tell("unsubscribe", pattern=pattern)
                got = client.recv_json()
                if got["type"] != "message":
                    assert got["type"] == "ack_unsubscribe" and got["id"] == number, got
                    break
                client.check_message(got, "t:x", None if offset is None else offset + 1, pattern)
                offset = got["offset"]
                who, n = got["data"]
                assert n == run.get(who, n - 1) + 1
                assert n > last.get(who, -1)
                run[who] = n
            last.update(run)

    running = [within(publish, n, c) for n, c in enumerate(publishers)]
    try:
        keeper = server.client2()
        keeper.subscribe(pattern="nobody:*")
        for done in [within(in_and_out, server.client2(), p)
                     for p in (["t:*"], ["t:>", "*:x"], ["*:*", "t:x", "t:*"])]:
            done.result()
    finally:
        stop.append(True)
        for one in running:
            one.result()


# What one subscription begins with is where the other ends.
@WORKERS
@pytest.mark.parametrize("kept, toggled", [({"pattern": "t:*"}, {"topic": "t:x"}),
                                           ({"topic": "t:x"}, {"pattern": "t:*"}),
                                           ({"pattern": ">"}, {"pattern": "t:*"})])
def test_nothing_is_missed_nor_doubled_when_a_second_way_comes_and_goes(server, kept, toggled):
    stop = []
    publishers = [server.client2() for _ in range(2)]

    def publish(client):
        while not stop:
            client.send(burst([publish_text("t:x", "1")] * 5))
            client.ask("ping")

    running = [within(publish, c) for c in publishers]
    try:
        client = server.client2()
        client.subscribe(**kept)
        at = None
        for n in range(500):
            number = client.tell("unsubscribe" if n % 2 else "subscribe", **toggled)
            got = client.recv_json()
            while got.get("id") != number:
                client.check_message(got, "t:x", at and at + 1, got.get("pattern"))
                at = got["offset"]
                got = client.recv_json()
            assert got["type"].startswith("ack_"), got
            assert at is None or got.get("offset", at) == at, got
    finally:
        stop.append(True)
        for one in running:
            one.result()


def random_pattern(rng):
    parts = [rng.choice(["a", "b", "c", "*", "*", ""]) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.3:
        parts[-1] = ">"
    return ":".join(parts) or "*"


@WORKERS
def test_thousands_of_patterns_match_as_defined(server):
    rng = random.Random(9)
    clients = [server.client2() for _ in range(5)]
    mine = [set() for _ in clients]
    publisher = server.client2()
    for round in range(25):
        for client, patterns in zip(clients, mine):
            batch = [("unsubscribe", p) for p in rng.sample(sorted(patterns), len(patterns) // 2)]
            batch += [("subscribe", p) for p in {random_pattern(rng) for _ in range(20)}]
            client.say(*(json.dumps({"type": kind, "pattern": p}) for kind, p in batch))
            for kind, pattern in batch:
                got = client.recv_json()
                assert (got["type"], got["pattern"]) == ("ack_" + kind, pattern), got
                (patterns.discard if kind == "unsubscribe" else patterns.add)(pattern)
        topics = [":".join(rng.choice(["a", "b", "c", "d", ""]) for _ in range(rng.randint(1, 5))) or "e"
                  for _ in range(20)]
        topics = [t for t in topics if t]
        for n, topic in enumerate(topics):
            publisher.publish(topic, n)
        publisher.ask("ping")  # all of them are on their way
        for client, patterns in zip(clients, mine):
            for n, topic in enumerate(topics):
                if any(matches(p, topic) for p in patterns):
                    got = client.recv_json()
                    assert (got["topic"], got["data"]) == (topic, n), (got, topic)
                    assert got["pattern"] in patterns and matches(got["pattern"], topic), got
            assert client.ask("ping")["type"] == "pong"


def test_a_level_1_client_is_heard_by_patterns(server):
    client, plain = server.client2(), server.client()
    client.subscribe(pattern="a:*")
    plain.subscribe("a:b")
    for n in range(5):
        plain.publish("a:b", n)
        assert plain.recv_text() == str(n)
        client.expect_message("a:b", n, n + 1, "a:*")


def test_history_and_patterns_go_together(start_server):
    server = start_server(workers=2, rules=[{"match": "h:*", "history": 10}])
    client, publisher = server.client2(), server.client2()
    assert publisher.publish_acked("h:a", 1) == (1, 0)
    client.subscribe(pattern="h:*")
    publisher.publish("h:a", 2)
    client.expect_message("h:a", 2, 2, "h:*")
    got = client.history("h:a")
    assert [m["data"] for m in got["messages"]] == [1, 2]
    for n in range(3, 30):
        publisher.publish("h:a", n)
        client.expect_message("h:a", n, n, "h:*")


# --- what it costs --------------------------------------------------------------------------------

# Broken by letting no topic go when new ones come.
@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
def test_publishes_to_ever_new_topics_do_not_grow_memory_without_bound(start_server):
    server = start_server(workers=2)
    client, publisher = server.client2(), server.client2()
    client.subscribe(pattern="new:*")
    rounds, each = 40, 20_000

    def read():
        """All that comes, unseen, to the last message."""
        last = b'"data":%d,' % (rounds * each - 1)
        piece = b""
        while last not in piece:
            piece = piece[-200:] + client.sock.recv(1 << 20)

    reader = within(read)
    sizes = []
    for round in range(rounds):
        first = round * each
        publisher.send(burst(b'{"topic":"new:%d","data":%d}' % (n, n) for n in range(first, first + each)))
        publisher.ask("ping")
        sizes.append(server.memory())
    reader.result()
    # What is there after a while is all there ever is.
    assert sizes[-1] - max(sizes[: rounds // 2]) < 6 << 20, [s >> 10 for s in sizes]
    assert max(sizes) - sizes[0] < 40 << 20, [s >> 10 for s in sizes]


@WORKERS
def test_ever_new_topics_are_all_heard(server):
    client, publisher = server.client2(), server.client2()
    client.subscribe(pattern="new:*")
    count = 30_000

    def read():
        for n in range(count):
            got = client.recv().payload
            assert got == (b'{"type":"message","topic":"new:%d","data":%d,"offset":1,"pattern":"new:*"}'
                           % (n, n)), got

    reader = within(read)
    for first in range(0, count, 5000):
        publisher.send(burst(b'{"topic":"new:%d","data":%d}' % (n, n) for n in range(first, first + 5000)))
        publisher.fence()
    reader.result()


@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
def test_patterns_that_come_and_go_leave_no_memory_behind(start_server):
    server = start_server(workers=2)
    client = server.client2()
    sizes = []
    for round in range(8):
        names = [f"p{round}:{n}:*:x{n}:>" for n in range(5000)]
        for kind in ("subscribe", "unsubscribe"):
            client.send(burst(json.dumps({"type": kind, "pattern": name}) for name in names))
            for name in names:
                got = client.recv_json()
                assert got["type"] == "ack_" + kind and got["pattern"] == name
        sizes.append(server.memory())
    assert sizes[-1] - sizes[2] < 3 << 20, [s >> 10 for s in sizes]


def test_topics_that_patterns_subscribe_to_are_listed_like_any_other(server):
    client, publisher = server.client2(), server.client2()
    client.subscribe(pattern="l:*")
    client.subscribe("l:a")
    assert publisher.counts("l:")["l:a"] >= 1
    for name in ("l:a", "l:b", "m"):
        publisher.publish(name, 0)
    publisher.fence()
    counts = publisher.counts()
    assert counts["l:a"] >= 1 and "m" not in counts, counts
    client.expect_message("l:a", 0, 1)
    client.expect_message("l:b", 0, 1, "l:*")
    client.unsubscribe(pattern="l:*")
    client.unsubscribe("l:a")
    eventually(lambda: {t for t, n in publisher.counts("l:").items() if n} == set(), "the end of topics")


def test_topics_can_be_asked_for_by_pattern(server):
    client = server.client2()
    for name in ("s:a", "s:b", "s:b:c", "t:a"):
        client.subscribe(name)
    got = client.ask("topics", pattern="s:*")
    assert [row["topic"] for row in got["topics"]] == ["s:a", "s:b"], got
    got = client.ask("topics", pattern="*:a")
    assert [row["topic"] for row in got["topics"]] == ["s:a", "t:a"], got
    got = client.ask("topics", pattern="s:>", limit=2)
    assert [row["topic"] for row in got["topics"]] == ["s:a", "s:b"] and got["next"] == "s:b", got
    got = client.ask("topics", pattern="s:>", limit=2, after="s:b")
    assert [row["topic"] for row in got["topics"]] == ["s:b:c"] and "next" not in got, got
    client.refused("bad_pattern", "topics", pattern="s:>:x")
    client.refused("malformed", "topics", pattern=5)
