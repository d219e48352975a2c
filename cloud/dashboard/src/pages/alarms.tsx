// Alarms as they stand: what nobody knows of yet first, the worst first. They are acknowledged and shelved on site.
import { useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { ToggleButton } from 'react-aria-components'
import { type Alarm, type AlarmPoint, api } from '../api/client'
import { live, useLatest, useNow } from '../api/live'
import { ago, span } from '../logic/age'
import { countsText, stateOf } from '../logic/alarms'
import { searchOf } from '../logic/chart'
import { moment, utc } from '../logic/format'
import { eventsPath, gatewayPath, Link, navigate, seriesPath, useAddress } from '../router'
import { Level } from '../ui/alarm'
import page from '../ui/page.module.css'
import { Failure, Loading } from '../ui/states'
import { ValueText } from '../ui/value'
import css from './alarms.module.css'

/** Alarms shown; whoever has more narrows by gateway. */
const SHOWN = 500

/** Around the moment an alarm that is over was raised, in its chart. */
const AROUND_MS = 15 * 60_000

const EXAMPLE = `[rule.overtemp]
when  = "cellar.temperature > 30"
for   = "20s"
clear = "cellar.temperature < 28"
alarm = { level = "high", text = "cellar hot", latch = true }`

function Point({ of, alarm }: { of: AlarmPoint; alarm: Alarm }) {
  const id = of.series ?? -1
  const latest = useLatest(id)
  const series = useQuery({
    queryKey: ['series', id],
    queryFn: () => api.series(id),
    staleTime: 60_000,
    enabled: id >= 0,
  })
  const name = `${of.device}/${of.point}`
  if (id < 0) return <span className={page.muted}>{name}</span>
  const at = alarm.raised_ms
  const over = alarm.state === 'normal' && at !== null && at !== undefined
  const view = over ? { from: at - AROUND_MS, to: alarm.changed_ms + AROUND_MS } : { span: 3_600_000 }
  return (
    <span className={css.point}>
      <Link href={`${seriesPath(id)}${searchOf(view)}`}>{name}</Link>
      {series.data ? <ValueText series={series.data} latest={latest} /> : null}
    </span>
  )
}

function Times({ alarm }: { alarm: Alarm }) {
  const now = useNow()
  const { raised_ms: raised, changed_ms: changed, state } = alarm
  const title = (ms: number) => `${moment(ms)}\n${utc(ms)}`
  const since =
    raised === null || raised === undefined ? null : (
      <>
        raised{' '}
        <time dateTime={utc(raised)} title={title(raised)}>
          {ago(now, raised)}
        </time>
      </>
    )
  if (state === 'raised' && since !== null) return since
  return (
    <>
      {since}
      {since === null ? null : state === 'normal' || state === 'returned' ? ', over ' : `, ${stateOf(state).words} `}
      {since === null ? 'changed ' : null}
      <time dateTime={utc(changed)} title={title(changed)}>
        {ago(now, changed)}
      </time>
      {raised !== null && raised !== undefined && (state === 'normal' || state === 'returned') && changed > raised
        ? ` (lasted ${span(changed - raised)})`
        : null}
    </>
  )
}

function Row({ alarm }: { alarm: Alarm }) {
  const over = alarm.state === 'normal' || alarm.state === 'returned'
  const state = stateOf(alarm.state)
  const loud = alarm.state === 'raised' && !alarm.shelved
  return (
    <li
      className={`${css.row} ${loud ? css.raised : ''}`}
      data-testid="alarm"
      data-state={alarm.state}
      data-alarm={alarm.name}
    >
      <Level name={alarm.level} over={over} />
      <div>
        <p className={css.title}>{alarm.text || alarm.name}</p>
        <p className={css.where}>
          <Link href={gatewayPath(alarm.gateway)}>{alarm.gateway}</Link> ·{' '}
          <Link href={eventsPath({ gateway: alarm.gateway, kind: 'alarm', subject: alarm.name })}>
            {alarm.name}: what happened
          </Link>
        </p>
        {alarm.points.length > 0 ? (
          <p className={css.points}>
            {alarm.points.map((point) => (
              <Point key={`${point.device}/${point.point}`} of={point} alarm={alarm} />
            ))}
          </p>
        ) : null}
      </div>
      <div>
        <p className={css.state} title={state.detail}>
          {state.words}
          {alarm.shelved ? <span className={page.tag}>shelved on site</span> : null}
        </p>
        <p className={css.times}>
          <Times alarm={alarm} />
        </p>
      </div>
    </li>
  )
}

function OnSite() {
  return (
    <section className={page.card} aria-labelledby="on-site">
      <div className={css.teach}>
        <h2 id="on-site">Acknowledging happens on site</h2>
        <p>
          Alarms belong to the gateway that raised them, so that they work without any cloud. On the gateway,{' '}
          <code>fogline-gateway alarms</code> lists them, <code>fogline-gateway alarms ack NAME</code> says that
          somebody knows, and <code>fogline-gateway alarms shelve NAME --for 2h</code> keeps one quiet for a while.
          This page shows it as soon as word of it came.
        </p>
      </div>
    </section>
  )
}

function NoAlarm({ all, gateway }: { all: boolean; gateway: string | undefined }) {
  return (
    <section className={page.card} data-testid="no-alarms">
      <div className={css.teach}>
        <h2>{all ? 'No alarm was ever raised' : 'No alarm is open'}</h2>
        <p>
          {all
            ? `No rule ${gateway ? `of ${gateway} ` : ''}has raised an alarm since this cloud counts them.`
            : 'Whatever was raised is over, and where somebody had to know, somebody does.'}
        </p>
        <p>
          Alarms come from rules in a gateway&rsquo;s configuration. It watches by itself, also while it is offline,
          and tells what happened as soon as it can:
        </p>
        {/* Scrollable regions must be reachable by keyboard. */}
        <pre tabIndex={0} role="region" aria-label="Example of a rule">
          {EXAMPLE}
        </pre>
        <p>
          <code>for</code> lets short peaks pass, <code>clear</code> below <code>when</code> keeps it from flapping,
          and <code>latch</code> makes it stay until somebody says they know. <code>fogline-gateway check</code> reads
          a rule before it is used.
        </p>
      </div>
    </section>
  )
}

export function AlarmsPage() {
  const { search } = useAddress()
  const gateway = search.get('gateway') ?? undefined
  const all = search.get('state') === 'all'
  const alarms = useQuery({
    queryKey: ['alarms', gateway, all],
    queryFn: () => api.alarms(gateway, all ? 'all' : 'open', SHOWN),
    refetchInterval: 30_000,
  })
  const counts = useQuery({
    queryKey: ['alarm-counts', gateway],
    queryFn: () => api.alarmCounts(gateway),
    refetchInterval: 30_000,
  })
  useEffect(() => {
    document.title = 'Alarms · Fogline'
  }, [])
  // The values beside the points: one question a gateway, then the live stream.
  const gateways = [...new Set((alarms.data ?? []).map((alarm) => alarm.gateway))].slice(0, 20).join(',')
  useQuery({
    queryKey: ['alarm-values', gateways],
    queryFn: async () => {
      for (const id of gateways.split(',')) {
        for (const value of await api.latest(id)) live.put(value)
      }
      return gateways
    },
    enabled: gateways !== '',
    refetchInterval: 30_000,
  })
  const address = (state: string | undefined) => {
    const next = new URLSearchParams()
    if (gateway) next.set('gateway', gateway)
    if (state) next.set('state', state)
    return next.size > 0 ? `/alarms?${next}` : '/alarms'
  }
  return (
    <>
      <div className={page.head}>
        <h1>Alarms</h1>
        <p data-testid="alarm-counts">
          {counts.data ? countsText(counts.data) || 'None is open.' : null}
          {gateway ? ` Only ${gateway}. ` : ''}
          {gateway ? <Link href="/alarms">Show all gateways</Link> : null}
        </p>
      </div>
      <div className={css.tools} role="toolbar" aria-label="Which alarms">
        <ToggleButton className={page.button} isSelected={!all} onChange={() => navigate(address(undefined))}>
          Open
        </ToggleButton>
        <ToggleButton className={page.button} isSelected={all} onChange={() => navigate(address('all'))}>
          All, also over
        </ToggleButton>
      </div>
      {alarms.error && !alarms.data ? (
        <Failure error={alarms.error} retry={() => void alarms.refetch()} />
      ) : !alarms.data ? (
        <Loading what="alarms" />
      ) : alarms.data.length === 0 ? (
        <NoAlarm all={all} gateway={gateway} />
      ) : (
        <ul className={page.card} aria-label="Alarms">
          {alarms.data.map((alarm) => (
            <Row key={`${alarm.gateway}/${alarm.name}`} alarm={alarm} />
          ))}
        </ul>
      )}
      {alarms.data && alarms.data.length === SHOWN ? (
        <p className={page.muted}>The {SHOWN} most urgent are shown; choose a gateway to see its others.</p>
      ) : null}
      {alarms.data && alarms.data.length > 0 ? <OnSite /> : null}
    </>
  )
}
