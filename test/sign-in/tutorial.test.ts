/** The programs of docs/redshift-tutorial.md, as a reader saves and starts them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { codeBlocks } from '../support/readme/code-blocks.js'
import { Browser } from './identity-provider.js'

// Within the package, so that its own name resolves as it does for a user.
const folder = join(process.cwd(), 'build', 'tutorial')
const children: ChildProcess[] = []
let origin: string
let issuer: string

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Starts a program, and waits for a line of it. */
async function start(
  args: readonly string[],
  line: RegExp,
  env: Record<string, string>,
): Promise<void> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:PG|AWS_|NODE_|JEST_)/.test(name),
  )
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: {
      ...Object.fromEntries(kept),
      ...env,
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  let output = ''
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk
        if (line.test(output)) resolve()
      })
    child.once('exit', () => reject(new Error(`it ended: ${output}`)))
  })
}

beforeAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const { code } of codeBlocks(readFileSync('docs/redshift-tutorial.md', 'utf8'), 'js')) {
    const [, name = ''] = /^\/\/ (\S+)$/m.exec(code) ?? []
    writeFileSync(join(folder, name), code)
  }
  const [port, issuerPort] = [await freePort(), await freePort()]
  origin = `http://localhost:${port}`
  issuer = `http://localhost:${issuerPort}`
  await start(['local.mjs'], /^ready$/m, { ORIGIN: origin, ISSUER_PORT: String(issuerPort) })
  await start(['--env-file', '.env.local', 'app.mjs'], /^open /m, { ORIGIN: origin })
})
afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null) continue
    child.kill()
    await once(child, 'exit')
  }
})

/** Goes to `/`, fills in the forms of the provider, and returns the page at the end. */
async function visit(browser: Browser, user: string): Promise<unknown> {
  let url = `${origin}/`
  let body: URLSearchParams | undefined
  for (let step = 0; step < 20; step++) {
    const response = await browser.fetch(url, body === undefined ? {} : { method: 'POST', body })
    body = undefined
    const location = response.headers.get('location')
    if (location !== null) {
      url = new URL(location, url).href
      continue
    }
    const text = await response.text()
    if (!url.startsWith(issuer)) return JSON.parse(text)
    // The development pages of oidc-provider: a name and a password, then a consent.
    const prompt = /name="prompt" value="(\w+)"/.exec(text)?.[1] ?? ''
    body = new URLSearchParams({ prompt, login: user, password: 'any' })
    url = new URL(/action="([^"]+)"/.exec(text)?.[1] ?? '', url).href
  }
  throw new Error(`it did not end: ${url}`)
}

describe('the tutorial', () => {
  it('shows two people their own rows of Redshift, as themselves', async () => {
    const [one, two] = [new Browser(), new Browser()]
    expect(await visit(one, 'alice')).toEqual([
      { me: 'IAMR:alice', region: 'Lisbon', amount: 120 },
      { me: 'IAMR:alice', region: 'Madrid', amount: 80 },
    ])
    expect(await visit(two, 'bob')).toEqual([{ me: 'IAMR:bob', region: 'Oslo', amount: 95 }])
    expect(await (await one.fetch(`${origin}/sales`)).json()).toHaveLength(2)
  })

  it('signs out', async () => {
    const browser = new Browser()
    await visit(browser, 'alice')
    const response = await browser.fetch(`${origin}/sign-out`, { method: 'POST' })
    expect(response.headers.get('location')).toContain(`${issuer}/session/end`)
    expect((await browser.fetch(`${origin}/sales`)).headers.get('location')).toContain('/sign-in')
  })
})
