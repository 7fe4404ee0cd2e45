import { useEffect } from "react";
import { useShortcuts } from "../keyboard";
import { go, type Route, runHash, runOf, toHash } from "../routing";
import type { Live } from "../state/live";
import { useLive } from "../state/store";
import { chooseTheme, type Theme, useTheme } from "../theme";
import { RunSelector } from "./RunSelector";

export function Header({ route }: { route: Route }) {
  const live = useLive();
  useTitle(route, live);
  useShortcuts([
    { keys: ["r"], does: "show all runs", run: () => go(toHash({ page: "runs", params: {} })) },
    { keys: ["u"], does: "one level up", run: () => go(above(route)) },
  ]);
  return (
    <header className="header">
      <a className="brand" href="#/runs">
        patchbay
      </a>
      <RunSelector route={route} sims={live.sims} changedRuns={live.changedRuns} />
      <Connection live={live} />
      <ThemeButton />
    </header>
  );
}

function above(route: Route): string {
  return route.page === "sim" ? runHash(route.run) : toHash({ page: "runs", params: {} });
}

function useTitle(route: Route, live: Live): void {
  const sim = route.page === "sim" ? (live.sims.find((one) => one.name === route.sim)?.title ?? route.sim) : null;
  const parts = [sim, runOf(route) ?? "runs", "patchbay"];
  const title = parts.filter((part) => part !== null).join(" · ");
  useEffect(() => {
    document.title = title;
  }, [title]);
}

function Connection({ live }: { live: Live }) {
  const isLost = live.connection === "lost";
  return (
    <span className={`connection connection-${live.connection}`} role="status">
      {isLost ? "Connection lost, trying again…" : ""}
    </span>
  );
}

const NEXT: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
const NAMES: Readonly<Record<Theme, string>> = { system: "Auto", light: "Light", dark: "Dark" };

function ThemeButton() {
  const { chosen } = useTheme();
  const change = () => chooseTheme(NEXT[chosen]);
  useShortcuts([{ keys: ["t"], does: "change the theme: as the system says, light, dark", run: change }]);
  return (
    <button type="button" className="theme" onClick={change} title="Theme: as the system says, light or dark">
      <span className="visually-hidden">Theme: </span>
      <span aria-hidden="true">◐ </span>
      {NAMES[chosen]}
    </button>
  );
}
