// Quality in words: the API says `good`, `uncertain:<reason>` or `bad:<reason>`.

export interface Quality {
  level: 'good' | 'uncertain' | 'bad'
  words: string
}

const REASONS: Record<string, string> = {
  timeout: 'no answer',
  'link-down': 'link down',
  'device-error': 'device error',
  'bad-answer': 'answer broke the protocol',
  'out-of-range': 'out of range',
  undecodable: 'cannot be decoded',
  'not-asked': 'silent, not asked',
  'clock-unsynced': 'gateway clock not synced',
  stale: 'repeats an old value',
}

export function quality(text: string): Quality {
  const [level, reason] = text.split(':', 2)
  if (level === 'good') return { level: 'good', words: 'good' }
  const words = reason ? (REASONS[reason] ?? reason) : (level ?? text)
  return { level: level === 'uncertain' ? 'uncertain' : 'bad', words }
}

const LOSSES: Record<string, string> = {
  evicted: 'the spool was full',
  damaged: 'a record was damaged',
  quarantined: 'the spool was set aside',
  'crash-tail': 'the gateway stopped hard',
  thinned: 'thinned out',
  'cloud-restored': 'the cloud was restored from a backup',
  malformed: 'could not be decoded',
  'too-large': 'too large',
  'series-limit': 'too many series',
  'epoch-closed': 'came after its epoch was closed',
  revoked: 'the gateway was revoked',
}

/** Why readings are lost, in words. */
export const loss = (reason: string) => LOSSES[reason] ?? reason

/** How many readings a ledger entry is about, in words. */
export function lossCount(entry: {
  readings?: number | null
  at_most?: number | null
  upper_bound: boolean
}): string {
  if (entry.readings !== null && entry.readings !== undefined) {
    return `${entry.upper_bound ? 'at most ' : ''}${entry.readings} readings`
  }
  if (entry.at_most !== null && entry.at_most !== undefined) {
    return `at most ${entry.at_most} readings`
  }
  return 'unknown number of readings'
}
