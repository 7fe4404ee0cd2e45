/** All of one line: what a row has no room for. */
import type { Params, SimTab } from "../routing";
import { count, relative } from "../format";
import { momentText } from "../lab/useMoment";
import type { Line } from "./buffer";
import { fieldText } from "./records";
import { AnsiText, recordOfLine } from "./Row";

export interface LineDetailsProps {
  line: Line;
  start: number | null;
  hashOf: (tab: SimTab, params?: Params) => string;
  onClose: () => void;
}

export function LineDetails({ line, start, hashOf, onClose }: LineDetailsProps) {
  const record = recordOfLine(line);
  const at = record?.at ?? null;
  const t = at === null ? null : momentText(at);
  return (
    <aside className="log-details" aria-label="The selected line">
      <div className="details-head">
        <h2>{line.number === null ? `Byte ${count(line.offset)}` : `Line ${count(line.number)}`}</h2>
        <button type="button" onClick={onClose} aria-label="Close the details">
          ✕
        </button>
      </div>
      {t !== null && start !== null && at !== null && (
        <p className="details-links">
          <span className="mono">{relative(at * 1000, start * 1000)}</span>
          <a href={hashOf("timeline", { t })}>In the timeline</a>
          <a href={hashOf("topology", { t })}>The network then</a>
        </p>
      )}
      {record ? (
        <dl className="log-facts">
          <Fact name="time" value={record.timeText} />
          <Fact name="level" value={record.levelText} />
          <Fact name="target" value={record.target} />
          {record.spans.map((span) => (
            <Fact
              key={span.name}
              name="span"
              value={[span.name, ...span.fields.map(([key, value]) => `${key}=${fieldText(value)}`)].join(" ")}
            />
          ))}
          <Fact name="message" value={record.message} />
          {record.fields.map(([key, value]) => (
            <Fact key={key} name={key} value={typeof value === "string" ? value : JSON.stringify(value, null, 2)} />
          ))}
        </dl>
      ) : (
        <pre className="log-whole">
          <AnsiText text={line.text} />
        </pre>
      )}
      {line.isCut && <p className="muted">Only the beginning of this line is shown: it is longer than 64 KiB.</p>}
    </aside>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  if (value === "") return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
