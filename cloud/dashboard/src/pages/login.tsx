// Logging in. Failures say what to do; a lockout counts down.
import { useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useEffect, useState } from 'react'
import { Button, Form, Input, Label, TextField } from 'react-aria-components'
import { api, Problem } from '../api/client'
import { sentence } from '../logic/format'
import { Brand } from '../ui/mark'
import page from '../ui/page.module.css'
import css from './login.module.css'

export function LoginPage() {
  const client = useQueryClient()
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [problem, setProblem] = useState<string>()
  const [wait, setWait] = useState(0)
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    document.title = 'Log in · Fogline'
  }, [])
  useEffect(() => {
    if (wait <= 0) return
    const timer = setTimeout(() => setWait(wait - 1), 1000)
    return () => clearTimeout(timer)
  }, [wait])
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (busy || wait > 0) return
    setBusy(true)
    setProblem(undefined)
    try {
      const me = await api.login(name.trim(), password)
      // Nothing that somebody else saw before stays; `me` itself is being watched and must remain.
      client.removeQueries({ predicate: (query) => query.queryKey[0] !== 'me' })
      client.setQueryData(['me'], me)
    } catch (error) {
      setPassword('')
      if (error instanceof Problem && error.retryAfterS) setWait(error.retryAfterS)
      setProblem(error instanceof Problem ? sentence(error.title) : 'Logging in failed')
    } finally {
      setBusy(false)
    }
  }
  return (
    <main className={css.page}>
      <div className={css.box}>
        <div className={css.brand}>
          <Brand />
          <h1>Fogline</h1>
        </div>
        <Form onSubmit={(event) => void submit(event)} className={css.form}>
          <TextField value={name} onChange={setName} isRequired name="name" autoComplete="username" autoFocus>
            <Label>Name</Label>
            <Input className={page.input} autoCapitalize="none" spellCheck="false" />
          </TextField>
          <TextField
            value={password}
            onChange={setPassword}
            isRequired
            name="password"
            type="password"
            autoComplete="current-password"
          >
            <Label>Password</Label>
            <Input className={page.input} />
          </TextField>
          <p className={css.problem} role="alert">
            {problem ? (
              <>
                {problem}.{wait > 0 ? ` Try again in ${wait} s.` : ''}
              </>
            ) : null}
          </p>
          <Button type="submit" className={`${page.button} ${page.primary}`} isDisabled={busy || wait > 0}>
            {busy ? 'Checking …' : 'Log in'}
          </Button>
        </Form>
      </div>
      <p className={css.hint}>
        The first login is printed once when the server starts: a one-time password, good for one login.
      </p>
    </main>
  )
}
