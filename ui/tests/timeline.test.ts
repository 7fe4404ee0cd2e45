import { describe, expect, it } from "vitest";
import { type RunEvent, runEvent } from "../src/lab/events";
import { EMPTY_LAB } from "../src/lab/model";
import { type Item, TimelineItems } from "../src/timeline/items";
import { barTop, itemAt, lanesOf, markMiddle } from "../src/timeline/lanes";
import { panned, showing, ticks, wholeView, zoomed } from "../src/timeline/view";

const START = Date.UTC(2026, 2, 13, 12);
let opid = 0;
function event(ms: number, kind: string, fields: Record<string, unknown> = {}): RunEvent {
  return runEvent({ opid: opid++, timestamp: new Date(START + ms).toISOString(), kind, ...fields }) as RunEvent;
}

function itemsOf(...events: RunEvent[]): Item[] {
  const items = new TimelineItems();
  items.add(events);
  return items.items();
}

const step = (n: number, id: string, action = "run", device = "a") => ({
  step: n,
  action,
  id,
  device,
  origin: "x.toml:1",
});

describe("items of the timeline", () => {
  it("draw a step and its process as one bar, as long as the longer", () => {
    const [run, spawned, ...rest] = itemsOf(
      event(0, "step_started", step(0, "ask")),
      event(1, "process_started", { id: "ask", device: "a", pid: 4, argv: ["ask", "me"] }),
      event(8, "process_exited", { id: "ask", device: "a", exit_code: 0, elapsed_s: 0.007 }),
      event(10, "step_finished", { step: 0, id: "ask", status: "passed", duration_s: 0.01 }),
      event(11, "step_started", step(1, "serve", "spawn")),
      event(12, "process_started", { id: "serve", device: "a", pid: 5, argv: ["serve"] }),
      event(13, "step_finished", { step: 1, id: "serve", status: "passed", duration_s: 0.002 }),
      event(90, "process_exited", { id: "serve", device: "a", exit_code: -15, elapsed_s: 0.078 }),
    );
    expect(rest).toEqual([]);
    expect(run).toMatchObject({ label: "ask", lane: "a", tone: "good", from: START, until: START + 10, step: "ask" });
    expect(run?.detail).toContainEqual(["argv", "ask me"]);
    expect(spawned).toMatchObject({ label: "serve", from: START + 11, until: START + 90 });
    expect(spawned?.detail).toContainEqual(["ended", "signal 15"]);
  });

  it("keep a failed step red, and say why", () => {
    const [failed] = itemsOf(
      event(0, "step_started", step(0, "ask")),
      event(1, "process_started", { id: "ask", device: "a", pid: 4, argv: [] }),
      event(2, "step_failed", { ...step(0, "ask"), phase: "step", message: "exit 1", output: "" }),
      event(3, "process_exited", { id: "ask", device: "a", exit_code: 0, elapsed_s: 0 }),
    );
    expect(failed).toMatchObject({ tone: "bad", until: START + 3 });
    expect(failed?.detail).toContainEqual(["message", "exit 1"]);
  });

  it("tell steps of on_failure from the others of the same number", () => {
    const items = itemsOf(
      event(0, "step_started", step(0, "one")),
      event(1, "step_started", { ...step(0, "two"), on_failure: true }),
      event(2, "step_finished", { step: 0, id: "two", status: "passed", duration_s: 0, on_failure: true }),
    );
    expect(items.map(({ until }) => until)).toEqual([null, START + 2]);
  });

  it("show for how long a link was down, a router away, a region cut off", () => {
    const items = itemsOf(
      event(10, "link_down", { device: "a", iface: "eth0" }),
      event(20, "link_up", { device: "a", iface: "eth0" }),
      event(1000, "router_rebooted", { router: "r", down_for_s: 0.5 }),
      event(2000, "region_link_broken", { a: "eu", b: "us" }),
      event(3000, "region_link_restored", { a: "eu", b: "us" }),
    );
    const states = items
      .filter(({ shape }) => shape === "state")
      .map(({ lane, from, until }) => [lane, from - START, (until ?? 0) - START]);
    expect(states).toEqual([
      ["a", 10, 20],
      ["r", 500, 1000],
      ["region eu", 2000, 3000],
      ["region us", 2000, 3000],
    ]);
  });

  it("put captures where their step ran, assertions and unknown kinds where they belong", () => {
    const items = itemsOf(
      event(0, "step_started", step(0, "a.b")),
      event(1, "capture_recorded", { key: "a.b.address", value: "10.0.0.1", count: 1 }),
      event(2, "assertion_failed", { check: "x == 1", value: "2", expected: "1" }),
      event(3, "something_new", { router: "r" }),
      event(4, "router_added", { name: "late" }),
    );
    expect(items.slice(1).map(({ lane, label, tone }) => [lane, label, tone])).toEqual([
      ["a", "a.b.address = 10.0.0.1", "neutral"],
      ["sim", "x == 1", "bad"],
      ["r", "something new", "muted"],
      ["late", "added", "change"],
    ]);
  });

  it("end with the sim, whatever was still open", () => {
    const items = itemsOf(
      event(0, "step_started", step(0, "x")),
      event(5, "sim_finished", { sim: "s", status: "interrupted" }),
    );
    expect(items[0]?.until).toBe(START + 5);
  });
});

describe("lanes", () => {
  const lab = {
    ...EMPTY_LAB,
    devices: new Map([
      ["b", { default_via: null, mtu: null, interfaces: [] }],
      ["a", { default_via: null, mtu: null, interfaces: [] }],
    ]),
  };
  const items = itemsOf(
    event(0, "step_started", step(0, "one", "wait-for")),
    event(5, "step_started", step(1, "two", "wait-for")),
    event(10, "step_finished", { step: 0, id: "one", status: "passed", duration_s: 0 }),
    event(12, "step_started", step(2, "three", "wait-for")),
    event(14, "nat_changed", { router: "r", nat: "home" }),
    event(20, "default_route_changed", { device: "a", iface: "x" }),
  );
  const now = START + 100;

  it("stand in the topology's order and never draw two bars over each other", () => {
    const lanes = lanesOf(items, lab, new Set(), now);
    expect(lanes.map(({ name }) => name)).toEqual(["b", "a", "r"]);
    expect(lanes[1]?.bars.map(({ item, row }) => [item.step, row])).toEqual([
      ["one", 0],
      ["two", 1],
      ["three", 0],
    ]);
    expect(lanes[1]?.top).toBe(lanes[0]?.height);
  });

  it("leave out what is hidden", () => {
    expect(lanesOf(items, lab, new Set(["changes"]), now).map(({ name }) => name)).toEqual(["b", "a"]);
  });

  it("find what is under a finger", () => {
    const lanes = lanesOf(items, lab, new Set(), now);
    const lane = lanes[1];
    if (!lane) throw new Error("no lane");
    const at = (ms: number, y: number) => itemAt(lanes, START + ms, y, 2, now)?.label;
    expect(at(6, barTop(lane, 1) + 5)).toBe("wait-for two");
    expect(at(11.5, barTop(lane, 0) + 5)).toBe("wait-for one"); // near enough
    expect(at(13, barTop(lane, 0) + 5)).toBe("wait-for three");
    expect(at(19, markMiddle(lane))).toBe("default via x");
    expect(at(40, markMiddle(lane))).toBeUndefined();
    expect(at(0, -1)).toBeUndefined();
  });
});

describe("the shown time", () => {
  const whole = wholeView(1000, 2000);

  it("zooms around a moment and never leaves the run", () => {
    const near = zoomed(whole, 0.5, 1500, whole);
    expect(near.to - near.from).toBeCloseTo((whole.to - whole.from) / 2);
    expect((1500 - near.from) / (near.to - near.from)).toBeCloseTo((1500 - whole.from) / (whole.to - whole.from));
    expect(zoomed(near, 100, 1500, whole)).toEqual(whole);
    expect(panned(near, 1e9, whole).to).toBeCloseTo(whole.to);
    expect(panned(near, -1e9, whole).from).toBeCloseTo(whole.from);
    const closest = zoomed(near, 1e-9, 1500, whole);
    expect(closest.to - closest.from).toBeGreaterThan(0);
  });

  it("moves to what is selected only when that is out of sight", () => {
    const near = { from: 1400, to: 1500 };
    expect(showing(near, 1450, whole)).toBe(near);
    expect(showing(near, 1800, whole)).toEqual({ from: 1750, to: 1850 });
  });

  it("has round ticks", () => {
    const labels = (from: number, to: number) => ticks({ from, to }, 1000, 500).map(({ label }) => label);
    expect(labels(1000, 2000)).toEqual(["0", "200 ms", "400 ms", "600 ms", "800 ms", "1000 ms"]);
    expect(labels(1000, 31_000)).toEqual(["0", "10 s", "20 s", "30 s"]);
    expect(labels(1000, 1000.5)).toEqual(["0", "100 µs", "200 µs", "300 µs", "400 µs", "500 µs"]);
    expect(labels(21_000, 21_050)[1]).toBe("20.010 s");
  });
});
