/** Lines over seconds since the start. */
import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useTheme } from "../theme";
import { Legend } from "./BarChart";

interface Props {
  title: string;
  seconds: readonly number[];
  names: readonly string[];
  /** One row of values a name. */
  lines: readonly (readonly (number | null)[])[];
  format: (value: number) => string;
}

const HEIGHT = 180;

export function TimeChart({ title, seconds, names, lines, format }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const { shown: theme } = useTheme();
  const data = useMemo(() => [[...seconds], ...lines.map((line) => [...line])] as uPlot.AlignedData, [seconds, lines]);
  const chart = useRef<uPlot | null>(null);
  const latest = useRef({ data, format });
  useEffect(() => {
    latest.current = { data, format };
  });
  const key = names.join("\n");
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const drawn = new uPlot(
      options(element, key.split("\n"), (value) => latest.current.format(value)),
      latest.current.data,
      element,
    );
    chart.current = drawn;
    const observer = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      drawn.destroy();
      chart.current = null;
    };
  }, [key, theme]);
  useEffect(() => chart.current?.setData(data), [data]);
  return (
    <figure className="time-chart" aria-label={`${title} over time: ${spoken(names, lines, format)}`}>
      <figcaption>
        <h3>{title}</h3>
        <Legend names={names} />
      </figcaption>
      <div ref={box} aria-hidden="true" />
    </figure>
  );
}

/** The highest value of each line, for those who hear the chart. */
function spoken(names: Props["names"], lines: Props["lines"], format: Props["format"]): string {
  return names
    .map((name, index) => {
      const known = (lines[index] ?? []).filter((value): value is number => value !== null);
      return `${name} at most ${known.length ? format(Math.max(...known)) : "nothing"}`;
    })
    .join(", ");
}

function options(element: HTMLElement, names: readonly string[], format: (value: number) => string): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth || 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { points: { size: 6 }, y: false },
    scales: { x: { time: false } },
    axes: [
      { ...axis, values: (_, splits) => splits.map((value) => `${value}\u202fs`) },
      { ...axis, size: 78, values: (_, splits) => splits.map(format) },
    ],
    series: [
      {},
      ...names.map((label, index) => ({
        label,
        stroke: colour(`--series-${(index % 8) + 1}`),
        width: 1.5,
        points: { show: true, size: 4 },
        spanGaps: false,
      })),
    ],
  };
}
