import { lazy, Suspense } from "react";
import { ErrorBoundary } from "./components/ErrorBoundary";
import { Header } from "./components/Header";
import { Help } from "./components/Help";
import { Loading } from "./components/states";
import { InvocationPage } from "./pages/InvocationPage";
import { RunPage } from "./pages/RunPage";
import { RunsPage } from "./pages/RunsPage";
import { type Route, runOf, toHash, useRoute } from "./routing";
import { useSubscription } from "./state/store";

const SimPage = lazy(() => import("./pages/SimPage").then((module) => ({ default: module.SimPage })));

export function App() {
  const route = useRoute();
  useSubscription(runOf(route), route.page === "sim" ? route.sim : null);
  return (
    <>
      <button type="button" className="skip" onClick={() => document.getElementById("main")?.focus()}>
        Skip to the content
      </button>
      <Header route={route} />
      <main id="main" tabIndex={-1}>
        <ErrorBoundary key={placeOf(route)}>
          <Page route={route} />
        </ErrorBoundary>
      </main>
      <Help />
    </>
  );
}

/** Without the parameters: another place has another chance. */
function placeOf(route: Route): string {
  return toHash({ ...route, params: {} }).replace(/\/(sim|topology|events|logs|timeline|perf|files)$/, "");
}

function Page({ route }: { route: Route }) {
  switch (route.page) {
    case "runs":
      return <RunsPage params={route.params} />;
    case "invocation":
      return <InvocationPage key={route.invocation} invocation={route.invocation} />;
    case "run":
      return <RunPage key={route.run} route={route} />;
    case "sim":
      return (
        <Suspense fallback={<Loading what="the sim" />}>
          <SimPage key={`${route.run}\0${route.sim}`} route={route} />
        </Suspense>
      );
  }
}
