// Talks to the API: one function per need, every error a Problem that names the field.
import type { components } from './schema'

type Schemas = components['schemas']
export type Me = Schemas['Me']
export type Gateway = Schemas['GatewayView']
export type Device = Schemas['DeviceView']
export type Series = Schemas['SeriesView']
export type Latest = Schemas['LatestView']
export type SeriesData = Schemas['DataView']
export type LedgerEntry = Schemas['LedgerView']
export type FoglineEvent = Schemas['EventView']
export type Quarantined = Schemas['QuarantineView']
export type Refusal = Schemas['RefusalView']
export type Alarm = Schemas['AlarmView']
export type AlarmPoint = Schemas['AlarmPointView']
export type AlarmCounts = Schemas['AlarmCountsView']
export type GatewayTraffic = Schemas['GatewayTrafficView']
export type Stats = Schemas['StatsView']

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail?: string | null,
    readonly field?: string | null,
    readonly retryAfterS?: number | null,
    readonly requestId?: string | null,
  ) {
    super(detail ? `${title}: ${detail}` : title)
  }
}

let csrf = ''
let offsetMs = 0

/** Milliseconds since 1970 by the server's clock, as well as it is known. */
export const serverNow = () => Date.now() + offsetMs

function noteClock(response: Response) {
  const date = Date.parse(response.headers.get('date') ?? '')
  // The header counts whole seconds: only a clock that is really off is corrected.
  if (!Number.isNaN(date)) {
    const off = date + 500 - Date.now()
    offsetMs = Math.abs(off) > 1500 ? off : 0
  }
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    const body = (await response.json()) as Schemas['Problem']
    return new Problem(
      response.status,
      body.title,
      body.detail,
      body.field,
      body.retry_after_s,
      body.request_id,
    )
  } catch {
    return new Problem(response.status, `the server answered ${response.status}`)
  }
}

async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response: Response
  try {
    response = await fetch(path, { credentials: 'same-origin', ...init })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new Problem(0, 'the server cannot be reached')
  }
  noteClock(response)
  if (!response.ok) throw await problemOf(response)
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T)
}

const query = (values: Record<string, string | number | boolean | undefined>) => {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined)
  return pairs.length ? `?${new URLSearchParams(pairs.map(([k, v]) => [k, String(v)]))}` : ''
}

const change = <T>(path: string, body?: unknown) =>
  call<T>(path, {
    method: 'POST',
    headers: {
      'x-fogline-csrf': csrf,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })

const remember = (me: Me) => {
  csrf = me.csrf
  return me
}

const id = encodeURIComponent

export const api = {
  me: () => call<Me>('/v1/me').then(remember),
  login: (name: string, password: string) =>
    change<Me>('/v1/login', { name, password }).then(remember),
  logout: () => change<void>('/v1/logout'),
  setPassword: (next: string, current?: string) =>
    change<void>('/v1/me/password', current ? { new: next, current } : { new: next }),
  gateways: (after: string | undefined, limit: number) =>
    call<Gateway[]>(`/v1/gateways${query({ after, limit })}`),
  gateway: (gateway: string) => call<Gateway>(`/v1/gateways/${id(gateway)}`),
  devices: (gateway: string) => call<Device[]>(`/v1/gateways/${id(gateway)}/devices`),
  seriesOf: (gateway: string) => call<Series[]>(`/v1/gateways/${id(gateway)}/series`),
  series: (series: number) => call<Series>(`/v1/series/${series}`),
  latest: (gateway: string) => call<Latest[]>(`/v1/latest${query({ gateway })}`),
  data: (series: number, from: number, to: number, points: number, signal?: AbortSignal) =>
    call<SeriesData>(`/v1/series/${series}/data${query({ from, to, points })}`, { signal }),
  ledger: (gateway?: string, struck = false) =>
    call<LedgerEntry[]>(`/v1/ledger${query({ gateway, struck, limit: 1000 })}`),
  events: (of: { gateway?: string; kind?: string; subject?: string }, before?: number) =>
    call<FoglineEvent[]>(`/v1/events${query({ ...of, before, limit: 100 })}`),
  alarms: (gateway: string | undefined, state: string, limit: number) =>
    call<Alarm[]>(`/v1/alarms${query({ gateway, state, limit })}`),
  alarmCounts: (gateway?: string) => call<AlarmCounts>(`/v1/alarms/counts${query({ gateway })}`),
  traffic: (gateway: string) => call<GatewayTraffic>(`/v1/gateways/${id(gateway)}/traffic`),
  quarantine: (gateway?: string) => call<Quarantined[]>(`/v1/quarantine${query({ gateway })}`),
  refusals: () => call<Refusal[]>('/v1/refusals'),
  stats: () => call<Stats>('/v1/stats'),
}
