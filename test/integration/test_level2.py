"""Level 2: the envelope, ids, batches, acknowledgements, errors with codes.

"Broken by" says how the broker was broken on purpose to see the test fail.
"""

import json

import pytest

from hermes_fixtures import within
from raw import MALFORMED, Client2, burst, command, publish_text, since, text


# --- which level is spoken ------------------------------------------------------------------------

def test_level_2_is_spoken_by_subprotocol_only(server):
    two = server.client2()
    assert two.handshake.header("sec-websocket-protocol") == "hermes.v2"
    one = server.client()
    assert one.handshake.header("sec-websocket-protocol") is None
    v1 = server.client(extra=["Sec-WebSocket-Protocol: hermes.v1"])
    assert v1.handshake.header("sec-websocket-protocol") == "hermes.v1"
    two.subscribe("t")
    for client in (one, v1):
        client.subscribe("t")
        client.publish("t", '{"n": 1.50}')
        assert one.recv_text() == '{"n": 1.50}'
        if client is v1:
            assert v1.recv_text() == '{"n": 1.50}'
        two.expect_message("t", {"n": 1.5})


@pytest.mark.parametrize("offered", [
    "hermes.v2", "chat, hermes.v2", "hermes.v2,chat", "chat ,\thermes.v2 , x"])
def test_level_2_is_found_among_others(server, offered):
    client = server.client(extra=["Sec-WebSocket-Protocol: " + offered])
    assert client.handshake.header("sec-websocket-protocol") == "hermes.v2"


@pytest.mark.parametrize("offered", ["hermes.v22", "hermes.v", "hermes.v3", "Hermes.V2", "xhermes.v2",
                                     "hermes.v2x"])
def test_what_is_nearly_its_name_is_not_level_2(server, offered):
    client = server.client(extra=["Sec-WebSocket-Protocol: " + offered])
    assert client.handshake.header("sec-websocket-protocol") != "hermes.v2"
    client.subscribe("t")
    client.publish("t", 5)
    assert client.recv_text() == "5"


def test_of_both_levels_one_is_chosen_and_spoken(server):
    for offered in ("hermes.v1, hermes.v2", "hermes.v2, hermes.v1"):
        conn = server.raw()
        chosen = conn.upgrade(extra=["Sec-WebSocket-Protocol: " + offered]).header(
            "sec-websocket-protocol")
        assert chosen in ("hermes.v1", "hermes.v2")
        info = conn.recv_json()
        assert ("client" in info) == (chosen == "hermes.v2")


def test_ids_of_clients_differ(server):
    clients = [server.client2() for _ in range(30)]
    assert len({c.me for c in clients}) == 30


# --- envelope -------------------------------------------------------------------------------------

DATA = ["null", "false", "0", "-0", '""', "170.50", "1e400", "9007199254740993", "[ 1 , 2 ]",
        '{"a":1,"a":2}', '{ "z" : 1, "a" :\t{} }', '"ż\U0001f422\u2028"', r'"\u0041\/\ud800"',
        '{"type":"message","topic":"x","data":1,"offset":7}', '"}"', '"' + "x" * 70000 + '"',
        "1" * 300, "[" * 400 + "]" * 400]


# Broken by an offset that is one too low; by the topic's bytes copied unescaped.
@pytest.mark.parametrize("workers", [1, 3])
def test_deliveries_are_enveloped_and_data_is_byte_for_byte(server, workers):
    subscribers = [server.client2() for _ in range(workers)]
    publishers = [server.client2(), server.client()]
    for topic in ("t", 'a "quoted"\\one', "ż:\U0001f422", "x" * 1000, "  ", "\u2028/"):
        for client in subscribers:
            assert client.subscribe(topic)["offset"] == 0
        offset = 0
        for data in DATA:
            for publisher in publishers:
                publisher.publish(topic, data)
                offset += 1
                for client in subscribers:
                    got = client.recv_text()
                    Client2.check_message(json.loads(got), topic, offset)
                    assert got.count(data) >= 1 and got.endswith(
                        ',"data":%s,"offset":%d}' % (data, offset)), got[:300]
        for client in subscribers:
            client.unsubscribe(topic)


@pytest.mark.parametrize("workers", [1, 3])
def test_both_levels_hear_the_same_in_the_same_order(server):
    ones = [server.client() for _ in range(3)]
    twos = [server.client2() for _ in range(3)]
    for client in ones + twos:
        client.subscribe("t")
    for n in range(200):
        (ones + twos)[n % 6].publish("t", n)
    heard = [json.loads(ones[0].recv_text()) for _ in range(200)]
    assert sorted(heard) == list(range(200))
    for client in ones[1:]:
        assert [json.loads(client.recv_text()) for _ in range(200)] == heard
    for client in twos:
        for n, data in enumerate(heard):
            client.expect_message("t", data, n + 1)
        client.fence()


def test_offsets_count_per_topic(server):
    client = server.client2()
    for topic in ("a", "b"):
        client.subscribe(topic)
    for n, topic in enumerate("aababbbaab"):
        client.publish(topic, n)
        client.expect_message(topic, n, "aababbbaab"[: n + 1].count(topic))
    assert client.subscribe("a")["offset"] == 5
    assert client.subscribe("b")["offset"] == 5


def test_a_subscriber_is_told_where_the_topic_stands(server):
    first, second = server.client2(), server.client2()
    began = first.subscribe("t")
    assert began["offset"] == 0
    for n in range(7):
        second.publish("t", n)
    for n in range(7):
        first.expect_message("t", n, n + 1)
    joined = second.subscribe("t")
    assert (joined["epoch"], joined["offset"]) == (began["epoch"], 7)
    second.publish("t", 7)
    second.expect_message("t", 7, 8)


# Broken by an epoch that is made of the name alone.
def test_the_epoch_changes_when_offsets_start_anew(server):
    client = server.client2()
    seen = set()
    for n in range(20):
        began = client.subscribe("t")
        assert began["offset"] == 0
        seen.add(began["epoch"])
        client.publish("t", n)
        client.expect_message("t", n, 1)
        client.unsubscribe("t")
    assert len(seen) == 20
    assert client.subscribe("other")["epoch"] not in seen


def test_epochs_differ_between_two_lives_of_a_server(start_server):
    seen = set()
    for _ in range(3):
        server = start_server(workers=1)
        client = server.client2()
        seen |= {client.subscribe(t)["epoch"] for t in "abc"}
    assert len(seen) == 9


# --- ids ------------------------------------------------------------------------------------------

IDS = ['0', '1', '-1', '9007199254740993', '9' * 64, '"a"', '""', '"%s"' % ("x" * 64),
       '"%s"' % ("ż" * 32), r'"\"\\"', r'"\u0041\n"', '"' + r"\u0041" * 64 + '"', '"}"']


@pytest.mark.parametrize("id", IDS, ids=range(len(IDS)))
def test_an_id_comes_back_on_every_answer(server, id):
    client = server.client2()
    for body, kind in (('"type":"subscribe","topic":"t"', "ack_subscribe"),
                       ('"type":"publish","topic":"u","data":1', "ack_publish"),
                       ('"topic":"u","data":1', "ack_publish"),
                       ('"type":"presence","topic":"t"', "presence"),
                       ('"type":"history","topic":"t"', "error"),
                       ('"type":"topics"', "topics"),
                       ('"type":"unsubscribe","topic":"t"', "ack_unsubscribe"),
                       ('"type":"unsubscribe","topic":"t"', "error"),
                       ('"type":"subscribe","pattern":"t:>"', "ack_subscribe"),
                       ('"type":"unsubscribe","pattern":"t:>"', "ack_unsubscribe"),
                       ('"type":"ping"', "pong"),
                       ('"type":"subscribe"', "error"),
                       ('"type":"dance"', "error"),
                       ('"type":"subscribe","topic":"\\n"', "error")):
        for form in ("{%s,\"id\":%s}" % (body, id), "{ \"id\" : %s ,%s}" % (id, body)):
            if kind == "ack_unsubscribe" and form.startswith("{ "):
                continue
            client.say(form)
            got = client.recv_json()
            assert got["type"] == kind, (form, got)
            assert got["id"] == json.loads(id) and type(got["id"]) is type(json.loads(id)), got


def test_without_an_id_the_answers_have_none(server):
    client = server.client2()
    for body in ('{"type":"subscribe","topic":"t"}', '{"type":"presence","topic":"t"}',
                 '{"type":"history","topic":"t"}', '{"type":"topics"}', '{"type":"ping"}',
                 '{"type":"unsubscribe","topic":"t"}', '{"type":"unsubscribe","topic":"t"}',
                 '{"type":"subscribe"}', '{"type":"subscribe","pattern":"a:>:b"}', "~"):
        client.say(body)
        assert "id" not in client.recv_json(), body


@pytest.mark.parametrize("id", ['"%s"' % ("x" * 65), '"%s"' % ("ż" * 33), "1.5", "1e3", "null", "true",
                                "[]", '["a"]', "{}", "9" * 65, '{"id":1}'])
def test_an_id_that_may_not_be_is_malformed_and_changes_nothing(server, id):
    client = server.client2()
    for body in ('"type":"subscribe","topic":"t"', '"topic":"t","data":1', '"type":"ping"',
                 '"type":"topics"', '"type":"subscribe","pattern":"t"'):
        client.say('{%s,"id":%s}' % (body, id))
        got = client.expect_refusal("malformed")
        assert "id" not in got, got
    assert client.counts() == {}
    client.fence()


def test_the_last_of_repeated_keys_counts(server):
    client = server.client2()
    client.say('{"type":"ping","id":1,"topic":"a","id":"b","type":"subscribe","topic":"c"}')
    got = client.recv_json()
    assert (got["type"], got["topic"], got["id"]) == ("ack_subscribe", "c", "b")
    assert client.counts() == {"c": 1}


def test_unknown_keys_are_ignored(server):
    client = server.client2()
    client.say('{"type":"subscribe","topic":"t","qos":2,"x":{"topic":5,"id":[]},"":null,"ID":{}}')
    assert client.recv_json()["type"] == "ack_subscribe"
    client.say('{"x":[{"data":7}],"topic":"t","data":1,"Echo":5,"DATA":5}')
    client.expect_message("t", 1, 1)


# --- several topics in one command ----------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 3])
def test_many_topics_in_one_command_are_answered_one_by_one_in_order(server):
    client, other = server.client2(), server.client()
    names = [f"t:{n}" for n in range(300)] + ["t:5", "ż", r'\"']
    client.say(json.dumps({"type": "subscribe", "topics": names, "id": "batch"}))
    for name in names:
        got = client.recv_json()
        assert got["id"] == "batch"
        Client2.check_subscribed(got, name)
    assert client.counts() == {name: 1 for name in names}
    for name in names:
        other.publish(name, json.dumps(name))
    for name in names:
        client.expect_message(name, name, 1 if name != "t:5" else None)
    client.say(json.dumps({"type": "unsubscribe", "topics": names[::-1], "id": 9}))
    seen = set()
    for name in names[::-1]:
        got = client.recv_json()
        assert got["id"] == 9 and got["topic"] == name, got
        assert (got["type"], got.get("code")) == (
            ("error", "not_subscribed") if name in seen else ("ack_unsubscribe", None)), got
        seen.add(name)
    assert client.counts() == {}
    client.fence()


@pytest.mark.parametrize("bad", [r'"b\n"', r'"\ud800"', '"%s"' % ("x" * 1025)], ids=range(3))
def test_one_bad_topic_among_good_ones_refuses_them_all(server, bad):
    client = server.client2()
    client.subscribe("c")
    for kind in ("subscribe", "unsubscribe"):
        client.say('{"type":"%s","topics":["a",%s,"c"],"id":1}' % (kind, bad))
        assert client.expect_refusal("bad_topic")["id"] == 1
        assert client.counts() == {"c": 1}
    client.fence()


def test_of_several_topics_the_forbidden_ones_are_refused_one_by_one(start_server):
    server = start_server(workers=2, rules=[{"match": "no:*", "subscribe": "nobody"}])
    client = server.client2()
    client.say('{"type":"subscribe","topics":["a","no:b","c","no:d"],"id":1}')
    for name in ("a", "no:b", "c", "no:d"):
        got = client.recv_json()
        assert (got["topic"], got["id"]) == (name, 1), got
        assert got.get("code") == ("forbidden" if name[:3] == "no:" else None), got
    assert client.counts() == {"a": 1, "c": 1}


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize("topics", ['[]', 'null', '5', '"NAME"', '{}', '["NAME",5]', '["NAME",""]',
                                    '["NAME",null]', '["NAME",["x"]]', '[["NAME"]]', 'true',
                                    '{"NAME":"NAME"}'])
def test_topics_that_are_no_list_of_names_are_malformed_as_a_whole(server, kind, topics):
    client = server.client2()
    client.subscribe("a")
    for name in ("a", "b"):
        client.say('{"type":"%s","topics":%s,"id":4}' % (kind, topics.replace("NAME", name)))
        assert client.expect_refusal("malformed")["id"] == 4
    assert client.counts() == {"a": 1}
    client.fence()


def test_options_of_a_batch_hold_for_all_its_topics(start_server):
    server = start_server(workers=2, rules=[{"match": "h:*", "history": 10}])
    client = server.client2()
    for n in range(15):
        for topic in ("h:a", "h:b"):
            client.publish(topic, n)
    client.say('{"type":"subscribe","topics":["h:a","x","h:b"],"replay":3}')
    for topic, offset in (("h:a", 15), ("x", 0), ("h:b", 15)):
        got = Client2.check_subscribed(client.recv_json(), topic)
        assert got["offset"] == offset
        if offset:
            for n in range(12, 15):
                client.expect_message(topic, n, n + 1)
    client.fence()


# --- publish --------------------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 3])
def test_a_publish_with_an_id_is_acked_with_offset_and_subscribers(server):
    clients = [server.client2() for _ in range(4)] + [server.client()]
    publisher = server.client2()
    assert publisher.publish_acked("t", 0) == (0, 0), "nobody is there"
    for n, client in enumerate(clients):
        client.subscribe("t")
        assert publisher.publish_acked("t", n) == (n + 1, n + 1)
    publisher.publish("t", 5)
    publisher.fence()
    assert publisher.publish_acked("t", 6) == (7, 5)


# Broken by acks that are written before the own mail is delivered.
def test_a_publishers_own_message_comes_before_its_ack(server):
    client = server.client2()
    client.subscribe("t")
    for n in range(50):
        number = client.tell("publish", topic="t", data=n)
        client.expect_message("t", n, n + 1)
        assert client.recv_json() == {"type": "ack_publish", "topic": "t", "offset": n + 1,
                                      "subscribers": 1, "id": number}


def test_acks_of_a_row_of_publishes_come_each_with_its_offset(server):
    watcher, client = server.client2(), server.client2()
    watcher.subscribe("t")
    client.say(*('{"topic":"t","data":%d,"id":"n%d"}' % (n, n) if n % 3 else publish_text("t", str(n))
                 for n in range(300)))
    for n in range(300):
        if n % 3:
            assert client.recv_json() == {"type": "ack_publish", "topic": "t", "offset": n + 1,
                                          "subscribers": 1, "id": f"n{n}"}
    for n in range(300):
        watcher.expect_message("t", n, n + 1)
    client.fence()


# Broken by ignoring echo; by leaving out everybody on the publisher's worker.
@pytest.mark.parametrize("workers", [1, 3])
def test_without_echo_all_but_the_publisher_get_it(server, workers):
    clients = [server.client2() for _ in range(2 * workers)]
    plain = server.client()
    for client in clients + [plain]:
        client.subscribe("t")
    for client in clients:
        client.subscribe(pattern="t:>")
    offset = 0
    for n, publisher in enumerate(clients):
        publisher.say('{"topic":"t","data":[%d,0],"echo":false}' % n,
                      '{"topic":"t","data":[%d,1],"echo":true}' % n,
                      '{"topic":"t","data":[%d,2],"echo":false,"id":5}' % n,
                      '{"topic":"t","data":[%d,3]}' % n)
        for client in clients:
            if client is not publisher:
                for k in range(4):
                    client.expect_message("t", [n, k], offset + k + 1)
                continue
            got = [client.recv_json() for _ in range(3)]
            acks = [g for g in got if g["type"] == "ack_publish"]
            assert [(g["id"], g["offset"]) for g in acks] == [(5, offset + 3)], got
            assert [g["data"] for g in got if g["type"] == "message"] == [[n, 1], [n, 3]], got
        for k in range(4):
            assert plain.recv_json() == [n, k]
        offset += 4
    for client in clients + [plain]:
        client.fence()


def test_without_echo_a_publisher_by_pattern_does_not_get_it_either(server):
    client, other = server.client2(), server.client2()
    for c in (client, other):
        c.subscribe(pattern="a:*")
    client.say('{"topic":"a:b","data":1,"echo":false}', '{"topic":"a:b","data":2}')
    client.expect_message("a:b", 2, 2, "a:*")
    other.expect_message("a:b", 1, 1, "a:*")
    other.expect_message("a:b", 2, 2, "a:*")


def test_echo_is_an_unknown_key_at_level_1(server):
    client = server.client()
    client.subscribe("t")
    client.say('{"topic":"t","data":1,"echo":false,"id":5}', '{"topic":"t","data":2,"echo":"x","id":[]}')
    assert [client.recv_text(), client.recv_text()] == ["1", "2"]
    client.fence()


# --- ping, auth, topics ---------------------------------------------------------------------------

def test_ping_is_answered(server):
    client = server.client2()
    assert client.ask("ping") == {"type": "pong", "id": 1}
    client.say('{"type":"ping"}')
    assert client.recv_json() == {"type": "pong"}


def test_a_token_where_none_is_known_of_is_not_accepted_and_harms_nobody(server):
    client = server.client2()
    got = client.ask("auth", token="eyJhbGciOiJub25lIn0.e30.")
    assert got["type"] == "error" and got["code"] in ("unauthorized", "unavailable"), got
    client.subscribe("t")
    client.fence()


def test_topics_are_listed_at_level_2_like_at_level_1(server):
    client, other = server.client2(), server.client()
    names = sorted(f"p:{n}" for n in range(50))
    client.ask("ping")
    for name in names:
        other.subscribe(name)
    got = client.ask("topics", prefix="p:", limit=20)
    assert [row["topic"] for row in got["topics"]] == names[:20] and got["next"] == names[19]
    assert client.counts("p:") == other.counts("p:") == {name: 1 for name in names}
    assert set(client.ask("topics", prefix="q")) == {"type", "topics", "id"}


# --- errors ---------------------------------------------------------------------------------------

def test_what_is_not_json_has_its_code(server):
    client = server.client2()
    for message in ("", "x", "{", '{"id":1,}', '{"topic":"t","data":01}', '{"topic":"t","data":1}{}',
                    '{"type":"ping","id":"a\tb"}'):
        client.say(message)
        got = client.expect_refusal("bad_json")
        assert got["message"] == "Message must be valid JSON.", got
    client.fence()


def test_a_binary_frame_is_an_error_with_a_code_and_not_the_end(server):
    client = server.client2()
    client.send(b"\x82\x80\0\0\0\0")
    got = client.recv_json()
    assert got["type"] == "error" and got["code"] == "malformed", got
    client.fence()


def test_an_unsubscribe_without_a_subscription_has_its_code(server):
    client = server.client2()
    client.subscribe("a:b")
    for fields in ({"topic": "never"}, {"pattern": "a:b"}, {"pattern": "a:*"}, {"topic": "a:*"}):
        got = client.refused("not_subscribed", "unsubscribe", **fields)
        for key, value in fields.items():
            assert got[key] == value
            assert got["message"] == f"Not subscribed to {value}"
    client.fence()
    assert client.counts() == {"a:b": 1}


HUGE = "123456789012345678901234567890"
NAMES = ["", '"topic":"",', '"topic":5,', '"topic":null,', '"topic":true,', '"topic":["t"],',
         '"topic":{},']
NO_BOOL = ["null", "0", "1", '"true"', "[]", "{}", "1.5"]
NO_TEXT = ["null", "0", "true", "[]", "{}", "-1.5", '["x"]']
NO_COUNT = ["null", "-1", "1.5", '"5"', "true", "[]", "{}", "-" + HUGE]
NO_SINCE = ['{"epoch":"%s","offset":1}' % ("x" * 65), "null", "5", '"x"', "[]", "{}", "true", '{"epoch":"x"}', '{"offset":1}',
            '{"epoch":5,"offset":1}', '{"epoch":null,"offset":1}', '{"epoch":["x"],"offset":1}',
            '[{"epoch":"x","offset":1}]',
            *('{"epoch":"x","offset":%s}' % n for n in [*NO_COUNT, HUGE])]

# By command: what stands in it, so that nothing but the field in question is wrong.
GOOD = {"subscribe": '"type":"subscribe","topic":"fresh"',
        "subscribe_pattern": '"type":"subscribe","pattern":"fresh:*"',
        "subscribe_topics": '"type":"subscribe","topics":["fresh","new"]',
        "publish": '"type":"publish","topic":"kept","data":"bad"',
        "plain_publish": '"topic":"kept","data":"bad"',
        "topics": '"type":"topics"',
        "presence": '"type":"presence","topic":"kept"',
        "history": '"type":"history","topic":"kept"'}
FIELDS = {
    "subscribe": {"since": NO_SINCE, "replay": NO_COUNT,
                  "policy": [*NO_TEXT, '""', '"slow"', '"Latest"', '"latest "', r'"latest\u0000"'],
                  "presence": NO_BOOL, "pattern": ['"a"', "5", '""'], "topics": ['["a"]', "[]", "5"]},
    "subscribe_pattern": {"policy": [*NO_TEXT, '"slow"'], "presence": NO_BOOL,
                          "since": [*NO_SINCE, '{"epoch":"x","offset":1}'],
                          "replay": [*NO_COUNT, "5"], "topic": ['"t"', "5", '""', "null"],
                          "topics": ['["t"]', "[]"]},
    "subscribe_topics": {"policy": ['"slow"', "5"], "presence": ["5"], "replay": NO_COUNT,
                         "since": [*NO_SINCE, '{"epoch":"x","offset":1}'], "topic": ["5", '""']},
    "publish": {"echo": NO_BOOL}, "plain_publish": {"echo": NO_BOOL},
    "topics": {"limit": [*NO_COUNT, "0", "1001", HUGE], "prefix": NO_TEXT, "after": NO_TEXT},
    "presence": {},
    "history": {"limit": [*NO_COUNT, "0", "1001", HUGE], "since": NO_SINCE},
}
MALFORMED_FIELDS = [(name, '"%s":%s' % (field, value)) for name, fields in FIELDS.items()
                    for field, values in fields.items() for value in values]
NO_NAMES = [(kind, '{%s"type":"%s"%s}' % (name, kind, ',"data":1' if kind == "publish" else ""))
            for kind in ("subscribe", "unsubscribe", "publish", "presence", "history")
            for name in NAMES]
NO_PATTERNS = [(kind, '{"type":"%s","pattern":%s}' % (kind, value))
               for kind in ("subscribe", "unsubscribe") for value in [*NO_TEXT, '""']]
OTHERS = [("other", m) for m in (
    "[]", "5", '"x"', "null", "true", "{}", '{"type":"dance","topic":"t"}', '{"type":5}',
    '{"type":null,"topic":"t","data":1}', '{"type":"publish","topic":"t"}', '{"topic":"t"}',
    '{"data":1}', '{"type":"message","topic":"t","data":1,"offset":1}', '{"type":"pong"}',
    '{"type":"auth"}', '{"type":"auth","token":5}', '{"type":"auth","token":null}',
    '{"type":"publish","topics":["t"],"data":1}', '{"type":"publish","pattern":"t","data":1}',
    '{"type":"history","topics":["t"]}', '{"type":"presence","pattern":5}',
    '{"type":"subscribe","topics":["t"],"pattern":"t"}',
    '{"type":"subscribe","topic":"kept","replay":1,"since":{"epoch":"x","offset":1}}',
    '{"type":"unsubscribe","topic":"kept","topics":["kept"]}',
    '{"type":"unsubscribe","topic":"kept","pattern":"pattern:*"}')]


class World:
    """What a command that is refused must leave as it is."""

    def __init__(self, start_server):
        self.server = start_server(workers=2, rules=[{"match": "kept", "history": 100}])
        self.client, self.other = self.server.client2(), self.server.client2()
        for client in (self.client, self.other):
            client.subscribe("kept", presence=True)
        self.client.recv_json()
        self.client.subscribe(pattern="pattern:*")
        self.published = 0
        self.check()

    def check(self):
        self.client.publish("kept", self.published)
        self.published += 1
        for client in (self.client, self.other):
            client.expect_message("kept", self.published - 1, self.published)
        assert [self.other.counts(t) for t in ("kept", "fresh", "new")] == [{"kept": 2}, {}, {}]
        got = self.other.history("kept")
        assert got["offset"] == self.published
        assert [m["data"] for m in got["messages"]] == list(range(self.published))[-100:]
        self.client.publish("fresh:x", 1)
        self.client.publish("pattern:x", self.published)
        self.client.expect_message("pattern:x", self.published, None, "pattern:*")
        assert self.other.presence("kept") == {self.client.me, self.other.me}


@pytest.mark.parametrize("kind", [*FIELDS, "names", "patterns", "others"])
def test_what_is_malformed_has_its_code_and_changes_nothing(start_server, kind):
    world = World(start_server)
    if kind == "names":
        commands = [m for _, m in NO_NAMES]
    elif kind == "patterns":
        commands = [m for _, m in NO_PATTERNS]
    elif kind == "others":
        commands = [m for _, m in OTHERS]
    else:
        commands = [m for name, field in MALFORMED_FIELDS if name == kind
                    for m in ("{%s,%s}" % (GOOD[kind], field), "{%s,%s}" % (field, GOOD[kind]))]
        if kind == "presence":
            commands = ['{"type":"presence"}', '{"type":"presence","topic":5}']
    for number, message in enumerate(commands):
        with_id = message if message[0] != "{" else (
            message[:-1] + (',"id":%d}' % number if message != "{}" else '"id":%d}' % number))
        world.client.say(with_id)
        got = world.client.recv_json()
        assert got["type"] == "error" and got.get("code") == "malformed", (message, got)
        assert got["message"], got
        if message[0] == "{":
            assert got["id"] == number, got
        else:
            assert "id" not in got, got
        if number % 25 == 0:
            world.check()
    world.check()
    for client in (world.client, world.other):
        client.fence()


BAD_TOPICS = [r'"a\nb"', r'"\u0000"', r'"\u007f"', '"%s"' % ("x" * 1025), '"%s"' % ("ż" * 513),
              r'"\ud800"', r'"a\udc00b"', r'"\udc00\ud800"']


@pytest.mark.parametrize("topic", BAD_TOPICS, ids=range(len(BAD_TOPICS)))
def test_a_bad_topic_has_its_code_and_changes_nothing(start_server, topic):
    world = World(start_server)
    for message in ('{"type":"subscribe","topic":%s,"id":7}', '{"type":"unsubscribe","topic":%s,"id":7}',
                    '{"type":"publish","topic":%s,"data":1,"id":7}', '{"topic":%s,"data":1,"id":7}',
                    '{"type":"presence","topic":%s,"id":7}', '{"type":"history","topic":%s,"id":7}'):
        world.client.say(message % topic)
        got = world.client.expect_refusal("bad_topic")
        assert got["id"] == 7, got
    # Without an id too, and then the next publish is not mixed up with it.
    world.client.say('{"topic":%s,"data":1}' % topic)
    world.client.expect_refusal("bad_topic")
    world.check()


BAD_PATTERNS = ['">:a"', '"a:>:b"', '"a:>:>"', '"a*"', '"*a"', '"a:b*"', '"a:*b:c"', '">a"', '"a>"',
                '"a:>b"', '"**"', '"*>"', '">>"', '"a:>:"', r'"a\nb"', r'"\u0000"',
                '"%s"' % ("x" * 1025), r'"\ud800:*"', r'"a:\u007f"']


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
def test_a_bad_pattern_has_its_code_and_changes_nothing(start_server, kind):
    world = World(start_server)
    for pattern in BAD_PATTERNS:
        world.client.say('{"type":"%s","pattern":%s,"id":7}' % (kind, pattern))
        got = world.client.expect_refusal("bad_pattern")
        assert got["id"] == 7, (pattern, got)
    world.check()


def test_topics_may_hold_what_patterns_may_not(server):
    client = server.client2()
    for topic in ("a*", "*", ">", "a:>:b", "stock:*", ">>"):
        client.subscribe(topic)
        client.publish(topic, 1)
        client.expect_message(topic, 1, 1)
        client.unsubscribe(topic)


def test_errors_name_their_topic_or_pattern(server):
    client = server.client2()
    got = client.refused("no_history", "history", topic="a b")
    assert got["topic"] == "a b"
    got = client.refused("bad_pattern", "subscribe", pattern="a:>:b")
    assert got["pattern"] == "a:>:b"


def test_too_many_subscriptions_have_their_code(start_server):
    server = start_server(workers=1, max_subscriptions=5)
    client = server.client2()
    client.subscribe("a")
    client.subscribe(pattern="b:*")
    client.say('{"type":"subscribe","topics":["c","d","a","e","f","a"],"id":1}')
    got = client.expect_refusal("too_many_subscriptions")
    assert got["topic"] == "f" and got["id"] == 1
    assert client.counts() == {"a": 1}, "not one of them"
    client.say('{"type":"subscribe","topics":["c","d","a","e"],"id":1}')
    for name in "cdae":
        Client2.check_subscribed(client.recv_json(), name)
    assert client.refused("too_many_subscriptions", "subscribe", pattern="g:*")["pattern"] == "g:*"
    assert client.counts() == {name: 1 for name in "acde"}
    client.unsubscribe(pattern="b:*")
    client.subscribe("f")
    client.refused("too_many_subscriptions", "subscribe", topic="g")


def test_rate_limited_has_its_code(start_server):
    server = start_server(workers=1, max_messages_per_second=50)
    client = server.client2()
    client.say(*['{"topic":"t","data":1,"id":%d}' % n for n in range(60)])
    answers = [client.recv_json() for _ in range(60)]
    codes = [a.get("code") for a in answers]
    assert codes.count(None) >= 25 and codes.count("rate_limited") >= 1, codes
    assert set(codes) == {None, "rate_limited"}
    assert all(a["type"] == "ack_publish" for a in answers if "code" not in a)


def test_forbidden_topics_are_refused_with_topic_and_id(start_server):
    server = start_server(workers=2, rules=[
        {"match": "in:*", "publish": "nobody", "history": 5},
        {"match": "out:*", "subscribe": "nobody", "history": 5},
        {"match": "user:*", "publish": "authenticated", "subscribe": "authenticated"},
        {"match": "token:>", "publish": "token", "subscribe": "token"},
        {"match": "dark", "presence": False}])
    client, watcher = server.client2(), server.client2()
    for kind, topic in (("publish", "in:a"), ("publish", "user:a"), ("publish", "token:a:b"),
                        ("subscribe", "out:a"), ("subscribe", "user:a"), ("subscribe", "token:a"),
                        ("history", "out:a"), ("presence", "dark")):
        fields = {"data": 1} if kind == "publish" else {}
        got = client.refused("forbidden", kind, topic=topic, **fields)
        assert got["topic"] == topic, got
    watcher.subscribe("in:a")
    client.publish("in:a", 1)
    client.expect_refusal("forbidden")
    assert client.publish_acked("out:a", 1) == (1, 0)
    assert client.publish_acked("free", 1) == (0, 0)
    assert watcher.history("in:a")["messages"] == []
    watcher.fence()
    assert {t: n for t, n in client.counts().items() if n} == {"in:a": 1}
    # Without codes, level 1 is refused too.
    plain = server.client()
    plain.say(command("subscribe", "out:a"))
    assert plain.expect_error().keys() == {"type", "message"}
    plain.say(publish_text("in:a", "1"))
    plain.expect_error()
    watcher.fence()


def test_a_pattern_does_not_open_what_is_forbidden(start_server):
    server = start_server(workers=2, rules=[{"match": "secret:>", "subscribe": "nobody"}])
    client, publisher = server.client2(), server.client2()
    for pattern in (">", "*:*", "secret:*", "secret:>"):
        client.say(json.dumps({"type": "subscribe", "pattern": pattern}))
        got = client.recv_json()
        assert got["type"] == "ack_subscribe" or got["code"] == "forbidden", got
    publisher.publish("secret:a", 1)
    publisher.publish("open:a", 2)
    publisher.fence()
    for got in client.until_fenced():
        assert got.get("topic") != "secret:a", got


def test_too_large_has_its_code(start_server):
    server = start_server(workers=2, rules=[{"match": "small", "max_bytes": 10, "history": 9}])
    client, watcher = server.client2(), server.client2()
    watcher.subscribe("small")
    client.publish("small", '"xxxxxxxx"')
    watcher.expect_message("small", "x" * 8, 1)
    got = client.refused("too_large", "publish", topic="small", data="x" * 9)
    assert got["topic"] == "small"
    client.publish("small", '"xxxxxxxxx"')
    client.expect_refusal("too_large")
    assert client.publish_acked("small", "y") == (2, 1)
    watcher.expect_message("small", "y", 2)
    assert client.publish_acked("big", "x" * 9) == (0, 0)
    plain = server.client()
    plain.publish("small", '"xxxxxxxxx"')
    plain.expect_error()
    watcher.fence()


def test_no_history_has_its_code(start_server):
    server = start_server(workers=2, rules=[{"match": "h:*", "history": 5}])
    client = server.client2()
    client.subscribe("t")
    for more in ({}, {"limit": 5}, {"since": since("x", 1)}):
        assert client.refused("no_history", "history", topic="t", **more)["topic"] == "t"
    got = client.history("h:never")
    assert got["offset"] == 0 and got["messages"] == []
    assert {t for t, n in client.counts().items() if n} == {"t"}


# --- level 1 is what it was -----------------------------------------------------------------------

def test_what_is_new_is_unknown_at_level_1(server):
    client = server.client()
    for message in ('{"type":"ping"}', '{"type":"presence","topic":"t"}', '{"type":"history","topic":"t"}',
                    '{"type":"auth","token":"x"}', '{"type":"subscribe","pattern":"a:*"}',
                    '{"type":"subscribe","topics":["a"]}', '{"type":"unsubscribe","topics":["a"]}'):
        client.say(message)
        got = client.recv_json()
        assert got.keys() == {"type", "message"} and got["message"].startswith(MALFORMED), (message, got)
    for more in ({"id": []}, {"since": 5}, {"replay": -1}, {"policy": "x"}, {"presence": "x"},
                 {"topics": 5}, {"pattern": "a:>:b"}, {"id": "x" * 100}):
        client.say(command("subscribe", "t", **more))
        client.expect_subscribed("t")
        client.say(json.dumps({"topic": "t", "data": 1, **more}))
        assert client.recv_text() == "1"
        client.say(command("unsubscribe", "t", **more))
        client.expect_unsubscribed("t")
    client.fence()


# --- answers among deliveries ---------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 3])
def test_a_pipeline_is_answered_in_its_order(server):
    client, other = server.client2(), server.client2()
    other.subscribe("t")
    count = 100
    client.send(b"".join(text(m) for i in range(count) for m in (
        '{"type":"subscribe","topic":"t","id":"s%d"}' % i, '{"topic":"t","data":%d,"id":"p%d"}' % (i, i),
        '{"type":"ping","id":"q%d"}' % i, publish_text("t", '"b"'),
        '{"type":"subscribe","pattern":"t","id":"S%d"}' % i,
        '{"type":"unsubscribe","topic":"t","id":"u%d"}' % i, publish_text("t", '"c"'),
        '{"type":"unsubscribe","pattern":"t","id":"U%d"}' % i, publish_text("t", '"lost"'),
        '{"type":"unsubscribe","topic":"t","id":"e%d"}' % i)))
    for i in range(count):
        at = i * 4
        got = client.recv_json()
        assert (got["id"], got["offset"]) == (f"s{i}", at), got
        client.expect_message("t", i, at + 1)
        got = client.recv_json()
        assert (got["id"], got["offset"], got["subscribers"]) == (f"p{i}", at + 1, 2), got
        assert client.recv_json()["id"] == f"q{i}"
        client.expect_message("t", "b", at + 2)
        assert client.recv_json()["id"] == f"S{i}"
        assert client.recv_json()["id"] == f"u{i}"
        client.expect_message("t", "c", at + 3, "t")
        assert client.recv_json()["id"] == f"U{i}"
        got = client.recv_json()
        assert (got["id"], got["code"]) == (f"e{i}", "not_subscribed"), got
    client.fence()
    for n in range(4 * count):
        other.expect_message("t", [n // 4, "b", "c", "lost"][n % 4], n + 1)


# Broken by an answer whose offset is read before the mail is taken that comes before it.
@pytest.mark.parametrize("workers", [1, 3])
def test_an_answer_to_a_repeated_subscribe_stands_where_its_offset_is(server):
    stop = []
    publishers = [server.client2() for _ in range(2)]

    def publish(client):
        while not stop:
            client.send(burst([publish_text("t", "1")] * 5))
            client.fence()

    running = [within(publish, c) for c in publishers]
    try:
        client = server.client2()
        at = client.subscribe("t")["offset"]
        for _ in range(800):
            number = client.tell("subscribe", topic="t")
            got = client.recv_json()
            while got.get("id") != number:
                at += 1
                client.check_message(got, "t", at)
                got = client.recv_json()
            assert got["offset"] == at, got
    finally:
        stop.append(True)
        for one in running:
            one.result()
