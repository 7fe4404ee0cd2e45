/** Keys of the page. Each part says which it takes; `?` shows all that are taken at the moment. */
import { useEffect, useRef, useSyncExternalStore } from "react";

export interface Shortcut {
  /** As in KeyboardEvent.key: "j", "?", "Escape", "ArrowLeft". */
  keys: readonly string[];
  does: string;
  run: (event: KeyboardEvent) => void;
}

let taken: readonly (readonly Shortcut[])[] = [];
const listeners = new Set<() => void>();

function change(next: typeof taken): void {
  taken = next;
  for (const listener of listeners) listener();
}

/** Boxes that are ticked take no letters, so that keys go on working beside them. */
function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !/^(checkbox|radio|button)$/.test(target.type);
  return target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName);
}

function pressed(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]") && event.key !== "?") return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") (event.target as HTMLElement).blur();
    return;
  }
  // what was mounted last is innermost
  const shortcut = taken.flat().findLast((one) => one.keys.includes(event.key));
  if (!shortcut) return;
  event.preventDefault();
  shortcut.run(event);
}

export function listenToKeys(): void {
  window.addEventListener("keydown", pressed);
}

/** Takes these keys as long as the component is there. */
export function useShortcuts(shortcuts: readonly Shortcut[]): void {
  const latest = useRef(shortcuts);
  useEffect(() => {
    latest.current = shortcuts;
  });
  const names = shortcuts.map((one) => `${one.keys.join(" ")}\0${one.does}`).join("\n");
  useEffect(() => {
    const own = names.split("\n").map((line, index): Shortcut => {
      const [keys = "", does = ""] = line.split("\0");
      return { keys: keys.split(" "), does, run: (event) => latest.current[index]?.run(event) };
    });
    if (names === "") return;
    change([...taken, own]);
    return () => change(taken.filter((one) => one !== own));
  }, [names]);
}

/** Every shortcut of the moment, for the help. */
export function useTakenShortcuts(): readonly Shortcut[] {
  return useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => taken,
  ).flat();
}
