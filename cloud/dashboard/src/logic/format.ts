// Numbers, bytes and times as people read them.

/** Digits behind the point that a decimal grid of this size has: 0.1 -> 1, 0.01 -> 2, 1 -> 0. */
export function digitsOf(scale: number): number | undefined {
  if (!Number.isFinite(scale) || scale <= 0) return undefined
  if (scale >= 1) return scale % 1 === 0 ? 0 : undefined
  for (let digits = 1; digits <= 9; digits++) {
    const grid = scale * 10 ** digits
    if (Math.abs(grid - Math.round(grid)) < 1e-6 && Math.round(grid) >= 1) return digits
  }
  return undefined
}

/** More digits than this nobody reads at a glance; exact values stand in the data table. */
const GLANCE = 7

/** A number with the digits that matter, seven at most; thin spaces between thousands. */
export function number(value: number, digits?: number): string {
  const size = Math.abs(value)
  if (digits !== undefined) {
    const whole = size < 1 ? 1 : Math.floor(Math.log10(size)) + 1
    return group(value.toFixed(Math.max(0, Math.min(digits, GLANCE - whole))))
  }
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return value.toExponential(3)
  if (Number.isInteger(value)) return group(value.toFixed(0))
  return group(String(Number(value.toPrecision(6))))
}

function group(text: string): string {
  const [whole = '', rest] = text.split('.')
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, '\u2009')
  return rest === undefined ? grouped : `${grouped}.${rest}`
}

/** A value with its unit. Integers come exact, as text. */
export function value(
  latest: { text?: string | null; number?: number | null },
  series: { value_type: string; scale: number },
): string {
  const text = latest.text
  if (text === null || text === undefined) return '—'
  switch (series.value_type) {
    case 'bool':
      return text === 'true' ? 'on' : 'off'
    case 'i64':
    case 'u64':
      return group(text)
    case 'f64': {
      if (latest.number === null || latest.number === undefined) return text
      // A scale of exactly 1 is also what unscaled floats carry: then the number decides.
      return number(latest.number, series.scale === 1 ? undefined : digitsOf(series.scale))
    }
    default:
      return text
  }
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  let rest = count
  while (rest >= 1024 && at < units.length - 1) {
    rest /= 1024
    at += 1
  }
  return `${at === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${units[at]}`
}

const two = (part: number) => String(part).padStart(2, '0')

/** 2026-11-20 07:05:09 in local time. */
export function moment(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '—'
  const at = new Date(ms)
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
  return `${day} ${clock(ms)}`
}

/** 07:05:09 in local time. */
export function clock(ms: number): string {
  const at = new Date(ms)
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

export const utc = (ms: number) => new Date(ms).toISOString()

/** A fragment of the API as a sentence. */
export const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)
