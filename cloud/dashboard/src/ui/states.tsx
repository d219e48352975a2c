// Empty, loading and failed: said in words, never a blank page.
import { Button } from 'react-aria-components'
import { Problem } from '../api/client'
import { sentence } from '../logic/format'
import css from './states.module.css'

export function Loading({ what }: { what: string }) {
  return (
    <div className={css.state} role="status">
      <span className={css.spinner} aria-hidden="true" />
      Loading {what} …
    </div>
  )
}

export function Nothing({ title, text }: { title: string; text: string }) {
  return (
    <div className={css.state}>
      <strong>{title}</strong>
      <p>{text}</p>
    </div>
  )
}

export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  const id = error instanceof Problem ? error.requestId : undefined
  return (
    <div className={`${css.state} ${css.failure}`} role="alert">
      <strong>{sentence(error.message)}</strong>
      {id ? <p>Request {id}</p> : null}
      {retry ? (
        <Button className={css.button} onPress={retry}>
          Try again
        </Button>
      ) : null}
    </div>
  )
}
