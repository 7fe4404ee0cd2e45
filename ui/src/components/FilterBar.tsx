/** What narrows a list: a text (`/` leads to it) and choices. */
import { type ReactNode, useEffect, useRef, useState } from "react";
import { useShortcuts } from "../keyboard";

interface SearchProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
}

export function Search({ label, value, onChange, placeholder }: SearchProps) {
  const field = useRef<HTMLInputElement>(null);
  useShortcuts([{ keys: ["/"], does: label.toLowerCase(), run: () => field.current?.select() }]);
  return (
    <input
      ref={field}
      type="search"
      aria-label={label}
      placeholder={placeholder ?? label}
      value={value}
      spellCheck={false}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  options: readonly (string | { value: string; text: string })[];
  onChange: (value: string | null) => void;
  /** What stands for no choice. */
  any?: string;
}

export function Choice({ label, value, options, onChange, any }: ChoiceProps) {
  const known = options.map((option) => (typeof option === "string" ? { value: option, text: option } : option));
  // an address may ask for what there is not: it shows as it was asked, and can be taken back
  if (value && !known.some((option) => option.value === value)) known.push({ value, text: value });
  return (
    <select aria-label={label} value={value} onChange={(event) => onChange(event.target.value || null)}>
      <option value="">{any ?? `any ${label.toLowerCase()}`}</option>
      {known.map((option) => (
        <option key={option.value} value={option.value}>
          {option.text}
        </option>
      ))}
    </select>
  );
}

export function FilterBar({ children }: { children: ReactNode }) {
  return (
    <div className="filters" role="search">
      {children}
    </div>
  );
}

/** A text that is typed here and told after a pause. */
export function useTyped(value: string, tell: (value: string) => void, pauseMs = 200): [string, (v: string) => void] {
  const [typed, setTyped] = useState<string | null>(null);
  const latest = useRef(tell);
  useEffect(() => {
    latest.current = tell;
  });
  useEffect(() => {
    if (typed === null) return;
    const timer = window.setTimeout(() => {
      latest.current(typed);
      setTyped(null);
    }, pauseMs);
    return () => window.clearTimeout(timer);
  }, [typed, pauseMs]);
  return [typed ?? value, setTyped];
}
