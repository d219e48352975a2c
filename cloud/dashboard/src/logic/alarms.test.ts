import { describe, expect, it } from 'vitest'
import { countsText, levelOf, openOf, percent, savedText, stateOf } from './alarms'

describe('alarms', () => {
  it('says counts in words and leaves out what is not there', () => {
    const counts = { raised: 2, acknowledged: 0, returned: 1, shelved: 3 }
    expect(countsText(counts)).toBe('2 raised · 1 over, not acknowledged · 3 shelved')
    expect(openOf(counts)).toBe(3)
    expect(countsText({ raised: 0, acknowledged: 0, returned: 0, shelved: 0 })).toBe('')
  })
  it('takes words of a newer gateway seriously and shows them as they are', () => {
    expect(levelOf('apocalyptic')).toBe('critical')
    expect(levelOf('low')).toBe('low')
    expect(stateOf('suppressed').words).toBe('suppressed')
  })
  it('never rounds a share to all or nothing', () => {
    expect(percent(999, 1000)).toBe('> 99 %')
    expect(percent(1, 1000)).toBe('< 1 %')
    expect(percent(1000, 1000)).toBe('100 %')
    expect(percent(0, 1000)).toBe('0 %')
    expect(percent(0, 0)).toBe('0 %')
    expect(percent(83, 100)).toBe('83 %')
  })
  it('says what filters saved, without bytes where there is no price', () => {
    expect(savedText({ taken: 100, filtered: 83, bytes_saved: 1_258_291 })).toBe('83 % of readings, about 1.2 MiB')
    expect(savedText({ taken: 5, filtered: 5, bytes_saved: null })).toBe('100 % of readings')
    expect(savedText({ taken: 100, filtered: 0, bytes_saved: 0 })).toBeUndefined()
  })
})
