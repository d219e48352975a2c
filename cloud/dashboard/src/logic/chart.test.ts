import { describe, expect, it } from 'vitest'
import type { SeriesData } from '../api/client'
import { bounds, estimatedSpans, isLive, nearest, pan, searchOf, summary, toPlot, viewOf, zoom } from './chart'

const empty: SeriesData = {
  series: {
    id: 1,
    gateway: 'g',
    device: 'd',
    point: 'p',
    value_type: 'f64',
    unit: 'V',
    scale: 0.1,
  },
  from_ms: 0,
  to_ms: 10_000,
  samples: null,
  buckets: null,
  gaps: [],
  lost: [],
  estimated: [],
}

const sampled = (t: number[], number: (number | null)[]): SeriesData => ({
  ...empty,
  samples: {
    t,
    number,
    text: number.map((v) => (v === null ? null : String(v))),
    quality: number.map((v) => (v === null ? 'bad:timeout' : 'good')),
  },
})

const bucketed = (): SeriesData => ({
  ...empty,
  buckets: {
    width_ms: 2000,
    t: [0, 2000, 8000],
    min: [1, 2, null],
    max: [5, 900, null],
    first: [2, 3, null],
    last: [4, 8, null],
    last_text: [],
    avg: [3, 20, null],
    count: [10, 10, 4],
    bad: [0, 1, 4],
  },
})

describe('plot', () => {
  it('breaks the line in the middle of a gap', () => {
    const data = sampled([1000, 2000, 8000], [1, 2, 3])
    data.gaps = [{ from_ms: 2000, to_ms: 8000, kind: 'missing' }]
    const plot = toPlot(data)
    expect(plot.x).toEqual([1, 2, 5, 8])
    expect(plot.line).toEqual([1, 2, null, 3])
  })
  it('breaks the line at bad readings', () => {
    expect(toPlot(sampled([1, 2, 3], [1, null, 3])).line).toEqual([1, null, 3])
  })
  it('keeps the peak of a bucket in the band', () => {
    const plot = toPlot(bucketed())
    expect(plot.x).toEqual([1, 3, 9])
    expect(plot.max[1]).toBe(900)
    expect(plot.min[1]).toBe(2)
    expect(plot.line[2]).toBeNull()
  })
  it('keeps buckets that reach beyond the range inside it', () => {
    const data = { ...bucketed(), from_ms: 1500, to_ms: 8500 }
    expect(toPlot(data).x).toEqual([1.5, 3, 8.5])
  })
  it('appends only what is newer than the history', () => {
    const tail = [
      { t: 1500, v: 9 },
      { t: 2000, v: 9 },
      { t: 2500, v: 7 },
    ]
    const plot = toPlot(sampled([1000, 2000], [1, 2]), tail)
    expect(plot.x).toEqual([1, 2, 2.5])
    expect(plot.line).toEqual([1, 2, 7])
  })
  it('has strictly ascending times whatever comes', () => {
    const data = sampled([1000, 1000, 1000, 2000], [1, null, 3, 4])
    data.gaps = [{ from_ms: 500, to_ms: 1500, kind: 'missing' }]
    const { x } = toPlot(data)
    expect(x).toEqual([...new Set(x)].sort((a, b) => a - b))
  })
  it('finds the nearest moment', () => {
    expect(nearest([], 1)).toBeUndefined()
    expect(nearest([1, 2, 10], 5)).toBe(1)
    expect(nearest([1, 2, 10], 7)).toBe(2)
    expect(nearest([1, 2, 10], -5)).toBe(0)
  })
})

describe('summary', () => {
  it('is the same story for samples and buckets', () => {
    expect(summary(sampled([1, 2, 3], [4, null, 2]))).toEqual({
      count: 3,
      bad: 1,
      min: 2,
      max: 4,
      first: 4,
      last: 2,
    })
    expect(summary(bucketed())).toEqual({ count: 24, bad: 5, min: 1, max: 900, first: 2, last: 8 })
    expect(summary(empty).min).toBeNull()
  })
})

describe('view', () => {
  it('travels through the address', () => {
    for (const view of [{ span: 300_000 }, { from: 1000, to: 2000 }]) {
      expect(viewOf(new URLSearchParams(searchOf(view)))).toEqual(view)
    }
  })
  it('is five minutes live when the address is broken', () => {
    for (const text of ['', '?from=9&to=3', '?from=x&to=5', '?span=-4', '?span=1e99']) {
      expect(viewOf(new URLSearchParams(text))).toEqual({ span: 300_000 })
    }
  })
  it('stays live when zoomed, and becomes live when moved beyond now', () => {
    expect(zoom({ span: 300_000 }, 2)).toEqual({ span: 600_000 })
    expect(zoom({ from: 1000, to: 3000 }, 0.5)).toEqual({ from: 1500, to: 2500 })
    expect(pan({ from: 1000, to: 3000 }, -0.5, 9000)).toEqual({ from: 0, to: 2000 })
    expect(isLive(pan({ from: 7000, to: 8500 }, 0.5, 9000))).toBe(true)
    expect(bounds({ span: 1000 }, 9000)).toEqual({ from: 8000, to: 9000 })
  })
})

describe('times that nobody looked at a clock for', () => {
  it('are named with how far off they may be', () => {
    const estimated = [{ from_ms: 1000, to_ms: 5000, uncertainty_ms: 400_000 }]
    const [one] = estimatedSpans({ ...empty, estimated })
    expect([one?.from, one?.to, one?.lost]).toEqual([1000, 5000, false])
    expect(one?.detail).toContain('6 min')
    expect(estimatedSpans(empty)).toEqual([])
  })
})
