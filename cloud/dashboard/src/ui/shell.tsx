// The frame around every page: where am I, is it live, who am I.
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { Button } from 'react-aria-components'
import { api, type Me } from '../api/client'
import { useConnection } from '../api/live'
import { countsText, openOf } from '../logic/alarms'
import { Link, useAddress } from '../router'
import { setTheme, type Theme, theme } from '../theme'
import { Brand, Mark } from './mark'
import css from './shell.module.css'

const PAGES = [
  { href: '/', name: 'Gateways', of: ['', 'gateways', 'series'] },
  { href: '/alarms', name: 'Alarms', of: ['alarms'] },
  { href: '/ledger', name: 'Loss ledger', of: ['ledger'] },
  { href: '/events', name: 'Events', of: ['events'] },
]

const CONNECTION = {
  live: { level: 'ok', text: 'Live' },
  connecting: { level: 'none', text: 'Connecting' },
  away: { level: 'bad', text: 'Not live' },
} as const

const NEXT: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' }
const THEME_NAMES: Record<Theme, string> = { system: 'Auto', light: 'Light', dark: 'Dark' }

function ThemeButton() {
  const [now, setNow] = useState(theme())
  return (
    <Button
      className={css.quiet}
      aria-label={`Colours: ${THEME_NAMES[now]}. Change`}
      onPress={() => {
        setTheme(NEXT[now])
        setNow(NEXT[now])
      }}
    >
      <span aria-hidden="true">◐</span> {THEME_NAMES[now]}
    </Button>
  )
}

/** How many alarms want somebody, beside the link to them. */
function AlarmBadge() {
  const counts = useQuery({
    queryKey: ['alarm-counts', undefined],
    queryFn: () => api.alarmCounts(),
    refetchInterval: 30_000,
  })
  if (!counts.data || openOf(counts.data) === 0) return null
  const { raised } = counts.data
  return (
    <span
      className={`${css.badge} ${raised > 0 ? css.loud : ''}`}
      data-testid="alarm-badge"
      title={countsText(counts.data)}
    >
      {raised > 0 ? raised : openOf(counts.data)}
      <span className="sr-only">{raised > 0 ? ' raised' : ' open, none raised'}</span>
    </span>
  )
}

function Leave() {
  const client = useQueryClient()
  const leave = async () => {
    try {
      await api.logout()
    } finally {
      client.clear()
      window.location.assign('/')
    }
  }
  return (
    <Button className={css.quiet} onPress={() => void leave()}>
      Log out
    </Button>
  )
}

export function Shell({ me, children }: { me: Me; children: ReactNode }) {
  const connection = CONNECTION[useConnection()]
  const { parts } = useAddress()
  const here = parts[0] ?? ''
  return (
    <div className={css.shell}>
      <a className={css.skip} href="#content">
        Skip to content
      </a>
      <header className={css.bar}>
        <Link className={css.home} href="/">
          <Brand />
          <span>Fogline</span>
        </Link>
        <nav aria-label="Pages">
          <ul className={css.pages}>
            {PAGES.map((page) => (
              <li key={page.href}>
                <Link href={page.href} aria-current={page.of.includes(here) ? 'page' : undefined}>
                  {page.name}
                  {page.href === '/alarms' ? <AlarmBadge /> : null}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div className={css.right}>
          <span className={css.live} role="status" data-testid="connection">
            <Mark level={connection.level} />
            {connection.text}
          </span>
          <ThemeButton />
          <Link className={css.quiet} href="/password" title="Set a new password">
            {me.name}
          </Link>
          <Leave />
        </div>
      </header>
      {me.one_time ? (
        <p className={css.notice} role="note">
          This one-time login is spent: when this session ends, nobody can use it again.{' '}
          <Link href="/password">Set a password</Link>
        </p>
      ) : null}
      <main id="content" className={css.main} tabIndex={-1}>
        {children}
      </main>
      <footer className={css.foot}>Fogline {me.version}</footer>
    </div>
  )
}
