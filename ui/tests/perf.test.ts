import { describe, expect, it } from "vitest";
import type { CombinedRun, Matrix, MetricsLine } from "../src/api/types";
import { barGroups, compared, linkChart, metricsIn, rowsOf } from "../src/state/perf";

function combined(sim: string, matrix: Matrix, duration: string, down: string | null, attempt: number | null = null) {
  const step = { id: "get", duration, up_bytes: null, down_bytes: down, latency_ms: null };
  return { run: "made", sim_dir: sim, sim, attempt, status: "ok", matrix, steps: [step] } satisfies CombinedRun;
}

const before = rowsOf("before", [
  combined("web-a", { link: "a" }, "2", "4000000"),
  combined("web-b", { link: "b" }, "4", "4000000"),
]);
const after = rowsOf("after", [
  combined("web-a", { link: "a" }, "1", "4000000", 1),
  combined("web-a", { link: "a" }, "2", "4000000", 2),
]);

describe("results", () => {
  it("have throughput in decimal megabytes a second", () => {
    expect(before[0]?.values).toMatchObject({ duration_s: 2, down_mb_s: 2, up_mb_s: null, latency_ms: null });
    expect(metricsIn(before)).toEqual(["duration_s", "down_mb_s", "down_bytes"]);
  });

  it("without a duration, or with one of 0, have no throughput", () => {
    const [row] = rowsOf("r", [combined("s", {}, "0", "10")]);
    expect(row?.values).toMatchObject({ duration_s: 0, down_mb_s: null, down_bytes: 10 });
  });

  it("are compared with the first run, attempts by their mean", () => {
    const list = compared([...before, ...after], ["before", "after"], "duration_s");
    expect(list.map(({ sim, values, counts, changes }) => ({ sim, values, counts, changes }))).toEqual([
      { sim: "web-a", values: [2, 1.5], counts: [1, 2], changes: [0, -0.25] },
      { sim: "web-b", values: [4, null], counts: [1, 0], changes: [0, null] },
    ]);
  });

  it("are grouped by an axis for the chart", () => {
    const list = compared([...before, ...after], ["before", "after"], "duration_s");
    expect(barGroups(list, "link")).toEqual([
      { label: "a get", values: [2, 1.5] },
      { label: "b get", values: [4, null] },
    ]);
    expect(barGroups(list, null).map((group) => group.label)).toEqual(["web-a get", "web-b get"]);
  });
});

describe("links over time", () => {
  const lines: MetricsLine[] = [
    { timestamp: "2026-03-13T12:00:01Z", interval_s: 1, links: {} },
    {
      timestamp: "2026-03-13T12:00:03Z",
      interval_s: 2,
      links: { "a.eth0": { up: { bytes: 1000, delay_ms: 30, dropped: 4 } } },
    },
  ];

  it("are rates, whatever the interval", () => {
    expect(linkChart(lines, 1773403200_000_000)).toEqual({
      seconds: [1, 3],
      series: [
        { link: "a.eth0", direction: "up", bitsPerSecond: [0, 4000], delayMs: [null, 30], droppedPerSecond: [0, 2] },
      ],
    });
  });
});
