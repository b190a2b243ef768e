import type { ReactiveControllerHost } from "lit";

/** Tells an element of its sizes, as long as it is in the document. */
export function resized(host: ReactiveControllerHost & Element, changed: (entries: ResizeObserverEntry[]) => void): void {
  const observer = new ResizeObserver(changed);
  host.addController({ hostConnected: () => observer.observe(host), hostDisconnected: () => observer.disconnect() });
}
