// Ages and staleness: how old a value is, in words, and when that is too old.

interface Stamped {
  time_ms: number
  received_ms: number
  confirmed_ms?: number | null
  confirmed_received_ms?: number | null
}

export interface Aged extends Stamped {
  stale_after_ms: number
}

/** Age in milliseconds; clocks that disagree never make it negative. */
export const ageOf = (nowMs: number, thenMs: number) => Math.max(0, nowMs - thenMs)

/**
 * Since when a value is as it is: the older of when it was taken and when it came. Backlog that just
 * came is old; a gateway whose clock runs ahead makes nothing younger. A clock that runs behind makes
 * values look older than they are: the safe side, and its offset stands on the gateway's page. A sign
 * of life makes a value as young as the reading that confirmed it, by the same rule.
 */
export function sinceOf(value: Stamped): number {
  const since = Math.min(value.time_ms, value.received_ms)
  const { confirmed_ms: at, confirmed_received_ms: came } = value
  return typeof at === 'number' && typeof came === 'number' ? Math.max(since, Math.min(at, came)) : since
}

export const isStale = (value: Aged, nowMs: number) =>
  ageOf(nowMs, sinceOf(value)) > value.stale_after_ms

/** A span in words, one unit: 0 s, 59 s, 12 min, 3 h, 2 d. */
export function span(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${hours} h`
  return `${Math.floor(hours / 24)} d`
}

/** "now", "12 s ago", "never". */
export function ago(nowMs: number, thenMs: number | null | undefined): string {
  if (thenMs === null || thenMs === undefined) return 'never'
  const age = ageOf(nowMs, thenMs)
  return age < 1500 ? 'now' : `${span(age)} ago`
}
