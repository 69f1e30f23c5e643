"""The dashboard in a real browser, against the real server."""

import itertools
import json
import os
import pathlib
import re
import threading

import pytest

from browser import browser  # noqa: F401
from hermes_fixtures import HERMES
from raw import DEADLINE

SHOTS = pathlib.Path(os.environ.get("HERMES_BUILD", HERMES.parent)) / "screenshots"
SHIFT, CTRL = 8, 2
LONG = "a topic with a long name " + "x" * 300


@pytest.fixture
def show(browser, request):  # noqa: F811
    """Opens the page of a server. At the end: its console was empty, and it asked nobody else."""
    shown = []

    def open_page(server, away=False, height=2000, **shape):
        # High enough for all of it: what is out of sight is not asked for.
        page = browser.open(f"http://127.0.0.1:{server.admin_port}/", height=height, **shape)
        page.away = away
        page.allowed = (f"http://127.0.0.1:{server.admin_port}/", f"ws://127.0.0.1:{server.port}/")
        shown.append(page)
        return page

    yield open_page
    for page in shown:
        strange = [url for url in page.requests() if not url.startswith(page.allowed)]
        complaints = [line for line in page.complaints()
                      if not (page.away and ("ERR_CONNECTION" in str(line) or "WebSocket connection" in str(line)
                                             or "ERR_EMPTY_RESPONSE" in str(line)))]
        page.close()
        assert not strange
        assert not complaints


def number(page, selector):
    text = page.run("$(args[0]).textContent", selector).replace(",", "")
    return float(text) if text != "–" else None


def figure(page, name):
    return page.run("$$('#figures dt').find((e) => e.textContent === args[0]).nextSibling.textContent", name)


def ready(page):
    page.until("$('#state').textContent === 'Ready'")
    return page


def rows(page, section):
    return page.run("$$(`#${args[0]} tbody tr`).map((row) => [...row.cells].map((cell) => cell.textContent))", section)


def names(page, section):
    return [row[0] for row in rows(page, section)]


def crowd(server, topics):
    """{topic: subscribers}, by clients of their own."""
    clients = [server.client() for _ in range(max(topics.values()))]
    for topic, count in topics.items():
        for client in clients[:count]:
            client.subscribe(topic)
    for client in clients:
        client.fence()
    return clients


class Traffic:
    """Publishes until it is told to stop."""

    def __init__(self, server, topic):
        self._client = server.client()
        self._listener = server.client()
        self._listener.subscribe(topic)
        self._stop = threading.Event()
        self._topic = topic
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        for n in itertools.count():
            self._client.publish(self._topic, {"n": n})
            self._listener.recv_json()
            if self._stop.wait(0.01):
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(DEADLINE)


def test_numbers_and_plots_move(start_server, show):
    """Broken by: a plot that is given 0."""
    server = start_server(workers=2)
    page = ready(show(server))
    assert number(page, "#plot-connections b") == 0
    with Traffic(server, "ticks"):
        page.until("parseFloat($('#plot-in b').textContent) > 0 && parseFloat($('#plot-out b').textContent) > 0")
        assert number(page, "#plot-connections b") == 2
        before = int(figure(page, "Published").replace(",", ""))
        page.until("$$('#figures dd')[5].textContent.replaceAll(',', '') > args[0]", before)
        page.until("parseFloat($('#topics tbody tr').cells[2].textContent) > 0")
        drawn = """[...$('#plot-in canvas').getContext('2d').getImageData(0, 0, 200, 100).data].some((b) => b)"""
        assert page.run(drawn)
        page.until("$('#connections tbody tr')")
        page.shape(1280, page.run("document.documentElement.scrollHeight"))
        page.screenshot(SHOTS / "dashboard.png")
    page.until("parseFloat($('#plot-in b').textContent) === 0")
    assert page.run("$('#plot-in canvas').ariaLabel").startswith("Messages in per second, over time: now 0")
    assert len(rows(page, "workers")) == 2


def test_topics_are_searched_sorted_and_paged(start_server, show):
    """Broken by: sorting that is not asked for; pages that begin at the beginning."""
    server = start_server(workers=2)
    crowd(server, {f"stock:{n:02d}": 1 + n % 5 for n in range(40)} | {"chat": 7})
    page = ready(show(server))
    page.until("$$('#topics tbody tr').length === 15")
    assert rows(page, "topics")[0][:2] == ["chat", "7"], "most subscribers first"
    assert page.run("$('#topics [data-sort=subscribers]').ariaSort") == "descending"

    page.click("#topics [data-sort=name] button")
    page.until("$('#topics tbody tr:nth-child(2)').textContent.startsWith('stock:00')")
    assert page.run("$('#topics [data-sort=name]').ariaSort") == "ascending"
    assert page.run("$('#topics [data-sort=subscribers]').ariaSort") is None
    everything = names(page, "topics")
    for number_, last in ((2, False), (3, True)):
        page.click("#topics .next")
        page.until("$('#topics .page').textContent === `Page ${args[0]}`", number_)
        everything += names(page, "topics")
        assert page.run("$('#topics .next').disabled") is last
    assert everything == ["chat"] + [f"stock:{n:02d}" for n in range(40)]
    page.click("#topics .previous")
    page.until("$('#topics .page').textContent === 'Page 2'")
    assert names(page, "topics") == everything[15:30]

    page.fill("#topics-prefix", "stock:3")
    page.until("$$('#topics tbody tr').length === 10")
    assert names(page, "topics") == [f"stock:3{n}" for n in range(10)]
    page.fill("#topics-prefix", "nothing such")
    assert page.until("$('#topics .empty').textContent").startswith("No topic begins with")


def test_a_topic_tells_all_about_itself(start_server, show):
    """Broken by: patterns left out."""
    server = start_server(rules=[{"match": "kept", "history": 5}])
    client = server.client2()
    client.subscribe("kept")
    client.subscribe(pattern="*")
    publisher = server.client2()
    for n in range(7):
        publisher.publish_acked("kept", n)
    page = ready(show(server))
    page.until("$('#topics tbody tr')")
    page.click("#topics tbody button")
    page.until("$('#dialog').open")
    text = page.text("#dialog")
    for part in ("kept", "5 messages", "*", client.me):
        assert part in text
    assert page.text("#dialog ol").split("\n")[0].split() == ["7", "6"], "offset and data of the newest"
    page.key("Escape")
    page.until("!$('#dialog').open")


@pytest.mark.parametrize("name", [".", "..", "a/b?c=%2f&d"])
def test_topics_whose_names_are_odd_in_an_address_tell_about_themselves(start_server, show, name):
    """Broken by: the name in the path, out of which the browser takes dots."""
    server = start_server()
    crowd(server, {name: 3})
    page = ready(show(server))
    page.until("$('#topics tbody tr')")
    page.click("#topics tbody button")
    page.until("$('#dialog').open")
    assert page.text("#dialog-title") == name
    assert page.run("$('#dialog dd').textContent") == "3"
    page.key("Escape")


def test_what_is_published_comes_back(start_server, show):
    """Broken by: JSON.parse on the way; messages shown for each subscription."""
    server = start_server(workers=2)
    page = ready(show(server))
    page.until("$('#console-url').value")
    page.fill("#subscribe-topic", "stock:AAPL")
    page.key("Enter")
    page.until("$('#console-state').textContent === 'connected'")
    page.until("$('#topics tbody tr')")
    page.fill("#publish-data", '{"price":170.50,"id":12345678901234567890}')
    page.click("#publish [type=submit]")
    page.until("$('#messages li')")
    line = page.text("#messages li")
    assert line.endswith('stock:AAPL #1 {"price":170.50,"id":12345678901234567890}'), "byte for byte"
    assert page.text("#publish-answer") == "Message 1 of stock:AAPL, to 1 subscriber."

    # By topic and by pattern it still comes once.
    page.click("#subscribe-pattern")
    page.fill("#subscribe-topic", "stock:*")
    page.key("Enter")
    page.until("$$('#subscriptions li').length === 2")
    server.api("GET", "/api/status")
    page.fill("#publish-data", "hello")
    page.click("#publish [type=submit]")
    assert "not JSON" in page.until("$('#publish-answer.bad')?.textContent")
    page.click("#publish-quote")
    page.key("Enter", CTRL)
    page.until("$$('#messages li').length === 2")
    page.fill("#publish-data", "null")
    page.key("Enter", CTRL)
    page.until("$$('#messages li').length > 2")
    assert [line.split(" ", 1)[1] for line in page.text("#messages").split("\n")] == [
        "stock:AAPL #3 null", 'stock:AAPL #2 "hello"', 'stock:AAPL #1 {"price":170.50,"id":12345678901234567890}']

    for left in (1, 0):
        page.click("#subscriptions button")
        page.until("$$('#subscriptions li').length === args[0]", left)
    page.until("$('#topics .empty').textContent === 'There are no topics.'")


def test_what_strangers_named_is_shown_and_not_run(start_server, show):
    """Broken by: innerHTML in say()."""
    bad = "<img src=x onerror=alert(1)>\u202e\"'&amp;"
    shown = bad.replace("\u202e", "\\u202e")
    server = start_server()
    crowd(server, {bad: 2, LONG: 1})
    page = ready(show(server))
    page.until("$$('#topics tbody tr').length === 2")
    assert names(page, "topics") == [shown, LONG]
    page.fill("#subscribe-topic", bad)
    page.key("Enter")
    page.until("$('#console-state').textContent === 'connected'")
    page.until("$('#topics tbody tr').cells[1].textContent === '3'")
    page.fill("#publish-data", json.dumps(bad))
    page.click("#publish [type=submit]")
    page.until("$('#messages li')")
    assert page.run("$$('main img, #messages img').length") == 0
    page.click("#topics tbody button")
    page.until("$('#dialog').open")
    assert page.run("$('#dialog-title').textContent") == shown
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page.key("Escape")


def test_characters_that_turn_a_text_around_are_shown_escaped(start_server, show):
    """Broken by: el() or say() without plain()."""
    server = start_server(log_level="debug")
    bad, shown = "\u202elive\u2066\u200b\U000e0041", "\\u202elive\\u2066\\u200b\\u{e0041}"
    client = server.client2()
    client.subscribe(bad)
    page = ready(show(server))
    page.until("$('#topics tbody tr') && $('#connections tbody tr')")
    assert names(page, "topics") == [shown]
    assert page.run("$('#topics tbody button').title") == shown
    page.fill("#subscribe-topic", bad)
    page.key("Enter")
    page.until("$('#console-state').textContent === 'connected'")
    page.until("$('#topics tbody tr').cells[1].textContent === '2'")
    assert page.text("#subscriptions span") == shown == page.run("$('#subscriptions span').title")
    assert page.run("$('#subscriptions button').ariaLabel") == f"Unsubscribe from {shown}"
    page.fill("#publish-topic", bad)
    page.fill("#publish-data", json.dumps(bad, ensure_ascii=False))
    page.click("#publish [type=submit]")
    page.until("$('#messages li')")
    assert page.text("#messages li").endswith(f'{shown} #1 "{shown}"')
    assert page.text("#publish-answer") == f"Message 1 of {shown}, to 2 subscribers."
    page.click("#topics tbody button")
    page.until("$('#dialog').open")
    assert page.text("#dialog-title") == shown
    page.click("#dialog-buttons [value=use]")
    page.until("!$('#dialog').open")
    assert page.run("$('#publish-topic').value") == bad, "what is used stays what it is"

    # As the lines of the log are made.
    made = "import('/dashboard-text.js').then(({ el }) => el('span', { textContent: args[0] }).textContent)"
    assert page.run(made, bad) == shown
    assert page.run("/\\p{Cf}/u.test(document.body.textContent)") is False


def test_the_keyboard_reaches_and_does_everything(start_server, show):
    """Broken by: no outline; a field without a label."""
    server = start_server()
    client = server.client()
    client.subscribe("a")
    page = ready(show(server))
    page.until("$('#topics tbody tr') && $('#connections tbody tr')")

    page.key("Tab")
    assert page.run("document.activeElement.className") == "skip"
    assert page.run("document.activeElement.getBoundingClientRect().top") >= 0, "seen when it has the focus"
    page.key("Enter")
    page.until("document.activeElement.id === 'main'")

    # Once around: every control is reached, has a name, and shows the focus.
    page.run("document.activeElement.blur(), scrollTo(0, 0)")
    wanted = page.run("""$$('a[href], button, input, select, textarea, summary, [tabindex="0"]')
        .filter((e) => !e.disabled && e.checkVisibility()).map((e, i) => (e.dataset.walk = String(i)))""")
    reached, without = [], []
    for _ in range(len(wanted) + 2):
        page.key("Tab")
        walk, name, outline = page.run("""(() => {
            const e = document.activeElement;
            const labels = [...(e.labels ?? [])].map((label) => label.textContent.trim()).join(' ');
            const style = getComputedStyle(e);
            return [e.dataset.walk, e.ariaLabel || labels || e.textContent.trim() || e.title,
                    style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0];
        })()""")
        if walk is not None:
            reached.append(walk)
            if not (name and outline):
                without.append((page.run("document.activeElement.outerHTML"), name, outline))
    assert set(wanted) <= set(reached)
    assert not without

    # Sorting, a dialog and back, subscribing and publishing, all by keys.
    page.run("$('#topics [data-sort=name] button').focus()")
    page.key("Enter")
    page.until("$('#topics [data-sort=name]').ariaSort === 'ascending'")
    page.run("$('#topics tbody button').focus()")
    page.key("Enter")
    page.until("$('#dialog').open")
    assert page.run("document.activeElement.textContent") == "Close"
    page.key("Escape")
    page.until("document.activeElement.closest('#topics tbody')"), "the focus is where it was"
    page.run("$('#subscribe-topic').focus()")
    page.type("a")
    page.key("Enter")
    page.until("$('#topics tbody tr').cells[1].textContent === '2'")
    for _ in range(20):
        if page.run("document.activeElement.id") == "publish-data":
            break
        page.key("Tab")
    page.type("1")
    page.key("Tab")
    page.key("Enter")
    page.until("$('#messages li')")
    assert client.recv_json() == 1


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_it_without_scrolling_sideways(start_server, show, width):
    """Broken by: all columns on a phone."""
    server = start_server(workers=2)
    crowd(server, {LONG: 3, "stock:AAPL": 2})
    page = show(server, width=width, height=5000)
    page.shape(width, 5000, phone=True)
    ready(page)
    page.until("$('#topics tbody tr') && $('#connections tbody tr')")
    page.shape(width, page.run("Math.ceil($('main').getBoundingClientRect().bottom)"), phone=True)
    assert page.run("document.documentElement.scrollWidth") == width
    assert page.run("""$$('main *, header *').filter((e) => e.checkVisibility() && !e.closest('.unseen, nav')
        && e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML)""") == []
    for dark in (False, True):
        page.colours(dark)
        page.screenshot(SHOTS / f"dashboard-{width}{'-dark' if dark else ''}.png")
    page.click("#connections tbody button")
    page.until("$('#dialog').open")
    assert page.run("document.documentElement.scrollWidth") == width
    page.key("Escape")


def test_dark_and_light_by_the_system_and_by_choice(start_server, show):
    """Broken by: a choice that is not kept."""
    page = ready(show(start_server(), height=900, dark=True))
    back = "getComputedStyle(document.body).backgroundColor"
    dark = page.run(back)
    page.screenshot(SHOTS / "dashboard-dark.png", whole=False)
    page.colours(False)
    light = page.run(back)
    assert dark != light
    page.run("($('#theme').value = 'dark', $('#theme').dispatchEvent(new Event('change')))")
    assert page.run(back) == dark
    page.go(page.run("location.href"))
    assert page.run(back) == dark, "kept"
    page.run("($('#theme').value = '', $('#theme').dispatchEvent(new Event('change')))")
    assert page.run(back) == light


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_what_is_behind_it(start_server, show, dark):
    """Contrast of 4.5 to 1 for all text, as WCAG AA asks. Broken by: a lighter grey."""
    server = start_server()
    crowd(server, {"a": 1})
    page = ready(show(server, dark=dark))
    page.until("$('#topics tbody tr') && $('#connections tbody tr') && $('#log-lines li')")
    poor = page.run("""(() => {
        const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        const rgb = (colour) => {
            pen.clearRect(0, 0, 1, 1);
            pen.fillStyle = colour;
            pen.fillRect(0, 0, 1, 1);
            return [...pen.getImageData(0, 0, 1, 1).data];
        };
        const light = (c) => c.slice(0, 3).map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = (e) => {
            for (; e; e = e.parentElement) {
                const back = rgb(getComputedStyle(e).backgroundColor);
                if (back[3] === 255) return back;
            }
        };
        const found = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const e = walker.currentNode.parentElement;
            if (!walker.currentNode.textContent.trim() || !e.checkVisibility() || e.disabled) continue;
            const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
            if ((a + 0.05) / (b + 0.05) < 4.5) found.push([e.outerHTML.slice(0, 90), (a + 0.05) / (b + 0.05)]);
        }
        return found;
    })()""")
    assert poor == []


def test_a_token_is_asked_for_and_kept_in_the_tab(start_server, show):
    """Broken by: a token that is not kept."""
    token = "a-token-of-sixteen-characters-or-more"
    server = start_server(admin_token=token)
    page = show(server, away=True)

    def refused(line):
        return "401" in str(line)

    page.until("$('#dialog').open")
    page.key("Escape")
    page.key("Escape")
    page.until("$('#dialog').open")
    page.run("$('#dialog input').focus()")
    page.type("wrong")
    page.key("Enter")
    page.until("$('#dialog').open && $('#dialog').textContent.includes('refused')")
    page.type(token)
    page.key("Enter")
    ready(page)
    assert page.run("Object.values(sessionStorage)") == [token]
    page.go(page.run("location.href"))
    ready(page)
    assert not page.run("$('#dialog').open")
    # A browser says in its console that it got a 401: nothing else may stand there.
    assert all(map(refused, page.complaints()))
    page.complaints = lambda: []


def test_a_token_that_no_header_can_hold_is_asked_for_again(start_server, show):
    """Broken by: a token kept as it was typed: fetch() fails, as if the server were away, for ever."""
    token = "a-token-of-sixteen-characters-or-more"
    page = show(start_server(admin_token=token))
    page.until("$('#dialog').open")
    page.fill("#dialog input", "a-token\u2022of-sixteen")
    page.key("Enter")
    page.until("$('#dialog').open && $('#dialog').textContent.includes('refused')")
    assert page.run("sessionStorage.length") == 0
    # One that is kept all the same.
    page.run("sessionStorage.setItem('hermes-admin-token', args[0])", "\u2022")
    page.go(page.run("location.href"))
    page.until("$('#dialog').open")
    page.fill("#dialog input", f" {token} ")
    page.key("Enter")
    ready(page)
    assert page.run("Object.values(sessionStorage)") == [token]
    assert all("401" in line for line in page.complaints())
    page.complaints = lambda: []


def test_an_answer_that_is_not_the_servers_is_told_from_a_refusal(start_server, show):
    """Broken by: any JSON taken for the error of the API."""
    page = show(start_server())
    told = page.run("""(async () => {
        const { get } = await import('/dashboard-api.js');
        const said = [];
        for (const body of [{ error: { code: 'x', message: 'No.' } }, { error: 'x', message: 'Another.' }, null]) {
            window.fetch = async () => new Response(JSON.stringify(body), { status: 400 });
            said.push(await get('none').catch((fault) => [fault.constructor.name, fault.code, fault.message]));
        }
        return said;
    })()""")
    away = ["Away", None, "An answer that is not Hermes' (HTTP 400)"]
    assert told == [["Refused", "x", "No."], away, away]


def test_it_says_that_the_server_is_away_and_comes_back(start_server, show):
    """Broken by: a banner that stays hidden."""
    server = start_server()
    ports = {"port": server.port, "admin_port": server.admin_port}
    page = ready(show(server, away=True))
    page.fill("#subscribe-topic", "t")
    page.key("Enter")
    page.until("$('#console-state').textContent === 'connected'")
    server.stop()
    page.until("!$('#away').hidden && $('#state').textContent === 'Away'")
    assert "does not answer" in page.text("#away")
    assert page.run("$('#drain').disabled")
    page.screenshot(SHOTS / "dashboard-away.png", whole=False)
    start_server(**ports)
    ready(page)
    assert page.run("$('#away').hidden")
    page.until("$('#console-state').textContent === 'connected'")
    page.until("$('#topics tbody tr').cells[0].textContent === 't'")
    page.fill("#publish-topic", "t")
    page.fill("#publish-data", "1")
    page.click("#publish [type=submit]")
    page.until("$$('#messages li').some((e) => e.textContent.endsWith('t #1 1'))")


def test_a_connection_is_disconnected_but_only_when_confirmed(start_server, show):
    """Broken by: confirm() that is always true."""
    server = start_server()
    client, other = server.client2(), server.client2()
    page = ready(show(server))
    page.until("$$('#connections tbody tr').length === 2")
    button = f"#connections [aria-label='Disconnect {client.me}']"

    page.click(button)
    page.until("$('#dialog').open")
    page.click("#dialog-buttons [value='']")
    page.until("!$('#dialog').open")
    client.fence()

    page.click(button)
    page.until("$('#dialog').open && $('#dialog').textContent.includes(args[0])", client.me)
    page.run("$('#dialog select').value = '1013'")
    page.fill("#dialog input", "make room")
    page.click("#dialog-buttons .danger")
    client.expect_close(1013)
    page.until("$('#notice').textContent === 'Disconnected 1 connection.'")
    page.point(5, 5)
    page.until("$$('#connections tbody tr').length === 1")
    assert names(page, "connections") == [other.me]
    other.fence()


def test_connections_are_found_and_sorted(start_server, show):
    """Broken by: a request without what is looked for."""
    server = start_server()
    clients = [server.client2() for _ in range(3)]
    page = ready(show(server))
    page.until("$$('#connections tbody tr').length === 3")
    assert page.text("#connections .page") == "3 of 3 connections"
    page.click("#connections [data-sort=age] button")
    page.until("$('#connections [data-sort=age]').ariaSort === 'descending'")
    page.fill("#connections-find", clients[1].me)
    page.until("$$('#connections tbody tr').length === 1")
    assert names(page, "connections") == [clients[1].me]
    page.fill("#connections-find", "no such id")
    assert "16 hexadecimal digits" in page.until("!$('#connections .empty').hidden && $('#connections .empty').textContent")
    page.complaints = lambda: []


def test_rows_stay_where_a_pointer_is_about_to_press(start_server, show):
    """Broken by: rows held for the focus alone."""
    server = start_server()
    clients = crowd(server, {"a": 2, "b": 1})
    page = ready(show(server))
    page.until("$$('#topics tbody tr').length === 2")
    x, y = page.run("(() => { const r = $('#topics tbody tr').getBoundingClientRect(); return [r.x + 5, r.y + 5]; })()")
    page.point(x, y)
    for client in clients:
        client.subscribe("c")
    clients[1].unsubscribe("a")
    more = crowd(server, {"b": 3})
    page.until("$('#topics .note').textContent.startsWith('order held')")
    page.until("$$('#topics tbody tr')[1].cells[1].textContent === '4'")
    assert names(page, "topics") == ["a", "b"], "values move, rows do not"
    page.point(5, 5)
    page.until("$$('#topics tbody tr').length === 3")
    assert names(page, "topics")[0] == "b"
    assert len(more) == 3


def test_only_what_is_in_sight_is_asked_for(start_server, show):
    """Broken by: polling whatever is in sight."""
    server = start_server()
    page = ready(show(server, height=500))

    def asked(what):
        return sum(f"/api/{what}" in url for url in page.requests())

    statuses = asked("status")
    page.browser.wait(lambda: asked("status") > statuses + 2, "more of the status")
    assert asked("connections") == 0
    page.run("$('#connections').scrollIntoView({ behavior: 'instant' })")
    page.browser.wait(lambda: asked("connections") > 1, "the connections")


def test_drain_ends_the_server_but_only_when_confirmed(start_server, show):
    """Broken by: confirm() that is always true."""
    server = start_server()
    page = ready(show(server, away=True))
    page.click("#drain")
    page.until("$('#dialog').open")
    assert page.run("document.activeElement.textContent") == "Cancel", "Enter does no harm"
    page.key("Enter")
    page.until("!$('#dialog').open")
    assert server.admin("GET", "/readyz")[0] == 200
    page.click("#drain")
    page.until("$('#dialog').open")
    page.click("#dialog-buttons .danger")
    assert server.wait() == 0
    page.until("$('#state').textContent === 'Away'")


def test_the_log_is_shown_by_level_and_found_in(start_server, show):
    """Broken by: a request without the level. (An image from elsewhere, or a style attribute, breaks them all.)"""
    server = start_server(log_level="debug")
    page = ready(show(server))
    page.until("$$('#log-lines li').some((e) => e.textContent.includes('listening'))")
    page.fill("#log-find", "admin listener")
    assert page.run("$$('#log-lines li').filter((e) => e.checkVisibility())"
                    ".every((e) => e.textContent.includes('admin listener'))")
    page.fill("#log-find", " ")
    page.run("($('#log-level').value = 'error', $('#log-level').dispatchEvent(new Event('change')))")
    page.browser.wait(lambda: sum("level=error" in url for url in page.requests()) > 1, "two looks at errors alone")
    assert page.run("$$('#log-lines li').length") == 0
    page.run("($('#log-level').value = 'debug', $('#log-level').dispatchEvent(new Event('change')))")
    page.until("$$('#log-lines li').length > 1")


def test_why_a_message_did_not_come_is_explained(start_server, show):
    """Broken by: a verdict without its words."""
    server = start_server()
    client = server.client2()
    client.subscribe("t")
    server.client2().publish_acked("t", 1)
    page = ready(show(server))
    page.fill("#explain [name=client]", client.me)
    page.fill("#explain [name=topic]", "t")
    page.fill("#explain [name=offset]", "1")
    page.key("Enter")
    page.until("$('#explanation .pill')")
    told = server.api("GET", f"/api/explain?client={client.me}&topic=t&offset=1")[1]
    # Times of facts are reckoned back from now: a millisecond up or down.
    words = re.sub(r"\d+Z", "", told["words"])
    assert words in re.sub(r"\d+Z", "", page.text("#explanation"))
    assert told["verdict"] in page.text("#explanation .pill")


def test_numbers_are_told_as_people_read_them(start_server, show):
    page = show(start_server())
    told = page.run("""import('/dashboard-text.js').then((t) => [
        t.count(1234567), t.count(null), t.rate(0), t.rate(0.25), t.rate(1234.5),
        t.bytes(0), t.bytes(1023), t.bytes(1024), t.bytes(1048575), t.bytes(3 * 2 ** 30),
        t.percent(0.123), t.percent(7), t.duration(59.9), t.duration(61), t.duration(7260), t.duration(90000),
        t.short(0), t.short(1200), t.short(2500000), t.some(1, 'client'), t.some(2, 'client')])""")
    assert told == ["1,234,567", "–", "0", "0.3", "1,235",
                    "0 B", "1,023 B", "1.0 KiB", "1.0 MiB", "3.0 GiB",
                    "12 %", "100 %", "59 s", "1 min 1 s", "2 h 1 min", "1 d 1 h",
                    "0", "1.2k", "2.5M", "1 client", "2 clients"]


def test_nothing_jumps_when_numbers_come(start_server, show):
    """The browser's own measure of it: what moved, by how much of the page. 0.1 counts as good.
    Broken by: tables without room for rows to come."""
    server = start_server(workers=2)
    page = ready(show(server))
    with Traffic(server, "ticks"):
        crowd(server, {f"t:{n}": 1 + n % 3 for n in range(20)})
        page.until("$$('#topics tbody tr').length === 15 && $$('#connections tbody tr').length === 5")
        page.until("parseFloat($('#plot-in b').textContent) > 0")
    server.stop()
    page.away = True
    page.until("!$('#away').hidden")
    moved = page.run("""new Promise((done) => new PerformanceObserver((list) => done(list.getEntries()
        .map((e) => [e.value, e.sources.map((s) => s.node?.outerHTML?.slice(0, 120))])))
        .observe({ type: 'layout-shift', buffered: true }) || setTimeout(() => done([]), 300))""")
    assert sum(value for value, _ in moved) < 0.02, moved
