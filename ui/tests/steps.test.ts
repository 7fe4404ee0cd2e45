import { describe, expect, it } from "vitest";
import type { LabEvent, LogEntry, ResultsDocument, Step } from "../src/api/types";
import { numbersOf, stepViews } from "../src/state/steps";

function step(index: number, id: string | null, fields: Partial<Step> = {}): Step {
  const nothing = { device: null, origin: null, text: null, cmd: null, message: null };
  const rest = { on_failure: false, action: "run", status: "ok", started_us: null, duration_s: null } as const;
  return { index, id, ...nothing, ...rest, ...fields };
}

function events(...list: Omit<LabEvent, "opid" | "timestamp">[]): LabEvent[] {
  return list.map((event, opid) => ({ opid, timestamp: "2026-03-13T12:00:59Z", ...event }) as LabEvent);
}

function log(path: string, node: string, id: string | null): LogEntry {
  return { path, node, step: id, stream: "stdout", format: "text", size: 1, modified_us: 0 };
}

describe("steps", () => {
  it("have the assertions made while they were the last that had started", () => {
    const views = stepViews(
      [step(0, "a"), step(1, null), step(0, null, { on_failure: true })],
      events(
        { kind: "step_started", step: 0, id: "a" },
        { kind: "step_started", step: 1, id: "" },
        { kind: "assertion_passed", check: "a.x == 1", value: "1", expected: "1" },
        { kind: "assertion_failed", check: "a.x == 2", value: "1", expected: "2" },
        { kind: "step_started", step: 0, id: "", on_failure: true },
        { kind: "assertion_passed", check: "true", value: "true", expected: "true" },
      ),
      null,
      [],
    );
    expect(views.map((view) => view.assertions.map((one) => `${one.check} ${one.hasPassed}`))).toEqual([
      [],
      ["a.x == 1 true", "a.x == 2 false"],
      ["true true"],
    ]);
    expect(views.map((view) => view.key)).toEqual(["0", "1", "f0"]);
    expect(views.map((view) => view.startedAt)).toEqual([0, 1, 4]);
  });

  it("know their process, also when it ends while another step runs", () => {
    const [first] = stepViews(
      [step(0, "web"), step(1, "get")],
      events(
        { kind: "step_started", step: 0, id: "web" },
        { kind: "process_started", id: "web", pid: 5, argv: ["web", "80"] },
        { kind: "step_started", step: 1, id: "get" },
        { kind: "process_exited", id: "web", exit_code: -15, elapsed_s: 1.5 },
      ),
      null,
      [],
    );
    expect(first?.process).toEqual({ argv: ["web", "80"], pid: 5, exitCode: -15, elapsedS: 1.5 });
  });

  it("keep a capture's whole history, and add what has come since results.json", () => {
    const results: ResultsDocument = {
      sim: "s",
      status: "running",
      steps: [],
      captures: { "a.b.n": { value: "2", history: ["1", "2"] }, "other.n": { value: "9", history: ["9"] } },
    };
    const more = events(
      { kind: "capture_recorded", key: "a.b.n", value: "2", count: 2 },
      { kind: "capture_recorded", key: "a.b.n", value: "3", count: 3 },
    );
    const [view] = stepViews([step(0, "a.b")], more, results, []);
    expect(view?.captures).toEqual([{ name: "n", value: "3", history: ["1", "2", "3"], count: 3 }]);
  });

  it("have captures of 100,000 values at once", () => {
    const values = Array.from({ length: 100_000 }, (_, n) => ({
      kind: "capture_recorded",
      key: "a.n",
      value: String(n),
      count: n + 1,
    }));
    expect(stepViews([step(0, "a")], events(...values), null, [])[0]?.captures[0]?.history).toHaveLength(100_000);
  });

  it("leave out what every process captures", () => {
    const started = events(
      { kind: "step_started", step: 0, id: "a" },
      { kind: "process_started", id: "a", pid: 5, argv: ["a"] },
      { kind: "capture_recorded", key: "a.exit_code", value: "0", count: 1 },
      { kind: "capture_recorded", key: "a.word", value: "x", count: 1 },
    );
    expect(stepViews([step(0, "a")], started, null, [])[0]?.captures.map((one) => one.name)).toEqual(["word"]);
  });

  it("have the logs of their id on their device", () => {
    const logs = [log("nodes/x/a.stdout.log", "x", "a"), log("nodes/y/a.stdout.log", "y", "a"), log("all", "x", null)];
    const [view] = stepViews([step(0, "a", { device: "x" })], [], null, logs);
    expect(view?.logs.map((one) => one.path)).toEqual(["nodes/x/a.stdout.log"]);
  });
});

describe("histories of numbers", () => {
  it.each([
    [
      ["1", "2.5", "-3e2"],
      [1, 2.5, -300],
    ],
    [["1"], null],
    [["1", ""], null],
    [["1", "x"], null],
  ])("%j", (history, numbers) => expect(numbersOf(history)).toEqual(numbers));
});
