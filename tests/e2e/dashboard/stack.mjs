// What the journeys need: the running stack by its environment, a browser, and a login.
//
//   FOGLINE_URL          https://localhost:<port>                     (required)
//   FOGLINE_USER         login name                                   (default admin)
//   FOGLINE_PASSWORD     its password; may be a one-time password     (required)
//   FOGLINE_NEW_PASSWORD what replaces a one-time password            (default below)
//   FOGLINE_CHROMIUM     path of Chromium                             (default: looked for)
//   FOGLINE_REQUIRE      what the stack must have to show: any of stale,gap,lost,alarm, by commas.
//                        A journey whose subject is missing is skipped unless it is named here.
import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'

const needed = (name) => {
  const value = process.env[name]
  if (!value) throw new Error(`set ${name}; see stack.mjs`)
  return value
}

export const url = needed('FOGLINE_URL').replace(/\/$/, '')
export const user = process.env.FOGLINE_USER ?? 'admin'
const given = needed('FOGLINE_PASSWORD')
const replacement = process.env.FOGLINE_NEW_PASSWORD ?? 'journeys through the page'
export const required = new Set((process.env.FOGLINE_REQUIRE ?? '').split(',').filter(Boolean))

/** Deadline of anything that has to come from the stack, milliseconds. */
export const PATIENCE = 120_000

function chromiumPath() {
  const places = [process.env.FOGLINE_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  const found = places.find((path) => path && existsSync(path))
  if (!found) throw new Error('no Chromium found; install it or set FOGLINE_CHROMIUM')
  return found
}

export const launch = () =>
  chromium.launch({
    executablePath: chromiumPath(),
    timeout: PATIENCE,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  })

/** A page that notes whatever must never happen: errors, policy violations, requests elsewhere. */
export async function open(context) {
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE)
  page.troubles = []
  page.on('pageerror', (error) => page.troubles.push(`error: ${error.message}`))
  page.on('console', (message) => {
    // The browser itself logs answers of 401 and 429; those are part of the journeys.
    if (message.type() === 'error' && !/status of (401|429)/.test(message.text())) {
      page.troubles.push(`console: ${message.text()}`)
    }
  })
  page.on('request', (request) => {
    const elsewhere = !request.url().startsWith(url) && !/^(data|blob):/.test(request.url())
    if (elsewhere) page.troubles.push(`request elsewhere: ${request.url()}`)
  })
  return page
}

export async function fillLogin(page, name, password) {
  await page.goto(url)
  await page.getByLabel('Name').fill(name)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
}

const gateways = (page) => page.getByRole('heading', { name: 'Gateways', level: 1 })

async function setPassword(page) {
  const fields = page.locator('input[type=password]')
  await fields.nth(0).waitFor()
  await page.getByLabel('New password, at least 12 characters').fill(replacement)
  await page.getByLabel('The same again').fill(replacement)
  await page.getByRole('button', { name: 'Set password' }).click()
}

let password = given

/** Logs in; a one-time password is replaced on the way, so that later journeys can log in again. */
export async function login(page) {
  await fillLogin(page, user, password)
  const forced = page.getByRole('heading', { name: 'Set a new password' })
  await gateways(page).or(forced).first().waitFor()
  if (await forced.isVisible()) {
    await setPassword(page)
    password = replacement
  } else if (await page.getByRole('note').isVisible()) {
    await page.getByRole('link', { name: 'Set a password' }).click()
    await setPassword(page)
    await page.getByText('The new password is set').waitFor()
    password = replacement
    await page.goto(url)
  }
  await gateways(page).waitFor()
}

/** Asks the API as the page would: with its cookie. */
export const ask = (page, path) =>
  page.evaluate(async (path) => {
    const response = await fetch(path)
    if (!response.ok) throw new Error(`${path}: ${response.status}`)
    return response.json()
  }, path)

/** Waits until `probe` gives something true. */
export async function until(what, probe) {
  const deadline = Date.now() + PATIENCE
  for (;;) {
    const found = await probe()
    if (found) return found
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Ends a journey whose subject the stack does not show; fails when it was required. */
export function missing(t, subject, why) {
  if (required.has(subject)) throw new Error(`${subject} is required, but ${why}`)
  t.skip(why)
}
