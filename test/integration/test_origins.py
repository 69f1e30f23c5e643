"""Which web pages may connect: WS_ALLOWED_ORIGINS."""

import asyncio
import re

import pytest
import websockets

from raw import Client, head
from test_start import refuses, run

LIST = "https://example.com, https://*.example.org,http://localhost:3000,null"


@pytest.fixture
def choosy(start_server):
    return start_server(allowed_origins=LIST)


def ask(server, *origins):
    conn = Client(server.port, shake=False)
    server.clients.append(conn)
    conn.send(head(extra=[f"Origin: {origin}" for origin in origins]))
    return conn


@pytest.mark.parametrize("origin", [
    "https://example.com", "https://EXAMPLE.com:443", "https://a.example.org",
    "https://a.b.example.org", "http://localhost:3000", "null"])
def test_a_page_of_an_allowed_origin_connects(choosy, origin):
    conn = ask(choosy, origin)
    conn.greeted()
    conn.fence()


@pytest.mark.parametrize("origin", [
    "http://example.com", "https://example.com:8443", "https://example.org", "https://example.com.evil",
    "https://evilexample.org", "https://a.example.org:444", "http://localhost", "https://localhost:3000",
    "https://example.com/", "garbage", "", "https://example.com https://evil.example"])
def test_a_page_of_another_origin_is_answered_403_with_one_sentence(choosy, origin):
    conn = ask(choosy, origin)
    response = conn.response()
    assert response.status == 403
    assert re.fullmatch(rb"[A-Z][^.]*origin[^.]*\.\n", conn.body(response))
    conn.expect_end()
    found = choosy.wait_log(r"info handshake refused.*status=403.*origin=(.*) address=127\.0\.0\.1:\d+")
    assert found[1].strip('"') == origin
    choosy.client().fence()


def test_who_names_no_origin_is_no_browser_and_connects(choosy):
    choosy.client().fence()
    assert choosy.get("/healthz").status == 200


def test_a_page_may_ask_whether_the_server_is_well(choosy):
    assert choosy.get("/healthz", extra=["Origin: https://evil.example"]).status == 200


@pytest.mark.parametrize("setting", [{}, {"allowed_origins": "*"},
                                     {"allowed_origins": "https://example.com,*"}])
def test_all_origins_may_be_allowed_and_are_by_default(start_server, setting):
    server = start_server(**setting)
    for origin in ("https://anything.example", "null", "what even is this"):
        ask(server, origin).greeted()


def test_two_origins_are_no_good_request(choosy):
    assert ask(choosy, "https://example.com", "https://example.com").response().status == 400


def test_a_long_origin_is_not_logged_whole(choosy):
    assert ask(choosy, "https://" + "x" * 4000).response().status == 403
    line = choosy.wait_log(r"handshake refused.*")[0]
    assert 200 < len(line) < 600


def test_a_library_is_told_too(choosy):
    async def connect(origin):
        async with websockets.connect(choosy.url, origin=origin) as conn:
            return await conn.recv()

    assert "Connected" in asyncio.run(connect("https://example.com"))
    with pytest.raises(websockets.exceptions.InvalidHandshake, match="403"):
        asyncio.run(connect("https://evil.example"))


@pytest.mark.parametrize("value,word", [
    ("example.com", "example.com"), ("https://example.com/", "https://example.com/"),
    ("https://example.com,https://*", "https://*"), ("https://a.example,", '""'), ("", '""'),
    ("https://" + "x" * 5000 + "/", "xxxx")])
def test_a_bad_list_is_one_line_that_names_what_is_wrong(value, word):
    refuses(run("serve", WS_ALLOWED_ORIGINS=value), "WS_ALLOWED_ORIGINS", re.escape(word))
