// One live value: number and unit, quality in words when it is not good, age, and greyed when stale.
import type { Latest, Series } from '../api/client'
import { live, useLatest, useNow } from '../api/live'
import { ago, ageOf, isStale, sinceOf, span } from '../logic/age'
import { moment, utc, value } from '../logic/format'
import { quality } from '../logic/quality'
import css from './value.module.css'

export function ageText(latest: Latest, now: number): string {
  const since = sinceOf(latest)
  return isStale(latest, now) ? `stale ${span(ageOf(now, since))}` : ago(now, since)
}

const confirmedText = (latest: Latest) =>
  typeof latest.confirmed_ms === 'number'
    ? `\nunchanged, last confirmed at ${moment(latest.confirmed_ms)}`
    : ''

export function ValueText({ series, latest }: { series: Series; latest: Latest | undefined }) {
  const now = useNow()
  if (!latest) return <span className={css.none}>no reading yet</span>
  const stale = isStale(latest, now)
  const bad = quality(latest.quality).level === 'bad'
  return (
    <span className={`${css.value} ${stale ? css.stale : ''} ${bad ? css.bad : ''}`}>
      <span className={css.number}>{value(latest, series)}</span>
      {series.unit && latest.text !== null ? <span className={css.unit}>{series.unit}</span> : null}
    </span>
  )
}

export function AgeText({ latest }: { latest: Latest | undefined }) {
  const now = useNow()
  if (!latest) return <span className={css.none}>never</span>
  const stale = isStale(latest, now)
  return (
    <time
      className={stale ? css.staleAge : css.age}
      dateTime={utc(latest.time_ms)}
      title={`taken ${moment(latest.time_ms)}\ncame ${moment(latest.received_ms)}${confirmedText(latest)}\n${utc(latest.time_ms)}`}
      data-stale={stale || undefined}
    >
      {ageText(latest, now)}
    </time>
  )
}

export function QualityText({ latest }: { latest: Latest | undefined }) {
  if (!latest) return null
  const { level, words } = quality(latest.quality)
  return (
    <span className={`${css.quality} ${css[level]}`}>
      {level === 'good' ? 'good' : `${level}: ${words}`}
      {latest.suspect ? ' · time doubtful' : ''}
    </span>
  )
}

/** The last two minutes or so, as a line without axes: shape only, the number stands beside it. */
export function Sparkline({ series }: { series: number }) {
  useLatest(series)
  const tail = live.tail(series)
  const known = tail.filter((point) => point.v !== null) as { t: number; v: number }[]
  if (known.length < 2) return <svg className={css.spark} aria-hidden="true" />
  const [first, last] = [known[0], known.at(-1)]
  if (!first || !last) return null
  const values = known.map((point) => point.v)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const width = Math.max(1, last.t - first.t)
  const height = high - low || 1
  let path = ''
  let pen = false
  for (const { t, v } of tail) {
    if (v === null) {
      pen = false
      continue
    }
    const x = (((t - first.t) / width) * 96 + 2).toFixed(1)
    const y = (high === low ? 11 : 20 - ((v - low) / height) * 18).toFixed(1)
    path += `${pen ? 'L' : 'M'}${x} ${y}`
    pen = true
  }
  return (
    <svg className={css.spark} viewBox="0 0 100 22" preserveAspectRatio="none" aria-hidden="true">
      <path d={path} />
    </svg>
  )
}
