/** Shapes of the server's JSON, as docs/reference/http-api.md and docs/reference/output.md describe them. */

export type SimStatus = "pending" | "running" | "ok" | "error" | "overloaded" | "interrupted";
export type RunStatus = "running" | "ok" | "error" | "overloaded" | "interrupted" | "unreadable";
export type StepStatus = "pending" | "running" | "ok" | "error" | "skipped" | "interrupted";
export type Matrix = Readonly<Record<string, string | number | boolean>>;

export type SimCounts = Readonly<Record<"total" | SimStatus, number>>;

/** A run as the index lists it. */
export interface RunEntry {
  name: string;
  invocation: string;
  label: string | null;
  status: RunStatus;
  problem: string | null;
  started_at: string | null;
  ended_at: string | null;
  runtime_ms: number | null;
  sims: SimCounts;
  project: string | null;
  branch: string | null;
  commit: string | null;
  pr: number | null;
  pr_url: string | null;
  title: string | null;
  created_at: string | null;
}

export interface RunsReply {
  runs: readonly RunEntry[];
  next: string | null;
  total: number;
  facets: Readonly<Record<"project" | "branch" | "status", readonly string[]>>;
}

/** What `/api/runs/{run}` says beside the index, without the sims. */
export interface RunDocument extends RunEntry {
  environment: Readonly<Record<string, string | null>> | null;
  shard: { index: number; total: number; digest: string } | null;
  merged: readonly Readonly<Record<string, unknown>>[];
  axes: Readonly<Record<string, readonly (string | number | boolean)[]>>;
}

export interface SimEntry {
  /** The sim's directory, which stands in addresses. */
  name: string;
  sim: string;
  title: string;
  attempt: number | null;
  matrix: Matrix;
  source: string | null;
  status: SimStatus;
  runtime_ms: number | null;
  error: string | null;
  phase: string | null;
  failed_step: ErrorStep | null;
}

export interface Step {
  index: number;
  on_failure: boolean;
  action: string;
  id: string | null;
  device: string | null;
  origin: string | null;
  text: string | null;
  cmd: readonly string[] | null;
  status: StepStatus;
  started_us: number | null;
  duration_s: number | null;
  message: string | null;
}

export interface ErrorStep {
  index: number;
  action: string;
  id: string | null;
  device: string | null;
  origin: string | null;
}

export interface SimError {
  phase: string;
  message: string;
  step: ErrorStep | null;
  output: string | readonly string[] | null;
  traceback: string | null;
}

export interface LogEntry {
  path: string;
  /** null: a file of the whole sim. */
  node: string | null;
  /** null: everything that the node wrote. */
  step: string | null;
  stream: "stdout" | "stderr" | null;
  format: "text" | "ansi" | "jsonl" | "qlog" | "empty";
  size: number;
  modified_us: number;
}

/** Lines of a log; go on with `after=end` or `before=start`. */
export interface LogWindow {
  size: number;
  start: number;
  end: number;
  first_line: number | null;
  total_lines: number | null;
  offsets: readonly number[];
  lines: readonly string[];
  cut: readonly number[];
}

export interface LogMatches {
  matches: readonly { offset: number; line: number | null; text: string; spans: readonly [number, number][] }[];
  next: number;
  is_end: boolean;
}

export interface LinkDirection {
  packets?: number;
  bytes?: number;
  dropped?: number;
  lost?: number;
  overflowed?: number;
  delay_ms?: number;
  queue_peak_bytes?: number;
  [counter: string]: number | boolean | undefined;
}

export interface LinkCounters {
  up?: LinkDirection;
  down?: LinkDirection;
}

export interface SimDocument {
  sim: string;
  sim_dir: string;
  attempt: number | null;
  status: SimStatus;
  matrix: Matrix;
  started_at: string | null;
  ended_at: string | null;
  runtime_ms: number | null;
  steps_done: number;
  setup: Readonly<Record<string, string | number | null>> | null;
  links: { engine: string; statistics: readonly ({ name: string } & LinkCounters)[] } | null;
  failure_state?: { path: string; files: number } | null;
  error: SimError | null;
  error_line: string | null;
}

export interface LabEvent {
  opid: number;
  timestamp: string;
  kind: string;
  [field: string]: unknown;
}

export interface MetricsLine {
  timestamp: string;
  interval_s: number;
  links: Readonly<Record<string, LinkCounters>>;
}

export interface ResultStep {
  id: string;
  duration: string | null;
  up_bytes: string | null;
  down_bytes: string | null;
  latency_ms: string | null;
}

export interface Capture {
  value: string;
  history: readonly string[];
  count?: number;
  cut?: boolean;
}

export interface ResultsDocument {
  sim: string;
  status: SimStatus;
  steps: readonly ResultStep[];
  captures: Readonly<Record<string, Capture>>;
}

export interface CombinedRun {
  run: string;
  sim_dir: string;
  sim: string;
  attempt: number | null;
  status: SimStatus;
  matrix: Matrix;
  steps: readonly ResultStep[];
}

export interface FileEntry {
  path: string;
  size: number;
  modified_us: number;
  type: string;
}

export interface ServerInfo {
  version: string;
  title: string;
  is_accepting_pushes: boolean;
}

/** state.json: its parts are read where they are drawn. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type NetworkState = { readonly [key: string]: Json };
