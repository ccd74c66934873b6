import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Gateway } from '../../gateway/index.js'
import { usePostgres } from '../gateway/upstream-gateway.js'
import { createCommandLineSignIn } from '../../sign-in/command-line.js'
import { Browser, type ProviderProcess, startProvider } from '../sign-in/identity-provider.js'
import { runCommand, startCommand, type Ended } from './support/command.js'

const HOST = 'analytics.abcdefghijkl.eu-west-1.redshift.amazonaws.com'
const ROLE = 'arn:aws:iam::111122223333:role/alice'
const CLIENT = {
  client_id: 'command-line',
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  redirect_uris: ['http://127.0.0.1/callback'],
  grant_types: [
    'authorization_code',
    'refresh_token',
    'urn:ietf:params:oauth:grant-type:device_code',
  ],
}
const postgres = usePostgres(['admin', 'app', 'IAMR:alice'])
let provider: ProviderProcess
let gateway: Gateway
let home: string

beforeAll(async () => {
  provider = await startProvider({ clients: [CLIENT] })
  gateway = await postgres.start({
    webIdentity: { issuer: provider.issuer, audience: 'command-line' },
    endpoints: [
      { provider: 'redshift', hosts: [HOST], users: [{ roleArn: ROLE, subject: 'alice' }] },
    ],
  })
})
afterAll(() => provider?.close())
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'pg-iam-home-'))
})
afterEach(() => rmSync(home, { recursive: true }))

const environment = (): Record<string, string> => ({
  HOME: home,
  // No program of that name: the tests are the browser.
  BROWSER: join(home, 'no-browser'),
  AWS_ENDPOINT_URL: gateway.awsEndpointUrl!,
  AWS_REGION: 'eu-west-1',
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
})
const run = (...args: string[]): Promise<Ended> => runCommand(args, { env: environment() })
const LOGIN = (): string[] => [
  'login',
  '--issuer',
  provider.issuer,
  '--client-id',
  'command-line',
  '--role',
  ROLE,
]

async function logIn(user: string | undefined, ...more: string[]): Promise<Ended> {
  const command = startCommand([...LOGIN(), ...more], { env: environment() })
  const [url] = await command.printed(/http:\S+\/auth\?\S+/, 'stderr')
  const browser = new Browser()
  const callback = await browser.signInAtProvider(url, user)
  // Another program of this machine that does not know the state.
  const { origin } = new URL(callback)
  expect((await fetch(`${origin}/callback?code=x&state=y`)).status).toBe(404)
  expect((await fetch(`${origin}//`)).status).toBe(404)
  const answer = await (await fetch(callback)).text()
  const ended = await command.ended
  if (user !== undefined) expect(ended.stderr).not.toContain('error')
  expect(answer).toContain(ended.code === 0 ? 'You are signed in.' : 'The sign-in failed.')
  return ended
}

describe('pg-iam login', () => {
  it('signs in through the browser of this machine, and other commands log in as this user', async () => {
    expect(await logIn('alice')).toMatchObject({ code: 0, stdout: 'signed in as alice\n' })
    const { stdout } = await run('whoami', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      user: 'alice',
      subject: 'alice',
      issuer: provider.issuer,
      role: ROLE,
    })
    const token = await run('token', `postgres://${HOST}/postgres`, '--json')
    expect(JSON.parse(token.stdout)).toMatchObject({ user: 'IAMR:alice' })
    const ca = join(home, 'ca.pem')
    writeFileSync(ca, gateway.ca)
    const program = `const { Client } = require('pg'); const c = new Client(); c.connect().then(() => c.query('SELECT current_user AS me')).then(({ rows }) => { console.log(rows[0].me); return c.end() })`
    const exec = await run(
      'exec',
      `postgres://${HOST}/postgres`,
      '--ca',
      ca,
      '--connect-to',
      `127.0.0.1:${gateway.port}`,
      '--',
      process.execPath,
      '-e',
      program,
    )
    expect(exec).toMatchObject({ code: 0, stdout: 'IAMR:alice\n' })
    const doctor = await run(
      'doctor',
      `postgres://${HOST}/postgres`,
      '--ca',
      ca,
      '--connect-to',
      `127.0.0.1:${gateway.port}`,
    )
    expect(doctor.stdout).toContain('pg-iam login')
    expect(doctor.stdout).toContain('IAMR:alice')
  })

  it('keeps the tokens in a file that only its owner can read, encrypted, and shows none of them', async () => {
    const { stdout, stderr } = await logIn('alice')
    const folder = join(home, '.config/pg-iam')
    for (const name of ['sign-in.json', 'sign-in.key'])
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
    const content = readFileSync(join(folder, 'sign-in.json'), 'utf8')
    expect(content + stdout + stderr).not.toMatch(/alice@|eyJhbGciOiJSUzI1NiI/)
    chmodSync(join(folder, 'sign-in.key'), 0o644)
    expect(await run('whoami')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('chmod 600'),
    })
  })

  it('signs in with a code on another device', async () => {
    const command = startCommand([...LOGIN(), '--device'], { env: environment() })
    const [, url = ''] = await command.printed(/open (\S+) on any device/, 'stderr')
    const browser = new Browser()
    let page = ''
    let next = url
    let body: URLSearchParams | undefined
    for (let step = 0; step < 12 && !page.includes('You can close this page'); step++) {
      const response = await browser.fetch(next, body === undefined ? {} : { method: 'POST', body })
      const location = response.headers.get('location')
      body = undefined
      if (location !== null) {
        next = new URL(location, next).href
        continue
      }
      page = await response.text()
      const fields = [...page.matchAll(/name="(\w+)" value="([^"]+)"/g)]
      body = new URLSearchParams(
        next.includes('/interaction/')
          ? { user: 'alice' }
          : Object.fromEntries(fields.map(([, name, value]) => [name!, value!])),
      )
      next = /action="([^"]+)"/.exec(page)?.[1] ?? next
    }
    expect(page).toContain('You can close this page')
    expect(await command.ended).toMatchObject({ code: 0, stdout: 'signed in as alice\n' })
  })

  it('ends with 3 and one line if the user denies it', async () => {
    const { code, stderr } = await logIn(undefined)
    expect(code).toBe(3)
    expect(stderr.trim().split('\n').at(-1)).toMatch(
      /^pg-iam: error: the sign-in failed: \S+ answered access_denied/,
    )
    expect(await run('whoami')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('nobody is signed in'),
    })
  })

  it.each([
    [['login'], '"--issuer" must be given'],
    [
      ['login', '--issuer', 'http://login.example.com', '--client-id', 'x'],
      '"--issuer" must be an https URL',
    ],
    [['login', '--issuer', 'https://login.example.com'], '"--client-id" must be given'],
    [['login', '--role', 'alice'], '"--role" must be the ARN of a role'],
  ])('ends with 2 and one line for %j', async (args, message) => {
    expect(await run(...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(message) })
  })
})

describe('the tokens of a sign-in', () => {
  it('are refreshed by one of several commands that run at once', async () => {
    // They have to be refreshed when 60 seconds are left.
    const own = await startProvider({ clients: [CLIENT], tokenSecs: 60 })
    const file = join(home, 'sign-in.json')
    const signIn = createCommandLineSignIn({ file })
    const profile = { issuer: own.issuer, clientId: 'command-line' }
    const browser = new Browser()
    await signIn.signIn(profile, {
      open: (url) =>
        void browser.signInAtProvider(url, 'alice').then((callback) => fetch(callback)),
    })
    const others = [1, 2, 3].map(() => createCommandLineSignIn({ file }))
    for (let turn = 0; turn < 2; turn++) {
      const saved = await Promise.all(others.map((other) => other.saved()))
      const tokens = await Promise.all(saved.map((each) => each!.identity.accessToken()))
      expect(tokens.every((token) => token.length > 0)).toBe(true)
    }
    await own.close()
  })
})

describe('pg-iam logout', () => {
  it('deletes a file that is damaged, and login replaces it', async () => {
    expect(await logIn('alice')).toMatchObject({ code: 0 })
    const file = join(home, '.config/pg-iam/sign-in.json')
    writeFileSync(file, '{')
    expect((await run('logout')).code).toBe(0)
    expect(existsSync(file)).toBe(false)
    writeFileSync(file, '{')
    expect(await logIn('alice')).toMatchObject({ code: 0 })
    expect((await run('whoami')).code).toBe(0)
  })

  it('deletes and revokes the tokens, after which nobody is signed in', async () => {
    await logIn('alice')
    expect(await run('logout')).toMatchObject({ code: 0, stdout: 'signed out\n', stderr: '' })
    expect(await run('whoami')).toMatchObject({ code: 3 })
    expect(await run('logout')).toMatchObject({ code: 0, stdout: 'nobody was signed in\n' })
  })
})

describe('a sign-in', () => {
  it('has no precedence over a profile or keys of the environment, as whoami says', async () => {
    await logIn('alice')
    const env = {
      ...environment(),
      AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN',
      AWS_SECRET_ACCESS_KEY: 'secret',
    }
    expect(await runCommand(['whoami'], { env })).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('AWS_ACCESS_KEY_ID'),
    })
    expect(await runCommand(['token', `postgres://${HOST}/postgres`], { env })).toMatchObject({
      code: 3,
    })
  })

  it('is used for AWS only if it names a role, and after a logout for nothing', async () => {
    const env = { ...environment(), AWS_SHARED_CREDENTIALS_FILE: join(home, 'credentials') }
    writeFileSync(
      join(home, 'credentials'),
      `[default]\naws_access_key_id=${gateway.credentials.accessKeyId}\naws_secret_access_key=${gateway.credentials.secretAccessKey}\n`,
    )
    const token = ['token', `postgres://${HOST}/postgres`]
    const command = startCommand(LOGIN().slice(0, -2), { env: environment() })
    const [url] = await command.printed(/http:\S+\/auth\?\S+/, 'stderr')
    await fetch(await new Browser().signInAtProvider(url, 'alice'))
    expect(await command.ended).toMatchObject({ code: 0 })
    expect(await runCommand(token, { env })).toMatchObject({ code: 0 })
    expect(await run('logout')).toMatchObject({ code: 0 })
    expect(await runCommand(token, { env })).toMatchObject({ code: 0 })
  })
})
