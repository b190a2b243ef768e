// How the elements of the page tell <smtp-scope> what its user wants. The events
// bubble to it and no further.

import type { Form } from "./plan.ts";

export type Action =
  | { do: "run" | "step" | "pause" | "reset" | "stop" | "retry" | "theme" | "plan" | "sheet" | "end" | "help" | "open" | "stored" }
  | { do: "save"; format: "json" | "text" }
  | { do: "secrets"; include: boolean }
  | { do: "show"; what: "ladder" | "transcript" }
  | { do: "pick"; key: string }
  | { do: "cursor"; upto: number }
  | { do: "draft"; text: string };

export function act(from: EventTarget, action: Action): void {
  from.dispatchEvent(new CustomEvent<Action>("scope-do", { detail: action, bubbles: true, composed: false }));
}

/** Part of the form was changed. */
export function edit(from: EventTarget, patch: Partial<Form>): void {
  from.dispatchEvent(new CustomEvent<Partial<Form>>("scope-edit", { detail: patch, bubbles: true, composed: false }));
}
