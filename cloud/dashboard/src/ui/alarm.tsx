// An alarm's level as a sign and a word: the shape says what the colour says.
import { type AlarmLevel, levelOf } from '../logic/alarms'
import css from './alarm.module.css'

/** Octagon critical, diamond high, triangle medium, circle low. Decoration: the word stands beside it. */
function Sign({ level }: { level: AlarmLevel }) {
  return (
    <svg className={css.mark} viewBox="0 0 16 16" aria-hidden="true">
      {level === 'critical' ? (
        <>
          <path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z" />
          <text x="8" y="11.500">
            !
          </text>
        </>
      ) : null}
      {level === 'high' ? <path d="M8 .5 15.500 8 8 15.500 .5 8z" /> : null}
      {level === 'medium' ? <path d="M8 1.500 15 14.500H1z" /> : null}
      {level === 'low' ? <circle cx="8" cy="8" r="5.500" /> : null}
    </svg>
  )
}

/** `over`: its cause is gone, so it no longer shouts. */
export function Level({ name, over = false }: { name: string; over?: boolean }) {
  const level = levelOf(name)
  return (
    <span className={`${css.level} ${over ? css.over : css[level]}`}>
      <Sign level={level} />
      {name}
    </span>
  )
}
