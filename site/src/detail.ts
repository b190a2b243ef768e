// What is only needed once there is a session to look at: fetched with the first one.

import "./book-data.ts"; // first, so that no element is drawn without it
import "./scope-command.ts";
import "./scope-findings.ts";
import "./scope-flight.ts";
import "./scope-help.ts";
import "./scope-inspector.ts";
import "./scope-mail.ts";
import "./scope-pending.ts";
import "./scope-transcript.ts";

export { decode } from "./codec.ts";
