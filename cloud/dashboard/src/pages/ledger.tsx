// The loss ledger: what is missing, why, and how sure that is.
import { useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { api } from '../api/client'
import { moment } from '../logic/format'
import { loss, lossCount } from '../logic/quality'
import { gatewayPath, Link, useAddress } from '../router'
import page from '../ui/page.module.css'
import { Failure, Loading, Nothing } from '../ui/states'

export function LedgerPage() {
  const gateway = useAddress().search.get('gateway') ?? undefined
  const ledger = useQuery({
    queryKey: ['ledger', gateway],
    queryFn: () => api.ledger(gateway),
    refetchInterval: 30_000,
  })
  useEffect(() => {
    document.title = 'Loss ledger · Fogline'
  }, [])
  return (
    <>
      <div className={page.head}>
        <h1>Loss ledger</h1>
        <p>
          Every reading that was taken and will never arrive, with the reason.
          {gateway ? ` Only ${gateway}. ` : ''}
          {gateway ? <Link href="/ledger">Show all gateways</Link> : null}
        </p>
      </div>
      {ledger.error && !ledger.data ? (
        <Failure error={ledger.error} retry={() => void ledger.refetch()} />
      ) : !ledger.data ? (
        <Loading what="the ledger" />
      ) : ledger.data.length === 0 ? (
        <Nothing title="Nothing was lost" text="Every reading that was taken is stored, filtered by rule, or still on its way." />
      ) : (
        <div className={`${page.card} ${page.scroll}`}>
          <table className={page.table}>
            <thead>
              <tr>
                <th scope="col">Gateway</th>
                <th scope="col">Reason</th>
                <th scope="col">Readings</th>
                <th scope="col">Taken between</th>
                <th scope="col">Records</th>
                <th scope="col">Claimed</th>
              </tr>
            </thead>
            <tbody>
              {ledger.data.toReversed().map((entry) => (
                <tr key={entry.id}>
                  <td>
                    <Link href={gatewayPath(entry.gateway)}>{entry.gateway}</Link>
                  </td>
                  <td>
                    {loss(entry.reason)}
                    {entry.by_cloud ? <span className={page.muted}> (refused by the cloud)</span> : null}
                  </td>
                  <td>{lossCount(entry)}</td>
                  <td className={page.nowrap}>
                    {entry.from_ms === null || entry.from_ms === undefined
                      ? 'unknown'
                      : `${moment(entry.from_ms)} – ${moment(entry.to_ms)}`}
                  </td>
                  <td className={page.mono}>
                    {entry.epoch.slice(0, 6)}/{entry.lane}/{entry.first_seq}
                    {entry.last_seq === entry.first_seq ? '' : `–${entry.last_seq ?? 'end'}`}
                  </td>
                  <td className={page.nowrap}>{moment(entry.received_ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  )
}
