/** Runs the tasks of the contract that concern a whole process in a separate Node process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { CommonOptions, Login } from '../../../core/index.js'
import { createCertificates } from '../../../gateway/certificates.js'
import type { FailureReport } from './child/failing-provider.js'
import type { Attempt } from './child/hostile-server.js'
import type { Request } from './contract-provider.js'
import type { ContractServer } from './contract-server.js'
import { contractProvider } from './providers/contract-providers.js'
import { startRecordingServer, type RecordingServer } from './recording-server.js'

/** The order for the process, as JSON. */
export interface ChildOrder {
  readonly client: string
  readonly entry: string
  readonly login: ChildLogin
  /** Servers that must get no token. */
  readonly targets: readonly ChildTarget[]
}

/** The data from which the process creates a login. */
export interface ChildLogin {
  readonly provider: string
  readonly options: CommonOptions
  /** Credentials that do not expire during the test. */
  readonly given: unknown
  readonly environment: Readonly<Record<string, string>>
}

export interface ChildTarget {
  readonly name: string
  readonly port: number
  /** The certificate authority to trust. */
  readonly ca: string
}

/** What the process reports. */
export interface ChildReport {
  /** By the name of the failure. */
  readonly failures: Readonly<Record<string, FailureReport>>
  /** The number of rows that a short run has read. */
  readonly rows: number
  readonly attempts: readonly Attempt[]
}

export interface ChildResult {
  /** The exit code, or the signal that ended it: SIGTERM if it did not end without help. */
  readonly end: number | NodeJS.Signals | null
  /** Missing if a task failed. */
  readonly report: ChildReport | undefined
  /** All other output. */
  readonly output: string
}

/** Waits until it ends, and kills it after a generous time limit. */
async function runChild(order: ChildOrder): Promise<ChildResult> {
  const support = join(process.cwd(), 'test', 'support')
  const child = spawn(
    process.execPath,
    ['--require', join(support, 'typescript-hook.cjs'), '--eval', ENTRY, support],
    { env: { ...cleanEnvironment(), ...order.login.environment }, timeout: 240_000 },
  )
  child.stdin.end(JSON.stringify(order))
  const [output, errors, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
  ])
  const report = /^REPORT (.*)$/m.exec(output)?.[1]
  return {
    end: code ?? signal,
    report: report === undefined ? undefined : (JSON.parse(report) as ChildReport),
    output: errors.replace(TLS_WARNING, '') + output.replace(/^REPORT .*\n/m, ''),
  }
}

/** Node's warning when a task weakens TLS with an environment variable. */
const TLS_WARNING = /^\(node:\d+\) Warning: Setting the NODE_TLS_REJECT_UNAUTHORIZED.*\n.*\n/m

/** The process of one entry, and the servers that must get no token. */
export interface ContractProcess {
  readonly result: ChildResult
  /** By the name of the target. */
  readonly hostileServers: ReadonlyMap<string, RecordingServer>
}

/** Runs the process once before the tests of an entry, since starting it takes longer than most of its tasks. */
export function useContractProcess(
  client: string,
  entry: string,
  server: () => ContractServer,
): () => ContractProcess {
  let run: ContractProcess | undefined
  const hostileServers = new Map<string, RecordingServer>()

  beforeAll(async () => {
    const { stand } = server()
    const trusted = await createCertificates(['elsewhere.example.com', 'localhost', '127.0.0.1'])
    const strange = await createCertificates([stand.options.host])
    const targets: ChildTarget[] = []
    for (const { name, certificates } of [
      { name: 'without TLS', certificates: undefined },
      { name: 'with an untrusted certificate', certificates: strange },
      { name: 'with a certificate for another name', certificates: trusted },
    ]) {
      const hostile = await startRecordingServer(certificates)
      hostileServers.set(name, hostile)
      targets.push({ name, port: hostile.port, ca: trusted.ca })
    }
    const login = await childLogin(server())
    run = { result: await runChild({ client, entry, login, targets }), hostileServers }
  })

  afterAll(() => Promise.all([...hostileServers.values()].map((hostile) => hostile.close())))

  return () => {
    if (run === undefined) throw new Error('the process has not run')
    return run
  }
}

/** The data for a login of another process to `server`. */
async function childLogin({
  gateway,
  relay,
  provider,
  stand,
}: ContractServer): Promise<ChildLogin> {
  return {
    provider: provider.name,
    options: {
      ...stand.options,
      connectTo: { host: '127.0.0.1', port: relay.port },
      tls: { ca: gateway.ca },
    },
    given: await stand.issueForever(gateway),
    environment: stand.environment,
  }
}

/** Creates the login in that process, with the sent credentials unless `request` is given. */
export function loginOfChild(
  { provider, options, given }: ChildLogin,
  own: CommonOptions = {},
  request: Request = () => given,
): Login {
  return contractProvider(provider).login({ ...options, ...own }, request)
}

const ENTRY = `require(process.argv[1] + '/adapter-contract/child/main.ts')`

/** Without variables that could affect the child: those of libpq and AWS, Node's options, and jest's. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:PG|AWS_|NODE_|JEST_)/.test(name),
  )
  return { ...Object.fromEntries(kept), AWS_EC2_METADATA_DISABLED: 'true' }
}
