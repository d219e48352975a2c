// The four truths, side by side, each with its own mark and words.
import type { Gateway } from '../api/client'
import { useNow } from '../api/live'
import { truths } from '../logic/truths'
import { Mark } from './mark'
import css from './truths.module.css'

export function Truths({ gateway }: { gateway: Gateway }) {
  const now = useNow()
  return (
    <dl className={css.strip}>
      {truths(gateway, now).map((truth) => (
        <div key={truth.name} className={css.truth}>
          <dt>{truth.name}</dt>
          <dd>
            <span className={css.state}>
              <Mark level={truth.level} />
              {truth.state}
            </span>
            <span className={css.detail}>{truth.detail}</span>
          </dd>
        </div>
      ))}
    </dl>
  )
}
