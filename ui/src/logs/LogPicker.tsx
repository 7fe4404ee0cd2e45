/** Chooses a log: a list beside the lines, or a select where there is no room. */
import type { LogEntry } from "../api/types";
import { bytes } from "../format";
import { byNode, logTitle } from "./choice";

export interface LogPickerProps {
  logs: readonly LogEntry[];
  current: string | null;
  hashOfLog: (path: string) => string;
  onChoose: (path: string) => void;
}

export function LogPicker({ logs, current, hashOfLog, onChoose }: LogPickerProps) {
  const groups = [...byNode(logs)];
  return (
    <>
      <nav className="log-picker" aria-label="Logs">
        {groups.map(([node, entries]) => (
          <section key={node}>
            <h2>{node || "the sim"}</h2>
            <ul>
              {entries.map((log) => (
                <li key={log.path}>
                  <a
                    href={hashOfLog(log.path)}
                    aria-current={log.path === current ? "true" : undefined}
                    className={log.size === 0 ? "is-empty" : undefined}
                  >
                    <span>{logTitle(log)}</span>
                    <span className="number">{log.size === 0 ? "empty" : bytes(log.size)}</span>
                  </a>
                </li>
              ))}
            </ul>
          </section>
        ))}
      </nav>
      <select
        className="log-select"
        aria-label="Log"
        value={current ?? ""}
        onChange={(event) => onChoose(event.target.value)}
      >
        {groups.map(([node, entries]) => (
          <optgroup key={node} label={node || "the sim"}>
            {entries.map((log) => (
              <option key={log.path} value={log.path}>
                {`${logTitle(log)} (${log.size === 0 ? "empty" : bytes(log.size)})`}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
    </>
  );
}
