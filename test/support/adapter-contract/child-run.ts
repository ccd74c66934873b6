/** Runs a task in a Node process of its own: for what only a whole process can show. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { CommonOptions, Login } from '../../../core/index.js'
import type { Request } from './contract-provider.js'
import type { ContractServer } from './contract-server.js'
import { contractProvider } from './providers/contract-providers.js'

/** What the process is told, as JSON. */
export interface ChildOrder {
  readonly task: 'lifecycle' | 'failing-provider' | 'hostile-server'
  readonly client: string
  readonly variant: string
  readonly login: ChildLogin
  /** Further places to log in to, for tasks that have several. */
  readonly targets?: readonly ChildTarget[]
}

/** What a login of the process is made from. */
export interface ChildLogin {
  readonly provider: string
  readonly options: CommonOptions
  /** Credentials that last. */
  readonly given: unknown
  readonly environment: Readonly<Record<string, string>>
}

export interface ChildTarget {
  readonly name: string
  readonly port: number
  /** The authority to trust. */
  readonly ca: string
}

export interface ChildResult<Report> {
  /** The exit code, or the signal that ended it: SIGTERM when it did not end by itself. */
  readonly end: number | NodeJS.Signals | null
  /** What the task reported, where it came to that. */
  readonly report: Report | undefined
  /** All that it wrote, its report aside. */
  readonly output: string
}

/** Gives it plenty of time to end by itself, and ends it after that. */
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

/** What a login of another process is made from, to be like those of `server`. */
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

/** Makes it, in that process. The credentials are what was sent, but where `request` says otherwise. */
export function loginOfChild(
  { provider, options, given }: ChildLogin,
  own: CommonOptions = {},
  request: Request = () => given,
): Login {
  return contractProvider(provider).login({ ...options, ...own }, request)
}

const ENTRY = `require(process.argv[1] + '/adapter-contract/child/main.ts')`

/** Without what could turn the child into something else: variables of libpq and AWS, Node's options, and jest's mark. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:PG|AWS_|NODE_|JEST_)/.test(name),
  )
  return { ...Object.fromEntries(kept), AWS_EC2_METADATA_DISABLED: 'true' }
}
