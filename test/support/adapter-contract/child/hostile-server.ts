/** Logins to untrusted servers, with all environment variables that weaken TLS for some client. */
import type { TlsNegotiation } from '../../../../core/index.js'
import type { ClientEntry } from '../../../clients/client.js'
import { loginOfChild, type ChildOrder, type ChildTarget } from '../contract-process.js'
import { codesOf } from '../error-chain.js'

export interface Attempt {
  readonly target: string
  readonly environment: string
  /** The codes of the error, or `connected`. */
  readonly outcome: readonly unknown[] | 'connected'
}

const ENVIRONMENTS: readonly Readonly<Record<string, string>>[] = [
  {},
  { PGSSLMODE: 'disable' },
  { PGSSLMODE: 'prefer' },
  { PGSSLMODE: 'require' },
  { PGSSLMODE: 'no-verify' },
  { PGSSL: 'false', PGREQUIRESSL: '0', PGSSLCERTMODE: 'disable' },
  { PGPASSWORD: 'password-of-the-environment', PGUSER: 'admin', PGDATABASE: 'shop' },
  { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
  {
    NODE_TLS_REJECT_UNAUTHORIZED: '0',
    PGSSLMODE: 'disable',
    PGPASSWORD: 'password-of-the-environment',
  },
]

export async function runHostileServer(entry: ClientEntry, order: ChildOrder): Promise<Attempt[]> {
  const attempts: Attempt[] = []
  for (const target of order.targets) {
    for (const environment of ENVIRONMENTS) {
      for (const negotiation of ['postgres', 'direct'] as const) {
        attempts.push({
          target: target.name,
          environment: JSON.stringify(environment),
          outcome: await attempt(entry, order, { ...target, negotiation }, environment),
        })
      }
    }
  }
  return attempts
}

async function attempt(
  entry: ClientEntry,
  order: ChildOrder,
  { port, ca, negotiation }: ChildTarget & { negotiation: TlsNegotiation },
  environment: Readonly<Record<string, string>>,
): Promise<Attempt['outcome']> {
  // The login rejects some of these variables, so it is created before. The client may read them at any time.
  const login = loginOfChild(order.login, {
    connectTo: { host: '127.0.0.1', port },
    tls: { ca, negotiation },
  })
  Object.assign(process.env, environment)
  const database = entry.open(login, entry.options({ poolSize: 1, log: () => {} }))
  try {
    await database.run('SELECT 1')
    return 'connected'
  } catch (error) {
    return codesOf(error)
  } finally {
    await database.close()
    for (const name of Object.keys(environment)) delete process.env[name]
  }
}
