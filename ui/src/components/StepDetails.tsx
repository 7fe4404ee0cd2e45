/** What opens below a step: its command, its result, and the end of its output. */
import { api } from "../api/client";
import type { LogEntry, SimError } from "../api/types";
import { count, duration, timeOfDay } from "../format";
import type { SimTab, Params } from "../routing";
import { type CaptureView, numbersOf, type StepView } from "../state/steps";
import { plainText } from "../text";
import { Sparkline } from "./Sparkline";
import { Failure } from "./states";
import { useFetched } from "./useFetched";

interface Props {
  run: string;
  sim: string;
  view: StepView;
  error: SimError | null;
  hashOf: (tab: SimTab, params?: Params) => string;
}

export function StepDetails({ run, sim, view, error, hashOf }: Props) {
  const { step, process, captures, assertions } = view;
  return (
    <>
      {step.message && <pre className="step-message">{step.message}</pre>}
      <dl className="fact-list">
        {process && process.argv.length > 0 && <Fact name="Command" text={commandLine(process.argv)} isCode />}
        {!process && step.cmd && <Fact name="Command" text={commandLine(step.cmd)} isCode />}
        {process && process.exitCode !== null && (
          <Fact name="Exit" text={`${exit(process.exitCode)} after ${duration((process.elapsedS ?? 0) * 1000)}`} />
        )}
        {step.started_us !== null && <Fact name="Started" text={timeOfDay(step.started_us)} />}
        {step.origin && <Fact name="From" text={step.origin} isCode />}
      </dl>
      {assertions.length > 0 && <Assertions view={view} />}
      {captures.length > 0 && <Captures captures={captures} />}
      {error?.output && view.logs.length === 0 && <pre className="output">{outputText(error.output)}</pre>}
      {view.logs
        .filter((log) => log.size > 0)
        .map((log) => (
          <Output key={`${log.path} ${step.status}`} run={run} sim={sim} log={log} hashOf={hashOf} />
        ))}
      <p className="links">
        {view.startedAt !== null && <a href={hashOf("events", { at: String(view.startedAt) })}>Events</a>}
        {step.started_us !== null && <a href={hashOf("timeline", { t: String(step.started_us) })}>Timeline</a>}
        {step.device && <a href={hashOf("topology", { node: step.device })}>{step.device} in the topology</a>}
      </p>
    </>
  );
}

function Fact({ name, text, isCode = false }: { name: string; text: string; isCode?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{isCode ? <code>{text}</code> : text}</dd>
    </div>
  );
}

function Assertions({ view }: { view: StepView }) {
  return (
    <ul className="assertions">
      {view.assertions.map((one, index) => (
        <li key={`${index} ${one.check}`} className={one.hasPassed ? "" : "assertion-failed"}>
          <span className={one.hasPassed ? "status-ok" : "status-error"}>
            <span aria-hidden="true">{one.hasPassed ? "✓" : "✗"}</span>
            <span className="visually-hidden">{one.hasPassed ? "passed" : "failed"}</span>
          </span>
          <code>{one.check}</code>
          <span className="muted">is</span> <code>{one.value}</code>
        </li>
      ))}
    </ul>
  );
}

const SHOWN = 200;

function Captures({ captures }: { captures: readonly CaptureView[] }) {
  return (
    <ul className="captures">
      {captures.map((capture) => {
        const numbers = numbersOf(capture.history);
        return (
          <li key={capture.name}>
            <code>{capture.name}</code> = <code>{capture.value}</code>
            {numbers && <Sparkline numbers={numbers.slice(-SHOWN)} />}
            {capture.count > 1 && (
              <details>
                <summary>{count(capture.count)} values</summary>
                <ol className="history mono" start={Math.max(1, capture.count - SHOWN + 1)}>
                  {capture.history.slice(-SHOWN).map((value, index) => (
                    <li key={`${index} ${value}`}>{value}</li>
                  ))}
                </ol>
              </details>
            )}
          </li>
        );
      })}
    </ul>
  );
}

const TAIL_BYTES = 4096;

function Output({ run, sim, log, hashOf }: { run: string; sim: string; log: LogEntry; hashOf: Props["hashOf"] }) {
  const key = `${log.path} ${log.size}`;
  const tail = useFetched(key, (signal) => api.log(run, sim, log.path, { before: "end" }, TAIL_BYTES, signal));
  const lines = tail.value?.lines ?? [];
  return (
    <section aria-label={`${log.stream ?? "log"} of ${log.step ?? ""}`}>
      <p className="output-head">
        <b>{log.stream ?? log.path}</b>
        {tail.value && tail.value.start > 0 && <span className="muted"> its last {lines.length} lines</span>}{" "}
        <a href={hashOf("logs", { log: log.path })}>Open the log</a>
      </p>
      {Boolean(tail.error) && <Failure title="The log could not be read" error={tail.error} retry={tail.again} />}
      {lines.length > 0 && (
        <pre className="output" tabIndex={0}>
          {plainText(lines.join("\n"))}
        </pre>
      )}
    </section>
  );
}

function outputText(output: NonNullable<SimError["output"]>): string {
  return plainText(typeof output === "string" ? output : output.join("\n"));
}

function exit(code: number): string {
  return code < 0 ? `signal ${-code}` : `code ${code}`;
}

/** As one would type it in a shell. */
export function commandLine(argv: readonly string[]): string {
  return argv.map((word) => (/^[\w@%+=:,./$-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}
