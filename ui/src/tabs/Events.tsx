/** Every event of the lab and of the steps. */
import { useMemo, useRef } from "react";
import type { LabEvent } from "../api/types";
import { type Column, DataTable } from "../components/DataTable";
import { Choice, FilterBar, Search, useTyped } from "../components/FilterBar";
import { Empty } from "../components/states";
import { count, microseconds, relative, timeOfDay } from "../format";
import { useShortcuts } from "../keyboard";
import { detailsOf, EVENT_GROUPS, groupOf, matches, subjectOf } from "../state/events";
import type { TabProps } from "./contract";
import "../styles/events.css";

export function Events({ record, params, setParams, isLive, hashOf }: TabProps) {
  const { events } = record;
  const [text, setText] = useTyped(params.text ?? "", (value) => setParams({ text: value }, "replace"));
  const start = microseconds(events[0]?.timestamp);
  const columns = useMemo(() => columnsOf(start), [start]);
  const { group, text: wanted, kind } = params;
  const shown = useMemo(
    () =>
      events.filter(
        (event) =>
          (!group || groupOf(event.kind) === group) && (!kind || event.kind === kind) && matches(event, wanted),
      ),
    [events, group, kind, wanted],
  );
  const kinds = useMemo(() => [...new Set(events.map((event) => event.kind))].sort(), [events]);
  const selected = events.find((event) => String(event.opid) === params.at) ?? null;
  useShortcuts(
    selected ? [{ keys: ["Escape"], does: "close the details", run: () => setParams({ at: null }, "replace") }] : [],
  );
  if (events.length === 0) return <Empty title={isLive ? "No events yet" : "There are no events"} />;
  return (
    <>
      <FilterBar>
        <Search label="Search the events" value={text} onChange={setText} placeholder="device, address, …" />
        <Choice
          label="Group"
          any="all groups"
          value={group ?? ""}
          options={EVENT_GROUPS}
          onChange={(value) => setParams({ group: value, kind: null })}
        />
        <Choice
          label="Kind"
          value={kind ?? ""}
          options={kinds}
          onChange={(value) => setParams({ kind: value, group: null })}
        />
        <span className="muted number">
          {count(shown.length)} of {count(events.length)}
        </span>
      </FilterBar>
      <div className="split">
        {shown.length === 0 ? (
          <Empty title="No event fits" />
        ) : (
          <DataTable
            label="Events"
            columns={columns}
            rows={shown}
            keyOf={(event) => String(event.opid)}
            selected={params.at ?? null}
            onSelect={(at) => setParams({ at }, "replace")}
            isFollowing={isLive && !selected}
          />
        )}
        {selected && <Details event={selected} close={() => setParams({ at: null }, "replace")} hashOf={hashOf} />}
      </div>
    </>
  );
}

interface DetailProps {
  event: LabEvent;
  close: () => void;
  hashOf: TabProps["hashOf"];
}

function Details({ event, close, hashOf }: DetailProps) {
  const panel = useRef<HTMLElement>(null);
  const us = microseconds(event.timestamp);
  const t = us === null ? {} : { t: String(us) };
  const node = event.device ?? event.router;
  return (
    <aside ref={panel} className="details" aria-label="Event">
      <p className="details-head">
        <b>
          {event.opid} {event.kind}
        </b>
        <button type="button" onClick={close} aria-label="Close the details">
          ✕
        </button>
      </p>
      <p className="links">
        <a href={hashOf("timeline", t)}>Timeline</a>
        <a href={hashOf("topology", typeof node === "string" ? { ...t, node } : t)}>Topology</a>
        {typeof event.step === "number" && (
          <a href={hashOf("sim", { step: `${event.on_failure ? "f" : ""}${event.step}` })}>Step</a>
        )}
      </p>
      <pre className="output" tabIndex={0}>
        {JSON.stringify(event, null, 2)}
      </pre>
    </aside>
  );
}

function columnsOf(start: number | null): readonly Column<LabEvent>[] {
  return [
    { id: "opid", title: "#", value: (event) => event.opid, width: "4.5rem", narrowWidth: "2.6rem", isNumber: true },
    {
      id: "relative",
      title: "Elapsed",
      value: (event) => microseconds(event.timestamp) ?? undefined,
      cell: (event) => relative(microseconds(event.timestamp), start),
      width: "7rem",
      narrowWidth: "5.2rem",
      isNumber: true,
    },
    {
      id: "time",
      title: "Time",
      value: (event) => microseconds(event.timestamp) ?? undefined,
      cell: (event) => <time dateTime={event.timestamp}>{timeOfDay(microseconds(event.timestamp))}</time>,
      width: "8rem",
      isNumber: true,
      isWide: true,
    },
    {
      id: "kind",
      title: "Kind",
      value: (event) => event.kind,
      cell: (event) => <span className={`kind kind-${groupOf(event.kind)}`}>{event.kind}</span>,
      width: "13rem",
      narrowWidth: "9.5rem",
    },
    {
      id: "subject",
      title: "Of",
      value: (event) => subjectOf(event) || undefined,
      width: "12rem",
      narrowWidth: "7rem",
    },
    {
      id: "details",
      title: "Details",
      value: (event) => detailsOf(event) || undefined,
      cell: (event) => <span className="mono">{detailsOf(event)}</span>,
      isWide: true,
    },
  ];
}
