import { useCallback, useEffect, useMemo, useState } from "react";
import { api } from "../api/client";
import type { LogEntry } from "../api/types";
import { Empty, Failure, Loading } from "../components/states";
import { useShortcuts } from "../keyboard";
import { momentParam } from "../lab/useMoment";
import { spanOf } from "../lab/useReplay";
import { indexOfOffset, type Line } from "../logs/buffer";
import { offsetOfMoment } from "../logs/bytime";
import { chosenLog } from "../logs/choice";
import { LineDetails } from "../logs/LineDetails";
import { LogBar } from "../logs/LogBar";
import { LogList } from "../logs/LogList";
import { LogPicker } from "../logs/LogPicker";
import { LogPosition } from "../logs/LogPosition";
import { LEVELS } from "../logs/records";
import { recordOfLine } from "../logs/Row";
import { useLog } from "../logs/useLog";
import { useMatches } from "../logs/useMatches";
import type { TabProps } from "./contract";
import { useFollowedLog } from "../state/store";
import "../styles/logs.css";

export function Logs(props: TabProps) {
  const { run, sim, record, isLive, params, setParams, hashOf } = props;
  const fetched = useLogList(run, sim, record.logs);
  const wanted = { path: params.log, node: params.node, step: params.step };
  const entry = chosenLog(fetched, wanted, record.sim?.error?.step ?? null);
  if (fetched.length === 0)
    return isLive ? (
      <Empty title="No logs yet">They come to be when the first program writes something.</Empty>
    ) : (
      <Empty title="No logs">No program of this sim has written anything.</Empty>
    );
  const choose = (path: string) => setParams({ ...FRESH, log: path });
  return (
    <div className="logs">
      <LogPicker
        logs={fetched}
        current={entry?.path ?? null}
        hashOfLog={(path) => hashOf("logs", { log: path })}
        onChoose={choose}
      />
      {entry ? (
        <OneLog key={entry.path} {...props} entry={entry} />
      ) : (
        <Empty title="There is no such log">Choose another one.</Empty>
      )}
    </div>
  );
}

/** What another log does not take over. */
const FRESH = { node: null, step: null, at: null, t: null, follow: null };

/** The stream tells of logs that come to be; how large they have become is asked for when the tab is opened. */
function useLogList(run: string, sim: string, streamed: readonly LogEntry[]): readonly LogEntry[] {
  const [sized, setSized] = useState<readonly LogEntry[]>([]);
  useEffect(() => {
    const abort = new AbortController();
    api.logs(run, sim, abort.signal).then(
      ({ logs }) => setSized(logs),
      () => setSized([]), // the stream has the list as well
    );
    return () => abort.abort();
  }, [run, sim, streamed.length]);
  return sized.length >= streamed.length ? sized : streamed;
}

function OneLog(props: TabProps & { entry: LogEntry }) {
  const { run, sim, record, isLive, params, setParams, hashOf, entry } = props;
  const { path } = entry;
  const start = useMemo(() => spanOf(record.events)?.start ?? null, [record.events]);
  const selected = offsetParam(params.at);
  const level = LEVELS.findIndex((each) => each === params.level);
  const passes = useCallback((line: Line) => level < 1 || levelOf(line) >= level, [level]);
  const query = params.q ?? "";
  const asked = { run, sim, path, passes, filter: level < 1 ? "" : String(level), text: params.only ? query : "" };
  const isFollowing = !!params.follow && isLive;
  const control = useLog(asked, isFollowing ? "end" : (selected ?? 0));
  const { log, show, take } = control;
  const matches = useMatches(run, sim, path, query);
  const [top, setTop] = useState(0);
  const problem = useJumpToMoment(props);

  const isOutside = selected !== null && !log.isLoading && !log.error && (selected < log.start || selected >= log.end);
  useEffect(() => {
    if (isOutside && asked.text === "") show(selected);
  }, [isOutside, selected, show, asked.text]);
  const isEndShown = isFollowing && log.generation > 0 && log.error === null;
  useFollowedLog(isEndShown ? path : null, log.shownEnd);
  useEffect(() => {
    if (isEndShown) for (const window of record.followed) take(window);
  }, [isEndShown, record.followed, take]);

  const select = useCallback(
    (offset: number) => setParams({ log: path, node: null, step: null, at: String(offset), follow: null }, "replace"),
    [setParams, path],
  );
  const goTo = (place: number | "end") => {
    if (place === "end" && isLive) setParams({ ...FRESH, log: path, follow: "1" });
    else if (place === "end") setParams({ at: null }, "replace");
    else select(place);
    if (place === "end" || place < log.start || place >= log.end) show(place);
  };
  const unfollow = () => {
    if (params.follow) setParams({ follow: null }, "replace");
  };
  useShortcuts([{ keys: ["Escape"], does: "close the line", run: () => setParams({ at: null }, "replace") }]);
  const line = selected === null ? undefined : log.lines[indexOfOffset(log.lines, selected)];
  return (
    <div className="log">
      <LogBar
        params={params}
        setParams={setParams}
        matches={matches}
        selected={selected}
        size={log.size}
        isLive={isLive}
        onGoTo={goTo}
      />
      {problem && (
        <p className="log-notice" role="status">
          {problem}
        </p>
      )}
      {log.error ? (
        <Failure title="The log cannot be read" error={log.error} retry={() => show(0)} />
      ) : log.lines.length === 0 ? (
        <Nothing isLoading={log.isLoading} isFiltered={asked.text !== "" || level > 0} isLive={isLive} />
      ) : (
        <LogList
          {...control}
          start={start}
          query={query}
          selected={selected}
          isFollowing={isFollowing}
          isLive={isLive}
          onSelect={select}
          onUnfollow={unfollow}
          onTop={setTop}
        />
      )}
      <LogPosition log={log} top={top} onGoTo={show} onGoOn={control.after} />
      {line && line.offset === selected && (
        <LineDetails line={line} start={start} hashOf={hashOf} onClose={() => setParams({ at: null }, "replace")} />
      )}
    </div>
  );
}

function Nothing({ isLoading, isFiltered, isLive }: { isLoading: boolean; isFiltered: boolean; isLive: boolean }) {
  if (isLoading) return <Loading what="the log" />;
  if (isFiltered) return <Empty title="No line passes the filter" />;
  return <Empty title={isLive ? "Nothing was written yet" : "Nothing was written"} />;
}

function offsetParam(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** Lines that are no records, and records without a level, pass every filter, as in fmt-log. */
function levelOf(line: Line): number {
  const level = recordOfLine(line)?.level ?? null;
  return level === null ? Number.POSITIVE_INFINITY : LEVELS.indexOf(level);
}

/** Takes `t` of the address as the place in the log that has this time; says so when there is none. */
function useJumpToMoment({ run, sim, params, setParams, entry }: TabProps & { entry: LogEntry }) {
  const [problem, setProblem] = useState<string | null>(null);
  const at = momentParam(params.t);
  const { path, size } = entry;
  useEffect(() => {
    if (at === null || size === 0) return;
    const abort = new AbortController();
    const windowAt = (byte: number, limit: number) => api.log(run, sim, path, { at: byte }, limit, abort.signal);
    offsetOfMoment(at, size, windowAt).then(
      (offset) => {
        if (abort.signal.aborted) return;
        setProblem(offset === null ? "The lines of this log have no times, so it is shown from its beginning." : null);
        setParams(
          { log: path, node: null, step: null, t: null, at: offset === null ? null : String(offset) },
          "replace",
        );
      },
      (error: unknown) => !abort.signal.aborted && setProblem(String(error)),
    );
    return () => abort.abort();
    // The address is written once: what it says then must not start the search again.
  }, [run, sim, path, size, at, setParams]);
  return problem;
}
