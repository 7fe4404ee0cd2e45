import type { SimCounts } from "../api/types";
import { count } from "../format";
import { Status, statusWord } from "./Status";

const COUNTED = ["ok", "error", "overloaded", "interrupted", "running", "pending"] as const;

/** How many sims are how: only those that there are. */
export function Counts({ sims }: { sims: SimCounts }) {
  return (
    <span className="counts">
      {COUNTED.filter((status) => sims[status] > 0).map((status) => (
        <span key={status} title={`${count(sims[status])} ${statusWord(status)}`}>
          <Status status={status} isShort />
          {count(sims[status])}
        </span>
      ))}
    </span>
  );
}
