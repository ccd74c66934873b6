/** The faults that must not occur in a soak, and the expected causes of failed calls. */
import { isPgIamError } from '../../core/index.js'
import type { GatewayStats } from '../../gateway/index.js'
import { errorChain } from '../support/adapter-contract/error-chain.js'
import type { ClientName } from '../clients/index.js'
import type { ClientEnd } from './messages.js'
import { excessOf } from './resources.js'

export interface Cause {
  readonly name: string
  /** Whether the cause is expected with these injected faults, so that an application must handle it. */
  readonly isExpected: boolean
}

/** The error with which a task rolls its transaction back. */
export const CHANGED_MIND = 'CHANGED_MIND'

export function causeOf(error: unknown): Cause {
  const chain = errorChain(error)
  if (isPgIamError(error, 'ERR_OUTCOME_UNKNOWN')) return { name: error.code, isExpected: true }
  const codes = chain.map((link) => (link as { code?: unknown }).code)
  const expected = EXPECTED_CODES.find((code) => codes.includes(code))
  if (expected !== undefined) return { name: expected, isExpected: true }
  const messages = chain.map((link) => (link as { message?: unknown }).message)
  const loss = messages.map((message) => LOSSES.exec(String(message))?.[0]).find(Boolean)
  if (loss !== undefined) return { name: loss, isExpected: true }
  const known = codes.find((code) => typeof code === 'string') ?? messages[0] ?? error
  return { name: String(known), isExpected: false }
}

/** A lost connection, as reported by the server, the network or a driver. */
const EXPECTED_CODES = [CHANGED_MIND, '57P01', 'ECONNRESET', 'CONNECTION_CLOSED'] as const

/** The messages of pg and TypeORM if the connection is lost between checkout and BEGIN, for which there is no code. */
const LOSSES = /Connection terminated unexpectedly|not queryable|Query runner already released/

/** - `failure`: a call failed for a reason that was not injected, or did not end;
 *  - `idle`: nothing was done, so the run proves nothing. */
export type FaultKind = 'crash' | 'leak' | 'zombie' | 'ledger' | 'failure' | 'idle'

export interface Fault {
  readonly kind: FaultKind
  readonly text: string
}

/** The faults in the report of a client's process, or in the way it ended. */
export function clientFaults(name: ClientName, end: ClientEnd): Fault[] {
  const { report } = end
  const because = (kind: FaultKind, texts: readonly string[]): Fault[] =>
    texts.map((text) => ({ kind, text: `${name}: ${text}` }))
  const exit = exitFaults(end)
  if (report === undefined) return because('crash', [diedText(end)])
  const { calls, unexpected, crashes, warnings, leftBehind, resourcesBefore, resourcesAfter } =
    report
  return [
    ...because('crash', [...crashes, ...(end.exit === 'hangs' ? [] : exit)]),
    ...because('leak', [
      ...(end.exit === 'hangs' ? exit : []),
      ...warnings,
      ...excessOf(resourcesBefore, resourcesAfter).map((excess) => `${excess} still open`),
    ]),
    ...because('zombie', leftBehind),
    ...because(
      'zombie',
      calls.lateDone === 0 ? [] : [`${calls.lateDone} statements of ended transactions were run`],
    ),
    ...because(
      'failure',
      Object.entries(unexpected).map(
        ([cause, first]) => `${report.failures[cause]} calls failed with ${cause}: ${first}`,
      ),
    ),
    ...because('failure', calls.hanging === 0 ? [] : [`${calls.hanging} calls did not end`]),
    ...because('idle', calls.confirmed === 0 ? ['it confirmed no transaction'] : []),
  ]
}

function diedText({ exit, lastOutput }: ClientEnd): string {
  const died = exit === 0 ? 'its process sent no report' : `its process ended with ${exit}`
  return lastOutput === '' ? died : `${died}: ${lastOutput}`
}

function exitFaults({ exit }: ClientEnd): string[] {
  if (exit === 0) return []
  return [exit === 'hangs' ? 'its process did not end' : `its process ended with ${exit}`]
}

/** The state of the server side after all clients have ended. */
export interface Remains {
  /** Backends of clients, in words. */
  readonly backends: readonly string[]
  readonly gateway: Pick<GatewayStats, 'connectionsOpen' | 'sessionsOpen'>
  /** Rows written by statements of failed transactions. */
  readonly strays: number
}

export function remainsFaults({ backends, gateway, strays }: Remains): Fault[] {
  const { connectionsOpen, sessionsOpen } = gateway
  return [
    ...backends.map((backend) => `a backend outlived its client: ${backend}`),
    ...(connectionsOpen === 0 ? [] : [`the gateway has ${connectionsOpen} connections open`]),
    ...(sessionsOpen === 0 ? [] : [`the gateway has ${sessionsOpen} sessions open`]),
    ...(strays === 0 ? [] : [`${strays} rows were written by statements of ended transactions`]),
  ].map((text) => ({ kind: 'zombie', text }))
}

/** A run without faults or conflicts proves nothing. */
export function troubleFaults(
  troubles: Readonly<Record<string, number>>,
  conflicts: number,
): Fault[] {
  const idle = [
    ...(Object.keys(troubles).length === 0 ? ['no fault was injected into a connection'] : []),
    ...(conflicts === 0 ? ['no transaction had a conflict'] : []),
  ]
  return idle.map((text) => ({ kind: 'idle', text }))
}
