/** What the page shows of the server, and how the messages of the stream change it. Pure. */
import type {
  Json,
  LabEvent,
  LogEntry,
  LogWindow,
  MetricsLine,
  NetworkState,
  ResultsDocument,
  RunDocument,
  RunEntry,
  SimDocument,
  SimEntry,
  Step,
} from "../api/types";

/** What the page shows. */
export interface Subscription {
  run: string | null;
  sim: string | null;
}

/** A log to follow, from this byte on. */
export interface Followed {
  path: string;
  after: number;
}

/** Everything there is of one sim. Lists only ever grow at their end. */
export interface SimRecord {
  /** null until the sim has begun. */
  sim: SimDocument | null;
  steps: readonly Step[];
  state: NetworkState | null;
  events: readonly LabEvent[];
  metrics: readonly MetricsLine[];
  results: ResultsDocument | null;
  logs: readonly LogEntry[];
  /** Windows of the followed log, since it was followed; emptied when the log was cut. */
  followed: readonly LogWindow[];
  /** How often results.json has changed: whoever shows it fetches it again. */
  resultsVersion: number;
}

export interface Live {
  /** "missing": there is no such run or sim, or not any more. */
  connection: "connecting" | "open" | "lost" | "missing";
  problem: string | null;
  /** Runs that have changed since the page was loaded, by name; null: removed. */
  changedRuns: Readonly<Record<string, RunEntry | null>>;
  run: RunDocument | null;
  sims: readonly SimEntry[];
  record: SimRecord;
}

export const EMPTY_RECORD: SimRecord = {
  sim: null,
  steps: [],
  state: null,
  events: [],
  metrics: [],
  results: null,
  logs: [],
  followed: [],
  resultsVersion: 0,
};

export const EMPTY_LIVE: Live = {
  connection: "connecting",
  problem: null,
  changedRuns: {},
  run: null,
  sims: [],
  record: EMPTY_RECORD,
};

/** The messages of the stream; one more, `results_fetched`, is the page's own. */
export type Message =
  | { type: "ready"; data: { version: string } }
  | { type: "runs"; data: { changed: readonly RunEntry[]; removed: readonly string[] } }
  | { type: "run"; data: RunDocument }
  | { type: "sims"; data: readonly SimEntry[] }
  | { type: "sim"; data: SimDocument }
  | { type: "steps"; data: readonly Step[] }
  | { type: "state"; data: NetworkState }
  | { type: "state_patch"; data: NetworkState }
  | { type: "events"; data: readonly LabEvent[] }
  | { type: "metrics"; data: readonly MetricsLine[] }
  | { type: "logs"; data: readonly LogEntry[] }
  | { type: "log"; data: LogWindow }
  | { type: "log_truncated"; data: { size: number } }
  | { type: "results"; data: object }
  | { type: "results_fetched"; data: ResultsDocument }
  | { type: "gone"; data: object };

export const MESSAGE_TYPES = [
  "ready",
  "runs",
  "run",
  "sims",
  "sim",
  "steps",
  "state",
  "state_patch",
  "events",
  "metrics",
  "logs",
  "log",
  "log_truncated",
  "results",
  "gone",
] as const satisfies readonly Message["type"][];

export function reduce(live: Live, message: Message): Live {
  switch (message.type) {
    case "ready":
      return { ...live, connection: "open", problem: null };
    case "runs":
      return { ...live, changedRuns: withChanges(live.changedRuns, message.data) };
    case "run":
      return { ...live, run: message.data };
    case "sims":
      return { ...live, sims: merged(live.sims, message.data, (sim) => sim.name) };
    case "gone":
      return { ...live, connection: "missing", problem: "It was removed from the server." };
    default: {
      const record = reduceRecord(live.record, message);
      return record === live.record ? live : { ...live, record };
    }
  }
}

function reduceRecord(record: SimRecord, message: Message): SimRecord {
  switch (message.type) {
    case "sim":
      return { ...record, sim: message.data };
    case "steps":
      return { ...record, steps: merged(record.steps, message.data, stepKey) };
    case "state":
      return { ...record, state: message.data };
    case "state_patch":
      return { ...record, state: mergePatch(record.state ?? {}, message.data) as NetworkState };
    case "events":
      return changed(record, { events: appendedEvents(record.events, message.data) });
    case "metrics":
      return changed(record, { metrics: appendedMetrics(record.metrics, message.data) });
    case "logs":
      return { ...record, logs: merged(record.logs, message.data, (log) => log.path) };
    case "log":
      return { ...record, followed: [...record.followed, message.data] };
    case "log_truncated":
      return { ...record, followed: [] };
    case "results":
      return { ...record, resultsVersion: record.resultsVersion + 1 };
    case "results_fetched":
      return { ...record, results: message.data };
    default:
      return record;
  }
}

/** The same record when nothing is different, so that nothing is drawn again. */
function changed(record: SimRecord, fields: Partial<SimRecord>): SimRecord {
  const isSame = Object.entries(fields).every(([key, value]) => record[key as keyof SimRecord] === value);
  return isSame ? record : { ...record, ...fields };
}

function stepKey(step: Step): string {
  return `${step.on_failure ? "f" : "s"}${step.index}`;
}

/** The list with those that have changed in their places and new ones behind. */
export function merged<T>(old: readonly T[], changes: readonly T[], key: (item: T) => string): readonly T[] {
  if (changes.length === 0) return old;
  if (old.length === 0) return changes;
  const byKey = new Map(changes.map((item) => [key(item), item]));
  const kept = old.map((item) => {
    const changed = byKey.get(key(item));
    byKey.delete(key(item));
    return changed ?? item;
  });
  return byKey.size === 0 ? kept : [...kept, ...byKey.values()];
}

/** Events come in order; after a reconnection some may come again. */
export function appendedEvents(old: readonly LabEvent[], more: readonly LabEvent[]): readonly LabEvent[] {
  const last = old.at(-1)?.opid ?? -1;
  const fresh = more.filter((event) => event.opid > last);
  return fresh.length === 0 ? old : [...old, ...fresh];
}

function appendedMetrics(old: readonly MetricsLine[], more: readonly MetricsLine[]): readonly MetricsLine[] {
  const last = old.at(-1)?.timestamp ?? "";
  const fresh = more.filter((line) => line.timestamp > last);
  return fresh.length === 0 ? old : [...old, ...fresh];
}

/** JSON merge patch (RFC 7396); what is the same stays the same object. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result = new Map(Object.entries(isObject(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, mergePatch(result.get(key), value));
  }
  return Object.fromEntries(result);
}

function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withChanges(
  old: Live["changedRuns"],
  { changed, removed }: { changed: readonly RunEntry[]; removed: readonly string[] },
): Live["changedRuns"] {
  return {
    ...old,
    ...Object.fromEntries(removed.map((name) => [name, null])),
    ...Object.fromEntries(changed.map((run) => [run.name, run])),
  };
}
