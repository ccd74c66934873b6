import { createPool } from '../../../adapters/pg.js'
import { createEndpointHealth } from '../../../core/connection/endpoint-health.js'
import { type Endpoint, logIn } from '../../../core/connection/log-in.js'
import {
  type FailoverAttempt,
  logInWithFailover,
} from '../../../core/connection/open-connection.js'
import { auroraDsql, type AwsCredentials, PgIamError } from '../../../core/index.js'
import { internalsOf } from '../../../core/login.js'
import { type Gateway, startGateway } from '../../../gateway/index.js'
import { errorResponse, GREETING } from '../support/backend-messages.js'
import { createByteReader } from '../support/byte-reader.js'
import { rejectionOf } from '../support/caught.js'
import { CREDENTIALS } from '../support/dsql-options.js'
import {
  acceptLogin,
  acceptTls,
  type Behaviour,
  receiveLogin,
  type StandIn,
  startStandIn,
} from '../support/postgres-stand-in.js'
import { startRawClient } from '../support/raw-client.js'
import { createDeferred } from '../../support/deferred.js'

let standIn: StandIn | undefined
afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

const TOO_MANY = errorResponse('53300', 'too many connections')

const refusing = (error: Buffer): Behaviour => {
  return async (socket, keys) => {
    const { socket: secured } = await receiveLogin(socket, keys)
    secured.resume().end(error)
  }
}

describe('the time limit of a connection', () => {
  it.each<[string, Behaviour]>([
    ['does not answer', async (socket) => void socket.resume()],
    [
      'does not go on with TLS',
      async (socket) => void (await createByteReader(socket).packet(), socket.write('S')),
    ],
    [
      'does not answer the startup packet',
      async (socket, keys) => void (await acceptTls(socket, keys)).resume(),
    ],
  ])('ends the attempt when the server %s, and closes its socket', async (_label, behaviour) => {
    standIn = await startStandIn(behaviour)
    const client = startRawClient(standIn.login({ connectTimeoutMs: 300 }))
    expect(await client.closed).toMatchObject({
      code: 'ERR_CONNECT_TIMEOUT',
      message: expect.stringMatching(/^aurora-dsql: could not connect to .* within 300 ms$/),
      retryable: true,
      hint: expect.stringContaining('"connectTimeoutMs"'),
    })
    await standIn.idle()
  })

  it('also applies while the token is requested', async () => {
    standIn = await startStandIn(async () => {})
    let answer: ((value: AwsCredentials) => void) | undefined
    const credentials = (): Promise<AwsCredentials> => new Promise((resolve) => (answer = resolve))
    const client = startRawClient(
      standIn.login({ credentials, connectTimeoutMs: 50, tokenTimeoutMs: 600_000 }),
    )
    expect(await client.closed).toMatchObject({ code: 'ERR_CONNECT_TIMEOUT' })
    answer?.(CREDENTIALS)
    expect(standIn.accepted()).toBe(0)
  })
})

describe('a startup parameter', () => {
  it.each([
    ['application_name', 'web\0options\0-c x=y', 'application_name'],
    ['x\0user', 'admin', 'x'],
  ])(
    'with a NUL (%j: %j) is never sent, since the server would read another parameter after it',
    async (name, value, shown) => {
      let received = 0
      standIn = await startStandIn(async (socket, keys) => {
        const secured = await acceptTls(socket, keys)
        secured.on('data', (chunk: Buffer) => (received += chunk.length))
      })
      const [endpoint] = internalsOf(standIn.login())!.endpoints.all
      const attempt = logIn({
        endpoint: endpoint!,
        parameters: new Map([[name, value]]),
        protocolVersion: 196_608,
        user: 'app',
        signal: new AbortController().signal,
      })
      await expect(attempt).rejects.toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: `"${shown}" must not contain a NUL`,
      })
      await standIn.idle()
      expect(received).toBe(0)
    },
  )
})

describe('several hosts', () => {
  it('survive a server that refuses the login and resets the connection while the next host is tried', async () => {
    const refused = createDeferred<void>()
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      socket.on('error', () => {})
      secured.on('error', () => {})
      secured.write(errorResponse('57P03', 'the database system is starting up'))
      refused.resolve()
      setImmediate(() => socket.resetAndDestroy())
    })
    const silent = await startStandIn(async (socket) => void socket.resume())
    const { host, connectTo, tls } = standIn.login()
    const login = auroraDsql({
      host: [host, host.replace('us-east-1', 'us-west-2')],
      connectTo: [connectTo!, silent.login().connectTo!],
      user: 'app',
      credentials: CREDENTIALS,
      connectTimeoutMs: 2_000,
      tls: { ca: tls.ca! },
    })
    const client = startRawClient(login)
    await refused.promise
    // An error event without a listener would end the process.
    expect(await client.closed).toMatchObject({ code: 'ERR_CONNECT_TIMEOUT' })
    await silent.close()
  })
})

describe('a server that rejects the login', () => {
  it('because of too many connections is retried, with a new token, until it accepts', async () => {
    let attempts = 0
    standIn = await startStandIn(async (socket, keys) => {
      if (++attempts === 3) {
        await acceptLogin(socket, keys)
        return
      }
      await refusing(TOO_MANY)(socket, keys)
    })
    const login = standIn.login()
    const client = startRawClient(login)
    await client.receive(GREETING.length)
    expect(client.received().includes('53300')).toBe(false)
    expect([standIn.accepted(), login.stats().tokensMade]).toEqual([3, 3])
    expect(login.stats().connectionsOpened).toBe(1)
    client.stream.destroy()
    await standIn.idle()
  })

  it('because of too many connections until the time is up has its error reported', async () => {
    standIn = await startStandIn(refusing(TOO_MANY))
    const client = startRawClient(standIn.login({ connectTimeoutMs: 400 }))
    expect(await client.closed).toBeUndefined()
    expect(client.received()).toEqual(TOO_MANY)
    await standIn.idle()
  })

  it.each(['28000', '28P01', '3D000', '42501', '57P03'])('with %s is not retried', async (code) => {
    const refusal = errorResponse(code, 'no')
    standIn = await startStandIn(refusing(refusal))
    const client = startRawClient(standIn.login())
    expect(await client.closed).toBeUndefined()
    expect(client.received()).toEqual(refusal)
    expect(standIn.accepted()).toBe(1)
  })

  it('is not retried for a driver that has disconnected, so that the next connection gets its slot', async () => {
    let isRefusing = true
    standIn = await startStandIn((socket, keys) =>
      isRefusing ? refusing(TOO_MANY)(socket, keys) : acceptLogin(socket, keys).then(() => {}),
    )
    const login = standIn.login()
    const first = startRawClient(login)
    while (standIn.accepted() === 0) await new Promise((resolve) => setImmediate(resolve))
    await standIn.idle()
    first.stream.destroy()
    expect(await first.closed).toBeUndefined()
    // On a slow machine there were retries before.
    await standIn.idle()
    const before = standIn.accepted()
    isRefusing = false
    const second = startRawClient(login)
    await second.receive(GREETING.length)
    expect(standIn.accepted()).toBe(before + 1)
    second.stream.destroy()
  })
})

const SECOND = 1_000
const named = (host: string): Endpoint => ({ host }) as Endpoint
const [A, B, C] = [named('a'), named('b'), named('c')]
const hosts = (endpoints: readonly Endpoint[]): string => endpoints.map(({ host }) => host).join('')

describe('createEndpointHealth', () => {
  function endpointSet(): {
    set: ReturnType<typeof createEndpointHealth>
    pass: (ms: number) => void
  } {
    let now = 1_000_000
    const set = createEndpointHealth([A, B, C], { now: () => now, random: () => 1 })
    return { set, pass: (ms) => (now += ms) }
  }

  it('keeps the given order, except for endpoints that did not answer', () => {
    const { set } = endpointSet()
    expect(hosts(set.inOrder())).toBe('abc')
    set.markFailed(A)
    expect([hosts(set.inOrder()), hosts(set.coolingDown()), hosts(set.all)]).toEqual([
      'bca',
      'a',
      'abc',
    ])
    set.markReachable(A)
    expect([hosts(set.inOrder()), hosts(set.coolingDown())]).toEqual(['abc', ''])
  })

  it('doubles the cooldown of an endpoint with each failure, and lets one connection try it afterwards', () => {
    const { set, pass } = endpointSet()
    for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
      set.markFailed(A)
      pass(seconds * SECOND - 1)
      expect(hosts(set.inOrder())).toBe('bca')
      pass(1)
      expect(hosts(set.inOrder())).toBe('abc')
      // For the others it is still cooling down.
      expect(hosts(set.inOrder())).toBe('bca')
    }
  })

  it('counts the failures of one outage as one', () => {
    const { set, pass } = endpointSet()
    for (let connection = 0; connection < 50; connection++) set.markFailed(A)
    pass(SECOND)
    expect(hosts(set.inOrder())).toBe('abc')
  })
})

describe('logInWithFailover', () => {
  type Answer = Error | string
  /** Tries endpoints with these results in turn: accept, reject with a SQLSTATE, or fail. */
  function attempt(answers: Record<string, Answer>, endpoints = [A, B, C]) {
    const tried: string[] = []
    const destroyed: string[] = []
    const set = createEndpointHealth(endpoints)
    const controller = new AbortController()
    const request = {
      endpoints: set,
      provider: 'aurora-dsql',
      signal: controller.signal,
      parameters: new Map(),
      protocolVersion: 0,
      user: 'app',
    } satisfies FailoverAttempt
    const run = (): ReturnType<typeof logInWithFailover> =>
      logInWithFailover(request, {
        logIn: async ({ endpoint: { host } }) => {
          tried.push(host)
          const answer = answers[host] ?? 'in'
          if (answer instanceof Error) throw answer
          const socket = { destroy: () => destroyed.push(host) } as never
          return {
            socket,
            received: Buffer.alloc(0),
            ...(answer === 'in' ? {} : { refusedWith: answer }),
          }
        },
      })
    return { run, tried, destroyed, set, abort: () => controller.abort() }
  }

  it('uses the first endpoint that answers', async () => {
    const { run, tried } = attempt({})
    expect((await run()).host).toBe('a')
    expect(tried).toEqual(['a'])
  })

  it.each<Answer>([new Error('ECONNREFUSED'), '57P01', '57P03', '53300', '53200'])(
    'tries the next endpoint after %s',
    async (answer) => {
      const { run, tried, destroyed } = attempt({ a: answer })
      expect((await run()).host).toBe('b')
      expect(tried).toEqual(['a', 'b'])
      expect(destroyed).toEqual(typeof answer === 'string' ? ['a'] : [])
    },
  )

  it.each(['28000', '28P01', '3D000'])(
    'does not try the next endpoint after a rejection with %s',
    async (code) => {
      const { run, tried, set } = attempt({ a: code })
      expect(await run()).toMatchObject({ host: 'a', refusedWith: code })
      expect([tried, set.coolingDown()]).toEqual([['a'], []])
    },
  )

  it('starts with an endpoint that has answered recently, next time', async () => {
    const { run, tried } = attempt({ a: new Error('x') })
    await run()
    await run()
    expect(tried).toEqual(['a', 'b', 'b'])
  })

  it('starts no cooldown for an endpoint at its connection limit', async () => {
    const { run, tried } = attempt({ a: '53300' })
    await run()
    await run()
    expect(tried).toEqual(['a', 'b', 'a', 'b'])
  })

  it('passes the last rejection to the driver if all endpoints reject or fail', async () => {
    const { run, destroyed } = attempt({ a: '57P03', b: '53300', c: new Error('x') })
    expect(await run()).toMatchObject({ host: 'b', refusedWith: '53300' })
    expect(destroyed).toEqual(['a', 'b'])
  })

  it('rejects with the original error of a single endpoint, and otherwise with those of all', async () => {
    const [one, two] = [new Error('one'), new Error('two')]
    expect(await rejectionOf(attempt({ a: one }, [A]).run())).toBe(one)
    const error = await rejectionOf(attempt({ a: one, b: two }, [A, B]).run())
    expect(error).toMatchObject({
      code: 'ERR_CONNECT_FAILED',
      message: 'aurora-dsql: could not connect to any of a, b',
      retryable: true,
    })
    expect(((error as PgIamError).cause as AggregateError).errors).toEqual([one, two])
  })

  it("ends if the token fails, which is not an endpoint's failure", async () => {
    const failure = new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'x')
    const { run, tried, set, destroyed } = attempt({ a: '57P03', b: failure })
    expect(await rejectionOf(run())).toBe(failure)
    expect([tried, hosts(set.coolingDown()), destroyed]).toEqual([['a', 'b'], 'a', ['a']])
  })

  it('ends if it is aborted', async () => {
    const failure = new Error('aborted')
    const { run, tried, abort } = attempt({ a: failure })
    abort()
    expect(await rejectionOf(run())).toBe(failure)
    expect(tried).toEqual(['a'])
  })
})

// Keys that are revoked before they expire. Only the server's rejection indicates it.

describe('a login whose key was revoked', () => {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway({ sql: 'postgres' })
  })
  afterAll(() => gateway?.close())

  /** A key without an expiry, which does not show when it will be revoked. */
  const issue = (): AwsCredentials => {
    const { accessKeyId, secretAccessKey, sessionToken } = gateway.issueCredentials()
    return { accessKeyId, secretAccessKey, sessionToken }
  }

  it.each([
    ['a token for each connection', 0],
    ['a shared token', 60],
  ])("logs in with the provider's new key, with %s", async (_label, reuseTokenSecs) => {
    let current = issue()
    const login = gateway.login({ credentials: () => current, reuseTokenSecs })
    const pool = createPool(login, { max: 1, maxUses: 1 })
    await pool.query('SELECT 1')

    gateway.revokeCredentials(current.accessKeyId)
    current = issue()
    expect((await pool.query('SELECT 2 AS two')).rows).toEqual([{ two: 2 }])
    expect((await pool.query('SELECT 3 AS three')).rows).toEqual([{ three: 3 }])
    expect(login.stats()).toMatchObject({ credentialCalls: 2, connectionsOpened: 3 })
    await pool.end()
  })

  it('passes on the rejection if the provider has no other key, and does not call it for each connection', async () => {
    const credentials = issue()
    const login = gateway.login({ credentials: () => credentials })
    const pool = createPool(login)
    await pool.query('SELECT 1')
    await pool.end()

    gateway.revokeCredentials(credentials.accessKeyId)
    const refused = createPool(login)
    for (let attempt = 1; attempt <= 3; attempt++) {
      await expect(refused.query('SELECT 2')).rejects.toMatchObject({ code: '08006' })
    }
    expect(login.stats().credentialCalls).toBe(2)
    await refused.end()
  })
})
