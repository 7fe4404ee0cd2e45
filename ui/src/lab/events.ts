import { parseMoment } from "./time";

/** A line of `events.jsonl` (docs/reference/output.md), with its time as a moment. */
export interface RunEvent {
  readonly opid: number;
  readonly at: number;
  readonly kind: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** An event from its JSON object; null for one that is torn or foreign. */
export function runEvent(line: unknown): RunEvent | null {
  if (typeof line !== "object" || line === null) return null;
  const { opid, timestamp, kind, ...fields } = line as Record<string, unknown>;
  if (typeof opid !== "number" || typeof timestamp !== "string" || typeof kind !== "string") return null;
  const at = parseMoment(timestamp);
  return at === null ? null : { opid, at, kind, fields };
}

export function text(event: RunEvent, field: string): string {
  const value = event.fields[field];
  return typeof value === "string" ? value : "";
}

export function textOrNull(event: RunEvent, field: string): string | null {
  const value = event.fields[field];
  return typeof value === "string" ? value : null;
}

export function number(event: RunEvent, field: string): number | null {
  const value = event.fields[field];
  return typeof value === "number" ? value : null;
}

/** How many of the events, which stand in order of time, have happened at a moment. */
export function countUntil(events: readonly { readonly at: number }[], at: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((events[middle] as { at: number }).at <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}
