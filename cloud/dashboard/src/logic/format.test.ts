import { describe, expect, it } from 'vitest'
import { bytes, digitsOf, number, value } from './format'

const of = (value_type: string, scale = 1) => ({ value_type, scale })

describe('format', () => {
  it('shows the digits of the decimal grid', () => {
    expect(digitsOf(0.1)).toBe(1)
    expect(digitsOf(0.001)).toBe(3)
    expect(digitsOf(0.5)).toBe(1)
    expect(digitsOf(10)).toBe(0)
    expect(digitsOf(0)).toBeUndefined()
    expect(value({ text: '229.8', number: 229.8 }, of('f64', 0.01))).toBe('229.80')
  })
  it('shows seven digits at most, but all before the point', () => {
    expect(number(12.420000067, 9)).toBe('12.42000')
    expect(number(123456789.25, 2)).toBe('123\u2009456\u2009789')
    expect(number(0.000123, 9)).toBe('0.000123')
    expect(number(-5.5, 1)).toBe('-5.5')
  })
  it('never loses digits of an integer', () => {
    const text = '18446744073709551615'
    expect(value({ text, number: Number(text) }, of('u64')).replaceAll('\u2009', '')).toBe(text)
    expect(value({ text: '-9007199254740993', number: 0 }, of('i64')).replaceAll('\u2009', '')).toBe(
      '-9007199254740993',
    )
  })
  it('says that there is no value, and tells switches in words', () => {
    expect(value({ text: null, number: null }, of('f64'))).toBe('—')
    expect(value({ text: 'true', number: 1 }, of('bool'))).toBe('on')
  })
  it('keeps very small and very large numbers readable', () => {
    expect(number(0.00001234)).toBe('1.234e-5')
    expect(number(1234567)).toBe('1\u2009234\u2009567')
    expect(number(0)).toBe('0')
    expect(bytes(1536)).toBe('1.5 KiB')
    expect(bytes(12)).toBe('12 B')
  })
})
