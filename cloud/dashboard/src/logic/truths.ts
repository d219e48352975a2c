// The four truths about a gateway, each judged by itself and never merged into one "online".
import type { Device, Gateway } from '../api/client'
import type { Level } from '../ui/mark'
import { ago, ageOf } from './age'

export interface Truth {
  name: string
  level: Level
  state: string
  detail: string
}

/** Without any record for so long, data is no longer called fresh. */
const FRESH_MS = 15_000

function session(gateway: Gateway, now: number): Truth {
  const { state, since_ms } = gateway.session
  const since = since_ms ? `since ${ago(now, since_ms)}` : 'never seen'
  const level = state === 'connected' ? 'ok' : state === 'disconnected' ? 'bad' : 'none'
  const detail = since_ms ? since.replace('since now', 'just now') : since
  return { name: 'Broker session', level, state, detail }
}

function hello(gateway: Gateway, now: number): Truth {
  const name = 'Last hello'
  if (!gateway.hello) {
    return { name, level: 'none', state: 'never', detail: 'said nothing of itself yet' }
  }
  const { at_ms, clock_synced, records_held } = gateway.hello
  return {
    name,
    level: clock_synced ? 'ok' : 'warn',
    state: ago(now, at_ms),
    detail: clock_synced
      ? records_held > 0
        ? `${records_held} records in its spool then`
        : 'spool empty then'
      : 'its clock was not synced',
  }
}

function devices(gateway: Gateway): Truth {
  const { up, down, unknown } = gateway.devices
  const all = up + down + unknown
  const name = 'Device links'
  if (all === 0) return { name, level: 'none', state: 'none', detail: 'no devices reported' }
  if (up + down === 0) return { name, level: 'none', state: 'unknown', detail: `no link reported of ${all} ${all === 1 ? 'device' : 'devices'}` }
  return {
    name,
    level: down > 0 ? 'bad' : 'ok',
    state: down > 0 ? `${down} down` : `${up} up`,
    detail: `${up} of ${all} up${unknown > 0 ? `, ${unknown} unknown` : ''}`,
  }
}

function data(gateway: Gateway, now: number): Truth {
  const name = 'Data'
  const came = gateway.data.newest_received_ms
  if (came === null || came === undefined) {
    return { name, level: 'none', state: 'none yet', detail: 'no reading was ever stored' }
  }
  // Backlog that just came is not fresh data.
  const taken = gateway.data.newest_sample_ms ?? came
  const fresh = ageOf(now, Math.min(came, taken)) <= FRESH_MS
  const late = came - taken > FRESH_MS
  return {
    name,
    level: fresh ? 'ok' : 'warn',
    state: fresh ? 'fresh' : 'stale',
    detail: late
      ? `newest came ${ago(now, came)}, taken ${ago(now, taken)}`
      : `newest record came ${ago(now, came)}`,
  }
}

export const truths = (gateway: Gateway, now: number): Truth[] => [
  session(gateway, now),
  hello(gateway, now),
  devices(gateway),
  data(gateway, now),
]

export function linkLevel(device: Device): Level {
  return device.link === 'up' ? 'ok' : device.link === 'down' ? 'bad' : 'none'
}
