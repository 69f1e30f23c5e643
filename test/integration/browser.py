"""Debian's Chromium without a window, driven over a pipe by the DevTools protocol."""

import base64
import collections
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from hermes_fixtures import clean_environment
from raw import DEADLINE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless=new", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check",
         "--disable-background-timer-throttling", "--hide-scrollbars", "--lang=en", "--no-proxy-server",
         "--force-color-profile=srgb", "--remote-debugging-pipe"]
# The sandbox does not work for root; nothing is opened here but pages of our own.
if os.geteuid() == 0:
    FLAGS.append("--no-sandbox")


class Browser:
    """The program. Pages of it share nothing but the process."""

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="hermes-chromium-", ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        # It reads from descriptor 3 and writes to 4.
        def child():
            os.setsid()
            ours = os.dup(to_browser), os.dup(from_browser)
            os.dup2(ours[0], 3)
            os.dup2(ours[1], 4)
            os.set_inheritable(3, True)
            os.set_inheritable(4, True)

        home = {"HOME": self._profile.name, "XDG_CONFIG_HOME": self._profile.name, "XDG_CACHE_HOME": self._profile.name}
        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"], preexec_fn=child,
            close_fds=False, env=clean_environment(**home), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self._numbers = itertools.count(1)
        self._answers = {}
        self._change = threading.Condition()
        self._ended = False
        self._pages = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with open(self._in, "rb", buffering=0) as source:
            rest = b""
            while chunk := source.read(1 << 16):
                *whole, rest = (rest + chunk).split(b"\0")
                for text in whole:
                    self._take(json.loads(text))
        with self._change:
            self._ended = True
            self._change.notify_all()

    def _take(self, message):
        with self._change:
            if "id" in message:
                self._answers[message["id"]] = message
            elif message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].events.append(message)
            self._change.notify_all()

    def wait(self, question, what):
        """The first answer that is true; asked again whenever something comes from the browser."""
        end = time.monotonic() + 3 * DEADLINE
        with self._change:
            while not (answer := question()):
                left = end - time.monotonic()
                assert left > 0 and not self._ended, f"{what}: did not come"
                self._change.wait(left)
            return answer

    def call(self, method, session=None, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self.wait(lambda: self._answers.pop(number, None), method)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, url, width=1280, height=900, dark=False):
        """A page in a context of its own: no cookie, storage or cache of another."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, context)
        self._pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.shape(width, height)
        page.colours(dark)
        page.go(url)
        return page

    def close(self):
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        with contextlib.suppress(OSError):
            os.close(self._out)
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._profile.cleanup()


class Page:
    def __init__(self, browser, session, context):
        self.browser, self.session, self.context = browser, session, context
        self.events = collections.deque()

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def go(self, url):
        # An event of an earlier page must not be taken for this one's.
        done = sum(e["method"] == "Page.loadEventFired" for e in self.events)
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.browser.wait(lambda: sum(e["method"] == "Page.loadEventFired" for e in self.events) > done, f"load of {url}")

    def shape(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        # No pointer that a finger could hover with.
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def colours(self, dark):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def run(self, script, *arguments):
        """The value of an expression; promises are waited for. `$` and `$$` find elements."""
        given = ", ".join(json.dumps(a) for a in arguments)
        helpers = "const $ = (s) => document.querySelector(s), $$ = (s) => [...document.querySelectorAll(s)];"
        answer = self.call("Runtime.evaluate", awaitPromise=True, returnByValue=True,
                           expression=f"(async () => {{ {helpers} const args = [{given}]; return ({script}); }})()")
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script, *arguments):
        """Waits until the expression is true, and no element missing in it; its value."""
        end = time.monotonic() + 3 * DEADLINE
        # An element is no value that could be handed out.
        guarded = (f"(() => {{ try {{ const value = {script}; return value instanceof Node || value; }}"
                   " catch (e) { if (e instanceof TypeError) return null; throw e; } })()")
        while not (value := self.run(guarded, *arguments)):
            assert time.monotonic() < end, f"never true: {script}\n{self.complaints()}"
            time.sleep(0.05)
        return value

    def text(self, selector):
        return self.run("$(args[0]).innerText", selector)

    def key(self, key, modifiers=0):
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": codes[key], "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """By the pointer, where the element is."""
        x, y = self.run("(() => { const e = $(args[0]); e.scrollIntoView({block: 'center', behavior: 'instant'});"
                        " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()", selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def point(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def fill(self, selector, text):
        self.run("(() => { const e = $(args[0]); e.focus(); e.select?.(); })()", selector)
        self.type(text)

    def screenshot(self, path, whole=True):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    def requests(self):
        """The addresses of all that it has asked for, sockets too."""
        found = []
        for event in list(self.events):
            if event["method"] == "Network.requestWillBeSent":
                found.append(event["params"]["request"]["url"])
            elif event["method"] == "Network.webSocketCreated":
                found.append(event["params"]["url"])
        return found

    def complaints(self):
        """What stands in its console: errors, exceptions, violations of the policy."""
        found = []
        for event in list(self.events):
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"].get("exception", {}).get("description") or params)
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append([a.get("value", a.get("description")) for a in params["args"]])
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return found

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)
        self.browser._pages.pop(self.session, None)


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.fail("chromium is not installed: third_party/install.sh test")
    one = Browser()
    try:
        yield one
    finally:
        one.close()
