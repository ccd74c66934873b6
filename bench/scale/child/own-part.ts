/** A process that opens connections without a network, so that nothing is left but what pg-iam does around a login. */
import { setImmediate as turn } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { connectAtPace } from '../../../core/connection/connect-at-pace.js'
import { createConnectPacer, type ConnectPacer } from '../../../core/connection/connect-pacer.js'
import type { LoggedIn, LoginAttempt } from '../../../core/connection/log-in.js'
import { tryEndpoints } from '../../../core/connection/try-endpoints.js'
import { customLogin } from '../../../core/index.js'
import { internalsOf, type LoginInternals } from '../../../core/login.js'
import { unlessAborted } from '../../../core/unless-aborted.js'
import { answerOrder } from '../../common/process/answer-order.js'
import type { OwnPart, OwnPartFigures, OwnPartOrder } from '../orders.js'

answerOrder(
  async ({ parts, counts, connections, rounds }: OwnPartOrder): Promise<OwnPartFigures[]> => {
    const figures = parts.flatMap((part) =>
      counts.map((count) => ({ part, connections: count, micros: [] as number[] })),
    )
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      for (const { part, connections: count, micros } of figures) {
        const times = Math.ceil(connections / count)
        let spent = 0
        for (let done = 0; done < times; done++) spent += await cpuMicrosOf(part, count)
        if (round >= 0) micros.push(spent / (times * count))
      }
    }
    return figures
  },
)

const WARM_UP_ROUNDS = 1

/** Processor time: nothing is waited for, and others on the machine do not count. */
async function cpuMicrosOf(part: OwnPart, connections: number): Promise<number> {
  const open = await WAYS[part]()
  const before = process.cpuUsage()
  await Promise.all(Array.from({ length: connections }, open))
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** All that what it resolves with opens is of one login. */
const WAYS: Readonly<Record<OwnPart, () => Promise<() => Promise<unknown>>>> = {
  'the pace alone': async () => admission(pacerOf()),
  'the pace alone, connectRate of 10,000': async () => admission(pacerOf(10_000)),
  'all of it': async () => opener(pacerOf()),
  'all of it, after a refusal': async () => {
    const pacer = pacerOf()
    const report = await pacer.admit(new AbortController().signal)
    report('refused')
    return opener(pacer)
  },
}

/** Asks whether a connection may be dialled, and says that it was opened. */
function admission(pacer: ConnectPacer): () => Promise<void> {
  return async () => {
    const report = await pacer.admit(new AbortController().signal)
    report('opened')
  }
}

/** What `openConnection` does, with another `logIn`. */
function opener(pacer: ConnectPacer): () => Promise<unknown> {
  const login = customLogin({
    host: 'postgres.bench.internal',
    user: 'app',
    database: 'app',
    getToken: () => 'token',
  })
  const { endpoints, connectTimeoutMs } = internalsOf(login) as LoginInternals
  const attempt = {
    parameters: new Map<string, string>(),
    protocolVersion: 196_608,
    user: 'app',
    provider: login.provider,
    endpoints,
  }
  return () => {
    const { signal } = new AbortController()
    const request = { what: 'could not connect', timeoutMs: connectTimeoutMs, signal, pacer }
    return connectAtPace(request, (untilThen) =>
      tryEndpoints({ ...attempt, signal: untilThen }, { logIn: logInWithoutNetwork }),
    )
  }
}

/** Pauses take no time: the clock is set forward by them. */
function pacerOf(connectRate?: number): ConnectPacer {
  let now = 0
  return createConnectPacer(connectRate, {
    now: () => now,
    pause: async (ms) => void (now += ms),
  })
}

/** Finds the server and makes a token as `logIn` does, and has the connection in the next turn of the event loop. */
async function logInWithoutNetwork({ endpoint, signal }: LoginAttempt): Promise<LoggedIn> {
  const found = await unlessAborted(endpoint.find(), signal)
  await unlessAborted(found.token(), signal)
  await turn()
  return OPENED
}

/** Nothing but `destroy` is used of a socket before a driver has it. */
const OPENED: LoggedIn = {
  socket: { destroy: () => undefined } as unknown as TLSSocket,
  received: Buffer.alloc(0),
}
