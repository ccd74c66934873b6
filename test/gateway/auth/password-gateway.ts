/** A gateway with an endpoint for each password method, and clients for it. */
import { Client, type ClientConfig } from 'pg'
import type { Gateway } from '../../../gateway/index.js'
import { errorFields, openTls, type RawClient, startup } from '../raw-client.js'
import { type LogRecorder, recordLog, usePostgres } from '../upstream-gateway.js'

export const METHODS = ['cleartext', 'md5', 'scram-sha-256'] as const
export const PASSWORD = 'pässword, =odd'
export const APP = { user: 'app', database: 'postgres' }

export const hostOf = (method: string): string => `${method}.example.com`

interface PasswordGateway {
  server: ReturnType<typeof usePostgres>
  log: LogRecorder
  gateway(): Gateway
  /** A pg client, as `app` with the correct password by default. */
  client(method: string, more?: ClientConfig): Client
  /** A client that has received a password request, and the request. */
  asked(method: string): Promise<{ client: RawClient; request: Buffer }>
}

/** Registers its start before the tests of a file. */
export function usePasswordGateway(): PasswordGateway {
  const server = usePostgres()
  const log = recordLog()
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await server.start({
      logger: log.logger,
      endpoints: METHODS.map((method) => ({
        provider: 'password',
        hosts: [hostOf(method)],
        users: { app: PASSWORD },
        method,
      })),
    })
  })
  return {
    server,
    log,
    gateway: () => gateway,
    client: (method, more = {}) =>
      new Client({
        host: gateway.host,
        port: gateway.port,
        ...APP,
        password: PASSWORD,
        ssl: { ca: gateway.ca, servername: hostOf(method) },
        ...more,
      }),
    async asked(method) {
      const client = await openTls(gateway, { servername: hostOf(method) })
      client.send(startup(APP))
      return { client, request: (await client.next('R')).body }
    },
  }
}

export async function currentUser(client: Client): Promise<unknown> {
  await client.connect()
  try {
    return (await client.query('select current_user as me')).rows[0]?.me as unknown
  } finally {
    await client.end()
  }
}

/** The fields of the error that refuses the client. */
export async function refusalOf(client: RawClient): Promise<Record<string, string>> {
  const fields = errorFields(await client.next('E'))
  expect(await client.ended()).toEqual([])
  return fields
}
