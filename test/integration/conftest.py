"""Fixtures for all tests here; what they do stands in hermes_fixtures.py."""

import os
import signal

import pytest

from hermes_fixtures import HERMES, sanitized, server, start_server, workers  # noqa: F401
from raw import DEADLINE

# What they ask is asked of pages and of the client, of which a sanitizer sees nothing.
collect_ignore = ["test_dashboard.py", "test_hermes_js.py"] if HERMES.exists() and sanitized() else []

for name in list(os.environ):
    if name.lower().endswith("_proxy"):
        del os.environ[name]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """No test hangs, whatever it waits for."""

    def too_long(*_):
        raise TimeoutError("this test took far too long")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 6 * DEADLINE)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
