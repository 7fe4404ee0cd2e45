"""What the executor tells the recorder beside the steps, often enough to watch and seldom enough to be cheap."""

from __future__ import annotations

import time

from patchbay_runner.executor.captures import CaptureStore
from patchbay_runner.executor.network import Network
from patchbay_runner.model.links import LinkReport
from patchbay_runner.model.recording import Recorder

# What changes all the time is reported this often; last values are always reported.
_INTERVAL_S = 0.25
_NETWORK_INTERVAL_S = 1.0


class CaptureReporter:
    """Passes changed captures on to the recorder, at most once an interval unless it is the end."""

    def __init__(self, store: CaptureStore, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder
        self._reported_s = -_INTERVAL_S

    def report(self, *, is_last: bool = False) -> None:
        """Reports what has changed, or leaves it to a later call when the last report was a moment ago."""
        now_s = time.monotonic()
        if now_s - self._reported_s < _INTERVAL_S and not is_last:
            return
        changed = self._store.take_changed()
        if not changed:
            return
        self._reported_s = now_s
        values = {key: self._store.value(key) for key in sorted(changed)}
        for key, value in values.items():
            # Every program has these two, and process_exited tells them already.
            if not key.endswith((".exit_code", ".elapsed_s")):
                self._recorder.emit("capture_recorded", key=key, value=_shortened(value.value), count=value.count)
        self._recorder.captures(values)


class NetworkReporter:
    """Passes the network's state and its links' counters on to the recorder when they have changed."""

    def __init__(self, network: Network, recorder: Recorder) -> None:
        self._network = network
        self._recorder = recorder
        self._reported_s = time.monotonic() - _NETWORK_INTERVAL_S
        self._links = LinkReport()

    def report(self, *, is_last: bool = False) -> None:
        """Reports at most once a second, but for the last time. Raises LabError and EmulatorDied."""
        now_s = time.monotonic()
        interval_s = now_s - self._reported_s
        if interval_s < _NETWORK_INTERVAL_S and not is_last:
            return
        self._reported_s = now_s
        state = self._network.take_state()
        if state is not None:
            self._recorder.network(state)
        links = self._network.link_report()
        if links != self._links:
            self._links = links
            self._recorder.links(links, round(interval_s, 3))


def _shortened(value: str, limit: int = 1000) -> str:
    return value if len(value) <= limit else f"{value[:limit]}… ({len(value)} characters)"
