// A new password: by choice, or because a one-time password must be replaced first.
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useEffect, useState } from 'react'
import { Button, Form, Input, Label, TextField } from 'react-aria-components'
import { api, Problem } from '../api/client'
import { sentence } from '../logic/format'
import { navigate } from '../router'
import page from '../ui/page.module.css'
import css from './login.module.css'

export function PasswordPage({ forced = false }: { forced?: boolean }) {
  const client = useQueryClient()
  const me = useQuery({ queryKey: ['me'], queryFn: api.me })
  const [current, setCurrent] = useState('')
  const [next, setNext] = useState('')
  const [again, setAgain] = useState('')
  const [problem, setProblem] = useState<string>()
  const [done, setDone] = useState(false)
  const oneTime = me.data?.one_time ?? false
  useEffect(() => {
    document.title = 'New password · Fogline'
  }, [])
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setDone(false)
    if (next !== again) {
      setProblem('The two new passwords differ')
      return
    }
    try {
      await api.setPassword(next, oneTime ? undefined : current)
      setProblem(undefined)
      setDone(true)
      for (const clear of [setCurrent, setNext, setAgain]) clear('')
      await client.invalidateQueries({ queryKey: ['me'] })
      if (forced) navigate('/', true)
    } catch (error) {
      setProblem(error instanceof Problem ? sentence(error.detail ?? error.title) : 'That failed')
    }
  }
  const fields = (
    <div className={css.box}>
      <div className={css.brand}>
        <h1>Set a new password</h1>
      </div>
      {forced ? (
        <p className={page.muted}>
          You logged in with a one-time password. It is spent; choose a password of your own to go on.
        </p>
      ) : null}
      <Form onSubmit={(event) => void submit(event)} className={css.form}>
        {oneTime ? null : (
          <TextField
            value={current}
            onChange={setCurrent}
            isRequired
            type="password"
            name="current"
            autoComplete="current-password"
          >
            <Label>Current password</Label>
            <Input className={page.input} />
          </TextField>
        )}
        <TextField
          value={next}
          onChange={setNext}
          isRequired
          type="password"
          name="new"
          autoComplete="new-password"
          autoFocus={forced}
        >
          <Label>New password, at least 12 characters</Label>
          <Input className={page.input} />
        </TextField>
        <TextField
          value={again}
          onChange={setAgain}
          isRequired
          type="password"
          name="again"
          autoComplete="new-password"
        >
          <Label>The same again</Label>
          <Input className={page.input} />
        </TextField>
        <p className={css.problem} role="alert">
          {problem ?? ''}
        </p>
        <p role="status">{done ? 'The new password is set. Other sessions of yours have ended.' : ''}</p>
        <Button type="submit" className={`${page.button} ${page.primary}`}>
          Set password
        </Button>
      </Form>
    </div>
  )
  return forced ? <main className={css.page}>{fields}</main> : fields
}
