// How the elements of the page tell <smtp-scope> what its user wants. The events
// bubble to it and no further.

import type { Format } from "./files.ts";
import type { Form } from "./plan.ts";
import type { Packets, Pane, Scale } from "./view.ts";

export type Action =
  | { do: "run" | "step" | "pause" | "reset" | "stop" | "retry" | "theme" | "plan" | "sheet" | "end" | "help" | "open" | "stored" | "takeover" | "console" }
  | { do: "save"; format: Format; host?: string }
  /** Shows the session as a command of another tool. */
  | { do: "command" }
  | { do: "secrets"; include: boolean }
  | { do: "show"; what: Pane }
  | { do: "scale"; scale: Scale }
  | { do: "packets"; packets: Packets }
  /** Lab time per real time; 0 for all at once. */
  | { do: "speed"; speed: number }
  /** The cursor to the next or previous packet, or SMTP row. */
  | { do: "packet" | "smtp"; by: 1 | -1 }
  | { do: "pick"; key: string }
  | { do: "cursor"; upto: number }
  /** A command for the line of a paused session, to be completed there. */
  | { do: "draft"; verb: string };

export function act(from: EventTarget, action: Action): void {
  from.dispatchEvent(new CustomEvent<Action>("scope-do", { detail: action, bubbles: true, composed: false }));
}

/** Part of the form was changed. */
export function edit(from: EventTarget, patch: Partial<Form>): void {
  from.dispatchEvent(new CustomEvent<Partial<Form>>("scope-edit", { detail: patch, bubbles: true, composed: false }));
}
