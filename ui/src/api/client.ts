/** Every request of the page is made here (the one stream: live.ts). */
import type {
  CombinedRun,
  FileEntry,
  LabEvent,
  LogEntry,
  LogMatches,
  LogWindow,
  MetricsLine,
  ResultsDocument,
  RunDocument,
  RunEntry,
  RunsReply,
  ServerInfo,
  SimEntry,
} from "./types";

/** A reply that is none. `status` is 0 when the server could not be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

type Query = Readonly<Record<string, string | number | boolean | readonly string[] | null | undefined>>;

/** An address below the server's root; null, undefined and "" are left out of the query. */
export function address(segments: readonly string[], query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") parameters.append(key, String(one));
    }
  }
  const text = parameters.toString();
  return `/api/${segments.map(encodeURIComponent).join("/")}${text && `?${text}`}`;
}

async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  let reply: Response;
  try {
    reply = await fetch(url, { headers: { Accept: "application/json" }, ...(signal && { signal }) });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server cannot be reached. Is it still running?");
  }
  if (!reply.ok) throw await refusal(reply);
  return (await reply.json()) as T;
}

async function refusal(reply: Response): Promise<ApiError> {
  const text = await reply.text();
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string } };
    return new ApiError(reply.status, error.code, error.message);
  } catch {
    return new ApiError(reply.status, "unknown", `${reply.status} ${reply.statusText}`);
  }
}

function simPath(run: string, sim: string, ...more: string[]): string[] {
  return ["runs", run, "sims", sim, ...more];
}

export interface RunsFilter {
  project?: string | undefined;
  branch?: string | undefined;
  commit?: string | undefined;
  status?: string | undefined;
  invocation?: string | undefined;
  text?: string | undefined;
}

/** Where in a log to read: exactly one of them. */
export type LogPlace = { after: number } | { at: number } | { before: number | "end" } | { line: number };

export const api = {
  info: (signal?: AbortSignal) => get<ServerInfo>(address(["info"]), signal),
  runs: (filter: RunsFilter, page: { limit: number; cursor: string | null }, signal?: AbortSignal) =>
    get<RunsReply>(address(["runs"], { ...filter, ...page }), signal),
  run: (run: string, signal?: AbortSignal) =>
    get<RunDocument & { simulations: readonly SimEntry[] }>(address(["runs", run]), signal),
  combinedResults: (run: string, signal?: AbortSignal) =>
    get<{ runs: readonly CombinedRun[] }>(address(["runs", run, "results"]), signal),
  invocation: (name: string, signal?: AbortSignal) =>
    get<{ invocation: string; runs: readonly RunEntry[] }>(address(["invocations", name]), signal),
  sim: (run: string, sim: string, signal?: AbortSignal) => get<unknown>(address(simPath(run, sim)), signal),
  results: (run: string, sim: string, signal?: AbortSignal) =>
    get<ResultsDocument>(address(simPath(run, sim, "results")), signal),
  events: (run: string, sim: string, after: number | null, signal?: AbortSignal) =>
    get<Lines<LabEvent>>(address(simPath(run, sim, "events"), { after }), signal),
  metrics: (run: string, sim: string, after: number | null, signal?: AbortSignal) =>
    get<Lines<MetricsLine>>(address(simPath(run, sim, "metrics"), { after }), signal),
  logs: (run: string, sim: string, signal?: AbortSignal) =>
    get<{ logs: readonly LogEntry[] }>(address(simPath(run, sim, "logs")), signal),
  log: (run: string, sim: string, path: string, place: LogPlace, limit: number | null, signal?: AbortSignal) =>
    get<LogWindow>(address(simPath(run, sim, "logs", path), { ...place, limit }), signal),
  searchLog: (run: string, sim: string, path: string, q: string, after: number, signal?: AbortSignal) =>
    get<LogMatches>(address(simPath(run, sim, "logs", path, "search"), { q, after }), signal),
  files: (run: string, sim: string | null, signal?: AbortSignal) =>
    get<{ files: readonly FileEntry[]; is_cut: boolean }>(
      address(sim === null ? ["runs", run, "files"] : simPath(run, sim, "files")),
      signal,
    ),
};

export interface Lines<T> {
  items: readonly T[];
  next: number | null;
  is_end: boolean;
}

/** Where a file's bytes are: of the sim, or of the run when `sim` is null. */
export function fileAddress(run: string, sim: string | null, path: string, download = false): string {
  const base = sim === null ? ["runs", run, "files"] : simPath(run, sim, "files");
  return address([...base, path], { download: download || null });
}
