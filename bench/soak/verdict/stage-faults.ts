/** What must not be left on the server's side. */
import type { GatewayStats } from '../../../gateway/index.js'
import { until } from '../../../test/resilience/until.js'
import type { Stage } from '../stage.js'
import type { Fault } from './faults.js'

/** What is on the server's side when all clients are gone. */
export interface Remains {
  /** Backends of clients, in words. */
  readonly backends: readonly string[]
  readonly gateway: Pick<GatewayStats, 'connectionsOpen' | 'sessionsOpen'>
  /** Rows that statements of dead transactions have written. */
  readonly strays: number
}

/** Gives the server some time: a backend notices that its client is gone when its statement has ended. */
export async function readRemains({ admin, gateway, roles }: Stage): Promise<Remains> {
  const backends = async (): Promise<string[]> =>
    (await admin(BACKENDS, [roles])).map(({ backend }) => String(backend))
  const isGone = async (): Promise<boolean> => {
    const { connectionsOpen, sessionsOpen } = gateway.stats()
    return connectionsOpen === 0 && sessionsOpen === 0 && (await backends()).length === 0
  }
  await until('all connections to end', isGone).catch(() => {})
  const [row] = await admin('SELECT count(*) FROM stray')
  return { backends: await backends(), gateway: gateway.stats(), strays: Number(row!['count']) }
}

const BACKENDS = `
  SELECT format('%s %s, %s: %s', usename, pid, state, query) AS backend
  FROM pg_stat_activity WHERE usename = ANY($1) ORDER BY pid`

export function remainsFaults({ backends, gateway, strays }: Remains): Fault[] {
  const { connectionsOpen, sessionsOpen } = gateway
  return [
    ...backends.map((backend) => `a backend outlived its client: ${backend}`),
    ...(connectionsOpen === 0 ? [] : [`the gateway has ${connectionsOpen} connections open`]),
    ...(sessionsOpen === 0 ? [] : [`the gateway has ${sessionsOpen} sessions open`]),
    ...(strays === 0 ? [] : [`${strays} rows were written by statements of dead transactions`]),
  ].map((text) => ({ kind: 'zombie', text }))
}

/** A run without what it is for shows nothing. */
export function troubleFaults(
  troubles: Readonly<Record<string, number>>,
  conflicts: number,
): Fault[] {
  const idle = [
    ...(Object.keys(troubles).length === 0 ? ['no connection had any trouble'] : []),
    ...(conflicts === 0 ? ['no transaction met a conflict'] : []),
  ]
  return idle.map((text) => ({ kind: 'idle', text }))
}
