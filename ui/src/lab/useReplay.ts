import { useMemo, useRef } from "react";
import type { LabEvent } from "../api/types";
import { type RunEvent, runEvent } from "./events";
import { Replay } from "./replay";

/** Something that events are added to as they come. */
interface Sink {
  add(events: readonly RunEvent[]): void;
}

/** A sink that has seen all of `events`, made anew only when they are another sim's. `version` changes when it has. */
export function useFed<T extends Sink>(events: readonly LabEvent[], make: () => T): { sink: T; version: number } {
  const fed = useRef<{ sink: T; first: LabEvent | undefined; count: number } | null>(null);
  return useMemo(() => {
    if (!fed.current || fed.current.first !== events[0] || fed.current.count > events.length)
      fed.current = { sink: make(), first: events[0], count: 0 };
    const fresh = events.slice(fed.current.count).flatMap((line) => runEvent(line) ?? []);
    fed.current.sink.add(fresh);
    fed.current.count = events.length;
    return { sink: fed.current.sink, version: events.length };
    // biome-ignore lint/correctness/useExhaustiveDependencies: `make` is the same all the time
  }, [events]);
}

export function useReplay(events: readonly LabEvent[]): { sink: Replay; version: number } {
  return useFed(events, () => new Replay());
}

/** First and last moment of what has happened; null before anything has. */
export function spanOf(events: readonly LabEvent[]): { start: number; end: number } | null {
  const [first, last] = [events[0], events.at(-1)].map((line) => (line ? runEvent(line) : null));
  return first && last ? { start: first.at, end: last.at } : null;
}
