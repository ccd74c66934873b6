/** 200 users of the dashboard at once, over HTTP, with 50 pools. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Browser } from '../sign-in/identity-provider.js'

const USERS = Array.from({ length: 200 }, (_, index) => `user-${index + 1}`)
let child: ChildProcess
let url: string

beforeAll(async () => {
  // A slow machine takes long for 200 sign-ins, but must not fail one.
  const options = {
    users: USERS,
    limits: { pools: 50, poolWaitMs: 600_000, requestTimeoutMs: 120_000 },
    tokenSecs: 3_600,
    login: { tokenTimeoutMs: 600_000, connectTimeoutMs: 600_000 },
  }
  child = fork(
    join(process.cwd(), 'test/browser/dashboard-process.mjs'),
    [JSON.stringify(options)],
    {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  )
  ;[{ url }] = (await once(child, 'message')) as [{ url: string }]
})
afterAll(async () => {
  child.kill()
  await once(child, 'exit')
})

/** The number of connections to the database. */
async function connections(): Promise<number> {
  child.send({ id: 1, command: 'connections' })
  const [{ result }] = (await once(child, 'message')) as [{ result: number }]
  return result
}

async function signIn(browser: Browser, user: string): Promise<void> {
  const started = await browser.fetch(`${url}/sign-in`)
  const callback = await browser.signInAtProvider(started.headers.get('location')!, user)
  expect((await browser.fetch(callback)).status).toBe(303)
}

it('200 users sign in and query at once with 50 pools, each as themselves, and without an error', async () => {
  const browsers = USERS.map((user) => ({ user, browser: new Browser() }))
  // Not all at once: the memory of oidc-provider 8 has 1,000 entries, and would forget codes before they are used.
  for (let first = 0; first < browsers.length; first += 25) {
    const some = browsers.slice(first, first + 25)
    await Promise.all(some.map(({ user, browser }) => signIn(browser, user)))
  }
  const counts: number[] = []
  for (let turn = 0; turn < 3; turn++) {
    const answers = await Promise.all(
      browsers.map(async ({ browser }) => {
        const response = await browser.fetch(`${url}/api/sales`)
        return (await response.json()) as { databaseUser: string }
      }),
    )
    expect(answers.map(({ databaseUser }) => databaseUser)).toEqual(
      USERS.map((user) => `IAMR:${user}`),
    )
    counts.push(await connections())
  }
  // Two for each pool.
  expect(Math.max(...counts)).toBeLessThanOrEqual(100)
})
