// Journeys of a person through the page, in real Chromium against a real stack; see stack.mjs.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AxeBuilder } from '@axe-core/playwright'
import { ask, fillLogin, launch, login, missing, open, PATIENCE, required, until, url, user } from './stack.mjs'

let browser
let context
let page

before(async () => {
  browser = await launch()
  context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1360, height: 900 } })
  page = await open(context)
  await login(page)
})

after(async () => {
  await browser?.close()
})

/** Numbers that move: [series id, gateway, text] of points with a live good value. */
async function seriesWith(kind) {
  for (const gateway of await ask(page, '/v1/gateways')) {
    const path = encodeURIComponent(gateway.id)
    const series = await ask(page, `/v1/gateways/${path}/series`)
    const latest = await ask(page, `/v1/latest?gateway=${path}`)
    const found = series.find((one) => kind(one, latest.find((value) => value.series === one.id), gateway))
    if (found) return found
  }
  return undefined
}

const moving = () =>
  until('a point with a fresh good number', () =>
    seriesWith((one, value) => {
      const numeric = ['f64', 'i64', 'u64'].includes(one.value_type)
      return numeric && value?.quality === 'good' && Date.now() - value.received_ms < 10_000
    }),
  )

async function seriousFindings() {
  const { violations } = await new AxeBuilder({ page }).analyze()
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`)
}

test('a wrong password is refused with words and lets nobody in', async () => {
  const stranger = await browser.newContext({ ignoreHTTPSErrors: true })
  const other = await open(stranger)
  await fillLogin(other, `nobody-${user}`, 'certainly not the password')
  await other.getByRole('alert').getByText('Name or password is wrong').waitFor()
  assert.equal(await other.getByTestId('gateway').count(), 0)
  const refused = await other.evaluate(async () => (await fetch('/v1/gateways')).status)
  assert.equal(refused, 401)
  assert.deepEqual(other.troubles, [])
  await stranger.close()
})

test('gateways, devices and values are listed, the four truths apart', async () => {
  await page.goto(url)
  const card = page.getByTestId('gateway').first()
  await card.waitFor()
  for (const truth of ['Broker session', 'Last hello', 'Device links', 'Data']) {
    await card.getByText(truth, { exact: true }).waitFor()
  }
  await page.getByTestId('value').first().waitFor()
  await page.getByTestId('connection').getByText('Live').waitFor()
})

test('gateways come page by page, and the address says which page', async () => {
  const all = await ask(page, '/v1/gateways')
  await page.goto(`${url}/?after=${encodeURIComponent(all[0].id)}`)
  await page.getByRole('link', { name: all[1].id, exact: true }).waitFor()
  assert.equal(await page.getByRole('link', { name: all[0].id, exact: true }).count(), 0)
  await page.getByRole('link', { name: 'First page' }).click()
  await page.getByRole('link', { name: all[0].id, exact: true }).waitFor()
  assert.equal(new URL(page.url()).search, '')
})

test('values move without reloading', async () => {
  const one = await moving()
  await page.goto(`${url}/gateways/${one.gateway}`)
  const row = page.getByTestId('device').filter({ hasText: one.device }).locator('tr', {
    has: page.getByRole('link', { name: one.point, exact: true }),
  })
  const value = row.locator('td').nth(1)
  const first = await value.innerText()
  await until('the value changes', async () => (await value.innerText()) !== first)
})

test('a stale value is greyed and says for how long', async (t) => {
  await page.goto(url)
  await page.getByTestId('value').first().waitFor()
  const stale = page.locator('[data-testid=value][data-stale]').first()
  try {
    await stale.waitFor({ timeout: process.env.FOGLINE_REQUIRE?.includes('stale') ? PATIENCE : 5000 })
  } catch {
    missing(t, 'stale', 'no value is stale')
    return
  }
  assert.match(await stale.innerText(), /stale \d+ (s|min|h|d)/)
})

test('a chart is live: its end moves with new readings', async () => {
  const one = await moving()
  await page.goto(`${url}/series/${one.id}`)
  await page.getByTestId('chart').locator('canvas').waitFor()
  await page.getByTestId('range').getByText('live · last 5 min').waitFor()
  const now = page.getByTestId('now')
  const first = await now.innerText()
  await until('the newest value changes', async () => (await now.innerText()) !== first)
  const label = async () => page.getByTestId('chart').getAttribute('aria-label')
  const before = await label()
  await until('the chart is drawn anew', async () => (await label()) !== before)
})

test('dragging zooms in, buttons zoom out and reset, the address keeps the range', async () => {
  const one = await moving()
  await page.goto(`${url}/series/${one.id}?span=3600`)
  const box = await page.getByTestId('chart').locator('.u-over').boundingBox()
  await page.mouse.move(box.x + box.width * 0.4, box.y + 100)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * 0.7, box.y + 120, { steps: 8 })
  await page.mouse.up()
  await page.waitForURL(/from=\d+&to=\d+/)
  const range = () => {
    const search = new URL(page.url()).searchParams
    return Number(search.get('to')) - Number(search.get('from'))
  }
  const dragged = range()
  assert.ok(dragged > 600_000 && dragged < 1_700_000, `${dragged} ms of an hour were dragged`)
  await page.getByRole('button', { name: 'Zoom out' }).click()
  await until('twice as much is shown', () => Math.abs(range() - 2 * dragged) < 10)
  await page.goBack()
  await until('the step back restores the range', () => range() === dragged)
  await page.getByRole('button', { name: 'Reset' }).click()
  await page.getByTestId('range').getByText('live · last 5 min').waitFor()
})

test('every number of a chart can be had as a table', async () => {
  const one = await moving()
  await page.goto(`${url}/series/${one.id}?span=900`)
  await page.getByRole('button', { name: 'View as data' }).click()
  const rows = page.getByRole('region', { name: 'Data' }).locator('tbody tr')
  await rows.first().waitFor()
  const summary = await page.getByTestId('summary').innerText()
  assert.match(summary, /\d+ readings/)
})

test('a gap is listed and left empty', async (t) => {
  // What counts as silence follows the readings in view: a gap of a day must be one of its own minutes too.
  const seen = []
  const found = await findInDay(async (data, series) => {
    for (const gap of data.gaps) {
      const width = Math.max(gap.to_ms - gap.from_ms, 1000)
      const range = `from=${gap.from_ms - width}&to=${gap.to_ms + width}`
      const near = await ask(page, `/v1/series/${series.id}/data?${range}`)
      if (near.gaps.length > 0) {
        seen.push(range)
        return true
      }
    }
    return false
  })
  if (!found) return missing(t, 'gap', 'no series has a gap within a day')
  await page.goto(`${url}/series/${found.series.id}?${seen[0]}`)
  await page.getByTestId('gaps').locator('li').first().waitFor()
  assert.match(await page.getByTestId('gaps').innerText(), /No (good )?readings/)
})

test('a lost range is marked, with its reason on hover and in the list', async (t) => {
  const found = await findInDay((data) => data.lost.some((entry) => entry.from_ms && entry.to_ms))
  if (!found) return missing(t, 'lost', 'the ledger has no entry of a drawn series within a day')
  const { series, data } = found
  const entry = data.lost.find((one) => one.from_ms && one.to_ms)
  const width = Math.max(entry.to_ms - entry.from_ms, 10_000)
  await page.goto(`${url}/series/${series.id}?from=${entry.from_ms - width}&to=${entry.to_ms + width}`)
  const list = page.getByTestId('lost').locator('li').first()
  await list.waitFor()
  const reason = await list.locator('strong').first().innerText()
  const box = await page.getByTestId('chart').locator('.u-over').boundingBox()
  const middle = (entry.from_ms + entry.to_ms) / 2
  const share = (middle - (entry.from_ms - width)) / (entry.to_ms - entry.from_ms + 2 * width)
  await page.mouse.move(box.x + box.width * share, box.y + box.height / 2)
  const tip = page.getByTestId('tip')
  await tip.waitFor()
  assert.ok((await tip.innerText()).includes('Lost: '), await tip.innerText())
  assert.ok(reason.length > 0)
})

/** A charted series whose last day satisfies `wanted`. */
async function findInDay(wanted) {
  const to = Date.now()
  for (const gateway of await ask(page, '/v1/gateways')) {
    const all = await ask(page, `/v1/gateways/${encodeURIComponent(gateway.id)}/series`)
    for (const series of all.filter((one) => !['text', 'bytes'].includes(one.value_type))) {
      const data = await ask(page, `/v1/series/${series.id}/data?from=${to - 86_400_000}&to=${to}`)
      if (await wanted(data, series)) return { series, data }
    }
  }
  return undefined
}

/** The newest event of an alarm; waited for where there must be one. */
async function newestAlarm() {
  const newest = async () => (await ask(page, '/v1/events?kind=alarm&limit=1'))[0]
  return required.has('alarm') ? until('a rule raises an alarm', newest) : newest()
}

test('a rule on a gateway raises an alarm: it appears, leads to its point, and clears', async (t) => {
  const event = await newestAlarm()
  if (!event) return missing(t, 'alarm', 'no rule has raised an alarm')
  const { subject: name, gateway } = event
  const where = `gateway=${encodeURIComponent(gateway)}`
  await page.goto(`${url}/alarms?${where}`)
  // It comes and goes: each of these waits for the next time.
  const alarm = page.locator(`[data-testid=alarm][data-alarm="${name}"]`)
  await page.locator(`[data-alarm="${name}"][data-state=raised]`).waitFor()
  await page.getByTestId('alarm-badge').waitFor()
  await alarm.waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'All, also over' }).click()
  await page.waitForURL(/state=all/)
  await alarm.waitFor()
  assert.match(await alarm.innerText(), /(low|medium|high|critical)/)
  const path = encodeURIComponent(name)
  const story = await ask(page, `/v1/events?kind=alarm&${where}&subject=${path}`)
  for (const state of ['raised', 'normal']) {
    assert.ok(story.some((event) => event.alarm?.state === state), `${state} is not among the events`)
  }
  await alarm.getByRole('link', { name: 'what happened' }).click()
  await page.getByRole('heading', { name: 'Events', level: 1 }).waitFor()
  await page.locator('tbody').getByText('raised', { exact: true }).first().waitFor()
  await page.goBack()
  await alarm.getByRole('link', { name: /\// }).first().click()
  await page.getByTestId('chart').locator('canvas').waitFor()
})

test('a gateway tells its alarms, and what its filters saved and how that is reckoned', async (t) => {
  await page.goto(url)
  const saved = page.getByTestId('saved').first()
  await saved.waitFor()
  assert.match(await saved.innerText(), /\d+ % of readings, about \d/)
  await saved.click()
  const card = page.getByTestId('traffic')
  await card.getByText('Left out by filters').waitFor()
  await card.getByText(/The bytes are an estimate: a stored reading of this gateway took \d+\.\d bytes/).waitFor()
  if (!(await newestAlarm())) return missing(t, 'alarm', 'no rule has raised an alarm')
  await page.goto(url)
  await page.getByTestId('gateway-alarms').first().click()
  await page.getByRole('heading', { name: 'Alarms', level: 1 }).waitFor()
})

test('without alarms the page says how to get one', async () => {
  const quiet = await until('a gateway without alarms', async () => {
    for (const gateway of await ask(page, '/v1/gateways')) {
      const path = `/v1/alarms?state=all&gateway=${encodeURIComponent(gateway.id)}`
      if ((await ask(page, path)).length === 0) return gateway.id
    }
    return undefined
  })
  await page.goto(`${url}/alarms?state=all&gateway=${encodeURIComponent(quiet)}`)
  await page.getByTestId('no-alarms').getByText('[rule.overtemp]').waitFor()
})

test('ledger and events are pages of their own, reachable by keyboard', async () => {
  await page.goto(url)
  await page.getByRole('link', { name: 'Loss ledger' }).focus()
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Loss ledger', level: 1 }).waitFor()
  await page.getByRole('link', { name: 'Events', exact: true }).focus()
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Events', level: 1 }).waitFor()
})

for (const colorScheme of ['light', 'dark']) {
  test(`no page has a serious accessibility finding (${colorScheme})`, async () => {
    const one = await moving()
    await page.emulateMedia({ colorScheme })
    const paths = ['/', `/gateways/${one.gateway}`, `/series/${one.id}`, '/alarms?state=all', '/ledger', '/events', '/password']
    for (const path of paths) {
      await page.goto(url + path)
      await page.locator('h1').waitFor()
      if (path.startsWith('/series')) await page.getByTestId('chart').locator('canvas').waitFor()
      assert.deepEqual(await seriousFindings(), [], path)
    }
    await page.emulateMedia({ colorScheme: null })
  })
}

test('the page fits a phone and text at twice its size', async () => {
  await page.setViewportSize({ width: 320, height: 700 })
  const one = await moving()
  const paths = ['/', `/gateways/${one.gateway}`, `/series/${one.id}`, '/alarms?state=all', '/events?kind=alarm', '/ledger']
  for (const path of paths) {
    await page.goto(url + path)
    await page.locator('h1').waitFor()
    const wide = await page.evaluate(() => document.documentElement.scrollWidth)
    assert.ok(wide <= 320, `${path} is ${wide} px wide`)
  }
  await page.setViewportSize({ width: 1360, height: 900 })
})

test('nothing went wrong on the way: no errors, no policy violation, no request elsewhere', () => {
  assert.deepEqual(page.troubles, [])
})

test('logging out ends the session, live values too', async () => {
  await page.goto(url)
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('button', { name: 'Log in' }).waitFor()
  const status = await page.evaluate(async () => (await fetch('/v1/gateways')).status)
  assert.equal(status, 401)
})
