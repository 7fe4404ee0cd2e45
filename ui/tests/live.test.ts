import { describe, expect, it } from "vitest";
import type { LabEvent, SimEntry, Step } from "../src/api/types";
import { EMPTY_LIVE, type Live, type Message, mergePatch, reduce } from "../src/state/live";

function told(messages: readonly Message[], start: Live = EMPTY_LIVE): Live {
  return messages.reduce(reduce, start);
}

function event(opid: number): LabEvent {
  return { opid, timestamp: "2026-03-13T12:00:59.000000Z", kind: "link_up" };
}

function step(index: number, status: Step["status"], on_failure = false): Step {
  const nothing = { id: null, device: null, origin: null, text: null, cmd: null, message: null };
  return { index, on_failure, action: "run", status, started_us: null, duration_s: null, ...nothing };
}

describe("the stream's messages", () => {
  it("append events once, also when some come again", () => {
    const live = told([
      { type: "events", data: [event(0), event(1)] },
      { type: "events", data: [event(1), event(2)] },
      { type: "events", data: [event(2)] },
    ]);
    expect(live.record.events.map((one) => one.opid)).toEqual([0, 1, 2]);
  });

  it("change steps in their places, those of on_failure apart", () => {
    const live = told([
      { type: "steps", data: [step(0, "pending"), step(1, "pending"), step(0, "pending", true)] },
      { type: "steps", data: [step(0, "ok"), step(0, "running", true)] },
    ]);
    expect(live.record.steps.map((one) => one.status)).toEqual(["ok", "pending", "running"]);
  });

  it("put new sims behind the others", () => {
    const sim = (name: string, status: string) => ({ name, status }) as SimEntry;
    const live = told([
      { type: "sims", data: [sim("a", "running"), sim("b", "pending")] },
      { type: "sims", data: [sim("c", "pending"), sim("a", "ok")] },
    ]);
    expect(live.sims.map((one) => `${one.name} ${one.status}`)).toEqual(["a ok", "b pending", "c pending"]);
  });

  it("patch the state", () => {
    const live = told([
      { type: "state", data: { routers: { home: { nat: "home", firewall: "none" } }, devices: {} } },
      { type: "state_patch", data: { routers: { home: { nat: "cgnat" } } } },
    ]);
    expect(live.record.state).toEqual({ routers: { home: { nat: "cgnat", firewall: "none" } }, devices: {} });
  });

  it("remember changed and removed runs", () => {
    const live = told([{ type: "runs", data: { changed: [], removed: ["old"] } }]);
    expect(live.changedRuns).toEqual({ old: null });
  });

  it("empty the followed log when it was cut", () => {
    const window = { size: 1, start: 0, end: 1, first_line: 1, total_lines: 1, offsets: [0], lines: ["a"], cut: [] };
    const live = told([{ type: "log", data: window }]);
    expect(live.record.followed).toHaveLength(1);
    expect(reduce(live, { type: "log_truncated", data: { size: 0 } }).record.followed).toEqual([]);
  });

  it("leave the record as it is when they bring nothing", () => {
    const live = told([{ type: "events", data: [event(0)] }]);
    expect(reduce(live, { type: "events", data: [event(0)] })).toBe(live);
  });
});

describe("merge patches, as RFC 7396 shows them", () => {
  it.each([
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: "foo" }, "bar", "bar"],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])("%j with %j", (target, patch, expected) => {
    expect(mergePatch(target, patch)).toEqual(expected);
  });
});
