import { useEffect, useState } from "react";
import { api } from "../api/client";

export interface Matches {
  /** Of the lines with the text, in order. */
  readonly offsets: readonly number[];
  /** Bytes that were searched. */
  readonly searched: number;
  readonly isEnd: boolean;
  /** Why the search could not go on, else null. */
  readonly problem: string | null;
}

const NONE: Matches = { offsets: [], searched: 0, isEnd: false, problem: null };
const MOST = 10_000;

/** Lines with `text`, found piece by piece as long as it is asked for; null for an empty text. */
export function useMatches(run: string, sim: string, path: string, text: string): Matches | null {
  const key = JSON.stringify([run, sim, path, text]);
  const [found, setFound] = useState({ key, matches: NONE });
  useEffect(() => {
    if (text === "") return;
    const abort = new AbortController();
    let matches = NONE;
    const search = async () => {
      while (!matches.isEnd && matches.offsets.length < MOST) {
        const more = await api.searchLog(run, sim, path, text, matches.searched, abort.signal);
        if (abort.signal.aborted) return;
        const offsets = [...matches.offsets, ...more.matches.map(({ offset }) => offset)];
        const isEnd = more.is_end || more.next <= matches.searched;
        matches = { offsets, searched: more.next, isEnd, problem: null };
        setFound({ key, matches });
      }
    };
    search().catch((error: unknown) => {
      const problem = error instanceof Error ? error.message : String(error);
      if (!abort.signal.aborted) setFound({ key, matches: { ...matches, isEnd: true, problem } });
    });
    return () => abort.abort();
  }, [key, run, sim, path, text]);
  if (text === "") return null;
  return found.key === key ? found.matches : NONE;
}

/** The match before (-1) or behind (1) a byte, over the ends. */
export function matchFrom(offsets: readonly number[], at: number | null, direction: 1 | -1): number | null {
  if (offsets.length === 0) return null;
  if (at === null) return (direction === 1 ? offsets[0] : offsets.at(-1)) ?? null;
  const found = direction === 1 ? offsets.find((each) => each > at) : offsets.findLast((each) => each < at);
  return found ?? (direction === 1 ? offsets[0] : offsets.at(-1)) ?? null;
}
