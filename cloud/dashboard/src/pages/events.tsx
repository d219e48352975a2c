// What happened: events of gateways, input set aside, connections refused.
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { Button, ToggleButton } from 'react-aria-components'
import { api, type FoglineEvent } from '../api/client'
import { stateOf } from '../logic/alarms'
import { moment } from '../logic/format'
import { eventsPath, gatewayPath, Link, navigate, useAddress } from '../router'
import { Level } from '../ui/alarm'
import page from '../ui/page.module.css'
import { Failure, Loading, Nothing } from '../ui/states'
import css from './events.module.css'

interface Which {
  gateway?: string
  kind?: string
  subject?: string
}

const KINDS = [
  { name: 'All', kind: undefined },
  { name: 'Alarms', kind: 'alarm' },
  { name: 'Rules', kind: 'rule' },
  { name: 'Device links', kind: 'device-link' },
]

/** What happened, for people: an alarm's level and where it stood from then on. */
function What({ event }: { event: FoglineEvent }) {
  const { alarm } = event
  if (!alarm) return <span className={page.tag}>{event.kind}</span>
  const over = alarm.state === 'normal' || alarm.state === 'returned'
  return (
    <span className={css.what}>
      <Level name={alarm.level} over={over} />
      <span>{stateOf(alarm.state).words}</span>
      {alarm.shelved ? <span className={page.tag}>shelved</span> : null}
    </span>
  )
}

function Events({ which }: { which: Which }) {
  const { gateway, kind, subject } = which
  const events = useInfiniteQuery({
    queryKey: ['events', gateway, kind, subject],
    queryFn: ({ pageParam }) => api.events({ gateway, kind, subject }, pageParam),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (last) => (last.length < 100 ? undefined : last.at(-1)?.id),
  })
  if (events.error && !events.data) {
    return <Failure error={events.error} retry={() => void events.refetch()} />
  }
  if (!events.data) return <Loading what="events" />
  const all = events.data.pages.flat()
  if (all.length === 0) {
    return kind || subject ? (
      <Nothing title="Nothing of that kind happened" text="Alarms and what rules did appear here as soon as word of it came." />
    ) : (
      <Nothing title="Nothing happened yet" text="Starts, stops, links, alarms and refusals appear here." />
    )
  }
  return (
    <>
      <div className={`${page.card} ${page.scroll}`}>
        <table className={page.table}>
          <thead>
            <tr>
              <th scope="col">When</th>
              <th scope="col">Gateway</th>
              <th scope="col">What</th>
              <th scope="col">About</th>
              <th scope="col">Detail</th>
            </tr>
          </thead>
          <tbody>
            {all.map((event) => (
              <tr key={event.id}>
                <td className={page.nowrap}>{moment(event.time_ms)}</td>
                <td>
                  <Link href={gatewayPath(event.gateway)}>{event.gateway}</Link>
                </td>
                <td>
                  <What event={event} />
                </td>
                <td>
                  {event.kind === 'alarm' || event.kind === 'rule' ? (
                    <Link href={eventsPath({ gateway: event.gateway, kind: event.kind, subject: event.subject })}>
                      {event.subject}
                    </Link>
                  ) : (
                    event.subject
                  )}
                </td>
                <td>
                  {event.text}
                  {event.by_cloud ? <span className={page.muted}> (seen by the cloud)</span> : null}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {events.hasNextPage ? (
        <Button
          className={page.button}
          isDisabled={events.isFetchingNextPage}
          onPress={() => void events.fetchNextPage()}
        >
          Older events
        </Button>
      ) : null}
    </>
  )
}

function Quarantine({ gateway }: { gateway: string | undefined }) {
  const entries = useQuery({
    queryKey: ['quarantine', gateway],
    queryFn: () => api.quarantine(gateway),
    refetchInterval: 30_000,
  })
  if (!entries.data || entries.data.length === 0) return null
  return (
    <section className={page.card} aria-labelledby="quarantine">
      <div className={page.cardHead}>
        <h2 id="quarantine">Quarantine</h2>
        <span className={page.muted}>input that could not be used, set aside</span>
      </div>
      <div className={page.scroll}>
        <table className={page.table}>
          <thead>
            <tr>
              <th scope="col">First came</th>
              <th scope="col">Gateway</th>
              <th scope="col">On</th>
              <th scope="col">What is wrong</th>
              <th scope="col" className={page.number}>
                Times
              </th>
              <th scope="col">Begins with</th>
            </tr>
          </thead>
          <tbody>
            {entries.data.map((entry) => (
              <tr key={entry.id}>
                <td className={page.nowrap}>{moment(entry.received_ms)}</td>
                <td>{entry.gateway ?? 'unknown'}</td>
                <td className={page.mono}>{entry.topic}</td>
                <td>{entry.reason}</td>
                <td className={page.number}>{entry.times}</td>
                <td className={page.mono}>{entry.head_hex.slice(0, 32)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function Refusals() {
  const entries = useQuery({
    queryKey: ['refusals'],
    queryFn: api.refusals,
    refetchInterval: 10_000,
  })
  if (!entries.data || entries.data.length === 0) return null
  return (
    <section className={page.card} aria-labelledby="refusals">
      <div className={page.cardHead}>
        <h2 id="refusals">Refused connections</h2>
        <span className={page.muted}>wrong, unknown or revoked certificates</span>
      </div>
      <div className={page.scroll}>
        <table className={page.table}>
          <thead>
            <tr>
              <th scope="col">Last</th>
              <th scope="col">Client id</th>
              <th scope="col">From</th>
              <th scope="col">Why</th>
              <th scope="col" className={page.number}>
                Times
              </th>
            </tr>
          </thead>
          <tbody>
            {entries.data.map((entry) => (
              <tr key={`${entry.client}-${entry.peer}-${entry.reason}`}>
                <td className={page.nowrap}>{moment(entry.at_ms)}</td>
                <td className={page.mono}>{entry.client}</td>
                <td className={page.mono}>{entry.peer}</td>
                <td>{entry.reason}</td>
                <td className={page.number}>{entry.times}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

export function EventsPage() {
  const { search } = useAddress()
  const which: Which = {
    gateway: search.get('gateway') ?? undefined,
    kind: search.get('kind') ?? undefined,
    subject: search.get('subject') ?? undefined,
  }
  const { gateway, kind, subject } = which
  useEffect(() => {
    document.title = 'Events · Fogline'
  }, [])
  return (
    <>
      <div className={page.head}>
        <h1>Events</h1>
        {gateway || subject ? (
          <p>
            Only {[gateway, subject].filter(Boolean).join(', ')}. <Link href="/events">Show everything</Link>
          </p>
        ) : (
          <p>Newest first.</p>
        )}
      </div>
      <div className={css.tools} role="toolbar" aria-label="Which events">
        {KINDS.map((one) => (
          <ToggleButton
            key={one.name}
            className={page.button}
            isSelected={kind === one.kind}
            onChange={() => navigate(eventsPath({ gateway, kind: one.kind }))}
          >
            {one.name}
          </ToggleButton>
        ))}
      </div>
      {gateway || kind ? null : <Refusals />}
      {kind ? null : <Quarantine gateway={gateway} />}
      <Events which={which} />
    </>
  )
}
