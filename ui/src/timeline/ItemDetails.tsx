import { momentText } from "../lab/useMoment";
import type { Params, SimTab } from "../routing";
import { spoken } from "./Chart";
import type { Item } from "./items";

export interface ItemDetailsProps {
  item: Item;
  start: number;
  hashOf: (tab: SimTab, params?: Params) => string;
  onClose: () => void;
}

/** What the selected item is, and the ways from it to its output, its event and the network of then. */
export function ItemDetails({ item, start, hashOf, onClose }: ItemDetailsProps) {
  const log = logOf(item);
  const t = momentText(item.from);
  const opid = /^\d+/.exec(item.log ? "" : item.id)?.[0];
  return (
    <aside className="timeline-details" aria-label="The selected item">
      <div className="details-head">
        <h2>{item.label}</h2>
        <button type="button" onClick={onClose} aria-label="Close the details">
          ✕
        </button>
      </div>
      <p className="muted">{`${item.lane}, ${spoken(item, start)}`}</p>
      <p className="details-links">
        {log && <a href={hashOf("logs", log)}>Log</a>}
        <a href={hashOf("topology", item.node ? { t, node: item.node } : { t })}>The network then</a>
        {opid !== undefined && <a href={hashOf("events", { at: opid })}>Event</a>}
      </p>
      <dl className="timeline-facts">
        {item.detail.map(([name, value], index) => (
          <div key={`${index} ${name}`}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </aside>
  );
}

/** Where in the logs to look; null for what has written nothing. */
function logOf({ log, node, step, category, from }: Item): Params | null {
  if (log) return { log: log.path, at: String(log.offset) };
  if (!node) return null;
  if (category === "steps" && step) return { node, step };
  return { node, t: momentText(from) };
}
