/** What one push or one test suite brought: its run, or the list of them when there are several. */
import { useEffect } from "react";
import { api } from "../api/client";
import { Failure, Loading } from "../components/states";
import { useFetched } from "../components/useFetched";
import { go, runHash, toHash } from "../routing";

export function InvocationPage({ invocation }: { invocation: string }) {
  const found = useFetched(invocation, (signal) => api.invocation(invocation, signal));
  const runs = found.value?.runs;
  useEffect(() => {
    if (!runs) return;
    const [only] = runs;
    const place = only && runs.length === 1 ? runHash(only.name) : toHash({ page: "runs", params: { invocation } });
    go(place, "replace");
  }, [runs, invocation]);
  if (found.error)
    return <Failure title={`There is nothing of ${invocation}`} error={found.error} retry={found.again} />;
  return <Loading what="the runs" />;
}
