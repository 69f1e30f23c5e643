"""The command line at level 2."""

import json
import re
import signal
import subprocess

import pytest

from cli_test import Command, command, fault, free_port, nothing_left_running, run  # noqa: F401
from fake_broker import FakeBroker
from hermes_fixtures import eventually

HISTORY = [{"match": "kept:*", "history": 2000}, {"match": "closed:*", "publish": "authenticated",
                                                  "subscribe": "authenticated"},
           {"match": "hidden:*", "presence": False}]
PLACE = re.compile(r" at (\S+:\d+)")


@pytest.fixture
def kept(start_server):
    """Starts commands that talk to a server that keeps history."""
    server = start_server(rules=HISTORY)

    def start(*argv, **more):
        return Command(*argv, env={"HERMES_URL": server.url}, **more)

    start.env = {"HERMES_URL": server.url}
    return start


def publish(env, topic, count, first=1):
    run("pub", topic, "-", stdin="".join(f"{n}\n" for n in range(first, first + count)).encode(), env=env)


def place(env, topic):
    return PLACE.search(run("history", topic, env=env)[1]).group(1)


@pytest.mark.parametrize("argv, names", [
    (["sub", "--v2"], "topic"),
    (["sub", "--pattern"], "--pattern"),
    (["sub", "--pattern", ""], "topic"),
    (["sub", "--policy", "fast", "t"], "'fast'"),
    (["sub", "--policy", "", "t"], "drop_oldest"),
    (["sub", "--since", "12", "t"], "EPOCH:OFFSET"),
    (["sub", "--since", ":12", "t"], "EPOCH:OFFSET"),
    (["sub", "--since", "e:", "t"], "EPOCH:OFFSET"),
    (["sub", "--since", "e:-1", "t"], "EPOCH:OFFSET"),
    (["sub", "--since", "e:1x", "t"], "EPOCH:OFFSET"),
    (["sub", "--since", "e:18446744073709551616", "t"], "EPOCH:OFFSET"),
    (["sub", "--since", "e:1", "t", "u"], "one topic"),
    (["sub", "--since", "e:1", "--pattern", "a:*"], "one topic"),
    (["sub", "--since", "e:1", "--replay", "1", "t"], "not both"),
    (["sub", "--replay", "0", "t"], "'0'"),
    (["sub", "--replay", "-1", "t"], "'-1'"),
    (["sub", "--replay", "4294967296", "t"], "--replay"),
    (["sub", "--replay", "1", "--pattern", "a:*"], "patterns"),
    (["pub", "--v2", "t"], "data"),
    (["pub", "--json", "t", "hello"], "'\"hello\"'"),
    (["pub", "--v2", "", "-"], "topic"),
    (["history"], "topic"),
    (["history", "a", "b"], "'b'"),
    (["history", ""], "topic"),
    (["history", "--since", "x", "t"], "EPOCH:OFFSET"),
    (["history", "--limit", "0", "t"], "--limit"),
    (["history", "--limit", "1001", "t"], "--limit"),
    (["presence"], "topic"),
    (["presence", "a", "b"], "'b'"),
    (["presence", "a\nb"], "control characters"),
])
def test_a_call_that_cannot_be_right_gets_one_line_and_exit_code_2(argv, names):
    assert names in fault(*argv)


@pytest.mark.parametrize("name", ["history", "presence"])
def test_every_command_has_a_help_of_its_own(name):
    first, _ = run("help", name)
    second, err = run(name, "--help")
    assert first == second and err == ""
    assert f"hermes {name}" in first.splitlines()[0]
    assert all(len(line) <= 80 for line in first.splitlines())
    assert f"\n  {name} " in run("--help")[0]


@pytest.mark.parametrize("argv", [["sub", "--v2", "t"], ["pub", "--v2", "t", "1"], ["history", "t"],
                                  ["presence", "t"]])
def test_a_server_without_level_2_is_named_as_the_reason(argv):
    with FakeBroker(level=1) as broker:
        _, err = run(*argv, env={"HERMES_URL": broker.url}, code=1)
    assert err == f"hermes {argv[0]}: the server does not speak level 2 (subprotocol hermes.v2)\n"


# ---- sub ---------------------------------------------------------------------------------------


def test_a_pattern_brings_all_that_it_matches(command):
    sub = command("sub", "--pattern", "stock:*", "--pattern", "sensor:>", "-n", 4, "plain")
    sub.wait_said("subscribed to pattern", 2)
    sub.wait_said("subscribed to plain at ")
    for topic, data in (("stock:a", "1"), ("stock:a:b", "2"), ("sensor:a:b", "3"), ("plain", "4"),
                        ("stock:b", "5")):
        command("pub", topic, data).end()
    assert sub.end() == "1\n3\n4\n5\n"


def test_json_prints_whole_frames(kept):
    sub = kept("sub", "--json", "--pattern", "a:*", "--presence", "kept:1")
    sub.wait_said("subscribed to pattern a:*\n")
    sub.wait_said("subscribed to kept:1 at ")
    other = kept("sub", "kept:1")
    other.wait_said("subscribed")
    kept("pub", "kept:1", '{"b" :1.0,"a":2}').end()
    kept("pub", "a:b", '[1,\n2]').end()
    other.kill(signal.SIGINT)
    other.end()
    lines = sub.lines(4)
    joined = json.loads(lines[0])
    assert lines[1:] == ['{"type":"message","topic":"kept:1","data":{"b" :1.0,"a":2},"offset":1}',
                         '{"type":"message","topic":"a:b","data":[1, 2],"offset":1,"pattern":"a:*"}',
                         '{"type":"leave","topic":"kept:1","client":"' + joined["client"] + '"}']
    assert joined == {"type": "join", "topic": "kept:1", "client": joined["client"]}
    sub.kill(signal.SIGINT)
    assert sub.end() == ""


def test_who_joins_and_leaves_is_told_on_standard_error(kept):
    sub = kept("sub", "--presence", "t")
    sub.wait_said("subscribed to t at ")
    other = kept("sub", "t")
    sub.wait_said(" joined t\n")
    other.kill(signal.SIGINT)
    other.end()
    sub.wait_said(" left t\n")
    sub.kill(signal.SIGINT)
    assert sub.end() == ""


def test_replay_begins_with_the_newest_messages(kept):
    publish(kept.env, "kept:1", 10)
    out, err = run("sub", "--replay", "3", "-n", "3", "kept:1", env=kept.env)
    assert out == "8\n9\n10\n"
    assert re.fullmatch(r"hermes sub: subscribed to kept:1 at [0-9a-f]{16}:10\n", err)


def test_since_goes_on_where_a_notice_said(kept):
    publish(kept.env, "kept:1", 3)
    there = place(kept.env, "kept:1")
    publish(kept.env, "kept:1", 4, first=4)
    out, err = run("sub", "--since", there, "-n", "4", "kept:1", env=kept.env)
    assert out == "4\n5\n6\n7\n"
    assert ":7, nothing was missed\n" in err


def test_since_says_when_messages_are_lost(kept):
    publish(kept.env, "kept:1", 3)
    sub = kept("sub", "-q", "--since", "0123456789abcdef:1", "-n", 1, "kept:1")
    sub.wait_said("messages of kept:1 are lost")
    publish(kept.env, "kept:1", 1, first=4)
    assert sub.end() == "4\n"


def test_what_the_server_refuses_makes_it_fail(kept):
    for argv in (["sub", "--v2", "closed:1"], ["sub", "--pattern", "a*"], ["pub", "--v2", "closed:1", "1"],
                 ["history", "nothing"], ["presence", "hidden:1"]):
        out, err = run(*argv, env=kept.env, code=1)
        assert out == "" and "the server says: " in err and err.count("\n") == 1


def test_after_a_broken_connection_sub_goes_on_without_a_hole():
    with FakeBroker(level=2) as broker:
        env = {"HERMES_URL": broker.url}
        sub = Command("sub", "--v2", "a", env=env)
        sub.wait_said("subscribed to a at e1:0\n")
        publish(env, "a", 3)
        assert sub.lines(3) == ["1", "2", "3"]
        broker.refuse = lambda number: True
        broker.drop_all()
        sub.wait_said("trying again")
        broker.publish("a", 4)
        broker.publish("a", 5)
        broker.refuse = lambda number: False
        sub.wait_said("subscribed to a at e1:5, nothing was missed")
        assert sub.lines(2) == ["4", "5"]
        # What it missed is no longer there.
        tried = sub.said.count("trying again")
        broker.refuse = lambda number: True
        broker.drop_all()
        sub.wait_said("trying again", tried + 1)
        broker.publish("a", 6)
        broker.forget()
        broker.refuse = lambda number: False
        sub.wait_said("messages of a are lost")
        sub.wait_said("subscribed to a at e1:6\n")
        publish(env, "a", 1, first=7)
        assert sub.lines(1) == ["7"]
        sub.kill(signal.SIGINT)
        assert sub.end() == ""


def gap_before_the_second(_, n, data):
    if n == 1:
        return [{"type": "gap", "topic": "a", "from": 2, "to": 4}, data]
    return [data]


def test_a_gap_is_told_on_standard_error_or_printed():
    for argv in ([], ["--json"]):
        with FakeBroker(level=2, deliver=gap_before_the_second) as broker:
            env = {"HERMES_URL": broker.url}
            sub = Command("sub", "--v2", *argv, "a", env=env)
            sub.wait_said("subscribed to a")
            publish(env, "a", 1)
            sub.lines(1)
            broker.offsets["a"] = 4
            publish(env, "a", 1, first=5)
            if argv:
                assert json.loads(sub.lines(1)[0]) == {"type": "gap", "topic": "a", "from": 2, "to": 4}
                assert json.loads(sub.lines(1)[0])["offset"] == 5
                assert "left out" not in sub.said
            else:
                assert sub.lines(1) == ["5"]
                sub.wait_said("hermes sub: 3 messages of a were left out, offsets 2 to 4\n")
            sub.kill(signal.SIGINT)
            assert sub.end() == ""


CUT_OFF = [{"type": "gap", "topic": "a", "from": 1, "to": 0, "epoch": "e2"},
           {"type": "gap", "topic": "b", "from": 1, "to": 4, "epoch": "e2"},
           {"type": "gap", "pattern": "c:*"}]


@pytest.mark.parametrize("argv", [[], ["--quiet"], ["--json"]])
def test_what_may_be_lost_while_brokers_are_cut_off_is_told(argv):
    with FakeBroker(level=2, deliver=lambda _, n, data: [*CUT_OFF, data] if n == 2 else [data]) as broker:
        env = {"HERMES_URL": broker.url}
        sub = Command("sub", "--v2", *argv, "a", env=env)
        eventually(lambda: broker.subscribers)
        publish(env, "a", 2)
        assert len(sub.lines(2)) == 2
        broker.offsets["a"] = 0  # where the first has the offset that one had before
        publish(env, "a", 1, first=3)
        if "--json" in argv:
            got = [json.loads(line) for line in sub.lines(4)]
            assert got[:3] == CUT_OFF and got[3]["offset"] == 1
            assert "lost" not in sub.said
        else:
            assert sub.lines(1) == ["3"]
            sub.wait_said("messages of a may be lost: its offsets have started anew, at e2:0\n")
            sub.wait_said("messages of b may be lost: its offsets have started anew, at e2:4, "
                          "and 1 to 4 of these were missed\n")
            sub.wait_said("messages by pattern c:* may be lost: the brokers were cut off from each other\n")
        sub.kill(signal.SIGINT)
        assert sub.end() == ""


def test_the_policy_and_presence_reach_the_server():
    asked = []

    def answer(_, topic):
        asked.append(topic)
        return True

    class Broker(FakeBroker):
        def _command(self, one, message):
            asked.append(message)
            super()._command(one, message)

    with Broker(level=2, answer=answer) as broker:
        sub = Command("sub", "--policy", "latest", "--presence", "a", env={"HERMES_URL": broker.url})
        sub.wait_said("subscribed to a")
        sub.kill(signal.SIGINT)
        sub.end()
    assert asked[0]["policy"] == "latest" and asked[0]["presence"] is True


# ---- pub ---------------------------------------------------------------------------------------


def test_pub_tells_offset_and_subscribers(kept):
    sub = kept("sub", "-n", 2, "a")
    sub.wait_said("subscribed")
    out, err = run("pub", "--v2", "a", "1", env=kept.env)
    assert (out, err) == ("", "hermes pub: published at offset 1, subscribers: 1\n")
    out, err = run("pub", "--json", "a", "2", env=kept.env)
    answer = json.loads(out)
    assert err == "" and (answer["topic"], answer["offset"], answer["subscribers"]) == ("a", 2, 1)
    assert sub.end() == "1\n2\n"


def test_pub_answers_every_line(kept):
    out, err = run("pub", "--json", "kept:1", "-", stdin=b"1\nx\n\n3\n" + b"4\n" * 1000, env=kept.env, code=1)
    assert err == "hermes pub: line 2: the data is not valid JSON\n"
    assert [json.loads(line)["offset"] for line in out.splitlines()] == list(range(1, 1003))


def test_pub_names_the_lines_that_were_refused(start_server):
    server = start_server(rules=[{"match": "small:*", "max_bytes": 10}])
    _, err = run("pub", "--v2", "small:1", "-", stdin=b'1\n"0123456789abc"\n3\n"0123456789abc"\n',
                 env={"HERMES_URL": server.url}, code=1)
    assert [line.split(": ")[1:3] for line in err.splitlines()] == [
        ["line 2", "the server says"], ["line 4", "the server says"]]


def test_pub_says_what_was_not_answered_before_a_connection_broke():
    class Silent(FakeBroker):
        def _command(self, one, message):
            if message.get("data") == 3:
                one.drop()
            elif "topic" in message and message.get("data") != 2:
                super()._command(one, message)

    with Silent(level=2) as broker:
        env = {"HERMES_URL": broker.url}
        pub = Command("pub", "--json", "a", "-", env=env, stdin=subprocess.PIPE)
        pub.process.stdin.write(b"1\n")
        pub.process.stdin.flush()
        assert json.loads(pub.lines(1)[0])["offset"] == 1
        pub.process.stdin.write(b"2\n3\n")
        pub.process.stdin.flush()
        pub.wait_said("of what follows line 1, the first 2 messages may not have been published")
        pub.process.stdin.write(b"4\n")
        pub.process.stdin.close()
        pub.process.stdin = None
        assert json.loads(pub.lines(1)[0])["offset"] == 2
        pub.end(1)


# ---- history and presence ----------------------------------------------------------------------


def test_history_prints_what_is_kept(kept):
    publish(kept.env, "kept:1", 150)
    out, err = run("history", "kept:1", env=kept.env)
    assert out.splitlines() == [str(n) for n in range(51, 151)]
    assert re.fullmatch(r"hermes history: kept:1 is at [0-9a-f]{16}:150\n", err)
    assert run("history", "-q", "--limit", "2", "kept:1", env=kept.env) == ("149\n150\n", "")
    assert run("history", "-q", "--json", "-l", "1", "kept:1", env=kept.env) == ('{"offset":150,"data":150}\n', "")


def test_history_since_goes_to_the_end_over_many_pages(kept):
    publish(kept.env, "kept:1", 1)
    there = place(kept.env, "kept:1")
    publish(kept.env, "kept:1", 1900, first=2)
    out, _ = run("history", "--since", there, "kept:1", env=kept.env)
    assert out.splitlines() == [str(n) for n in range(2, 1902)]
    out, _ = run("history", "--since", there, "--limit", "1234", "kept:1", env=kept.env)
    assert out.splitlines() == [str(n) for n in range(2, 1236)]


def test_history_says_when_it_is_not_all(kept):
    publish(kept.env, "kept:1", 2)
    there = place(kept.env, "kept:1")
    publish(kept.env, "kept:1", 2500, first=3)
    out, err = run("history", "--since", there, "kept:1", env=kept.env, code=1)
    assert "does not have all that followed" in err
    assert out.splitlines() == [str(n) for n in range(503, 2503)]
    _, err = run("history", "--since", "0123456789abcdef:1", "kept:1", env=kept.env, code=1)
    assert "does not have all that followed" in err


def test_presence_lists_who_is_there(kept):
    assert run("presence", "a:b", env=kept.env) == ("", "hermes presence: nobody is subscribed to a:b\n")
    subs = [kept("sub", "a:b"), kept("sub", "--pattern", "a:*")]
    for sub in subs:
        sub.wait_said("subscribed")
    out, err = run("presence", "a:b", env=kept.env)
    assert len(set(out.splitlines())) == 2 and err == ""
    answer = json.loads(run("presence", "--json", "a:b", env=kept.env)[0])
    assert answer["topic"] == "a:b" and set(answer["clients"]) == set(out.splitlines())
    for sub in subs:
        sub.kill(signal.SIGINT)
        sub.end()
    eventually(lambda: run("presence", "-q", "a:b", env=kept.env)[0] == "", "the end of both")
