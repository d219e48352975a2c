import { describe, expect, it } from 'vitest'
import type { Gateway } from '../api/client'
import { truths } from './truths'

const NOW = 1_000_000

const gateway: Gateway = {
  id: 'g',
  note: '',
  created_ms: 0,
  revoked_ms: null,
  certificate_until_ms: 0,
  certificate_serial: '',
  certificate_fingerprint: '',
  cloned: false,
  series: 1,
  quarantined: 0,
  session: { state: 'connected', since_ms: NOW - 60_000 },
  hello: null,
  devices: { up: 2, down: 1, unknown: 0 },
  data: { newest_sample_ms: null, newest_received_ms: null },
  alarms: { raised: 0, acknowledged: 0, returned: 0, shelved: 0, worst: null },
  traffic: { since_ms: 0, taken: 0, stored: 0, filtered: 0, bytes: 0, bytes_per_reading: null, bytes_saved: null },
}

const levels = (g: Gateway) => truths(g, NOW).map((truth) => truth.level)

describe('truths', () => {
  it('stand apart: a connected gateway without data is not called fresh', () => {
    expect(levels(gateway)).toEqual(['ok', 'none', 'bad', 'none'])
  })
  it('data goes stale while the session stays connected', () => {
    const quiet = { ...gateway, data: { newest_sample_ms: 0, newest_received_ms: NOW - 16_000 } }
    expect(levels(quiet)[0]).toBe('ok')
    expect(truths(quiet, NOW)[3]).toMatchObject({ level: 'warn', state: 'stale' })
  })
  it('fresh data does not turn a disconnected session green', () => {
    const gone: Gateway = {
      ...gateway,
      session: { state: 'disconnected', since_ms: NOW - 1 },
      data: { newest_sample_ms: NOW - 1000, newest_received_ms: NOW },
    }
    expect(levels(gone)).toEqual(['bad', 'none', 'bad', 'ok'])
  })
  it('backlog that just came is not fresh', () => {
    const drained = { ...gateway, data: { newest_sample_ms: NOW - 600_000, newest_received_ms: NOW } }
    expect(truths(drained, NOW)[3]).toMatchObject({
      level: 'warn',
      detail: 'newest came now, taken 10 min ago',
    })
  })
  it('an unknown link is not an up link', () => {
    const silent = { ...gateway, devices: { up: 0, down: 0, unknown: 3 } }
    expect(truths(silent, NOW)[2]).toMatchObject({ level: 'none', state: 'unknown' })
  })
})
