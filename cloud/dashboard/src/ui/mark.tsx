// Small signs: the brand, and state marks whose shape says what their colour says.
import css from './mark.module.css'

export function Brand() {
  return (
    <svg className={css.brand} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <g>
        <path d="M6 12c3.300-3 6.700-3 10 0s6.700 3 10 0" />
        <path d="M6 18.500h20" opacity=".75" />
        <path d="M10 24h12" opacity=".45" />
      </g>
    </svg>
  )
}

export type Level = 'ok' | 'warn' | 'bad' | 'none'

/** Dot good, triangle doubtful, square bad, ring unknown. Decoration: the word stands beside it. */
export function Mark({ level }: { level: Level }) {
  return (
    <svg className={`${css.mark} ${css[level]}`} viewBox="0 0 12 12" aria-hidden="true">
      {level === 'ok' ? <circle cx="6" cy="6" r="4" /> : null}
      {level === 'warn' ? <path d="M6 1.500 11 10.500H1z" /> : null}
      {level === 'bad' ? <rect x="2" y="2" width="8" height="8" rx="1.500" /> : null}
      {level === 'none' ? (
        <circle cx="6" cy="6" r="3.500" fill="none" stroke="currentColor" strokeWidth="1.500" />
      ) : null}
    </svg>
  )
}
