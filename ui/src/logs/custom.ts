/** Events of the programs' own in their logs: targets with `_events::Name`, and JSON lines with an event kind. */
import { jsonObject, momentOf, recordOf, TIMES } from "./records";

/** What a log must contain for a line to be such an event: what is searched for. */
export const MARKS = ["_events::", '"kind"'] as const;

export interface CustomEvent {
  readonly at: number;
  readonly name: string;
  readonly fields: readonly (readonly [string, unknown])[];
}

/** The event in a log line: null when there is none, `untimed` when nobody can say when it was. */
export function customEvent(line: string): CustomEvent | "untimed" | null {
  const document = jsonObject(line);
  if (!document) return null;
  const name = targetName(document) ?? kindOf(document);
  if (name === null) return null;
  const at = momentOf(document);
  if (at === null) return "untimed";
  return { at, name, fields: fieldsOf(document) };
}

/** `PeerConnected` of `myapp::_events::PeerConnected`. */
function targetName(document: Record<string, unknown>): string | null {
  const { target } = document;
  return typeof target === "string" ? (/(?:^|::)_events::(.+)$/.exec(target)?.[1] ?? null) : null;
}

function kindOf(document: Record<string, unknown>): string | null {
  const { kind } = document;
  return typeof kind === "string" && kind !== "" ? kind : null;
}

function fieldsOf(document: Record<string, unknown>): CustomEvent["fields"] {
  const record = recordOf(document);
  if (record) {
    const own = record.fields.filter(([key]) => key !== "kind");
    return record.message ? [["message", record.message], ...own] : own;
  }
  const { fields, ...rest } = document;
  const nested = typeof fields === "object" && fields !== null ? Object.entries(fields) : [];
  return [...nested, ...Object.entries(rest).filter(([key]) => key !== "kind" && !TIMES.includes(key))];
}
