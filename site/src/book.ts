// The book: what the words of a session mean. Ids, and what stands for one without an entry, are those of protocol/book.
// It is fetched with the first session; until then nothing has an entry.

import type { TraceEvent } from "./trace.ts";

export interface Entry {
  title: string;
  means: string;
  /** What to do next, for what calls for it: replies, findings, errors. */
  do?: string;
  /** "RFC 5321, 4.1.1.3", or another source. */
  section: string;
}

let book: Record<string, Entry> = {};

/** Opens the book; done by detail.ts before there is anything to look up. */
export function openBook(entries: Record<string, Entry>): void {
  book = entries;
}

/** The entry of the first of ids that has one, its own or that of the next wider thing: book.Lookup for the page. */
export function look(...ids: (string | undefined)[]): Entry | undefined {
  for (const id of ids) for (const wider of id ? widening(id) : []) if (Object.hasOwn(book, wider)) return book[wider];
  return undefined;
}

/** An id and what stands for it where it has no entry. */
function widening(id: string): string[] {
  const [kind, ...name] = id.split(".");
  if (kind === "reply" && name.length === 1 && name[0]!.length === 3) return [id, `reply.${name[0]![0]}yz`, "field.reply-code"];
  if (kind === "enhanced" && name.length === 3) {
    const [cls, subject, detail] = name;
    return [id, `enhanced.x.${subject}.${detail}`, `enhanced.subject.${subject}`, `enhanced.class.${cls}`, "field.enhanced-code"];
  }
  return [id, `${id.slice(0, id.lastIndexOf(".") + 1)}other`];
}

export function replyEntry(code: number): Entry | undefined {
  return look(`reply.${code}`);
}

/** For a code such as "5.1.1". */
export function enhancedEntry(code: string): Entry | undefined {
  return look(`enhanced.${code}`);
}

export function keywordEntry(keyword: string): Entry | undefined {
  return look(`keyword.${keyword.toLowerCase()}`);
}

/** What an event is, in the book's words. */
export function eventEntry(e: TraceEvent): Entry | undefined {
  switch (e.layer) {
    case "smtp":
      switch (e.kind) {
        case "command": return look(`command.${e.data.verb.toLowerCase()}`);
        case "response": return look("command.response");
        case "message": return look("command.message");
        case "reply": return e.data.verb === "greeting" ? look("command.greeting") : replyEntry(e.data.code);
        default: return look(`event.smtp.${e.kind}`);
      }
    case "tls":
      if (e.kind === "record") return look(`tls.record.${e.data.type}`, "event.tls.record");
      if (e.kind === "decrypted") return look(`tls.handshake.${e.data.type}`);
      return look(`event.tls.${e.kind}`);
    case "tcp": {
      const flag = e.kind === "segment" ? /SYN|FIN|RST/.exec(e.data.segment?.flags ?? "")?.[0] : undefined;
      return look(flag && `tcp.flag.${flag.toLowerCase()}`, `event.tcp.${e.kind}`);
    }
    case "tunnel":
    case "dns":
    case "udp":
    case "ip":
    case "mail": return look(`event.${e.layer}.${e.kind}`);
    case "app": return e.kind === "error" ? look(`error.${e.data.code}`) : undefined;
  }
}
