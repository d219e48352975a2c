// One series over time: live or fixed, zoomable, with gaps and lost ranges, and the same as a table.
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useEffect, useMemo, useState } from 'react'
import { Button, ToggleButton } from 'react-aria-components'
import { api, type LedgerEntry, type Series, type SeriesData, serverNow } from '../api/client'
import { live, useLatest, useNow } from '../api/live'
import { span } from '../logic/age'
import {
  bounds,
  estimatedSpans,
  isLive,
  pan,
  searchOf,
  type Span,
  summary,
  toPlot,
  type View,
  viewOf,
  zoom,
} from '../logic/chart'
import { digitsOf, moment, number } from '../logic/format'
import { loss, lossCount, quality } from '../logic/quality'
import { gatewayPath, Link, navigate, useAddress } from '../router'
import { Chart } from '../ui/chart'
import page from '../ui/page.module.css'
import { Failure, Loading, Nothing } from '../ui/states'
import { AgeText, QualityText, ValueText } from '../ui/value'
import css from './series.module.css'

const PRESETS = [
  { name: '5 min', span: 300_000 },
  { name: '1 h', span: 3_600_000 },
  { name: '24 h', span: 86_400_000 },
  { name: '7 d', span: 7 * 86_400_000 },
]

/** Points asked for: about two a pixel of a wide chart; more cannot be seen. */
const POINTS = 1200

const refetchOf = (view: View) =>
  !isLive(view) ? false : view.span <= 900_000 ? 3000 : view.span <= 7_200_000 ? 10_000 : 60_000

function lostSpans(lost: readonly LedgerEntry[]): Span[] {
  return lost.flatMap((entry) =>
    entry.from_ms !== null && entry.from_ms !== undefined && entry.to_ms !== null && entry.to_ms !== undefined
      ? [
          {
            from: entry.from_ms,
            to: entry.to_ms,
            lost: true,
            label: `Lost: ${loss(entry.reason)}`,
            detail: lossCount(entry),
          },
        ]
      : [],
  )
}

function gapSpans(data: SeriesData): Span[] {
  return data.gaps.map((gap) => ({
    from: gap.from_ms,
    to: gap.to_ms,
    lost: false,
    label: gap.kind === 'missing' ? 'No readings' : 'No good readings',
    detail:
      gap.kind === 'missing'
        ? `nothing for ${span(gap.to_ms - gap.from_ms)}`
        : `${quality(gap.kind).words}, for ${span(gap.to_ms - gap.from_ms)}`,
  }))
}

function Estimated({ spans }: { spans: readonly Span[] }) {
  if (spans.length === 0) return null
  return (
    <section className={page.card} aria-labelledby="estimated-title">
      <div className={page.cardHead}>
        <h2 id="estimated-title">Estimated times</h2>
        <span className={page.muted}>{spans.length}</span>
      </div>
      <ul className={css.list} data-testid="estimated">
        {spans.map((one) => (
          <li key={one.from}>
            <strong>
              {moment(one.from)} – {moment(one.to)}
            </strong>
            <br />
            <span className={page.muted}>{one.detail}</span>
          </li>
        ))}
      </ul>
    </section>
  )
}

function Toolbar({ view, go, shown }: { view: View; go: (view: View) => void; shown: [number, number] }) {
  const now = useNow()
  return (
    <div className={css.tools} role="toolbar" aria-label="Time range">
      <div className={css.group}>
        {PRESETS.map((preset) => (
          <ToggleButton
            key={preset.name}
            className={page.button}
            isSelected={isLive(view) && view.span === preset.span}
            onChange={() => go({ span: preset.span })}
          >
            {preset.name}
          </ToggleButton>
        ))}
      </div>
      <div className={css.group}>
        <Button className={page.button} aria-label="Earlier" onPress={() => go(pan(view, -0.5, now))}>
          ←
        </Button>
        <Button
          className={page.button}
          aria-label="Later"
          isDisabled={isLive(view)}
          onPress={() => go(pan(view, 0.5, now))}
        >
          →
        </Button>
        <Button className={page.button} onPress={() => go(zoom(view, 0.5))}>
          Zoom in
        </Button>
        <Button className={page.button} onPress={() => go(zoom(view, 2))}>
          Zoom out
        </Button>
        <Button className={page.button} onPress={() => go({ span: 300_000 })}>
          Reset
        </Button>
      </div>
      <span className={css.range} data-testid="range">
        {isLive(view) ? (
          <span className={`${page.tag} ${css.live}`}>live · last {span(view.span)}</span>
        ) : (
          <>
            {moment(shown[0])} – {moment(shown[1])}
          </>
        )}
      </span>
    </div>
  )
}

function DataTable({ data, show }: { data: SeriesData; show: (value: number) => string }) {
  const cell = (value: number | null | undefined) =>
    value === null || value === undefined ? '—' : show(value)
  const { samples, buckets } = data
  const texts = buckets !== null && buckets !== undefined && buckets.last_text.length > 0
  return (
    // Scrollable regions must be reachable by keyboard.
    <div className={css.data} tabIndex={0} role="region" aria-label="Data">
      <table className={page.table}>
        <caption className="sr-only">
          {data.series.point} in {data.series.unit || 'no unit'}
        </caption>
        {samples ? (
          <>
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col" className={page.number}>
                  Value
                </th>
                <th scope="col">Quality</th>
              </tr>
            </thead>
            <tbody>
              {samples.t.map((t, i) => (
                <tr key={`${t}-${i}`}>
                  <td className={page.nowrap}>{moment(t)}</td>
                  <td className={page.number}>
                    {samples.text[i] ?? '—'}
                  </td>
                  <td>{quality(samples.quality[i] ?? '').words}</td>
                </tr>
              ))}
            </tbody>
          </>
        ) : buckets ? (
          <>
            <thead>
              <tr>
                <th scope="col">From ({span(buckets.width_ms)})</th>
                {(texts ? ['Last', 'Readings', 'Bad'] : ['Smallest', 'Mean', 'Largest', 'Readings', 'Bad']).map(
                  (name) => (
                    <th key={name} scope="col" className={page.number}>
                      {name}
                    </th>
                  ),
                )}
              </tr>
            </thead>
            <tbody>
              {buckets.t.map((t, i) => (
                <tr key={t}>
                  <td className={page.nowrap}>{moment(t)}</td>
                  {texts ? (
                    <td className={page.number}>{buckets.last_text[i] ?? '—'}</td>
                  ) : (
                    <>
                      <td className={page.number}>{cell(buckets.min[i])}</td>
                      <td className={page.number}>{cell(buckets.avg[i])}</td>
                      <td className={page.number}>{cell(buckets.max[i])}</td>
                    </>
                  )}
                  <td className={page.number}>{buckets.count[i]}</td>
                  <td className={page.number}>{buckets.bad[i]}</td>
                </tr>
              ))}
            </tbody>
          </>
        ) : null}
      </table>
    </div>
  )
}

function Lists({ data }: { data: SeriesData }) {
  const gaps = gapSpans(data)
  return (
    <div className={css.lists}>
      <section className={page.card} aria-labelledby="lost-title">
        <div className={page.cardHead}>
          <h2 id="lost-title">Lost in this range</h2>
          <span className={page.muted}>{data.lost.length || 'nothing'}</span>
        </div>
        {data.lost.length > 0 ? (
          <ul className={css.list} data-testid="lost">
            {data.lost.map((entry) => (
              <li key={entry.id} className={css.lost}>
                <strong>{loss(entry.reason)}</strong> · {lossCount(entry)}
                <br />
                <span className={page.muted}>
                  {moment(entry.from_ms)} – {moment(entry.to_ms)}
                </span>
              </li>
            ))}
          </ul>
        ) : (
          <p className={css.none}>The loss ledger has no entry for these times.</p>
        )}
      </section>
      <section className={page.card} aria-labelledby="gaps-title">
        <div className={page.cardHead}>
          <h2 id="gaps-title">Gaps in this range</h2>
          <span className={page.muted}>{gaps.length || 'none'}</span>
        </div>
        {gaps.length > 0 ? (
          <ul className={css.list} data-testid="gaps">
            {gaps.slice(0, 50).map((gap) => (
              <li key={`${gap.from}-${gap.to}`}>
                <strong>{gap.label}</strong> · {gap.detail}
                <br />
                <span className={page.muted}>
                  {moment(gap.from)} – {moment(gap.to)}
                </span>
              </li>
            ))}
            {gaps.length > 50 ? <li className={page.muted}>and {gaps.length - 50} more</li> : null}
          </ul>
        ) : (
          <p className={css.none}>Readings came at the usual pace all the time.</p>
        )}
      </section>
    </div>
  )
}

function Body({ series, view, go }: { series: Series; view: View; go: (view: View) => void }) {
  const now = useNow()
  const newest = useLatest(series.id)
  const key = searchOf(view)
  const query = useQuery({
    queryKey: ['data', series.id, key],
    queryFn: ({ signal }) => {
      const { from, to } = bounds(view, serverNow())
      return api.data(series.id, Math.round(from), Math.round(to), POINTS, signal)
    },
    placeholderData: keepPreviousData,
    refetchInterval: refetchOf(view),
  })
  const [table, setTable] = useState(false)
  const digits = series.scale === 1 ? undefined : digitsOf(series.scale)
  const unit = series.unit ? `\u00a0${series.unit}` : ''
  const show = useMemo(() => {
    if (series.value_type === 'bool') return (v: number) => (v >= 1 ? 'on' : v <= 0 ? 'off' : `on ${Math.round(v * 100)}\u00a0%`)
    return (v: number) => `${number(v, digits)}${unit}`
  }, [series.value_type, digits, unit])
  const data = query.data
  const moving = isLive(view)
  // The newest value is listed because it means a new tail.
  const plot = useMemo(
    () => (data ? toPlot(data, moving ? live.tail(series.id) : []) : undefined),
    [data, moving, series.id, newest],
  )
  const spans = useMemo(
    () => (data
        ? { gaps: gapSpans(data), lost: lostSpans(data.lost), estimated: estimatedSpans(data) }
        : undefined),
    [data],
  )
  const { from, to } = bounds(view, now)
  const drawn = series.value_type !== 'text' && series.value_type !== 'bytes'
  const sum = data ? summary(data) : undefined
  const words =
    data && sum
      ? `${sum.count} readings${sum.bad > 0 ? `, ${sum.bad} of them bad` : ''}` +
        (sum.min !== null && sum.max !== null
          ? `, from ${show(sum.min)} to ${show(sum.max)}`
          : '') +
        (sum.last !== null ? `, last ${show(sum.last)}` : '')
      : ''
  const troubles = data ? `${data.gaps.length} gaps, ${data.lost.length} lost ranges` : ''
  return (
    <>
      <section className={page.card} aria-label="Chart">
        <Toolbar view={view} go={go} shown={[from, to]} />
        {query.error && !data ? (
          <Failure error={query.error} retry={() => void query.refetch()} />
        ) : !data || !plot || !spans ? (
          <Loading what="readings" />
        ) : !drawn ? (
          <Nothing title="Texts have no chart" text="The readings stand in the table below." />
        ) : (
          <div className={query.isPlaceholderData ? css.waiting : undefined}>
            <Chart
              plot={plot}
              from={from}
              to={to}
              gaps={spans.gaps}
              lost={spans.lost}
              estimated={spans.estimated}
              switched={series.value_type === 'bool'}
              stepped={series.value_type === 'bool' && data.samples !== null}
              banded={data.buckets !== null && data.buckets !== undefined}
              show={show}
              label={`${series.device} ${series.point} over time: ${words}; ${troubles}`}
              onZoom={(a, b) => b - a >= 500 && go({ from: a, to: b })}
            />
            {plot.line.every((value) => value === null) ? (
              <p className={css.over}>No good reading in this range</p>
            ) : null}
          </div>
        )}
        <div className={css.below}>
          <span data-testid="summary">{words}</span>
          {data?.buckets && drawn ? (
            <span className={page.muted}>
              one point per {span(data.buckets.width_ms)}; the band runs from smallest to largest
            </span>
          ) : null}
          {drawn ? (
            <ToggleButton
              className={`${page.button} ${page.end}`}
              isSelected={table}
              onChange={setTable}
            >
              View as data
            </ToggleButton>
          ) : null}
        </div>
        {data && (table || !drawn) ? <DataTable data={data} show={show} /> : null}
      </section>
      {spans ? <Estimated spans={spans.estimated} /> : null}
      {data ? <Lists data={data} /> : null}
    </>
  )
}

export function SeriesPage({ id }: { id: number }) {
  const { search } = useAddress()
  const series = useQuery({ queryKey: ['series', id], queryFn: () => api.series(id), staleTime: 60_000 })
  const latest = useLatest(id)
  const text = search.toString()
  const view = useMemo(() => viewOf(new URLSearchParams(text)), [text])
  const gateway = series.data?.gateway
  const seed = useQuery({
    queryKey: ['latest', gateway],
    queryFn: () => api.latest(gateway ?? ''),
    enabled: gateway !== undefined && latest === undefined,
  })
  useEffect(() => {
    for (const value of seed.data ?? []) live.put(value)
  }, [seed.data])
  useEffect(() => {
    if (series.data) document.title = `${series.data.point} · ${series.data.device} · Fogline`
  }, [series.data])
  if (series.error) return <Failure error={series.error} retry={() => void series.refetch()} />
  if (!series.data) return <Loading what="the series" />
  const one = series.data
  return (
    <>
      <nav aria-label="Where" className={page.crumbs}>
        <Link href="/">Gateways</Link> / <Link href={gatewayPath(one.gateway)}>{one.gateway}</Link> /{' '}
        <Link href={`${gatewayPath(one.gateway)}#${one.device}`}>{one.device}</Link>
      </nav>
      <div className={page.head}>
        <h1>{one.point}</h1>
        <span className={css.now} data-testid="now">
          <ValueText series={one} latest={latest} />
        </span>
        <QualityText latest={latest} />
        <AgeText latest={latest} />
      </div>
      <Body series={one} view={view} go={(next) => navigate(`/series/${id}${searchOf(next)}`)} />
    </>
  )
}
