/** Normalised results as chart and table: across sims, axes of the matrix, and runs side by side. */
import { useMemo } from "react";
import { api } from "../api/client";
import { quantity } from "../format";
import type { Params } from "../routing";
import { barGroups, type Comparison, compared, METRIC_TEXTS, type Metric, metricsIn, rowsOf } from "../state/perf";
import { BarChart } from "./BarChart";
import { type Column, DataTable } from "./DataTable";
import { Choice, FilterBar } from "./FilterBar";
import { Empty, Failure, Loading } from "./states";
import { useFetched } from "./useFetched";
import "../styles/perf.css";

interface Props {
  run: string;
  /** Only this sim's results; null: all of the run. */
  simDir: string | null;
  /** Changes when there may be new results. */
  version: string;
  params: Params;
  setParams: (changes: Readonly<Record<string, string | null>>, how?: "push" | "replace") => void;
}

const MOST_RUNS = 6;

export function Results({ run, simDir, version, params, setParams }: Props) {
  const others = useMemo(() => (params.with ?? "").split(",").filter(Boolean).map(decoded), [params.with]);
  const runs = useMemo(() => [run, ...others.filter((other) => other !== run)].slice(0, MOST_RUNS), [run, others]);
  const fetched = useFetched(`${version} ${runs.join(" ")}`, (signal) => fetchRows(runs, signal));
  const all = useMemo(() => fetched.value ?? [], [fetched.value]);
  const ofSim = simDir === null ? null : (all.find((row) => row.run === run && row.simDir === simDir)?.sim ?? "");
  const rows = useMemo(() => all.filter((row) => ofSim === null || row.sim === ofSim), [all, ofSim]);
  const metrics = metricsIn(rows);
  const metric = metrics.find((one) => one === params.metric) ?? metrics[0] ?? null;
  const axes = [...new Set(rows.flatMap((row) => Object.keys(row.matrix)))];
  const axis = axes.find((one) => one === params.axis) ?? null;
  const comparisons = useMemo(() => (metric ? compared(rows, runs, metric) : []), [rows, runs, metric]);
  const picker = <RunPicker run={run} others={others} setParams={setParams} />;
  if (fetched.error) {
    return (
      <>
        <FilterBar>{picker}</FilterBar>
        <Failure title="The results could not be read" error={fetched.error} retry={fetched.again} />
      </>
    );
  }
  if (!fetched.value) return <Loading what="the results" />;
  if (!metric) {
    return (
      <>
        <FilterBar>{picker}</FilterBar>
        <Empty title="No results">
          Steps with a <code>[results]</code> table put their numbers here.
        </Empty>
      </>
    );
  }
  const { title, unit } = METRIC_TEXTS[metric];
  return (
    <section aria-label="Results" className="results">
      <FilterBar>
        <Choice
          label="Metric"
          any={`${title} (${unit})`}
          value={params.metric === metric ? metric : ""}
          options={metrics.map((one) => ({
            value: one,
            text: `${METRIC_TEXTS[one].title} (${METRIC_TEXTS[one].unit})`,
          }))}
          onChange={(value) => setParams({ metric: value }, "replace")}
        />
        {axes.length > 0 && (
          <Choice
            label="Chart by"
            any="by sim and step"
            value={axis ?? ""}
            options={axes.map((value) => ({ value, text: `by ${value}` }))}
            onChange={(value) => setParams({ axis: value }, "replace")}
          />
        )}
        {picker}
      </FilterBar>
      <div className="results-chart">
        <BarChart label={`${title} in ${unit}`} groups={barGroups(comparisons, axis)} names={runs} unit={unit} />
      </div>
      <Table comparisons={comparisons} runs={runs} axes={axes} metric={metric} params={params} setParams={setParams} />
    </section>
  );
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function fetchRows(runs: readonly string[], signal: AbortSignal) {
  const replies = await Promise.all(runs.map((run) => api.combinedResults(run, signal)));
  return replies.flatMap((reply, index) => rowsOf(runs[index] ?? "", reply.runs));
}

interface PickerProps extends Pick<Props, "run" | "setParams"> {
  others: readonly string[];
}

function RunPicker({ run, others, setParams }: PickerProps) {
  const runs = useFetched("runs to compare", (signal) => api.runs({}, { limit: 200, cursor: null }, signal));
  const set = (next: readonly string[]) =>
    setParams({ with: next.map((name) => encodeURIComponent(name)).join(",") || null }, "replace");
  const left = (runs.value?.runs ?? []).map((one) => one.name).filter((name) => name !== run && !others.includes(name));
  return (
    <>
      {others.map((name) => (
        <button key={name} type="button" onClick={() => set(others.filter((other) => other !== name))}>
          {name} <span aria-hidden="true">✕</span>
          <span className="visually-hidden"> (do not compare any more)</span>
        </button>
      ))}
      {left.length > 0 && others.length < MOST_RUNS - 1 && (
        <Choice
          label="Compare with"
          any="compare with…"
          value=""
          options={left}
          onChange={(name) => name && set([...others, name])}
        />
      )}
    </>
  );
}

interface TableProps extends Pick<Props, "params" | "setParams"> {
  comparisons: readonly Comparison[];
  runs: readonly string[];
  axes: readonly string[];
  metric: Metric;
}

function Table({ comparisons, runs, axes, metric, params, setParams }: TableProps) {
  const columns = useMemo(() => columnsOf(runs, axes, metric), [runs, axes, metric]);
  return (
    <DataTable
      label="Results"
      columns={columns}
      rows={comparisons}
      keyOf={(one) => one.key}
      selected={params.at ?? null}
      onSelect={(at) => setParams({ at }, "replace")}
    />
  );
}

function columnsOf(runs: readonly string[], axes: readonly string[], metric: Metric): readonly Column<Comparison>[] {
  const { title, unit } = METRIC_TEXTS[metric];
  return [
    { id: "sim", title: "Sim", value: (one) => one.sim },
    ...axes.map((axis): Column<Comparison> => ({
      id: `matrix.${axis}`,
      title: axis,
      value: (one) => (one.matrix[axis] === undefined ? undefined : String(one.matrix[axis])),
      width: "7rem",
      isWide: true,
    })),
    { id: "step", title: "Step", value: (one) => one.step, width: "9rem" },
    ...runs.flatMap((run, index): Column<Comparison>[] => [
      {
        id: `value.${run}`,
        title: runs.length === 1 ? title : run,
        value: (one) => one.values[index] ?? undefined,
        cell: (one) => <Value one={one} index={index} unit={unit} />,
        width: runs.length === 1 ? "9rem" : "12rem",
        isNumber: true,
      },
      ...(index === 0
        ? []
        : [
            {
              id: `change.${run}`,
              title: "Change",
              value: (one: Comparison) => one.changes[index] ?? undefined,
              cell: (one: Comparison) => <Change change={one.changes[index] ?? null} metric={metric} />,
              width: "6rem",
              isNumber: true,
            },
          ]),
    ]),
  ];
}

function Value({ one, index, unit }: { one: Comparison; index: number; unit: string }) {
  const attempts = one.counts[index] ?? 0;
  return (
    <>
      {attempts > 1 && <span className="muted">mean of {attempts} </span>}
      {quantity(one.values[index], unit) || "–"}
    </>
  );
}

const NOTABLE = 0.05;

/** Coloured only where it is more than what differs from run to run anyway. */
function Change({ change, metric }: { change: number | null; metric: Metric }) {
  if (change === null) return "–";
  const isMoreBetter = METRIC_TEXTS[metric].isMoreBetter;
  const isNotable = Math.abs(change) > NOTABLE && isMoreBetter !== null;
  const isBetter = change > 0 === isMoreBetter;
  const percent = `${change < 0 ? "−" : "+"}${Math.abs(100 * change).toFixed(1)}\u202f%`;
  if (!isNotable) return percent;
  return (
    <span className={isBetter ? "status-ok" : "status-error"}>
      {percent}
      <span className="visually-hidden">{isBetter ? " (better)" : " (worse)"}</span>
    </span>
  );
}
