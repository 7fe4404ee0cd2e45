/** Where one is, and the way to another run or sim. */

import { api } from "../api/client";
import type { SimEntry } from "../api/types";
import { go, type Route, runHash, runOf, simHash } from "../routing";
import type { Live } from "../state/live";
import { upToDate } from "../state/runs";
import { statusWord } from "./Status";
import { useFetched } from "./useFetched";

const LISTED = 200;

interface Props {
  route: Route;
  sims: readonly SimEntry[];
  changedRuns: Live["changedRuns"];
}

export function RunSelector({ route, sims, changedRuns }: Props) {
  const run = runOf(route);
  const runs = useFetched("runs", (signal) => api.runs({}, { limit: LISTED, cursor: null }, signal));
  const listed = upToDate(runs.value?.runs ?? [], changedRuns, {});
  const names = listed.map((entry) => ({ name: entry.name, text: label(entry) }));
  if (run !== null && !names.some((entry) => entry.name === run)) names.unshift({ name: run, text: run });
  return (
    <nav aria-label="Where you are" className="crumbs">
      <select
        aria-label="Run"
        value={run ?? ""}
        onChange={(event) => go(event.target.value ? runHash(event.target.value) : "#/runs")}
      >
        <option value="">All runs</option>
        {names.map(({ name, text }) => (
          <option key={name} value={name}>
            {text}
          </option>
        ))}
      </select>
      {(route.page === "run" || route.page === "sim") && sims.length > 0 && (
        <select
          aria-label="Sim"
          value={route.page === "sim" ? route.sim : ""}
          onChange={(event) => go(target(route, event.target.value))}
        >
          <option value="">{sims.length === 1 ? "All of the run" : `All ${sims.length} sims`}</option>
          {sims.map((sim) => (
            <option key={sim.name} value={sim.name}>
              {`${sim.name} (${statusWord(sim.status)})`}
            </option>
          ))}
        </select>
      )}
    </nav>
  );
}

function label(run: { name: string; label: string | null; status: string }): string {
  return `${run.name}${run.label ? ` ${run.label}` : ""} (${statusWord(run.status)})`;
}

/** Another sim shows in the tab that one is in. */
function target(route: Extract<Route, { run: string }>, sim: string): string {
  if (!sim) return runHash(route.run);
  return simHash(route.run, sim, route.page === "sim" ? route.tab : "sim");
}
