// What happened: events of gateways, input set aside, connections refused.
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { Button } from 'react-aria-components'
import { api } from '../api/client'
import { moment } from '../logic/format'
import { gatewayPath, Link, useAddress } from '../router'
import page from '../ui/page.module.css'
import { Failure, Loading, Nothing } from '../ui/states'

function Events({ gateway }: { gateway: string | undefined }) {
  const events = useInfiniteQuery({
    queryKey: ['events', gateway],
    queryFn: ({ pageParam }) => api.events(gateway, pageParam),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (last) => (last.length < 100 ? undefined : last.at(-1)?.id),
  })
  if (events.error && !events.data) {
    return <Failure error={events.error} retry={() => void events.refetch()} />
  }
  if (!events.data) return <Loading what="events" />
  const all = events.data.pages.flat()
  if (all.length === 0) {
    return <Nothing title="Nothing happened yet" text="Starts, stops, links and refusals appear here." />
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
                <td className={page.nowrap}>
                  <span className={page.tag}>{event.kind}</span>
                </td>
                <td>{event.subject}</td>
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
  const gateway = useAddress().search.get('gateway') ?? undefined
  useEffect(() => {
    document.title = 'Events · Fogline'
  }, [])
  return (
    <>
      <div className={page.head}>
        <h1>Events</h1>
        {gateway ? (
          <p>
            Only {gateway}. <Link href="/events">Show all gateways</Link>
          </p>
        ) : (
          <p>Newest first.</p>
        )}
      </div>
      {gateway ? null : <Refusals />}
      <Quarantine gateway={gateway} />
      <Events gateway={gateway} />
    </>
  )
}
