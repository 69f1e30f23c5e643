"""The HTTP side of the socket: health pages, handshakes good and bad, limits at the door."""

import ssl

import pytest

import raw
from hermes_fixtures import eventually, milliseconds
from raw import KEY, PING, PONG, Ended, command, frame, head, text


def refused(server, request, *statuses):
    """The request is answered with one of the statuses, in a whole response, and the connection
    ends."""
    with raw.Raw(server.port) as conn:
        conn.try_send(request)
        response = conn.response()
        assert response.status in statuses, (response.status, request)
        assert response.header("content-length") is not None
        assert "close" in response.header("connection").lower().split(", ")
        body = conn.body(response)
        assert body.strip(), "no word for a person"
        conn.expect_end()
        return response


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/healthz?full=1"])
def test_health_pages_say_200(server, target):
    response = server.get(target)
    assert response.status == 200
    assert response.text


@pytest.mark.parametrize("target", ["/healthz", "/readyz"])
def test_head_of_a_health_page_has_no_body(server, target):
    with raw.Raw(server.port) as conn:
        conn.send(head(target, method="HEAD", key=None, version=None, upgrade=None,
                       connection="close"))
        response = conn.response()
        assert response.status == 200
        conn.expect_end()
        assert conn.at == len(conn.buffer)


def test_a_health_page_is_served_to_http_1_0(server):
    with raw.Raw(server.port) as conn:
        conn.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        response = conn.response()
        assert response.status == 200
        conn.body(response)
        conn.expect_end()


@pytest.mark.parametrize("target", ["/nothing", "/healthz/", "/healthzz", "/index.html", "/metrics",
                                    "/api/topics"])
def test_any_other_page_is_404(server, target):
    assert server.get(target).status == 404


def test_the_root_without_an_upgrade_is_426(server):
    response = refused(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426)
    assert response.header("sec-websocket-version") == "13"
    assert "websocket" in response.header("upgrade").lower()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("target", ["/", "/healthz"])
def test_any_other_method_is_405(server, method, target):
    request = f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    response = refused(server, request, 405)
    assert "GET" in response.header("allow")


def test_an_upgrade_by_another_method_is_405(server):
    refused(server, head(method="POST"), 405)


@pytest.mark.parametrize("version", ["0", "7", "8", "12", "14", "130", "13, 8"])
def test_a_version_other_than_13_is_426_and_names_13(server, version):
    response = refused(server, head(version=version), 426, *([400] if "," in version else []))
    if response.status == 426:
        assert response.header("sec-websocket-version") == "13"


BAD_HEADS = {
    "no_key": head(key=None),
    "empty_key": head(key=""),
    "short_key": head(key="c2hvcnQ="),
    "long_key": head(key="dGhpcyBpcyBtb3JlIHRoYW4gMTYgYnl0ZXM="),
    "key_of_no_base64": head(key="!!!!!!!!!!!!!!!!!!!!!!=="),
    "key_without_padding": head(key=KEY.rstrip("=")),
    "two_keys": head(extra=[f"Sec-WebSocket-Key: {KEY}"]),
    "two_versions": head(extra=["Sec-WebSocket-Version: 13"]),
    "no_host": head(host=None),
    "two_hosts": head(extra=["Host: other"]),
    "space_before_colon": head(extra=["X-A : b"]),
    "space_before_name": head(extra=[" X-A: b"]),
    "no_colon": head(extra=["nonsense"]),
    "empty_name": head(extra=[": b"]),
    "name_no_token": head(extra=["X(A): b"]),
    "control_in_value": head(extra=["X-A: b\x01c"]),
    "nul_in_value": head(extra=["X-A: b\0c"]),
    "delete_in_value": head(extra=["X-A: b\x7fc"]),
    "lone_cr": head(extra=["X-A: b\rX-B: c"]),
    "lone_lf": head(extra=["X-A: b\nX-B: c"]),
    "only_lf": head().replace(b"\r\n", b"\n"),
    "folded": head(extra=["X-A: b", "\tfolded"]),
    "body": head(extra=["Content-Length: 5"]),
    "bad_length": head(extra=["Content-Length: x"]),
    "chunked": head(extra=["Transfer-Encoding: chunked"]),
    "relative_target": head("healthz"),
    "space_in_target": head("/a b"),
    "control_in_target": head("/a\x01b"),
    "no_target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "two_spaces": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no_version": b"GET /\r\nHost: x\r\n\r\n",
    "http_0_9": b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
    "http_2": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "http_1_11": b"GET / HTTP/1.11\r\nHost: x\r\n\r\n",
    "lower_case_http": b"GET / http/1.1\r\nHost: x\r\n\r\n",
    "method_no_token": b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
    "preface_of_http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another_protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 506 + b"\r\n\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n\r\n",
    "smtp": b"EHLO example\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_malformed_head_is_400(server, name):
    refused(server, BAD_HEADS[name], 400)
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize("request_head", [
    head(http="HTTP/1.0"), head(connection="keep-alive"), head(connection=None),
    head(upgrade="h2c"), head(upgrade=None), head(version=None)],
    ids=["http_1_0", "connection_keep_alive", "no_connection", "upgrade_to_h2c", "no_upgrade",
         "no_version"])
def test_half_an_upgrade_is_refused(server, request_head):
    refused(server, request_head, 400, 426)


GOOD_HEADS = {
    "plain": head(),
    "any_path": head("/some/path/%20;x?a=b&c=%00"),
    "healthz": head("/healthz"),
    "lower_case": head().replace(b"Upgrade:", b"upgrade:").replace(b"Sec-WebSocket", b"sec-websocket"),
    "upper_case_values": head(upgrade="WebSocket", connection="UPGRADE"),
    "list_in_connection": head(connection="keep-alive, Upgrade"),
    "list_in_two_lines": head(connection="keep-alive", extra=["Connection: Upgrade"]),
    "list_with_gaps": head(connection=" , ,keep-alive ,\tUpgrade, "),
    "upgrade_list": head(upgrade="h2c, websocket"),
    "no_space_behind_colons": head().replace(b": ", b":"),
    "space_around_values": head(key=f"  {KEY}\t "),
    "zero_length": head(extra=["Content-Length: 0"]),
    "unknown_headers": head(extra=["X-A: b", "X-B:", "X-C: \xe4\xff", "Cookie: a=b; c=d"]),
    "extensions": head(extra=["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, "
                              "x-webkit-deflate-frame"]),
    "origin": head(extra=["Origin: https://example.org"]),
    "large": head(extra=["X-Large: " + "x" * 7000]),
}


@pytest.mark.parametrize("name", GOOD_HEADS)
def test_a_good_upgrade_is_accepted(server, name):
    conn = server.raw()
    conn.send(GOOD_HEADS[name])
    response = conn.upgraded()
    assert response.header("sec-websocket-protocol") is None
    assert response.header("sec-websocket-extensions") is None
    assert conn.recv_json()["type"] == "info"
    conn.send(frame(PING, b"x"))
    conn.expect(PONG, b"x")


@pytest.mark.parametrize("offer,chosen", [
    ("hermes.v1", "hermes.v1"), ("chat, hermes.v1", "hermes.v1"), ("chat", None),
    ("hermes.v11", None), ("Hermes.V1", None)])
def test_of_the_subprotocols_only_a_known_one_is_chosen(server, offer, chosen):
    conn = server.raw()
    response = conn.upgrade(extra=["Sec-WebSocket-Protocol: " + offer])
    assert response.header("sec-websocket-protocol") == chosen


def test_subprotocols_may_stand_in_several_lines(server):
    conn = server.raw()
    response = conn.upgrade(extra=["Sec-WebSocket-Protocol: chat",
                                   "Sec-WebSocket-Protocol: hermes.v1"])
    assert response.header("sec-websocket-protocol") == "hermes.v1"


def test_a_head_over_8_kib_is_431(server):
    refused(server, head(extra=["X-Large: " + "x" * 8192]), 431)
    refused(server, head(extra=[f"X-{n}: y" for n in range(2000)]), 431)
    refused(server, head("/" + "x" * 9000), 431)


def test_too_many_headers_are_431(server):
    refused(server, head(extra=[f"X-{n}: y" for n in range(100)]), 431)


def test_an_endless_head_is_431_before_its_end(server):
    refused(server, b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, 431)


def test_a_head_may_come_in_single_bytes(server):
    conn = server.raw()
    for byte in head(extra=["X-A: b"]):
        conn.send(bytes([byte]))
    conn.upgraded()
    assert conn.recv_json()["type"] == "info"


def test_a_head_may_be_cut_anywhere(server):
    whole = head() + text(command("subscribe", "cut"))
    for cut in range(1, len(whole)):
        with raw.Client(server.port, shake=False) as conn:
            conn.send(whole[:cut])
            conn.send(whole[cut:])
            conn.greeted()
            conn.expect_subscribed("cut")


def test_frames_in_the_same_segment_as_the_head_are_read(server):
    conn = server.raw()
    conn.send(head(), text(command("subscribe", "t")), frame(PING, b"early"),
              text('{"topic":"t","data":1.0}'))
    conn.upgraded()
    assert conn.recv_json()["type"] == "info"
    answers = [conn.recv() for _ in range(3)]
    assert [a.payload for a in answers if a.opcode == PONG] == [b"early"]
    texts = [a.payload for a in answers if a.opcode == raw.TEXT]
    assert b"ack_subscribe" in texts[0] and texts[1] == b"1.0"


def test_a_bad_frame_in_the_same_segment_as_the_head_closes(server):
    conn = server.raw()
    conn.send(head(), frame(3, b""))
    conn.upgraded()
    got = conn.recv()
    if got.opcode == raw.TEXT:
        got = conn.recv()
    conn.check_close(got, 1002)


def test_a_second_request_behind_a_plain_one_is_not_an_upgrade(server):
    with raw.Raw(server.port) as conn:
        conn.try_send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + head())
        response = conn.response()
        assert response.status == 200
        conn.body(response)
        conn.expect_end()


@pytest.mark.parametrize("garbage", [b"\0" * 10_000, b"\xff" * 10_000, b"\r\n\r\n", b"\n\n",
                                     b"GET", b"x" * 10_000, b"\x80\x80\0\0\0\0"],
                         ids=["zeros", "ones", "empty_lines", "empty_lf", "cut", "long", "frame"])
def test_garbage_ends_with_an_error_and_the_server_lives(server, garbage):
    with raw.Raw(server.port) as conn:
        conn.try_send(garbage)
        conn.half_close()
        try:
            assert conn.response().status in (400, 431)
        except Ended:
            pass
    assert server.get("/healthz").status == 200


def test_a_tls_hello_on_the_plain_port_ends_the_connection(server):
    conn = server.raw()
    context = ssl._create_unverified_context()
    with pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(conn.sock, server_hostname="localhost")
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize("sent", [b"", b"G", head()[:-2]], ids=["nothing", "a_byte", "all_but_two"])
def test_a_slow_head_is_cut_off(start_server, sent):
    server = start_server(handshake_seconds=milliseconds(1500))
    conn = server.raw()
    if sent:
        conn.send(sent)
    try:
        assert conn.response().status in (400, 408)
    except Ended:
        pass
    late = server.raw()
    late.upgrade()
    assert late.recv_json()["type"] == "info"


def test_a_dripping_head_is_cut_off_all_the_same(start_server):
    server = start_server(handshake_seconds=milliseconds(1500))
    conn = server.raw()
    conn.send(b"GET / HTTP/1.1\r\nX: ")

    def ended():
        try:
            conn.send(b"x")
            return conn.pending()
        except (OSError, Ended):
            return True

    eventually(ended, "the end of a dripping head")


def test_a_connection_that_is_open_outlives_the_handshake_limit(start_server):
    server = start_server(handshake_seconds=milliseconds(1500))
    conn = server.client()
    for _ in range(2):
        slow = server.raw()
        try:
            slow.response()
        except Ended:
            pass
    conn.fence()


def turned_away(server, **more):
    """503 with Retry-After, and the end."""
    with raw.Raw(server.port, **more) as conn:
        conn.try_send(head())
        response = conn.response()
        if response.status == 101:
            return False
        assert response.status == 503
        assert int(response.header("retry-after")) > 0
        conn.body(response)
        conn.expect_end()
        return True


@pytest.mark.parametrize("workers", [1, 3])
def test_a_full_server_says_503_until_a_place_is_free(start_server, workers):
    server = start_server(workers=workers, max_connections=3)
    clients = [server.client() for _ in range(3)]
    for _ in range(20):
        assert turned_away(server)
    for client in clients:
        client.fence()
    for n in range(6):
        (clients[n % 3].reset if n % 2 else clients[n % 3].drop)()

        def place():
            try:
                return server.client()
            except AssertionError as full:
                assert "503" in str(full)
                return None

        clients[n % 3] = eventually(place, "a free place")
        assert turned_away(server)


def test_an_address_has_its_own_limit(start_server):
    server = start_server(max_connections_per_address=2)
    here = [server.client(source="127.0.0.1") for _ in range(2)]
    for _ in range(5):
        assert turned_away(server, source="127.0.0.1")
    there = [server.client(source="127.0.0.2") for _ in range(2)]
    assert turned_away(server, source="127.0.0.2")
    here[0].drop()
    eventually(lambda: not turned_away(server, source="127.0.0.1"), "a free place")
    assert turned_away(server, source="127.0.0.2")
    for client in (here[1], *there):
        client.fence()


def test_too_many_connects_in_a_second_are_turned_away(start_server):
    server = start_server(max_connects_per_second=3)

    def crowd():
        return any(turned_away(server) for _ in range(20))

    eventually(crowd, "a refusal")
    eventually(lambda: not turned_away(server), "an acceptance later")
