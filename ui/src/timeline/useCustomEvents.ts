/** Events of the programs' own, looked up in the logs of nodes by the server's search. */
import { useEffect, useRef, useState } from "react";
import { api } from "../api/client";
import type { LogEntry } from "../api/types";
import { customEvent, MARKS } from "../logs/custom";
import { fieldText } from "../logs/records";
import { type Item, SIM_LANE } from "./items";

export interface CustomEvents {
  readonly items: readonly Item[];
  /** Events that cannot be shown, as their lines have no time. */
  readonly untimed: number;
  /** Why some logs could not be searched, else null. */
  readonly problem: string | null;
  readonly isCut: boolean;
}

const NONE: CustomEvents = { items: [], untimed: 0, problem: null, isCut: false };
const MOST = 20_000;
const AGAIN_MS = 2000;
/** What a test suite's own code tells, in the record of its lab. */
const LAB_EVENTS = "lab.events.jsonl";
/** How files end in records of labs: of what was logged, and of the events among that. */
const [TRACING, EVENTS] = [".tracing.jsonl", ".events.jsonl"];

export function useCustomEvents(run: string, sim: string, logs: readonly LogEntry[], isLive: boolean): CustomEvents {
  const [found, setFound] = useState<CustomEvents>(NONE);
  const search = useRef<Search | null>(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (search.current?.run !== run || search.current.sim !== sim) search.current = new Search(run, sim);
    const current = search.current;
    const abort = new AbortController();
    let timer = 0;
    void current.goOn(searchable(logs), abort.signal, setFound).then(() => {
      // Once more when the sim is over: its last lines.
      if (!abort.signal.aborted && isLive) timer = window.setTimeout(() => setRound((n) => n + 1), AGAIN_MS);
    });
    return () => {
      abort.abort();
      window.clearTimeout(timer);
    };
  }, [run, sim, logs, isLive, round]);
  return found;
}

/** Where a node has everything that it wrote in one log, its steps' logs hold nothing else; where its events have a file
 *  of their own, what it logged holds no others. */
function searchable(logs: readonly LogEntry[]): LogEntry[] {
  const whole = new Set(logs.filter(({ step }) => step === null).map(({ node, stream }) => `${node} ${stream}`));
  const paths = new Set(logs.map(({ path }) => path));
  return logs.filter(({ path, node, step, stream }) => {
    if (path.endsWith(TRACING) && paths.has(path.replace(TRACING, EVENTS))) return false;
    return node === null ? path === LAB_EVENTS : step === null || !whole.has(`${node} ${stream}`);
  });
}

/** What was searched stays searched: it goes on where it was. */
class Search {
  private readonly positions = new Map<string, number>();
  private readonly items = new Map<string, Item>();
  private readonly untimed = new Set<string>();

  constructor(
    readonly run: string,
    readonly sim: string,
  ) {}

  async goOn(logs: readonly LogEntry[], signal: AbortSignal, tell: (found: CustomEvents) => void): Promise<void> {
    let problem: string | null = null;
    for (const log of logs) {
      for (const mark of MARKS) {
        try {
          await this.searchLog(log, mark, signal, () => tell(this.found(problem)));
        } catch (error) {
          if (signal.aborted) return;
          problem = error instanceof Error ? error.message : String(error);
        }
      }
    }
    tell(this.found(problem));
  }

  private found(problem: string | null): CustomEvents {
    const items = [...this.items.values()].sort((one, other) => one.from - other.from);
    return { items, untimed: this.untimed.size, problem, isCut: this.items.size >= MOST };
  }

  private async searchLog(log: LogEntry, mark: string, signal: AbortSignal, tell: () => void): Promise<void> {
    const key = `${mark} ${log.path}`;
    let isEnd = false;
    while (!isEnd && this.items.size < MOST) {
      const from = this.positions.get(key) ?? 0;
      const more = await api.searchLog(this.run, this.sim, log.path, mark, from, signal);
      for (const { offset, text } of more.matches) this.take(log, offset, text);
      this.positions.set(key, more.next);
      isEnd = more.is_end || more.next <= from;
      if (!isEnd) tell();
    }
  }

  private take(log: LogEntry, offset: number, text: string): void {
    const id = `${log.path}@${offset}`;
    const event = customEvent(text);
    if (event === "untimed") this.untimed.add(id);
    else if (event)
      this.items.set(id, {
        id,
        lane: log.node ?? SIM_LANE,
        category: "custom",
        tone: "custom",
        from: event.at,
        until: event.at,
        shape: "mark",
        label: event.name,
        detail: event.fields.map(([name, value]) => [name, fieldText(value)] as const),
        step: log.step,
        node: log.node,
        log: { path: log.path, offset },
      });
  }
}
