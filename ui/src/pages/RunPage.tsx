import { Status } from "../components/Status";
import { Failure, Loading } from "../components/states";
import { type Route, simHash } from "../routing";
import { useLive } from "../state/store";

export function RunPage({ route }: { route: Extract<Route, { page: "run" }> }) {
  const live = useLive();
  if (live.connection === "missing") return <Failure title={`There is no run ${route.run}`} error={live.problem} />;
  if (!live.run) return <Loading what="the run" />;
  return (
    <ul>
      {live.sims.map((sim) => (
        <li key={sim.name}>
          <Status status={sim.status} /> <a href={simHash(route.run, sim.name)}>{sim.title}</a>
        </li>
      ))}
    </ul>
  );
}
