"""Tokens of clients: how they come, which are refused, what they and the rules let whom do."""

import base64
import hashlib
import hmac
import json
import re
import signal
import subprocess
import time
import urllib.parse

import jwt
import pytest

import raw
from cli_test import run as cli
from hermes_fixtures import HERMES, clean_environment, eventually, within
from test_start import run
from test_token import DIGESTS, SECRET, keys, public_pem  # noqa: F401: a fixture

OTHER = "another secret, which is just as long as the first"
HOUR = 3600
LASTS = 6 * raw.SLOW  # seconds, of a token whose end is waited for: it is warned of in the last tenth

TEXTS = {
    "malformed": "This is no token that can be read.",
    "no_key": "The token's algorithm or key is not accepted here.",
    "bad_signature": "The token's signature does not hold.",
    "bad_claims": "The token's claims are not of the expected form.",
    "expired": "The token has expired.",
    "not_yet": "The token does not hold yet.",
    "wrong_issuer": "The token is of another issuer.",
    "wrong_audience": "The token is for another audience.",
    "denied": "The token has been revoked."}

NOT_SUBSCRIBED = "This topic may not be subscribed."
NOT_PUBLISHED = "Nothing may be published to this topic."
NO_PATTERN = "This pattern may not be subscribed."


def token(secret=SECRET, algorithm="HS256", lasts=HOUR, headers=None, hermes=None, **claims):
    """A good one, unless told otherwise. `lasts` None: for ever."""
    claims.setdefault("sub", "alice")
    if lasts is not None:
        claims["exp"] = int(time.time() + lasts)
    if hermes is not None:
        claims["hermes"] = hermes
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, secret, algorithm, headers)


def bearer(text):
    return [f"Authorization: Bearer {text}"]


@pytest.fixture
def secret_server(start_server):
    def start(*flags, **more):
        more.setdefault("jwt_secret", SECRET)
        more.setdefault("workers", 2)
        return start_server(*flags, **more)

    return start


def refused(server, status, text, path="/", extra=()):
    with raw.Raw(server.port) as conn:
        conn.send(raw.head(path, extra=extra))
        response = conn.response()
        assert (response.status, conn.body(response).decode()) == (status, text + "\n")
        if status == 401:
            assert response.header("www-authenticate") == "Bearer"
        conn.expect_end()


def forbidden(client, number, message, **more):
    assert client.recv_json() == {
        "type": "error", "code": "forbidden", "message": message, "id": number, **more}


# --- how they come ----------------------------------------------------------------------------


def ways(text):
    quoted = "".join(f"%{ord(c):02x}" for c in text)
    return {
        "header": ("/", bearer(text)),
        "header, any case": ("/", [f"authorization: bEARER   {text}"]),
        "query": (f"/?token={text}", []),
        "query, among others": (f"/where?a=b&token={text}&token2=c", []),
        "query, escaped": (f"/?token={quoted}", []),
        "query, escaped in capitals": (f"/?token={quoted.upper().replace('%2E', '.')}", []),
        "subprotocol": ("/", [f"Sec-WebSocket-Protocol: hermes.v2, token.{text}"]),
        "subprotocol, first": ("/", [f"Sec-WebSocket-Protocol: token.{text},hermes.v1"]),
        "subprotocol, on a line of its own": (
            "/", ["Sec-WebSocket-Protocol: hermes.v2", f"Sec-WebSocket-Protocol: token.{text}"])}


@pytest.mark.parametrize("way", ways(""))
def test_each_way_to_carry_a_token(secret_server, way):
    server = secret_server(rules=[{"match": "secret:>", "subscribe": "authenticated"}])
    path, extra = ways(token())[way]
    client = server.client(path=path, extra=extra, shake=False)
    client.send(raw.head(path, extra=extra))
    handshake = client.upgraded()
    chosen = handshake.header("sec-websocket-protocol")
    assert chosen == ("hermes.v2" if "hermes.v2" in str(extra) else
                      "hermes.v1" if "hermes.v1" in str(extra) else None)
    assert client.recv_json()["type"] == "info"
    client.say(raw.command("subscribe", "secret:1"))
    assert client.recv_json()["type"] == "ack_subscribe"
    path, extra = ways(token(OTHER))[way]
    refused(server, 401, TEXTS["bad_signature"], path, extra)


@pytest.mark.parametrize("path,extra", [
    ("/?token={0}", ["Authorization: Bearer {0}"]),
    ("/?token={0}&token={0}", []),
    ("/", ["Authorization: Bearer {0}", "Authorization: Bearer {0}"]),
    ("/?token={0}", ["Sec-WebSocket-Protocol: hermes.v2, token.{0}"]),
    ("/", ["Sec-WebSocket-Protocol: token.{0}, token.{0}"])])
def test_more_than_one_is_a_bad_request(secret_server, path, extra):
    good = token()
    refused(secret_server(), 400, "Give one token, and in one way.", path.format(good),
            [line.format(good) for line in extra])


@pytest.mark.parametrize("path,extra", [
    ("/?tokens=x&atoken=y&TOKEN=z", []),
    ("/", ["Authorization: Basic YTpi"]),
    ("/", ["Authorization: Bearers x"]),
    ("/", ["Sec-WebSocket-Protocol: hermes.v1, tokens.x"])])
def test_what_is_no_token_is_passed_over(secret_server, path, extra):
    secret_server().client(path=path, extra=extra).fence()


@pytest.mark.parametrize("path,extra", [
    ("/?token=", []), ("/?token=%zz", []), ("/?token=a%2", []), ("/", ["Authorization: Bearer"]),
    ("/", ["Sec-WebSocket-Protocol: hermes.v2, token."])])
def test_an_empty_or_broken_one_is_a_bad_one(secret_server, path, extra):
    refused(secret_server(), 401, TEXTS["malformed"], path, extra)


def test_without_a_key_tokens_are_not_looked_at_and_the_log_says_so(start_server):
    server = start_server(workers=1)
    server.wait_log("tokens are not checked reason=.no key is configured: everyone may connect and do "
                    "what the rules allow")
    server.client(path="/?token=x&token=y", extra=bearer("nonsense")).fence()
    client = server.client2()
    number = client.tell("auth", token=token())
    assert client.recv_json() == {"type": "error", "code": "unavailable", "id": number,
                                  "message": "This server takes no tokens."}


def test_rules_that_nobody_can_meet_are_warned_of(start_server):
    start_server(rules=RULES).wait_log(" warn rules ask for tokens reason=.none are checked")


def test_whoever_has_none_is_let_in(secret_server):
    server = secret_server()
    server.wait_log(" info tokens are checked secret=yes public_keys=0 denied_ids=0 denied_users=0")
    server.client().fence()


# --- which are refused ------------------------------------------------------------------------


def unsigned(header, **claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    return f"{part(header)}.{part({'sub': 'alice', 'exp': int(time.time()) + HOUR, **claims})}."


def swapped(text, **claims):
    """Other claims under the same signature."""
    head, payload, signature = text.split(".")
    old = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    new = base64.urlsafe_b64encode(json.dumps({**old, **claims}).encode()).rstrip(b"=").decode()
    return f"{head}.{new}.{signature}"


FORGED = {
    "no algorithm": (lambda: unsigned({"alg": "none"}), "no_key"),
    "no algorithm, in capitals": (lambda: unsigned({"alg": "NONE"}), "no_key"),
    "no signature": (lambda: unsigned({"alg": "HS256"}), "bad_signature"),
    "another secret": (lambda: token(OTHER), "bad_signature"),
    "an algorithm of public keys": (lambda: unsigned({"alg": "RS256"}) + "AAAA", "no_key"),
    "other claims": (lambda: swapped(token(), sub="root"), "bad_signature"),
    "truncated": (lambda: token()[:-3], "bad_signature"),
    "without its end": (lambda: token().rsplit(".", 1)[0], "malformed"),
    "one character": (lambda: "x", "malformed"),
    "with a fourth part": (lambda: token() + ".x", "malformed"),
    "huge": (lambda: "x" * 7900, "malformed"),
    "expired": (lambda: token(lasts=-60), "expired"),
    "not yet": (lambda: token(nbf=int(time.time()) + HOUR), "not_yet"),
    "another issuer": (lambda: token(iss="mallory", aud="here"), "wrong_issuer"),
    "no issuer": (lambda: token(aud="here"), "wrong_issuer"),
    "another audience": (lambda: token(iss="us", aud="there"), "wrong_audience"),
    "no audience": (lambda: token(iss="us"), "wrong_audience"),
    "no pattern": (lambda: token(iss="us", aud="here", hermes={"subscribe": ["a*"]}), "bad_claims"),
    "a claim misspelt": (lambda: token(iss="us", aud="here", hermes={"subscrib": []}), "bad_claims"),
    "revoked": (lambda: token(iss="us", aud="here", jti="lost"), "denied"),
    "of a user who is out": (lambda: token(iss="us", aud="here", sub="mallory"), "denied")}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tokens_are_refused_with_the_reason_and_leave_no_trace(secret_server, tmp_path, name):
    make, why = FORGED[name]
    deny = tmp_path / "deny.json"
    deny.write_text(json.dumps({"jti": ["lost"], "sub": ["mallory"]}))
    server = secret_server(jwt_issuer="us", jwt_audience="here", jwt_deny=deny, log_level="debug")
    good = {"iss": "us", "aud": ["there", "here"]}
    bad = make()
    if why in ("expired", "not_yet"):
        claims = jwt.decode(bad, options={"verify_signature": False})
        bad = jwt.encode({**claims, **good}, SECRET, "HS256")
    refused(server, 401, TEXTS[why], extra=bearer(bad))
    server.wait_log(f"token refused reason={why}")

    client = server.client2(extra=bearer(token(**good)))
    number = client.tell("auth", token=bad)
    assert client.recv_json() == {
        "type": "error", "code": "token_expired" if why == "expired" else "unauthorized",
        "message": TEXTS[why], "id": number}
    client.drop()
    server.stop()
    if len(bad) > 1:
        assert bad not in server.log()
        assert bad[-20:] not in server.log()


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_every_algorithm_is_accepted_and_pinned_by_the_key(secret_server, tmp_path, keys, algorithm):  # noqa: F811
    pem = tmp_path / "public.pem"
    if algorithm.startswith("HS"):
        server = secret_server()
        key = SECRET
    else:
        key = keys[algorithm]
        pem.write_bytes(public_pem(key))
        server = secret_server(jwt_secret="", jwt_public_key=pem)
    server.client(extra=bearer(token(key, algorithm))).fence()
    if algorithm.startswith("HS"):
        return
    text = unsigned({"alg": "HS256"}).rstrip(".")
    forged = hmac.new(pem.read_bytes(), text.encode(), hashlib.sha256).digest()
    forged = text + "." + base64.urlsafe_b64encode(forged).rstrip(b"=").decode()
    refused(server, 401, TEXTS["no_key"], extra=bearer(forged))


# --- who may do what --------------------------------------------------------------------------

ACCESS = ["everyone", "authenticated", "token", "nobody"]
RULES = [{"match": f"{word}:>", "subscribe": word, "publish": word, "presence": True, "history": 5}
         for word in ACCESS]
ALL = [f"{word}:*" for word in ACCESS] + ["free:*"]

# who it is: its token, and the words whose topics it may subscribe to and publish to
BEARERS = {
    "nobody in particular": (None, ["everyone", "free"], ["everyone", "free"]),
    "a user": ({}, ["everyone", "authenticated", "free"], ["everyone", "authenticated", "free"]),
    "no user": ({"sub": None}, ["everyone", "free"], ["everyone", "free"]),
    "a user with all lists": ({"hermes": {"subscribe": ALL, "publish": ALL}},
                              ["everyone", "authenticated", "token", "free"],
                              ["everyone", "authenticated", "token", "free"]),
    "lists and no user": ({"sub": None, "hermes": {"subscribe": ALL, "publish": ALL}},
                          ["everyone", "token", "free"], ["everyone", "token", "free"]),
    "who may only subscribe": ({"hermes": {"subscribe": ALL, "publish": []}},
                               ["everyone", "authenticated", "token", "free"], []),
    "who may only publish": ({"hermes": {"subscribe": [], "publish": [">"]}},
                             [], ["everyone", "authenticated", "token", "free"]),
    "who may publish one": ({"hermes": {"publish": ["token:1"]}},
                            ["everyone", "authenticated", "free"], ["token"]),
    "who may have others": ({"hermes": {"subscribe": ["x:>"], "publish": ["x:>"]}}, [], [])}


def expect_verdict(client, level, good, command, topic, message):
    got = client.recv_json()
    if good:
        assert got["type"] == "ack_" + command, got
    elif level == 2:
        assert got == {"type": "error", "code": "forbidden", "message": message, "id": 7, "topic": topic}
    else:
        assert got == {"type": "error", "message": message}


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("who", BEARERS)
def test_rules_and_tokens_together(secret_server, who, level):
    claims, may_subscribe, may_publish = BEARERS[who]
    server = secret_server(rules=RULES)
    extra = bearer(token(**claims)) if claims is not None else []
    client = server.client2(extra=extra) if level == 2 else server.client(extra=extra)
    for word in [*ACCESS, "free"]:
        topic = f"{word}:1"
        client.say(json.dumps({"type": "subscribe", "topic": topic, "id": 7}))
        expect_verdict(client, level, word in may_subscribe, "subscribe", topic, NOT_SUBSCRIBED)
        if level == 2 or word not in may_publish:
            other = server.client2(extra=extra) if level == 2 else server.client(extra=extra)
            other.say(json.dumps({"type": "publish", "topic": topic, "data": 1, "id": 7}))
            expect_verdict(other, level, word in may_publish, "publish", topic, NOT_PUBLISHED)
        else:
            client.publish(topic, 1)
        if word in may_publish and word in may_subscribe:
            assert client.recv_json() == 1 if level == 1 else client.recv_json()["data"] == 1
        if level == 2:
            for command in ("history", "presence"):
                client.say(json.dumps({"type": command, "topic": topic, "id": 8}))
                got = client.recv_json()
                lists = claims is not None and "hermes" in claims
                if word not in may_subscribe or (command == "presence" and lists):
                    assert got["code"] == "forbidden" and got["topic"] == topic, got
                elif command == "history" and word == "free":
                    assert got["code"] == "no_history"
                else:
                    assert got["type"] == command
            if word in may_subscribe:
                client.say(json.dumps({"type": "unsubscribe", "topic": topic}))
                assert client.recv_json()["type"] == "ack_unsubscribe"


def test_a_refusal_does_not_tell_whether_the_topic_exists(secret_server):
    server = secret_server(rules=RULES)
    inside = server.client2(extra=bearer(token()))
    inside.subscribe("authenticated:xyzzy")
    outside = server.client2()
    for command in ("subscribe", "publish", "history", "presence"):
        answers = []
        for name in ("xyzzy", "plugh"):
            outside.say(json.dumps({"type": command, "topic": f"authenticated:{name}", "data": 1, "id": 1}))
            answers.append(outside.recv_text().replace(name, ""))
        assert answers[0] == answers[1]
        assert json.loads(answers[0])["code"] == "forbidden"


def test_patterns_must_be_granted_as_a_whole_and_do_not_bring_what_rules_forbid(secret_server):
    server = secret_server(rules=RULES)
    client = server.client2(extra=bearer(token(hermes={"subscribe": ["free:*", "authenticated:*"]})))
    for pattern in (">", "*", "fre:*", "free:>", "*:1"):
        number = client.tell("subscribe", pattern=pattern)
        forbidden(client, number, NO_PATTERN, pattern=pattern)
    for pattern in ("free:*", "free:x", "authenticated:*"):
        assert client.ask("subscribe", pattern=pattern)["type"] == "ack_subscribe"
    other = server.client2(extra=bearer(token()))
    assert other.ask("publish", topic="authenticated:1", data=1)["subscribers"] == 0
    assert other.ask("publish", topic="free:1", data=2)["subscribers"] == 1
    assert client.recv_json()["data"] == 2


def test_a_token_without_presence_neither_asks_nor_watches(secret_server):
    server = secret_server(rules=RULES)
    client = server.client2(extra=bearer(token(hermes={"presence": False})))
    for fields in ({"topic": "everyone:1"}, {"pattern": "everyone:*"}):
        number = client.tell("subscribe", presence=True, **fields)
        forbidden(client, number, "This topic does not tell who is there.", **fields)
    number = client.tell("presence", topic="everyone:1")
    forbidden(client, number, "This topic does not tell who is there.", topic="everyone:1")
    granted = server.client2(extra=bearer(token(hermes={"presence": True})))
    assert granted.ask("presence", topic="everyone:1") == {
        "type": "presence", "topic": "everyone:1", "clients": [], "id": 1}


def test_a_listing_shows_what_may_be_subscribed_and_no_other_name(secret_server):
    server = secret_server(rules=RULES)
    names = [f"{word}:{i}" for word in ("authenticated", "everyone", "free") for i in range(40)]
    inside = server.client2(extra=bearer(token()))
    assert inside.ask("subscribe", topics=names[:1])["type"] == "ack_subscribe"
    for name in names[1:]:
        inside.subscribe(name)
    shown = {"everyone": None, "free": {"hermes": {"subscribe": ["free:*"]}}, "all": {}}
    for who, claims in shown.items():
        extra = [] if claims is None else bearer(token(**claims))
        client = server.client2(extra=extra)
        visible = sorted(n for n in names if who == "all" or not n.startswith("authenticated")
                         and (who == "everyone" or n.startswith("free")))
        for limit in (1, 7, 40, 1000):
            found, after = [], ""
            while after is not None:
                got = client.ask("topics", after=after, limit=limit)
                found += [row["topic"] for row in got["topics"]]
                after = got.get("next")
                assert after is None or after in visible
            assert found == visible


def test_who_is_to_see_little_of_very_much_is_shown_it_all(secret_server):
    server = secret_server(rules=RULES, max_subscriptions=0)
    inside = server.client2(extra=bearer(token()))
    for first in range(0, 12000, 500):
        inside.say(json.dumps({"type": "subscribe",
                               "topics": [f"authenticated:{n}" for n in range(first, first + 500)]}))
        for _ in range(500):
            inside.recv()
    inside.subscribe("authenticatee")
    inside.subscribe("everyone:1")
    assert list(server.topic_counts()) == ["authenticatee", "everyone:1"]


# --- auth on a live connection ----------------------------------------------------------------


def test_a_new_token_takes_the_place_of_the_old_one(secret_server):
    server = secret_server(rules=RULES)
    client = server.client2()
    number = client.tell("subscribe", topic="authenticated:1")
    forbidden(client, number, NOT_SUBSCRIBED, topic="authenticated:1")
    end = int(time.time()) + HOUR
    assert client.ask("auth", token=token(lasts=None, exp=end)) == {
        "type": "ack_auth", "expires": end, "id": 2}
    client.subscribe("authenticated:1")
    assert client.ask("auth", token=token(lasts=None)) == {"type": "ack_auth", "id": 4}
    number = client.tell("auth", token=token(OTHER))
    assert client.recv_json() == {"type": "error", "code": "unauthorized", "id": number,
                                  "message": TEXTS["bad_signature"]}
    client.publish("authenticated:1", 1)
    assert client.recv_json()["data"] == 1


def test_smaller_grants_end_what_they_do_not_cover(secret_server):
    server = secret_server(rules=RULES)
    wide = token(hermes={"subscribe": [">"], "publish": [">"], "presence": True})
    client = server.client2(extra=bearer(wide))
    other = server.client2(extra=bearer(wide))
    for topic in ("a", "free:1", "token:1"):
        client.subscribe(topic)
    assert client.ask("subscribe", topic="everyone:1", presence=True)["type"] == "ack_subscribe"
    for pattern in ("free:>", "everyone:*"):
        assert client.ask("subscribe", pattern=pattern)["type"] == "ack_subscribe"
    small = token(hermes={"subscribe": ["free:*", "everyone:*"]})
    number = client.tell("auth", token=small)
    ended = [client.recv_json() for _ in range(3)]
    assert all(got["code"] == "forbidden" and "id" not in got for got in ended), ended
    assert {(got.get("topic") or got.get("pattern"), got["message"]) for got in ended} == {
        ("a", NOT_SUBSCRIBED), ("token:1", NOT_SUBSCRIBED), ("free:>", NO_PATTERN)}
    assert client.recv_json()["id"] == number
    assert server.topic_counts("a") == {}
    for topic in ("a", "token:1", "free:1"):
        other.publish(topic, json.dumps(topic))
    other.subscribe("everyone:1")  # a join that is not told
    other.publish("everyone:1", 1)
    assert client.recv_json()["data"] == "free:1"
    assert client.recv_json()["data"] == 1


def test_whoever_guesses_has_to_wait(secret_server):
    server = secret_server(workers=1)
    client = server.client2()
    bad = json.dumps({"type": "auth", "token": token(OTHER)})
    client.say(*[bad] * 60)
    codes = [client.recv_json()["code"] for _ in range(60)]
    assert codes[0] == "unauthorized" and "rate_limited" in codes
    client.fence()


# --- the end of a token -----------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 2])
def test_whose_token_expires_is_warned_and_closed(secret_server, level):
    server = secret_server(jwt_leeway_seconds="1s")
    end = int(time.time()) + 4
    extra = bearer(token(lasts=None, exp=end))
    client = server.client2(extra=extra) if level == 2 else server.client(extra=extra)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    got = client.recv_json()
    if level == 2:
        assert got == {"type": "error", "code": "token_expired",
                       "message": f"The token expires at {when}: send a new one by auth."}
    else:
        assert got == {"type": "error",
                       "message": f"The token expires at {when}: connect again with a new one."}
    client.expect_close(4001)
    assert time.time() >= end + 1
    assert server.wait_log("session closed .*the token has expired.* code=4001")


def test_who_refreshes_stays(secret_server):
    server = secret_server(jwt_leeway_seconds="0")
    second = server.client2(extra=bearer(token(lasts=LASTS)))
    first = server.client2(extra=bearer(token(lasts=LASTS + 1)))
    assert first.recv_json()["code"] == "token_expired"
    assert first.ask("auth", token=token())["type"] == "ack_auth"
    assert second.recv_json()["code"] == "token_expired"
    second.expect_close(4001)
    first.fence()


def test_who_is_denied_is_closed_at_sighup_and_not_let_in_again(secret_server, tmp_path):
    deny = tmp_path / "deny.json"
    deny.write_text("{}")
    server = secret_server(jwt_deny=deny)
    texts = {name: token(sub=name, jti=f"{name}'s") for name in ("alice", "bob", "carol")}
    clients = {name: server.client2(extra=bearer(text)) for name, text in texts.items()}
    anonymous = server.client2()
    deny.write_text(json.dumps({"jti": ["bob's"], "sub": ["carol"]}))
    server.kill(signal.SIGHUP)
    server.wait_log("tokens are checked .*denied_ids=1 denied_users=1")
    for name in ("bob", "carol"):
        clients[name].expect_close(4003)
        refused(server, 401, TEXTS["denied"], extra=bearer(texts[name]))
    clients["alice"].fence()
    anonymous.fence()


# --- keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("values,words", [
    ({"jwt_secret_file": "{0}/none"}, "none: .*No such file"),
    ({"jwt_public_key": "{0}/none"}, "none: .*No such file"),
    ({"jwt_public_key": "{0}/text"}, "text: "),
    ({"jwt_secret": SECRET, "jwt_deny": "{0}/text"}, "text: "),
    ({"jwt_secret": SECRET, "jwt_secret_file": "{0}/text"}, "WS_JWT_SECRET: "),
    ({"jwt_issuer": "us"}, "no key"),
    ({"jwt_secret": "-----BEGIN PUBLIC KEY-----"}, "WS_JWT_SECRET: holds PEM")])
def test_what_cannot_be_used_is_one_line_and_no_start(tmp_path, values, words):
    (tmp_path / "text").write_text("neither keys nor a list")
    done = run("serve", WS_PORT=0, **{
        "WS_" + name.upper(): value.format(tmp_path) for name, value in values.items()})
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("hermes: "), lines
    assert re.search(words, lines[0]), lines
    assert SECRET not in done.stderr


def test_other_keys_are_taken_at_sighup_and_bad_ones_are_not(secret_server, tmp_path):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    server = secret_server(jwt_secret="", jwt_secret_file=file, rules=RULES)
    old = server.client2(extra=bearer(token()))
    file.write_text("")
    server.write_rules([])
    server.kill(signal.SIGHUP)
    server.wait_log(" error keys not loaded, the old ones stay reason=.*secret: is empty")
    server.wait_log("rules loaded rules=0")
    server.client(extra=bearer(token())).fence()
    file.write_text(OTHER)
    server.write_rules("nonsense")
    server.kill(signal.SIGHUP)
    server.wait_log("tokens are checked", 2)
    server.wait_log("rules not loaded, the old ones stay")
    within(lambda: settle(server)).result()
    refused(server, 401, TEXTS["bad_signature"], extra=bearer(token()))
    server.client(extra=bearer(token(OTHER))).fence()
    old.fence()


def settle(server):
    """Until every worker has taken the keys: connections go to them in turn."""
    good = 0
    while good < 8:
        with raw.Raw(server.port) as conn:
            conn.send(raw.head(extra=bearer(token(OTHER))))
            good = good + 1 if conn.response().status == 101 else 0


def test_a_weak_secret_is_warned_of(secret_server):
    secret_server(jwt_secret="short").wait_log(" warn weak key reason=.*fewer than 32 bytes")


def heap_and_stack(pid):
    """The one place where a secret may be is a mapping of its own."""
    found = b""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            if line.rstrip().endswith(("[heap]", "[stack]")):
                start, end = (int(n, 16) for n in line.split()[0].split("-"))
                memory.seek(start)
                found += memory.read(end - start)
    return found


@pytest.mark.parametrize("by", ["flag", "flag=", "variable"])
def test_nobody_sees_the_secret(start_server, by):
    flags = {"flag": ["--jwt-secret", SECRET], "flag=": [f"--jwt-secret={SECRET}"], "variable": []}[by]
    env = {"WS_JWT_SECRET": SECRET} if by == "variable" else {}
    server = start_server(*flags, env=env, workers=2, log_level="debug")
    with server.client(extra=bearer(token())) as client:
        client.fence()
    refused(server, 401, TEXTS["bad_signature"], extra=bearer(token(OTHER)))
    server.kill(signal.SIGHUP)
    server.wait_log("tokens are checked", 2)
    with server.client(extra=bearer(token())) as client:
        client.fence()  # it is still known
    for file in ("cmdline", "environ", "comm"):
        with open(f"/proc/{server.pid}/{file}", "rb") as opened:
            assert SECRET.encode() not in opened.read(), file
    assert SECRET.encode() not in heap_and_stack(server.pid)
    server.stop()
    assert SECRET not in server.log()


def test_help_names_the_settings_and_no_secret():
    text = run("serve", "--help", WS_JWT_SECRET=SECRET).stdout
    for word in ("SECRET", "SECRET_FILE", "PUBLIC_KEY", "AUDIENCE", "ISSUER", "LEEWAY_SECONDS", "DENY"):
        assert f"WS_JWT_{word}" in text
    assert SECRET not in text


def test_the_query_of_a_request_is_not_logged(secret_server):
    server = secret_server(log_level="debug")
    good = token()
    with server.client(path=f"/?token={urllib.parse.quote(good)}") as client:
        client.fence()
    refused(server, 401, TEXTS["bad_signature"], path=f"/?token={good[:-3]}")
    with server.raw() as conn:
        conn.upgrade(extra=[f"Sec-WebSocket-Protocol: hermes.v2, token.{good}"])
    server.stop()
    assert good[-20:-3] not in server.log()


# --- the command line -------------------------------------------------------------------------


def hermes(server, *argv, code=0, stdin="", **env):
    return cli(*argv, stdin=stdin.encode(), code=code, env={"HERMES_URL": server.url, **env})


@pytest.mark.parametrize("way", ["option", "file", "environment"])
def test_commands_show_their_token(secret_server, tmp_path, way):
    server = secret_server(rules=RULES)
    good = token(hermes={"subscribe": [">"], "publish": [">"], "presence": True})
    (tmp_path / "token").write_text(good + "\n")
    options = {"option": ["--token", good], "file": ["--token-file", str(tmp_path / "token")],
               "environment": []}[way]
    env = {"HERMES_TOKEN": good} if way == "environment" else {}
    hermes(server, "pub", *options, "--v2", "token:1", "1", **env)
    out, _ = hermes(server, "history", *options, "token:1", **env)
    assert out == "1\n"
    out, _ = hermes(server, "presence", *options, "token:1", **env)
    assert out == ""
    out, _ = hermes(server, "topics", *options, "--json", **env)
    assert [json.loads(line)["topic"] for line in out.splitlines()] == ["token:1"]
    out, _ = hermes(server, "sub", *options, "--replay", "1", "-n", "1", "token:1", **env)
    assert out == "1\n"
    _, err = hermes(server, "pub", "--v2", "token:1", "1", code=1)
    assert NOT_PUBLISHED in err
    _, err = hermes(server, "pub", "token:1", "1", code=1)
    assert NOT_PUBLISHED in err
    _, err = hermes(server, "sub", "token:1", code=1)
    assert NOT_SUBSCRIBED in err
    _, err = hermes(server, "sub", "--token", token(OTHER), "token:1", code=1)
    assert "401 Unauthorized" in err


def test_a_token_that_no_header_may_have_is_told(secret_server, tmp_path):
    server = secret_server()
    (tmp_path / "token").write_text("a\r\nX-Other: b")
    hermes(server, "topics", "--token-file", str(tmp_path / "token"), code=2)
    _, err = hermes(server, "topics", "--token-file", str(tmp_path / "none"), code=1)
    assert "none: " in err and "No such file" in err


@pytest.mark.parametrize("level", [[], ["--v2"]])
def test_a_subscriber_whose_token_has_expired_does_not_come_again_with_it(secret_server, level):
    server = secret_server(jwt_leeway_seconds="0")
    with subprocess.Popen([HERMES, "sub", *level, "t"], env=clean_environment(
            HERMES_URL=server.url, HERMES_TOKEN=token(lasts=5)), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True) as sub:
        out, err = sub.communicate(timeout=raw.DEADLINE)
    assert sub.returncode == 1 and out == ""
    assert "The token expires at " in err and "code 4001: the token has expired" in err
    assert "trying again" not in err


def test_a_subscriber_takes_the_new_token_out_of_its_file(secret_server, tmp_path):
    server = secret_server(jwt_leeway_seconds="0")
    file = tmp_path / "token"
    file.write_text(token(lasts=LASTS))
    with subprocess.Popen([HERMES, "sub", "--v2", "-n", "1", "--token-file", file, "t"],
                          env=clean_environment(HERMES_URL=server.url), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as sub:
        eventually(lambda: server.topic_counts("t") == {"t": 1})
        with open(f"/proc/{sub.pid}/cmdline", encoding="utf-8") as line:
            assert "eyJ" not in line.read()
        file.write_text(token())
        witness = server.client2(extra=bearer(token(lasts=LASTS)))
        assert witness.recv_json()["code"] == "token_expired"
        witness.expect_close(4001)
        server.client().publish("t", 1)
        out, err = sub.communicate(timeout=raw.DEADLINE)
    assert (sub.returncode, out) == (0, "1\n"), err


def test_nobody_sees_the_token_of_a_command(secret_server):
    server = secret_server()
    text = token()
    with subprocess.Popen([HERMES, "sub", "--token", text, "t"],
                          env=clean_environment(HERMES_URL=server.url, HERMES_TOKEN=text),
                          stderr=subprocess.PIPE, text=True) as sub:
        eventually(lambda: server.topic_counts("t") == {"t": 1})
        for name in ("cmdline", "environ"):
            with open(f"/proc/{sub.pid}/{name}", encoding="utf-8") as shown:
                assert text not in shown.read()
        sub.send_signal(signal.SIGINT)
        _, err = sub.communicate(timeout=raw.DEADLINE)
    assert text not in err
