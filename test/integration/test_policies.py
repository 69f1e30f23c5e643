"""Subscribers that do not read, by their policy: who is cut, who loses what, and is told so.

"Broken by" says how the broker was broken on purpose to see the test fail.
"""

import json

import pytest

from hermes_fixtures import eventually, sanitized, within
from raw import CLOSE, Client2, Ended, burst, command, publish_text, since
from test_slow import Window, flood

WORKERS = pytest.mark.parametrize("workers", [1, 2])
SIZE = 30_000


def numbered(topic, n, size=SIZE):
    return publish_text(topic, '"%06d%s"' % (n, "x" * (size - 8)))


def stalled(server, topic="t", **more):
    """A client that has subscribed and reads no more."""
    client = server.client2(rcvbuf=4096)
    client.subscribe(topic, **more)
    return client


class Account:
    """What came of each topic: messages and gaps, which together are everything in order."""

    def __init__(self, next=1, pattern=None):
        self.next = {}
        self.first = next
        self.got = []
        self.gaps = []
        self.told = set()  # topics of which the last word was a gap
        self.pattern = pattern

    def add(self, got):
        topic = got["topic"]
        expected = self.next.get(topic, self.first)
        if got["type"] == "gap":
            assert set(got) == {"type", "topic", "from", "to"}, got
            assert got["from"] == expected and got["to"] >= got["from"], (got, expected)
            self.told.add(topic)
            self.gaps.append(got)
            self.next[topic] = got["to"] + 1
            return
        Client2.check_message(got, topic, expected, self.pattern)
        assert int(got["data"][:6]) == got["offset"], (got["data"][:6], got["offset"])
        self.told.discard(topic)
        self.got.append((topic, got["offset"]))
        self.next[topic] = expected + 1

    def read(self, client, ends):
        """Until the last message of every topic has come: ends is {topic: offset}."""
        while any(self.next.get(t, self.first) <= n for t, n in ends.items()):
            self.add(client.recv_json())
        assert not self.told, "a gap, and nothing behind it"

    def lost(self):
        return sum(g["to"] - g["from"] + 1 for g in self.gaps)


def read_all(client, topic, count, window, index):
    for n in range(1, count + 1):
        got = client.recv_json()
        client.check_message(got, topic, n)
        assert got["data"].startswith("%06d" % n)
        window.reached(index, n)


# Broken by cutting off whoever holds the log's first chunk, whatever its policy; by gaps that begin
# one message late; by dropping once more the run of which only a begun frame was left (plan_make).
@WORKERS
@pytest.mark.parametrize("policy", ["drop_oldest", "latest"])
@pytest.mark.parametrize("io_uring", ["auto", "off"])
def test_who_may_lose_messages_is_told_which_and_stays(start_server, workers, policy, io_uring):
    server = start_server(workers=workers, max_backlog_bytes="1m", io_uring=io_uring)
    count = 500
    slow = [stalled(server, policy=policy) for _ in range(4)]
    strict = [server.client2() for _ in range(3)]
    for client in strict:
        client.subscribe("t", policy="disconnect")
    window = Window(len(strict), 20)
    readers = [within(read_all, c, "t", count, window, n) for n, c in enumerate(strict)]
    publisher = server.client2()
    for n in range(1, count + 1):
        window.wait(n)
        publisher.say(numbered("t", n))
    publisher.fence()
    for reader in readers:
        reader.result()
    for client in slow:
        account = Account()
        account.read(client, {"t": count})
        assert account.gaps and account.lost() + len(account.got) == count
        assert len(account.gaps) <= 5, "one would have told it all"
        client.fence()
    # And go on as if nothing had been.
    for n in range(1, 6):
        publisher.publish("t", n)
        for client in slow + strict:
            client.expect_message("t", n, count + n)


# Broken by a policy that is taken for another.
@WORKERS
def test_policies_beside_each_other_each_do_their_own(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m")
    kinds = ["drop_oldest", "latest", "disconnect", None] * 2
    clients = [stalled(server, **({"policy": p} if p else {})) for p in kinds]
    plain = server.client(rcvbuf=4096)
    plain.subscribe("t")
    publisher = server.client2()
    for n in range(1, 401):
        publisher.say(numbered("t", n))
    publisher.fence()
    eventually(lambda: publisher.counts("t") == {"t": 4}, "the end of the strict ones")
    for policy, client in zip(kinds, clients):
        if policy in ("drop_oldest", "latest"):
            account = Account()
            account.read(client, {"t": 400})
            assert account.gaps
            client.fence()
        else:
            frames = client.until_end()
            if frames[-1].opcode == CLOSE:
                client.check_close(frames.pop(), 4008)
            for n, got in enumerate(frames):
                client.check_message(json.loads(got.payload), "t", n + 1)
            assert len(frames) < 400
    assert len(plain.until_end()) < 400


# Broken by treating it as drop_oldest.
@WORKERS
def test_latest_keeps_the_newest_only_even_within_the_budget(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="64m")
    client = stalled(server, policy="latest")
    other = stalled(server, policy="drop_oldest")
    publisher = server.client2()
    for n in range(1, 501):
        publisher.say(numbered("t", n))
    publisher.fence()
    account = Account()
    account.read(client, {"t": 500})
    assert account.gaps[-1]["to"] == 499 and account.got[-1] == ("t", 500)
    first = account.gaps[0]["from"]
    assert len([o for _, o in account.got if o > first]) <= 20, account.gaps
    # Who may lose the oldest loses nothing while there is room.
    account = Account()
    account.read(other, {"t": 500})
    assert account.gaps == []


@WORKERS
def test_drop_oldest_keeps_as_much_as_there_is_room_for(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="2m")
    client = stalled(server, policy="drop_oldest")
    publisher = server.client2()
    for n in range(1, 501):
        publisher.say(numbered("t", n))
    publisher.fence()
    account = Account()
    account.read(client, {"t": 500})
    tail = 500 - account.gaps[-1]["to"]
    # A good part of the budget is what is left; never the oldest in place of the newest.
    assert tail * SIZE > 512 * 1024, (tail, account.gaps)


@WORKERS
def test_each_topic_has_its_own_newest_and_its_own_gaps(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m")
    client = server.client2(rcvbuf=4096)
    topics = [f"t:{n}" for n in range(30)]
    for n, topic in enumerate(topics):
        client.subscribe(topic, policy="latest" if n % 2 else "drop_oldest")
    publisher = server.client2()
    ends = dict.fromkeys(topics, 0)
    for n in range(1200):
        topic = topics[n * n % 7 * 4 % 30] if n % 3 else topics[n % 30]
        ends[topic] += 1
        publisher.say(numbered(topic, ends[topic], 10_000))
    for topic in topics:
        ends[topic] += 1
        publisher.say(numbered(topic, ends[topic], 1000))
    publisher.fence()
    account = Account()
    account.read(client, ends)
    assert account.gaps
    assert account.lost() + len(account.got) == sum(ends.values())
    client.fence()


@WORKERS
@pytest.mark.parametrize("policy", ["drop_oldest", "latest"])
def test_a_loss_is_told_though_its_topic_stays_quiet(start_server, workers, policy):
    server = start_server(workers=workers, max_backlog_bytes="1m")
    client = server.client2(rcvbuf=4096)
    client.subscribe("quiet", policy=policy)
    client.subscribe("t", policy="drop_oldest")
    publisher = server.client2()
    for n in range(1, 201):
        publisher.say(numbered("t", n))
    for n in range(1, 6):
        publisher.say(numbered("quiet", n, 1000))
    for n in range(201, 401):
        publisher.say(numbered("t", n))
    publisher.fence()
    account = Account()
    while account.next.get("quiet", 1) <= 5 or account.next.get("t", 1) <= 400:
        account.add(client.recv_json())
    assert any(g["topic"] == "quiet" for g in account.gaps), account.gaps


def new_topics(server, client, count, size):
    """One message to each of them, while the client does not read."""
    publisher = server.client2()
    sizes = []
    for first in range(0, count, 2000):
        publisher.send(burst(b'{"topic":"new:%d","data":"000001%s"}' % (n, b"x" * size)
                             for n in range(first, first + 2000)))
        publisher.ask("ping")
        sizes.append(server.memory())
    return sizes


def account_of(client, count):
    """The topics whose message has come, and those whose loss was told."""
    seen, told = set(), set()
    while len(seen) + len(told) < count:
        got = client.recv_json()
        assert got["topic"] not in seen and got["topic"] not in told, got
        if got["type"] == "gap":
            assert got["from"] == got["to"] == 1, got
            told.add(got["topic"])
        else:
            assert got["offset"] == 1 and got["pattern"] == "new:*", got
            seen.add(got["topic"])
    return seen, told


@WORKERS
@pytest.mark.parametrize("policy", ["drop_oldest", "latest"])
def test_losses_in_many_topics_are_all_told(start_server, workers, policy):
    server = start_server(workers=workers, max_backlog_bytes="2m")
    client = server.client2(rcvbuf=4096)
    client.subscribe(pattern="new:*", policy=policy)
    new_topics(server, client, 8000, 1000)
    seen, told = account_of(client, 8000)
    assert told and seen
    client.fence()


# What a stranger makes many of is bounded: also what there is to tell about losses.
@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
def test_losses_in_ever_new_topics_cost_no_more_than_the_budget(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m")
    client = server.client2(rcvbuf=4096)
    client.subscribe(pattern="new:*", policy="drop_oldest")
    sizes = new_topics(server, client, 120_000, 100)
    # The topics themselves cost up to 300 bytes each here.
    assert sizes[-1] - sizes[0] < (36 + 10) << 20, [s >> 10 for s in sizes]
    frames = client.until_end() if server.client2().presence("new:1") == set() else None
    if frames is None:
        account_of(client, 120_000)


@WORKERS
def test_a_strict_subscription_beside_a_lenient_one_is_never_robbed(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m")
    client = server.client2(rcvbuf=4096)
    client.subscribe("strict")
    client.subscribe("t", policy="latest")
    publisher = server.client2()
    for n in range(1, 31):
        publisher.say(numbered("strict", n, 2000), *(numbered("t", k, 20_000)
                                                     for k in range(n * 20 - 19, n * 20 + 1)))
    publisher.fence()
    account = Account()
    try:
        while account.next.get("strict", 1) <= 30 or account.next.get("t", 1) <= 600:
            got = client.recv()
            if got.opcode == CLOSE:
                client.check_close(got, 4008)
                raise Ended("cut")
            account.add(json.loads(got.payload))
    except Ended:
        # To be cut off for the strict one's sake is right too; to lose of it is not.
        eventually(lambda: publisher.counts("t") == {}, "the cut")
    assert all(g["topic"] == "t" for g in account.gaps)


@WORKERS
@pytest.mark.parametrize("policy", ["drop_oldest", "latest"])
def test_a_policy_by_pattern_holds_for_all_topics_that_match(start_server, workers, policy):
    server = start_server(workers=workers, max_backlog_bytes="1m")
    client = server.client2(rcvbuf=4096)
    client.subscribe(pattern="t:*", policy=policy)
    publisher = server.client2()
    topics = [f"t:{n}" for n in range(5)]
    for n in range(1, 101):
        publisher.say(*(numbered(topic, n) for topic in topics))
    publisher.fence()
    account = Account(pattern="t:*")
    account.read(client, dict.fromkeys(topics, 100))
    assert account.gaps and account.lost() + len(account.got) == 500
    client.fence()


# Broken by copying, out of the log's first chunk, the beginnings of frames that could as well be lost:
# their rests had to be copied then, until there was no room for more.
@WORKERS
def test_who_stalls_for_long_loses_one_piece_and_stays(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m")
    clients = [stalled(server, policy="drop_oldest") for _ in range(workers)]
    publisher = server.client2()
    for first in range(1, 4001, 20):
        publisher.say(*(numbered("t", n) for n in range(first, first + 20)))
    publisher.fence()
    for client in clients:
        account = Account()
        account.read(client, {"t": 4000})
        assert len(account.gaps) == 1, account.gaps
        client.fence()


# Broken by the rule's policy put above the subscription's.
@WORKERS
def test_the_rules_policy_holds_where_none_is_given(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m", rules=[
        {"match": "l:*", "policy": "latest"}, {"match": "d:*", "policy": "disconnect"}])
    cases = [("l:a", None, True), ("l:a", "disconnect", False), ("l:a", "drop_oldest", True),
             ("d:a", None, False), ("d:a", "latest", True)]
    publisher = server.client2()
    for topic, policy, stays in cases:
        client = stalled(server, topic, **({"policy": policy} if policy else {}))
        for n in range(1, 301):
            publisher.say(numbered(topic, n))
        publisher.fence()
        if stays:
            account = Account()
            account.read(client, {topic: 300})
            assert account.gaps
            client.fence()
            client.unsubscribe(topic)
        else:
            eventually(lambda: publisher.counts(topic) == {}, "the cut")
            client.drop()


def test_level_1_is_cut_whatever_the_rule_says(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m", rules=[{"match": "t", "policy": "latest"}])
    client, publisher = server.client(rcvbuf=4096), server.client()
    client.subscribe("t")
    for n in range(1, 301):
        publisher.say(numbered("t", n))
    publisher.fence()
    eventually(lambda: publisher.counts("t") == {}, "the cut")
    frames = client.until_end()
    if frames[-1].opcode == CLOSE:
        client.check_close(frames.pop(), 4008)
    for n, got in enumerate(frames):
        assert got.payload.startswith(b'"%06d' % (n + 1))


def test_subscribing_again_changes_the_policy(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m")
    publisher = server.client2()
    client = stalled(server)
    client.subscribe("t", policy="latest")
    for n in range(1, 301):
        publisher.say(numbered("t", n))
    publisher.fence()
    account = Account()
    account.read(client, {"t": 300})
    assert account.gaps
    client.subscribe("t", policy="disconnect")
    for n in range(301, 601):
        publisher.say(numbered("t", n))
    publisher.fence()
    eventually(lambda: publisher.counts("t") == {}, "the cut")


# The whole point: the same socket brings what was lost.
@WORKERS
@pytest.mark.parametrize("policy", ["drop_oldest", "latest"])
def test_history_repairs_a_gap_on_the_same_socket(start_server, workers, policy):
    server = start_server(workers=workers, max_backlog_bytes="1m",
                          rules=[{"match": "t", "history": 1000}])
    client = server.client2(rcvbuf=4096)
    epoch = client.subscribe("t", policy=policy)["epoch"]
    publisher = server.client2()
    for n in range(1, 401):
        publisher.say(numbered("t", n))
    publisher.fence()
    account = Account()
    account.read(client, {"t": 400})
    seen = {o for _, o in account.got}
    for gap in account.gaps:
        at = gap["from"] - 1
        while at < gap["to"]:
            limit = min(20, gap["to"] - at)
            got = client.history("t", since=since(epoch, at), limit=limit)
            assert got["recovered"] and len(got["messages"]) == limit
            for m in got["messages"]:
                assert int(m["data"][:6]) == m["offset"] and m["offset"] not in seen
                seen.add(m["offset"])
            at += limit
    assert seen == set(range(1, 401))
    client.fence()


# Answers are never lost, and keep their places.
@WORKERS
def test_answers_are_not_dropped_with_messages(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m")
    client = stalled(server, policy="drop_oldest")
    publisher = server.client2()
    for n in range(1, 401):
        publisher.say(numbered("t", n))
        if n % 10 == 0:
            publisher.fence()
            client.tell("ping")
            client.tell("subscribe", topic=f"u:{n}")
    publisher.fence()
    account, answers = Account(), []
    while len(answers) < 80 or account.next.get("t", 1) <= 400:
        got = client.recv_json()
        if got["type"] in ("message", "gap"):
            account.add(got)
        else:
            assert got["type"] in ("pong", "ack_subscribe"), got
            answers.append(got["id"])
    assert answers == sorted(answers) and len(answers) == 80
    assert account.gaps and account.lost() + len(account.got) == 400
    client.fence()


@WORKERS
def test_a_slow_reader_that_goes_on_reading_is_always_told_the_truth(start_server, workers):
    server = start_server(workers=workers, max_backlog_bytes="1m")
    clients = [stalled(server, policy=p) for p in ("drop_oldest", "latest", "drop_oldest", "latest")]
    publisher = server.client2()
    accounts = [Account() for _ in clients]
    count = 0
    for round in range(12):
        for _ in range(100):
            count += 1
            publisher.say(numbered("t", count, 20_000))
        publisher.fence()
        for k, (client, account) in enumerate(zip(clients, accounts)):
            # Each reads a while, and not to the end.
            for _ in range((round * 7 + k * 3) % 40):
                if account.next.get("t", 1) <= count:
                    account.add(client.recv_json())
    for client, account in zip(clients, accounts):
        account.read(client, {"t": count})
        assert account.gaps and account.lost() + len(account.got) == count
        client.fence()


def test_small_messages_in_large_runs_are_lost_and_told_exactly(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m")
    clients = [stalled(server, policy=p) for p in ("drop_oldest", "latest")]
    publisher = server.client2()
    count = 60_000
    for first in range(1, count + 1, 1000):
        publisher.send(burst(numbered("t", n, 100) for n in range(first, first + 1000)))
        if first % 10_000 == 1:
            publisher.fence()
    publisher.fence()
    for client in clients:
        account = Account()
        account.read(client, {"t": count})
        assert account.gaps and account.lost() + len(account.got) == count
        client.fence()


@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
@WORKERS
def test_stalled_lenient_clients_cost_no_more_than_the_budget(start_server, workers):
    # Room for the frame that each of them has got a part of.
    server = start_server(workers=workers, max_backlog_bytes="8m")
    publisher = server.client2()
    clients = [stalled(server, policy=("drop_oldest", "latest")[n % 2]) for n in range(60)]
    # What the kernel takes for them first.
    for n in range(1, 151):
        publisher.say(numbered("t", n))
    publisher.fence()
    server.reset_peak()
    before = server.memory()
    for n in range(151, 1501):
        publisher.say(numbered("t", n))
    publisher.fence()
    assert publisher.counts("t") == {"t": 60}
    growth = server.peak_memory() - before
    assert growth < workers * (8 << 20) + (12 << 20), f"{growth >> 10} KiB"
    for client in clients[::20]:
        account = Account()
        account.read(client, {"t": 1500})
        client.fence()


def test_what_a_slow_client_publishes_itself_is_part_of_its_account(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m")
    client = stalled(server, policy="drop_oldest")
    other = stalled(server, policy="latest")

    def publish():
        for n in range(1, 301):
            client.say(numbered("t", n))

    # It is not read from any more while what is for it waits, and so reads again at some time.
    publishing = within(publish)
    mine, others = Account(), Account()
    mine.read(client, {"t": 300})
    publishing.result()
    others.read(other, {"t": 300})
    for account in (mine, others):
        assert account.lost() + len(account.got) == 300


def test_an_unsubscribe_of_a_stalled_client_leaves_no_half_told_gap(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m")
    client = stalled(server, policy="drop_oldest")
    publisher = server.client2()
    for n in range(1, 401):
        publisher.say(numbered("t", n))
    publisher.fence()
    number = client.tell("unsubscribe", topic="t")
    account = Account()
    while True:
        got = client.recv_json()
        if got["type"] == "ack_unsubscribe":
            assert got["id"] == number
            break
        account.add(got)
    assert not account.told, "a gap, and nothing behind it"
    # All that was for it until then came or was told.
    assert account.next["t"] == 401 and account.gaps
    publisher.publish("t", 0)
    client.fence()
    client.subscribe("t", policy="drop_oldest")
    publisher.publish("t", 1)
    assert client.recv_json()["data"] == 1
    client.fence()


def test_replays_to_a_stalled_lenient_client_are_told_exactly_too(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m", rules=[{"match": "t", "history": 20}])
    publisher = server.client2()
    clients = [server.client2(rcvbuf=4096) for _ in range(4)]
    for client in clients:
        client.subscribe("u", policy="drop_oldest")
    for n in range(1, 801):
        publisher.say(numbered("u", n, 10_000), numbered("t", n, 1000))
    publisher.fence()
    epoch = publisher.history("t", limit=1)["epoch"]
    for n, client in enumerate(clients):
        client.tell("subscribe", topic="t", policy=("latest", "drop_oldest")[n % 2],
                    since=since(epoch, 797))
    eventually(lambda: publisher.counts("t") == {"t": 4}, "the subscriptions")
    for n in range(801, 1001):
        publisher.say(numbered("u", n, 10_000), numbered("t", n, 1000))
    publisher.fence()
    for client in clients:
        account = Account()
        while "t" not in account.next:
            got = client.recv_json()
            if got["type"] == "ack_subscribe":
                assert got["recovered"] is True and got["offset"] == 800, got
                account.next["t"] = 798
            else:
                assert got["topic"] == "u", got
                account.add(got)
        account.read(client, {"u": 1000, "t": 1000})
        assert account.gaps
        client.fence()


FLOODS = {
    "acks": lambda: burst(['{"topic":"t","data":1,"id":"%s"}' % ("x" * 60)] * 1000),
    "histories": lambda: burst(['{"type":"history","topic":"kept","limit":1000}'] * 1000),
    "presences": lambda: burst(['{"type":"presence","topic":"hall"}'] * 1000),
    "pongs": lambda: burst(['{"type":"ping","id":"%s"}' % ("x" * 60)] * 1000),
    "batches": lambda: burst([json.dumps({"type": kind, "topics": ["b" * 200 + str(n) for n in range(1000)]})
                              for kind in ("subscribe", "unsubscribe")]),
    "replays": lambda: burst(m for _ in range(100) for m in (
        command("subscribe", "kept", replay=1000), command("unsubscribe", "kept"))),
    "errors": lambda: burst(['{"type":"subscribe","pattern":"%s:>:x"}' % ("x" * 900)] * 100),
    "echoes": lambda: burst([command("subscribe", "mine", policy="latest"),
                             publish_text("mine", json.dumps("x" * 60_000))]),
    "joins": lambda: burst([command("subscribe", "j", presence=True)]
                           + [command("unsubscribe", "j"), command("subscribe", "j", presence=True)] * 500),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_answers_of_level_2_that_are_never_read_do_not_pile_up(start_server, kind):
    server = start_server(workers=1, max_backlog_bytes="2m", rules=[{"match": "kept", "history": 1000}])
    other = server.client2()
    other.send(burst(publish_text("kept", '"%s"' % ("x" * 1000)) for _ in range(1000)))
    people = [server.client() for _ in range(100 if kind == "presences" else 0)]
    for person in people:
        person.subscribe("hall")
    other.subscribe("other")
    server.reset_peak()
    before = server.memory()
    client = server.client2(rcvbuf=4096)
    flood(client, FLOODS[kind](), 12 << 20)
    other.publish("other", 1)
    other.expect_message("other", 1, 1)
    assert server.get("/healthz").status == 200
    if not sanitized():
        growth = server.peak_memory() - before
        assert growth < 14 << 20, f"{growth >> 10} KiB"
    client.drop()
    eventually(lambda: {t: n for t, n in other.counts().items() if n and t not in ("other", "hall")} == {},
               "the end of the flooder")
