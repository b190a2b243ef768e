// What is only needed once there is a session to look at: fetched with the first one.

import "./scope-inspector.ts";
import "./scope-pending.ts";
import "./scope-transcript.ts";

export { loadBook } from "./book.ts";
export { decode } from "./codec.ts";
export { transcript } from "./transcript.ts";
