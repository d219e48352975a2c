// One gateway: the four truths, what it runs, and every point of every device.
import { useQuery } from '@tanstack/react-query'
import { useEffect, useMemo, useState } from 'react'
import { Checkbox, Input, SearchField } from 'react-aria-components'
import { api, type Device, type Gateway, type Series } from '../api/client'
import { live, useLatest, useNow } from '../api/live'
import { ago, isStale, span } from '../logic/age'
import { countsText, savedText } from '../logic/alarms'
import { bytes, moment, number } from '../logic/format'
import { quality } from '../logic/quality'
import { linkLevel } from '../logic/truths'
import { alarmsPath, eventsPath, Link, navigate, seriesPath } from '../router'
import { Mark } from '../ui/mark'
import page from '../ui/page.module.css'
import { Failure, Loading, Nothing } from '../ui/states'
import { Truths } from '../ui/truths'
import { AgeText, QualityText, Sparkline, ValueText } from '../ui/value'
import css from './gateway.module.css'
import { AlarmTag, useGateway } from './gateways'

function Facts({ gateway }: { gateway: Gateway }) {
  const { hello } = gateway
  const facts: [string, React.ReactNode][] = [['Certificate until', moment(gateway.certificate_until_ms)]]
  if (hello) {
    const used = hello.spool_quota_bytes > 0 ? hello.spool_bytes / hello.spool_quota_bytes : 0
    const offset = hello.clock_offset_ms
    facts.unshift(
      ['Software', hello.software],
      ['Configuration', <span className={page.mono}>{hello.config_revision.slice(0, 12) || '—'}</span>],
      [
        'Spool',
        <span className={css.spool}>
          <meter
            aria-label="Spool use"
            min={0}
            max={1}
            high={0.8}
            optimum={0}
            value={Math.min(used, 1)}
          />
          {bytes(hello.spool_bytes)} of {bytes(hello.spool_quota_bytes)}
        </span>,
      ],
      [
        'Clock',
        `${hello.clock_synced ? 'synced' : 'not synced'}, ${Math.abs(offset) < 1000 ? `${offset} ms` : `${offset < 0 ? '−' : ''}${span(Math.abs(offset))}`} off`,
      ],
      ['Loss window', span(hello.loss_window_ms)],
    )
  }
  return (
    <dl className={css.facts}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

/** What became of the readings, and what filters saved; how that is counted is said. */
function Saved({ id }: { id: string }) {
  const traffic = useQuery({
    queryKey: ['traffic', id],
    queryFn: () => api.traffic(id),
    refetchInterval: 10_000,
  })
  if (!traffic.data) return null
  const { day, ever } = traffic.data
  const count = (value: number) => number(value, 0)
  const price = day.bytes_per_reading
  const rows: [string, number, number][] = [
    ['Taken from devices', day.taken, ever.taken],
    ['Left out by filters', day.filtered, ever.filtered],
    ['Sent and stored', day.stored, ever.stored],
  ]
  return (
    <section className={`${page.card} ${css.device}`} id="saved" aria-labelledby="saved-title" data-testid="traffic">
      <div className={page.cardHead}>
        <h2 id="saved-title">Saved by filters</h2>
        <span className={page.muted}>
          {savedText(day) ?? 'nothing: no filter left out a reading'} in the last 24 hours
        </span>
      </div>
      <div className={page.scroll}>
        <table className={page.table}>
          <thead>
            <tr>
              <th scope="col">Readings</th>
              <th scope="col" className={page.number}>
                Last 24 h
              </th>
              <th scope="col" className={page.number}>
                Since ever
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, lately, always]) => (
              <tr key={name}>
                <td>{name}</td>
                <td className={page.number}>{count(lately)}</td>
                <td className={page.number}>{count(always)}</td>
              </tr>
            ))}
            <tr>
              <td>
                <Link href={`/ledger?gateway=${encodeURIComponent(id)}`}>Lost</Link>
              </td>
              <td className={page.number}>—</td>
              <td className={page.number}>{count(ever.lost)}</td>
            </tr>
          </tbody>
        </table>
      </div>
      <p className={css.how}>
        Filters on the gateway leave out readings that tell nothing new; it counts every one of them.{' '}
        {price === null || price === undefined
          ? 'What that saved in bytes is not known: nothing was stored that could tell a price.'
          : `The bytes are an estimate: a stored reading of this gateway took ${price.toFixed(1)} bytes of its records (${bytes(day.bytes)} for ${count(day.stored)}), and the left-out ones are charged the same.`}{' '}
        Counted by when it came, since {moment(day.since_ms)}.
      </p>
    </section>
  )
}

function PointRow({ series }: { series: Series }) {
  const latest = useLatest(series.id)
  const now = useNow()
  const stale = latest !== undefined && isStale(latest, now)
  return (
    <tr
      className={stale ? css.staleRow : undefined}
      data-stale={stale || undefined}
      onClick={() => navigate(seriesPath(series.id))}
    >
      <td>
        <Link href={seriesPath(series.id)} onClickCapture={(event) => event.stopPropagation()}>
          {series.point}
        </Link>
      </td>
      <td className={page.number}>
        <ValueText series={series} latest={latest} />
      </td>
      <td>
        <Sparkline series={series.id} />
      </td>
      <td>
        <QualityText latest={latest} />
      </td>
      <td>
        <AgeText latest={latest} />
      </td>
    </tr>
  )
}

function DeviceCard({ device, series }: { device: Device; series: Series[] }) {
  const now = useNow()
  return (
    <section className={`${page.card} ${css.device}`} id={device.id} aria-labelledby={`d-${device.id}`} data-testid="device">
      <div className={page.cardHead}>
        <h2 id={`d-${device.id}`}>{device.id}</h2>
        <span className={page.tag}>
          <Mark level={linkLevel(device)} />
          link {device.link}
          {device.link_since_ms ? ` · ${ago(now, device.link_since_ms)}` : ''}
        </span>
        {device.bad > 0 ? (
          <span className={`${page.tag} ${page.tagBad}`}>
            {device.bad} of {device.series} bad
          </span>
        ) : null}
        <span className={`${page.muted} ${page.end}`}>
          last good reading {ago(now, device.newest_good_ms)}
        </span>
      </div>
      <div className={page.scroll}>
        <table className={`${page.table} ${css.points}`}>
          <thead>
            <tr>
              <th scope="col">Point</th>
              <th scope="col" className={page.number}>
                Value
              </th>
              <th scope="col">Trend</th>
              <th scope="col">Quality</th>
              <th scope="col">Age</th>
            </tr>
          </thead>
          <tbody>
            {series.map((each) => (
              <PointRow key={each.id} series={each} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function useShown(current: Series[], words: string, troubled: boolean) {
  const now = useNow()
  return useMemo(() => {
    const wanted = words.trim().toLowerCase()
    return current.filter((series) => {
      if (wanted && !`${series.device} ${series.point} ${series.unit}`.toLowerCase().includes(wanted)) {
        return false
      }
      if (!troubled) return true
      const latest = live.get(series.id)
      return !latest || quality(latest.quality).level !== 'good' || isStale(latest, now)
    })
  }, [current, words, troubled, now])
}

export function GatewayPage({ id }: { id: string }) {
  const gateway = useQuery({
    queryKey: ['gateways', id],
    queryFn: () => api.gateway(id),
    refetchInterval: 5000,
  })
  const { devices, series, current } = useGateway(id)
  const [words, setWords] = useState('')
  const [troubled, setTroubled] = useState(false)
  const shown = useShown(current, words, troubled)
  useEffect(() => {
    document.title = `${id} · Fogline`
  }, [id])
  // The devices come after the page: only then can the one that the address names be shown.
  const loaded = devices.data !== undefined && series.data !== undefined && gateway.data !== undefined
  useEffect(() => {
    const wanted = window.location.hash.slice(1)
    if (loaded && wanted) document.getElementById(wanted)?.scrollIntoView()
  }, [loaded])
  if (gateway.error && !gateway.data) {
    return <Failure error={gateway.error} retry={() => void gateway.refetch()} />
  }
  if (!gateway.data) return <Loading what={id} />
  const filtered = words.trim() !== '' || troubled
  const cards = (devices.data ?? [])
    .map((device) => ({ device, points: shown.filter((each) => each.device === device.id) }))
    .filter(({ points }) => points.length > 0 || !filtered)
  return (
    <>
      <nav aria-label="Where" className={page.crumbs}>
        <Link href="/">Gateways</Link> /
      </nav>
      <div className={page.head}>
        <h1>{id}</h1>
        {gateway.data.note ? <p>{gateway.data.note}</p> : null}
        {gateway.data.revoked_ms ? (
          <span className={`${page.tag} ${page.tagBad}`}>
            revoked {moment(gateway.data.revoked_ms)}
          </span>
        ) : null}
        <span className={page.end}>
          <Link href={`${alarmsPath(id)}&state=all`}>Alarms</Link>
          {' · '}
          <Link href={eventsPath({ gateway: id })}>Events</Link>
          {' · '}
          <Link href={`/ledger?gateway=${encodeURIComponent(id)}`}>Loss ledger</Link>
        </span>
      </div>
      {countsText(gateway.data.alarms) === '' ? null : (
        <p className={css.alarms}>
          <AlarmTag gateway={gateway.data} />
        </p>
      )}
      <section className={page.card} aria-label="State">
        <Truths gateway={gateway.data} />
        <Facts gateway={gateway.data} />
      </section>
      <div className={css.tools}>
        <SearchField aria-label="Find points" value={words} onChange={setWords} className={css.search}>
          <Input className={page.input} placeholder="Find points …" />
        </SearchField>
        <Checkbox className={css.check} isSelected={troubled} onChange={setTroubled}>
          <span className={css.box} aria-hidden="true" />
          Only stale or not good
        </Checkbox>
        <span className={`${page.muted} ${page.end}`}>
          {shown.length} of {current.length} points
        </span>
      </div>
      {series.error && !series.data ? (
        <Failure error={series.error} retry={() => void series.refetch()} />
      ) : !series.data || !devices.data ? (
        <Loading what="points" />
      ) : cards.length === 0 ? (
        <Nothing
          title={filtered ? 'No point matches' : 'No device has delivered a reading yet'}
          text={
            filtered
              ? 'Other words, or show all points.'
              : 'They appear with their first reading; nothing has to be set up here.'
          }
        />
      ) : (
        cards.map(({ device, points }) => (
          <DeviceCard key={device.id} device={device} series={points} />
        ))
      )}
      <Saved id={id} />
    </>
  )
}
