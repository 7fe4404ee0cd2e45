/** Normalised results as numbers, to be compared across sims, axes of the matrix and runs. Pure. */
import type { CombinedRun, Matrix, MetricsLine, ResultStep } from "../api/types";
import { microseconds } from "../format";

export const METRICS = ["duration_s", "down_mb_s", "up_mb_s", "latency_ms", "down_bytes", "up_bytes"] as const;
export type Metric = (typeof METRICS)[number];
export type Values = Readonly<Record<Metric, number | null>>;

/** What a metric is called, its unit, and whether more of it is better. */
export const METRIC_TEXTS: Readonly<Record<Metric, { title: string; unit: string; isMoreBetter: boolean | null }>> = {
  duration_s: { title: "Duration", unit: "s", isMoreBetter: false },
  down_mb_s: { title: "Download", unit: "MB/s", isMoreBetter: true },
  up_mb_s: { title: "Upload", unit: "MB/s", isMoreBetter: true },
  latency_ms: { title: "Latency", unit: "ms", isMoreBetter: false },
  down_bytes: { title: "Downloaded", unit: "B", isMoreBetter: null },
  up_bytes: { title: "Uploaded", unit: "B", isMoreBetter: null },
};

/** A result step of one sim. */
export interface PerfRow {
  run: string;
  simDir: string;
  sim: string;
  attempt: number | null;
  matrix: Matrix;
  step: string;
  values: Values;
}

function number(text: string | null): number | null {
  if (text === null || text.trim() === "") return null;
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

/** Throughput is bytes over duration in decimal megabytes a second, as in the reports. */
export function valuesOf(step: ResultStep): Values {
  const [duration_s, up_bytes, down_bytes] = [number(step.duration), number(step.up_bytes), number(step.down_bytes)];
  const rate = (bytes: number | null) => (bytes !== null && duration_s ? bytes / duration_s / 1e6 : null);
  return {
    duration_s,
    up_bytes,
    down_bytes,
    up_mb_s: rate(up_bytes),
    down_mb_s: rate(down_bytes),
    latency_ms: number(step.latency_ms),
  };
}

/** `run` is the name in addresses: a pushed run's combined results have the name that it had where it was made. */
export function rowsOf(run: string, combined: readonly CombinedRun[]): readonly PerfRow[] {
  return combined.flatMap((one) =>
    one.steps.map((step) => ({
      run,
      simDir: one.sim_dir,
      sim: one.sim,
      attempt: one.attempt,
      matrix: one.matrix,
      step: step.id,
      values: valuesOf(step),
    })),
  );
}

export function metricsIn(rows: readonly PerfRow[]): readonly Metric[] {
  return METRICS.filter((metric) => rows.some((row) => row.values[metric] !== null));
}

/** The same step of the same variant in all runs, attempts together. */
export interface Comparison {
  key: string;
  sim: string;
  matrix: Matrix;
  step: string;
  /** By run, in their order: the mean of the attempts; null where the run has none. */
  values: readonly (number | null)[];
  /** How many attempts each mean is of. */
  counts: readonly number[];
  /** Of each run against the first: 0.1 is ten per cent more; null where one of them has none. */
  changes: readonly (number | null)[];
}

export function compared(rows: readonly PerfRow[], runs: readonly string[], metric: Metric): readonly Comparison[] {
  const groups = new Map<string, PerfRow[]>();
  for (const row of rows) {
    if (row.values[metric] === null) continue;
    const key = `${row.sim}\0${JSON.stringify(Object.entries(row.matrix).sort())}\0${row.step}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups].flatMap(([key, members]) => {
    const [first] = members;
    if (!first) return [];
    const byRun = runs.map((run) => numbersOf(members, run, metric));
    const values = byRun.map(mean);
    const base = values[0] ?? null;
    const changes = values.map((value) => (value === null || !base ? null : value / base - 1));
    const counts = byRun.map((numbers) => numbers.length);
    return [{ key, sim: first.sim, matrix: first.matrix, step: first.step, values, counts, changes }];
  });
}

function numbersOf(rows: readonly PerfRow[], run: string, metric: Metric): readonly number[] {
  return rows.flatMap((row) => (row.run === run ? (row.values[metric] ?? []) : []));
}

function mean(numbers: readonly number[]): number | null {
  return numbers.length === 0 ? null : numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
}

/** Bars of a chart: one group a category (a value of the axis, or a sim and step), one bar a run. */
export interface BarGroup {
  label: string;
  values: readonly (number | null)[];
}

export function barGroups(comparisons: readonly Comparison[], axis: string | null): readonly BarGroup[] {
  if (axis === null) {
    return comparisons.map((one) => ({ label: `${one.sim} ${one.step}`, values: one.values }));
  }
  const groups = new Map<string, (readonly (number | null)[])[]>();
  for (const one of comparisons) {
    const label = `${String(one.matrix[axis] ?? "none")} ${one.step}`;
    groups.set(label, [...(groups.get(label) ?? []), one.values]);
  }
  return [...groups].map(([label, lists]) => ({
    label,
    values: (lists[0] ?? []).map((_, run) => mean(lists.flatMap((values) => values[run] ?? []))),
  }));
}

/** What a link did over time, for a chart: seconds since the first line, then a row of numbers for each direction. */
export interface LinkSeries {
  link: string;
  direction: "up" | "down";
  /** null where the link did nothing. */
  bitsPerSecond: readonly (number | null)[];
  delayMs: readonly (number | null)[];
  droppedPerSecond: readonly (number | null)[];
}

export interface LinkChart {
  seconds: readonly number[];
  series: readonly LinkSeries[];
}

const DIRECTIONS = ["up", "down"] as const;

export function linkChart(metrics: readonly MetricsLine[], startUs: number | null): LinkChart {
  const times = metrics.map((line) => microseconds(line.timestamp) ?? 0);
  const start = startUs ?? times[0] ?? 0;
  const names = [...new Set(metrics.flatMap((line) => Object.keys(line.links)))].sort();
  const series = names.flatMap((link) =>
    DIRECTIONS.filter((direction) => metrics.some((line) => line.links[link]?.[direction])).map((direction) =>
      oneSeries(metrics, link, direction),
    ),
  );
  return { seconds: times.map((us) => (us - start) / 1e6), series };
}

function oneSeries(metrics: readonly MetricsLine[], link: string, direction: "up" | "down"): LinkSeries {
  const each = <T>(of: (counters: Readonly<Record<string, unknown>>, interval_s: number) => T) =>
    metrics.map((line) => of(line.links[link]?.[direction] ?? {}, line.interval_s || 1));
  const rate = (value: unknown, interval_s: number) => (typeof value === "number" ? value / interval_s : 0);
  return {
    link,
    direction,
    bitsPerSecond: each((counters, interval) => 8 * rate(counters.bytes, interval)),
    delayMs: each((counters) => (typeof counters.delay_ms === "number" ? counters.delay_ms : null)),
    droppedPerSecond: each((counters, interval) => rate(counters.dropped, interval)),
  };
}
