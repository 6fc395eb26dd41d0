"""A real Chromium without a window, driven through its debugging pipe (CDP)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.pixels import RGB, Pixels

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
#: Seconds in which the browser answers, whatever else the machine does.
_PATIENCE_S = 120.0


def found() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one page, and all that it complained of and asked for since it was loaded."""

    def __init__(self, fd_in: int, fd_out: int) -> None:
        self._in, self._out = fd_in, fd_out
        self._read = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self._asked: dict[str, str] = {}
        self._loaded = 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found_ = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found_["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._out], [], [], _PATIENCE_S)
            assert ready, "the browser does not answer"
            part = os.read(self._out, 1 << 20)
            assert part, "the browser ended"
            self._read += part
        said, self._read = self._read.split(b"\0", 1)
        message: dict[str, Any] = json.loads(said)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(params["args"])[:500])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self._asked[params["requestId"]] = params["request"]["url"]
        elif method == "Network.loadingFailed" and params.get("blockedReason") == "csp":
            self._asked.pop(params["requestId"])
        elif method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {params['message']}")
            self._number += 1
            close = {"id": self._number, "method": "Page.handleJavaScriptDialog",
                     "params": {"accept": False}, "sessionId": self._session}  # fmt: skip
            os.write(self._in, json.dumps(close).encode() + b"\0")

    @property
    def requests(self) -> list[str]:
        """What was asked for, but for what the page's own rules forbade."""
        return list(self._asked.values())

    def size(self, width: int, height: int, *, dark: bool = False, ratio: float = 1) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=ratio, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def load(self, path: Path) -> None:
        """Load a file; what it asked for and complained of begins anew."""
        self.complaints.clear()
        self._asked.clear()
        before = self._loaded
        self.call("Page.navigate", url=path.absolute().as_uri())
        while self._loaded == before:
            self._next()

    def run(self, script: str) -> Any:
        """Return what an expression gives, awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true: looked at before each frame."""
        self.run(
            "new Promise(done => { const look = () => (" + condition + ") ? done(true)"
            " : requestAnimationFrame(look); look(); })"
        )

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send "mouseMoved", "mousePressed", "mouseReleased" or "mouseWheel"."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float], **more: Any) -> None:
        self.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1, **more)
        self.mouse("mouseMoved", *end, button="left", buttons=1, **more)
        self.mouse("mouseReleased", *end, button="left", clickCount=1, **more)

    def area(self, x: float, y: float, width: int = 1, height: int = 1) -> set[RGB]:
        """Return the colours that are on the screen in a rectangle."""
        clip = {"x": int(x), "y": int(y), "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip)
        return Pixels(b64decode(shot["data"])).area(0, 0, width, height)

    def at(self, x: float, y: float) -> RGB:
        """Return the colour that is on the screen at a place."""
        (colour,) = self.area(x, y)
        return colour

    def picture(self) -> bytes:
        """Return what is shown as PNG."""
        return b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a Chromium of our own, and end it."""
    path = found()
    assert path is not None, "no Chromium: apt-get install chromium-headless-shell"
    to_it, ours_in = os.pipe()
    ours_out, from_it = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # The pipe's ends have to be 3 and 4.
        line = f'exec "$0" "$@" 3<&{to_it} 4>&{from_it}'
        process = subprocess.Popen(
            ["bash", "-c", line, path, "--headless", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe",
             f"--user-data-dir={home}"],
            pass_fds=(to_it, from_it),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # A browser does not run under sanitizers.
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
        )  # fmt: skip
        os.close(to_it)
        os.close(from_it)
        try:
            made = Browser(ours_in, ours_out)
            yield made
            made._session = None
            made.call("Browser.close")
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            os.close(ours_in)
            os.close(ours_out)
