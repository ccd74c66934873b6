/** Runs a task in a separate Node process, to test the behaviour of a whole process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { CommonOptions, Login } from '../../../core/index.js'
import type { Request } from './contract-provider.js'
import type { ContractServer } from './contract-server.js'
import { contractProvider } from './providers/contract-providers.js'

/** The order for the process, as JSON. */
export interface ChildOrder {
  readonly task: 'lifecycle' | 'failing-provider' | 'hostile-server'
  readonly client: string
  readonly entry: string
  readonly login: ChildLogin
  /** Additional servers to log in to, for tasks with several servers. */
  readonly targets?: readonly ChildTarget[]
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

export interface ChildResult<Report> {
  /** The exit code, or the signal that ended it: SIGTERM if it did not end without help. */
  readonly end: number | NodeJS.Signals | null
  /** The report of the task, if it was written. */
  readonly report: Report | undefined
  /** All other output. */
  readonly output: string
}

/** Waits until it ends, and kills it after a generous time limit. */
export async function runChild<Report>(order: ChildOrder): Promise<ChildResult<Report>> {
  const support = join(process.cwd(), 'test', 'support')
  const child = spawn(
    process.execPath,
    ['--require', join(support, 'typescript-hook.cjs'), '--eval', ENTRY, support],
    { env: { ...cleanEnvironment(), ...order.login.environment }, timeout: 40_000 },
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
    report: report === undefined ? undefined : (JSON.parse(report) as Report),
    output: errors + output.replace(/^REPORT .*\n/m, ''),
  }
}

/** The data for a login of another process to `server`. */
export async function childLogin({
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
