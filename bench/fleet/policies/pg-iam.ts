/** pg-iam's own code, from the connect limiter to the endpoints. Only the login, the clock and randomness are simulated. */
import type { TLSSocket } from 'node:tls'
import {
  connectWithBackoff,
  createConnectLimiter,
} from '../../../core/connection/connect-limiter.js'
import { createEndpointHealth } from '../../../core/connection/endpoint-health.js'
import { logInWithFailover } from '../../../core/connection/open-connection.js'
import { jitteredLifetimeSecs } from '../../../core/connection/login-stream.js'
import type { LoggedIn, LoginAttempt } from '../../../core/connection/log-in.js'
import { isPgIamError } from '../../../core/errors.js'
import { internalsOf, type LoginInternals } from '../../../core/login.js'
import { createAuroraDsql } from '../../../core/providers/aurora-dsql.js'
import type { Session } from '../region.js'
import type { Connector, Policy, World } from './policy.js'

export interface PgIamSettings {
  name: string
  description: string
  /** The options of the login. */
  options?: { connectRate?: number; connectTimeoutMs?: number }
}

export function pgIam({ name, description, options = {} }: PgIamSettings): Policy {
  return { name, description, createConnector: (world) => createConnector(world, options) }
}

function createConnector(world: World, options: NonNullable<PgIamSettings['options']>): Connector {
  const { time, random, regions } = world
  const { now, pause, after } = time
  const host = regions.map((region) => region.host)
  const login = createAuroraDsql({ ...options, host, user: 'app' }, {})
  const internals = internalsOf(login) as LoginInternals
  const limiter = createConnectLimiter(options.connectRate, { now, sleep: pause, random })
  const endpoints = createEndpointHealth(internals.endpoints.all, { now, random })
  const attempt = {
    parameters: new Map<string, string>(),
    protocolVersion: 196_608,
    user: 'app',
    provider: login.provider,
    endpoints,
  }
  const open = async (ended: () => void): Promise<Session | undefined> => {
    const request = {
      what: 'could not connect',
      timeoutMs: internals.connectTimeoutMs,
      signal: new AbortController().signal,
      after,
      limiter,
    }
    try {
      const opened = await connectWithBackoff(request, (signal) =>
        logInWithFailover({ ...attempt, signal }, { after, logIn: simulatedLogin(world, ended) }),
      )
      return opened.refusedWith === undefined ? opened.socket : undefined
    } catch (error) {
      if (!isPgIamError(error)) throw error
      return undefined
    }
  }
  return {
    createPlace: ({ done, ended }) => {
      const connect = (): void => time.follow(async () => done(await open(ended)))
      return { connect, connectAgain: connect }
    },
    lifetimeMs: () => jitteredLifetimeSecs(login, random) * 1_000,
  }
}

/** Replaces token, TCP, TLS and authentication. While a Region is down, it waits until its signal fires. */
function simulatedLogin({ time, regions, loginMs }: World, ended: () => void) {
  return ({ endpoint, signal }: LoginAttempt): Promise<LoggedIn> =>
    new Promise((resolve, reject) => {
      const region = regions.find(({ host }) => host === endpoint.host)
      const giveUp = (): void => reject(signal.reason as Error)
      signal.addEventListener('abort', giveUp, { once: true })
      time.after(loginMs(), () => {
        if (signal.aborted) return
        const answer = region?.logIn(ended)
        if (answer === undefined) return
        signal.removeEventListener('abort', giveUp)
        resolve(
          typeof answer === 'string'
            ? { socket: asSocket(REFUSED), received: NOTHING, refusedWith: answer }
            : { socket: asSocket(answer), received: NOTHING },
        )
      })
    })
}

const NOTHING = Buffer.alloc(0)
const REFUSED: Session = { destroy: () => undefined }

/** Before a driver has a socket, only `destroy` is used. */
function asSocket(session: Session): TLSSocket {
  return session as unknown as TLSSocket
}
