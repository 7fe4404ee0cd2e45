/** Tabs as links, so that each can be opened beside the others. 1 to 9 choose one, [ and ] its neighbours. */
import { useEffect, useRef } from "react";
import { useShortcuts } from "../keyboard";
import { go } from "../routing";

export interface TabLink {
  id: string;
  title: string;
  hash: string;
}

export function TabBar({ label, tabs, current }: { label: string; tabs: readonly TabLink[]; current: string }) {
  const at = tabs.findIndex((tab) => tab.id === current);
  const show = (index: number) => go(tabs[(index + tabs.length) % tabs.length]?.hash ?? "");
  useShortcuts([
    ...tabs.map((tab, index) => ({ keys: [String(index + 1)], does: `show ${tab.title}`, run: () => go(tab.hash) })),
    { keys: ["["], does: "tab to the left", run: () => show(at - 1) },
    { keys: ["]"], does: "tab to the right", run: () => show(at + 1) },
  ]);
  const bar = useRef<HTMLElement>(null);
  useEffect(() => {
    bar.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [current]);
  return (
    <nav ref={bar} aria-label={label} className="tabs">
      {tabs.map((tab, index) => (
        <a key={tab.id} href={tab.hash} data-key={index + 1} aria-current={tab.id === current ? "page" : undefined}>
          {tab.title}
        </a>
      ))}
    </nav>
  );
}
