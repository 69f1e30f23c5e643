"""Who is there, who comes and goes, listings and counts, over all nodes; and without a node that has died."""

import json

import pytest

from cluster_fixtures import figures, kill_node, redis, start_nodes, start_redis, wait_ready  # noqa: F401
from hermes_fixtures import eventually
from raw import CLOSE


def event(type, topic, client):
    return {"type": type, "topic": topic, "client": client}


def presence(client, topic):
    """Some commands are answered only when Redis is back: ask until it is."""
    got = client.ask("presence", topic=topic)
    return set(got["clients"]) if got["type"] == "presence" else None


# --- presence -------------------------------------------------------------------------------------

def test_presence_lists_the_subscribers_of_all_nodes(start_nodes, redis):
    nodes = start_nodes(3, redis)
    clients = [node.client2() for node in nodes for _ in range(3)]
    strangers = [node.client2() for node in nodes]
    for stranger in strangers:
        assert stranger.presence("t") == set()
    for n, client in enumerate(clients):
        client.subscribe("t")
        assert all(s.presence("t") == {c.me for c in clients[: n + 1]} for s in strangers)
    assert clients[0].presence("t") == {c.me for c in clients}
    for n, client in enumerate(clients):
        client.unsubscribe("t")
        assert all(s.presence("t") == {c.me for c in clients[n + 1:]} for s in strangers)


def test_level_1_clients_and_those_by_pattern_are_listed_too(start_nodes, redis):
    nodes = start_nodes(2, redis)
    asker, plain, by_pattern = nodes[0].client2(), nodes[1].client(), nodes[1].client2()
    plain.subscribe("a:b")
    by_pattern.subscribe(pattern="a:*")
    by_pattern.subscribe(pattern=">")
    got = asker.presence("a:b")
    assert len(got) == 2 and by_pattern.me in got
    assert asker.presence("a:c") == {by_pattern.me}


def test_presence_by_http_is_of_all_nodes(start_nodes, redis):
    nodes = start_nodes(2, redis)
    clients = [node.client2() for node in nodes for _ in range(2)]
    for client in clients:
        client.subscribe("t")
    for node in nodes:
        status, got = node.api("GET", "/api/presence?topic=t")
        assert status == 200 and set(got["clients"]) == {c.me for c in clients} and got["count"] == 4


def test_a_large_presence_is_whole(start_nodes, redis):
    nodes = start_nodes(2, redis)
    clients = [nodes[n % 2].client2() for n in range(200)]
    for client in clients:
        client.subscribe("t")
    assert nodes[0].client2().presence("t") == {c.me for c in clients}


# --- joins and leaves -----------------------------------------------------------------------------

def test_joins_and_leaves_are_told_on_all_nodes(start_nodes, redis):
    nodes = start_nodes(3, redis)
    watchers = [node.client2() for node in nodes]
    for n, watcher in enumerate(watchers):
        watcher.subscribe("t", presence=True)
        for other in watchers[:n]:
            assert other.recv_json() == event("join", "t", watcher.me)
    for round in range(5):
        for node in nodes:
            guest = node.client2()
            guest.subscribe("t")
            for watcher in watchers:
                assert watcher.recv_json() == event("join", "t", guest.me)
            if round % 2:
                guest.unsubscribe("t")
            else:
                guest.reset()
            for watcher in watchers:
                assert watcher.recv_json() == event("leave", "t", guest.me)
            guest.drop()
    for watcher in watchers:
        watcher.fence()


def test_who_does_not_watch_is_not_told(start_nodes, redis):
    nodes = start_nodes(2, redis)
    silent, watcher = nodes[0].client2(), nodes[0].client2()
    silent.subscribe("t")
    watcher.subscribe("t", presence=True)
    with nodes[1].client2() as guest:
        guest.subscribe("t")
        assert watcher.recv_json() == event("join", "t", guest.me)
    assert watcher.recv_json()["type"] == "leave"
    silent.fence()


def test_who_watches_by_pattern_is_told(start_nodes, redis):
    nodes = start_nodes(2, redis)
    watchers = [nodes[0].client2() for _ in range(2)]
    watchers[0].subscribe(pattern="a:*", presence=True)
    watchers[1].subscribe(pattern=">", presence=True)
    guest = nodes[1].client2()
    guest.subscribe("a:b")
    for watcher in watchers:
        assert watcher.recv_json() == event("join", "a:b", guest.me)
    guest.unsubscribe("a:b")
    for watcher in watchers:
        assert watcher.recv_json() == event("leave", "a:b", guest.me)


# --- listings and counts --------------------------------------------------------------------------

def test_topics_of_all_nodes_are_listed_with_all_their_subscribers(start_nodes, redis):
    nodes = start_nodes(3, redis)
    wanted = {}
    for k, node in enumerate(nodes):
        client = node.client2()
        for n in range(0, 30, k + 1):
            client.subscribe(f"t:{n:02}")
            wanted[f"t:{n:02}"] = wanted.get(f"t:{n:02}", 0) + 1
    for node in nodes:
        for client in (node.client2(), node.client()):
            assert client.counts("t:") == wanted


def test_a_listing_is_paged_over_nodes_without_leaving_any_out(start_nodes, redis):
    nodes = start_nodes(3, redis)
    names = []
    for k, node in enumerate(nodes):
        mine = [f"t:{n:03}" for n in range(k, 300, 3)] + [f"u:{k}"]
        names += mine
        node.client2().say(json.dumps({"type": "subscribe", "topics": mine}))
    asker = nodes[1].client2()
    eventually(lambda: len(asker.counts("")) == len(names), "all topics")
    for limit in (1, 7, 100, 1000):
        seen, after = [], ""
        while after is not None:
            got = asker.ask("topics", after=after, limit=limit, prefix="t:")
            assert len(got["topics"]) <= limit
            seen += [row["topic"] for row in got["topics"]]
            after = got.get("next")
        assert seen == sorted(n for n in names if n.startswith("t:"))


def test_the_api_lists_topics_of_all_nodes(start_nodes, redis):
    nodes = start_nodes(2, redis)
    for node in nodes:
        node.client2().subscribe("t")
        node.client2().subscribe("t")
    nodes[0].client2().subscribe("only:0")

    def rows(node):
        status, got = node.api("GET", "/api/topics")
        assert status == 200, got
        return {row["topic"]: row["subscribers"] for row in got["topics"]}

    for node in nodes:
        eventually(lambda: rows(node) == {"t": 4, "only:0": 1}, "the topics of all nodes")


# --- disconnect -----------------------------------------------------------------------------------

def test_a_client_is_disconnected_through_any_node(start_nodes, redis):
    nodes = start_nodes(3, redis)
    for k in range(3):
        clients = [node.client2() for node in nodes]
        status, got = nodes[k].api("POST", "/api/disconnect",
                                   {"client": clients[(k + 1) % 3].me, "code": 4003, "reason": "go"})
        assert (status, got) == (200, {"disconnected": 1})
        clients[(k + 1) % 3].expect_close(4003)
        for client in (clients[k], clients[(k + 2) % 3]):
            client.fence()


def test_a_user_is_disconnected_on_all_nodes(start_nodes, redis):
    import jwt
    secret = "0123456789abcdef0123456789abcdef"
    nodes = start_nodes(3, redis, jwt_secret=secret)
    bearer = [f"Authorization: Bearer {jwt.encode({'sub': 'alice'}, secret)}"]
    clients = [node.client2(extra=bearer) for node in nodes for _ in range(2)]
    others = [node.client2() for node in nodes]
    status, got = nodes[0].api("POST", "/api/disconnect", {"user": "alice"})
    assert (status, got) == (200, {"disconnected": 6})
    for client in clients:
        client.expect_close(4003)
    for client in others:
        client.fence()
    status, got = nodes[1].api("POST", "/api/disconnect", {"user": "alice"})
    assert status == 404


# --- nodes that die -------------------------------------------------------------------------------

def test_who_was_on_a_node_that_died_is_not_there_any_more(start_nodes, redis):
    nodes = start_nodes(3, redis)
    clients = [node.client2() for node in nodes for _ in range(2)]
    for client in clients:
        client.subscribe("t")
    lonely = nodes[2].client2()
    lonely.subscribe("lonely")
    asker = nodes[0].client2()
    assert asker.presence("t") == {c.me for c in clients}
    assert asker.counts("") == {"t": 6, "lonely": 1}
    eventually(lambda: asker.publish_acked("t", 1)[1] == 6, "six subscribers")
    kill_node(nodes[2])
    left = {c.me for c in clients[:4]}
    # Every answer meanwhile is one or the other, or that it cannot be told: none hangs.
    eventually(lambda: presence(asker, "t") == left, "presence without the dead")
    eventually(lambda: asker.publish_acked("t", 1)[1] == 4, "four subscribers")
    eventually(lambda: asker.counts("") == {"t": 4}, "a listing without the dead")
    node, = start_nodes(1, redis)
    with node.client2() as client:
        assert client.presence("t") == left


def test_a_node_that_hangs_does_not_hold_up_the_others(start_nodes, redis):
    """SIGSTOP: its connections stay."""
    import signal
    nodes = start_nodes(3, redis)
    clients = [node.client2() for node in nodes]
    for client in clients:
        client.subscribe("t")
    asker = nodes[0].client2()
    assert asker.presence("t") == {c.me for c in clients}
    nodes[2].kill(signal.SIGSTOP)
    try:
        assert asker.publish_acked("t", 1)[0] == 1
        for client in clients[:2]:
            client.expect_message("t", 1, 1)
        eventually(lambda: presence(asker, "t") == {c.me for c in clients[:2]}, "presence without it")
    finally:
        nodes[2].kill(signal.SIGCONT)
    clients[2].expect_message("t", 1, 1)
    eventually(lambda: presence(asker, "t") == {c.me for c in clients}, "presence with it again")


def test_a_node_that_ends_takes_its_clients_with_it(start_nodes, redis):
    nodes = start_nodes(2, redis)
    clients = [node.client2() for node in nodes]
    for client in clients:
        client.subscribe("t")
    assert nodes[1].stop() == 0
    asker = nodes[0].client2()
    assert asker.presence("t") == {clients[0].me}
    eventually(lambda: asker.publish_acked("t", 1)[1] == 1, "one subscriber")


def test_figures_tell_how_many_nodes_there_are(start_nodes, redis):
    nodes = start_nodes(3, redis)

    def seen():
        return [figures(node).get("hermes_cluster_nodes") for node in nodes]

    eventually(lambda: seen() == [3, 3, 3], "three nodes")
    kill_node(nodes.pop())
    eventually(lambda: seen() == [2, 2], "two nodes")
    assert nodes.pop().stop() == 0
    eventually(lambda: seen() == [1], "one node")


def test_figures_count_what_goes_through_redis(start_nodes, redis):
    nodes = start_nodes(2, redis)
    reader, publisher = nodes[1].client2(), nodes[0].client2()
    topics = [f"t:{n}" for n in range(5)]
    for topic in topics:
        reader.subscribe(topic)
        for n in range(1, 11):
            publisher.publish_acked(topic, n)
            reader.expect_message(topic, n, n)
    assert figures(nodes[0]).get("hermes_cluster_published_total") == 50
    assert figures(nodes[0]).get("hermes_cluster_refused_total") == 0
    assert figures(nodes[1]).get("hermes_cluster_received_total") == 50
    assert figures(nodes[1]).get("hermes_cluster_topics") == 5
    assert figures(nodes[1]).get("hermes_cluster_missed_total") == 0
    redis.cut_all()
    eventually(lambda: figures(nodes[1]).get("hermes_cluster_breaks_total") >= 2, "breaks that are counted")
    redis.kill()
    publisher.refused("unavailable", "publish", topic="t:0", data=1)
    assert figures(nodes[0]).get("hermes_cluster_refused_total") >= 1
