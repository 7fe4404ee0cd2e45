import type { SimEntry } from "../api/types";
import { duration } from "../format";
import type { SimRecord } from "../state/live";
import { Status } from "./Status";

export function SimHead({ name, entry, record }: { name: string; entry: SimEntry | null; record: SimRecord }) {
  const sim = record.sim;
  const status = sim?.status ?? entry?.status;
  const matrix = Object.entries(sim?.matrix ?? entry?.matrix ?? {});
  return (
    <div className="head">
      <h1>{entry?.title ?? sim?.sim ?? name}</h1>
      {status && <Status status={status} />}
      <span className="number">{duration(sim?.runtime_ms ?? entry?.runtime_ms)}</span>
      {matrix.map(([axis, value]) => (
        <span key={axis} className="chip">
          {axis} <b>{String(value)}</b>
        </span>
      ))}
    </div>
  );
}
