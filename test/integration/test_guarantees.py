"""The five guarantees, with checked sequence numbers under concurrent publishers.

"Broken by" says how the broker was broken on purpose to see the test fail.
"""

import json
import threading

import pytest

from hermes_fixtures import start_server_both_ways as start_server, within  # noqa: F401
from raw import command, publish_text, text

pytestmark = pytest.mark.parametrize("workers", [1, 3])


def collect(client, n):
    return [client.recv_text() for _ in range(n)]


def storm(server, names, topics, each):
    """Publishers that send [name, i] to the topics in turn, each at once; answers the futures."""
    futures = []
    for name in names:
        client = server.client()
        body = b"".join(text(publish_text(topics[i % len(topics)], json.dumps([name, i])))
                        for i in range(each))
        futures.append(within(client.send, body))
    return futures


# Broken by a mailbox that hands its batch out newest first.
def test_all_subscribers_see_a_topic_in_the_same_order(server):
    subscribers = [server.client() for _ in range(9)]
    for client in subscribers:
        client.subscribe("t")
    names, each = range(6), 300
    readers = [within(collect, c, each * len(names)) for c in subscribers]
    for done in storm(server, names, ["t"], each):
        done.result()
    seen = [reader.result() for reader in readers]
    for other in seen[1:]:
        assert other == seen[0]
    pairs = [json.loads(s) for s in seen[0]]
    for name in names:
        assert [i for n, i in pairs if n == name] == list(range(each))
    for client in subscribers:
        client.fence()


# Broken by posting to the workers after the stripe's lock has been given back.
def test_publishers_that_subscribe_see_the_same_order_as_everyone(server):
    clients = [server.client() for _ in range(6)]
    for client in clients:
        client.subscribe("t")
    each = 200
    readers = [within(collect, c, each * len(clients)) for c in clients]

    def publish(n, client):
        for i in range(each):
            client.publish("t", [n, i])

    for done in [within(publish, n, c) for n, c in enumerate(clients)]:
        done.result()
    seen = [reader.result() for reader in readers]
    for other in seen[1:]:
        assert other == seen[0]
    for client in clients:
        client.fence()


# Broken by a mailbox that hands its batch out newest first.
def test_one_publisher_is_heard_in_order_across_topics(server):
    topics = [f"t:{n}" for n in range(17)]
    names, each = range(4), 340
    subscribers = [server.client() for _ in range(6)]
    for client in subscribers:
        client.say(*(command("subscribe", t) for t in topics))
        for topic in topics:
            client.expect_subscribed(topic)
    readers = [within(collect, c, each * len(names)) for c in subscribers]
    for done in storm(server, names, topics, each):
        done.result()
    for reader in readers:
        pairs = [json.loads(s) for s in reader.result()]
        for name in names:
            assert [i for n, i in pairs if n == name] == list(range(each))


# Broken by adding a subscriber to the topic's set without looking for it first.
def test_repeated_subscribes_deliver_every_message_once(server):
    client, other = server.client(), server.client()
    for _ in range(5):
        client.subscribe("t")
        other.publish("t", 1)
        assert client.recv_text() == "1"
    client.say(*[command("subscribe", "t")] * 50)
    for _ in range(50):
        client.expect_subscribed("t")
    for i in range(100):
        other.publish("t", i)
    assert collect(client, 100) == [str(i) for i in range(100)]
    client.unsubscribe("t")
    other.publish("t", 1)
    other.fence()
    client.subscribe("mark")
    other.publish("mark", 2)
    assert client.recv_text() == "2"


# Broken by answering ack_subscribe before the topic is entered into the registry.
def test_what_is_published_after_an_ack_arrives_and_after_the_end_does_not(server):
    client = server.client()
    others = [server.client() for _ in range(6)]
    client.subscribe("mark")
    for round in range(40):
        other = others[round % len(others)]
        client.subscribe("t")
        other.publish("t", round)
        assert client.recv_text() == str(round)
        client.unsubscribe("t")
        other.publish("t", '"too late"')
        other.publish("mark", '"mark"')
        assert client.recv_text() == '"mark"'


# Broken by an unsubscribe that does not first deliver what lies in the mailbox.
def test_acks_keep_their_place_among_deliveries_in_a_storm(server):
    stop = threading.Event()
    publishers = [server.client() for _ in range(3)]

    def publish(name, client):
        # Hears itself, and so is never more than 200 ahead of the server.
        client.subscribe(f"echo:{name}")
        i = 0
        while not stop.is_set():
            client.say(*(publish_text("t", json.dumps([name, i + k])) for k in range(50)),
                       publish_text(f"echo:{name}", str(i)))
            i += 50
            if i > 200:
                client.recv_text()

    running = [within(publish, n, c) for n, c in enumerate(publishers)]
    try:
        subscribers = [server.client() for _ in range(3)]
        rounds = [within(in_and_out, client) for client in subscribers]
        for one in rounds:
            one.result()
    finally:
        stop.set()
        for one in running:
            one.result()


# Broken by delivering, between entering the subscriber and writing its ack, what other workers have
# posted meanwhile.
def test_no_delivery_comes_before_the_ack_of_its_subscription(server):
    stop = threading.Event()
    flooders = [server.client() for _ in range(2)]

    def flood(client):
        burst = b"".join(text(publish_text("t", "1")) for _ in range(300))
        while not stop.is_set():
            client.send(burst)
            client.fence()

    running = [within(flood, c) for c in flooders]
    try:
        client = server.client()
        for _ in range(3000):
            client.say(command("subscribe", "t"), command("unsubscribe", "t"))
            client.expect_subscribed("t")
            while isinstance(client.recv_json(), int):
                pass
    finally:
        stop.set()
        for one in running:
            one.result()


def in_and_out(client):
    last = {}
    for _ in range(40):
        client.say(command("subscribe", "t"))
        client.expect_subscribed("t")
        run, heard = {}, 0
        while heard < 20:
            heard += gapless(run, client.recv_json())
        client.say(command("unsubscribe", "t"))
        while True:
            got = client.recv_json()
            if isinstance(got, dict):
                assert got["type"] == "ack_unsubscribe", got
                break
            gapless(run, got)
        client.fence()
        for name, (first, newest) in run.items():
            assert first > last.get(name, -1), "came twice"
            last[name] = newest


def gapless(run, got):
    name, i = got
    first, newest = run.get(name, (i, i - 1))
    assert i == newest + 1, f"{i} after {newest}"
    run[name] = (first, i)
    return 1


# Broken by an unsubscribe that does not first deliver what lies in the mailbox, and by a subscribe
# that does not.
def test_pipelined_commands_are_answered_in_exactly_their_order(server):
    for round in range(20):
        client = server.client()
        topic = f"pipe:{round}"
        client.say(publish_text(topic, "0"), command("subscribe", topic), publish_text(topic, "1"),
                   command("unsubscribe", topic), publish_text(topic, "2"), "~")
        client.expect_subscribed(topic)
        assert client.recv_text() == "1"
        client.expect_unsubscribed(topic)
        assert client.recv_json()["type"] == "error"
        client.subscribe("mark")
        client.publish("mark", 3)
        assert client.recv_text() == "3"
        client.drop()


# Broken by a subscribe that does not first deliver what lies in the mailbox.
def test_what_is_published_before_a_subscribe_does_not_come(server):
    client, other = server.client(), server.client()
    other.subscribe("t")
    for round in range(20):
        client.say(publish_text("t", '"early"'), command("subscribe", "t"), publish_text("t", "1"),
                   command("unsubscribe", "t"))
        client.expect_subscribed("t")
        assert client.recv_text() == "1"
        client.expect_unsubscribed("t")
        assert [other.recv_text(), other.recv_text()] == ['"early"', "1"]


def test_a_long_pipeline_keeps_its_order(server):
    client = server.client()
    count = 200
    client.say(*(m for i in range(count) for m in (
        command("subscribe", "t"), publish_text("t", str(i)), publish_text("t", '"b"'),
        command("unsubscribe", "t"), publish_text("t", '"lost"'), command("unsubscribe", "t"))))
    for i in range(count):
        client.expect_subscribed("t")
        assert client.recv_text() == str(i)
        assert client.recv_text() == '"b"'
        client.expect_unsubscribed("t")
        client.expect_error("Not subscribed to t")
    client.fence()


def test_what_a_publisher_sent_before_it_closed_arrives(server):
    client = server.client()
    client.subscribe("t")
    for round in range(30):
        other = server.client()
        body = [publish_text("t", json.dumps([round, i])) for i in range(20)]
        other.send(*map(text, body), b"\x88\x80\0\0\0\0")
        assert [client.recv_json() for _ in range(20)] == [[round, i] for i in range(20)]
        other.expect_close(None)


def test_large_and_small_messages_keep_their_order(server):
    subscribers = [server.client() for _ in range(4)]
    for client in subscribers:
        client.subscribe("t")
    sizes = [1, 60_000, 2, 3, 200_000, 5, 70_000, 1, 125, 126, 127, 65_535, 65_536, 900_000, 7]
    readers = [within(lambda c=c: [len(c.recv_json()) for _ in sizes * 3]) for c in subscribers]
    publisher = server.client()
    for size in sizes * 3:
        publisher.publish("t", json.dumps("x" * size))
    for reader in readers:
        assert reader.result() == sizes * 3
