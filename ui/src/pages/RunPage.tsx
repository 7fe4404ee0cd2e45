import { useCallback, useMemo } from "react";
import { Counts } from "../components/Counts";
import { type Column, DataTable } from "../components/DataTable";
import { Failure, Loading } from "../components/states";
import { Status, statusWord } from "../components/Status";
import { TabBar } from "../components/TabBar";
import { Choice, FilterBar, Search, useTyped } from "../components/FilterBar";
import { RunPerf } from "../components/RunPerf";
import type { RunDocument, SimEntry } from "../api/types";
import { dateTime, duration } from "../format";
import { changedParams, go, type Params, type Route, RUN_TABS, runHash, simHash } from "../routing";
import { useLive } from "../state/store";

const TITLES = { sims: "Sims", perf: "Perf" } as const;

export function RunPage({ route }: { route: Extract<Route, { page: "run" }> }) {
  const live = useLive();
  const { run, tab, params } = route;
  const setParams = useCallback(
    (changes: Readonly<Record<string, string | null>>, how: "push" | "replace" = "replace") =>
      go(runHash(run, tab, changedParams(params, changes)), how),
    [run, tab, params],
  );
  const tabs = useMemo(() => RUN_TABS.map((id) => ({ id, title: TITLES[id], hash: runHash(run, id) })), [run]);
  if (live.connection === "missing") {
    return <Failure title={`There is no run ${run}`} error={live.problem ?? "The server does not know it."} />;
  }
  if (!live.run) return <Loading what="the run" />;
  return (
    <>
      <RunHead run={live.run} />
      <TabBar label="Parts of the run" tabs={tabs} current={tab} />
      <section id="tab-panel" aria-label={TITLES[tab]} className={`tab tab-${tab}`}>
        {tab === "sims" ? (
          <SimList run={live.run} sims={live.sims} params={params} setParams={setParams} />
        ) : (
          <RunPerf run={live.run} sims={live.sims} params={params} setParams={setParams} />
        )}
      </section>
    </>
  );
}

function RunHead({ run }: { run: RunDocument }) {
  const origin = [run.project, run.branch, run.commit?.slice(0, 8)].filter(Boolean).join(" · ");
  return (
    <div className="head">
      <h1>{run.title ?? run.label ?? run.name}</h1>
      <Status status={run.status} />
      <Counts sims={run.sims} />
      <span className="number">{duration(run.runtime_ms)}</span>
      <span className="muted">{dateTime(run.started_at)}</span>
      {origin && <span className="muted">{origin}</span>}
      {run.pr !== null && run.pr_url && (
        <a href={run.pr_url} rel="noreferrer noopener" target="_blank">
          #{run.pr}
        </a>
      )}
      {run.problem && <span className="status-error">{run.problem}</span>}
      {run.environment && <Environment run={run} />}
    </div>
  );
}

function Environment({ run }: { run: RunDocument }) {
  return (
    <details className="environment">
      <summary>Where it ran</summary>
      <dl className="fact-list">
        {Object.entries(run.environment ?? {}).map(([key, value]) => (
          <div key={key}>
            <dt>{key.replaceAll("_", " ")}</dt>
            <dd>
              <code>{value}</code>
            </dd>
          </div>
        ))}
        {run.shard && (
          <div>
            <dt>shard</dt>
            <dd>
              {run.shard.index} of {run.shard.total}
            </dd>
          </div>
        )}
      </dl>
    </details>
  );
}

interface ListProps {
  run: RunDocument;
  sims: readonly SimEntry[];
  params: Params;
  setParams: (changes: Readonly<Record<string, string | null>>) => void;
}

function SimList({ run, sims, params, setParams }: ListProps) {
  const [text, setText] = useTyped(params.text ?? "", (value) => setParams({ text: value }));
  const axes = useMemo(() => Object.keys(run.axes), [run.axes]);
  const columns = useMemo(() => columnsOf(run.name, axes), [run.name, axes]);
  const chosen = axes.filter((axis) => params[`m.${axis}`]);
  const shown = useMemo(
    () =>
      sims.filter(
        (sim) =>
          (!params.status || sim.status === params.status) &&
          axes.every((axis) => !params[`m.${axis}`] || String(sim.matrix[axis]) === params[`m.${axis}`]) &&
          (!params.text || `${sim.title} ${sim.error ?? ""}`.toLowerCase().includes(params.text.toLowerCase())),
      ),
    [sims, params, axes],
  );
  const statuses = [...new Set(sims.map((sim) => sim.status))];
  const isLong = sims.length > 5 || Boolean(params.text ?? params.status) || chosen.length > 0;
  return (
    <>
      {isLong && (
        <FilterBar>
          <Search label="Search the sims" value={text} onChange={setText} placeholder="name, reason, …" />
          <Choice
            label="Status"
            value={params.status ?? ""}
            options={statuses.map((value) => ({ value, text: statusWord(value) }))}
            onChange={(status) => setParams({ status })}
          />
          {axes.map((axis) => (
            <Choice
              key={axis}
              label={axis}
              value={params[`m.${axis}`] ?? ""}
              options={(run.axes[axis] ?? []).map(String)}
              onChange={(value) => setParams({ [`m.${axis}`]: value })}
            />
          ))}
          <span className="muted">
            {shown.length} of {sims.length}
          </span>
        </FilterBar>
      )}
      <DataTable
        label="Sims"
        columns={columns}
        rows={shown}
        keyOf={(sim) => sim.name}
        selected={params.at ?? null}
        onSelect={(at) => setParams({ at })}
        open={(sim) => go(simHash(run.name, sim.name))}
      />
    </>
  );
}

function columnsOf(run: string, axes: readonly string[]): readonly Column<SimEntry>[] {
  return [
    {
      id: "status",
      title: "Status",
      value: (sim) => sim.status,
      cell: (sim) => <Status status={sim.status} />,
      width: "7.5rem",
      narrowWidth: "4.4rem",
    },
    {
      id: "sim",
      title: "Sim",
      value: (sim) => sim.title,
      cell: (sim) => <a href={simHash(run, sim.name)}>{sim.title}</a>,
    },
    ...axes.map((axis): Column<SimEntry> => ({
      id: `matrix.${axis}`,
      title: axis,
      value: (sim) => asSortable(sim.matrix[axis]),
      width: "8rem",
      isWide: true,
    })),
    {
      id: "duration",
      title: "Duration",
      value: (sim) => sim.runtime_ms ?? undefined,
      cell: (sim) => duration(sim.runtime_ms),
      width: "6.5rem",
      narrowWidth: "5rem",
      isNumber: true,
    },
    {
      id: "failed",
      title: "Failing step",
      value: (sim) => sim.failed_step?.id ?? sim.failed_step?.action ?? sim.phase ?? undefined,
      cell: (sim) => <FailedStep run={run} sim={sim} />,
      width: "12rem",
      isWide: true,
    },
    {
      id: "error",
      title: "Reason",
      value: (sim) => sim.error ?? undefined,
      cell: (sim) => <span title={sim.error ?? undefined}>{sim.error}</span>,
    },
  ];
}

function FailedStep({ run, sim }: { run: string; sim: SimEntry }) {
  const step = sim.failed_step;
  if (!step) return sim.phase;
  return (
    <a href={simHash(run, sim.name, "sim", { step: String(step.index) })} title={step.origin ?? undefined}>
      {step.index + 1} {step.action} {step.id}
    </a>
  );
}

function asSortable(value: string | number | boolean | undefined): string | number | undefined {
  return typeof value === "boolean" ? String(value) : value;
}
