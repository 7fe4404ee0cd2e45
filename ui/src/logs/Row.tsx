/** One line of a log, as fmt-log would print it. */
import { memo, type ReactNode } from "react";
import { relative } from "../format";
import { parseAnsi, type Style, withoutAnsi } from "./ansi";
import type { Line } from "./buffer";
import { legible } from "./legible";
import { fieldText, type LogRecord, parseRecord } from "./records";

export const ROW_HEIGHT = 20;
/** A row is no place to read more of a line; the details have all of it. */
const MOST_SHOWN = 2000;

const records = new WeakMap<Line, { record: LogRecord | null }>();

/** The line's record; parsed once. */
export function recordOfLine(line: Line): LogRecord | null {
  let known = records.get(line);
  if (!known) {
    known = { record: parseRecord(withoutAnsi(line.text)) };
    records.set(line, known);
  }
  return known.record;
}

export interface RowProps {
  line: Line;
  id: string;
  top: number;
  start: number | null;
  isSelected: boolean;
  query: string;
  onSelect: (offset: number) => void;
}

export const Row = memo(function Row({ line, id, top, start, isSelected, query, onSelect }: RowProps) {
  const record = recordOfLine(line);
  const level = record?.level ?? null;
  return (
    <div
      id={id}
      role="option"
      aria-selected={isSelected}
      className={`log-row ${level ? `log-${level}` : ""}`}
      style={{ transform: `translateY(${top}px)` }}
      onClick={() => onSelect(line.offset)}
    >
      <span className="log-number">{line.number ?? ""}</span>
      {record ? <Record record={record} start={start} query={query} /> : <Plain text={line.text} query={query} />}
      {line.isCut && <span className="log-cut">… (cut)</span>}
    </div>
  );
});

function Record({ record, start, query }: { record: LogRecord; start: number | null; query: string }) {
  const time = record.at === null || start === null ? record.timeText : relative(record.at * 1000, start * 1000);
  return (
    <>
      {time && (
        <span className="log-time" title={record.timeText}>
          {time}{" "}
        </span>
      )}
      {record.levelText && <span className="log-level">{record.levelText} </span>}
      {record.spans.map((span) => (
        <span key={span.name} className="log-span">
          {span.name}
          {span.fields.length > 0 && `{${span.fields.map(([key, value]) => `${key}=${fieldText(value)}`).join(" ")}}`}
          :{" "}
        </span>
      ))}
      {record.target && <span className="log-target">{mark(record.target, query)}: </span>}
      <span className="log-message">{mark(oneLine(record.message), query)}</span>
      {record.fields.map(([key, value]) => (
        <span key={key} className="log-field">
          {" "}
          <i>{key}</i>={mark(oneLine(fieldText(value)), query)}
        </span>
      ))}
    </>
  );
}

function Plain({ text, query }: { text: string; query: string }) {
  const { spans } = parseAnsi(text.slice(0, MOST_SHOWN));
  return (
    <>
      {spans.map((span, index) => (
        <span key={index} className={classOf(span.style)} style={coloursOf(span.style)}>
          {mark(span.text, query)}
        </span>
      ))}
      {text.length > MOST_SHOWN && <span className="log-cut">…</span>}
    </>
  );
}

/** All of a line, over several lines where it is long. */
export function AnsiText({ text }: { text: string }) {
  return parseAnsi(text).spans.map((span, index) => (
    <span key={index} className={classOf(span.style)} style={coloursOf(span.style)}>
      {span.text}
    </span>
  ));
}

function oneLine(text: string): string {
  return text.slice(0, MOST_SHOWN).replaceAll("\n", "↵");
}

/** The text with what is searched for marked. */
function mark(text: string, query: string): ReactNode {
  if (query === "") return text;
  const needle = query.toLowerCase();
  const parts: ReactNode[] = [];
  let from = 0;
  for (let at = text.toLowerCase().indexOf(needle); at !== -1; at = text.toLowerCase().indexOf(needle, from)) {
    parts.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + needle.length)}</mark>);
    from = at + needle.length;
  }
  return parts.length ? [...parts, text.slice(from)] : text;
}

function classOf(style: Style): string {
  return [
    style.isBold && "ansi-bold",
    style.isDim && "ansi-dim",
    style.isItalic && "ansi-italic",
    style.isUnderlined && "ansi-underlined",
    style.isStruck && "ansi-struck",
  ]
    .filter(Boolean)
    .join(" ");
}

function coloursOf({ foreground, background, isInverse }: Style): { color?: string; backgroundColor?: string } {
  const [front, back] = isInverse ? [background ?? "ground", foreground ?? "text"] : [foreground, background];
  // A colour on a ground that the program chose as well is its own business.
  const isOwn = front?.startsWith("#") && !back;
  return {
    ...(front && { color: isOwn ? legible(front) : colour(front) }),
    ...(back && { backgroundColor: colour(back) }),
  };
}

function colour(name: string): string {
  if (name.startsWith("#")) return name;
  return /^\d+$/.test(name) ? `var(--ansi-${name})` : `var(--${name})`;
}
