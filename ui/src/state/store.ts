/** The page's one connection to the server, and the one place where what came over it is kept. */
import { useEffect, useSyncExternalStore } from "react";
import { ApiError, address, api } from "../api/client";
import {
  EMPTY_LIVE,
  EMPTY_RECORD,
  type Followed,
  type Live,
  MESSAGE_TYPES,
  type Message,
  reduce,
  type Subscription,
} from "./live";

const FLUSH_MS = 40; // a burst of messages is one rendering
const RETRY_MS = [500, 1000, 2000, 5000];

class Store {
  private live: Live = EMPTY_LIVE;
  private shown: Live = EMPTY_LIVE;
  private wanted: Subscription = { run: null, sim: null };
  private followed: Followed | null = null;
  private source: EventSource | null = null;
  private flushTimer: number | null = null;
  private retryTimer: number | null = null;
  private failures = 0;
  private fetching: AbortController | null = null;
  private readonly listeners = new Set<() => void>();

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): Live => this.shown;

  /** Shows this from now on. What is known of the same run stays. */
  want(next: Subscription): void {
    const { run, sim } = this.wanted;
    const isSameRun = run === next.run;
    if (this.source && isSameRun && sim === next.sim) return;
    this.wanted = next;
    this.followed = null;
    this.restart({
      ...this.live,
      run: isSameRun ? this.live.run : null,
      sims: isSameRun ? this.live.sims : [],
      record: EMPTY_RECORD,
    });
  }

  /** Follows this log of the shown sim, or none. */
  follow(log: Followed | null): void {
    if (log?.path === this.followed?.path && log?.after === this.followed?.after) return;
    this.followed = log;
    this.restart({ ...this.live, record: { ...this.live.record, followed: [] } });
  }

  private restart(live: Live): void {
    this.live = { ...live, connection: "connecting", problem: null };
    this.shown = this.live; // at once: nobody may see another sim's record
    this.tell();
    this.failures = 0;
    this.open();
  }

  private open(): void {
    this.close();
    const { run, sim } = this.wanted;
    const { events, metrics, followed } = this.live.record;
    const url = address(["stream"], {
      runs: true,
      run,
      sim,
      log: this.followed?.path,
      log_after: followed.at(-1)?.end ?? this.followed?.after,
      after: sim && events.at(-1)?.opid,
      metrics_after: sim && metrics.length ? metrics.length - 1 : null,
    });
    const source = new EventSource(url);
    this.source = source;
    for (const type of MESSAGE_TYPES) {
      source.addEventListener(type, (event: MessageEvent<string>) => {
        if (this.source === source) this.receive({ type, data: JSON.parse(event.data) as unknown } as Message);
      });
    }
    source.onerror = () => {
      if (this.source === source) void this.lost(source);
    };
  }

  private close(): void {
    this.source?.close();
    this.fetching?.abort();
    if (this.retryTimer !== null) window.clearTimeout(this.retryTimer);
    this.retryTimer = null;
  }

  private receive(message: Message): void {
    if (message.type === "ready") this.failures = 0;
    if (message.type === "gone") this.close();
    this.live = reduce(this.live, message);
    if (message.type === "results" || (message.type === "sim" && !this.live.record.results)) void this.fetchResults();
    this.flushSoon();
  }

  /** results.json comes by itself, as often as it changes. */
  private async fetchResults(): Promise<void> {
    const { run, sim } = this.wanted;
    if (run === null || sim === null) return;
    this.fetching?.abort();
    const fetching = new AbortController();
    this.fetching = fetching;
    try {
      const data = await api.results(run, sim, fetching.signal);
      if (!fetching.signal.aborted) this.receive({ type: "results_fetched", data });
    } catch (error) {
      // 404: nothing was captured yet; anything else the stream's own trouble will tell
      if (!(error instanceof ApiError) && !fetching.signal.aborted) throw error;
    }
  }

  /** EventSource comes back by itself from a broken connection, but not from a refusal: ask what it was. */
  private async lost(source: EventSource): Promise<void> {
    if (source.readyState !== EventSource.CLOSED) {
      this.live = { ...this.live, connection: "lost" };
      return this.flushSoon();
    }
    const { run, sim } = this.wanted;
    let problem: ApiError | null = null;
    try {
      if (run !== null && sim !== null) await api.sim(run, sim);
      else if (run !== null) await api.run(run);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem = error;
    }
    if (this.source !== source) return;
    const isMissing = problem !== null && problem.status >= 400 && problem.status < 500;
    this.live = { ...this.live, connection: isMissing ? "missing" : "lost", problem: problem?.message ?? null };
    this.flushSoon();
    if (!isMissing) this.retry();
  }

  private retry(): void {
    const delay = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.retryTimer = window.setTimeout(() => this.open(), delay);
  }

  private flushSoon(): void {
    this.flushTimer ??= window.setTimeout(() => {
      this.flushTimer = null;
      this.shown = this.live;
      this.tell();
    }, FLUSH_MS);
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

const store = new Store();

/** What is known of the run and sim that the page shows. */
export function useLive(): Live {
  return useSyncExternalStore(store.subscribe, store.snapshot);
}

/** Says what the page shows; only the page of a route calls it. */
export function useSubscription(run: string | null, sim: string | null): void {
  useEffect(() => store.want({ run, sim }), [run, sim]);
}

/** Follows a log from this byte on as long as it is used: its lines come as `record.followed`. null: none. */
export function useFollowedLog(path: string | null, after: number): void {
  useEffect(() => {
    store.follow(path === null ? null : { path, after });
    return () => store.follow(null);
  }, [path, after]);
}
