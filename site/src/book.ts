// The book: what the words of a session mean. Ids are those of protocol/book.
// It is fetched with the first session; until then nothing has an entry.

import type { TraceEvent } from "./trace.ts";

export interface Entry {
  title: string;
  means: string;
  /** "RFC 5321, 4.1.1.3", or another source. */
  section: string;
}

let book: Record<string, Entry> = {};

/** Opens the book; done by detail.ts before there is anything to look up. */
export function openBook(entries: Record<string, Entry>): void {
  book = entries;
}

export function look(...ids: (string | undefined)[]): Entry | undefined {
  for (const id of ids) if (id && Object.hasOwn(book, id)) return book[id];
  return undefined;
}

export function replyEntry(code: number): Entry | undefined {
  return look(`reply.${code}`, `reply.${Math.trunc(code / 100)}yz`, "field.reply-code");
}

/** For a code such as "5.1.1"; its own entry, else that of its subject, else of its class. */
export function enhancedEntry(code: string): Entry | undefined {
  const [cls, subject] = code.split(".");
  return look(`enhanced.${code}`, `enhanced.subject.${subject}`, `enhanced.class.${cls}`);
}

export function keywordEntry(keyword: string): Entry | undefined {
  return look(`keyword.${keyword.toLowerCase()}`, "field.ehlo-keyword");
}

/** What an event is, in the book's words. */
export function eventEntry(e: TraceEvent): Entry | undefined {
  switch (e.layer) {
    case "smtp":
      switch (e.kind) {
        case "command": return look(`command.${e.data.verb.toLowerCase()}`, "command.other");
        case "response": return look("command.response");
        case "message": return look("command.message");
        case "reply": return e.data.verb === "greeting" ? look("command.greeting") : replyEntry(e.data.code);
        default: return look(`event.smtp.${e.kind}`);
      }
    case "tls":
      if (e.kind === "record") return look(`tls.record.${e.data.type}`, "event.tls.record");
      return look(`event.tls.${e.kind}`);
    case "tcp": {
      const flag = e.kind === "segment" ? /SYN|FIN|RST/.exec(e.data.segment?.flags ?? "")?.[0] : undefined;
      return look(flag && `tcp.flag.${flag.toLowerCase()}`, "event.tcp.segment");
    }
    case "tunnel":
    case "dns":
    case "udp":
    case "ip":
    case "mail": return look(`event.${e.layer}.${e.kind}`);
    case "app": return e.kind === "error" ? look(`error.${e.data.code}`) : undefined;
  }
}
