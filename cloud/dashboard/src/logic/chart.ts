// From the API's columns to uPlot's: one x axis in seconds, nulls where the line must break, and the
// live tail behind the history.
import type { SeriesData } from '../api/client'
import type { TailPoint } from '../api/live'
import { span } from './age'

type Maybe = number | null
export interface Plot {
  /** Seconds since 1970, ascending. */
  x: number[]
  /** The line: the value, or the mean of a bucket. */
  line: Maybe[]
  /** Lower edge of the band; equals the line where samples are drawn. */
  min: Maybe[]
  /** Upper edge of the band. */
  max: Maybe[]
}

interface Row {
  t: number
  line: Maybe
  min: Maybe
  max: Maybe
}

/**
 * Builds the columns. A gap breaks the line by a row of nulls in its middle, so that nothing is drawn
 * across it; a row of nulls is also put before a tail that does not follow on.
 */
export function toPlot(data: SeriesData, tail: readonly TailPoint[] = []): Plot {
  const rows: Row[] = []
  const { samples, buckets } = data
  if (samples) {
    samples.t.forEach((t, i) => {
      const v = samples.number[i] ?? null
      rows.push({ t, line: v, min: v, max: v })
    })
  } else if (buckets) {
    // A bucket stands for its span: drawn in its middle, but never outside what was asked.
    const half = buckets.width_ms / 2
    buckets.t.forEach((start, i) => {
      const t = Math.min(Math.max(start + half, data.from_ms), data.to_ms)
      const min = buckets.min[i] ?? null
      const max = buckets.max[i] ?? null
      rows.push({ t, line: buckets.avg[i] ?? buckets.last[i] ?? null, min, max })
    })
  }
  const end = rows.at(-1)?.t ?? -Infinity
  for (const point of tail) {
    if (point.t > end) rows.push({ t: point.t, line: point.v, min: point.v, max: point.v })
  }
  for (const gap of data.gaps) {
    if (gap.to_ms <= gap.from_ms) continue
    rows.push({ t: (gap.from_ms + gap.to_ms) / 2, line: null, min: null, max: null })
  }
  rows.sort((a, b) => a.t - b.t)
  const plot: Plot = { x: [], line: [], min: [], max: [] }
  for (const row of rows) {
    // uPlot wants strictly ascending x; of two rows at one moment the one with a value stays.
    const same = plot.x.at(-1) === row.t / 1000
    if (same && row.line === null) continue
    if (same) for (const column of [plot.x, plot.line, plot.min, plot.max]) column.pop()
    plot.x.push(row.t / 1000)
    plot.line.push(row.line)
    plot.min.push(row.min)
    plot.max.push(row.max)
  }
  return plot
}

export interface Span {
  from: number
  to: number
  /** Known to be lost, not just silent. */
  lost: boolean
  label: string
  detail: string
}

/** Where times are estimated: the gateway had no clock and was placed between its neighbours. */
export function estimatedSpans(data: SeriesData): Span[] {
  return data.estimated.map((one) => ({
    from: one.from_ms,
    to: one.to_ms,
    lost: false,
    label: 'Estimated time',
    detail: `the gateway had no clock; all of it may lie up to ${span(one.uncertainty_ms)} earlier or later`,
  }))
}

/** Index of the sample nearest to a moment; undefined when there is none. */
export function nearest(x: readonly number[], at: number): number | undefined {
  if (x.length === 0) return undefined
  let low = 0
  let high = x.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((x[middle] ?? 0) < at) low = middle + 1
    else high = middle
  }
  const before = Math.max(0, low - 1)
  return at - (x[before] ?? at) < (x[low] ?? at) - at ? before : low
}

export interface Summary {
  count: number
  bad: number
  min: Maybe
  max: Maybe
  first: Maybe
  last: Maybe
}

/** What the chart shows, in numbers: for screen readers and the line under the chart. */
export function summary(data: SeriesData): Summary {
  const sum: Summary = { count: 0, bad: 0, min: null, max: null, first: null, last: null }
  const take = (min: Maybe, max: Maybe) => {
    if (min !== null && (sum.min === null || min < sum.min)) sum.min = min
    if (max !== null && (sum.max === null || max > sum.max)) sum.max = max
  }
  const { samples, buckets } = data
  if (samples) {
    sum.count = samples.t.length
    sum.bad = samples.quality.filter((quality) => quality.startsWith('bad')).length
    const values = samples.number.map((v) => v ?? null)
    for (const v of values) take(v, v)
    sum.first = values.find((v) => v !== null) ?? null
    sum.last = values.findLast((v) => v !== null) ?? null
  } else if (buckets) {
    sum.count = buckets.count.reduce((a, b) => a + b, 0)
    sum.bad = buckets.bad.reduce((a, b) => a + b, 0)
    buckets.min.forEach((min, i) => take(min ?? null, buckets.max[i] ?? null))
    sum.first = buckets.first.find((v) => v !== null && v !== undefined) ?? null
    sum.last = buckets.last.findLast((v) => v !== null && v !== undefined) ?? null
  }
  return sum
}

/** The view of a chart: the last so many milliseconds, moving; or fixed. */
export type View = { span: number } | { from: number; to: number }

const SHORTEST = 1000
const LONGEST = 3650 * 86_400_000

export const isLive = (view: View): view is { span: number } => 'span' in view

export const bounds = (view: View, now: number) =>
  isLive(view) ? { from: now - view.span, to: now } : view

/** Zooms around the middle; factor 2 shows twice as much. A live view stays live. */
export function zoom(view: View, factor: number): View {
  if (isLive(view)) return { span: clamp(view.span * factor) }
  const middle = (view.from + view.to) / 2
  const half = clamp((view.to - view.from) * factor) / 2
  return { from: Math.max(0, Math.round(middle - half)), to: Math.round(middle + half) }
}

/** Moves by a share of what is shown; forward beyond now becomes live again. */
export function pan(view: View, share: number, now: number): View {
  const { from, to } = bounds(view, now)
  const width = to - from
  const by = Math.round(width * share)
  if (to + by >= now) return { span: width }
  return { from: Math.max(0, from + by), to: to + by }
}

const clamp = (ms: number) => Math.min(Math.max(Math.round(ms), SHORTEST), LONGEST)

/** The view that the address names; five minutes live when it names none or a broken one. */
export function viewOf(search: URLSearchParams): View {
  const whole = (name: string) => {
    const text = search.get(name)
    return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined
  }
  const from = whole('from')
  const to = whole('to')
  if (from !== undefined && to !== undefined && from < to) return { from, to }
  return { span: clamp((whole('span') ?? 300) * 1000) }
}

export function searchOf(view: View): string {
  return isLive(view)
    ? `?span=${Math.round(view.span / 1000)}`
    : `?from=${Math.round(view.from)}&to=${Math.round(view.to)}`
}
