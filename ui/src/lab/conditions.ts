import type { Condition } from "./model";

/** `10 Mbit/s`, `512 kbit/s`. */
export function formatRate(kbit: number): string {
  if (kbit >= 1e6) return `${Number((kbit / 1e6).toPrecision(3))} Gbit/s`;
  return kbit >= 1e3 ? `${Number((kbit / 1e3).toPrecision(3))} Mbit/s` : `${Number(kbit.toPrecision(3))} kbit/s`;
}

/** What a link's condition costs, shortest first for a label: `40 ms ±15, 2 % loss, 20 Mbit/s`; empty when clear. */
export function conditionLabel(condition: Condition | null): string {
  if (!condition) return "";
  const { latency_ms = 0, jitter_ms = 0, loss_pct = 0, loss_burst = 0, rate_kbit = 0, buffer_ms = 0 } = condition;
  const { reorder_pct = 0, duplicate_pct = 0, corrupt_pct = 0 } = condition;
  return [
    latency_ms ? `${latency_ms} ms${jitter_ms ? ` ±${jitter_ms}` : ""}` : "",
    loss_pct ? `${loss_pct} % loss${loss_burst > 1 ? ` in bursts of ${loss_burst}` : ""}` : "",
    rate_kbit ? formatRate(rate_kbit) : "",
    buffer_ms ? `${buffer_ms} ms buffer` : "",
    reorder_pct ? `${reorder_pct} % reordered` : "",
    duplicate_pct ? `${duplicate_pct} % duplicated` : "",
    corrupt_pct ? `${corrupt_pct} % corrupted` : "",
  ]
    .filter(Boolean)
    .join(", ");
}

/** Both directions of a link in one line: once when they are equal, else with arrows for sending and receiving. */
export function bothWays(up: Condition | null, down: Condition | null, arrows: readonly [string, string]): string {
  const labels = [conditionLabel(up), conditionLabel(down)] as const;
  if (labels[0] === labels[1]) return labels[0];
  return labels
    .map((label, index) => (label ? `${arrows[index]} ${label}` : ""))
    .filter(Boolean)
    .join("  ");
}
