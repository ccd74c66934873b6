/**
 * A function as Vercel runs it, in a process of its own: the token of OpenID Connect is there only while a request is handled. Reads
 * what it needs from standard input, and prints what happened.
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
  /** How the first query failed, which was asked outside of a request. */
  readonly outside: { code: string; hint: string; cause: string }
  /** What the next one gave, on the same pool, within a request. */
  readonly within: unknown
  /** What a new pool gave after that, outside of a request again. */
  readonly later: unknown
  readonly credentialCalls: number
}

interface Failure {
  code: string
  hint: string
  cause: Error
}

const requests = new AsyncLocalStorage<{ headers: Record<string, string> }>()
// What Vercel's runtime does for each request.
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
