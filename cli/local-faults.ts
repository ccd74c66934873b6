/** The faults of `pg-iam local`, by flag and at run time, and its end: through a socket in the user's configuration folder. */
import { chmodSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { integerWithin, unknownOption } from '../core/options/check.js'
import type { GatewayFaults } from '../gateway/index.js'
import { FAULT_NAMES } from './command-flags.js'
import { CommandError, describeFailure, usageError } from './failure.js'

/** A fault in words: its name, and options as `KEY=VALUE`. */
export interface FaultCall {
  readonly name: (typeof FAULT_NAMES)[number]
  readonly options: Readonly<Record<string, unknown>>
}

/** Arms a fault. Returns what there is to print. Throws for options that the fault does not have. */
type Act = (faults: GatewayFaults, options: FaultCall['options']) => unknown

const ACTS: Readonly<Record<(typeof FAULT_NAMES)[number], Act>> = {
  'reject-logins': (faults, options) => faults.rejectLogins(options),
  cut: (faults, options) => faults.cut(options as { at: 'statement' }),
  'raise-conflicts': (faults, options) => faults.raiseConflicts(options),
  'end-sessions-at': (faults, options) => faults.endSessionsAt(numberIn(options, 'ageMs')),
  'limit-connections': (faults, options) => faults.limitConnections(options),
  sessions: (faults, options) => {
    none(options)
    return faults.sessions()
  },
  'kill-session': (faults, options) => {
    const processId = numberIn(options, 'processId')
    if (!faults.killSession(processId))
      throw usageError(`no session has the process ID ${processId}`)
  },
  clear: (faults, options) => {
    none(options)
    faults.clear()
  },
}

/** `raise-conflicts times=2` as words. */
export function parseFault(words: readonly string[]): FaultCall {
  const [name = '', ...pairs] = words
  if (!Object.hasOwn(ACTS, name)) {
    const { hint } = unknownOption(name, FAULT_NAMES)
    throw usageError(name === '' ? 'a fault must be named' : `"${name}" is no fault`, hint)
  }
  const options = pairs.map((pair): [string, unknown] => {
    const [, key, value] = /^([A-Za-z]+)=(.*)$/s.exec(pair) ?? []
    if (key === undefined) throw usageError(`"${pair}" must be KEY=VALUE`)
    return [key, /^-?\d+(?:\.\d+)?$/.test(value!) && key !== 'sqlState' ? Number(value) : value]
  })
  return { name: name as FaultCall['name'], options: Object.fromEntries(options) }
}

export function injectFault(faults: GatewayFaults, { name, options }: FaultCall): unknown {
  return ACTS[name](faults, options)
}

function numberIn(options: FaultCall['options'], name: string): number {
  const { [name]: value, ...others } = options
  none(others)
  return integerWithin(0, 2_147_483_647)(value, name)
}

function none(options: FaultCall['options']): void {
  const [first] = Object.keys(options)
  if (first !== undefined) throw usageError(`"${first}" is no option of this fault`)
}

// The socket: one line of JSON each way.

function socketPath(folder: string, port: number): string {
  return process.platform === 'win32'
    ? String.raw`\\.\pipe\pg-iam-local-${port}`
    : join(folder, `control-${port}.sock`)
}

interface Controlled {
  readonly faults: GatewayFaults
  /** Begins to end the gateway. */
  readonly stop: () => void
}

/** Serves calls of the same user. The port is in use by this gateway, so a socket that is there already is that of one that has died. */
export async function serveControl(
  folder: string,
  port: number,
  controlled: Controlled,
): Promise<{ close(): Promise<void> }> {
  const path = socketPath(folder, port)
  rmSync(path, { force: true })
  const server: Server = createServer((socket) => {
    let request = ''
    socket.setEncoding('utf8').on('error', () => {})
    socket.on('data', (chunk: string) => {
      request += chunk
      if (request.length > LONGEST_REQUEST) socket.destroy()
      if (!request.includes('\n')) return
      socket.end(`${JSON.stringify(answerTo(request, controlled))}\n`)
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen({ path }, () => resolve())
  })
  if (process.platform !== 'win32') chmodSync(path, 0o600)
  return { close: () => new Promise((done) => void server.close(() => done())) }
}

const LONGEST_REQUEST = 10_000

function answerTo(request: string, { faults, stop }: Controlled): object {
  try {
    const call = JSON.parse(request) as ControlCall
    if (call.name !== 'stop') return { result: injectFault(faults, call) ?? null }
    stop()
    return { result: null }
  } catch (error) {
    const { message, hint } = describeFailure(error)
    return { error: { message, hint } }
  }
}

type ControlCall = FaultCall | { readonly name: 'stop' }

/** Sends a call to the gateway on that port. */
export async function callLocal(folder: string, port: number, call: ControlCall): Promise<unknown> {
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connect({ path: socketPath(folder, port) })
    let received = ''
    socket
      .setEncoding('utf8')
      .on('data', (chunk: string) => (received += chunk))
      .once('end', () => resolve(received))
      .once('error', (cause) =>
        reject(
          new CommandError(`no "pg-iam local" of yours runs on port ${port}`, {
            hint: `Give its --port, and its --host if it has one. (${cause.message})`,
          }),
        ),
      )
    socket.write(`${JSON.stringify(call)}\n`)
  })
  const { result, error } = JSON.parse(answer) as {
    result?: unknown
    error?: { message: string; hint?: string }
  }
  if (error !== undefined) throw usageError(error.message, error.hint)
  return result
}
