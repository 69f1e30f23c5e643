"""The command line as a person or a script uses it."""

import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from hermes_fixtures import HERMES, clean_environment, eventually
from raw import DEADLINE


class Command:
    """hermes with arguments, running; what it says on standard error can be waited for."""

    running = []

    def __init__(self, *argv, env=None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
        self.process = subprocess.Popen([HERMES, *map(str, argv)], stdin=stdin, stdout=stdout,
                                        stderr=subprocess.PIPE, env=clean_environment(**(env or {})))
        self.running.append(self.process)
        self.said = ""
        self._change = threading.Condition()
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self):
        for line in self.process.stderr:
            with self._change:
                self.said += line.decode()
                self._change.notify_all()
        self.process.stderr.close()

    def wait_said(self, text, count=1):
        with self._change:
            assert self._change.wait_for(lambda: self.said.count(text) >= count, DEADLINE), self.said

    def lines(self, count):
        return [self.process.stdout.readline().decode().rstrip("\n") for _ in range(count)]

    def kill(self, number):
        self.process.send_signal(number)

    def end(self, code=0):
        """Waits for its end; what else came on standard output."""
        output = self.process.stdout.read() if self.process.stdout else b""
        assert self.process.wait(DEADLINE) == code, self.said
        self._reader.join(DEADLINE)
        for pipe in (self.process.stdout, self.process.stdin):
            if pipe:
                pipe.close()
        return output.decode()


@pytest.fixture(autouse=True)
def nothing_left_running():
    yield
    while Command.running:
        process = Command.running.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def command(server):
    """Starts commands that talk to the server."""

    def start(*argv, **more):
        env = {"HERMES_URL": f"ws://localhost:{server.port}", **more.pop("env", {})}
        return Command(*argv, env=env, **more)

    return start


def run(*argv, env=None, stdin=b"", code=0):
    done = subprocess.run([HERMES, *map(str, argv)], input=stdin, capture_output=True,
                          timeout=DEADLINE, env=clean_environment(**(env or {})), check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


def fault(*argv, code=2, **more):
    """The one line that a call gets that cannot work."""
    out, err = run(*argv, code=code, **more)
    assert out == ""
    assert err.count("\n") == 1 and err.endswith("\n") and err.startswith("hermes"), err
    return err


def subscribed(command, *topics, **more):
    sub = command("sub", *topics, **more)
    for topic in topics:
        sub.wait_said(f"subscribed to {topic}\n")
    return sub


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- help, versions, faults --------------------------------------------------------------------


def test_version_and_help_go_to_standard_output():
    assert run("--version")[0].startswith("hermes 0.")
    for argv in (["--help"], ["help"], ["-h"]):
        out, err = run(*argv)
        assert "serve" in out and "pub" in out and err == ""


@pytest.mark.parametrize("name", ["serve", "sub", "pub", "topics", "health"])
def test_every_command_has_a_help_of_its_own(name):
    first, _ = run("help", name)
    second, err = run(name, "--help")
    assert first == second and err == ""
    assert f"hermes {name}" in first.splitlines()[0]
    assert all(len(line) <= 80 for line in first.splitlines()) or name == "serve"


@pytest.mark.parametrize("argv, names", [
    (["nonsense"], "'nonsense'"),
    (["--nonsense"], "'--nonsense'"),
    (["help", "nonsense"], "'nonsense'"),
    (["sub"], "topic"),
    (["sub", "--nonsense", "t"], "'--nonsense'"),
    (["sub", "t", "-x"], "'-x'"),
    (["sub", "-n"], "-n"),
    (["sub", "--count"], "--count"),
    (["sub", "--count", "0", "t"], "'0'"),
    (["sub", "--count", "x", "t"], "'x'"),
    (["sub", ""], "topic"),
    (["sub", "a\nb"], "control characters"),
    (["pub"], "topic"),
    (["pub", "t"], "data"),
    (["pub", "t", "1", "2"], "'2'"),
    (["pub", "t", "hello"], "'\"hello\"'"),
    (["pub", "t", ""], "JSON"),
    (["pub", "", "1"], "topic"),
    (["pub", "", "-"], "topic"),
    (["topics", "stock"], "--prefix stock"),
    (["topics", "--limit", "0"], "--limit"),
    (["health", "--url", "ws://h"], "http://"),
    (["sub", "--url", "http://h", "t"], "ws://"),
    (["sub", "--url", "h:8080", "t"], "ws://"),
    (["sub", "--url", "https://h", "t"], "wss://"),
    (["sub", "--url", "wss://h", "--key", "k.pem", "t"], "--cert"),
])
def test_a_call_that_cannot_be_right_gets_one_line_and_exit_code_2(argv, names):
    assert names in fault(*argv)


def test_a_wrong_url_in_the_environment_is_named():
    assert "'nowhere'" in fault("sub", "t", env={"HERMES_URL": "nowhere"})


# ---- sub and pub -------------------------------------------------------------------------------


def test_sub_prints_what_pub_publishes(command):
    sub = subscribed(command, "a", "b c", "ü")
    for topic, data in (("a", "170.50"), ("b c", '{"b":1, "a":[null]}'), ("ü", '"ü"'), ("a", "-5"),
                        ("other", "0")):
        assert command("pub", topic, data).end() == ""
    assert sub.lines(4) == ["170.50", '{"b":1, "a":[null]}', '"ü"', "-5"]
    sub.kill(signal.SIGINT)
    assert sub.end() == ""


def test_a_line_is_there_as_soon_as_the_message_is(command):
    sub = subscribed(command, "a")
    for number in range(5):
        command("pub", "a", number).end()
        assert sub.lines(1) == [str(number)]


def test_a_value_with_line_breaks_stays_one_line(command):
    sub = command("sub", "--count", 2, "a")
    sub.wait_said("subscribed to a")
    command("pub", "a", '{"a":\n1,\r\n"b":"\\n"}').end()
    command("pub", "a", "2").end()
    lines = sub.end().split("\n")
    assert len(lines) == 3 and lines[1:] == ["2", ""]
    assert json.loads(lines[0]) == {"a": 1, "b": "\n"}


def test_count_ends_sub_after_so_many_messages(command):
    sub = command("sub", "-n", 3, "a")
    sub.wait_said("subscribed")
    feed = command("pub", "a", "-", stdin=subprocess.PIPE)
    feed.process.stdin.write(b"1\n2\n3\n4\n5\n")
    feed.process.stdin.close()
    feed.process.stdin = None
    feed.end()
    assert sub.end() == "1\n2\n3\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_sub_with_exit_code_0(command, server, number):
    sub = subscribed(command, "a")
    sub.kill(number)
    assert sub.end(0) == ""
    eventually(lambda: server.topic_counts() == {}, "the end of the subscription")


def test_a_reader_that_goes_ends_sub_without_a_word(command):
    read, write = os.pipe()
    sub = subscribed(command, "a", stdout=write)
    os.close(write)
    command("pub", "a", "1").end()
    assert os.read(read, 100) == b"1\n"
    said = sub.said
    os.close(read)
    sub.end(0)
    assert sub.said == said


def test_a_signal_ends_sub_though_nobody_reads_its_output(command):
    sub = subscribed(command, "a")
    subprocess.run([HERMES, "pub", "a", "-"], input=b'"0123456789"\n' * 100000, check=True,
                   env=clean_environment(HERMES_URL=sub_url(sub)), timeout=DEADLINE)
    sub.kill(signal.SIGINT)
    assert sub.process.wait(DEADLINE) == 0
    sub.end(0)


def sub_url(sub):
    with open(f"/proc/{sub.process.pid}/environ", "rb") as environ:
        for entry in environ.read().split(b"\0"):
            if entry.startswith(b"HERMES_URL="):
                return entry[11:].decode()
    raise KeyError


def test_standard_descriptors_may_be_closed(server):
    for closed in (">&- <&- 2>&-", "<&-", ">&-", "2>&-"):
        done = subprocess.run(["sh", "-c", f'"$0" pub a 1 {closed}; "$0" topics --limit 1 {closed}',
                               HERMES], env=clean_environment(HERMES_URL=server.url),
                              timeout=DEADLINE, check=False)
        assert done.returncode == 0
    assert server.get("/healthz").status == 200


def test_pub_publishes_every_line_of_its_input_in_order(command):
    count = 200000
    sub = command("sub", "--count", count, "-q", "a", "marker")
    eventually(lambda: "a 1" in topics_of(command), "the subscription")
    lines = "".join(f"{n}\n" for n in range(count))
    out, err = run("pub", "a", "-", stdin=lines.encode(), env={"HERMES_URL": sub_url(sub)})
    assert (out, err) == ("", "")
    assert sub.end() == lines


def topics_of(command):
    return [" ".join(line.split()) for line in command("topics", "-q").end().splitlines()[1:]]


def test_bad_lines_are_named_and_the_others_published(command):
    sub = subscribed(command, "a")
    pub = command("pub", "a", "-", stdin=subprocess.PIPE)
    pub.process.stdin.write(b'1\n\n  \nhello\n"two"\r\n\xff\n{\n3')
    pub.process.stdin.close()
    pub.process.stdin = None
    pub.end(1)
    assert [line.split(": ")[1] for line in pub.said.splitlines()] == ["line 4", "line 6", "line 7"]
    assert sub.lines(3) == ["1", '"two"', "3"]
    sub.kill(signal.SIGINT)
    assert sub.end() == ""


def test_pub_reads_its_input_as_it_comes(command):
    sub = subscribed(command, "a")
    pub = command("pub", "a", "-", stdin=subprocess.PIPE)
    for number in range(3):
        pub.process.stdin.write(f"{number}\n".encode())
        pub.process.stdin.flush()
        assert sub.lines(1) == [str(number)]
    pub.process.stdin.close()
    pub.process.stdin = None
    pub.end(0)


def test_pub_takes_its_input_from_a_file(command, tmp_path):
    sub = subscribed(command, "a")
    path = tmp_path / "values"
    path.write_text("1\n2\n")
    with open(path, "rb") as values:
        command("pub", "a", "-", stdin=values).end()
    command("pub", "a", "-").end()
    assert sub.lines(2) == ["1", "2"]


def test_a_value_over_the_limit_of_the_server_is_reported(command):
    pub = command("pub", "a", "-", stdin=subprocess.PIPE)
    pub.process.stdin.write(b"1\n" + b'"' + b"x" * (2 << 20) + b'"\n2\n')
    pub.process.stdin.close()
    pub.process.stdin = None
    pub.end(1)
    assert "may not have been published" in pub.said


def test_what_the_server_refuses_makes_pub_and_sub_fail(command):
    topic = "t" * 2000
    for argv in (["pub", topic, "1"], ["sub", topic]):
        one = command(*argv)
        one.end(1)
        assert "the server says: Topic is longer than the limit." in one.said


# ---- connections that come and go --------------------------------------------------------------


def test_sub_comes_back_and_subscribes_again(start_server):
    first = start_server()
    env = {"HERMES_URL": f"ws://127.0.0.1:{first.port}"}
    sub = Command("sub", "a", "b", env=env)
    sub.wait_said("subscribed to a")
    sub.wait_said("subscribed to b")
    first.stop()
    sub.wait_said("trying again")
    assert "code 1012" in sub.said
    start_server(port=first.port)
    sub.wait_said("connected again")
    sub.wait_said("subscribed to a", 2)
    sub.wait_said("subscribed to b", 2)
    run("pub", "a", "1", env=env)
    run("pub", "b", "2", env=env)
    assert sub.lines(2) == ["1", "2"]
    sub.kill(signal.SIGINT)
    sub.end(0)


def test_pub_waits_for_a_server_that_is_not_there_yet(start_server):
    port = free_port()
    env = {"HERMES_URL": f"ws://127.0.0.1:{port}"}
    pubs = [Command("pub", "a", "1", env=env), Command("pub", "a", "-", env=env)]
    for pub in pubs:
        pub.wait_said("connection refused; trying again")
    start_server(port=port)
    for pub in pubs:
        pub.end(0)


def test_pub_says_what_a_broken_connection_may_have_lost(start_server):
    server = start_server()
    server.expected_exit = None
    env = {"HERMES_URL": f"ws://127.0.0.1:{server.port}"}
    sub = Command("sub", "-q", "a", env=env)
    eventually(lambda: server.topic_counts() == {"a": 1}, "the subscription")
    pub = Command("pub", "a", "-", env=env, stdin=subprocess.PIPE)
    pub.process.stdin.write(b"1\n")
    pub.process.stdin.flush()
    assert sub.lines(1) == ["1"]
    server.kill(signal.SIGSTOP)
    eventually(lambda: thread_states(server.pid) == {"T"}, "the stop of all its threads")
    pub.process.stdin.write(b"2\n3\n")
    pub.process.stdin.flush()
    # Both have been handed over when nothing is left to send.
    eventually(lambda: unread_bytes(server.port) > 0, "the bytes in the server's socket")
    pub.process.stdin.close()
    pub.process.stdin = None
    server.kill(signal.SIGKILL)
    pub.end(1)
    assert "may not have been published" in pub.said
    sub.kill(signal.SIGINT)
    sub.end(0)


def thread_states(pid):
    states = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as stat:
            states.add(stat.read().rsplit(")", 1)[1].split()[0])
    return states


def unread_bytes(port):
    """In the receive queues of the connections of that port."""
    with open("/proc/net/tcp") as rows:
        fields = [row.split() for row in list(rows)[1:]]
    return sum(int(f[4].split(":")[1], 16) for f in fields
               if int(f[1].rsplit(":", 1)[1], 16) == port and f[3] == "01")


def test_a_timeout_ends_the_waiting():
    env = {"HERMES_URL": f"ws://127.0.0.1:{free_port()}"}
    for argv in (["sub", "a"], ["pub", "a", "1"], ["pub", "a", "-"], ["topics"]):
        _, err = run(*argv, "--timeout", "1", env=env, code=1, stdin=b"1\n")
        assert "gave up after 1 s" in err and "connection refused" in err
    assert "1 messages" in run("pub", "-q", "--timeout", "1", "a", "-", env=env, code=1,
                               stdin=b"1\n")[1]


def test_what_a_retry_would_not_change_is_not_tried_again():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pub = Command("pub", "a", "1", env={"HERMES_URL": f"ws://127.0.0.1:{listener.getsockname()[1]}"})
        conn, _ = listener.accept()
        with conn:
            conn.recv(4096)
            conn.sendall(b"HTTP/1.1 403 \x1b[31mForbidden\r\n\r\n")
            pub.end(1)
    assert pub.said == "hermes pub: the server answered 403 ?[31mForbidden\n"


def test_quiet_leaves_out_notices_but_not_errors(command):
    sub = command("sub", "-q", "-n", 1, "a")
    eventually(lambda: topics_of(command) == ["a 1"], "the subscription")
    command("pub", "-q", "a", "1").end()
    assert sub.end() == "1\n"
    assert sub.said == ""


def test_the_url_comes_from_the_flag_the_environment_or_the_port(server):
    port = server.port
    run("pub", "--url", f"ws://127.0.0.1:{port}/any/path?x=1", "a", "1", env={"HERMES_URL": "ws://x"})
    run("pub", "a", "1", env={"WS_PORT": port})
    run("pub", "a", "1", env={"HERMES_URL": f"ws://localhost:{port}", "WS_PORT": "1"})


# ---- topics ------------------------------------------------------------------------------------


def test_topics_lists_names_and_counts_in_a_table(command):
    first = subscribed(command, "stock:AAPL", "ü")
    second = subscribed(command, "stock:AAPL", "z")
    assert command("topics").end() == ("TOPIC       SUBSCRIBERS\n"
                                       "stock:AAPL            2\n"
                                       "z                     1\n"
                                       "ü                     1\n")
    assert command("topics", "--prefix", "stock:").end().splitlines()[1:] == [
        "stock:AAPL            2"]
    assert command("topics", "--limit", 1).end().splitlines()[1:] == ["stock:AAPL            2"]
    rows = [json.loads(line) for line in command("topics", "--json").end().splitlines()]
    assert rows == [{"topic": "stock:AAPL", "subscribers": 2}, {"topic": "z", "subscribers": 1},
                    {"topic": "ü", "subscribers": 1}]
    for sub in (first, second):
        sub.kill(signal.SIGINT)
        sub.end(0)


def test_no_topics_are_no_table(command):
    topics = command("topics")
    assert topics.end() == ""
    assert topics.said == "hermes topics: no topic has subscribers\n"
    topics = command("topics", "--json", "-q")
    assert topics.end() == "" and topics.said == ""


def test_topics_follows_the_pages_to_the_end(command):
    names = [f"t:{n:05}" for n in range(2500)]
    sub = command("sub", *names)
    sub.wait_said("subscribed", len(names))
    rows = command("topics").end().splitlines()
    assert [row.split() for row in rows[1:]] == [[name, "1"] for name in names]
    rows = command("topics", "--json", "--limit", 1234).end().splitlines()
    assert [json.loads(row)["topic"] for row in rows] == names[:1234]
    sub.kill(signal.SIGINT)
    sub.end(0)


# ---- health ------------------------------------------------------------------------------------


def test_health_is_exit_code_0_while_the_server_serves(server):
    for argv in ([], ["--ready"], ["--url", f"http://127.0.0.1:{server.port}"],
                 ["--url", f"http://localhost:{server.port}/readyz"]):
        for host in ("127.0.0.1", "0.0.0.0", "", "::"):
            assert run("health", *argv, env={"WS_PORT": server.port, "WS_HOST": host}) == ("", "")


def test_health_fails_with_one_line_when_the_server_does_not_serve(server):
    env = {"WS_PORT": free_port()}
    assert "Connection refused" in fault("health", env=env, code=1)
    assert run("health", "-q", env=env, code=1) == ("", "")
    assert "404" in fault("health", "--url", f"http://127.0.0.1:{server.port}/x", code=1)


def test_health_does_not_wait_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "timed out" in fault("health", "--timeout", "1", code=1,
                                    env={"WS_PORT": silent.getsockname()[1]})
