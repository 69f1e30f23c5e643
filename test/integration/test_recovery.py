"""What was missed: offsets, history and its limits, replay, and clients that are cut and come back.

"Broken by" says how the broker was broken on purpose to see the test fail.
"""

import itertools
import json
import random
import signal
import struct
import threading

import pytest

from hermes_fixtures import eventually, sanitized, within
from raw import (CLOSE, DEADLINE, V2, Client2, Ended, Raw, burst, command, head, publish_text, since,
                 text)

DEEP = [{"match": "h:>", "history": 100_000}]


def fill(client, topic, numbers):
    """Publishes the numbers and waits until they are there."""
    client.send(burst(publish_text(topic, str(n)) for n in numbers))
    client.fence()


def data_of(answer):
    return [m["data"] for m in answer["messages"]]


# --- replay and since -----------------------------------------------------------------------------

# Broken by a view that begins one message too early, or too late.
@pytest.mark.parametrize("workers", [1, 3])
def test_since_brings_exactly_what_was_missed_and_then_goes_on(start_server, workers):
    server = start_server(workers=workers, rules=DEEP)
    publisher = server.client2()
    fill(publisher, "h:t", range(1, 51))
    epoch = publisher.history("h:t")["epoch"]
    for missed in itertools.chain(range(51), [0]):
        client = server.client2()
        got = client.subscribe("h:t", since=since(epoch, 50 - missed))
        assert (got["recovered"], got["offset"]) == (True, 50)
        for n in range(51 - missed, 51):
            client.expect_message("h:t", n, n)
        client.fence()
        client.drop()


def test_live_messages_follow_the_replay_without_a_gap(start_server):
    server = start_server(workers=1, rules=DEEP)
    client = server.client2()
    fill(client, "h:t", range(1, 201))
    epoch = client.history("h:t")["epoch"]
    # All in one piece, so that the live ones are published before the replay is written.
    client.say(command("subscribe", "h:t", since=since(epoch, 100)),
               *(publish_text("h:t", str(n)) for n in range(201, 301)))
    assert client.recv_json()["recovered"] is True
    for n in range(101, 301):
        client.expect_message("h:t", n, n)
    client.fence()


# Broken by joining before what lies in the mailbox is delivered.
@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_published_right_before_comes_by_the_replay_alone(start_server, workers):
    server = start_server(workers=workers, rules=DEEP)
    others = [server.client2() for _ in range(workers)]
    for other in others:
        other.subscribe("h:t")  # so that it lies in every worker's mailbox
    client = server.client2()
    epoch = others[0].subscribe("h:t")["epoch"]
    for n in range(1, 200, 4):
        client.say(*(publish_text("h:t", str(k)) for k in (n, n + 1)),
                   command("subscribe", "h:t", since=since(epoch, n - 1)), publish_text("h:t", str(n + 2)),
                   command("unsubscribe", "h:t"), publish_text("h:t", str(n + 3)))
        got = client.recv_json()
        assert (got["recovered"], got["offset"]) == (True, n + 1)
        for k in (n, n + 1, n + 2):
            client.expect_message("h:t", k, k)
        assert client.recv_json()["type"] == "ack_unsubscribe"
    client.fence()
    for other in others:
        for k in range(1, 201):
            other.expect_message("h:t", k, k)


def test_another_epoch_is_not_recovered_and_nothing_is_replayed(start_server):
    server = start_server(workers=2, rules=DEEP)
    client = server.client2()
    fill(client, "h:t", range(1, 11))
    epoch = client.history("h:t")["epoch"]
    other = client.history("h:other")["epoch"] or "0" * 16
    for wrong in (since("", 5), since("x", 5), since(epoch[:-1], 5), since(epoch + "0", 5),
                  since(epoch.upper() + " ", 5), since(other, 5), since("0" * 16, 0),
                  since("x" * 64, 5), since(epoch, 11), since(epoch, 2**53), since(epoch + "\0", 5)):
        got = client.subscribe("h:t", since=wrong)
        assert (got["recovered"], got["offset"], got["epoch"]) == (False, 10, epoch), wrong
        client.unsubscribe("h:t")
        got = client.history("h:t", since=wrong)
        assert (got["recovered"], got["epoch"]) == (False, epoch), wrong
    client.fence()


def test_without_history_only_who_missed_nothing_is_recovered(server):
    keeper, client = server.client2(), server.client2()
    epoch = keeper.subscribe("t")["epoch"]
    assert client.subscribe("t", since=since(epoch, 0))["recovered"] is True
    client.unsubscribe("t")
    for n in range(1, 6):
        keeper.publish("t", n)
        keeper.expect_message("t", n, n)
    for offset in range(5):
        got = client.subscribe("t", since=since(epoch, offset))
        assert (got["recovered"], got["offset"]) == (False, 5)
        client.unsubscribe("t")
    assert client.subscribe("t", since=since(epoch, 5))["recovered"] is True
    keeper.publish("t", 6)
    client.expect_message("t", 6, 6)
    client.fence()


def test_a_topic_that_was_gone_meanwhile_is_not_recovered(server):
    client = server.client2()
    epoch = client.subscribe("t")["epoch"]
    client.unsubscribe("t")
    got = client.subscribe("t", since=since(epoch, 0))
    assert got["recovered"] is False and got["epoch"] != epoch


def test_after_a_restart_nothing_is_recovered(start_server):
    epochs = []
    for _ in range(2):
        server = start_server(workers=1, rules=DEEP)
        client = server.client2()
        fill(client, "h:t", range(1, 6))
        got = client.subscribe("h:t", since=since(epochs[0], 3) if epochs else since("x", 3))
        assert got["recovered"] is False and got["offset"] == 5
        epochs.append(got["epoch"])
        client.fence()
    assert epochs[0] != epochs[1]


# Broken by a history that keeps one message less than it may.
def test_recovery_is_all_or_nothing_at_the_edge_of_what_is_kept(start_server):
    server = start_server(workers=2, rules=[{"match": "h:t", "history": 10}])
    client = server.client2()
    fill(client, "h:t", range(1, 31))
    epoch = client.history("h:t")["epoch"]
    for offset in range(15, 31):
        got = client.subscribe("h:t", since=since(epoch, offset))
        assert got["recovered"] == (offset >= 20), (offset, got)
        if got["recovered"]:
            for n in range(offset + 1, 31):
                client.expect_message("h:t", n, n)
        client.unsubscribe("h:t")
    client.fence()


@pytest.mark.parametrize("workers", [1, 3])
def test_replay_brings_the_newest_and_no_more_than_there_are(start_server, workers):
    server = start_server(workers=workers, rules=[{"match": "h:t", "history": 20}])
    client = server.client2()
    for n in range(1, 41):
        client.publish("h:t", n)
        if n in (1, 5, 19, 20, 21, 40):
            for replay in (0, 1, 2, n, 20, 21, 1000, 2**31, 2**32, 2**40):
                got = client.subscribe("h:t", replay=replay)
                assert got["offset"] == n
                for k in range(n - min(replay, n, 20) + 1, n + 1):
                    client.expect_message("h:t", k, k)
                client.unsubscribe("h:t")
    assert client.subscribe("h:t")["offset"] == 40
    client.fence()


def test_without_asking_nothing_is_replayed(start_server):
    server = start_server(workers=2, rules=[{"match": "h:>", "history": 20, "retain": True}])
    client, plain = server.client2(), server.client()
    fill(client, "h:t", range(5))
    client.subscribe("h:t")
    client.subscribe(pattern="h:*")
    plain.subscribe("h:t")
    client.fence()
    plain.fence()


def test_replay_of_a_topic_without_history_brings_nothing(server):
    keeper, client = server.client2(), server.client2()
    keeper.subscribe("t")
    client.publish("t", 1)
    assert client.subscribe("t", replay=10)["offset"] == 1
    client.fence()


def test_subscribing_again_never_replays(start_server):
    server = start_server(workers=2, rules=DEEP)
    client = server.client2()
    fill(client, "h:t", range(1, 11))
    epoch = client.subscribe("h:t")["epoch"]
    assert client.subscribe("h:t", replay=5)["offset"] == 10
    assert client.subscribe("h:t", since=since(epoch, 5))["recovered"] is False
    assert client.subscribe("h:t", since=since("x", 10))["recovered"] is False
    assert client.subscribe("h:t", since=since(epoch, 10))["recovered"] is True
    client.say(publish_text("h:t", "11"), command("subscribe", "h:t", since=since(epoch, 10), id=1),
               command("subscribe", "h:t", since=since(epoch, 11), id=2))
    client.expect_message("h:t", 11, 11)
    assert [client.recv_json()["recovered"] for _ in range(2)] == [False, True]
    client.fence()


def test_data_is_replayed_byte_for_byte(start_server):
    server = start_server(workers=2, rules=DEEP)
    client = server.client2()
    data = ["170.50", "1e400", '{ "a" : 1,"a":2 }', '"ż\U0001f422"', r'"\u0041\/"', "null", '""',
            "9" * 200, '"%s"' % ("x" * 200), '"%s"' % ("y" * 70_000), "[ ]", '"%s"' % ("z" * 126)]
    for value in data:
        client.publish("h:t", value)
    client.say('{"type":"subscribe","topic":"h:t","replay":100}')
    client.recv_json()
    for n, value in enumerate(data):
        assert client.recv_text() == '{"type":"message","topic":"h:t","data":%s,"offset":%d}' % (
            value, n + 1)
    client.say('{"type":"history","topic":"h:t"}')
    got = client.recv_text()
    for n, value in enumerate(data):
        assert '{"offset":%d,"data":%s}' % (n + 1, value) in got, value[:100]
    client.fence()


def test_two_topics_recover_on_one_connection(start_server):
    server = start_server(workers=2, rules=DEEP)
    client = server.client2()
    fill(client, "h:a", range(1, 11))
    fill(client, "h:b", range(1, 21))
    epochs = {t: client.history(t)["epoch"] for t in ("h:a", "h:b")}
    client.say(command("subscribe", "h:a", since=since(epochs["h:a"], 7)),
               command("subscribe", "h:b", since=since(epochs["h:b"], 18)),
               publish_text("h:a", "11"), publish_text("h:b", "21"))
    for topic, numbers in (("h:a", range(8, 11)), ("h:b", range(19, 21))):
        assert client.recv_json()["recovered"] is True
        for n in numbers:
            client.expect_message(topic, n, n)
    client.expect_message("h:a", 11, 11)
    client.expect_message("h:b", 21, 21)
    client.fence()


def test_messages_published_without_any_subscriber_are_kept(start_server):
    server = start_server(workers=2, rules=DEEP)
    publisher, plain = server.client2(), server.client()
    assert publisher.publish_acked("h:t", 1) == (1, 0)
    plain.publish("h:t", 2)
    plain.fence()
    assert publisher.publish_acked("h:t", 3) == (3, 0)
    got = publisher.history("h:t")
    assert data_of(got) == [1, 2, 3] and got["offset"] == 3
    publisher.drop()
    client = server.client2()
    assert client.subscribe("h:t", since=since(got["epoch"], 1))["recovered"] is True
    client.expect_message("h:t", 2, 2)
    client.expect_message("h:t", 3, 3)


# --- the history command --------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 3])
def test_history_gives_pages_of_any_size(start_server, workers):
    server = start_server(workers=workers, rules=DEEP)
    client, other = server.client2(), server.client2()
    fill(other, "h:t", range(1, 2501))
    got = client.history("h:t")
    epoch = got["epoch"]
    assert data_of(got) == list(range(2401, 2501)) and got["offset"] == 2500
    for limit in (1, 7, 100, 999, 1000):
        got = client.history("h:t", limit=limit)
        assert data_of(got) == list(range(2501 - limit, 2501))
        got = client.history("h:t", limit=limit, since=since(epoch, 0))
        assert data_of(got) == list(range(1, limit + 1)) and got["offset"] == 2500
    for limit in (7, 333, 1000):
        at, seen = 0, []
        while at < 2500:
            page = data_of(client.history("h:t", limit=limit, since=since(epoch, at)))
            assert page
            seen += page
            at = page[-1]
        assert seen == list(range(1, 2501))
    got = client.history("h:t", since=since(epoch, 2500))
    assert got["recovered"] and got["messages"] == []
    assert len(data_of(client.history("h:t", since=since(epoch, 0)))) == 100
    client.fence()


def test_history_does_not_subscribe_and_has_its_place_among_deliveries(start_server):
    server = start_server(workers=2, rules=DEEP)
    client = server.client2()
    client.history("h:t")
    fill(client, "h:t", range(1, 4))
    assert data_of(client.history("h:t")) == [1, 2, 3]
    client.fence()
    client.subscribe("h:t")
    for n in range(4, 30):
        client.say(publish_text("h:t", str(n)), '{"type":"history","topic":"h:t","limit":1}')
        client.expect_message("h:t", n, n)
        got = client.recv_json()
        assert (got["offset"], data_of(got)) == (n, [n]), got


def test_history_of_a_topic_that_nobody_ever_used_is_empty(start_server):
    server = start_server(workers=2, rules=DEEP)
    client = server.client2()
    got = client.history("h:never")
    assert (got["offset"], got["messages"]) == (0, [])
    got = client.history("h:never", since=since("x", 5))
    assert (got["offset"], got["messages"], got["recovered"]) == (0, [], False)
    assert client.counts("h:") == {}


# --- limits ---------------------------------------------------------------------------------------

def test_the_first_rule_that_matches_counts(start_server):
    server = start_server(workers=1, rules=[
        {"match": "a:b", "history": 2}, {"match": "a:*", "history": 4}, {"match": "a:c", "history": 9},
        {"match": "a:>", "history": 6}, {"match": ">", "history": 8}])
    client = server.client2()
    for topic, kept in (("a:b", 2), ("a:c", 4), ("a:d", 4), ("a:b:c", 6), ("a", 8), ("x:y:z", 8)):
        fill(client, topic, range(20))
        assert data_of(client.history(topic)) == list(range(20 - kept, 20)), topic


@pytest.mark.parametrize("most", [1, 2, 3, 100, 5000])
def test_history_is_limited_by_count(start_server, most):
    server = start_server(workers=1, rules=[{"match": "t", "history": most}])
    client = server.client2()
    for count in (1, most - 1, 1, most // 2, most, 1, 3 * most):
        at = client.history("t", limit=1)["offset"]
        fill(client, "t", range(at + 1, at + count + 1))
        got = client.history("t", limit=1000)
        end = at + count
        first = max(1, end - most + 1)
        assert data_of(got) == list(range(max(first, end - 999), end + 1)), count
        if got["messages"]:
            got = client.history("t", since=since(got["epoch"], first - 1))
            assert got["recovered"] is True
            if first > 1:
                assert client.history("t", since=since(got["epoch"], first - 2))["recovered"] is False


def test_history_is_limited_by_bytes(start_server):
    server = start_server(workers=1, rules=[{"match": "t", "history": 1000, "history_bytes": 1000}])
    client = server.client2()
    sizes = []
    random.seed(4)
    for n in range(200):
        size = random.choice([3, 10, 99, 100, 101, 400, 999, 1000, 1001, 5000])
        sizes.append(size)
        client.publish("t", '"%s"' % ("x" * (size - 2)))
        got = [len(d) + 2 for d in data_of(client.history("t", limit=1000))]
        kept = 0
        for k in range(len(sizes)):
            if sum(sizes[len(sizes) - k - 1:]) > 1000:
                break
            kept += 1
        assert got == sizes[len(sizes) - max(kept, 1):], (n, sizes[-12:])


def test_history_is_limited_by_age(start_server):
    server = start_server(workers=2, rules=[
        {"match": "old", "history": 100, "history_seconds": 1},
        {"match": "kept", "history": 100, "history_seconds": 1, "retain": True},
        {"match": "long", "history": 100, "history_seconds": 3600}])
    client = server.client2()
    for topic in ("old", "kept", "long"):
        fill(client, topic, range(1, 11))
    epoch = client.history("old")["epoch"]
    eventually(lambda: data_of(client.history("old")) == [], "the end of what is old")
    assert data_of(client.history("long")) == list(range(1, 11))
    # Kept though it is too old.
    eventually(lambda: data_of(client.history("kept")) == [10], "the end of what is old")
    assert client.subscribe("kept", replay=10)["offset"] == 10
    client.expect_message("kept", 10, 10)
    client.fence()
    # What is forgotten is not recovered; what comes now has the next offset, or a new epoch.
    got = client.subscribe("old", since=since(epoch, 5))
    assert got["recovered"] is False
    client.publish("old", '"again"')
    assert client.expect_message("old", "again", got["offset"] + 1) == (11 if got["epoch"] == epoch else 1)


# Broken by a budget that nobody looks after.
@pytest.mark.parametrize("workers", [1, 3])
def test_all_histories_share_a_budget_and_lose_their_oldest_first(start_server, workers):
    server = start_server(workers=workers, history_bytes="256k",
                          rules=[{"match": "h:>", "history": 100_000}])
    client = server.client2()
    topics = [f"h:{n}" for n in range(20)]
    epochs, told = {}, {t: 0 for t in topics}
    for topic in topics:
        client.subscribe(topic)  # so that none goes when all of its history has gone
    order = []
    for n in range(1500):
        topic = topics[n * 7 % 20] if n % 100 < 50 else topics[n // 100]
        told[topic] += 1
        order.append((topic, told[topic]))
        client.say('{"topic":"%s","data":"%s","echo":false}' % (topic, "x" * 998))
    client.fence()
    kept = set()
    for topic in topics:
        got = client.history(topic, limit=1000)
        epochs[topic] = got["epoch"]
        assert got["offset"] == told[topic]
        if got["messages"]:
            assert got["messages"][-1]["offset"] == told[topic], "the newest went before older ones"
        kept |= {(topic, m["offset"]) for m in got["messages"]}
    assert 256 * 1024 * 0.3 < 1000 * len(kept) <= 256 * 1024, len(kept)
    # Blocks go, not single messages: nothing is gone that is much younger than what is still there.
    gone = [n for n, which in enumerate(order) if which not in kept]
    there = [n for n, which in enumerate(order) if which in kept]
    assert max(gone) - min(there) < 400, (max(gone), min(there))
    for topic in topics:
        first = min((o for t, o in kept if t == topic), default=told[topic] + 1)
        for offset in {0, max(first - 2, 0), first - 1, told[topic]}:
            got = client.history(topic, since=since(epochs[topic], offset), limit=1000)
            assert got["recovered"] == (offset >= first - 1), (topic, offset, first)


@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
def test_the_memory_of_histories_is_bounded_by_their_budget(start_server):
    server = start_server(workers=1, history_bytes="4m", rules=[{"match": "h:>", "history": 1_000_000}])
    client = server.client2()
    fill(client, "h:x", range(1000))
    before = server.memory()
    for n in range(40):
        client.send(burst(publish_text(f"h:{k}", '"%s"' % ("x" * 1000)) for k in range(1000)))
        client.fence()
    growth = server.memory() - before
    assert growth < 14 << 20, f"{growth >> 10} KiB"


# Names count too: strangers choose them, and a topic that keeps anything stays.
@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
@pytest.mark.parametrize("length", [10, 900])
def test_endless_topics_that_keep_a_message_cost_no_more_than_the_budget(start_server, length):
    server = start_server(workers=2, history_bytes="1m", rules=[{"match": ">", "retain": True}])
    client = server.client2()
    client.ask("ping")
    before = server.memory()
    for first in range(0, 40_000, 4000):
        client.send(burst('{"topic":"%d:%s","data":1}' % (n, "x" * length)
                          for n in range(first, first + 4000)))
        client.ask("ping")
    growth = server.memory() - before
    assert growth < 6 << 20, f"{growth >> 10} KiB"
    counts = client.counts()
    assert 100 < len(counts) < 20_000 and set(counts.values()) == {0}
    assert f"39999:{'x' * length}" in counts


def test_one_message_larger_than_the_budget_does_no_harm(start_server):
    server = start_server(workers=1, history_bytes="64k", rules=[{"match": "h:>", "history": 10}])
    client, keeper = server.client2(), server.client2()
    client.subscribe("h:a")
    keeper.subscribe("h:b")
    for n in range(5):
        client.publish("h:a", '"%s"' % ("x" * 200_000))
        assert len(client.recv_json()["data"]) == 200_000
        client.publish("h:b", n)
    got = client.history("h:b")
    assert got["offset"] == 5 and data_of(got) in ([0, 1, 2, 3, 4][k:] for k in range(6))
    assert client.history("h:a")["offset"] == 5


# --- retained values ------------------------------------------------------------------------------

# Broken by a topic that goes with its last subscriber whatever it keeps.
@pytest.mark.parametrize("workers", [1, 3])
def test_a_retained_value_outlives_the_last_subscriber(start_server, workers):
    server = start_server(workers=workers, rules=[{"match": "r:*", "retain": True}])
    client, plain = server.client2(), server.client()
    plain.subscribe("r:a")
    epoch = client.subscribe("r:a")["epoch"]
    for n in range(1, 6):
        client.publish("r:a", n)
        client.expect_message("r:a", n, n)
        assert plain.recv_json() == n
    client.unsubscribe("r:a")
    plain.drop()
    for _ in range(3):
        late = server.client2()
        got = late.subscribe("r:a", replay=1)
        assert (got["epoch"], got["offset"]) == (epoch, 5)
        late.expect_message("r:a", 5, 5)
        late.fence()
        late.drop()
    assert data_of(client.history("r:a")) == [5]
    assert client.subscribe("r:a", since=since(epoch, 4))["recovered"] is True
    client.expect_message("r:a", 5, 5)
    assert client.subscribe("r:b", replay=5)["offset"] == 0
    client.fence()


# --- rules that change ----------------------------------------------------------------------------

def test_rules_that_are_reloaded_hold_for_what_is_kept_already(start_server):
    server = start_server(workers=2, rules=[{"match": "t", "history": 50}])
    client = server.client2()
    fill(client, "t", range(100))
    assert data_of(client.history("t")) == list(range(50, 100))

    def reload(rules):
        server.write_rules(rules)
        server.kill(signal.SIGHUP)

    reload([{"match": "t", "history": 10}])

    def kept():
        client.publish("t", 5)
        client.fence()
        return len(client.history("t")["messages"])

    eventually(lambda: kept() == 10, "the new rule")
    offset = client.history("t")["offset"]
    for bad in ("{", '{"rules":[{"match":"t","history":-1}]}', '{"rules":[{"match":"t","history":3},5]}',
                '{"rules":[{"match":"a:>:b"}]}', '{"rules":[{"match":"t","policy":"slow"}]}',
                '{"rules":[{"match":"t","hystory":3}]}', ""):
        before = len(server.lines())
        reload(bad)
        eventually(lambda: any("rules" in line for line in server.lines()[before:]), "a word in the log")
        fill(client, "t", range(20))
        assert len(client.history("t")["messages"]) == 10, bad
    assert client.history("t")["offset"] == offset + 7 * 20
    reload([{"match": "t", "history": 30, "subscribe": "nobody"}])
    eventually(lambda: client.ask("subscribe", topic="t").get("code") == "forbidden", "the new rule")
    reload([])
    eventually(lambda: client.ask("history", topic="t").get("code") == "no_history", "the new rule")
    client.subscribe("t")
    client.fence()


# --- cut and back again ---------------------------------------------------------------------------

class Load:
    """Publishers that never are more than `ahead` messages ahead of the slowest reader; what they
    publish on one topic is [publisher, number]."""

    def __init__(self, server, topic, each, publishers=2, ahead=400, size=0):
        self.done = {}
        self.change = threading.Condition()
        self.ahead, self.each, self.topic = ahead, each, topic
        self.total = each * publishers
        self.sent = 0
        self.size = size
        self.stopped = False
        self.running = [within(self.publish, server.client2(), n) for n in range(publishers)]

    def publish(self, client, number):
        filler = "x" * self.size
        for first in range(0, self.each, 20):
            batch = range(first, min(first + 20, self.each))
            with self.change:
                assert self.change.wait_for(
                    lambda: self.stopped or self.sent - min(self.done.values(), default=0) < self.ahead,
                    3 * DEADLINE)
                if self.stopped:
                    return
                self.sent += len(batch)
            client.send(burst('{"topic":"%s","data":[%d,%d,"%s"]}' % (self.topic, number, n, filler)
                              for n in batch))
        client.fence()

    def reached(self, reader, offset):
        with self.change:
            self.done[reader] = offset
            self.change.notify_all()

    def stop(self):
        with self.change:
            self.stopped = True
            self.change.notify_all()
        for one in self.running:
            one.result()


class Reader:
    """One who is cut again and again, and how far it has come."""

    def __init__(self, server, load, name):
        self.server, self.load, self.name = server, load, name
        self.seen = []
        self.epoch = None
        self.cuts = 0
        load.reached(name, 0)

    def connect(self):
        """A socket on which the handshake and the subscribe are sent, but nothing is read."""
        conn = Raw(self.server.port)
        more = {"since": since(self.epoch, len(self.seen))} if self.epoch else {"replay": 100_000}
        conn.send(head(extra=V2), text(command("subscribe", self.load.topic, **more)))
        return conn

    def take(self, conn):
        """The next frame; False when it was no message."""
        got = json.loads(conn.recv().payload)
        if got["type"] == "info":
            return False
        if got["type"] == "ack_subscribe":
            assert self.epoch is None or got["recovered"] is True, got
            assert self.epoch in (None, got["epoch"]), got
            self.epoch = got["epoch"]
            return False
        Client2.check_message(got, self.load.topic, len(self.seen) + 1)
        self.seen.append(tuple(got["data"][:2]))
        self.load.reached(self.name, len(self.seen))
        return True

    def end(self, conn):
        self.cuts += 1
        if self.cuts % 2:
            conn.reset()
        else:
            conn.drop()

    def cut_after_each(self, count):
        """Reads so many messages a connection."""
        while len(self.seen) < self.load.total:
            conn = self.connect()
            conn.response()
            for _ in range(min(count, self.load.total - len(self.seen))):
                while not self.take(conn):
                    pass
            self.end(conn)
        return self.seen

    def cut_at_bytes(self, random):
        """Reads any number of bytes a connection, mostly few."""
        while len(self.seen) < self.load.total:
            conn = self.connect()
            left = random.choice([random.randrange(1, 600), random.randrange(1, 6000),
                                  random.randrange(300, 60_000)])
            upgraded = False
            try:
                while left > 0:
                    piece = conn.sock.recv(min(left, 1 << 16))
                    assert piece
                    left -= len(piece)
                    conn.buffer += piece
                    if not upgraded:
                        if b"\r\n\r\n" not in conn.buffer:
                            continue
                        conn.response()
                        upgraded = True
                    while whole(conn):
                        self.take(conn)
                    if len(self.seen) == self.load.total:
                        break
            finally:
                self.end(conn)
        return self.seen


def whole(conn):
    """Whether a whole frame has been read."""
    have = len(conn.buffer) - conn.at
    if have < 2:
        return False
    n, size = conn.buffer[conn.at + 1], 2
    if n >= 126:
        width = ">H" if n == 126 else ">Q"
        size += struct.calcsize(width)
        if have < size:
            return False
        n = struct.unpack_from(width, conn.buffer, conn.at + 2)[0]
    return have >= size + n


def check_all_heard_the_same(load, heard):
    for seen in heard:
        assert len(seen) == load.total
        assert seen == heard[0]
    for publisher in range(load.total // load.each):
        assert [n for p, n in heard[0] if p == publisher] == list(range(load.each))


# Broken by a view of the history that ends one message early.
@pytest.mark.parametrize("workers", [1, 3])
def test_a_client_cut_at_every_message_boundary_loses_nothing_and_gets_nothing_twice(
        start_server, workers):
    server = start_server(workers=workers, rules=[{"match": "t", "history": 1000}])
    load = Load(server, "t", 300)
    readers = [Reader(server, load, n) for n in range(3)]
    try:
        # Two of them are cut after each message, one after every second; on all workers in turn.
        running = [within(r.cut_after_each, count) for r, count in zip(readers, (1, 1, 2))]
        heard = [one.result() for one in running]
    finally:
        load.stop()
    check_all_heard_the_same(load, heard)
    assert readers[0].cuts == load.total


@pytest.mark.parametrize("workers", [1, 3])
def test_a_client_cut_at_any_byte_loses_nothing_and_gets_nothing_twice(start_server, workers):
    server = start_server(workers=workers, rules=[{"match": "t", "history": 3000}])
    load = Load(server, "t", 1500, ahead=2000, size=20)
    readers = [Reader(server, load, n) for n in range(3)]
    try:
        running = [within(r.cut_at_bytes, random.Random(n)) for n, r in enumerate(readers)]
        heard = [one.result() for one in running]
    finally:
        load.stop()
    check_all_heard_the_same(load, heard)


def test_a_client_cut_at_every_byte_of_an_answer_and_a_replay_recovers(start_server):
    server = start_server(workers=2, rules=DEEP)
    client = server.client2()
    fill(client, "h:t", range(1, 9))
    epoch = client.history("h:t")["epoch"]
    request = head(extra=V2) + burst([command("subscribe", "h:t", since=since(epoch, 0))])
    with server.raw() as conn:
        conn.send(request)
        conn.response()
        for _ in range(2 + 8):
            conn.recv()
        size = conn.at
    for cut in range(0, size, 3):
        with server.raw() as conn:
            conn.send(request)
            conn.response()
            conn._need(cut)
            conn.buffer = conn.buffer[:cut]
            seen = 0
            while whole(conn):
                got = conn.recv_json()
                seen = got["offset"] if got["type"] == "message" else 0
            conn.reset()
        with server.client2() as back:
            back.subscribe("h:t", since=since(epoch, seen))
            for n in range(seen + 1, 9):
                back.expect_message("h:t", n, n)
            back.fence()
    eventually(lambda: not {t: n for t, n in client.counts().items() if n}, "the end of the last subscription")


def test_a_client_that_is_cut_for_being_slow_recovers(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m", rules=[{"match": "t", "history": 1000}])
    publisher = server.client2()
    client = server.client2(rcvbuf=4096)
    epoch = client.subscribe("t")["epoch"]
    for n in range(1, 401):
        publisher.publish("t", '"%06d%s"' % (n, "x" * 30_000))
    publisher.fence()
    eventually(lambda: {t: n for t, n in publisher.counts().items() if n} == {}, "the cut")
    seen = 0
    try:
        while True:
            got = client.recv()
            if got.opcode == CLOSE:
                client.check_close(got, 4008)
                break
            seen += 1
            Client2.check_message(json.loads(got.payload), "t", seen)
    except Ended:
        pass
    assert seen < 400
    back = server.client2()
    catch_up(back, "t", epoch, seen, 400)
    back.fence()


def catch_up(client, topic, epoch, seen, newest):
    """Subscribes, with what is too much for a replay taken from the history first."""
    while True:
        got = client.subscribe(topic, since=since(epoch, seen))
        if got["recovered"]:
            break
        client.fence()
        client.unsubscribe(topic)
        page = client.history(topic, since=since(epoch, seen), limit=1000)
        assert page["recovered"] is True and page["messages"], "neither replayed nor in the history"
        for m in page["messages"]:
            assert int(m["data"][:6]) == m["offset"]
        seen = page["messages"][-1]["offset"]
    for n in range(seen + 1, newest + 1):
        got = client.recv_json()
        client.check_message(got, topic, n)
        assert int(got["data"][:6]) == n


# The storm of those who come back at once.
@pytest.mark.parametrize("workers", [2])
def test_many_who_come_back_at_once_all_recover(start_server, workers):
    server = start_server(workers=workers, rules=[{"match": "t", "history": 1000}])
    publisher = server.client2()
    fill(publisher, "t", range(1, 101))
    epoch = publisher.history("t")["epoch"]
    clients = [server.client2() for _ in range(150)]
    for n, client in enumerate(clients):
        client.say(command("subscribe", "t", since=since(epoch, n % 101)))
        if n % 10 == 0:
            publisher.publish("t", 101 + n // 10)
    for n, client in enumerate(clients):
        got = client.recv_json()
        assert got["recovered"] is True
        for k in range(n % 101 + 1, 116):
            client.expect_message("t", k, k)
        client.fence()


# A replay that is larger than what may wait for a slow client is refused as a whole.
def test_what_is_too_much_for_a_replay_comes_by_the_history(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m", rules=[{"match": "t", "history": 1000}])
    client, other = server.client2(), server.client2()
    for n in range(1, 201):
        client.publish("t", '"%06d%s"' % (n, "x" * 40_000))
    client.fence()
    other.subscribe("u")
    epoch = client.history("t", limit=1)["epoch"]
    catch_up(client, "t", epoch, 0, 200)
    other.publish("u", 1)
    other.expect_message("u", 1, 1)
    client.publish("t", 5)
    client.expect_message("t", 5, 201)
    client.fence()
