/** `npm run example browser` in Chromium. The screenshots are in build/screenshots. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Browser, Page } from 'playwright-core'
import { launchChromium } from './chromium.js'

let program: ChildProcess
let url: string
let browser: Browser
beforeAll(async () => {
  program = spawn(process.execPath, ['build/examples/run.js', 'browser'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: program.stdout! })
  for await (const line of lines) {
    if (!line.startsWith('https://')) throw new Error(`not a URL: ${line}`)
    url = line
    break
  }
  browser = await launchChromium([])
})
afterAll(async () => {
  await browser?.close()
  program.kill('SIGINT')
  if (program.exitCode === null) await once(program, 'exit')
})

const SIZES = {
  phone: { width: 390, height: 844 },
  desk: { width: 1280, height: 900 },
} as const

async function openPage(
  size: keyof typeof SIZES = 'desk',
  colorScheme: 'light' | 'dark' = 'light',
): Promise<{ page: Page; errors: string[] }> {
  const context = await browser.newContext({
    viewport: SIZES[size],
    colorScheme,
    // As a user who accepts the certificate when the browser asks.
    ignoreHTTPSErrors: true,
  })
  const page = await context.newPage()
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  page.on('console', (message) => {
    // A visitor is not signed in: 401.
    if (message.type() === 'error' && !message.text().includes('401')) errors.push(message.text())
  })
  await page.goto(url)
  return { page, errors }
}

const shot = (page: Page, name: string): Promise<unknown> =>
  page.screenshot({ path: join('build/screenshots', `browser-${name}.png`), fullPage: true })

describe('the browser example', () => {
  it('is used with the keyboard alone: sign in, add a visit, raise the fees, sign out', async () => {
    const { page, errors } = await openPage()
    await page.getByRole('button', { name: 'Sign in as Alice' }).focus()
    await page.keyboard.press('Enter')
    await page.getByRole('cell', { name: 'Leo' }).waitFor()
    await page.getByLabel('Pet').focus()
    await page.keyboard.type('Max')
    await page.keyboard.press('Tab')
    await page.keyboard.type('cough')
    await page.keyboard.press('Enter')
    await page.getByText('Added a visit of Max.').waitFor()
    await page.getByRole('button', { name: 'Raise the fees twice' }).focus()
    await page.keyboard.press('Enter')
    await page.getByText('all fees are 2 higher').waitFor()
    const row = page.getByRole('row', { name: 'Max' })
    expect(await row.getByRole('cell').allTextContents()).toEqual(['Max', 'cough', 'alice', '42'])
    const status = await page.locator('#status').innerText()
    expect(status).toMatch(/Transactions retried\s+1/)
    expect(status).toMatch(/Tokens made\s+2/)
    await page.getByRole('button', { name: 'Sign out' }).focus()
    await page.keyboard.press('Enter')
    await page.getByText('Signed out.').waitFor()
    expect(errors).toEqual([])
    await page.context().close()
  })

  it("says why Bob cannot add a visit, with the database's own words", async () => {
    const { page } = await openPage()
    await page.getByRole('button', { name: 'Sign in as Bob' }).click()
    await page.getByRole('cell', { name: 'Leo' }).waitFor()
    await page.getByLabel('Pet').fill('Max')
    await page.getByLabel('Reason').fill('cough')
    await page.getByRole('button', { name: 'Add visit' }).click()
    await page.getByText('permission denied for table visit').waitFor()
    await page.context().close()
  })

  it.each([
    ['phone', 'light'],
    ['phone', 'dark'],
    ['desk', 'light'],
    ['desk', 'dark'],
  ] as const)('fits a %s, in %s colours', async (size, colours) => {
    const { page } = await openPage(size, colours)
    await page.getByRole('button', { name: 'Sign in as Bob' }).waitFor()
    await shot(page, `${size}-${colours}-sign-in`)
    await page.getByRole('button', { name: 'Sign in as Bob' }).click()
    await page.getByRole('cell', { name: 'Leo' }).waitFor()
    await shot(page, `${size}-${colours}`)
    const overflow = await page.evaluate(
      'document.documentElement.scrollWidth - document.documentElement.clientWidth',
    )
    expect(overflow).toBe(0)
    await page.context().close()
  })

  it('hands out no credentials to a page of another site, nor to a visitor', async () => {
    const { page } = await openPage()
    const statusOf = async (headers: Record<string, string>): Promise<number> =>
      (
        await page.request.post(`${url}/credentials`, {
          headers,
          data: {},
          ignoreHTTPSErrors: true,
        })
      ).status()
    expect(await statusOf({ 'sec-fetch-site': 'cross-site' })).toBe(403)
    expect(await statusOf({})).toBe(401)
    await page.context().close()
  })
})
