import { useMemo } from "react";
import { DataTable } from "../components/DataTable";
import { Empty } from "../components/states";
import { duration, plural, relative } from "../format";
import { useShortcuts } from "../keyboard";
import type { Lab } from "../lab/model";
import { momentParam, momentText, useQuickParam } from "../lab/useMoment";
import { spanOf, useFed, useReplay } from "../lab/useReplay";
import { Chart } from "../timeline/Chart";
import { CATEGORIES, type Category, type Item, TimelineItems } from "../timeline/items";
import { ItemDetails } from "../timeline/ItemDetails";
import { lanesOf } from "../timeline/lanes";
import { useCustomEvents } from "../timeline/useCustomEvents";
import { panned, showing, type View, wholeView, zoomed } from "../timeline/view";
import type { TabProps } from "./contract";
import "../styles/timeline.css";

const NAMES: Readonly<Record<Category, string>> = {
  steps: "Steps and processes",
  changes: "Network",
  captures: "Captures",
  assertions: "Assertions",
  custom: "Own events",
  other: "Other",
};

export function Timeline({ run, sim, record, isLive, params, setParams, hashOf }: TabProps) {
  const fed = useFed(record.events, () => new TimelineItems());
  const replay = useReplay(record.events);
  const custom = useCustomEvents(run, sim, record.logs, isLive);
  const span = useMemo(() => spanOf(record.events), [record.events]);
  const hidden = useMemo(() => hiddenParam(params.hide), [params.hide]);
  const items = useMemo(() => [...fed.sink.items(), ...custom.items], [fed, custom.items]);
  const end = useMemo(() => Math.max(span?.end ?? 0, custom.items.at(-1)?.from ?? 0), [span, custom.items]);
  const lanes = useMemo(() => lanesOf(items, labOf(replay.sink), hidden, end), [items, replay, hidden, end]);
  const inOrder = useMemo(
    () => items.filter(({ category }) => !hidden.has(category)).sort((one, other) => one.from - other.from),
    [items, hidden],
  );
  const whole = useMemo(() => wholeView(span?.start ?? 0, end), [span, end]);
  const [asked, setAsked] = useQuickParam<View | null>(viewParam(params), setParams, (view) => ({
    from: view && momentText(view.from),
    to: view && momentText(view.to),
  }));
  const selected = items.find(({ id }) => id === params.sel) ?? null;
  const cursor = momentParam(params.t);
  const wantedMoment = selected?.from ?? cursor;
  const view = asked ?? whole;

  const select = (item: Item | null) => {
    setParams({ sel: item?.id ?? null, lane: null }, "replace");
    if (item && asked) setAsked(showing(asked, item.from, whole));
  };
  const step = (by: number) => {
    const at = inOrder.findIndex(({ id }) => id === params.sel);
    const first = wantedMoment === null ? 0 : inOrder.findIndex(({ from }) => from >= wantedMoment);
    select(inOrder[at === -1 ? Math.max(first, 0) : Math.min(Math.max(at + by, 0), inOrder.length - 1)] ?? null);
  };
  const zoom = (factor: number) => {
    const middle = (view.from + view.to) / 2;
    const isShown = wantedMoment !== null && wantedMoment >= view.from && wantedMoment <= view.to;
    setAsked(zoomed(view, factor, isShown ? wantedMoment : middle, whole));
  };
  const pan = (by: number) => setAsked(panned(view, (view.to - view.from) * by, whole));
  const isList = params.view === "list";
  const keys = [
    { keys: ["ArrowLeft"], does: "earlier", run: () => pan(-0.2) },
    { keys: ["ArrowRight"], does: "later", run: () => pan(0.2) },
    { keys: ["+", "="], does: "nearer", run: () => zoom(0.5) },
    { keys: ["-"], does: "farther", run: () => zoom(2) },
    { keys: ["0"], does: "all of the run", run: () => setAsked(null) },
    { keys: ["j"], does: "next item", run: () => step(1) },
    { keys: ["k"], does: "previous item", run: () => step(-1) },
  ];
  useShortcuts([
    ...(isList ? [] : keys),
    { keys: ["l"], does: "list or picture", run: () => setParams({ view: isList ? null : "list" }) },
    { keys: ["Escape"], does: "select nothing", run: () => setParams({ sel: null, t: null, lane: null }, "replace") },
  ]);
  if (!span) return <Empty title="Nothing has happened yet" />;
  return (
    <div className="timeline">
      <div className="timeline-bar">
        <fieldset>
          <legend className="visually-hidden">Show</legend>
          {CATEGORIES.map((category) => (
            <label key={category}>
              <input
                type="checkbox"
                checked={!hidden.has(category)}
                onChange={() => setParams({ hide: toggled(hidden, category) })}
              />{" "}
              {NAMES[category]}
            </label>
          ))}
        </fieldset>
        <span className="timeline-notes" role="status">
          {custom.untimed > 0 && `${plural(custom.untimed, "own event")} without a time left out. `}
          {custom.isCut && "Only the first 20,000 own events are shown. "}
          {custom.problem !== null && `Own events: ${custom.problem}`}
        </span>
        <span className="timeline-buttons">
          {!isList && (
            <>
              <button type="button" aria-label="Farther" onClick={() => zoom(2)}>
                −
              </button>
              <button type="button" aria-label="Nearer" onClick={() => zoom(0.5)}>
                +
              </button>
              <button type="button" onClick={() => setAsked(null)}>
                All
              </button>
            </>
          )}
          <button type="button" aria-pressed={isList} onClick={() => setParams({ view: isList ? null : "list" })}>
            List
          </button>
        </span>
      </div>
      {isList ? (
        <ItemTable
          items={inOrder}
          start={span.start}
          selected={params.sel ?? null}
          onSelect={(sel) => setParams({ sel }, "replace")}
        />
      ) : (
        <Chart
          lanes={lanes}
          view={view}
          whole={whole}
          start={span.start}
          now={end}
          selected={params.sel ?? null}
          cursor={cursor}
          lane={params.lane ?? null}
          onView={setAsked}
          onPick={(item, at) => setParams({ sel: item?.id ?? null, t: momentText(at), lane: null }, "replace")}
        />
      )}
      {selected && (
        <ItemDetails
          item={selected}
          start={span.start}
          hashOf={hashOf}
          onClose={() => setParams({ sel: null }, "replace")}
        />
      )}
    </div>
  );
}

function ItemTable(props: {
  items: readonly Item[];
  start: number;
  selected: string | null;
  onSelect: (id: string) => void;
}) {
  const { items, start, selected, onSelect } = props;
  const columns = useMemo(
    () => [
      {
        id: "time",
        title: "Time",
        value: (item: Item) => item.from,
        cell: (item: Item) => relative(item.from * 1000, start * 1000),
        width: "6rem",
        isNumber: true,
      },
      { id: "node", title: "Node", value: (item: Item) => item.lane, width: "9rem", narrowWidth: "5rem" },
      { id: "what", title: "What", value: (item: Item) => item.label },
      { id: "kind", title: "Kind", value: (item: Item) => NAMES[item.category], width: "11rem", isWide: true },
      {
        id: "duration",
        title: "Duration",
        value: (item: Item) => (item.shape === "mark" || item.until === null ? undefined : item.until - item.from),
        cell: (item: Item) => (item.shape === "mark" || item.until === null ? "" : duration(item.until - item.from)),
        width: "6rem",
        isNumber: true,
        isWide: true,
      },
    ],
    [start],
  );
  return (
    <DataTable
      label="Items of the timeline"
      columns={columns}
      rows={items}
      keyOf={(item) => item.id}
      selected={selected}
      onSelect={onSelect}
    />
  );
}

/** Lanes for everything that was there at some time. */
function labOf(replay: { everything: () => Lab }): Lab {
  return replay.everything();
}

function viewParam({ from, to }: TabProps["params"]): View | null {
  const [first, last] = [momentParam(from), momentParam(to)];
  return first !== null && last !== null && first < last ? { from: first, to: last } : null;
}

function hiddenParam(text: string | undefined): ReadonlySet<Category> {
  const names = (text ?? "").split(",");
  return new Set(CATEGORIES.filter((category) => names.includes(category)));
}

function toggled(hidden: ReadonlySet<Category>, category: Category): string | null {
  return CATEGORIES.filter((each) => hidden.has(each) !== (each === category)).join(",") || null;
}
