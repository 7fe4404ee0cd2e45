/** Normalised results of the sim, also beside other runs, and what its links did over time. */
import { useMemo } from "react";
import { LinkCharts } from "../components/LinkCharts";
import { Results } from "../components/Results";
import { microseconds } from "../format";
import { linkChart } from "../state/perf";
import type { TabProps } from "./contract";

export function Perf({ run, sim, record, params, setParams }: TabProps) {
  const start = microseconds(record.events[0]?.timestamp);
  const chart = useMemo(() => linkChart(record.metrics, start), [record.metrics, start]);
  return (
    <div className="perf">
      <Results
        run={run}
        simDir={sim}
        version={`${record.sim?.status ?? ""} ${record.resultsVersion}`}
        params={params}
        setParams={setParams}
      />
      <LinkCharts chart={chart} params={params} setParams={setParams} />
    </div>
  );
}
