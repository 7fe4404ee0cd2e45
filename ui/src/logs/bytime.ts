import type { LogWindow } from "../api/types";
import { jsonObject, momentOf } from "./records";

const LIMIT = 16 * 1024;

/** The line that a log has for a moment: the first that is not older, else its last one with a time.
 *  Halves the bytes, as lines stand in order of time; null when they have none. */
export async function offsetOfMoment(
  at: number,
  size: number,
  windowAt: (byte: number, limit: number) => Promise<LogWindow>,
): Promise<number | null> {
  let low = 0;
  let high = size;
  let found: number | null = null;
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const window = await windowAt(middle, LIMIT);
    const timed = timedLines(window);
    const first = timed[0];
    const later = timed.find((line) => line.at >= at);
    if (!first) {
      // Nothing here has a time: what is earlier may have one.
      high = middle;
    } else if (later && later !== first) {
      return later.offset;
    } else if (later) {
      found = later.offset;
      high = Math.min(middle, window.start);
    } else {
      found = timed.at(-1)?.offset ?? found;
      low = Math.max(window.end, middle + 1);
    }
  }
  return found;
}

function timedLines(window: LogWindow): { offset: number; at: number }[] {
  return window.lines.flatMap((line, index) => {
    const document = jsonObject(line);
    const at = document && momentOf(document);
    return at === null ? [] : [{ offset: window.offsets[index] ?? window.start, at }];
  });
}
