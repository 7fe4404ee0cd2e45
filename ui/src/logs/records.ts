/** JSON log lines to records: what Rust's `tracing`, Python's `structlog` and the plain JSON loggers write.
 *  `patchbay fmt-log` understands the same (patchbay_runner/parsers/logrecords.py). */
import { momentOfNumber, parseMoment } from "../lab/time";

export const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
export type Level = (typeof LEVELS)[number];
export type Fields = readonly (readonly [key: string, value: unknown])[];

export interface Span {
  readonly name: string;
  readonly fields: Fields;
}

/** One line. `levelText` is what to show; spans stand from the outermost inwards. */
export interface LogRecord {
  /** Null where the line has no time, or none that can be read. */
  readonly at: number | null;
  readonly timeText: string;
  readonly level: Level | null;
  readonly levelText: string;
  readonly target: string;
  readonly message: string;
  readonly fields: Fields;
  readonly spans: readonly Span[];
}

/** Keys that a line's time stands under. */
export const TIMES: readonly string[] = ["timestamp", "time", "ts", "@timestamp", "asctime"];
const LEVEL_KEYS = ["level", "levelname", "severity", "log.level", "lvl"];
const MESSAGES = ["message", "msg", "event"];
const TARGETS = ["target", "logger", "log.logger", "name"];
/** Of `tracing`, where they say where the line comes from. */
const SPAN_KEYS = ["spans", "span"];

const ALIASES: Readonly<Record<string, Level>> = {
  VERBOSE: "trace",
  NOTICE: "info",
  INFORMATION: "info",
  WARNING: "warn",
  ERR: "error",
  EXCEPTION: "error",
  CRITICAL: "fatal",
  PANIC: "fatal",
  DPANIC: "fatal",
  ALERT: "fatal",
  EMERGENCY: "fatal",
};

type Document = Record<string, unknown>;

/** The JSON object that a line holds; null when it holds none. Records of a JSON text sequence begin with RS. */
export function jsonObject(line: string): Document | null {
  const start = line.trimStart();
  const body = start.startsWith("\x1e") ? start.slice(1) : start;
  if (!body.startsWith("{")) return null;
  try {
    return JSON.parse(body) as Document;
  } catch {
    return null; // cut, or only alike
  }
}

/** The record that a line holds; null when it is no JSON object, or one with neither a level nor a message. */
export function parseRecord(line: string): LogRecord | null {
  const document = jsonObject(line);
  return document && recordOf(document);
}

export function recordOf(document: Document): LogRecord | null {
  const rest = unnested(document);
  const levelValue = take(rest, LEVEL_KEYS, isTextOrNumber) as string | number | undefined;
  const message = take(rest, MESSAGES, isText);
  if (levelValue === undefined && message === undefined) return null;
  const [level, levelText] = levelOf(levelValue);
  const spans = takeSpans(rest);
  const time = take(rest, TIMES, isTextOrNumber);
  return {
    ...timeOf(time),
    level,
    levelText,
    target: (take(rest, TARGETS, isText) as string | undefined) ?? "",
    message: (message as string | undefined) ?? "",
    fields: Object.entries(rest),
    spans,
  };
}

/** The moment that a JSON object names, whichever logger wrote it. */
export function momentOf(document: Document): number | null {
  const value = take({ ...document }, TIMES, isTextOrNumber);
  return timeOf(value).at;
}

/** tracing keeps an event's own fields, the message among them, in a table unless told to flatten them.
 *  Those that are called as something beside the table stay in it. */
function unnested(document: Document): Document {
  const { fields, ...rest } = document;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) return { ...document };
  const entries = Object.entries(fields);
  const clashing = entries.filter(([key]) => key in document);
  const lifted = Object.fromEntries(entries.filter(([key]) => !(key in document)));
  if (clashing.length === 0) return { ...rest, ...lifted };
  return { ...document, fields: Object.fromEntries(clashing), ...lifted };
}

function take(rest: Document, names: readonly string[], isKind: (value: unknown) => boolean): unknown {
  for (const name of names) {
    if (!Object.hasOwn(rest, name) || !isKind(rest[name])) continue;
    const value = rest[name];
    Reflect.deleteProperty(rest, name);
    return value;
  }
  return undefined;
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isTextOrNumber(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number";
}

function timeOf(value: unknown): { at: number | null; timeText: string } {
  if (typeof value === "string") return { at: parseMoment(value), timeText: value };
  if (typeof value !== "number") return { at: null, timeText: "" };
  const at = momentOfNumber(value);
  return { at, timeText: at === null ? String(value) : new Date(at).toISOString() };
}

function levelOf(value: string | number | undefined): readonly [Level | null, string] {
  if (value === undefined) return [null, ""];
  if (typeof value === "number") return numbered(value);
  const text = value.trim();
  if (/^\d+$/.test(text)) return numbered(Number(text.slice(0, 9)));
  const match = /^([A-Za-z]+)([+-]\d+)?$/.exec(text); // slog: "DEBUG-4"
  const name = match?.[1]?.toUpperCase() ?? "";
  const level = LEVELS.find((each) => each.toUpperCase() === name) ?? ALIASES[name] ?? null;
  return level ? [level, `${level.toUpperCase()}${match?.[2] ?? ""}`] : [null, value];
}

/** bunyan's numbers, and those between, which stand for the next lower name. */
function numbered(value: number): readonly [Level, string] {
  const index = Math.min(Math.max(Math.floor(value / 10) - 1, 0), LEVELS.length - 1);
  const level = LEVELS[index] as Level;
  return [level, value === (index + 1) * 10 ? level.toUpperCase() : `${level.toUpperCase()}(${value})`];
}

/** tracing writes the current span, and all of them with the current one last. */
function takeSpans(rest: Document): Span[] {
  for (const name of SPAN_KEYS) {
    const value = rest[name];
    if (Array.isArray(value) && value.length === 0) {
      Reflect.deleteProperty(rest, name);
      continue;
    }
    const spans = (Array.isArray(value) ? value : [value]).map(spanOf);
    if (!isWhole(spans)) continue;
    for (const each of SPAN_KEYS) Reflect.deleteProperty(rest, each);
    return spans;
  }
  return [];
}

function isWhole(spans: (Span | null)[]): spans is Span[] {
  return spans.every((span) => span !== null);
}

function spanOf(entry: unknown): Span | null {
  if (typeof entry !== "object" || entry === null) return null;
  const { name, ...fields } = entry as Document;
  return typeof name === "string" ? { name, fields: Object.entries(fields) } : null;
}

/** A field's value as fmt-log writes it: text bare where nothing in it needs quotes. */
export function fieldText(value: unknown): string {
  if (typeof value === "string" && !/[\s"'={},]|^$/.test(value)) return value;
  return JSON.stringify(value);
}
