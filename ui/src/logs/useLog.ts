/** A log in windows: what is loaded of it, and how more is. */
import { useCallback, useEffect, useRef, useState } from "react";
import { api } from "../api/client";
import type { LogWindow } from "../api/types";
import {
  appended,
  EMPTY_STRETCH,
  filtered,
  type Line,
  prepended,
  type Stretch,
  stretchOfMatches,
  stretchOfWindow,
} from "./buffer";

export interface LogQuery {
  run: string;
  sim: string;
  path: string;
  /** Only lines with this text; "": all. Searched by the server. */
  text: string;
  /** Which of those to keep. */
  passes: (line: Line) => boolean;
  /** Names `passes`: whatever is equal keeps the same lines. */
  filter: string;
}

export interface LoadedLog extends Stretch {
  isLoading: boolean;
  error: unknown;
  /** Whether it stopped reading because next to nothing passes the filter: `after` goes on. */
  isPaused: boolean;
  /** Which end of the lines is to be in sight first. */
  anchor: "start" | "end";
  /** Where it ended when it was shown first: from there on new lines may be followed. */
  shownEnd: number;
  /** Grows whenever other lines than before are shown, so that their list begins anew. */
  generation: number;
}

export interface LogControl {
  log: LoadedLog;
  /** Shows the lines around a byte, or the end. */
  show: (place: number | "end") => void;
  before: () => void;
  after: () => void;
  /** Takes new lines that came by themselves. */
  take: (window: LogWindow) => void;
}

const WINDOW_BYTES = 128 * 1024;
/** With a filter, larger windows: most of it is not shown. */
const SCAN_BYTES = 1024 * 1024;
/** How much is read at once in search of lines that pass. */
const MOST_SCANNED_BYTES = 32 * 1024 * 1024;
const ENOUGH_LINES = 200;

const NOTHING: LoadedLog = {
  ...EMPTY_STRETCH,
  isLoading: true,
  error: null,
  isPaused: false,
  anchor: "start",
  shownEnd: 0,
  generation: 0,
};

/** `place` is what to show first. */
export function useLog(query: LogQuery, place: number | "end"): LogControl {
  const [log, setLog] = useState<LoadedLog>(NOTHING);
  const state = useRef({ log, query, busy: null as AbortController | null });
  useEffect(() => {
    state.current.query = query;
  });

  const publish = useCallback((changes: Partial<LoadedLog>) => {
    state.current.log = { ...state.current.log, ...changes };
    setLog(state.current.log);
  }, []);

  /** One load at a time; `isUrgent` drops the one that is going on. */
  const load = useCallback(
    async (isUrgent: boolean, work: (signal: AbortSignal) => Promise<Partial<LoadedLog>>) => {
      const { busy } = state.current;
      if (busy && !isUrgent) return;
      busy?.abort();
      const abort = new AbortController();
      state.current.busy = abort;
      publish({ isLoading: true, error: null });
      try {
        const changes = await work(abort.signal);
        if (!abort.signal.aborted) publish({ ...changes, isLoading: false });
      } catch (error) {
        if (!abort.signal.aborted) publish({ isLoading: false, error });
      } finally {
        if (state.current.busy === abort) state.current.busy = null;
      }
    },
    [publish],
  );

  const show = useCallback(
    (place: number | "end") =>
      void load(true, async (signal) => {
        const stretch = await around(state.current.query, place, signal);
        const anchor = place === "end" ? ("end" as const) : ("start" as const);
        return {
          isPaused: false,
          ...stretch,
          anchor,
          shownEnd: stretch.end,
          generation: state.current.log.generation + 1,
        };
      }),
    [load],
  );
  const after = useCallback(
    () => void load(false, (signal) => further(state.current.query, state.current.log, signal)),
    [load],
  );
  const before = useCallback(
    () => void load(false, (signal) => earlier(state.current.query, state.current.log, signal)),
    [load],
  );
  const take = useCallback(
    (window: LogWindow) => {
      const { log: now, query: asked } = state.current;
      if (window.end <= now.end || state.current.busy) return;
      if (window.start > now.end || asked.text !== "") after();
      else publish(appended(now, filtered(stretchOfWindow(window), asked.passes)));
    },
    [after, publish],
  );
  const { run, sim, path, text, filter } = query;
  const first = useRef(place);
  useEffect(() => {
    first.current = place;
  });
  useEffect(() => {
    show(first.current);
    const { current } = state;
    return () => current.busy?.abort();
  }, [run, sim, path, text, filter, show]);
  return { log, show, before, after, take };
}

/** The first lines to show: around a place, so that there is something on both sides. */
async function around(query: LogQuery, place: number | "end", signal: AbortSignal): Promise<Stretch> {
  if (query.text !== "") return further(query, EMPTY_STRETCH, signal);
  const { run, sim, path } = query;
  const at = place === "end" ? { before: "end" as const } : { at: place };
  let stretch = keep(query, await api.log(run, sim, path, at, WINDOW_BYTES, signal));
  if (place !== 0 && place !== "end" && stretch.start > 0) {
    const window = await api.log(run, sim, path, { before: stretch.start }, WINDOW_BYTES / 4, signal);
    stretch = prepended(stretch, keep(query, window));
  }
  if (query.filter === "" || stretch.lines.length >= ENOUGH_LINES) return stretch;
  return place === "end" ? earlier(query, stretch, signal) : further(query, stretch, signal);
}

async function further(query: LogQuery, from: Stretch, signal: AbortSignal): Promise<Stretch & { isPaused: boolean }> {
  const { run, sim, path, text } = query;
  let stretch: Stretch = from;
  do {
    const { end, size } = stretch;
    const more =
      text === ""
        ? keep(query, await api.log(run, sim, path, { after: end }, bytesAtOnce(query), signal))
        : filtered(stretchOfMatches(await api.searchLog(run, sim, path, text, end, signal), end, size), query.passes);
    if (more.end <= end) return { ...stretch, size: Math.max(more.size, end), isPaused: false };
    stretch = appended(stretch, more);
  } while (isToGoOn(query, from, stretch) && stretch.end < stretch.size);
  const hasFound = stretch.lines.length - from.lines.length >= ENOUGH_LINES;
  return { ...stretch, isPaused: (query.filter !== "" || text !== "") && !hasFound && stretch.end < stretch.size };
}

async function earlier(query: LogQuery, from: Stretch, signal: AbortSignal): Promise<Stretch> {
  const { run, sim, path, text } = query;
  let stretch = from;
  while (text === "" && stretch.start > 0) {
    const window = await api.log(run, sim, path, { before: stretch.start }, bytesAtOnce(query), signal);
    stretch = prepended(stretch, keep(query, window));
    if (!isToGoOn(query, from, stretch)) break;
  }
  return stretch;
}

function keep(query: LogQuery, window: LogWindow): Stretch {
  return filtered(stretchOfWindow(window), query.passes);
}

function bytesAtOnce({ filter }: LogQuery): number {
  return filter === "" ? WINDOW_BYTES : SCAN_BYTES;
}

function isToGoOn({ filter, text }: LogQuery, from: Stretch, now: Stretch): boolean {
  if (filter === "" && text === "") return false;
  const scanned = from.start - now.start + (now.end - from.end);
  return now.lines.length - from.lines.length < ENOUGH_LINES && scanned < MOST_SCANNED_BYTES;
}
