import { countUntil } from "./events";
import { parseMoment } from "./time";

/** Counters of `statistics` and `metrics.jsonl` that add up. */
export const COUNTERS = [
  "packets",
  "bytes",
  "dropped",
  "lost",
  "overflowed",
  "overrun",
  "refused",
  "reordered",
  "duplicated",
  "corrupted",
] as const;
export type Counter = (typeof COUNTERS)[number];

/** Why packets did not pass, of which `dropped` is the sum. */
export const DROP_CAUSES: readonly (readonly [Counter, string])[] = [
  ["lost", "asked loss"],
  ["overflowed", "full queue"],
  ["overrun", "host too busy"],
  ["refused", "interface down"],
];

export type Counts = Readonly<Partial<Record<Counter | "delay_ms", number>>>;
export interface LinkCounts {
  readonly up?: Counts;
  readonly down?: Counts;
}

/** A line of `metrics.jsonl`, with its time as a moment. */
export interface MetricsSample {
  readonly at: number;
  readonly intervalS: number;
  readonly links: Readonly<Record<string, LinkCounts>>;
}

export function metricsSample(line: unknown): MetricsSample | null {
  if (typeof line !== "object" || line === null) return null;
  const { timestamp, interval_s, links } = line as Record<string, unknown>;
  const at = typeof timestamp === "string" ? parseMoment(timestamp) : null;
  if (at === null || typeof interval_s !== "number" || typeof links !== "object" || links === null) return null;
  return { at, intervalS: interval_s, links: links as MetricsSample["links"] };
}

/** What links have counted until a moment, and what they did in the second before it. */
export interface LinkActivity {
  readonly total: { readonly up: Counts; readonly down: Counts };
  readonly recent: LinkCounts | null;
  readonly intervalS: number;
}

const RECENT_MS = 1500;

export function activityAt(samples: readonly MetricsSample[], at: number | null): ReadonlyMap<string, LinkActivity> {
  const until = at === null ? samples.length : countUntil(samples, at);
  const moment = at ?? samples.at(-1)?.at ?? 0;
  const found = new Map<
    string,
    { up: Record<string, number>; down: Record<string, number>; recent: LinkCounts | null }
  >();
  for (const sample of samples.slice(0, until)) {
    const isRecent = moment - sample.at < RECENT_MS;
    for (const [name, counts] of Object.entries(sample.links)) {
      let link = found.get(name);
      if (!link) {
        link = { up: {}, down: {}, recent: null };
        found.set(name, link);
      }
      add(link.up, counts.up);
      add(link.down, counts.down);
      if (isRecent) link.recent = counts;
    }
  }
  const intervalS = samples[until - 1]?.intervalS ?? 1;
  return new Map(
    [...found].map(([name, { up, down, recent }]) => [name, { total: { up, down }, recent, intervalS }] as const),
  );
}

function add(sum: Record<string, number>, counts: Counts | undefined): void {
  if (counts) for (const name of COUNTERS) if (counts[name]) sum[name] = (sum[name] ?? 0) + counts[name];
}
