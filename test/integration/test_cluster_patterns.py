"""Patterns across nodes."""

import itertools
import json

import pytest

from cluster_fixtures import many, redis, start_nodes, start_redis, wait_ready  # noqa: F401
from hermes_fixtures import eventually, within
from raw import burst, publish_text

DEEP = [{"match": "h:>", "history": 100_000}]

MATCHES = [("a:*", "a:b", True), ("a:*", "a:b:c", False), ("a:*", "a", False), ("a:>", "a:b:c", True), ("a:>", "a", False),
           ("*", "a", True), ("*", "a:b", False), (">", "a:b:c", True), ("*:b", "a:b", True), ("*:b", "c:b", True),
           ("*:b", "a:c", False), ("*:>", "a:b:c", True), ("*:>", "a", False), ("a:*:c", "a:x:c", True), ("a", "a", True),
           ("a", "b", False), ("h:*", "h:b", True), ("é:*", "é:x", True), (":*", ":a", True)]


@pytest.mark.parametrize("pattern,topic,match", MATCHES)
def test_who_subscribes_by_a_pattern_gets_what_matches_of_all_nodes(start_nodes, redis, pattern, topic, match):
    nodes = start_nodes(2, redis, rules=DEEP)
    reader, publisher = nodes[1].client2(), nodes[0].client2()
    reader.subscribe(pattern=pattern)
    for n in range(1, 4):
        publisher.publish_acked(topic, n)
        if match:
            reader.expect_message(topic, n, n, pattern)
    reader.unsubscribe(pattern=pattern)
    publisher.publish_acked(topic, "late")
    reader.fence()


# Broken by delivering what comes by m: and by p: twice.
def test_many_reasons_are_one_delivery(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    publishers = [node.client2() for node in nodes]
    readers = [node.client2() for node in nodes]
    for client in readers:
        for pattern in ("a:*", "a:>", "*:b", ">", "*:*"):
            client.subscribe(pattern=pattern)
        client.subscribe("a:b")
    for n, publisher in enumerate(itertools.islice(itertools.cycle(publishers), 30), 1):
        assert publisher.publish_acked("a:b", n)[0] == n
        for client in readers:
            client.expect_message("a:b", n, n)
    for client in readers:
        client.unsubscribe("a:b")
    publishers[0].publish_acked("a:b", 31)
    for client in readers:
        client.expect_message("a:b", 31, 31, "a:*")
    publishers[1].publish_acked("z", "end")
    for client in readers:
        client.expect_message("z", "end", 1, ">")


def test_a_topic_that_is_subscribed_after_the_pattern_goes_on_with_its_offsets(start_nodes, redis):
    nodes = start_nodes(2, redis)
    by_pattern, by_name, publisher = nodes[1].client2(), nodes[1].client2(), nodes[0].client2()
    by_pattern.subscribe(pattern="a:*")
    for n in range(1, 6):
        publisher.publish_acked("a:b", n)
        by_pattern.expect_message("a:b", n, n, "a:*")
    assert by_name.subscribe("a:b")["offset"] == 5
    for n in range(6, 11):
        publisher.publish_acked("a:b", n)
        by_pattern.expect_message("a:b", n, n, "a:*")
        by_name.expect_message("a:b", n, n)


def test_by_name_and_by_pattern_all_nodes_see_one_order(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    topics = ["h:a", "h:b", "x:a", "x:b"]
    total, each = many(400), many(400) // 4 * 3
    total = each * 4
    readers = []
    for k, node in enumerate(nodes):
        for how in range(3):
            client = node.client2()
            if how == 0:
                client.subscribe(pattern=">")
            elif how == 1:
                client.subscribe(pattern="h:*")
                client.subscribe(pattern="x:>")
            else:
                for topic in topics:
                    client.subscribe(topic)
            readers.append(client)

    def read(client):
        by_topic = {topic: [] for topic in topics}
        for _ in range(total):
            got = client.recv_json()
            assert got["type"] == "message", got
            rows = by_topic[got["topic"]]
            assert got["offset"] == len(rows) + 1, (got, len(rows))
            rows.append(got["data"])
        return by_topic

    reading = [within(read, client) for client in readers]
    publishers = [node.client2() for node in nodes]
    for k, client in enumerate(publishers):
        client.send(burst(publish_text(topics[n % 4], f"[{k},{n}]") for n in range(total // 3)))
    seen = [one.result() for one in reading]
    assert all(one == seen[0] for one in seen)


def test_after_the_answer_all_that_is_published_elsewhere_comes(start_nodes, redis):
    """Guarantee 5, of patterns that are new to the node."""
    nodes = start_nodes(2, redis)
    reader, publisher = nodes[1].client2(), nodes[0].client2()
    for n in range(many(60)):
        pattern = ("p%d:*" % n, "q:%d:>" % n, "*:%d:*" % n)[n % 3]
        topic = ("p%d:x" % n, "q:%d:x:y" % n, "z:%d:y" % n)[n % 3]
        reader.subscribe(pattern=pattern)
        publisher.publish_acked(topic, n)
        reader.expect_message(topic, n, 1, pattern)
        reader.unsubscribe(pattern=pattern)
        publisher.publish_acked(topic, "late")
        reader.fence()


def test_patterns_do_not_keep_a_local_topic_from_being_local(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=[{"match": "mine:>", "local": True}])
    here, there, publisher = nodes[0].client2(), nodes[1].client2(), nodes[0].client2()
    for client in (here, there):
        client.subscribe(pattern=">")
    publisher.publish_acked("mine:t", 1)
    publisher.publish_acked("far:t", 2)
    here.expect_message("mine:t", 1, 1, ">")
    here.expect_message("far:t", 2, 1, ">")
    there.expect_message("far:t", 2, 1, ">")


@pytest.mark.parametrize("topic", ["h:t", "x:t"])
def test_who_subscribes_by_pattern_is_told_that_something_may_be_missing(start_nodes, redis, topic):
    """When the node has lost its subscriptions for a moment; who subscribes by name needs no such thing."""
    nodes = start_nodes(2, redis, rules=DEEP)
    reader, other, publisher = nodes[1].client2(), nodes[1].client2(), nodes[0].client2()
    first = topic.split(":")[0] + ":*"
    reader.subscribe(pattern=first)
    reader.subscribe(pattern="other:*")
    other.subscribe(topic)
    publisher.publish_acked(topic, 1)
    reader.expect_message(topic, 1, 1, first)
    other.expect_message(topic, 1, 1)
    assert redis.cut_subscribers() >= 2
    told = [reader.recv_json() for _ in range(2)]
    assert sorted(json.dumps(one, sort_keys=True) for one in told) == sorted(
        json.dumps({"type": "gap", "pattern": pattern}, sort_keys=True) for pattern in (first, "other:*"))
    wait_ready(*nodes)
    assert eventually(lambda: publisher.ask("publish", topic=topic, data=2).get("offset")) == 2
    reader.expect_message(topic, 2, 2, first)
    other.expect_message(topic, 2, 2)


def test_history_of_topics_that_only_patterns_have_is_on_all_nodes(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=DEEP)
    reader, publisher = nodes[1].client2(), nodes[0].client2()
    reader.subscribe(pattern="h:*")
    for n in range(1, 6):
        publisher.publish_acked("h:t", n)
        reader.expect_message("h:t", n, n, "h:*")
    assert [m["data"] for m in reader.history("h:t")["messages"]] == [1, 2, 3, 4, 5]


def test_a_channel_goes_when_its_patterns_have_gone_and_others_stay(start_nodes, redis):
    nodes = start_nodes(2, redis)
    reader, leaver, publisher = nodes[1].client2(), nodes[1].client2(), nodes[0].client2()

    def channels():
        return sorted(redis.do("PUBSUB", "CHANNELS", "hermes:p:*"))

    reader.subscribe(pattern="stock:*")
    for pattern in (">", "x0:*", "x1:*"):
        leaver.subscribe(pattern=pattern)
    assert len(channels()) == 4
    for pattern in (">", "x0:*", "x1:*"):
        leaver.unsubscribe(pattern=pattern)
    assert eventually(lambda: len(channels()) == 1)
    assert channels() == [b"hermes:p:stock"]
    for topic, pattern in (("stock:a", "stock:*"), ("x0:a", "x0:*"), ("y:a", ">")):
        if pattern != "stock:*":
            reader.subscribe(pattern=pattern)
        publisher.publish_acked(topic, 1)
        reader.expect_message(topic, 1, 1, pattern)


def test_many_patterns_on_many_nodes(start_nodes, redis):
    nodes = start_nodes(3, redis)
    readers = []
    for n in range(many(300)):
        client = nodes[n % 3].client2() if n < 30 else readers[n % 30][0]
        client.subscribe(pattern=f"s{n}:*:>")
        readers.append((client, n))
    publishers = [node.client2() for node in nodes]
    for _, n in readers:
        publishers[(n + 1) % 3].publish(f"s{n}:a:b", n)
    for client in {client for client, _ in readers}:
        mine = {n for other, n in readers if other is client}
        assert {client.recv_json()["data"] for _ in mine} == mine
