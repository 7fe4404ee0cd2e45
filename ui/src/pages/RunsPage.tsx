import { useCallback, useMemo, useState } from "react";
import { api, type RunsFilter } from "../api/client";
import type { RunEntry, RunsReply } from "../api/types";
import { Counts } from "../components/Counts";
import { type Column, DataTable } from "../components/DataTable";
import { Choice, FilterBar, Search, useTyped } from "../components/FilterBar";
import { Status, statusWord } from "../components/Status";
import { Empty, Failure, Loading } from "../components/states";
import { useFetched } from "../components/useFetched";
import { dateTime, duration, plural } from "../format";
import { changedParams, go, type Params, runHash, toHash } from "../routing";
import { upToDate } from "../state/runs";
import { useLive } from "../state/store";

const PAGE = 500;
const FILTERS = ["project", "branch", "commit", "status", "invocation", "text"] as const;

export function RunsPage({ params }: { params: Params }) {
  const filter = useMemo<RunsFilter>(() => Object.fromEntries(FILTERS.map((key) => [key, params[key]])), [params]);
  const set = useCallback(
    (changes: Readonly<Record<string, string | null>>) =>
      go(toHash({ page: "runs", params: changedParams(params, changes) }), "replace"),
    [params],
  );
  const list = useRunList(filter);
  return (
    <>
      <div className="head">
        <h1>Runs</h1>
        {params.invocation && (
          <span className="chip">
            of <b>{params.invocation}</b>{" "}
            <button type="button" className="bare" aria-label="Show all runs" onClick={() => set({ invocation: null })}>
              ✕
            </button>
          </span>
        )}
        {list.reply && <span className="muted">{plural(list.reply.total, "run")}</span>}
        <Filters params={params} set={set} facets={list.reply?.facets ?? null} />
      </div>
      <RunList list={list} params={params} set={set} isFiltered={FILTERS.some((key) => params[key])} />
    </>
  );
}

interface RunList {
  reply: RunsReply | null;
  runs: readonly RunEntry[];
  error: unknown;
  again: () => void;
  more: (() => void) | null;
}

/** The runs that fit, page after page as one scrolls, and up to date. */
function useRunList(filter: RunsFilter): RunList {
  const live = useLive();
  const key = JSON.stringify(filter);
  const [cursors, setCursors] = useState<{ key: string; count: number }>({ key, count: 1 });
  const pages = cursors.key === key ? cursors.count : 1;
  const fetched = useFetched(`${key} ${pages}`, (signal) => pagesOf(filter, pages, signal));
  const reply = fetched.value;
  const runs = useMemo(() => upToDate(reply?.runs ?? [], live.changedRuns, filter), [reply, live.changedRuns, filter]);
  const hasMore = Boolean(reply?.next) && !fetched.isLoading;
  const more = useCallback(() => setCursors({ key, count: pages + 1 }), [key, pages]);
  return { reply, runs, error: fetched.error, again: fetched.again, more: hasMore ? more : null };
}

async function pagesOf(filter: RunsFilter, pages: number, signal: AbortSignal): Promise<RunsReply> {
  return api.runs(filter, { limit: Math.min(PAGE * pages, 10_000), cursor: null }, signal);
}

interface FilterProps {
  params: Params;
  set: (changes: Readonly<Record<string, string | null>>) => void;
  facets: RunsReply["facets"] | null;
}

function Filters({ params, set, facets }: FilterProps) {
  const [text, setText] = useTyped(params.text ?? "", (value) => set({ text: value }));
  const [commit, setCommit] = useTyped(params.commit ?? "", (value) => set({ commit: value }));
  const of = (key: "project" | "branch" | "status") => facets?.[key] ?? [];
  return (
    <FilterBar>
      <Search label="Search the runs" value={text} onChange={setText} placeholder="name, title, …" />
      {of("project").length > 0 && (
        <Choice
          label="Project"
          value={params.project ?? ""}
          options={of("project")}
          onChange={(project) => set({ project })}
        />
      )}
      {of("branch").length > 0 && (
        <Choice
          label="Branch"
          value={params.branch ?? ""}
          options={of("branch")}
          onChange={(branch) => set({ branch })}
        />
      )}
      {(of("project").length > 0 || commit) && (
        <input
          type="search"
          aria-label="Commit"
          placeholder="commit"
          size={10}
          value={commit}
          spellCheck={false}
          onChange={(event) => setCommit(event.target.value)}
        />
      )}
      <Choice
        label="Status"
        value={params.status ?? ""}
        options={of("status").map((value) => ({ value, text: statusWord(value) }))}
        onChange={(status) => set({ status })}
      />
    </FilterBar>
  );
}

interface ListProps extends Omit<FilterProps, "facets"> {
  list: RunList;
  isFiltered: boolean;
}

function RunList({ list, params, set, isFiltered }: ListProps) {
  const hasOrigin = list.runs.some((run) => run.project ?? run.branch ?? run.commit ?? run.title);
  const columns = useMemo(() => COLUMNS.filter((column) => hasOrigin || !ORIGIN.has(column.id)), [hasOrigin]);
  if (list.error) return <Failure title="The runs could not be listed" error={list.error} retry={list.again} />;
  if (!list.reply) return <Loading what="the runs" />;
  if (list.runs.length === 0) {
    return isFiltered ? (
      <Empty title="No run fits">
        <a href="#/runs">Show all runs</a>
      </Empty>
    ) : (
      <Empty title="No runs yet">
        <p>
          <code>patchbay run sims/</code> makes one, and it shows here as soon as it begins.
        </p>
      </Empty>
    );
  }
  return (
    <DataTable
      label="Runs"
      columns={columns}
      rows={list.runs}
      keyOf={(run) => run.name}
      selected={params.at ?? null}
      onSelect={(at) => set({ at })}
      open={(run) => go(runHash(run.name))}
      {...(list.more && { isEndless: { more: list.more } })}
    />
  );
}

const ORIGIN = new Set(["project", "branch", "commit"]);

const COLUMNS: readonly Column<RunEntry>[] = [
  {
    id: "status",
    title: "Status",
    value: (run) => run.status,
    cell: (run) => <Status status={run.status} />,
    width: "7.5rem",
    narrowWidth: "4.4rem",
  },
  { id: "name", title: "Run", value: (run) => run.name, cell: (run) => <Name run={run} /> },
  { id: "project", title: "Project", value: (run) => run.project ?? undefined, width: "9rem", isWide: true },
  {
    id: "branch",
    title: "Branch",
    value: (run) => run.branch ?? undefined,
    cell: (run) => <Branch run={run} />,
    width: "12rem",
    isWide: true,
  },
  {
    id: "commit",
    title: "Commit",
    value: (run) => run.commit ?? undefined,
    cell: (run) => <code title={run.commit ?? undefined}>{run.commit?.slice(0, 8)}</code>,
    width: "6rem",
    isWide: true,
  },
  {
    id: "sims",
    title: "Sims",
    value: (run) => run.sims.total,
    cell: (run) => <Counts sims={run.sims} />,
    width: "9rem",
    narrowWidth: "5.5rem",
  },
  {
    id: "started",
    title: "Started",
    value: (run) => run.started_at ?? run.created_at ?? undefined,
    cell: (run) => dateTime(run.started_at ?? run.created_at),
    width: "11rem",
    isWide: true,
  },
  {
    id: "duration",
    title: "Duration",
    value: (run) => run.runtime_ms ?? undefined,
    cell: (run) => duration(run.runtime_ms),
    width: "6.5rem",
    narrowWidth: "5rem",
    isNumber: true,
  },
];

function Name({ run }: { run: RunEntry }) {
  const more = run.problem ?? run.title ?? run.label;
  return (
    <>
      <a href={runHash(run.name)}>{run.name}</a>
      {more && <span className={run.problem ? "status-error" : "muted"}> {more}</span>}
    </>
  );
}

function Branch({ run }: { run: RunEntry }) {
  return (
    <>
      {run.branch}
      {run.pr !== null && (
        <>
          {" "}
          {run.pr_url ? (
            <a className="beside-text" href={run.pr_url} rel="noreferrer noopener" target="_blank">
              #{run.pr}
            </a>
          ) : (
            `#${run.pr}`
          )}
        </>
      )}
    </>
  );
}
