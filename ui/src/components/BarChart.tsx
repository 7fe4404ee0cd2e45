/** Bars beside each other; the numbers stand beside them, so that nobody has to measure. */
import type { BarGroup } from "../state/perf";
import { quantity } from "../format";
import "../styles/perf.css";

interface Props {
  label: string;
  groups: readonly BarGroup[];
  /** Of the runs, in the order of the values. */
  names: readonly string[];
  unit: string;
}

export function BarChart({ label, groups, names, unit }: Props) {
  const most = Math.max(...groups.flatMap((group) => group.values.map((value) => value ?? 0)), 0) || 1;
  return (
    <figure className="bars" aria-label={label}>
      {names.length > 1 && <Legend names={names} />}
      {groups.map((group) => (
        <div key={group.label} className="bar-group">
          <span className="bar-label" title={group.label}>
            {group.label}
          </span>
          <span className="bar-lines">
            {group.values.map((value, run) => (
              <span key={names[run]} className="bar-line">
                <span className="bar-track" aria-hidden="true">
                  <span
                    className={`bar series-${(run % 8) + 1}`}
                    style={{ width: `${(100 * (value ?? 0)) / most}%` }}
                  />
                </span>
                <span className="number bar-value">
                  {names.length > 1 && <span className="visually-hidden">{names[run]}: </span>}
                  {value === null ? "–" : quantity(value, unit)}
                </span>
              </span>
            ))}
          </span>
        </div>
      ))}
    </figure>
  );
}

export function Legend({ names }: { names: readonly string[] }) {
  return (
    <ul className="legend">
      {names.map((name, index) => (
        <li key={name}>
          <span className={`swatch series-${(index % 8) + 1}`} aria-hidden="true" />
          {name}
        </li>
      ))}
    </ul>
  );
}
