// What a trace can be saved as. JSON is the trace itself; everything else is
// written by the desk.

export type Format = "json" | "text" | "markdown" | "svg" | "pcapng" | "swaks" | "openssl" | "curl" | "python" | "go";

/** Type and file name extension. */
export const FORMATS: Record<Format, readonly [type: string, extension: string]> = {
  json: ["application/json;charset=utf-8", "json"],
  text: ["text/plain;charset=utf-8", "txt"],
  markdown: ["text/markdown;charset=utf-8", "md"],
  svg: ["image/svg+xml;charset=utf-8", "svg"],
  pcapng: ["application/x-pcapng", "pcapng"],
  swaks: ["text/x-shellscript;charset=utf-8", "swaks.sh"],
  openssl: ["text/x-shellscript;charset=utf-8", "openssl.sh"],
  curl: ["text/x-shellscript;charset=utf-8", "curl.sh"],
  python: ["text/x-python;charset=utf-8", "py"],
  go: ["text/x-go;charset=utf-8", "go"],
};

/** The tools that a session can be shown as a command of. */
export const TOOLS = [["swaks", "swaks"], ["openssl", "openssl"], ["curl", "curl"], ["python", "Python"], ["go", "Go"]] as const satisfies readonly (readonly [Format, string])[];
