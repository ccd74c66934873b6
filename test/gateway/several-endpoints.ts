/** Endpoints of several providers, and logins to them with pg-iam. */
import { createPool } from '../../adapters/pg.js'
import type { EndpointOptions, Gateway } from '../../gateway/index.js'

export const DSQL = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
export const RDS = 'db.abcdefghijkl.eu-west-1.rds.amazonaws.com'
export const OTHER_RDS = 'reader.cluster-ro-abcdefghijkl.eu-west-1.rds.amazonaws.com'
export const PLAIN = 'db.example.com'
export const OPEN = 'open.example.com'
export const APP = { user: 'app', database: 'postgres' }

export const ENDPOINTS: readonly EndpointOptions[] = [
  { provider: 'aurora-dsql', hosts: [DSQL] },
  { provider: 'rds', hosts: [RDS, OTHER_RDS], port: 5433 },
  { provider: 'password', hosts: [PLAIN], users: { app: 'secret' }, method: 'md5', listen: 0 },
  { provider: 'none', hosts: [OPEN] },
]

/** Logs in with pg-iam. */
export async function currentUser(own: Gateway, options: object): Promise<unknown> {
  const pool = createPool(own.login(options), { max: 1 })
  try {
    return (await pool.query('select current_user as me')).rows[0].me as unknown
  } finally {
    await pool.end()
  }
}
