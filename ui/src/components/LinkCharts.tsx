/** Rate, delay and drops of impaired links over the time of the run. */
import { useMemo } from "react";
import { bitRate, quantity } from "../format";
import type { Params } from "../routing";
import type { LinkChart, LinkSeries } from "../state/perf";
import { Choice, FilterBar } from "./FilterBar";
import { TimeChart } from "./TimeChart";

interface Props {
  chart: LinkChart;
  params: Params;
  setParams: (changes: Readonly<Record<string, string | null>>, how?: "push" | "replace") => void;
}

const MOST_SERIES = 8;

export function LinkCharts({ chart, params, setParams }: Props) {
  const links = useMemo(() => [...new Set(chart.series.map((one) => one.link))], [chart]);
  const link = links.find((one) => one === params.link) ?? null;
  const shown = useMemo(
    () => chart.series.filter((one) => link === null || one.link === link).slice(0, MOST_SERIES),
    [chart, link],
  );
  if (chart.series.length === 0) return null;
  const names = shown.map((one) => `${one.link} ${one.direction}`);
  const lines = (of: (series: LinkSeries) => readonly (number | null)[]) => shown.map(of);
  const hasDrops = shown.some((one) => one.droppedPerSecond.some((value) => value));
  return (
    <section aria-label="Links over time">
      <FilterBar>
        <h2>Links over time</h2>
        {links.length > 1 && (
          <Choice
            label="Link"
            any="all links"
            value={link ?? ""}
            options={links}
            onChange={(chosen) => setParams({ link: chosen }, "replace")}
          />
        )}
        {shown.length < chart.series.length && link === null && (
          <span className="muted">the first {MOST_SERIES} directions</span>
        )}
      </FilterBar>
      <div className="charts">
        <TimeChart
          title="Rate"
          seconds={chart.seconds}
          names={names}
          lines={lines((one) => one.bitsPerSecond)}
          format={bitRate}
        />
        <TimeChart
          title="Mean delay"
          seconds={chart.seconds}
          names={names}
          lines={lines((one) => one.delayMs)}
          format={(value) => quantity(value, "ms")}
        />
        {hasDrops && (
          <TimeChart
            title="Dropped"
            seconds={chart.seconds}
            names={names}
            lines={lines((one) => one.droppedPerSecond)}
            format={(value) => quantity(value, "/s")}
          />
        )}
      </div>
    </section>
  );
}
