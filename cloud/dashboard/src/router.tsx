// The address is the state: a dozen lines over the History API, enough for seven pages.
import { type AnchorHTMLAttributes, type MouseEvent, useSyncExternalStore } from 'react'

const listeners = new Set<() => void>()

function subscribe(listener: () => void) {
  listeners.add(listener)
  window.addEventListener('popstate', listener)
  return () => {
    listeners.delete(listener)
    window.removeEventListener('popstate', listener)
  }
}

export function navigate(to: string, replace = false) {
  if (replace) window.history.replaceState(null, '', to)
  else window.history.pushState(null, '', to)
  for (const listener of listeners) listener()
}

export interface Address {
  path: string
  parts: string[]
  search: URLSearchParams
}

function unescapePart(part: string) {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export function useAddress(): Address {
  const href = useSyncExternalStore(subscribe, () => window.location.pathname + window.location.search)
  const url = new URL(href, window.location.origin)
  return {
    path: url.pathname,
    parts: url.pathname.split('/').filter(Boolean).map(unescapePart),
    search: url.searchParams,
  }
}

export function Link({ href = '', ...rest }: AnchorHTMLAttributes<HTMLAnchorElement>) {
  const follow = (event: MouseEvent) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    navigate(href)
    window.scrollTo(0, 0)
  }
  return <a href={href} onClick={follow} {...rest} />
}

export const gatewayPath = (gateway: string) => `/gateways/${encodeURIComponent(gateway)}`
export const seriesPath = (series: number) => `/series/${series}`
export const alarmsPath = (gateway: string) => `/alarms?gateway=${encodeURIComponent(gateway)}`
/** Events of a gateway, of a kind, about something. */
export function eventsPath(of: { gateway?: string; kind?: string; subject?: string }) {
  const pairs = Object.entries(of).filter((pair): pair is [string, string] => pair[1] !== undefined)
  return pairs.length > 0 ? `/events?${new URLSearchParams(pairs)}` : '/events'
}
