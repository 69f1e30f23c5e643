"""Several nodes on one Redis, or on several: they are one broker to their clients."""

import itertools
import json
import urllib.parse

import pytest

from cluster_fixtures import Load, many, redis, start_nodes, start_redis, wait_ready  # noqa: F401
from hermes_fixtures import eventually, within
from raw import burst, command, publish_text
from tls_support import Authority

DEEP = [{"match": "h:>", "history": 100_000}]
# With a history and without, which takes another way through Redis.
KEPT_OR_NOT = pytest.mark.parametrize("topic", ["h:t", "t"])


def read_messages(client, topic, count):
    """(offset, data) of so many messages, whose offsets follow one on the other."""
    out = []
    for _ in range(count):
        got = client.recv_json()
        client.check_message(got, topic, out[-1][0] + 1 if out else None)
        out.append((got["offset"], got["data"]))
    return out


# --- one order ------------------------------------------------------------------------------------

@KEPT_OR_NOT
@pytest.mark.parametrize("workers", [1, 3])
def test_all_nodes_publish_at_once_and_all_subscribers_see_one_order(start_nodes, redis, topic, workers):
    nodes = start_nodes(3, redis, rules=DEEP, workers=workers)
    each = many(800)
    readers = [node.client2() for node in nodes for _ in range(3)]
    plain = [node.client() for node in nodes for _ in range(2)]
    for client in (*readers, *plain):
        client.subscribe(topic)
    publishers = [node.client2() for node in nodes]
    reading = [within(read_messages, client, topic, 3 * each) for client in readers]
    reading_plain = [within(lambda c: [c.recv_json() for _ in range(3 * each)], client) for client in plain]
    writing = [within(client.send, burst(publish_text(topic, f"[{k},{n}]") for n in range(each)))
               for k, client in enumerate(publishers)]
    for one in writing:
        one.result()
    seen = [one.result() for one in reading]
    assert all(one == seen[0] for one in seen)
    data = [data for _, data in seen[0]]
    assert all(one.result() == data for one in reading_plain)
    for k in range(3):
        assert [n for who, n in data if who == k] == list(range(each))
    for client in (*readers, *plain):
        client.fence()


def test_what_one_connection_publishes_to_many_topics_comes_in_its_order(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    topics = ["h:a", "b", "h:c", "d:d", "h:e", "f"]
    readers = [node.client2() for node in nodes]
    for client in readers:
        for topic in topics:
            client.subscribe(topic)
    publisher = nodes[0].client2()
    total = many(1500)
    sent = [(topics[(n * n + n // 7) % len(topics)], n) for n in range(total)]
    reading = [within(lambda c: [c.recv_json() for _ in range(total)], client) for client in readers]
    publisher.send(burst(publish_text(topic, str(n)) for topic, n in sent))
    for one in reading:
        assert [(got["topic"], got["data"]) for got in one.result()] == sent


@KEPT_OR_NOT
def test_epoch_and_offsets_are_the_same_on_all_nodes(start_nodes, redis, topic):
    nodes = start_nodes(3, redis, rules=DEEP)
    clients = [node.client2() for node in nodes]
    first = clients[0].subscribe(topic)
    assert first["offset"] == 0
    for n, publisher in enumerate(itertools.islice(itertools.cycle(nodes), 9), 1):
        with publisher.client2() as guest:
            assert guest.publish_acked(topic, n)[0] == n
        clients[0].expect_message(topic, n, n)
    for client in clients[1:]:
        got = client.subscribe(topic)
        assert (got["epoch"], got["offset"]) == (first["epoch"], 9)
    clients[1].publish(topic, 10)
    for client in clients:
        client.expect_message(topic, 10, 10)


def test_offsets_go_on_while_subscribers_change_nodes(start_nodes, redis):
    nodes = start_nodes(2, redis)
    newest, epoch = 0, None
    for n in range(20):
        with nodes[n % 2].client2() as client:
            got = client.subscribe("t")
            # The node may not have heard of the newest one yet: then it comes behind the answer.
            assert newest - 1 <= got["offset"] <= newest and epoch in (None, got["epoch"])
            epoch = got["epoch"]
            client.publish("t", n)
            for offset in range(got["offset"] + 1, newest + 2):
                client.expect_message("t", offset - 1, offset)
            newest += 1


# --- acks -----------------------------------------------------------------------------------------

def test_an_ack_of_a_publish_has_the_offset_and_the_subscribers_of_all_nodes(start_nodes, redis):
    nodes = start_nodes(3, redis)
    publisher = nodes[0].client2()
    assert publisher.publish_acked("t", 0)[1] == 0
    clients = [node.client2() for node in nodes for _ in range(3)]
    for client in clients:
        client.subscribe("t")

    def counted(count):
        return lambda: publisher.publish_acked("t", 0)[1] == count

    eventually(counted(9), "nine subscribers")
    for n, client in enumerate(clients):
        client.tell("unsubscribe", topic="t")
        eventually(counted(8 - n), f"{8 - n} subscribers")


def post(node, topic, data, key):
    """Status and answer of one message with that key."""
    status, _, body = node.admin("POST", "/api/publish",
                                 {"topic": topic, "data": data, "idempotency_key": key})
    return status, json.loads(body)


@KEPT_OR_NOT
def test_a_key_publishes_once_whichever_node_is_asked(start_nodes, redis, topic):
    nodes = start_nodes(2, redis, rules=DEEP)
    readers = [node.client2() for node in nodes]
    for client in readers:
        client.subscribe(topic)
    for n in range(1, 6):
        status, first = post(nodes[n % 2], topic, n, f"key {n}")
        assert status == 200 and first["offset"] == n and "repeated" not in first
        for node in (nodes[1 - n % 2], nodes[n % 2]):
            for asked in (topic, "other"):
                status, again = post(node, asked, n, f"key {n}")
                assert status == 200 and again.pop("repeated") is True
                assert {**again, "subscribers": 0} == {**first, "subscribers": 0}
    asking = [within(post, nodes[n % 2], topic, "at once", "at once") for n in range(20)]
    answers = [one.result()[1] for one in asking]
    assert {got["offset"] for got in answers} == {6}
    assert sum("repeated" not in got for got in answers) == 1
    assert redis.do("EXISTS", "hermes:t:other") == 0
    assert 0 < redis.do("PTTL", "hermes:i:at once") <= 300_000
    for client in readers:
        for n in range(1, 6):
            client.expect_message(topic, n, n)
        client.expect_message(topic, "at once", 6)
        client.fence()


@KEPT_OR_NOT
def test_a_key_publishes_once_when_its_first_answer_was_unavailable(start_nodes, redis, topic):
    nodes = start_nodes(2, redis, rules=DEEP)
    client = nodes[0].client2()
    client.subscribe(topic)
    redis.pause()
    try:
        status, _ = post(nodes[0], topic, "once", "k")
        assert status == 503
    finally:
        redis.resume()
    wait_ready(*nodes)
    for node in (nodes[1], nodes[0]):
        status, got = post(node, topic, "once", "k")
        assert status == 200 and got["topic"] == topic and got["offset"] == 1, got
    assert nodes[1].client2().publish_acked(topic, 2)[0] == 2
    if topic == "h:t":
        client.expect_message(topic, "once", 1)
        client.expect_message(topic, 2, 2)


def test_subscribers_by_pattern_are_counted_on_the_publishers_node(start_nodes, redis):
    nodes = start_nodes(2, redis)
    publisher = nodes[0].client2()
    for node in nodes:
        node.client2().subscribe(pattern="a:*")
        node.client2().subscribe("a:b")
    eventually(lambda: publisher.publish_acked("a:b", 0)[1] == 3, "three subscribers")


def test_after_the_answer_to_a_subscribe_all_that_is_published_elsewhere_comes(start_nodes, redis):
    """Guarantee 5, with a topic that the node does not follow yet, and with one that it does."""
    nodes = start_nodes(3, redis, rules=DEEP)
    publishers = [node.client2() for node in nodes]
    readers = [node.client2() for node in nodes]
    for n in range(many(150)):
        publisher, reader = publishers[n % 3], readers[(n + 1 + n // 3 % 2) % 3]
        topic = f"{'h' if n % 2 else 'x'}:{n // 10 if n % 4 else n}"
        at = reader.subscribe(topic)["offset"]
        offset = publisher.publish_acked(topic, n)[0]
        while at < offset:
            # What the node had not heard of yet comes behind the answer, too.
            got = reader.recv_json()
            reader.check_message(got, topic, at + 1)
            at += 1
        assert got["data"] == n
        reader.unsubscribe(topic)
        publisher.publish_acked(topic, "late")
        reader.fence()


def test_after_the_answer_at_level_1_too(start_nodes, redis):
    nodes = start_nodes(2, redis)
    publisher, reader = nodes[0].client(), nodes[1].client()
    for n in range(many(100)):
        topic = f"x:{n % 7 * n}"
        reader.subscribe(topic)
        publisher.publish(topic, n)
        assert reader.recv_json() == n
        reader.unsubscribe(topic)


def test_answers_come_in_the_order_of_their_commands(start_nodes, redis):
    """Though some of them have to wait for Redis, and others do not. (Those for which all nodes are asked may
    come later: `topics`, `presence`.)"""
    node, = start_nodes(1, redis, rules=DEEP)
    client = node.client2()
    wanted, said = [], []
    for n in range(many(60)):
        for command, fields, answer in (
                ("subscribe", {"topic": f"x:{n}"}, "ack_subscribe"),
                ("ping", {}, "pong"),
                ("publish", {"topic": f"y:{n}", "data": n}, "ack_publish"),
                ("publish", {"topic": f"x:{n}", "data": n}, "ack_publish"),
                ("ping", {}, "pong"),
                ("history", {"topic": "h:t"}, "history"),
                ("unsubscribe", {"topic": f"x:{n}"}, "ack_unsubscribe"),
                ("unsubscribe", {"topic": f"x:{n}"}, "error"),
                ("subscribe", {"pattern": f"z{n}:*"}, "ack_subscribe"),
                ("topics", {"prefix": "none"}, "topics")):
            said.append(json.dumps({"type": command, "id": len(said), **fields}))
            wanted.append(answer)
    client.send(burst(said))
    got = []
    while len(got) < len(wanted):
        one = client.recv_json()
        if one["type"] != "message":
            got.append((one["id"], one["type"]))
    assert sorted(got) == list(enumerate(wanted))
    for kinds in ({"topics"}, set(wanted) - {"topics"}):
        numbers = [number for number, kind in got if kind in kinds]
        assert numbers == sorted(numbers)


def test_an_answer_comes_behind_what_the_client_itself_has_published(start_nodes, redis):
    node, other = start_nodes(2, redis)
    for make in (node.client2, node.client):
        client = make()
        client.subscribe("t")
        for n in range(many(100)):
            client.say(publish_text("t", str(n)), publish_text("t", '"again"'),
                       command("subscribe", "t"))
            kinds = [client.recv_json() for _ in range(3)]
            data = [k["data"] if isinstance(k, dict) and "data" in k else k for k in kinds[:2]]
            assert data == [n, "again"] and kinds[2]["type"] == "ack_subscribe"
    with other.client2() as client:
        client.fence()


def test_many_topics_are_subscribed_at_once(start_nodes, redis):
    nodes = start_nodes(2, redis)
    topics = [f"t:{n}" for n in range(1000)]
    reader, publisher = nodes[0].client2(), nodes[1].client2()
    reader.say(json.dumps({"type": "subscribe", "topics": topics}))
    for topic in topics:
        got = reader.recv_json()
        assert (got["type"], got["topic"]) == ("ack_subscribe", topic)
    publisher.send(burst(publish_text(topic, json.dumps(topic)) for topic in topics))
    for topic in topics:
        reader.expect_message(topic, topic, 1)
    reader.fence()


# --- what is published ----------------------------------------------------------------------------

@pytest.mark.parametrize("prefix", ["h:", ""])
def test_data_comes_byte_for_byte(start_nodes, redis, prefix):
    nodes = start_nodes(2, redis, rules=DEEP)
    reader, two, publisher = nodes[1].client(), nodes[1].client2(), nodes[0].client()
    topic = prefix + "t"
    reader.subscribe(topic)
    two.subscribe(topic)
    data = ["170.50", "1e400", '{ "a" : 1,"a":2 }', '"ż\U0001f422"', r'"\u0041\/\u0000"', "null", "false", '""',
            "9" * 200, '"%s"' % ("y" * 70_000), "[ ]", '"%s"' % ("z" * 900_000), "0"]
    for value in data:
        publisher.publish(topic, value)
        assert reader.recv_text() == value
    for n, value in enumerate(data, 1):
        assert two.recv_text() == '{"type":"message","topic":"%s","data":%s,"offset":%d}' % (topic, value, n)


@pytest.mark.parametrize("topic", [" ", "a b", "*", "a:*:>", "{a}b{c}", "ż\U0001f422", '"\\', "::", "x" * 1024, "h:" + "é" * 511])
def test_a_topic_may_have_any_name(start_nodes, redis, topic):
    nodes = start_nodes(2, redis, rules=DEEP)
    reader, publisher = nodes[1].client2(), nodes[0].client2()
    reader.subscribe(topic)
    for n in range(1, 4):
        assert publisher.publish_acked(topic, n)[0] == n
        reader.expect_message(topic, n, n)
    reader.fence()


def test_with_echo_off_nobody_but_the_publisher_goes_without(start_nodes, redis):
    """Ids of clients are not mixed up between nodes."""
    nodes = start_nodes(3, redis)
    clients = [node.client2() for node in nodes for _ in range(4)]
    for client in clients:
        client.subscribe("t")
    for n, publisher in enumerate(clients, 1):
        assert publisher.ask("publish", topic="t", data=n, echo=False)["offset"] == n
        for client in clients:
            if client is not publisher:
                client.expect_message("t", n, n)
    for client in clients:
        client.fence()
    assert len({client.me for client in clients}) == len(clients)


def test_a_rule_says_which_topics_stay_on_their_node(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=[{"match": "mine:>", "local": True, "history": 10}])
    here, there, publisher = nodes[0].client2(), nodes[1].client2(), nodes[0].client2()
    epochs = {client.subscribe("mine:t")["epoch"] for client in (here, there)}
    assert len(epochs) == 2
    for n in range(1, 6):
        assert publisher.publish_acked("mine:t", n) == (n, 1)
        here.expect_message("mine:t", n, n)
    publisher.publish_acked("far", 1)
    there.fence()
    assert there.history("mine:t")["messages"] == []
    assert not [key for key in redis.do("KEYS", "*") if b"mine" in key]


def test_a_publish_by_http_reaches_the_other_nodes(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=DEEP)
    reader = nodes[1].client2()
    epoch = reader.subscribe("h:t")["epoch"]
    status, got = nodes[0].api("POST", "/api/publish", {"topic": "h:t", "data": 1})
    assert status == 200 and (got["offset"], got["epoch"]) == (1, epoch)
    status, got = nodes[0].api("POST", "/api/publish",
                               [{"topic": "h:t", "data": n} for n in range(2, 102)])
    assert status == 200 and [one["offset"] for one in got] == list(range(2, 102))
    for n in range(1, 102):
        reader.expect_message("h:t", n, n)
    for node in nodes:
        status, got = node.api("GET", "/api/history?topic=h:t&limit=1000")
        assert status == 200 and [m["data"] for m in got["messages"]] == list(range(1, 102))
    status, got = nodes[1].api("GET", "/api/topics/" + urllib.parse.quote("h:t", safe=""))
    assert status == 200 and (got["epoch"], got["offset"], got["subscribers"]) == (epoch, 101, 1)


def test_without_redis_nothing_has_changed(start_server):
    """One node alone, for comparison: it says nothing of a cluster."""
    node = start_server()
    client = node.client2()
    client.subscribe("t")
    assert client.ask_among("publish", topic="t", data=1)[1]["offset"] == 1
    assert "redis" not in node.log().lower()


# --- which Redis ----------------------------------------------------------------------------------

def check_shared(nodes):
    reader, publisher = nodes[1].client2(), nodes[0].client2()
    for topic in ("h:t", "t"):
        epoch = reader.subscribe(topic)["epoch"]
        for n in range(1, 21):
            assert publisher.publish_acked(topic, n)[0] == n
            reader.expect_message(topic, n, n)
        assert nodes[0].client2().subscribe(topic)["epoch"] == epoch
    assert [m["data"] for m in reader.history("h:t")["messages"]] == list(range(1, 21))


@pytest.mark.parametrize("secret", ["secret", "p@ss:w/rd%,#?é"])
def test_a_password_is_given(start_redis, start_nodes, secret):
    redis = start_redis(password=secret)
    nodes = start_nodes(2, redis.url(password=urllib.parse.quote(secret, safe="")), rules=DEEP)
    check_shared(nodes)
    for node in nodes:
        assert secret not in node.log() and urllib.parse.quote(secret, safe="") not in node.log()
        assert secret.encode() not in open(f"/proc/{node.pid}/cmdline", "rb").read()


def test_a_user_with_the_rights_that_are_needed_is_enough(start_redis, start_nodes):
    redis = start_redis(user="hermes", password="secret")
    check_shared(start_nodes(2, redis, rules=DEEP))


def test_a_database_has_keys_of_its_own(start_redis, start_nodes):
    redis = start_redis()
    check_shared(start_nodes(2, redis.url(db=3), rules=DEEP))
    space = redis.do("INFO", "keyspace").decode()
    assert "db3:" in space and "db0:" not in space


def test_several_servers_share_the_topics(start_redis, start_nodes):
    servers = [start_redis() for _ in range(3)]
    nodes = start_nodes(3, servers, rules=DEEP)
    topics = [f"h:{n}" for n in range(60)]
    readers = [node.client2() for node in nodes]
    for client in readers:
        client.say(json.dumps({"type": "subscribe", "topics": topics}))
        for topic in topics:
            assert client.recv_json()["type"] == "ack_subscribe"
    publishers = [node.client2() for node in nodes]
    for k, client in enumerate(publishers):
        client.send(burst(publish_text(topic, f"[{k},{n}]") for n in range(10) for topic in topics))
    seen = []
    for client in readers:
        by_topic = {topic: [] for topic in topics}
        for _ in range(30 * len(topics)):
            got = client.recv_json()
            by_topic[got["topic"]].append(got["data"])
            assert got["offset"] == len(by_topic[got["topic"]])
        seen.append(by_topic)
    assert seen[0] == seen[1] == seen[2]
    kept = [len([k for k in one.do("KEYS", "hermes:h:*")]) for one in servers]
    assert sum(kept) == len(topics) and min(kept) > 5, kept


def test_patterns_get_from_all_of_several_servers(start_redis, start_nodes):
    nodes = start_nodes(2, [start_redis() for _ in range(3)], rules=DEEP)
    reader, publisher = nodes[0].client2(), nodes[1].client2()
    for pattern in ("a:*", ">"):
        reader.subscribe(pattern=pattern)
        for n in range(40):
            publisher.publish_acked(f"a:{n}", pattern)
        got = [reader.recv_json() for _ in range(40)]
        assert sorted(one["topic"] for one in got) == sorted(f"a:{n}" for n in range(40))
        assert all(one["data"] == pattern for one in got)


@pytest.fixture
def redis_tls(start_redis, tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem())
    pair = authority.issue().write(tmp_path)
    return start_redis(tls=(pair, tmp_path / "ca.pem"))


def test_redis_through_tls(redis_tls, start_nodes, tmp_path):
    check_shared(start_nodes(2, redis_tls, rules=DEEP, redis_ca=tmp_path / "ca.pem"))


def test_a_redis_whose_certificate_does_not_hold_is_not_talked_to(redis_tls, start_nodes):
    node, = start_nodes(1, redis_tls, wait=False)
    node.wait_log("(?i)redis.*certificate|certificate.*redis")
    assert node.get("/readyz").status == 503
    with node.client2() as client:
        client.refused("unavailable", "publish", topic="t", data=1)
    # Some may be shaking hands just now; none has said anything.
    assert all(one["cmd"] == "NULL" for one in redis_tls.clients())


# --- under load -----------------------------------------------------------------------------------

def test_under_load_nothing_is_lost_doubled_or_out_of_order(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "h:b", "c"], listeners=3)
    load.run(600)
    load.end()
    for one in load.followers:
        assert one.connections == 1
