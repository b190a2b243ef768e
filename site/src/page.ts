// The full-screen page: one <smtp-scope>, and the colours of what lies around it.

import "./page.css";
import "./smtp-scope.ts";
