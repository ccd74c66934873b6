/** Kills connections at random, in all available ways. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Gateway } from '../../gateway/index.js'
import type { Admin } from './ledger.js'

export interface TroubleMaker {
  /** The number of injected faults, by kind. */
  readonly troubles: Readonly<Record<string, number>>
  /** Ends it. Rejects with the error of a fault that could not be injected. */
  stop(): Promise<void>
}

export interface TroubleOptions {
  readonly gateway: Gateway
  readonly admin: Admin
  /** The roles whose backends may be killed. */
  readonly roles: readonly string[]
  /** The average interval of faults, in milliseconds. */
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
      // Random intervals like those of independent events: sometimes several faults at once, sometimes none for a long time.
      const pauseMs = -Math.log(1 - random()) * everyMs
      await delay(pauseMs, undefined, { signal: stop.signal }).catch(() => {})
    }
  }
  const ended = makeTrouble()
  // The error is handled when it is stopped.
  ended.catch(() => {})
  return {
    troubles,
    stop: () => {
      stop.abort()
      return ended
    },
  }
}

/** Injects a fault. Resolves with its name, or with nothing if there was no connection. */
type Kind = (options: TroubleOptions) => string | undefined | Promise<string | undefined>

const cut =
  (at: Parameters<Gateway['faults']['cut']>[0]['at'], name: string): Kind =>
  ({ gateway }) => {
    gateway.faults.cut({ at })
    return name
  }

/** Kills a backend at the server. The phase is chosen first, because most of the time all backends are in the same one. */
const terminateBackend: Kind = async ({ admin, roles, random }) => {
  const backends = await admin(BACKENDS, [roles])
  const phases = [...new Set(backends.map(({ phase }) => String(phase)))].toSorted()
  const phase = pick(phases, random)
  const backend = pick(
    backends.filter((one) => one['phase'] === phase),
    random,
  )
  if (backend === undefined) return undefined
  // The backend may have continued or ended meanwhile, so the phase is approximate.
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
