/** The index of runs, kept up to date by what the stream tells. Pure. */
import type { RunsFilter } from "../api/client";
import type { RunEntry } from "../api/types";

/** The fetched list with changes put in: changed runs in their places, new ones that fit above, removed ones gone. */
export function upToDate(
  fetched: readonly RunEntry[],
  changes: Readonly<Record<string, RunEntry | null>>,
  filter: RunsFilter,
): readonly RunEntry[] {
  const known = new Set(fetched.map((run) => run.name));
  const newest = newestFirst(
    Object.values(changes).filter((run): run is RunEntry => run !== null && !known.has(run.name)),
  );
  const isNewer = (run: RunEntry) => (run.started_at ?? "") >= (fetched[0]?.started_at ?? "");
  const kept = fetched.map((run) => (run.name in changes ? changes[run.name] : run));
  return [...newest.filter(isNewer), ...kept].filter((run): run is RunEntry => !!run && fits(run, filter));
}

function newestFirst(runs: readonly RunEntry[]): readonly RunEntry[] {
  return runs.toSorted(
    (a, b) => (b.started_at ?? "").localeCompare(a.started_at ?? "") || b.name.localeCompare(a.name),
  );
}

/** Whether the server would list it. */
export function fits(run: RunEntry, filter: RunsFilter): boolean {
  const { project, branch, commit, status, invocation, text } = filter;
  if (commit && !run.commit?.startsWith(commit)) return false;
  const equal = [
    [project, run.project],
    [branch, run.branch],
    [status, run.status],
    [invocation, run.invocation],
  ] as const;
  if (equal.some(([wanted, is]) => wanted && wanted !== is)) return false;
  if (!text) return true;
  const searched = [run.name, run.label, run.title, run.project, run.branch];
  return searched.some((part) => part?.toLowerCase().includes(text.toLowerCase()));
}
