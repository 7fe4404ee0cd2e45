/** The part of a log that the page holds: lines of a stretch of bytes, which grows at both ends and never gets large. */
import type { LogMatches, LogWindow } from "../api/types";

export interface Line {
  /** Where it begins in the log, in bytes. */
  readonly offset: number;
  readonly text: string;
  /** Counted from 1; null as long as nobody has counted. */
  readonly number: number | null;
  /** Whether only its beginning is there. */
  readonly isCut: boolean;
}

/** Lines that were found in the bytes from `start` to `end`; with a filter not all that are there. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly size: number;
  readonly lines: readonly Line[];
}

export const EMPTY_STRETCH: Stretch = { start: 0, end: 0, size: 0, lines: [] };
/** More than anybody scrolls through at once, and little to hold. */
export const MOST_LINES = 20_000;

export function stretchOfWindow(window: LogWindow): Stretch {
  const cut = new Set(window.cut);
  const lines = window.lines.map((text, index) => ({
    offset: window.offsets[index] ?? window.start,
    text,
    number: window.first_line === null ? null : window.first_line + index,
    isCut: cut.has(index),
  }));
  return { start: window.start, end: window.end, size: window.size, lines };
}

/** What a search from `start` on has found. */
export function stretchOfMatches(found: LogMatches, start: number, size: number): Stretch {
  const lines = found.matches.map(({ offset, line, text }) => ({ offset, text, number: line, isCut: false }));
  return { start, end: found.next, size: Math.max(size, found.next), lines };
}

export function filtered(stretch: Stretch, passes: (line: Line) => boolean): Stretch {
  return { ...stretch, lines: stretch.lines.filter(passes) };
}

/** `more` behind what there is; lines at the far end go when there are too many. Not adjacent: `more` alone. */
export function appended(stretch: Stretch, more: Stretch): Stretch {
  if (more.start > stretch.end || more.start < stretch.start) return more;
  const fresh = more.lines.filter(({ offset }) => offset >= stretch.end);
  const lines = [...stretch.lines, ...fresh];
  const kept = lines.slice(Math.max(0, lines.length - MOST_LINES));
  const start = kept.length < lines.length ? (kept[0]?.offset ?? stretch.start) : stretch.start;
  return { start, end: Math.max(stretch.end, more.end), size: more.size, lines: kept };
}

/** The same in front. */
export function prepended(stretch: Stretch, more: Stretch): Stretch {
  if (more.end < stretch.start || more.end > stretch.end) return more;
  const lines = [...more.lines.filter(({ offset }) => offset < stretch.start), ...stretch.lines];
  const kept = lines.slice(0, MOST_LINES);
  const end = kept.length < lines.length ? (lines[MOST_LINES]?.offset ?? stretch.end) : stretch.end;
  return { start: Math.min(stretch.start, more.start), end, size: more.size, lines: kept };
}

/** The line that a byte is in, or the first behind it; the last where there is none behind. */
export function indexOfOffset(lines: readonly Line[], offset: number): number {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((lines[middle]?.offset ?? 0) <= offset) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}
