/** `npm run example redshift-dashboard` in Chromium. The screenshots are in build/screenshots. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { eventually } from '../support/eventually.js'
import { launchChromium } from './chromium.js'

interface Dashboard {
  readonly url: string
  ask(command: string, value?: unknown): Promise<unknown>
  readonly output: () => string
}

let browser: Browser
let dashboard: Dashboard
let contexts: BrowserContext[] = []
const running: ChildProcess[] = []

beforeAll(async () => {
  browser = await launchChromium([])
  dashboard = await startDashboard()
})
afterEach(async () => {
  await Promise.all(contexts.map((context) => context.close()))
  contexts = []
})
afterAll(async () => {
  await browser?.close()
  for (const child of running) {
    if (child.exitCode !== null) continue
    child.kill()
    await once(child, 'exit')
  }
})

async function startDashboard(options: object = {}): Promise<Dashboard> {
  const child = fork(
    join(process.cwd(), 'test/browser/dashboard-process.mjs'),
    [JSON.stringify(options)],
    {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    },
  )
  running.push(child)
  let output = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk))
  child.once('exit', (code, signal) => {
    if (signal !== 'SIGTERM')
      process.stderr.write(`the dashboard has ended (${signal ?? code}): ${output}\n`)
  })
  const [{ url }] = (await once(child, 'message')) as [{ url: string }]
  let last = 0
  return {
    url,
    output: () => output,
    ask(command, value) {
      const id = ++last
      return new Promise((resolve) => {
        const listen = (message: { id: number; result: unknown }): void => {
          if (message.id !== id) return
          child.off('message', listen)
          resolve(message.result)
        }
        child.on('message', listen)
        child.send({ id, command, value })
      })
    },
  }
}

const SIZES = {
  phone: { width: 390, height: 844 },
  desk: { width: 1280, height: 900 },
} as const

async function openPage(
  { url }: Dashboard = dashboard,
  size: keyof typeof SIZES = 'desk',
  colorScheme: 'light' | 'dark' = 'light',
): Promise<{ page: Page; errors: string[] }> {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme })
  contexts.push(context)
  const page = await context.newPage()
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  page.on('console', (message) => {
    // A visitor is not signed in: 401. Errors of the sign-in are pages with other states.
    if (message.type() === 'error' && !/\b(?:400|401|403|503)\b/.test(message.text()))
      errors.push(message.text())
  })
  await page.goto(url)
  return { page, errors }
}

async function signIn(page: Page, user: string): Promise<void> {
  await page.getByRole('link', { name: 'Sign in' }).click()
  await page.getByRole('button', { name: user }).click()
  await page.getByText('Database user').waitFor()
}

const regions = (page: Page): Promise<string[]> =>
  page.locator('#regions td:first-child').allTextContents()
const shot = (page: Page, name: string): Promise<unknown> =>
  page.screenshot({ path: join('build/screenshots', `dashboard-${name}.png`), fullPage: true })

async function expectSignedOut(page: Page, { url }: Dashboard = dashboard): Promise<void> {
  await page.goto(url)
  await page.getByText('You are not signed in').waitFor()
  expect((await page.request.get(`${url}/api/sales`)).status()).toBe(401)
}

async function expectErrorPage(page: Page, code: string): Promise<void> {
  await page.getByText(code).waitFor()
  const content = await page.content()
  for (const secret of [...new URL(page.url()).searchParams.values()].filter(
    (each) => each.length > 20 && !each.startsWith('http'),
  ))
    expect(content).not.toContain(secret)
}

/** Signs in up to the callback with the cookies of the browser, and resolves with its address instead of opening it. */
async function callbackOf(page: Page, { url }: Dashboard, user: string): Promise<string> {
  let next = `${url}/sign-in`
  let form: Record<string, string> | undefined
  for (;;) {
    const response = await page.request.fetch(next, {
      maxRedirects: 0,
      ...(form === undefined ? {} : { method: 'POST', form }),
    })
    const { location } = response.headers()
    form = location === undefined ? { user } : undefined
    if (location === undefined) continue
    next = new URL(location, next).href
    if (next.startsWith(`${url}/callback`)) return next
  }
}

describe('the dashboard', () => {
  it('is used with the keyboard alone: sign in, read, sign out', async () => {
    const { page, errors } = await openPage()
    await page.getByRole('link', { name: 'Sign in' }).waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'alice' }).waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.getByText('IAMR:alice').waitFor()
    expect(await regions(page)).toEqual(expect.arrayContaining(['Lisbon', 'Madrid']))
    expect(page.url()).toBe(`${dashboard.url}/`)
    await page.getByRole('button', { name: 'Sign out', exact: true }).focus()
    await page.keyboard.press('Enter')
    await page.getByText('Sign out of the identity provider?').waitFor()
    await page.keyboard.press('Enter')
    await page.getByText('You are not signed in').waitFor()
    expect(errors).toEqual([])
  })

  it.each([
    ['phone', 'light'],
    ['phone', 'dark'],
    ['desk', 'light'],
    ['desk', 'dark'],
  ] as const)('fits a %s, in %s', async (size, scheme) => {
    const { page, errors } = await openPage(dashboard, size, scheme)
    await shot(page, `visitor-${size}-${scheme}`)
    await signIn(page, 'alice')
    await shot(page, `${size}-${scheme}`)
    const width = await page.evaluate('document.documentElement.scrollWidth')
    expect(width).toBeLessThanOrEqual(SIZES[size].width)
    expect(errors).toEqual([])
  })

  it('gives scripts no access to the session, and has no token in its addresses, pages and output', async () => {
    const { page } = await openPage()
    const addresses: string[] = []
    page.on('request', (request) => addresses.push(request.url()))
    await signIn(page, 'alice')
    expect(await page.evaluate('document.cookie')).toBe('')
    expect(await page.evaluate('JSON.stringify([localStorage, sessionStorage])')).toBe('[{},{}]')
    // The identity provider is another port of the same host, so the browser sends its cookies, too.
    const all = await page.context().cookies(dashboard.url)
    const cookies = all.filter(({ name }) => name.startsWith('__Host-'))
    expect(cookies).toEqual([
      expect.objectContaining({
        name: '__Host-pg-iam-session',
        httpOnly: true,
        secure: true,
        sameSite: 'Lax',
        path: '/',
      }),
    ])
    const shown = addresses.join('\n') + (await page.content()) + dashboard.output()
    expect(shown).not.toMatch(/eyJ/)
    expect(shown).not.toContain(cookies[0]!.value)
  })

  it('shows two users side by side their own rows only, and in one browser one after the other', async () => {
    const [{ page: one }, { page: two }] = [await openPage(), await openPage()]
    await Promise.all([signIn(one, 'alice'), signIn(two, 'bob')])
    for (let turn = 0; turn < 3; turn++) {
      await Promise.all(
        [one, two].map((page) =>
          page.reload().then(() => page.locator('#regions td').first().waitFor()),
        ),
      )
      expect((await regions(one)).toSorted()).toEqual(['Lisbon', 'Madrid'])
      expect(await regions(two)).toEqual(['Oslo'])
    }
    await one.getByRole('button', { name: 'Sign out', exact: true }).click()
    await one.getByRole('button', { name: 'Sign out' }).click()
    await one.getByText('You are not signed in').waitFor()
    await signIn(one, 'bob')
    await one.getByText('IAMR:bob').waitFor()
    expect(await regions(one)).toEqual(['Oslo'])
  })

  it('signs out everywhere', async () => {
    const [{ page: one }, { page: two }, { page: stranger }] = [
      await openPage(),
      await openPage(),
      await openPage(),
    ]
    await signIn(one, 'alice')
    await signIn(two, 'alice')
    await signIn(stranger, 'bob')
    await one.getByRole('button', { name: 'Sign out everywhere' }).click()
    await one.getByText('Sign out of the identity provider?').waitFor()
    await two.getByRole('button', { name: 'Refresh' }).click()
    await two.getByText('Your session has ended.').waitFor()
    await stranger.getByRole('button', { name: 'Refresh' }).click()
    await stranger.getByText('Loaded 1 region.').waitFor()
  })

  it('ends the session when the user signs out at the identity provider', async () => {
    const { page } = await openPage()
    await signIn(page, 'alice')
    const policy = (await page.request.get(dashboard.url)).headers()['content-security-policy']!
    const [issuer] = /http:\/\/localhost:\d+/.exec(policy)!
    const other = await page.context().newPage()
    await other.goto(`${issuer}/session/end`)
    await other.getByRole('button', { name: 'Sign out' }).click()
    await other.getByText('You are signed out').waitFor()
    await page.getByRole('button', { name: 'Refresh' }).click()
    await page.getByText('Your session has ended.').waitFor()
  })
})

describe('a sign-in that does not go as it should', () => {
  it('is denied by the user', async () => {
    const { page } = await openPage()
    await page.getByRole('link', { name: 'Sign in' }).click()
    await page.getByRole('button', { name: 'Deny' }).click()
    await page.getByText('The sign-in was denied.').waitFor()
    await shot(page, 'denied')
    await expectErrorPage(page, 'ERR_SIGN_IN_DENIED')
    await expectSignedOut(page)
  })

  it('has a forged state', async () => {
    const { page } = await openPage()
    const url = new URL(await callbackOf(page, dashboard, 'alice'))
    url.searchParams.set('state', 'x'.repeat(43))
    await page.goto(url.href)
    await expectErrorPage(page, 'ERR_SIGN_IN_STATE')
    await expectSignedOut(page)
  })

  it("is another browser's", async () => {
    const [{ page: victim }, { page: attacker }] = [await openPage(), await openPage()]
    const url = await callbackOf(attacker, dashboard, 'bob')
    await victim.goto(url)
    await expectErrorPage(victim, 'ERR_SIGN_IN_STATE')
    await expectSignedOut(victim)
  })

  it('is replayed', async () => {
    const { page } = await openPage()
    const url = await callbackOf(page, dashboard, 'alice')
    await page.goto(url)
    await page.getByText('IAMR:alice').waitFor()
    await page.goto(url)
    await expectErrorPage(page, 'ERR_SIGN_IN_STATE')
    // The session that the first use began is not touched.
    await page.goto(dashboard.url)
    await page.getByText('IAMR:alice').waitFor()
  })

  it('takes too long', async () => {
    const own = await startDashboard()
    const { page } = await openPage(own)
    const url = await callbackOf(page, own, 'alice')
    await own.ask('advance', 601_000)
    await page.goto(url)
    await page.getByText('The sign-in took too long.').waitFor()
    await expectErrorPage(page, 'ERR_SIGN_IN_EXPIRED')
    await expectSignedOut(page, own)
  })
})

describe('a session of the dashboard', () => {
  it('expires, and offers to sign in again', async () => {
    const own = await startDashboard()
    const { page } = await openPage(own)
    await signIn(page, 'alice')
    await own.ask('advance', 13 * 3_600_000)
    await page.getByRole('button', { name: 'Refresh' }).click()
    await page.getByText('Your session has ended.').waitFor()
    expect(await page.getByRole('link', { name: 'Sign in' }).isVisible()).toBe(true)
  })

  it('ends when the provider refuses to refresh its tokens, and has no connection then', async () => {
    const own = await startDashboard({ tokenSecs: 60 })
    const { page } = await openPage(own)
    await signIn(page, 'alice')
    expect(await own.ask('connections')).not.toBe(0)
    await own.ask('revokeGrants')
    await own.ask('advance', 61_000)
    await page.getByRole('button', { name: 'Refresh' }).click()
    await page.getByText('Your session has ended.').waitFor()
    await eventually(
      'the connections to be closed',
      async () => (await own.ask('connections')) === 0,
    )
  })

  it('outlives the identity provider, of which a new sign-in needs an answer', async () => {
    const own = await startDashboard()
    const [{ page }, { page: visitor }] = [await openPage(own), await openPage(own)]
    await signIn(page, 'alice')
    await own.ask('stopProvider')
    await page.getByRole('button', { name: 'Refresh' }).click()
    await page.getByText('Loaded 2 regions.').waitFor()
    // The application knows the provider's addresses, so it is the browser that gets no answer.
    await expect(visitor.goto(`${own.url}/sign-in`)).rejects.toThrow('ERR_CONNECTION_REFUSED')
    await page.getByRole('button', { name: 'Sign out', exact: true }).click({ noWaitAfter: true })
    await eventually(
      'the session to end',
      async () => (await page.request.get(`${own.url}/api/session`)).status() === 401,
    )
  })
})
