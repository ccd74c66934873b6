import { Client, type ClientConfig } from 'pg'
import postgres, { type Sql } from 'postgres'
import { createStreamFactory } from '../../../core/connection/login-stream.js'
import type { AwsCredentials, Login } from '../../../core/index.js'
import {
  AUTHENTICATION_OK,
  CLEARTEXT_REQUEST,
  errorResponse,
  SCRAM_REQUEST,
} from '../support/backend-messages.js'
import { createByteReader } from '../support/byte-reader.js'
import { rejectionOf } from '../support/caught.js'
import { CREDENTIALS } from '../support/dsql-options.js'
import {
  acceptTls,
  type Behaviour,
  receiveLogin,
  type StandIn,
  startStandIn,
} from '../support/postgres-stand-in.js'
import { answeringQueries } from '../support/query-server.js'

/** One connection of a real driver. */
interface Driver {
  query(text: string): Promise<unknown>
  close(): Promise<void>
}

const drivers: [string, (login: Login, options?: { connectTimeoutMs?: number }) => Driver][] = [
  [
    'pg',
    (login, { connectTimeoutMs = 0 } = {}) => {
      const stream = createStreamFactory(login) as unknown as NonNullable<ClientConfig['stream']>
      const client = new Client({
        stream,
        user: 'someone',
        connectionTimeoutMillis: connectTimeoutMs,
      })
      client.on('error', () => {})
      let connected: Promise<unknown> | undefined
      return {
        async query(text) {
          await (connected ??= client.connect())
          return (await client.query<{ a: string }>(text)).rows[0]?.a
        },
        close: () => client.end(),
      }
    },
  ],
  [
    'Postgres.js',
    (login, { connectTimeoutMs = 30_000 } = {}) => {
      // Documented, but missing in the types of Postgres.js 3.4.
      const options = {
        socket: createStreamFactory(login),
        connect_timeout: connectTimeoutMs / 1000,
      }
      const sql: Sql = postgres({
        ...options,
        user: 'someone',
        max: 1,
        fetch_types: false,
        backoff: false,
      } as object)
      return {
        query: async (text) => ((await sql.unsafe(text)) as unknown as { a: string }[])[0]?.a,
        close: () => sql.end({ timeout: 0 }),
      }
    },
  ],
]

let standIn: StandIn | undefined
afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

describe.each(drivers)('%s on a stream of a login', (_name, connect) => {
  /** The error of the first query, once no connection to the server is open. */
  async function refusal(
    behaviour: Behaviour,
    change: Parameters<StandIn['login']>[0] = {},
  ): Promise<unknown> {
    standIn = await startStandIn(behaviour)
    const driver = connect(standIn.login(change))
    const error = await rejectionOf(driver.query('select 1'))
    await driver.close()
    await standIn.idle()
    return error
  }

  it('queries, and closes regularly', async () => {
    const queries: string[] = []
    standIn = await startStandIn(answeringQueries((query) => `answer ${queries.push(query)}`))
    const login = standIn.login()
    const driver = connect(login)
    expect(await driver.query('select 1')).toBe('answer 1')
    expect(await driver.query('select 2')).toBe('answer 2')
    expect(queries).toEqual(['select 1', 'select 2'])
    await driver.close()
    await standIn.idle()
    expect(login.stats()).toMatchObject({ tokensMade: 1, connectionsOpened: 1, connectionsOpen: 0 })
    expect(standIn.accepted()).toBe(1)
  })

  it('sends and receives ten megabytes in one message', async () => {
    const large = 'x'.repeat(10 << 20)
    standIn = await startStandIn(answeringQueries((query) => query))
    const driver = connect(standIn.login())
    expect((await driver.query(large)) === large).toBe(true)
    await driver.close()
  })

  it('reports a rejected login with the message and the code of the server', async () => {
    const error = await refusal(async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured.resume().end(errorResponse('28000', 'unable to accept connection, access denied'))
    })
    expect(error).toMatchObject({
      code: '28000',
      message: 'unable to accept connection, access denied',
    })
  })

  it('reports an error that follows AuthenticationOk', async () => {
    const error = await refusal(async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured
        .resume()
        .end(
          Buffer.concat([
            AUTHENTICATION_OK,
            errorResponse('3D000', 'database "shop" does not exist'),
          ]),
        )
    })
    expect(error).toMatchObject({ code: '3D000' })
  })

  it('reports a server that requests another authentication method', async () => {
    const error = await refusal(async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      await createByteReader(secured).packet()
      secured.write(SCRAM_REQUEST)
    })
    expect(error).toMatchObject({
      code: 'ERR_LOGIN_REJECTED',
      hint: expect.stringContaining('IAM'),
    })
  })

  it('reports a server without TLS, and does not send it a token', async () => {
    const seen: Buffer[] = []
    const error = await refusal(
      async (socket) => {
        seen.push(Buffer.from(await createByteReader(socket).packet()))
        socket.on('data', (chunk) => seen.push(chunk))
        socket.write('N')
      },
      { tls: { negotiation: 'postgres' } },
    )
    expect(error).toMatchObject({ code: 'ERR_TLS_UNVERIFIED' })
    expect(Buffer.concat(seen)).toHaveLength(8)
  })

  it('reports a certificate for another host', async () => {
    const error = await refusal(async (socket, keys) => void (await acceptTls(socket, keys)), {
      tls: { servername: 'other.example.com' },
    })
    expect(error).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  })

  it('reports a server that disconnects during the login', async () => {
    const error = await refusal(async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      await createByteReader(secured).packet()
      secured.end(CLEARTEXT_REQUEST)
    })
    expect(error).toMatchObject({ code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/) })
  })

  it('reports the original error of a token that cannot be created, without dialling', async () => {
    const cause = new Error('vault is sealed')
    const error = await refusal(async () => {}, { credentials: () => Promise.reject(cause) })
    expect(error).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      message: 'could not get AWS credentials',
      cause,
    })
    expect(standIn?.accepted()).toBe(0)
  })

  it('works again after a failure', async () => {
    let calls = 0
    standIn = await startStandIn(answeringQueries(() => 'ok'))
    const login = standIn.login({
      credentials: async () => {
        if (++calls === 1) throw new Error('vault is sealed')
        return CREDENTIALS
      },
    })
    const failing = connect(login)
    await rejectionOf(failing.query('select 1'))
    await failing.close()
    const driver = connect(login)
    expect(await driver.query('select 1')).toBe('ok')
    await driver.close()
    await standIn.idle()
    expect(standIn.accepted()).toBe(1)
  })

  it('times out, with its own timeout, if the token never arrives', async () => {
    standIn = await startStandIn(async () => {})
    let answer: ((value: AwsCredentials) => void) | undefined
    const credentials = (): Promise<AwsCredentials> => new Promise((resolve) => (answer = resolve))
    const driver = connect(standIn.login({ credentials }), { connectTimeoutMs: 50 })
    const error = await rejectionOf(driver.query('select 1'))
    expect(String(error)).toMatch(/timeout|CONNECT_TIMEOUT/)
    await driver.close()
    answer?.(CREDENTIALS)
    expect(standIn.accepted()).toBe(0)
  })

  it('times out, with its own timeout, if the server never answers, and closes the socket', async () => {
    standIn = await startStandIn(async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      secured.resume()
    })
    const driver = connect(standIn.login(), { connectTimeoutMs: 200 })
    expect(String(await rejectionOf(driver.query('select 1')))).toMatch(/timeout|CONNECT_TIMEOUT/)
    await driver.close()
    await standIn.idle()
  })
})
