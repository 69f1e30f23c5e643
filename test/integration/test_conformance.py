"""RFC 6455 as a server has to keep it, in the spirit of the Autobahn cases (whose numbers stand at
the tests), through the broker itself and through the bare echo server on the same layers.

At the broker, a client that subscribes to what it publishes is the echo; what is not a publish is
answered with an error, which tells as well that the frame was read as it was meant.
"""

import json
import random

import pytest

from hermes_fixtures import ECHO, Server, server_factory
from raw import (BAD_JSON, BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_body, command,
                 frame, publish_text, text)


class BrokerPeer:
    """Sends and expects as the broker echoes: a publish comes back as its data."""

    def __init__(self, server):
        self.server = server

    def open(self, subscribed=True, **more):
        conn = self.server.client(**more)
        conn.topic = f"c:{conn.sock.getsockname()[1]}"
        if subscribed:
            conn.subscribe(conn.topic)
        return conn

    def around(self, conn):
        return b'{"topic":"%s","data":"' % conn.topic.encode(), b'"}'

    def wrap(self, conn, inner):
        before, after = self.around(conn)
        return before + inner + after

    def expect(self, conn, inner):
        conn.expect(TEXT, b'"' + inner + b'"')

    def sized(self, conn, n):
        """A message of n bytes on the wire, and what comes back."""
        before, after = self.around(conn)
        fill = n - len(before) - len(after)
        if fill < 0:
            return b"x" * n, json.dumps(BAD_JSON, separators=(",", ":")).encode()
        return before + b"x" * fill + after, b'"' + b"x" * fill + b'"'

    def expect_sized(self, conn, answer):
        got = conn.recv_text()
        assert got == answer.decode() or json.loads(got) == json.loads(answer)

    def expect_binary(self, conn, payload):
        conn.expect_error()


class EchoPeer:
    def __init__(self, server):
        self.server = server

    def open(self, subscribed=True, **more):
        conn = self.server.raw(**more)
        conn.upgrade()
        return conn

    def around(self, conn):
        return b"", b""

    def wrap(self, conn, inner):
        return inner

    def expect(self, conn, inner):
        conn.expect(TEXT, inner)

    def sized(self, conn, n):
        return b"x" * n, b"x" * n

    def expect_sized(self, conn, answer):
        conn.expect(TEXT, answer)

    def expect_binary(self, conn, payload):
        conn.expect(BINARY, payload)


@pytest.fixture(scope="module")
def broker():
    with server_factory() as start:
        yield start(workers=2)


@pytest.fixture(scope="module")
def echo():
    if not ECHO.exists():
        pytest.skip(f"{ECHO} is not built")
    server = Server([ECHO], {"WS_PORT": "0", "WS_HOST": "127.0.0.1"})
    yield server
    server.finish()


@pytest.fixture(params=["broker", "echo"])
def peer(request):
    server = request.getfixturevalue(request.param)
    yield {"broker": BrokerPeer, "echo": EchoPeer}[request.param](server)
    for conn in server.clients:
        conn.drop()
    server.clients.clear()


@pytest.fixture
def conn(peer):
    return peer.open()


def alive(peer, conn, mark=b"alive"):
    """The connection still works, and nothing else comes first."""
    conn.send(text(peer.wrap(conn, mark)))
    peer.expect(conn, mark)


def expect_last(peer, conn, inners, code):
    """The close comes, and before it as many of the answers as were ready, in order."""
    quote = b'"' if isinstance(peer, BrokerPeer) else b""
    for inner in inners:
        got = conn.recv()
        if got.opcode == CLOSE:
            conn.check_close(got, code)
            conn.try_send(frame(CLOSE, got.payload[:2]))
            conn.expect_end()
            return
        assert (got.opcode, got.payload) == (TEXT, quote + inner + quote)
    conn.expect_close(code)


SIZES = [0, 1, 124, 125, 126, 127, 128, 200, 65_534, 65_535, 65_536, 65_537, 262_144, 1_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_1_1_text_of_any_size_on_the_wire(peer, conn, size):
    message, answer = peer.sized(conn, size)
    conn.send(text(message))
    peer.expect_sized(conn, answer)
    alive(peer, conn)


@pytest.mark.parametrize("size", [s for s in SIZES if s > 1])
def test_1_1_text_of_any_size_in_the_answer(peer, conn, size):
    inner = b"y" * (size - 2)
    conn.send(text(peer.wrap(conn, inner)))
    peer.expect(conn, inner)
    alive(peer, conn)


@pytest.mark.parametrize("size", SIZES)
def test_1_2_binary_of_any_size(peer, conn, size):
    conn.send(frame(BINARY, b"\xfe" * size))
    peer.expect_binary(conn, b"\xfe" * size)
    alive(peer, conn)


@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\1\2\3", b"\x80\0\0\0"])
def test_any_masking_key_does(peer, conn, key):
    conn.send(text(peer.wrap(conn, b"masked"), key=key))
    peer.expect(conn, b"masked")
    alive(peer, conn)


@pytest.mark.parametrize("payload", [b"", b"Hello", bytes(range(125)), b"\xfe" * 125])
def test_2_1_to_2_4_a_ping_is_ponged_with_its_payload(peer, conn, payload):
    conn.send(frame(PING, payload))
    conn.expect(PONG, payload)
    alive(peer, conn)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("width,length", [(2, 126), (2, 1000), (8, 70_000)])
def test_2_5_a_control_frame_over_125_bytes_is_a_protocol_error(conn, opcode, width, length):
    conn.send(frame(opcode, b"", length=length, width=width))
    conn.expect_close(1002)


def test_2_6_a_ping_in_single_bytes_is_ponged(peer, conn):
    for byte in frame(PING, b"z" * 125):
        conn.send(bytes([byte]))
    conn.expect(PONG, b"z" * 125)
    alive(peer, conn)


@pytest.mark.parametrize("payload", [b"", b"unasked", b"\0" * 125])
def test_2_7_to_2_9_unasked_pongs_are_ignored(peer, conn, payload):
    conn.send(frame(PONG, payload) * 3)
    alive(peer, conn)
    conn.send(frame(PONG, payload), frame(PING, b"now"))
    conn.expect(PONG, b"now")


def test_2_10_of_many_pings_the_newest_is_ponged_and_none_out_of_order(peer, conn):
    conn.send(*(frame(PING, b"ping %d" % n) for n in range(10)))
    newest = -1
    while newest < 9:
        got = conn.recv()
        assert got.opcode == PONG and got.payload.startswith(b"ping "), got
        n = int(got.payload[5:])
        assert newest < n <= 9
        newest = n
    alive(peer, conn)


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE])
def test_3_reserved_bits_are_a_protocol_error(peer, conn, rsv, opcode):
    conn.send(text(peer.wrap(conn, b"first")), frame(opcode, b"", rsv=rsv),
              text(peer.wrap(conn, b"never")))
    expect_last(peer, conn, [b"first"], 1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved"])
def test_4_reserved_opcodes_are_a_protocol_error(peer, conn, opcode, payload):
    conn.send(text(peer.wrap(conn, b"first")), frame(opcode, payload),
              frame(PING, b"never"))
    expect_last(peer, conn, [b"first"], 1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_5_1_a_fragmented_control_frame_is_a_protocol_error(conn, opcode):
    conn.send(frame(opcode, b"", fin=False))
    conn.expect_close(1002)


def test_5_3_a_fragmented_text_is_one_message(peer, conn):
    whole = peer.wrap(conn, b"fragment1fragment2")
    for cut in (0, 1, 10, len(whole) - 1, len(whole)):
        conn.send(frame(TEXT, whole[:cut], fin=False), frame(CONTINUATION, whole[cut:]))
        peer.expect(conn, b"fragment1fragment2")
    alive(peer, conn)


def test_5_4_fragments_may_be_empty(peer, conn):
    whole = peer.wrap(conn, b"x")
    conn.send(frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False),
              frame(CONTINUATION, whole, fin=False), frame(CONTINUATION, b""))
    peer.expect(conn, b"x")
    alive(peer, conn)


def test_5_5_a_message_in_one_byte_fragments_is_whole(peer, conn):
    whole = peer.wrap(conn, b"one by one")
    pieces = [frame(CONTINUATION, whole[i:i + 1], fin=False) for i in range(1, len(whole))]
    conn.send(frame(TEXT, whole[:1], fin=False), *pieces, frame(CONTINUATION, b""))
    peer.expect(conn, b"one by one")
    alive(peer, conn)


@pytest.mark.parametrize("bytewise", [False, True])
def test_5_6_pings_between_fragments_are_ponged_at_once(peer, conn, bytewise):
    whole = peer.wrap(conn, b"with pings between")

    def send(*frames):
        for piece in ([bytes([b]) for b in b"".join(frames)] if bytewise else [b"".join(frames)]):
            conn.send(piece)

    send(frame(TEXT, whole[:7], fin=False), frame(PING, b"a"))
    conn.expect(PONG, b"a")
    send(frame(CONTINUATION, whole[7:12], fin=False), frame(PONG, b"b"), frame(PING, b""))
    conn.expect(PONG, b"")
    send(frame(CONTINUATION, whole[12:]))
    peer.expect(conn, b"with pings between")
    alive(peer, conn)


def test_5_19_two_fragmented_messages_with_pings_keep_apart(peer, conn):
    for name in (b"first", b"second"):
        whole = peer.wrap(conn, name)
        third = len(whole) // 3
        conn.send(frame(TEXT, whole[:third], fin=False), frame(PING, name),
                  frame(CONTINUATION, whole[third:2 * third], fin=False),
                  frame(CONTINUATION, whole[2 * third:]))
        conn.expect(PONG, name)
        peer.expect(conn, name)


def test_5_8_a_fragmented_binary_message_is_one(peer, conn):
    conn.send(frame(BINARY, b"\xff\x00", fin=False), frame(CONTINUATION, b"\xfe"))
    peer.expect_binary(conn, b"\xff\x00\xfe")
    alive(peer, conn)


@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("payload", [b"", b"non-continuation"])
def test_5_9_a_continuation_of_nothing_is_a_protocol_error(conn, fin, payload):
    conn.send(frame(CONTINUATION, payload, fin=fin))
    conn.expect_close(1002)


def test_5_12_a_continuation_behind_a_whole_message_is_a_protocol_error(peer, conn):
    conn.send(text(peer.wrap(conn, b"whole")), frame(CONTINUATION, b"more"))
    expect_last(peer, conn, [b"whole"], 1002)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [False, True])
def test_5_18_a_new_message_inside_a_fragmented_one_is_a_protocol_error(conn, opcode, fin):
    conn.send(frame(TEXT, b"frag", fin=False), frame(opcode, b"ment", fin=fin))
    conn.expect_close(1002)


GOOD_UTF8 = ["Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\U0001f422\U0010ffff", "\ud7ff\ue000\uffff",
             "\u0080\u07ff\u0800", "\ufdd0\ufffe", "日本語", "a\u0300", "x" * 200 + "ż"]
BAD_UTF8 = [b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\x80", b"\xbf",
            b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x80\x80\xaf",
            b"\xf0\x8f\xbf\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\xc3\x28",
            b"\xe2\x28\xa1", b"\xe2\x82\x28", b"\xf0\x28\x8c\xbc", b"\xf0\x90\x28\xbc",
            b"\xf0\x90\x8c\x28", b"\xe2\x82x", b"ok\xc5 "]
CUT_UTF8 = [b"\xc5", b"\xe2\x82", b"\xe2", b"\xf0\x9f\x90", b"\xf0\x9f", b"\xf0", b"fine \xce"]


@pytest.mark.parametrize("inner", GOOD_UTF8)
def test_6_2_good_utf8_passes_in_any_fragments(peer, conn, inner):
    inner = inner.encode()
    whole = peer.wrap(conn, inner)
    conn.send(text(whole))
    peer.expect(conn, inner)
    middle = len(whole) // 2
    for cut in range(middle - 4, middle + 5):
        conn.send(frame(TEXT, whole[:cut], fin=False), frame(CONTINUATION, whole[cut:]))
        peer.expect(conn, inner)
    conn.send(frame(TEXT, whole[:1], fin=False),
              *(frame(CONTINUATION, whole[i:i + 1], fin=False) for i in range(1, len(whole))),
              frame(CONTINUATION))
    peer.expect(conn, inner)


@pytest.mark.parametrize("inner", BAD_UTF8 + CUT_UTF8)
@pytest.mark.parametrize("form", ["whole", "fragments", "bytewise"])
def test_6_3_bad_utf8_closes_with_1007(peer, conn, inner, form):
    whole = peer.wrap(conn, inner)
    if form == "whole":
        conn.try_send(text(whole))
    elif form == "fragments":
        conn.try_send(frame(TEXT, whole[:1], fin=False),
                      *(frame(CONTINUATION, whole[i:i + 1], fin=False)
                        for i in range(1, len(whole))), frame(CONTINUATION))
    else:
        for byte in text(whole):
            conn.try_send(bytes([byte]))
    conn.expect_close(1007)


@pytest.mark.parametrize("inner", CUT_UTF8)
def test_6_3_a_text_that_ends_within_a_character_closes_with_1007(conn, inner):
    conn.send(text(inner))
    conn.expect_close(1007)


@pytest.mark.parametrize("inner", BAD_UTF8)
def test_6_4_bad_utf8_is_refused_before_its_message_ends(conn, inner):
    conn.send(frame(TEXT, b"still valid", fin=False), frame(CONTINUATION, inner, fin=False))
    conn.expect_close(1007)


@pytest.mark.parametrize("inner", BAD_UTF8)
def test_6_4_bad_utf8_is_refused_before_its_frame_ends(conn, inner):
    conn.send(frame(TEXT, b"still valid " + inner, length=5000))
    conn.expect_close(1007)


def test_7_1_a_close_is_answered_and_nothing_behind_it_is(peer, conn):
    conn.send(frame(CLOSE, close_body(1000)), frame(PING, b"late"),
              text(peer.wrap(conn, b"late")))
    got = conn.recv()
    assert got.opcode == CLOSE
    conn.check_close(got, 1000)
    conn.expect_end()


def test_7_1_before_the_answer_to_a_close_come_only_whole_answers_in_order(peer, conn):
    conn.send(*(text(peer.wrap(conn, b"%d" % n)) for n in range(20)), frame(CLOSE, close_body(1000)))
    expect_last(peer, conn, [b"%d" % n for n in range(20)], 1000)


def test_7_1_5_a_close_amid_a_fragmented_message_is_answered(conn):
    conn.send(frame(TEXT, b"unfinished", fin=False), frame(CLOSE, close_body(1000)))
    conn.expect_close(1000)


def test_7_3_1_a_close_without_a_body_is_answered(conn):
    conn.send(frame(CLOSE))
    got = conn.recv()
    assert got.opcode == CLOSE
    conn.check_close(got, None, 1000)
    conn.expect_end()


def test_7_3_2_a_close_of_one_byte_is_a_protocol_error(conn):
    conn.send(frame(CLOSE, b"\x03"))
    conn.expect_close(1002)


@pytest.mark.parametrize("reason", ["", "bye", "ż" * 61, "x" * 123])
def test_7_3_a_close_with_a_reason_is_answered(conn, reason):
    conn.send(frame(CLOSE, close_body(1000, reason.encode())))
    conn.expect_close(1000)


@pytest.mark.parametrize("reason", [b"\xff", b"\xed\xa0\x80", b"cut \xc5"])
def test_7_5_a_reason_that_is_not_utf8_closes_with_1007(conn, reason):
    conn.send(frame(CLOSE, close_body(1000, reason)))
    conn.expect_close(1007)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
                                  1014, 3000, 3999, 4000, 4999])
def test_7_7_good_close_codes_come_back(conn, code):
    conn.send(frame(CLOSE, close_body(code)))
    conn.expect_close(code)


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000,
                                  65_535])
@pytest.mark.parametrize("reason", [b"", b"why"])
def test_7_9_bad_close_codes_are_a_protocol_error(conn, code, reason):
    conn.send(frame(CLOSE, close_body(code, reason)))
    conn.expect_close(1002)


@pytest.mark.parametrize("fragment", [64, 1000, 65_536, 400_000])
def test_9_3_a_big_message_in_fragments_is_one(peer, conn, fragment):
    size = {64: 50_000}.get(fragment, 800_000)
    message, answer = peer.sized(conn, size)
    pieces = [message[i:i + fragment] for i in range(0, size, fragment)]
    conn.send(frame(TEXT, pieces[0], fin=False),
              *(frame(CONTINUATION, p, fin=False) for p in pieces[1:]), frame(CONTINUATION))
    peer.expect_sized(conn, answer)
    alive(peer, conn)


@pytest.mark.parametrize("chop", [1, 3, 64, 1024, 65_535])
def test_10_1_chops_do_not_matter(peer, conn, chop):
    size = {1: 3000, 3: 9000}.get(chop, 65_536)
    message, answer = peer.sized(conn, size)
    stream = text(message)
    for i in range(0, len(stream), chop):
        conn.send(stream[i:i + chop])
    peer.expect_sized(conn, answer)
    alive(peer, conn)


def test_10_chops_at_random_leave_the_messages_whole(peer, conn):
    dice = random.Random(6455)
    inners = [b"%d " % n + b"x" * dice.choice([0, 1, 100, 126, 5000, 66_000]) for n in range(60)]
    stream = b""
    for n, inner in enumerate(inners):
        whole = peer.wrap(conn, inner)
        key = dice.randbytes(4)
        if n % 3:
            stream += text(whole, key=key)
        else:
            cut = dice.randrange(len(whole))
            stream += frame(TEXT, whole[:cut], fin=False, key=key)
            stream += frame(PONG, b"between", key=key)
            stream += frame(CONTINUATION, whole[cut:], key=key)
    at = 0
    while at < len(stream):
        n = dice.choice([1, 2, 5, 13, 1000, 30_000])
        conn.send(stream[at:at + n])
        at += n
    for inner in inners:
        peer.expect(conn, inner)
    alive(peer, conn)


@pytest.mark.parametrize("make", [
    lambda: text(b"x", key=None), lambda: frame(PING, b"", key=None),
    lambda: frame(BINARY, b"xyz", key=None), lambda: frame(CLOSE, close_body(1000), key=None)],
    ids=["text", "ping", "binary", "close"])
def test_an_unmasked_frame_is_a_protocol_error(conn, make):
    conn.send(make())
    conn.expect_close(1002)


@pytest.mark.parametrize("length,width", [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65_535, 8)])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_length_that_is_not_the_shortest_is_a_protocol_error(conn, opcode, length, width):
    conn.send(frame(opcode, b"", length=length, width=width))
    conn.expect_close(1002)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
def test_a_length_with_the_top_bit_is_refused(conn, length):
    conn.send(frame(TEXT, b"", length=length, width=8))
    got = conn.recv()
    assert got.opcode == CLOSE
    conn.check_close(got, 1002, 1009)
    conn.expect_end()


@pytest.mark.parametrize("length", [1 << 24, (1 << 32) + 5, (1 << 63) - 1])
def test_a_length_beyond_all_limits_is_refused_at_the_header(conn, length):
    conn.send(frame(TEXT, b"", length=length, width=8))
    conn.expect_close(1009)


def test_after_a_protocol_error_a_client_that_goes_on_sending_gets_the_close(peer, conn):
    conn.try_send(frame(TEXT, b"x", rsv=1))
    for _ in range(50):
        conn.try_send(text(b"x" * 10_000))
    ended = conn.until_end()
    assert ended == [] or (ended[-1].opcode == CLOSE and len(ended) == 1)


@pytest.fixture
def small(start_server):
    return start_server(max_message_bytes="64k", workers=1)


def test_9_a_message_of_exactly_the_limit_passes(small):
    peer = BrokerPeer(small)
    conn = peer.open()
    message, answer = peer.sized(conn, 65_536)
    conn.send(text(message))
    peer.expect_sized(conn, answer)
    conn.send(frame(TEXT, message[:30_000], fin=False), frame(CONTINUATION, message[30_000:]))
    peer.expect_sized(conn, answer)
    conn.send(frame(TEXT, message, fin=False), frame(PING, b"x"), frame(CONTINUATION, b""))
    conn.expect(PONG, b"x")
    peer.expect_sized(conn, answer)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [65_537, 1 << 20, 1 << 40])
def test_9_a_message_over_the_limit_is_1009_at_its_header(small, opcode, length):
    conn = small.client()
    conn.send(frame(opcode, b"", length=length, width=8))
    conn.expect_close(1009)


def test_9_fragments_over_the_limit_are_1009_at_the_header_of_the_first_too_many(small):
    conn = small.client()
    conn.send(frame(TEXT, b"x" * 40_000, fin=False), frame(CONTINUATION, b"x" * 25_536, fin=False))
    conn.send(frame(PING, b"so far so good"))
    conn.expect(PONG, b"so far so good")
    conn.send(frame(CONTINUATION, b"", length=1, fin=False))
    conn.expect_close(1009)


def test_9_a_declared_length_costs_nothing_before_its_bytes(start_server):
    server = start_server(max_message_bytes="16m", workers=1)
    clients = [server.client() for _ in range(100)]
    before = server.memory()
    for conn in clients:
        conn.send(frame(TEXT, b"x", length=16 << 20), b"y" * 100)
    server.client().fence()
    assert server.memory() - before < 100 * (16 << 20) // 20


def test_a_message_in_endless_fragments_ends_without_much_memory(start_server):
    server = start_server(max_message_bytes="1m", workers=1)
    conn = server.client()
    before = server.memory()
    server.reset_peak()
    conn.try_send(frame(TEXT, b"x", fin=False))
    piece = frame(CONTINUATION, b"x", fin=False) * 1000
    for _ in range(300):
        conn.try_send(piece)
    conn.try_send(frame(CONTINUATION))
    got = conn.recv()
    if got.opcode == CLOSE:
        conn.check_close(got, 1008, 1009)
    else:
        assert json.loads(got.payload) == BAD_JSON
    assert server.peak_memory() - before < 16 << 20
    server.client().fence()


def test_empty_fragments_without_end_are_refused(start_server):
    server = start_server(workers=1)
    conn = server.client()
    conn.try_send(frame(TEXT, b"", fin=False))
    piece = frame(CONTINUATION, b"", fin=False) * 10_000
    for _ in range(60):
        conn.try_send(piece)
    ended = conn.until_end() if not conn.pending() else [conn.recv()]
    assert ended and ended[0].opcode == CLOSE
    conn.check_close(ended[0], 1008, 1009)
    server.client().fence()


def test_subscriptions_of_a_client_that_broke_the_rules_are_gone(broker):
    conn, other = broker.client(), broker.client()
    conn.subscribe("rules")
    conn.send(frame(3, b""))
    conn.expect_close(1002)
    while other.counts("rules"):
        pass
    other.say(publish_text("rules", "1"), command("unsubscribe", "rules"))
    other.expect_error("Not subscribed to rules")
