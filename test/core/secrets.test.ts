import { Client, type ClientConfig } from 'pg'
import { createStreamFactory } from '../../core/connection/login-stream.js'
import { auroraDsql, type AuroraDsqlOptions, type Login } from '../../core/index.js'
import { type AwsFiles, createAwsFiles } from './support/aws-files.js'
import {
  AUTHENTICATION_OK,
  errorResponse,
  GREETING,
  SCRAM_REQUEST,
} from './support/backend-messages.js'
import { createByteReader } from './support/byte-reader.js'
import { rejectionOf } from './support/caught.js'
import { type CollectedEvents, collectEvents } from './support/collect-events.js'
import { HOST } from './support/dsql-options.js'
import {
  acceptTls,
  type Behaviour,
  receiveLogin,
  type StandIn,
  startStandIn,
} from './support/postgres-stand-in.js'
import { printed } from './support/printed.js'
import { answeringQueries } from './support/query-server.js'
import { startRawClient } from './support/raw-client.js'
import { startSts } from '../support/aws/sts.js'

/** In the key, and, through the session token, in every token signed with it. */
const SECRETS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'CANARY-key',
  sessionToken: 'CANARY-session',
}

let standIn: StandIn | undefined
let collected: CollectedEvents
let files: AwsFiles
const surroundings = process.env

beforeEach(() => {
  collected = collectEvents()
  files = createAwsFiles({})
  process.env = { ...files.env }
})
afterEach(async () => {
  process.env = surroundings
  files.remove()
  collected.stop()
  await standIn?.close()
  standIn = undefined
})

const login = (options: AuroraDsqlOptions = {}): Login =>
  auroraDsql({ host: HOST, user: 'app', credentials: SECRETS, ...options })

function expectNoSecretIn(...values: unknown[]): void {
  expect(values.length).toBeGreaterThan(0)
  for (const value of values) expect(printed(value)).not.toContain('CANARY')
}

describe('no secret is printed', () => {
  it('by a login, before and after it has created or shared a token', async () => {
    for (const options of [
      {},
      { reuseTokenSecs: 60 },
      { customCredentialsProvider: () => SECRETS, credentials: undefined },
    ]) {
      const made = login(options as AuroraDsqlOptions)
      expectNoSecretIn(made)
      // Checks that the canary is in the token.
      expect(await made.password()).toContain('CANARY-session')
      expectNoSecretIn(made, made.stats(), { ...made }, Object.entries(made))
    }
  })

  it('by a token, or an object that contains it', async () => {
    const token = await login().token()
    expect(token.value).toContain('CANARY-session')
    expectNoSecretIn(
      token,
      { ...token },
      [token],
      new Map([['token', token]]),
      new Error('x', { cause: token }),
    )
  })

  it('by the events of a token', async () => {
    const made = login({ reuseTokenSecs: 60 })
    await made.token()
    await made.token()
    await rejectionOf(login({ credentials: { ...SECRETS, expiration: new Date(0) } }).token())
    expect(collected.names()).toEqual(['token.made', 'token.reused', 'token.failed'])
    expectNoSecretIn(collected.events)
  })

  it.each<[string, AuroraDsqlOptions]>([
    ['expired credentials', { credentials: { ...SECRETS, expiration: new Date(0) } }],
    ['a function that fails', { credentials: () => Promise.reject(new Error('x')) }],
    [
      'a function whose result lacks a key',
      { credentials: () => ({ ...SECRETS, accessKeyId: '' }) },
    ],
    [
      'a function whose result has an invalid date',
      { credentials: () => ({ ...SECRETS, expiration: 'CANARY' as never }) },
    ],
    ['a function that returns a string', { credentials: () => 'CANARY' as never }],
  ])('by the error for %s as credentials', async (_label, options) => {
    const error = await rejectionOf(login(options).token())
    expect(error).toMatchObject({ code: 'ERR_CREDENTIALS_UNAVAILABLE' })
    expectNoSecretIn(error, collected.events)
  })

  it('by the error of an STS request, which contained the session token', async () => {
    const sts = await startSts(() => 'AccessDenied')
    process.env['AWS_ENDPOINT_URL_STS'] = sts.url
    try {
      const assumeRole = {
        roleArn: 'arn:aws:iam::123456789012:role/reader',
        externalId: 'CANARY-external',
      }
      expectNoSecretIn(await rejectionOf(login({ assumeRole }).token()), collected.events)
      expect(sts.requests).toHaveLength(1)
    } finally {
      await sts.close()
    }
  })

  const servers: [string, Behaviour][] = [
    ['has no TLS', async (socket) => void socket.end('N')],
    [
      'requests another authentication method',
      async (socket, keys) => {
        const secured = await acceptTls(socket, keys)
        await createByteReader(secured).packet()
        secured.write(SCRAM_REQUEST)
      },
    ],
    [
      'closes the connection after the token',
      async (socket, keys) => {
        const { socket: secured } = await receiveLogin(socket, keys)
        secured.resume().end()
      },
    ],
    [
      'rejects the token',
      async (socket, keys) => {
        const { socket: secured } = await receiveLogin(socket, keys)
        secured.resume().end(errorResponse('28000', 'access denied'))
      },
    ],
    [
      'accepts the login, and then resets the connection',
      async (socket, keys) => {
        const { socket: secured } = await receiveLogin(socket, keys)
        secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]), () => socket.resetAndDestroy())
      },
    ],
  ]
  it.each(servers)(
    'by a stream, its error or its events when the server %s',
    async (_label, behaviour) => {
      standIn = await startStandIn(behaviour)
      const client = startRawClient(standIn.login({ credentials: SECRETS }))
      expectNoSecretIn(client.stream)
      const error = await client.closed
      expectNoSecretIn(client.stream, error ?? {}, collected.events)
    },
  )

  it('by a connected pg.Client', async () => {
    standIn = await startStandIn(answeringQueries(() => 'ok'))
    const stream = createStreamFactory(
      standIn.login({ credentials: SECRETS }),
    ) as unknown as NonNullable<ClientConfig['stream']>
    const client = new Client({ stream, user: 'app' })
    await client.connect()
    await client.query('select 1')
    expectNoSecretIn(client, Object.entries(client))
    await client.end()
    expectNoSecretIn(client, collected.events)
  })
})
