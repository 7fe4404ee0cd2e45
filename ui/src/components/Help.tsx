/** `?` lists the keys. */
import { useRef } from "react";
import { useShortcuts, useTakenShortcuts } from "../keyboard";

const NAMES: Readonly<Record<string, string>> = {
  Escape: "Esc",
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  " ": "Space",
};

export function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  const shortcuts = useTakenShortcuts();
  const toggle = () => (dialog.current?.open ? dialog.current.close() : dialog.current?.showModal());
  useShortcuts([{ keys: ["?"], does: "show or hide these keys", run: toggle }]);
  return (
    <dialog ref={dialog} aria-labelledby="help-title" className="help">
      <h2 id="help-title">Keys</h2>
      <dl>
        {shortcuts.map((one) => (
          <div key={`${one.keys.join()} ${one.does}`}>
            <dt>
              {one.keys.map((key) => (
                <kbd key={key}>{NAMES[key] ?? key}</kbd>
              ))}
            </dt>
            <dd>{one.does}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  );
}
