/** Where in the log the lines in sight are, and a slider for those that are too long to scroll through. */
import { bytes, count } from "../format";
import { indexOfOffset } from "./buffer";
import type { LoadedLog } from "./useLog";

export interface LogPositionProps {
  log: LoadedLog;
  /** The first line in sight. */
  top: number;
  onGoTo: (byte: number) => void;
  onGoOn: () => void;
}

export function LogPosition({ log, top, onGoTo, onGoOn }: LogPositionProps) {
  const { size, start, end, lines, isLoading, isPaused } = log;
  const number = lines[indexOfOffset(lines, top)]?.number ?? null;
  const share = size === 0 ? 0 : Math.min(top / size, 1);
  const isWhole = start === 0 && end >= size;
  return (
    <div className="log-position">
      {!isWhole && (
        <input
          type="range"
          min={0}
          max={size}
          step={Math.max(1, Math.floor(size / 1000))}
          value={top}
          aria-label="Place in the log"
          aria-valuetext={`${Math.round(share * 100)} %`}
          onChange={(event) => onGoTo(Number(event.target.value))}
        />
      )}
      <span>
        {number !== null && `line ${count(number)}, `}
        {isWhole ? bytes(size) : `${(share * 100).toFixed(1)} % of ${bytes(size)}`}
      </span>
      {isPaused && !isLoading && (
        <>
          <span>{`${Math.floor((end / size) * 100)} % read`}</span>
          <button type="button" onClick={onGoOn}>
            Go on
          </button>
        </>
      )}
      {isLoading && <span role="status">loading…</span>}
    </div>
  );
}
