/** The plan as a list, with all that came of each step. */
import { useEffect, useMemo, useRef } from "react";
import type { SimError } from "../api/types";
import { Empty } from "../components/states";
import { StepDetails } from "../components/StepDetails";
import { Status } from "../components/Status";
import { duration, plural } from "../format";
import { useShortcuts } from "../keyboard";
import { stepKey, type StepView, stepViews } from "../state/steps";
import type { TabProps } from "./contract";
import "../styles/sim.css";

export function Sim({ run, sim, record, params, setParams, hashOf, isLive }: TabProps) {
  const { steps, events, results, logs } = record;
  const views = useMemo(() => stepViews(steps, events, results, logs), [steps, events, results, logs]);
  const error = record.sim?.error ?? null;
  const failed = views.find((view) => view.step.status === "error")?.key ?? null;
  const open = params.step ?? failed; // the failed step is open until another is, or none
  const select = (key: string | null) => setParams({ step: key ?? "none" }, "replace");
  const move = (by: number) => {
    const at = views.findIndex((view) => view.key === open);
    const to = views[Math.max(0, Math.min(views.length - 1, at + by))];
    if (to) select(to.key);
  };
  useShortcuts([
    { keys: ["j", "ArrowDown"], does: "next step", run: () => move(1) },
    { keys: ["k", "ArrowUp"], does: "step before", run: () => move(-1) },
    { keys: ["Escape"], does: "close the step", run: () => select(null) },
    ...(failed ? [{ keys: ["e"], does: "show the failed step", run: () => select(failed) }] : []),
  ]);
  return (
    <div className="sim">
      {error && <ErrorBox error={error} select={select} state={stateLink(record, hashOf)} />}
      {views.length === 0 && (
        <Empty title={isLive ? "No steps yet" : "This record has no steps"}>
          {isLive ? "The network is being built." : "It was made without a plan, by a test suite perhaps."}
        </Empty>
      )}
      <ol className="steps">
        {views.map((view) => (
          <StepRow
            key={view.key}
            view={view}
            isOpen={view.key === open}
            toggle={() => select(view.key === open ? null : view.key)}
          >
            <StepDetails run={run} sim={sim} view={view} error={view.key === failed ? error : null} hashOf={hashOf} />
          </StepRow>
        ))}
      </ol>
      <Setup record={record} />
    </div>
  );
}

interface ErrorProps {
  error: SimError;
  select: (key: string) => void;
  state: { text: string; hash: string } | null;
}

/** To what every node's kernel knew when the sim failed. */
function stateLink(record: TabProps["record"], hashOf: TabProps["hashOf"]): ErrorProps["state"] {
  const kept = record.sim?.failure_state;
  if (!kept?.files) return null;
  return {
    text: `State of the nodes then (${plural(kept.files, "file")})`,
    hash: hashOf("files", { kind: "failure-state" }),
  };
}

function ErrorBox({ error, select, state }: ErrorProps) {
  const { step } = error;
  return (
    <div className="error-box" role="alert">
      <p>
        <b>{step ? `Step ${step.index + 1}` : (PHASES[error.phase] ?? error.phase)}</b>
        {step && (
          <>
            {" "}
            <code>{[step.action, step.id, step.device && `on ${step.device}`].filter(Boolean).join(" ")}</code>
          </>
        )}
        {step?.origin && <span className="muted"> {step.origin}</span>}
      </p>
      <pre>{error.message}</pre>
      {error.traceback && (
        <details>
          <summary>Traceback</summary>
          <pre>{error.traceback}</pre>
        </details>
      )}
      <p className="links">
        {step && (
          <button type="button" onClick={() => select(stepKey(step))}>
            Show the step and its output
          </button>
        )}
        {state && <a href={state.hash}>{state.text}</a>}
      </p>
    </div>
  );
}

const PHASES: Readonly<Record<string, string>> = {
  lab: "The network could not be built",
  timeout: "The sim took too long",
  overloaded: "The host was too busy for the network to be true",
  interrupted: "Interrupted",
  host: "This host cannot run labs",
  internal: "A defect of patchbay",
};

interface RowProps {
  view: StepView;
  isOpen: boolean;
  toggle: () => void;
  children: React.ReactNode;
}

function StepRow({ view, isOpen, toggle, children }: RowProps) {
  const { step, key, captures, assertions } = view;
  const row = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (isOpen) row.current?.scrollIntoView({ block: "nearest" });
  }, [isOpen]);
  const failures = assertions.filter((one) => !one.hasPassed).length;
  return (
    <li ref={row} className={`step step-${step.status}`} aria-current={step.status === "running" ? "step" : undefined}>
      <button type="button" className="step-row" aria-expanded={isOpen} aria-controls={`step-${key}`} onClick={toggle}>
        <Status status={step.status} isShort />
        <span className="step-index number">{step.on_failure ? `f${step.index + 1}` : step.index + 1}</span>
        <span className="step-action">{step.action}</span>
        <span className="step-id">
          {step.id && <b>{step.id}</b>}
          {step.device && <span className="muted"> {step.device}</span>}
        </span>
        <span className="step-text mono">{step.text}</span>
        <span className="step-captures mono">
          {captures.map((capture) => `${capture.name} = ${capture.value}`).join(", ")}
          {assertions.length > 0 && (
            <span className={failures ? "status-error" : "status-ok"}>
              {failures ? `${failures} of ${assertions.length} failed` : `${assertions.length} ✓`}
            </span>
          )}
        </span>
        <span className="step-duration number">{step.duration_s !== null && duration(step.duration_s * 1000)}</span>
      </button>
      {isOpen && (
        <div id={`step-${key}`} className="step-details">
          {children}
        </div>
      )}
    </li>
  );
}

function Setup({ record }: { record: TabProps["record"] }) {
  const setup = record.sim?.setup;
  if (!setup) return null;
  const parts = (["routers", "devices", "regions", "steps"] as const).map((key) => `${setup[key] ?? 0} ${key}`);
  return (
    <p className="setup muted">
      <code>{setup.sim_path}</code>
      {setup.topology_ref && (
        <>
          {" "}
          with topology <code>{setup.topology_ref}</code>
        </>
      )}
      : {parts.join(", ")}
      {record.sim?.links && `; links by ${record.sim.links.engine}`}
    </p>
  );
}
