/** What a file of the record is. Pure. */
export const FILE_KINDS = ["record", "log", "packets", "failure-state", "certificate", "generated", "other"] as const;
export type FileKind = (typeof FILE_KINDS)[number];

export function kindOf(path: string): FileKind {
  if (/\.(pcap|pcapng)(\.gz)?$/.test(path)) return "packets";
  if (path.startsWith("failure-state/")) return "failure-state";
  if (path.startsWith("certs/")) return "certificate";
  if (path.startsWith("files/")) return "generated";
  if (/\.(log|qlog|sqlog)$/.test(path)) return "log";
  return path.includes("/") ? "other" : "record";
}
