// All gateways and their devices, live: the first page.
import { useQueries, useQuery } from '@tanstack/react-query'
import { useEffect, useMemo } from 'react'
import { api, type Device, type Gateway, type Series } from '../api/client'
import { live, useLatest, useNow } from '../api/live'
import { ago, isStale } from '../logic/age'
import { countsText, openOf, savedText } from '../logic/alarms'
import { GATEWAYS_A_PAGE, pageOf } from '../logic/pages'
import { quality } from '../logic/quality'
import { linkLevel } from '../logic/truths'
import { alarmsPath, gatewayPath, Link, seriesPath, useAddress } from '../router'
import { Mark } from '../ui/mark'
import page from '../ui/page.module.css'
import { Failure, Loading, Nothing } from '../ui/states'
import { Truths } from '../ui/truths'
import { ageText, ValueText } from '../ui/value'
import css from './gateways.module.css'

/** Values shown per device here; the gateway's page shows all. */
const SHOWN = 6

function Cell({ series }: { series: Series }) {
  const latest = useLatest(series.id)
  const now = useNow()
  const stale = latest !== undefined && isStale(latest, now)
  const state = latest ? quality(latest.quality) : undefined
  const note = !latest
    ? ''
    : state && state.level !== 'good'
      ? `${state.words} · ${ageText(latest, now)}`
      : ageText(latest, now)
  return (
    <Link
      href={seriesPath(series.id)}
      className={`${css.cell} ${stale ? css.stale : ''}`}
      data-stale={stale || undefined}
      data-testid="value"
    >
      <span className={css.point}>{series.point}</span>
      <ValueText series={series} latest={latest} />
      <span className={`${css.note} ${state?.level === 'bad' ? css.bad : ''}`}>{note}</span>
    </Link>
  )
}

function DeviceRow({ device, series, path }: { device: Device; series: Series[]; path: string }) {
  const now = useNow()
  const more = series.length - SHOWN
  return (
    <li className={css.device}>
      <div className={css.name}>
        <Link href={`${path}#${device.id}`}>{device.id}</Link>
        <span className={css.link} title={device.link_text ?? undefined}>
          <Mark level={linkLevel(device)} />
          link {device.link}
          {device.link_since_ms ? ` · ${ago(now, device.link_since_ms)}` : ''}
        </span>
        {device.bad > 0 ? (
          <span className={`${page.tag} ${page.tagBad}`}>
            {device.bad} of {device.series} bad
          </span>
        ) : null}
        {more > 0 ? (
          <Link href={`${path}#${device.id}`} className={css.more}>
            + {more} more points
          </Link>
        ) : null}
      </div>
      <div className={css.cells}>
        {series.slice(0, SHOWN).map((each) => (
          <Cell key={each.id} series={each} />
        ))}
      </div>
    </li>
  )
}

export function useGateway(id: string) {
  const series = useQuery({
    queryKey: ['series-of', id],
    queryFn: () => api.seriesOf(id),
    refetchInterval: 30_000,
  })
  const devices = useQuery({
    queryKey: ['devices', id],
    queryFn: () => api.devices(id),
    refetchInterval: 5000,
  })
  const latest = useQuery({
    queryKey: ['latest', id],
    queryFn: () => api.latest(id),
    refetchInterval: 30_000,
  })
  useEffect(() => {
    for (const value of latest.data ?? []) live.put(value)
  }, [latest.data])
  // A type or unit that changed made a new series: the newest of a point is the one to look at.
  const current = useMemo(() => {
    const newest = new Map<string, Series>()
    for (const each of series.data ?? []) {
      const key = `${each.device}/${each.point}`
      const known = newest.get(key)
      if (!known || known.id < each.id) newest.set(key, each)
    }
    return [...newest.values()]
  }, [series.data])
  return { series, devices, latest, current }
}

/** Open alarms of a gateway, in words. */
export function AlarmTag({ gateway }: { gateway: Gateway }) {
  const text = countsText(gateway.alarms)
  if (text === '') return null
  const tone = gateway.alarms.raised > 0 ? page.tagBad : openOf(gateway.alarms) > 0 ? page.tagWarn : ''
  return (
    <Link href={alarmsPath(gateway.id)} className={`${page.tag} ${css.alarms} ${tone}`} data-testid="gateway-alarms">
      alarms: {text}
      {gateway.alarms.worst ? `, worst ${gateway.alarms.worst}` : ''}
    </Link>
  )
}

/** What filters saved within a day; the gateway's page explains it. */
function Saved({ gateway }: { gateway: Gateway }) {
  const saved = savedText(gateway.traffic)
  if (saved === undefined) return null
  return (
    <>
      <Link href={`${gatewayPath(gateway.id)}#saved`} data-testid="saved">
        filters saved {saved} in 24 h
      </Link>
      {' · '}
    </>
  )
}

function GatewayCard({ gateway }: { gateway: Gateway }) {
  const { devices, current } = useGateway(gateway.id)
  const path = gatewayPath(gateway.id)
  return (
    <section className={page.card} aria-labelledby={`g-${gateway.id}`} data-testid="gateway">
      <div className={page.cardHead}>
        <h2 id={`g-${gateway.id}`}>
          <Link href={path}>{gateway.id}</Link>
        </h2>
        {gateway.note ? <span className={page.muted}>{gateway.note}</span> : null}
        {gateway.revoked_ms ? <span className={`${page.tag} ${page.tagBad}`}>revoked</span> : null}
        {gateway.cloned ? (
          <span className={`${page.tag} ${page.tagBad}`}>identity used twice</span>
        ) : null}
        {gateway.quarantined > 0 ? (
          <Link href="/events" className={`${page.tag} ${page.tagWarn}`}>
            {gateway.quarantined} in quarantine
          </Link>
        ) : null}
        <AlarmTag gateway={gateway} />
        <span className={`${page.muted} ${page.end}`}>
          <Saved gateway={gateway} />
          {gateway.series} series{gateway.hello ? ` · ${gateway.hello.software}` : ''}
        </span>
      </div>
      <Truths gateway={gateway} />
      {devices.error && !devices.data ? (
        <Failure error={devices.error} retry={() => void devices.refetch()} />
      ) : (
        <ul>
          {(devices.data ?? []).map((device) => (
            <DeviceRow
              key={device.id}
              device={device}
              path={path}
              series={current.filter((series) => series.device === device.id)}
            />
          ))}
          {devices.data?.length === 0 ? (
            <li className={css.empty}>No device has delivered a reading yet.</li>
          ) : null}
        </ul>
      )}
    </section>
  )
}

function Sums() {
  const [stats] = useQueries({
    queries: [{ queryKey: ['stats'], queryFn: api.stats, refetchInterval: 5000 }],
  })
  const data = stats.data
  if (!data) return null
  const count = (value: number) => value.toLocaleString('en').replaceAll(',', '\u2009')
  return (
    <p>
      {data.connected} of {data.gateways} connected · {count(data.stored)} readings stored ·{' '}
      {count(data.filtered)} filtered at the edge · <Link href="/ledger">{count(data.lost)} lost</Link>
    </p>
  )
}

/** Links to the other pages; nothing where one page is all. */
function Pages({ after, next }: { after: string | undefined; next: string | undefined }) {
  if (after === undefined && next === undefined) return null
  return (
    <nav aria-label="Pages" className={css.pages}>
      {after === undefined ? null : <Link href="/">First page</Link>}
      {next === undefined ? null : (
        <Link href={`/?after=${encodeURIComponent(next)}`}>Next page</Link>
      )}
    </nav>
  )
}

export function GatewaysPage() {
  const after = useAddress().search.get('after') ?? undefined
  const gateways = useQuery({
    queryKey: ['gateways-after', after],
    queryFn: () => api.gateways(after, GATEWAYS_A_PAGE + 1),
    refetchInterval: 5000,
  })
  const { shown, next } = pageOf(gateways.data ?? [], GATEWAYS_A_PAGE)
  useEffect(() => {
    document.title = 'Gateways · Fogline'
  }, [])
  return (
    <>
      <div className={page.head}>
        <h1>Gateways</h1>
        <Sums />
      </div>
      {gateways.error && !gateways.data ? (
        <Failure error={gateways.error} retry={() => void gateways.refetch()} />
      ) : !gateways.data ? (
        <Loading what="gateways" />
      ) : shown.length === 0 && after !== undefined ? (
        <Nothing title="No more gateways" text={`None comes after ${after}.`} />
      ) : shown.length === 0 ? (
        <Nothing
          title="No gateway is registered"
          text="Add one on the server: fogline-cloud gateway add <id>"
        />
      ) : (
        shown.map((gateway) => <GatewayCard key={gateway.id} gateway={gateway} />)
      )}
      <Pages after={after} next={next} />
    </>
  )
}
