/** Kills connections at random, in every way that there is. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Gateway } from '../../gateway/index.js'
import type { Admin } from './ledger.js'

export interface TroubleMaker {
  /** What it did so far, by kind. */
  readonly troubles: Readonly<Record<string, number>>
  /** Ends it; rejects with what it could not do. */
  stop(): Promise<void>
}

export interface TroubleOptions {
  readonly gateway: Gateway
  readonly admin: Admin
  /** Whose backends may be killed. */
  readonly roles: readonly string[]
  /** The time between two troubles on average, in milliseconds. */
  readonly everyMs: number
  readonly random: () => number
}

export function startTroubleMaker(options: TroubleOptions): TroubleMaker {
  const { everyMs, random } = options
  const troubles: Record<string, number> = {}
  const stop = new AbortController()
  const makeTrouble = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const kind = KINDS[Math.floor(random() * KINDS.length)]!
      const done = await kind(options)
      if (done !== undefined) troubles[done] = (troubles[done] ?? 0) + 1
      // As far apart as what is independent of each other: now and then several at once, now and then none for long.
      const pauseMs = -Math.log(1 - random()) * everyMs
      await delay(pauseMs, undefined, { signal: stop.signal }).catch(() => {})
    }
  }
  const ended = makeTrouble()
  // Looked at when it is stopped.
  ended.catch(() => {})
  return {
    troubles,
    stop: () => {
      stop.abort()
      return ended
    },
  }
}

/** Makes some trouble; resolves with its name, or with nothing where there was nobody to trouble. */
type Kind = (options: TroubleOptions) => string | undefined | Promise<string | undefined>

const cut =
  (at: Parameters<Gateway['faults']['cut']>[0]['at'], name: string): Kind =>
  ({ gateway }) => {
    gateway.faults.cut({ at })
    return name
  }

/** The server's own end of a backend. A phase is chosen first, for most of the time all backends are in the same one. */
const terminateBackend: Kind = async ({ admin, roles, random }) => {
  const backends = await admin(BACKENDS, [roles])
  const phases = [...new Set(backends.map(({ phase }) => String(phase)))].toSorted()
  const phase = pick(phases, random)
  const backend = pick(
    backends.filter((one) => one['phase'] === phase),
    random,
  )
  if (backend === undefined) return undefined
  // It may have gone on in the meantime, or be gone: what it dies in is up to chance.
  await admin('SELECT pg_terminate_backend($1)', [backend['pid']])
  return `backend killed ${phase}`
}

const killSession: Kind = ({ gateway, random }) => {
  const session = pick(gateway.faults.sessions(), random)
  if (session === undefined || !gateway.faults.killSession(session.processId)) return undefined
  return 'session ended by the gateway'
}

const KINDS: readonly Kind[] = [
  terminateBackend,
  terminateBackend,
  terminateBackend,
  terminateBackend,
  killSession,
  killSession,
  cut('statement', 'cut at a statement'),
  cut('before-commit', 'cut at COMMIT, before it'),
  cut('after-commit', 'cut at COMMIT, after it'),
  cut('before-tls', 'cut before TLS'),
  cut('authentication', 'cut in the login'),
]

const BACKENDS = `
  SELECT pid, CASE
      WHEN state = 'idle' THEN 'while idle'
      WHEN state LIKE 'idle in transaction%' THEN 'between statements'
      WHEN query ILIKE 'commit%' THEN 'in COMMIT'
      ELSE 'in a statement'
    END AS phase
  FROM pg_stat_activity WHERE usename = ANY($1) ORDER BY pid`

function pick<T>(list: readonly T[], random: () => number): T | undefined {
  return list[Math.floor(random() * list.length)]
}
