import { useMemo, useState } from "react";
import type { LabEvent } from "../api/types";
import { type RunEvent, runEvent } from "./events";
import { Replay } from "./replay";

/** Something that events are added to as they come. */
interface Sink {
  add(events: readonly RunEvent[]): void;
}

/** A sink that has seen all events; a new object whenever there are more. */
export interface Fed<T> {
  readonly sink: T;
}

/** Gives a sink the events that it has not seen; makes another when they are another sim's. */
class Feeder<T extends Sink> {
  private sink: T | null = null;
  private first: LabEvent | undefined;
  private count = 0;

  constructor(private readonly make: () => T) {}

  feed(events: readonly LabEvent[]): Fed<T> {
    const isOther = this.first !== events[0] || this.count > events.length;
    const sink = this.sink && !isOther ? this.sink : this.make();
    if (sink !== this.sink) this.count = 0;
    this.sink = sink;
    this.first = events[0];
    sink.add(events.slice(this.count).flatMap((line) => runEvent(line) ?? []));
    this.count = events.length;
    return { sink };
  }
}

/** What has seen all of `events`. `make` is called when they are another sim's. */
export function useFed<T extends Sink>(events: readonly LabEvent[], make: () => T): Fed<T> {
  const [feeder] = useState(() => new Feeder(make));
  return useMemo(() => feeder.feed(events), [feeder, events]);
}

export function useReplay(events: readonly LabEvent[]): Fed<Replay> {
  return useFed(events, () => new Replay());
}

/** First and last moment of what has happened; null before anything has. */
export function spanOf(events: readonly LabEvent[]): { start: number; end: number } | null {
  const [first, last] = [events[0], events.at(-1)].map((line) => (line ? runEvent(line) : null));
  return first && last ? { start: first.at, end: last.at } : null;
}
