/**
 * A function as Vercel runs it, in a separate process: the OpenID Connect token is available only during a request. It reads its
 * parameters from standard input, and prints the results.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { json } from 'node:stream/consumers'
import { awsCredentialsProvider } from '@vercel/oidc-aws-credentials-provider'
import { createPool } from '../../../adapters/pg.js'
import { auroraDsql, type AuroraDsqlOptions } from '../../../core/index.js'

export interface VercelOrder {
  readonly options: AuroraDsqlOptions
  readonly roleArn: string
  /** The token of the request. */
  readonly token: string
}

export interface VercelReport {
  /** The error of the first query, which ran outside of a request. */
  readonly outside: { code: string; hint: string; cause: string }
  /** The result of the next query on the same pool, during a request. */
  readonly within: unknown
  /** The result of a query on a new pool after that, outside of a request. */
  readonly later: unknown
  readonly credentialCalls: number
}

interface Failure {
  code: string
  hint: string
  cause: Error
}

const requests = new AsyncLocalStorage<{ headers: Record<string, string> }>()
// Emulates what Vercel's runtime does for each request.
Object.assign(globalThis, {
  [Symbol.for('@vercel/request-context')]: { get: () => requests.getStore() },
})

async function run({ options, roleArn, token }: VercelOrder): Promise<VercelReport> {
  const credentials = awsCredentialsProvider({ roleArn, clientConfig: { region: 'us-east-1' } })
  const login = auroraDsql({ ...options, credentials })
  const ask = async (pool: ReturnType<typeof createPool>): Promise<unknown> =>
    (await pool.query('SELECT current_user AS "user"')).rows
  const pool = createPool(login, { max: 1 })
  const { code, hint, cause } = (await ask(pool).catch((error: unknown) => error)) as Failure
  const within = await requests.run({ headers: { 'x-vercel-oidc-token': token } }, () => ask(pool))
  await pool.end()
  const second = createPool(login, { max: 1 })
  const later = await ask(second)
  await second.end()
  const { credentialCalls } = login.stats()
  return { outside: { code, hint, cause: cause.message }, within, later, credentialCalls }
}

void json(process.stdin).then(async (order) => {
  process.stdout.write(JSON.stringify(await run(order as VercelOrder)))
})
