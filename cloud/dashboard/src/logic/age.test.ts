import { describe, expect, it } from 'vitest'
import { ageOf, ago, isStale, span } from './age'

describe('age', () => {
  it('is never negative when clocks disagree', () => {
    expect(ageOf(1000, 5000)).toBe(0)
  })
  it('is told in one unit', () => {
    expect(span(0)).toBe('0 s')
    expect(span(59_999)).toBe('59 s')
    expect(span(12 * 60_000)).toBe('12 min')
    expect(span(3 * 3_600_000)).toBe('3 h')
    expect(span(50 * 3_600_000)).toBe('2 d')
  })
  it('says never where nothing ever came', () => {
    expect(ago(1000, null)).toBe('never')
    expect(ago(1000, 900)).toBe('now')
    expect(ago(13_000, 1000)).toBe('12 s ago')
  })
  it('a value is stale only beyond its own limit', () => {
    const value = { time_ms: 0, received_ms: 0, stale_after_ms: 5000 }
    expect(isStale(value, 5000)).toBe(false)
    expect(isStale(value, 5001)).toBe(true)
  })
  it('backlog that just came is old, and a clock ahead makes nothing young', () => {
    const backlog = { time_ms: 0, received_ms: 60_000, stale_after_ms: 5000 }
    expect(isStale(backlog, 60_000)).toBe(true)
    const ahead = { time_ms: 90_000, received_ms: 0, stale_after_ms: 5000 }
    expect(isStale(ahead, 60_000)).toBe(true)
  })
  it('a value that was confirmed is as young as the reading that did so', () => {
    const quiet = { time_ms: 0, received_ms: 0, stale_after_ms: 5000 }
    const confirmed = { ...quiet, confirmed_ms: 59_000, confirmed_received_ms: 60_000 }
    expect(isStale(confirmed, 61_000)).toBe(false)
    const late = { ...quiet, confirmed_ms: 1000, confirmed_received_ms: 60_000 }
    expect(isStale(late, 61_000)).toBe(true)
    expect(isStale({ ...quiet, confirmed_ms: null, confirmed_received_ms: null }, 61_000)).toBe(true)
  })
})
