import { type ComponentType, useCallback, useMemo } from "react";
import { SimHead } from "../components/SimHead";
import { ErrorBoundary } from "../components/ErrorBoundary";
import { Empty, Failure, Loading } from "../components/states";
import { TabBar } from "../components/TabBar";
import { changedParams, go, type Params, type Route, SIM_TABS, type SimTab, simHash } from "../routing";
import { useLive } from "../state/store";
import type { TabProps } from "../tabs/contract";
import { Events } from "../tabs/Events";
import { Files } from "../tabs/Files";
import { Logs } from "../tabs/Logs";
import { Perf } from "../tabs/Perf";
import { Sim } from "../tabs/Sim";
import { Timeline } from "../tabs/Timeline";
import { Topology } from "../tabs/Topology";

const TABS: Readonly<Record<SimTab, { title: string; show: ComponentType<TabProps> }>> = {
  sim: { title: "Sim", show: Sim },
  topology: { title: "Topology", show: Topology },
  events: { title: "Events", show: Events },
  logs: { title: "Logs", show: Logs },
  timeline: { title: "Timeline", show: Timeline },
  perf: { title: "Perf", show: Perf },
  files: { title: "Files", show: Files },
};

export function SimPage({ route }: { route: Extract<Route, { page: "sim" }> }) {
  const live = useLive();
  const { run, sim, tab, params } = route;
  const hashOf = useCallback((to: SimTab, with_: Params = {}) => simHash(run, sim, to, with_), [run, sim]);
  const setParams = useCallback<TabProps["setParams"]>(
    (changes, how = "push") => go(simHash(run, sim, tab, changedParams(params, changes)), how),
    [run, sim, tab, params],
  );
  const tabs = useMemo(() => SIM_TABS.map((id) => ({ id, title: TABS[id].title, hash: hashOf(id) })), [hashOf]);
  const entry = live.sims.find((one) => one.name === sim) ?? null;
  const status = live.record.sim?.status ?? entry?.status ?? null;
  const Tab = TABS[tab].show;
  return (
    <>
      <SimHead name={sim} entry={entry} record={live.record} />
      <TabBar label="Parts of the sim" tabs={tabs} current={tab} />
      <section id="tab-panel" aria-label={TABS[tab].title} className={`tab tab-${tab}`}>
        {live.connection === "missing" ? (
          <Failure title={`There is no sim ${sim}`} error={live.problem ?? "The server does not know it."} />
        ) : status === null ? (
          <Loading what="the sim" />
        ) : status === "pending" && live.record.events.length === 0 ? (
          <Empty title="This sim has not begun">It starts when it is its turn, and shows here without a reload.</Empty>
        ) : (
          <ErrorBoundary key={tab}>
            <Tab
              run={run}
              sim={sim}
              runDocument={live.run}
              record={live.record}
              isLive={status === "running" || status === "pending"}
              params={params}
              setParams={setParams}
              hashOf={hashOf}
            />
          </ErrorBoundary>
        )}
      </section>
    </>
  );
}
