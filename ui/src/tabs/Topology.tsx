import { useMemo } from "react";
import { Empty } from "../components/states";
import { relative } from "../format";
import { useShortcuts } from "../keyboard";
import { activityAt, metricsSample } from "../lab/counters";
import type { RunEvent } from "../lab/events";
import { type Lab, labOfState } from "../lab/model";
import type { Replay } from "../lab/replay";
import { useMoment } from "../lab/useMoment";
import { spanOf, useReplay } from "../lab/useReplay";
import { TimelineItems } from "../timeline/items";
import { Details } from "../topology/Details";
import { Graph } from "../topology/Graph";
import { layoutOf } from "../topology/layout";
import { ReplayBar } from "../topology/ReplayBar";
import { sceneOf } from "../topology/scene";
import { idOfNode, type Structure, structureOf } from "../topology/structure";
import type { TabProps } from "./contract";
import "../styles/topology.css";

export function Topology({ record, isLive, params, setParams, hashOf }: TabProps) {
  const fed = useReplay(record.events);
  const replay = fed.sink;
  const span = useMemo(() => spanOf(record.events), [record.events]);
  const [at, setAt] = useMoment(params, setParams);
  const samples = useMemo(() => record.metrics.flatMap((line) => metricsSample(line) ?? []), [record.metrics]);
  const now = useMemo(() => labNow(fed.sink, record.state), [fed, record.state]);
  const scene = useMemo(() => {
    const rebooting = at === null ? new Set<string>() : fed.sink.rebootingAt(at);
    return sceneOf(at === null ? now : fed.sink.labAt(at), rebooting, activityAt(samples, at));
  }, [fed, now, at, samples]);
  // A picture that looks the same is the same: it is laid out only when the structure has changed.
  const structure = JSON.stringify(
    structureOf(replay.everything().routers.size ? replay.everything() : now, replay.attachments()),
  );
  const layout = useMemo(() => layoutOf(JSON.parse(structure) as Structure), [structure]);
  const selected = params.sel ?? (params.node === undefined ? null : idOfNode(now, params.node));
  const select = (id: string | null) => setParams({ sel: id, node: null }, "replace");
  const ids = [...layout.boxes.keys()];
  const move = (by: number) => select(ids[(ids.indexOf(selected ?? "") + by + ids.length) % ids.length] ?? null);
  useShortcuts([
    { keys: ["j"], does: "next node", run: () => move(1) },
    { keys: ["k"], does: "previous node", run: () => move(-1) },
    { keys: ["Escape"], does: "close the details", run: () => select(null) },
  ]);
  if (layout.boxes.size === 0)
    return <Empty title="No network">{isLive ? "It is being built." : "This sim ended before it had one."}</Empty>;
  const last = replay.changeBefore(at);
  return (
    <div className={`topology ${selected ? "has-details" : ""}`}>
      <Graph scene={scene} layout={layout} selected={selected} onSelect={select} />
      {selected && (
        <Details
          scene={scene}
          selected={selected}
          onSelect={select}
          logsOf={(node) => hashOf("logs", { node })}
          timelineOf={(node) => hashOf("timeline", { lane: node })}
        />
      )}
      {span && (
        <ReplayBar
          start={span.start}
          end={span.end}
          moment={at === null ? null : at - span.start}
          onMoment={(ms) => setAt(ms === null ? null : span.start + ms)}
          changes={replay.moments()}
          change={last && `${relative(last.at * 1000, span.start * 1000)} ${changeText(last)}`}
          isLive={isLive}
        />
      )}
    </div>
  );
}

/** The newest network: without events, or with those of a record that begins later, as `state.json` has it. */
function labNow(replay: Replay, state: TabProps["record"]["state"]): Lab {
  const replayed = replay.labAt(null);
  return replayed.routers.size > 0 || !state ? replayed : labOfState(state);
}

/** The change as the timeline words it, with the node that it befell. */
function changeText(event: RunEvent): string {
  const items = new TimelineItems();
  items.add([event]);
  const [item] = items.items();
  return item ? `${item.lane} ${item.label}` : "network built";
}
