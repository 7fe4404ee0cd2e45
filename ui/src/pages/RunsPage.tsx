import { api } from "../api/client";
import { Status } from "../components/Status";
import { Empty, Failure, Loading } from "../components/states";
import { useFetched } from "../components/useFetched";
import { type Params, runHash } from "../routing";

export function RunsPage({ params }: { params: Params }) {
  const runs = useFetched(JSON.stringify(params), (signal) => api.runs(params, { limit: 500, cursor: null }, signal));
  if (runs.error) return <Failure title="The runs could not be listed" error={runs.error} retry={runs.again} />;
  if (!runs.value) return <Loading what="the runs" />;
  if (runs.value.runs.length === 0) return <Empty title="No runs" />;
  return (
    <ul>
      {runs.value.runs.map((run) => (
        <li key={run.name}>
          <Status status={run.status} /> <a href={runHash(run.name)}>{run.name}</a>
        </li>
      ))}
    </ul>
  );
}
