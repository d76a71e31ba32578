"""Chromium without a window, driven over chromedriver's own protocol. https://www.w3.org/TR/webdriver2/

with Browser() as browser:
    browser.open("http://127.0.0.1:42002/")
    browser.wait_for("return document.title", "2 · Voltlane")
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from kit.wait import wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver")

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-proxy-server",
]
_TIMEOUT = 60.0


class Browser:
    """One browser with one page, and nothing remembered from another time."""

    def __init__(self, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        assert CHROMIUM and DRIVER
        self._directory = tempfile.TemporaryDirectory()
        log = Path(self._directory.name) / "driver.log"
        with open(log, "wb") as file:
            self._driver = subprocess.Popen(
                [DRIVER, "--port=0"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, "HOME": self._directory.name},
                start_new_session=True,
            )
        try:
            wait_until(lambda: b"started successfully on port" in log.read_bytes(), "chromedriver", _TIMEOUT)
            (port,) = re.findall(rb"successfully on port (\d+)", log.read_bytes())
            self._base = f"http://127.0.0.1:{port.decode()}"
            flags = [*_FLAGS, f"--window-size={width},{height}", f"--user-data-dir={self._directory.name}/profile"]
            if dark:
                flags.append("--force-dark-mode")
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self._base += f"/session/{session['sessionId']}"
        except BaseException:
            self.close()
            raise

    # ---- what it is told

    def open(self, url: str) -> None:
        """Go to an address."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def key(self, *keys: str) -> None:
        """Press keys, one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def accept_alert(self) -> None:
        """Say yes to what the page asks."""
        self._call("POST", "/alert/accept", {})

    def emulate(self, command: str, **parameters: Any) -> None:
        """A command of the DevTools protocol."""
        self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    # ---- what it shows

    def text(self, selector: str) -> str:
        """The text that a person sees there."""
        return str(self.run("return (document.querySelector(arguments[0]) || {innerText: ''}).innerText", selector))

    def wait_for(self, script: str, value: Any, timeout: float = 20.0) -> None:
        """Wait until a script returns a value."""
        found: list[Any] = [None]

        def there() -> bool:
            found[0] = self.run(script)
            return bool(found[0] == value)

        try:
            wait_until(there, script, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: {found[0]!r} and not {value!r}") from None

    def console(self) -> list[str]:
        """Everything in the console since the last time."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self) -> bytes:
        """What is seen, as a PNG."""
        return base64.b64decode(self._call("GET", "/screenshot"))

    # ---- the end

    def close(self) -> None:
        """End it and everything it started."""
        try:
            if "/session/" in getattr(self, "_base", ""):
                self._call("DELETE", "")
        except OSError:
            pass
        finally:
            self._driver.terminate()
            try:
                self._driver.wait(10)
            except subprocess.TimeoutExpired:
                self._driver.kill()
                self._driver.wait()
            shutil.rmtree(self._directory.name, ignore_errors=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode("utf-8", "replace")[:500]) from None
