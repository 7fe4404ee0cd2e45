/** What a NAT or a firewall does, in words. The keys are those of a sim's table, so that what is read can be written. */
import type { Behaviour } from "./model";

export function behaviourRows(table: Behaviour | null | undefined): [string, string][] {
  return Object.entries(table ?? {}).map(([key, value]) => [key.replaceAll("_", " "), worded(key, value)]);
}

function worded(key: string, value: unknown): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (key.endsWith("_timeout")) return `${String(value)} s`;
  if (key === "port_range" && Array.isArray(value)) return value.join("–");
  if (Array.isArray(value)) return value.length ? `ports ${value.join(", ")} only` : "nothing";
  return String(value);
}
