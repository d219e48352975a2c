// Alarms in words: levels, states, counts, and what filters saved. Pure.
import { bytes } from './format'

export type AlarmLevel = 'low' | 'medium' | 'high' | 'critical'
export type AlarmState = 'raised' | 'acknowledged' | 'returned' | 'normal'

const LEVELS: readonly AlarmLevel[] = ['low', 'medium', 'high', 'critical']

/** The level with this name; an unknown one is taken seriously. */
export const levelOf = (name: string): AlarmLevel => LEVELS.find((level) => level === name) ?? 'critical'

const STATES: Record<string, { words: string; detail: string }> = {
  raised: { words: 'raised', detail: 'nobody said yet that they know' },
  acknowledged: { words: 'acknowledged', detail: 'somebody on site knows; its cause is still there' },
  returned: { words: 'over, not acknowledged', detail: 'its cause is gone; it stays until somebody says they know' },
  normal: { words: 'over', detail: 'its cause is gone' },
}

/** A state in words. */
export const stateOf = (state: string) => STATES[state] ?? { words: state, detail: '' }

export interface Counts {
  raised: number
  acknowledged: number
  returned: number
  shelved: number
  worst?: string | null
}

/** Open alarms that somebody should see; those put aside on site are not among them. */
export const openOf = (counts: Counts) => counts.raised + counts.acknowledged + counts.returned

/** Counts in words: "2 raised · 1 acknowledged"; empty where none is open. */
export function countsText(counts: Counts): string {
  const parts: [number, string][] = [
    [counts.raised, 'raised'],
    [counts.acknowledged, 'acknowledged'],
    [counts.returned, 'over, not acknowledged'],
    [counts.shelved, 'shelved'],
  ]
  return parts
    .filter(([count]) => count > 0)
    .map(([count, words]) => `${count} ${words}`)
    .join(' · ')
}

export interface Traffic {
  taken: number
  filtered: number
  bytes_saved?: number | null
}

/** A share in percent: whole numbers, but never 100 while something is left, nor 0 while something is. */
export function percent(part: number, whole: number): string {
  if (whole <= 0) return '0 %'
  const share = (part / whole) * 100
  if (part > 0 && share < 1) return '< 1 %'
  if (part < whole && share > 99) return '> 99 %'
  return `${Math.round(share)} %`
}

/** "83 % of readings, 1.2 MiB"; nothing where no filter left anything out. */
export function savedText(traffic: Traffic): string | undefined {
  if (traffic.filtered === 0) return undefined
  const share = `${percent(traffic.filtered, traffic.taken)} of readings`
  const saved = traffic.bytes_saved
  return saved === null || saved === undefined ? share : `${share}, about ${bytes(saved)}`
}
