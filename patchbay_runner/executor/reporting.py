"""What the executor tells the recorder about captures, often enough to watch and seldom enough to be cheap."""

from __future__ import annotations

import time

from patchbay_runner.executor.captures import CaptureStore
from patchbay_runner.model.recording import CaptureValue, Recorder

# A key that changes all the time is reported this often; its last value is always reported.
_INTERVAL_S = 0.4


class CaptureReporter:
    """Passes changed captures on to the recorder, each key at most once an interval unless it is the end."""

    def __init__(self, store: CaptureStore, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder
        self._reported_s: dict[str, float] = {}

    def report(self, *, is_last: bool = False) -> None:
        """Reports what has changed; keys reported a moment ago wait for a later call unless `is_last`."""
        changed = self._store.take_changed()
        if not changed:
            return
        now = time.monotonic()
        due = sorted(changed) if is_last else sorted(key for key in changed if self._is_due(key, now))
        self._store.put_back(changed.difference(due))
        values: dict[str, CaptureValue] = {}
        for key in due:
            self._reported_s[key] = now
            values[key] = value = self._store.value(key)
            # Every program has these two, and process_exited tells them already.
            if not key.endswith((".exit_code", ".elapsed_s")):
                self._recorder.emit("capture_recorded", key=key, value=_shortened(value.value), count=value.count)
        if values:
            self._recorder.captures(values)

    def _is_due(self, key: str, now: float) -> bool:
        return now - self._reported_s.get(key, -_INTERVAL_S) >= _INTERVAL_S


def _shortened(value: str, limit: int = 1000) -> str:
    return value if len(value) <= limit else f"{value[:limit]}… ({len(value)} characters)"
