import type { LogEntry } from "../api/types";

/** The log that an address asks for, or the one that is most likely wanted; null when there is none. */
export function chosenLog(
  logs: readonly LogEntry[],
  wanted: { path?: string | undefined; node?: string | undefined; step?: string | undefined },
  failed: { device: string | null; id: string | null } | null,
): LogEntry | null {
  if (wanted.path !== undefined) return logs.find(({ path }) => path === wanted.path) ?? null;
  const node = wanted.node ?? failed?.device ?? null;
  const step = wanted.step ?? (wanted.node === undefined ? failed?.id : null) ?? null;
  const ofNode = logs.filter((log) => node === null || log.node === node);
  const ofStep = step === null ? [] : ofNode.filter((log) => log.step === step);
  return best(ofStep) ?? best(ofNode.filter((log) => log.step === null)) ?? best(ofNode) ?? best(logs);
}

/** Of several the first with something in it. */
function best(logs: readonly LogEntry[]): LogEntry | null {
  return logs.find(({ size }) => size > 0) ?? logs[0] ?? null;
}

/** Logs by node in the order given; those of the whole sim under "". */
export function byNode(logs: readonly LogEntry[]): ReadonlyMap<string, readonly LogEntry[]> {
  const groups = new Map<string, LogEntry[]>();
  for (const log of logs) {
    const group = groups.get(log.node ?? "");
    if (group) group.push(log);
    else groups.set(log.node ?? "", [log]);
  }
  return groups;
}

/** What to call a log below its node. */
export function logTitle(log: LogEntry): string {
  if (log.node === null) return log.path;
  if (log.stream === null && log.step === null) return ownName(log.path, log.node);
  return [log.step ?? "all steps", log.stream ?? ownName(log.path, log.node)].join(" · ");
}

/** The file's name, without the node where it begins with that, as in records of labs. */
function ownName(path: string, node: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const prefix = ["device", "router", "ix"].map((kind) => `${kind}.${node}.`).find((each) => name.startsWith(each));
  return prefix === undefined ? name : name.slice(prefix.length);
}
