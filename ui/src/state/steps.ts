/** A sim's steps with all that the record says of each: captures, assertions, processes, logs. Pure. */
import type { LabEvent, LogEntry, ResultsDocument, Step } from "../api/types";

export interface CaptureView {
  /** Without the step's id. */
  name: string;
  value: string;
  history: readonly string[];
  /** How many values there were; more than the history has when it was cut. */
  count: number;
}

export interface AssertionView {
  hasPassed: boolean;
  check: string;
  value: string;
  expected: string;
}

export interface ProcessView {
  argv: readonly string[];
  pid: number | null;
  exitCode: number | null;
  elapsedS: number | null;
}

export interface StepView {
  /** "3", or "f3" for the fourth of [[on_failure]]: what stands in addresses. */
  key: string;
  step: Step;
  captures: readonly CaptureView[];
  assertions: readonly AssertionView[];
  process: ProcessView | null;
  logs: readonly LogEntry[];
  /** Number of the event with which it started. */
  startedAt: number | null;
}

export function stepKey(step: { index: number; on_failure?: boolean }): string {
  return `${step.on_failure ? "f" : ""}${step.index}`;
}

type Found = Pick<StepView, "startedAt"> & {
  assertions: AssertionView[];
  process: ProcessView | null;
};

/** Every process has them; they show as what became of it. */
const OF_PROCESSES = new Set(["exit_code", "elapsed_s"]);

export function stepViews(
  steps: readonly Step[],
  events: readonly LabEvent[],
  results: ResultsDocument | null,
  logs: readonly LogEntry[],
): readonly StepView[] {
  const found = fromEvents(events);
  const captures = captureViews(events, results);
  return steps.map((step) => {
    const key = stepKey(step);
    const { assertions = [], process = null, startedAt = null } = found.get(key) ?? {};
    const all = step.id ? (captures.get(step.id) ?? []) : [];
    const own = all.filter((capture) => !process || !OF_PROCESSES.has(capture.name));
    const ownLogs = step.id ? logs.filter((log) => log.step === step.id && isOn(log, step)) : [];
    return { key, step, captures: own, assertions, process, logs: ownLogs, startedAt };
  });
}

function isOn(log: LogEntry, step: Step): boolean {
  return log.node === null || step.device === null || log.node === step.device;
}

/** Steps start one after the other: what is asserted belongs to the one that started last. */
function fromEvents(events: readonly LabEvent[]): Map<string, Found> {
  const found = new Map<string, Found>();
  const byId = new Map<unknown, Found>();
  let current: Found | null = null;
  for (const event of events) {
    switch (event.kind) {
      case "step_started":
        current = { assertions: [], process: null, startedAt: event.opid };
        found.set(stepKey({ index: Number(event.step), on_failure: event.on_failure === true }), current);
        if (event.id) byId.set(event.id, current);
        break;
      case "assertion_passed":
      case "assertion_failed":
        current?.assertions.push(assertion(event));
        break;
      case "process_started": {
        const owner = byId.get(event.id);
        if (owner) owner.process = started(event);
        break;
      }
      case "process_exited": {
        const owner = byId.get(event.id);
        if (owner?.process) owner.process = { ...owner.process, ...exited(event) };
        break;
      }
    }
  }
  return found;
}

function assertion(event: LabEvent): AssertionView {
  return {
    hasPassed: event.kind === "assertion_passed",
    check: text(event.check),
    value: text(event.value),
    expected: text(event.expected),
  };
}

function started(event: LabEvent): ProcessView {
  const argv = Array.isArray(event.argv) ? event.argv.map(text) : [];
  return { argv, pid: number(event.pid), exitCode: null, elapsedS: null };
}

function exited(event: LabEvent): Pick<ProcessView, "exitCode" | "elapsedS"> {
  return { exitCode: number(event.exit_code), elapsedS: number(event.elapsed_s) };
}

/** By step id. results.json has the whole history; events have what has come since. */
function captureViews(
  events: readonly LabEvent[],
  results: ResultsDocument | null,
): Map<string, readonly CaptureView[]> {
  const byKey = new Map<string, { history: string[]; count: number }>();
  for (const [key, capture] of Object.entries(results?.captures ?? {})) {
    byKey.set(key, { history: [...capture.history], count: capture.count ?? capture.history.length });
  }
  for (const event of events) {
    if (event.kind !== "capture_recorded") continue;
    const key = text(event.key);
    const known = byKey.get(key) ?? { history: [], count: 0 };
    const count = number(event.count) ?? known.count + 1;
    if (count <= known.count) continue;
    known.history.push(text(event.value));
    byKey.set(key, { history: known.history, count });
  }
  const byStep = new Map<string, CaptureView[]>();
  for (const [key, { history, count }] of byKey) {
    const dot = key.lastIndexOf(".");
    const view = { name: key.slice(dot + 1), value: history.at(-1) ?? "", history, count };
    const step = key.slice(0, Math.max(dot, 0));
    byStep.set(step, [...(byStep.get(step) ?? []), view]);
  }
  return byStep;
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  return value === undefined || value === null ? "" : JSON.stringify(value);
}

function number(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

/** The numbers of a history, when all of it are numbers and there are at least two. */
export function numbersOf(history: readonly string[]): readonly number[] | null {
  const numbers = history.map((value) => (value.trim() === "" ? Number.NaN : Number(value)));
  return numbers.length > 1 && numbers.every(Number.isFinite) ? numbers : null;
}
