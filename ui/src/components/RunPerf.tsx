import type { RunDocument, SimEntry } from "../api/types";
import type { Params } from "../routing";
import { Results } from "./Results";

interface Props {
  run: RunDocument;
  sims: readonly SimEntry[];
  params: Params;
  setParams: (changes: Readonly<Record<string, string | null>>, how?: "push" | "replace") => void;
}

/** The results of all sims of a run. */
export function RunPerf({ run, sims, params, setParams }: Props) {
  const version = sims.map((sim) => sim.status).join();
  return <Results run={run.name} simDir={null} version={version} params={params} setParams={setParams} />;
}
