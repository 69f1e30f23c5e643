"""Level 1 of the protocol, whole, spoken by Debian's python3-websockets."""

import asyncio
import itertools
import json

import pytest
import websockets

from raw import BAD_JSON, DEADLINE, FENCES, MALFORMED, command, publish_text


def run(body, server):
    """Runs the coroutine function with a connect of its own: connect() → an open, greeted client."""
    async def whole():
        opened = []

        async def connect(**more):
            client = await websockets.connect(
                server.url, max_size=None, open_timeout=DEADLINE, close_timeout=DEADLINE, **more)
            opened.append(client)
            info = await receive(client)
            assert info["type"] == "info"
            return client

        try:
            await asyncio.wait_for(body(connect), 3 * DEADLINE)
        finally:
            await asyncio.gather(*(c.close() for c in opened), return_exceptions=True)

    asyncio.run(whole())


async def receive_text(client):
    message = await asyncio.wait_for(client.recv(), DEADLINE)
    assert isinstance(message, str), message
    return message


async def receive(client):
    return json.loads(await receive_text(client))


def ack(kind, topic):
    text = {"ack_subscribe": "Successfully subscribed to ",
            "ack_unsubscribe": "Successfully unsubscribed from "}[kind] + topic
    return {"type": kind, "topic": topic, "message": text}


async def subscribe(client, topic):
    await client.send(command("subscribe", topic))
    assert await receive(client) == ack("ack_subscribe", topic)


async def unsubscribe(client, topic):
    await client.send(command("unsubscribe", topic))
    assert await receive(client) == ack("ack_unsubscribe", topic)


async def fence(client):
    """Nothing has come meanwhile: what the client publishes now is the next."""
    topic = f"fence~{next(FENCES)}"
    await subscribe(client, topic)
    await client.send(publish_text(topic, '"fence"'))
    assert await receive_text(client) == '"fence"'
    await unsubscribe(client, topic)


def test_the_first_frame_is_the_greeting(server):
    async def body(connect):
        async with websockets.connect(server.url) as client:
            info = await receive(client)
            assert list(info) == ["type", "message"]
            assert info["type"] == "info"
            assert info["message"].startswith("Connected to HERMES WebSocket server. ")
            await fence(client)

    run(body, server)


def test_subprotocol_v1_is_spoken_by_name_too(server):
    async def body(connect):
        client = await connect(subprotocols=["hermes.v1"])
        assert client.subprotocol == "hermes.v1"
        await subscribe(client, "t")

    run(body, server)


def test_acks_have_the_texts_that_clients_know(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "weather")
        await unsubscribe(client, "weather")

    run(body, server)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_repeated_subscribe_is_acked_and_delivers_once(server):
    async def body(connect):
        client, other = await connect(), await connect()
        for _ in range(3):
            await subscribe(client, "t")
        await other.send(publish_text("t", "1"))
        assert await receive_text(client) == "1"
        await client.send(publish_text("t", "2"))
        assert await receive_text(client) == "2"
        await fence(client)
        await unsubscribe(client, "t")
        await client.send(publish_text("t", "3"))
        await fence(client)
        await client.send(command("unsubscribe", "t"))
        assert (await receive(client))["message"] == "Not subscribed to t"

    run(body, server)


def test_unsubscribing_without_a_subscription_is_an_error(server):
    async def body(connect):
        client = await connect()
        await client.send(command("unsubscribe", "never"))
        assert await receive(client) == {"type": "error", "message": "Not subscribed to never"}
        await fence(client)

    run(body, server)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_message_goes_to_all_subscribers_the_publisher_included(server):
    async def body(connect):
        clients = [await connect() for _ in range(7)]
        stranger = await connect()
        await subscribe(stranger, "other")
        for client in clients:
            await subscribe(client, "t")
        await clients[0].send(publish_text("t", '{"n": 1}'))
        for client in clients:
            assert await receive_text(client) == '{"n": 1}'
        await clients[0].send(publish_text("other", '"mark"'))
        assert await receive_text(stranger) == '"mark"'

    run(body, server)


def test_a_publisher_that_does_not_subscribe_gets_no_answer(server):
    async def body(connect):
        client = await connect()
        await client.send(publish_text("t", "1"))
        await fence(client)

    run(body, server)


DATA = {
    "null": "null",
    "false": "false",
    "true": "true",
    "zero": "0",
    "minus_zero": "-0",
    "empty_text": '""',
    "text": '"hello"',
    "empty_list": "[]",
    "empty_object": "{}",
    "nested": '{"a":[1,{"b":[[],[{}]]},"x"],"c":{"d":{"e":null}}}',
    "trailing_zero": "170.50",
    "trailing_zero_inside": '{"price":170.50}',
    "big_integer": "123456789012345678901234567890123456789012345678901234567890",
    "past_double": "9007199254740993",
    "past_range": "1e400",
    "tiny": "-1E-4000",
    "exponents": "[1e5,1E5,1e+5,1.0e-5,0e0]",
    "long_fraction": "0." + "1234567890" * 30,
    "duplicate_keys": '{"a":1,"a":2,"b":0,"a":3}',
    "key_order": '{"z":1,"a":2,"m":3}',
    "spaces_inside": '{ "a" :\t[ 1 ,\n2\r\n] , "b" : { } }',
    "unicode": '"żółw \U0001f422 مرحبا \u2028\u2029\ufeff"',
    "escapes": r'"\u0041\n\t\r\b\f\/\\\" \ud83d\ude00"',
    "escape_of_nul": r'"a\u0000b"',
    "lone_surrogates": r'["\ud800","\udfff x"]',
    "keys_of_commands": '{"type":"subscribe","topic":"t","data":{"type":"error"}}',
    "escaped_keys": r'{"\u0074ype":1}',
    "like_a_close": '"\x7f"',
    "deep": "[" * 400 + "]" * 400,
    "long": json.dumps("x" * 70000),
}


@pytest.mark.parametrize("workers", [1, 3])
def test_data_arrives_byte_for_byte(server):
    async def body(connect):
        client, other = await connect(), await connect()
        await subscribe(client, "t")
        for name, data in DATA.items():
            for publisher in (client, other):
                await publisher.send(publish_text("t", data))
                got = await receive_text(client)
                assert got == data, f"{name}: {got[:200]}"

    run(body, server)


def test_space_around_data_is_not_part_of_it(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "t")
        for message in (' { "topic" : "t" , "data" : [1, 2] } ',
                        '\r\n\t{\r\n"topic"\t:\n"t",\n"data"\n:\n[1, 2]\n}\n'):
            await client.send(message)
            assert await receive_text(client) == "[1, 2]"

    run(body, server)


def test_keys_may_stand_in_any_order_and_be_escaped(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "t")
        await client.send('{"data":1.50,"topic":"t"}')
        assert await receive_text(client) == "1.50"
        await client.send(r'{"\u0064ata":2.50,"t\u006fpic":"\u0074"}')
        assert await receive_text(client) == "2.50"
        await client.send('{"topic":"t","type":"unsubscribe"}')
        assert await receive(client) == ack("ack_unsubscribe", "t")

    run(body, server)


def test_type_publish_is_a_publish_too(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "t")
        for data in ("null", "170.50", '{"a":1}'):
            await client.send('{"type":"publish","topic":"t","data":%s}' % data)
            assert await receive_text(client) == data

    run(body, server)


def test_unknown_keys_are_ignored(server):
    async def body(connect):
        client = await connect()
        await client.send('{"type":"subscribe","topic":"t","qos":2,"x":{"topic":"u"},"":null}')
        assert await receive(client) == ack("ack_subscribe", "t")
        await client.send('{"x":[{"data":7}],"topic":"t","data":1,"Topic":"u","DATA":5}')
        assert await receive_text(client) == "1"
        await client.send('{"type":"unsubscribe","topic":"t","data":9}')
        assert await receive(client) == ack("ack_unsubscribe", "t")
        await fence(client)

    run(body, server)


def test_topics_may_hold_any_character_but_controls(server):
    async def body(connect):
        client = await connect()
        for topic in ('a b', 'stock:*', 'sensor:>', '>', '*', 'ż:ó:\U0001f422', '"quoted"', '\\',
                      'a/b#+', '{"type":"error"}', ' ', '\u2028', '%s%n', "x" * 1024):
            await subscribe(client, topic)
            await client.send(publish_text(topic, "5"))
            assert await receive_text(client) == "5", topic
            await unsubscribe(client, topic)

    run(body, server)


def test_a_star_in_a_topic_matches_nothing_but_itself(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "stock:*")
        await subscribe(client, "sensor:>")
        await client.send(publish_text("stock:a", "1"))
        await client.send(publish_text("sensor:a", "1"))
        await fence(client)

    run(body, server)


def test_escaped_and_plain_spellings_are_one_topic(server):
    async def body(connect):
        client = await connect()
        await client.send(r'{"type":"subscribe","topic":"\u0061\u017c\ud83d\udc22\/"}')
        assert await receive(client) == ack("ack_subscribe", "aż\U0001f422/")
        await client.send(publish_text("aż\U0001f422/", "1"))
        assert await receive_text(client) == "1"
        await unsubscribe(client, "aż\U0001f422/")

    run(body, server)


def test_topics_are_told_apart_by_every_byte(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "a")
        for other in ("A", "a ", " a", "aa", "a:", "á", "a\u0301"):
            await client.send(publish_text(other, '"wrong"'))
        await fence(client)

    run(body, server)


BAD = ["", " ", "nonsense", "{", "}", '{"topic":"t","data":}', '{"topic":"t","data"}',
       "{'topic':'t','data':1}", '{"topic":"t","data":01}', '{"topic":"t","data":1.}',
       '{"topic":"t","data":.5}', '{"topic":"t","data":+1}', '{"topic":"t","data":-}',
       '{"topic":"t","data":1e}', '{"topic":"t","data":0x10}', '{"topic":"t","data":NaN}',
       '{"topic":"t","data":Infinity}', '{"topic":"t","data":tru}', '{"topic":"t","data":True}',
       '{"topic":"t","data":1,}', '{,"topic":"t","data":1}', '{"topic":"t" "data":1}',
       '{"topic":"t","data":[1,]}', '{"topic":"t","data":[1 2]}', '{"topic":"t","data":[1}}',
       '{"topic":"t","data":1} x', '{"topic":"t","data":1}{}', '{"topic":"t","data":1}\0',
       r'{"topic":"t","data":"\x"}', r'{"topic":"t","data":"\u12"}', r'{"topic":"t","data":"\u12g4"}',
       '{"topic":"t","data":"open}', '{"topic":"t","data":"a\nb"}', '{"topic":"t","data":"a\0b"}',
       '{"topic":"a\tb","data":1}', '{"topic":"t","data":1 /* why */}', '// why\n{}',
       '\ufeff{"topic":"t","data":1}', '{topic:"t","data":1}', '{"topic":"t",,"data":1}',
       '"\\', "[", "-", "nul", '{"topic":"t","data":\u00a01}', '{"topic":"t","data":1\f}']


def test_what_is_not_json_is_answered_so_and_nothing_else_happens(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "t")
        for message in BAD:
            await client.send(message)
            assert await receive(client) == BAD_JSON, message
        await client.send(publish_text("t", '"alive"'))
        assert await receive_text(client) == '"alive"'

    run(body, server)


NO_TOPIC = ["", '"topic":"",', '"topic":5,', '"topic":null,', '"topic":true,', '"topic":["t"],',
            '"topic":{"topic":"t"},']
ILL = (["[]", '["topic","t","data",1]', '"text"', "5", "-1.5e3", "null", "true", "false", "{}",
        '[{"topic":"t","data":1}]',
        '{"topic":"t"}', '{"data":1}', '{"x":1}', '{"type":"publish","topic":"t"}',
        '{"type":"publish","data":1}', '{"type":"publish"}', '{"type":"dance","topic":"t"}',
        '{"type":"dance","topic":"t","data":1}', '{"type":"","topic":"t"}',
        '{"type":"SUBSCRIBE","topic":"t"}', '{"type":"subscribe ","topic":"t"}',
        '{"type":"subscrib","topic":"t"}', '{"type":"ack_subscribe","topic":"t"}',
        r'{"type":"subscribe\u0000","topic":"t"}',
        '{"type":"error","topic":"t"}', '{"type":5,"topic":"t","data":1}',
        '{"type":null,"topic":"t"}', '{"type":["subscribe"],"topic":"t"}',
        '{"type":{},"topic":"t","data":1}', '{"Type":"subscribe","topic":"t"}']
       + ['{%s"data":1}' % t for t in NO_TOPIC]
       + ['{%s"type":"%s"}' % (t, c) for t in NO_TOPIC for c in ("subscribe", "unsubscribe")])


def test_what_is_json_but_no_command_is_answered_so_and_nothing_else_happens(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "t")
        for message in ILL:
            await client.send(message)
            got = await receive(client)
            assert got["type"] == "error" and got["message"].startswith(MALFORMED), (message, got)
        await client.send(publish_text("t", '"alive"'))
        assert await receive_text(client) == '"alive"'

    run(body, server)


def test_nesting_beyond_any_bound_is_an_error_and_not_the_end(server):
    async def body(connect):
        client = await connect()
        for deep in ("[" * 100_000, "[" * 100_000 + "]" * 100_000,
                     publish_text("t", "[" * 100_000 + "]" * 100_000),
                     publish_text("t", '{"a":' * 50_000 + "1" + "}" * 50_000)):
            await client.send(deep)
            assert (await receive(client))["type"] == "error"
        await fence(client)

    run(body, server)


def test_a_binary_frame_is_answered_with_an_error(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "t")
        for payload in (b"", b"\xff\xfe\x00", publish_text("t", "1").encode()):
            await client.send(payload)
            got = await receive(client)
            assert got["type"] == "error" and got["message"]
        await fence(client)

    run(body, server)


def test_a_topic_no_utf8_can_spell_is_an_error(server):
    async def body(connect):
        client = await connect()
        for topic in (r'"\ud800"', r'"a\udc00b"', r'"\ud800\u0041"', r'"\udc00\ud800"'):
            for message in ('{"type":"subscribe","topic":%s}', '{"topic":%s,"data":1}',
                            '{"type":"unsubscribe","topic":%s}'):
                await client.send(message % topic)
                assert (await receive(client))["type"] == "error"
        await fence(client)

    run(body, server)


@pytest.mark.parametrize("kind", ["subscribe", "publish"])
def test_control_characters_in_topics_are_errors(server, kind):
    async def body(connect):
        client = await connect()
        for number in itertools.chain(range(0x20), [0x7F]):
            topic = json.dumps("a" + chr(number)) if number != 0x7F else '"a\\u007f"'
            await client.send('{"type":"%s","topic":%s,"data":1}' % (kind, topic))
            got = await receive(client)
            assert got["type"] == "error", (number, got)
        await fence(client)
        assert server.topic_counts("a") == {}

    run(body, server)


@pytest.mark.parametrize("unit", ["x", "ż", "\U0001f422"])
def test_topics_up_to_the_limit_in_bytes_are_good_and_longer_ones_errors(start_server, unit):
    server = start_server(max_topic_bytes=24)

    async def body(connect):
        client = await connect()
        most = unit * (24 // len(unit.encode()))
        await subscribe(client, most)
        await client.send(publish_text(most, "1"))
        assert await receive_text(client) == "1"
        for message in (command("subscribe", most + "y"), publish_text(most + "y", "1")):
            await client.send(message)
            assert (await receive(client))["type"] == "error"
        await client.send(command("unsubscribe", most + "y"))
        assert (await receive(client))["type"] == "error"
        await client.send(r'{"type":"subscribe","topic":"%s"}' % (r"\u0078" * 24))
        assert await receive(client) == ack("ack_subscribe", "x" * 24)
        await fence(client)

    run(body, server)


def test_the_default_topic_limit_is_1024_bytes(server):
    async def body(connect):
        client = await connect()
        await subscribe(client, "x" * 1024)
        await client.send(command("subscribe", "x" * 1025))
        assert (await receive(client))["type"] == "error"
        await client.send(publish_text("x" * 1025, "1"))
        assert (await receive(client))["type"] == "error"
        await fence(client)

    run(body, server)


@pytest.mark.parametrize("workers", [1, 3])
def test_disconnecting_removes_subscriptions_and_topics(server):
    async def body(connect):
        watcher = await connect()
        clients = [await connect() for _ in range(5)]
        for client in clients:
            for topic in ("x:a", "x:b"):
                await subscribe(client, topic)
        await subscribe(watcher, "x:a")
        assert await topics(watcher, prefix="x:") == ([("x:a", 6), ("x:b", 5)], None)
        await asyncio.gather(*(c.close() for c in clients))
        while await topics(watcher, prefix="x:") != ([("x:a", 1)], None):
            pass
        await watcher.send(publish_text("x:a", "1"))
        assert await receive_text(watcher) == "1"
        await unsubscribe(watcher, "x:a")
        assert await topics(watcher, prefix="x:") == ([], None)

    run(body, server)


async def topics(client, **fields):
    await client.send(json.dumps({"type": "topics", **fields}, ensure_ascii=False))
    got = await receive(client)
    assert got["type"] == "topics", got
    assert set(got) <= {"type", "topics", "next"}, got
    assert all(set(row) == {"topic", "subscribers"} for row in got["topics"]), got
    return [(row["topic"], row["subscribers"]) for row in got["topics"]], got.get("next")


@pytest.mark.parametrize("workers", [1, 3])
def test_topics_are_listed_in_byte_order_with_their_subscribers(server):
    async def body(connect):
        clients = [await connect() for _ in range(4)]
        assert await topics(clients[0]) == ([], None)
        names = ["b", "a", "a:b", "Z", "ż", "\U0001f422", "\uffee", '"', "ab"]
        for n, name in enumerate(names):
            for client in clients[: n % 4 + 1]:
                await subscribe(client, name)
        expected = [(name, names.index(name) % 4 + 1)
                    for name in sorted(names, key=lambda s: s.encode())]
        for client in clients:
            assert await topics(client) == (expected, None)
        await clients[0].send(publish_text("nobody", "1"))
        assert await topics(clients[0]) == (expected, None)

    run(body, server)


@pytest.mark.parametrize("workers", [1, 3])
def test_250_topics_are_paged_gapless_by_any_limit(server):
    async def body(connect):
        client, other = await connect(), await connect()
        names = sorted(f"p:{n}" for n in range(250))
        for c, mine in ((client, names[::2]), (other, names[1::2])):
            for name in mine + ["q", "o"]:
                await c.send(command("subscribe", name))
            for name in mine + ["q", "o"]:
                assert await receive(c) == ack("ack_subscribe", name)
        for limit, pages in ((1, 250), (7, 36), (100, 3), (125, 2), (249, 2), (250, 1), (1000, 1),
                             (None, 3)):
            got, after, count = [], None, 0
            while True:
                fields = {"prefix": "p:"}
                if limit is not None:
                    fields["limit"] = limit
                if after is not None:
                    fields["after"] = after
                page, after = await topics(client, **fields)
                got += page
                count += 1
                assert len(page) == (limit or 100) or after is None
                if after is None:
                    break
                assert after == page[-1][0], "next is what to pass as after"
            assert got == [(name, 1) for name in names], limit
            assert count == pages, limit
        everything, after = await topics(client, limit=1000)
        assert everything == [("o", 2)] + [(n, 1) for n in names] + [("q", 2)] and after is None
        assert (await topics(client, after="p:99"))[0] == [("q", 2)]
        assert (await topics(client, after="p:98x", prefix="p:"))[0] == [("p:99", 1)]
        assert (await topics(client, after="", limit=1))[0] == [("o", 2)]
        assert (await topics(client, after="p", limit=1))[0] == [("p:0", 1)]
        assert await topics(client, after="zz") == ([], None)
        assert await topics(client, prefix="p:24") == (
            [("p:24", 1)] + [(f"p:24{n}", 1) for n in range(10)], None)
        assert await topics(client, prefix="r") == ([], None)

    run(body, server)


@pytest.mark.parametrize("fields", [
    '"limit":0', '"limit":-1', '"limit":1001', '"limit":"5"', '"limit":1.5', '"limit":null',
    '"limit":[]', '"limit":123456789012345678901234567890', '"prefix":5', '"prefix":null',
    '"prefix":["a"]', '"after":5', '"after":{}', '"after":true'])
def test_topics_with_a_wrong_field_is_malformed(server, fields):
    async def body(connect):
        client = await connect()
        await client.send('{"type":"topics",%s}' % fields)
        got = await receive(client)
        assert got["type"] == "error" and got["message"].startswith(MALFORMED), got
        await fence(client)

    run(body, server)


@pytest.mark.parametrize("workers", [1, 3])
def test_many_clients_of_the_library_hear_each_other(server):
    async def body(connect):
        clients = await asyncio.gather(*(connect() for _ in range(30)))
        await asyncio.gather(*(subscribe(c, "hall") for c in clients))
        await asyncio.gather(*(c.send(publish_text("hall", str(n)))
                               for n, c in enumerate(clients)))
        heard = await asyncio.gather(*(all_of(c, len(clients)) for c in clients))
        assert sorted(map(int, heard[0])) == list(range(30))
        assert all(h == heard[0] for h in heard)

    async def all_of(client, n):
        return [await receive_text(client) for _ in range(n)]

    run(body, server)


def test_a_library_ping_is_ponged(server):
    async def body(connect):
        client = await connect()
        for payload in (b"", b"x", b"y" * 125):
            await asyncio.wait_for(await client.ping(payload), DEADLINE)

    run(body, server)


def test_a_library_close_is_clean(server):
    async def body(connect):
        for code, reason in ((1000, ""), (1001, "going"), (3000, "ż"), (4999, "x" * 120)):
            client = await connect()
            await client.close(code, reason)
            with pytest.raises(websockets.exceptions.ConnectionClosed) as ended:
                await client.recv()
            assert ended.value.rcvd.code == code

    run(body, server)


def test_a_message_of_a_megabyte_passes_through_the_library(start_server):
    server = start_server(max_message_bytes="2m")

    async def body(connect):
        client = await connect()
        await subscribe(client, "t")
        data = json.dumps("ż" * 500_000, ensure_ascii=False)
        await client.send(publish_text("t", data))
        assert await receive_text(client) == data

    run(body, server)


def test_ipv6_is_served_like_ipv4(start_server):
    server = start_server(env={"WS_HOST": None})
    assert server.get("/healthz").status == 200

    async def body(connect):
        async with websockets.connect(f"ws://[::1]:{server.port}/") as client:
            assert (await receive(client))["type"] == "info"
            await subscribe(client, "t")
            four = await connect()
            await four.send(publish_text("t", "1"))
            assert await receive_text(client) == "1"

    run(body, server)
