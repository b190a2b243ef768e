/** How many of so many things, in order, come before what is looked for: binary search. */
export function countBefore(length: number, before: (i: number) => boolean): number {
  let lo = 0, hi = length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (before(mid)) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** How many events there are up to a time. */
export function eventsUntil(events: readonly { t: number }[], t: number): number {
  return countBefore(events.length, (i) => events[i]!.t <= t);
}
