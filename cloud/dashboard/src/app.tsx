// Which page: login before everything, a new password where it must be set first, then the address.
import { useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { api, Problem } from './api/client'
import { live } from './api/live'
import { AlarmsPage } from './pages/alarms'
import { EventsPage } from './pages/events'
import { GatewayPage } from './pages/gateway'
import { GatewaysPage } from './pages/gateways'
import { LedgerPage } from './pages/ledger'
import { LoginPage } from './pages/login'
import { PasswordPage } from './pages/password'
import { SeriesPage } from './pages/series'
import { useAddress } from './router'
import { Failure, Loading, Nothing } from './ui/states'
import { Shell } from './ui/shell'

function Page() {
  const { parts } = useAddress()
  const [first, second, third] = parts
  if (first === undefined || (first === 'gateways' && second === undefined)) return <GatewaysPage />
  if (third === undefined) {
    if (first === 'gateways' && second) return <GatewayPage key={second} id={second} />
    if (first === 'series' && second && /^\d+$/.test(second)) {
      return <SeriesPage key={second} id={Number(second)} />
    }
    if (first === 'ledger' && !second) return <LedgerPage />
    if (first === 'alarms' && !second) return <AlarmsPage />
    if (first === 'events' && !second) return <EventsPage />
    if (first === 'password' && !second) return <PasswordPage />
  }
  return <Nothing title="There is no such page" text="The address may be mistyped." />
}

export function App() {
  const me = useQuery({
    queryKey: ['me'],
    queryFn: api.me,
    // A session that ends elsewhere is noticed even on a quiet page.
    refetchInterval: 60_000,
  })
  const open = me.data !== undefined && !me.error && !me.data.must_set_password
  useEffect(() => {
    if (!open) return
    live.start()
    return () => live.stop()
  }, [open])
  if (me.error instanceof Problem && me.error.status === 401) return <LoginPage />
  if (me.error && !me.data) return <Failure error={me.error} retry={() => void me.refetch()} />
  if (!me.data) return <Loading what="Fogline" />
  if (me.data.must_set_password) return <PasswordPage forced />
  return (
    <Shell me={me.data}>
      <Page />
    </Shell>
  )
}
