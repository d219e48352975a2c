// The live stream: one EventSource for the page, the newest value of every series, and a short tail
// of numbers for sparklines and charts. Components subscribe per series, so a value that changes
// draws one cell and nothing else.
import { useSyncExternalStore } from 'react'
import type { Latest } from './client'
import { serverNow } from './client'

/** Points remembered per series, for sparklines and the live end of charts. */
const TAIL = 120

export type Connection = 'connecting' | 'live' | 'away'
export interface TailPoint {
  t: number
  v: number | null
}

type Listener = () => void
/** What is out of date: everything, or a list. */
export type Change = 'gap' | 'events' | 'alarms' | 'ledger'

class LiveStore {
  private readonly values = new Map<number, Latest>()
  private readonly tails = new Map<number, TailPoint[]>()
  private readonly listeners = new Map<number, Set<Listener>>()
  private readonly stateListeners = new Set<Listener>()
  private readonly changeListeners = new Set<(what: Change) => void>()
  private source: EventSource | undefined
  connection: Connection = 'connecting'

  open() {
    if (this.source) return
    const source = new EventSource('/v1/stream')
    this.source = source
    source.onopen = () => this.setConnection('live')
    source.onerror = () => {
      this.setConnection('away')
      // A refusal (session over, server full) closes it for good: try again by hand.
      if (source.readyState === EventSource.CLOSED && this.source === source) {
        this.source = undefined
        this.tellChange('gap')
        setTimeout(() => this.wanted && this.open(), 3000)
      }
    }
    source.addEventListener('values', (event) => {
      for (const value of JSON.parse((event as MessageEvent<string>).data) as Latest[]) this.put(value)
    })
    source.addEventListener('gap', () => this.tellChange('gap'))
    source.addEventListener('changed', (event) => {
      const changed = JSON.parse((event as MessageEvent<string>).data) as {
        events: boolean
        alarms: boolean
        ledger: boolean
      }
      if (changed.events) this.tellChange('events')
      if (changed.alarms) this.tellChange('alarms')
      if (changed.ledger) this.tellChange('ledger')
    })
  }

  private wanted = false

  start() {
    this.wanted = true
    this.open()
  }

  stop() {
    this.wanted = false
    this.source?.close()
    this.source = undefined
    this.values.clear()
    this.tails.clear()
    this.setConnection('connecting')
  }

  private setConnection(connection: Connection) {
    if (this.connection === connection) return
    this.connection = connection
    for (const listener of this.stateListeners) listener()
  }

  private tellChange(what: Change) {
    for (const listener of this.changeListeners) listener(what)
  }

  /** Takes a value unless a newer one is known. */
  put(value: Latest) {
    const known = this.values.get(value.series)
    if (known && known.time_ms > value.time_ms) return
    this.values.set(value.series, value)
    if (!known || known.time_ms < value.time_ms) {
      const tail = this.tails.get(value.series) ?? []
      tail.push({ t: value.time_ms, v: value.number ?? null })
      if (tail.length > TAIL) tail.splice(0, tail.length - TAIL)
      this.tails.set(value.series, tail)
    }
    for (const listener of this.listeners.get(value.series) ?? []) listener()
  }

  get(series: number) {
    return this.values.get(series)
  }

  tail(series: number): readonly TailPoint[] {
    return this.tails.get(series) ?? []
  }

  subscribe = (series: number, listener: Listener) => {
    const set = this.listeners.get(series) ?? new Set()
    set.add(listener)
    this.listeners.set(series, set)
    return () => {
      set.delete(listener)
    }
  }

  subscribeState = (listener: Listener) => {
    this.stateListeners.add(listener)
    return () => {
      this.stateListeners.delete(listener)
    }
  }

  onChange(listener: (what: Change) => void) {
    this.changeListeners.add(listener)
    return () => {
      this.changeListeners.delete(listener)
    }
  }
}

export const live = new LiveStore()

/** The newest value of a series, kept fresh. */
export function useLatest(series: number): Latest | undefined {
  return useSyncExternalStore(
    (listener) => live.subscribe(series, listener),
    () => live.get(series),
  )
}

export function useConnection(): Connection {
  return useSyncExternalStore(live.subscribeState, () => live.connection)
}

// One clock for all ages on the page: they all step together, once a second.
const clock = {
  now: serverNow(),
  listeners: new Set<Listener>(),
  timer: undefined as ReturnType<typeof setInterval> | undefined,
}

function subscribeClock(listener: Listener) {
  clock.listeners.add(listener)
  clock.timer ??= setInterval(() => {
    clock.now = serverNow()
    for (const each of clock.listeners) each()
  }, 1000)
  return () => {
    clock.listeners.delete(listener)
    if (clock.listeners.size === 0) {
      clearInterval(clock.timer)
      clock.timer = undefined
    }
  }
}

/** Milliseconds since 1970 by the server's clock; steps once a second. */
export function useNow(): number {
  return useSyncExternalStore(subscribeClock, () => clock.now)
}
