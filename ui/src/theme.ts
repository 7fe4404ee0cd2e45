/** Light or dark as the system says, until somebody says otherwise here. */
import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";
const KEY = "patchbay-theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

let chosen: Theme = stored();

function stored(): Theme {
  try {
    const value = window.localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system"; // storage is forbidden: the choice lasts as long as the page
  }
}

/** The theme that shows: what charts and graphs that draw themselves have to ask for. */
export function shownTheme(): "light" | "dark" {
  if (chosen !== "system") return chosen;
  return dark.matches ? "dark" : "light";
}

export function applyTheme(): void {
  document.documentElement.dataset.theme = shownTheme();
  for (const listener of listeners) listener();
}

export function chooseTheme(theme: Theme): void {
  chosen = theme;
  try {
    if (theme === "system") window.localStorage.removeItem(KEY);
    else window.localStorage.setItem(KEY, theme);
  } catch {
    // as above
  }
  applyTheme();
}

dark.addEventListener("change", applyTheme);

function subscribe(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

/** Rerenders whoever uses it when the theme changes. */
export function useTheme(): { chosen: Theme; shown: "light" | "dark" } {
  const shown = useSyncExternalStore(subscribe, shownTheme);
  const choice = useSyncExternalStore(subscribe, () => chosen);
  return { chosen: choice, shown };
}
