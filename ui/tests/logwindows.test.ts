import { describe, expect, it } from "vitest";
import type { LogEntry, LogWindow } from "../src/api/types";
import {
  appended,
  filtered,
  indexOfOffset,
  MOST_LINES,
  prepended,
  type Stretch,
  stretchOfWindow,
} from "../src/logs/buffer";
import { offsetOfMoment } from "../src/logs/bytime";
import { byNode, chosenLog } from "../src/logs/choice";
import { matchFrom } from "../src/logs/useMatches";

/** A window of lines of ten bytes each. */
function windowOf(first: number, count: number, all = 1_000_000): LogWindow {
  const offsets = Array.from({ length: count }, (_, n) => (first + n) * 10);
  const lines = offsets.map((offset) => `line ${offset / 10}`);
  const [start, end] = [first * 10, (first + count) * 10];
  return { size: all * 10, start, end, first_line: first + 1, total_lines: null, offsets, lines, cut: [] };
}
const stretch = (first: number, count: number): Stretch => stretchOfWindow(windowOf(first, count));
const texts = ({ lines }: Stretch) => lines.map(({ text }) => text);

describe("what is held of a log", () => {
  it("grows at both ends", () => {
    const whole = prepended(appended(stretch(10, 2), stretch(12, 2)), stretch(8, 2));
    expect(texts(whole)).toEqual([8, 9, 10, 11, 12, 13].map((n) => `line ${n}`));
    expect([whole.start, whole.end]).toEqual([80, 140]);
    expect(whole.lines[0]?.number).toBe(9);
  });

  it("takes nothing twice, and begins anew where lines between are missing", () => {
    expect(texts(appended(stretch(0, 3), stretch(1, 4)))).toEqual([0, 1, 2, 3, 4].map((n) => `line ${n}`));
    expect(appended(stretch(0, 3), stretch(5, 1)).start).toBe(50);
    expect(prepended(stretch(9, 1), stretch(0, 3)).end).toBe(30);
  });

  it("never gets large: what is far away goes", () => {
    const far = appended(stretch(0, MOST_LINES), stretch(MOST_LINES, 5));
    expect(far.lines.length).toBe(MOST_LINES);
    expect([far.start, far.end]).toEqual([50, (MOST_LINES + 5) * 10]);
    const back = prepended(stretch(5, MOST_LINES), stretch(0, 5));
    expect([back.start, back.end]).toEqual([0, MOST_LINES * 10]);
  });

  it("knows how far it looked when a filter kept nothing", () => {
    const nothing = filtered(stretch(3, 3), () => false);
    expect(appended(stretch(0, 3), nothing)).toMatchObject({ start: 0, end: 60 });
  });

  it("finds the line of a byte", () => {
    const { lines } = stretch(2, 3);
    expect([0, 20, 29, 30, 45, 999].map((offset) => indexOfOffset(lines, offset))).toEqual([0, 0, 0, 1, 2, 2]);
    expect(indexOfOffset([], 5)).toBe(0);
  });
});

describe("a moment in a log", () => {
  /** A log in which `text` says what line n is, and a server that shows some bytes of it. */
  function server(count: number, text: (n: number) => string) {
    const all = Array.from({ length: count }, (_, n) => text(n));
    const offsets: number[] = [];
    let size = 0;
    for (const line of all) {
      offsets.push(size);
      size += line.length + 1;
    }
    let requests = 0;
    const windowAt = (byte: number, limit: number): Promise<LogWindow> => {
      requests++;
      const first = Math.max(
        0,
        offsets.findLastIndex((offset) => offset <= byte),
      );
      let last = first + 1;
      while (last < count && (offsets[last] ?? 0) - (offsets[first] ?? 0) < limit) last++;
      const end = offsets[last] ?? size;
      const shown = { offsets: offsets.slice(first, last), lines: all.slice(first, last), cut: [] };
      return Promise.resolve({ size, start: offsets[first] ?? 0, end, first_line: null, total_lines: null, ...shown });
    };
    return { offsets, size, windowAt, requests: () => requests };
  }
  const START = Date.UTC(2026, 2, 13, 12);
  const json = (n: number) =>
    JSON.stringify({ timestamp: new Date(START + n * 10).toISOString(), level: "INFO", msg: `m${n}` });

  it.each([0, 1, 17, 5000, 9999])("is found in few requests: line %i", async (n) => {
    const { offsets, size, windowAt, requests } = server(10_000, json);
    expect(await offsetOfMoment(START + n * 10 - 5, size, windowAt)).toBe(offsets[n]);
    expect(requests()).toBeLessThan(25);
  });

  it("behind the last line is the last line", async () => {
    const { offsets, size, windowAt } = server(3000, json);
    expect(await offsetOfMoment(START + 1e9, size, windowAt)).toBe(offsets.at(-1));
  });

  it("is found between lines that have no times", async () => {
    const { offsets, size, windowAt } = server(2000, (n) => (n % 3 ? "plain" : json(n)));
    expect(await offsetOfMoment(START + 3000, size, windowAt)).toBe(offsets[300]);
  });

  it("is nowhere in a log without times, or without lines", async () => {
    const { size, windowAt } = server(5000, (n) => `plain ${n}`);
    expect(await offsetOfMoment(START, size, windowAt)).toBeNull();
    expect(await offsetOfMoment(START, 0, windowAt)).toBeNull();
  });
});

describe("the log to show", () => {
  const log = (node: string | null, step: string | null, stream: "stdout" | "stderr", size: number): LogEntry => ({
    path: `${node}/${step}.${stream}`,
    node,
    step,
    stream,
    format: "text",
    size,
    modified_us: 0,
  });
  const logs = [
    log("a", "one", "stdout", 0),
    log("a", "one", "stderr", 5),
    log("a", null, "stdout", 9),
    log("b", "two", "stdout", 1),
  ];

  it("is the one in the address, or none when that is not there", () => {
    expect(chosenLog(logs, { path: "b/two.stdout" }, null)?.node).toBe("b");
    expect(chosenLog(logs, { path: "../x" }, null)).toBeNull();
    expect(chosenLog([], {}, null)).toBeNull();
  });

  it("is that of a step or node, preferring what has something in it", () => {
    expect(chosenLog(logs, { node: "a", step: "one" }, null)?.stream).toBe("stderr");
    expect(chosenLog(logs, { node: "a" }, null)?.step).toBeNull();
    expect(chosenLog(logs, { node: "b" }, { device: "a", id: "one" })?.node).toBe("b");
    expect(chosenLog(logs, { node: "ghost" }, null)?.path).toBe("a/one.stderr");
  });

  it("is the failed step's when nobody asks for another", () => {
    expect(chosenLog(logs, {}, { device: "a", id: "one" })?.path).toBe("a/one.stderr");
    expect([...byNode(logs).keys()]).toEqual(["a", "b"]);
  });
});

it("matches are gone through in both directions, over the ends", () => {
  expect(matchFrom([10, 20, 30], 20, 1)).toBe(30);
  expect(matchFrom([10, 20, 30], 20, -1)).toBe(10);
  expect(matchFrom([10, 20, 30], 30, 1)).toBe(10);
  expect(matchFrom([10, 20, 30], null, -1)).toBe(30);
  expect(matchFrom([], 5, 1)).toBeNull();
});
