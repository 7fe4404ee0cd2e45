/** The slider along the run's time, with what changed last. */
import { useEffect, useRef, useState } from "react";
import { duration, relative } from "../format";
import { useShortcuts } from "../keyboard";
import { countUntil } from "../lab/events";

export interface ReplayBarProps {
  start: number;
  end: number;
  /** Milliseconds since the start; null: the end, or now. */
  moment: number | null;
  onMoment: (ms: number | null) => void;
  /** When something changed, since 1970. */
  changes: readonly number[];
  /** What changed last. */
  change: string | null;
  isLive: boolean;
}

/** A run plays in real time, but for at most this long. */
const LONGEST_PLAY_MS = 20_000;

export function ReplayBar({ start, end, moment, onMoment, changes, change, isLive }: ReplayBarProps) {
  const length = Math.max(end - start, 1);
  const shown = moment === null ? length : Math.min(Math.max(moment, 0), length);
  const [isPlaying, setPlaying] = usePlaying(shown, length, onMoment);
  const done = countUntil(
    changes.map((at) => ({ at })),
    start + shown,
  );
  const jump = (to: number | undefined) => to !== undefined && onMoment(to - start);
  // The change that is shown right now is not the previous one.
  const previous = () => jump(changes[changes[done - 1] === start + shown ? done - 2 : done - 1] ?? start);
  const next = () => jump(changes[done]);
  useShortcuts([
    { keys: [","], does: "previous change of the network", run: previous },
    { keys: ["."], does: "next change of the network", run: next },
    { keys: [" "], does: "play or stop the replay", run: () => setPlaying(!isPlaying) },
    { keys: ["0"], does: isLive ? "back to now" : "to the end of the run", run: () => onMoment(null) },
  ]);
  return (
    <div className="replay">
      <div className="replay-buttons">
        <button type="button" onClick={previous} aria-label="Previous change">
          ‹
        </button>
        <button type="button" onClick={() => setPlaying(!isPlaying)} aria-label={isPlaying ? "Stop" : "Play"}>
          {isPlaying ? "■" : "▶"}
        </button>
        <button type="button" onClick={next} aria-label="Next change">
          ›
        </button>
      </div>
      <div className="replay-slider">
        <svg className="replay-marks" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">
          {thinned(changes, start, length).map((x) => (
            <line key={x} x1={x} x2={x} y1={0} y2={8} />
          ))}
        </svg>
        <input
          type="range"
          min={0}
          max={length}
          step="any"
          value={shown}
          aria-label="Moment of the run"
          aria-valuetext={`${duration(shown)} of ${duration(length)}${change ? `, last change: ${change}` : ""}`}
          onChange={(event) => onMoment(Number(event.target.value))}
          onKeyDown={(event) => stepBy(event, shown, length, onMoment)}
        />
      </div>
      <output className="replay-time">{relative((start + shown) * 1000, start * 1000)}</output>
      <button type="button" aria-pressed={moment === null} onClick={() => onMoment(null)}>
        {isLive ? "Live" : "End"}
      </button>
      <p className="replay-change" title={change ?? undefined}>
        {change ?? "Nothing has changed yet"}
      </p>
    </div>
  );
}

/** A hundredth by the arrow keys: `step="any"` alone would have them do what a browser pleases. */
function stepBy(event: React.KeyboardEvent, shown: number, length: number, onMoment: (ms: number) => void): void {
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  onMoment(Math.min(Math.max(shown + (by * length) / 100, 0), length));
}

function thinned(changes: readonly number[], start: number, length: number): number[] {
  return [...new Set(changes.map((at) => Math.round(((at - start) / length) * 1000)))];
}

function usePlaying(shown: number, length: number, onMoment: (ms: number | null) => void) {
  const [isPlaying, setPlaying] = useState(false);
  const latest = useRef({ shown, length, onMoment });
  useEffect(() => {
    latest.current = { shown, length, onMoment };
  });
  useEffect(() => {
    if (!isPlaying) return;
    let frame = 0;
    let before: number | null = null;
    let at = latest.current.shown >= latest.current.length ? 0 : latest.current.shown;
    const tick = (now: number) => {
      const { length: all, onMoment: show } = latest.current;
      at += (before === null ? 0 : now - before) * Math.max(1, all / LONGEST_PLAY_MS);
      before = now;
      if (at >= all) {
        show(null);
        setPlaying(false);
        return;
      }
      show(at);
      frame = requestAnimationFrame(tick);
    };
    frame = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(frame);
  }, [isPlaying]);
  return [isPlaying, setPlaying] as const;
}
