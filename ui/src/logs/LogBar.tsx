/** Search, filters and following of one log. */
import { useEffect, useRef, useState } from "react";
import { count } from "../format";
import { useShortcuts } from "../keyboard";
import type { Params } from "../routing";
import { LEVELS } from "./records";
import { matchFrom, type Matches } from "./useMatches";

export interface LogBarProps {
  params: Params;
  setParams: (changes: Readonly<Record<string, string | null>>, how?: "push" | "replace") => void;
  matches: Matches | null;
  selected: number | null;
  size: number;
  isLive: boolean;
  onGoTo: (place: number | "end") => void;
}

const WRITE_AFTER_MS = 200;

export function LogBar({ params, setParams, matches, selected, size, isLive, onGoTo }: LogBarProps) {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useTyped(params.q ?? "", (q) =>
    setParams({ q: q || null, only: q ? (params.only ?? null) : null }, "replace"),
  );
  const go = (direction: 1 | -1) => {
    const to = matches && matchFrom(matches.offsets, selected, direction);
    if (to !== null) onGoTo(to);
  };
  useShortcuts([
    { keys: ["/"], does: "search in the log", run: () => input.current?.select() },
    { keys: ["n"], does: "next match", run: () => go(1) },
    { keys: ["N", "p"], does: "previous match", run: () => go(-1) },
    { keys: ["g", "Home"], does: "beginning of the log", run: () => onGoTo(0) },
    { keys: ["G", "End"], does: "end of the log", run: () => onGoTo("end") },
  ]);
  return (
    <search className="log-bar">
      <input
        ref={input}
        type="search"
        placeholder="Search"
        aria-label="Search in the log"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
        }}
      />
      {matches && (
        <>
          <output className="log-matches">{matchText(matches, selected, size)}</output>
          <button type="button" aria-label="Previous match" onClick={() => go(-1)}>
            ↑
          </button>
          <button type="button" aria-label="Next match" onClick={() => go(1)}>
            ↓
          </button>
          <label>
            <input
              type="checkbox"
              checked={params.only === "1"}
              onChange={(event) => setParams({ only: event.target.checked ? "1" : null })}
            />{" "}
            only these
          </label>
        </>
      )}
      <label>
        Level{" "}
        <select value={params.level ?? ""} onChange={(event) => setParams({ level: event.target.value || null })}>
          <option value="">all</option>
          {LEVELS.slice(1).map((level) => (
            <option key={level} value={level}>
              {level} and above
            </option>
          ))}
        </select>
      </label>
      <span className="log-jumps">
        <button type="button" onClick={() => onGoTo(0)}>
          Top
        </button>
        <button type="button" onClick={() => onGoTo("end")}>
          End
        </button>
        {isLive && (
          <button
            type="button"
            aria-pressed={!!params.follow}
            onClick={() => (params.follow ? setParams({ follow: null }) : onGoTo("end"))}
          >
            Follow
          </button>
        )}
      </span>
    </search>
  );
}

function matchText({ offsets, searched, isEnd, problem }: Matches, selected: number | null, size: number): string {
  if (problem !== null) return problem;
  const at = selected === null ? -1 : offsets.indexOf(selected);
  const all = `${count(offsets.length)}${isEnd ? "" : "+"}`;
  const found = at === -1 ? `${all} ${offsets.length === 1 ? "line" : "lines"}` : `${count(at + 1)} of ${all}`;
  return isEnd || size === 0 ? found : `${found} (${Math.floor((searched / size) * 100)} % searched)`;
}

/** Text as it is typed, handed on when nobody types for a moment. */
function useTyped(given: string, onText: (text: string) => void): [string, (text: string) => void] {
  const [typed, setTyped] = useState<string | null>(null);
  const latest = useRef(onText);
  useEffect(() => {
    latest.current = onText;
  });
  useEffect(() => {
    if (typed === null) return;
    const timer = window.setTimeout(() => {
      latest.current(typed);
      setTyped(null);
    }, WRITE_AFTER_MS);
    return () => window.clearTimeout(timer);
  }, [typed]);
  return [typed ?? given, setTyped];
}
