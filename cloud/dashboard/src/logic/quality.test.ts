import { describe, expect, it } from 'vitest'
import { loss, lossCount, quality } from './quality'

describe('quality', () => {
  it('tells level and reason', () => {
    expect(quality('good')).toEqual({ level: 'good', words: 'good' })
    expect(quality('bad:timeout')).toEqual({ level: 'bad', words: 'no answer' })
    expect(quality('uncertain:clock-unsynced').level).toBe('uncertain')
  })
  it('shows an unknown reason as it is and never as good', () => {
    expect(quality('bad:new-reason')).toEqual({ level: 'bad', words: 'new-reason' })
    expect(quality('odd').level).toBe('bad')
  })
  it('never claims to know how much was lost', () => {
    expect(loss('crash-tail')).toBe('the gateway stopped hard')
    expect(lossCount({ readings: 7, at_most: null, upper_bound: false })).toBe('7 readings')
    expect(lossCount({ readings: 7, at_most: null, upper_bound: true })).toBe('at most 7 readings')
    expect(lossCount({ readings: null, at_most: 40, upper_bound: false })).toBe('at most 40 readings')
    expect(lossCount({ readings: null, at_most: null, upper_bound: false })).toMatch('unknown')
  })
})
