import { once } from 'node:events'
import Cursor from 'pg-cursor'
import { customLogin } from '../../core/index.js'
import { pgTransaction } from '../../adapters/pg.js'
import { createUserPools, type PoolLimits, type UserPools } from '../../sign-in/user-pools.js'
import { eventually } from '../support/eventually.js'
import { usePostgres } from '../gateway/upstream-gateway.js'
import type { Gateway } from '../../gateway/index.js'

const HOST = 'db.example.com'
const postgres = usePostgres()
let gateway: Gateway
let pools: UserPools
let now = 0

beforeAll(async () => {
  gateway = await postgres.start({
    endpoints: [{ provider: 'password', hosts: [HOST], users: { app: 'a password' } }],
  })
})
afterEach(() => pools.close())

const LIMITS: PoolLimits = { pools: 3, poolsPerUser: 2, poolIdleSecs: 300, poolWaitMs: 60_000 }

function open(user: string, config = {}) {
  const login = gateway.login({
    host: HOST,
    user: 'app',
    getToken: async () => ({ value: 'a password', expiresAt: new Date(Date.now() + 60_000) }),
  } as never)
  return pools.create(user, login as ReturnType<typeof customLogin>, config)
}

describe('the pools of users', () => {
  it('give the place of the least recently used pool to another user, and open it again when it is used', async () => {
    pools = createUserPools(LIMITS, () => ++now)
    const users = ['alice', 'bob', 'carol', 'dave'].map((user) => open(user).pool)
    for (const pool of users.slice(0, 3)) await pool.query('SELECT 1')
    await users[0]!.query('SELECT 1')
    await users[3]!.query('SELECT 1')
    expect(users.map(({ totalCount }) => totalCount)).toEqual([1, 0, 1, 1])
    expect(pools.active()).toBe(3)
    expect((await users[1]!.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    expect(users.map(({ totalCount }) => totalCount)).toEqual([1, 1, 0, 1])
  })

  it('limit those of one user, who gives up an own one', async () => {
    pools = createUserPools(LIMITS, () => ++now)
    const [one, two, three] = [open('alice').pool, open('alice').pool, open('alice').pool]
    const other = open('bob').pool
    for (const pool of [other, one, two, three]) await pool.query('SELECT 1')
    expect([one, two, three, other].map(({ totalCount }) => totalCount)).toEqual([0, 1, 1, 1])
  })

  it('close no connection that is in use: a query waits for a free pool, in order', async () => {
    pools = createUserPools({ ...LIMITS, pools: 1 }, () => ++now)
    const held = await open('alice').pool.connect()
    const order: string[] = []
    const waiting = ['bob', 'carol'].map(async (user) => {
      await open(user).pool.query('SELECT pg_sleep(0.01)')
      order.push(user)
    })
    expect((await held.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    expect(order).toEqual([])
    held.release()
    await Promise.all(waiting)
    expect(order).toEqual(['bob', 'carol'])
  })

  it('fail a query that waits for too long, and serve the next ones', async () => {
    pools = createUserPools({ ...LIMITS, pools: 1, poolWaitMs: 50 }, () => ++now)
    const held = await open('alice').pool.connect()
    await expect(open('bob').pool.query('SELECT 1')).rejects.toMatchObject({
      code: 'ERR_SIGN_IN_LIMIT',
      retryable: true,
    })
    held.release()
    expect((await open('bob').pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })

  it('serve 60 users at once with 15 pools, and every query gets its own rows', async () => {
    pools = createUserPools({ ...LIMITS, pools: 15 })
    let most = 0
    const work = Array.from({ length: 60 }, async (_, index) => {
      const { pool } = open(`user ${index}`, { max: 2, application_name: `user ${index}` })
      for (let turn = 0; turn < 3; turn++) {
        const { rows } = await pool.query<{ name: string; turn: number }>(
          "SELECT current_setting('application_name') AS name, $1::int AS turn",
          [turn],
        )
        expect(rows).toEqual([{ name: `user ${index}`, turn }])
        most = Math.max(most, pools.active())
      }
    })
    await Promise.all(work)
    expect(most).toBeLessThanOrEqual(15)
    expect(gateway.stats().connectionsOpen).toBeLessThanOrEqual(30)
  })

  it('are pools of pg in every respect: callbacks, transactions, errors, connections that are destroyed', async () => {
    pools = createUserPools({ ...LIMITS, pools: 1 }, () => ++now)
    const { pool } = open('alice', { max: 2 })
    const result = await new Promise((resolve) => {
      pool.query('SELECT 1 AS one', (error, { rows }) => resolve(error ?? rows))
    })
    expect(result).toEqual([{ one: 1 }])
    expect(
      await pgTransaction(pool, async (client) => (await client.query('SELECT 2 AS two')).rows),
    ).toEqual([{ two: 2 }])
    await expect(pool.query('SELECT nonsense')).rejects.toMatchObject({ code: '42703' })
    const client = await pool.connect()
    client.release(true)
    const other = await new Promise<void>((resolve, reject) => {
      pool.connect((error, connected, done) => {
        if (error !== undefined) return reject(error)
        connected!.query('SELECT 1', () => {
          done()
          resolve()
        })
      })
    })
    expect(other).toBeUndefined()
    // All places were given back.
    expect((await open('bob').pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })

  it('give a place back when a login fails', async () => {
    pools = createUserPools({ ...LIMITS, pools: 1, poolWaitMs: 1_000 }, () => ++now)
    const login = gateway.login({
      host: HOST,
      user: 'app',
      getToken: async () => ({ value: 'wrong', expiresAt: new Date(Date.now() + 60_000) }),
    } as never)
    await expect(pools.create('eve', login, {}).pool.query('SELECT 1')).rejects.toMatchObject({
      code: '28P01',
    })
    expect((await open('alice').pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })

  it('reject queries with ERR_CLOSED after the application has ended them', async () => {
    pools = createUserPools(LIMITS, () => ++now)
    const one = open('alice')
    await one.pool.query('SELECT 1')
    await one.pool.end()
    expect(one.isClosed()).toBe(true)
    expect(pools.active()).toBe(0)
    await expect(one.pool.query('SELECT 1')).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  it('pass on the events of the pool that has their connections', async () => {
    pools = createUserPools(LIMITS, () => ++now)
    const { pool } = open('alice')
    const events: string[] = []
    for (const name of ['connect', 'acquire', 'release', 'remove'] as const)
      pool.on(name, () => void events.push(name))
    await pool.query('SELECT 1')
    const removed = once(pool, 'remove')
    await pool.end()
    // After the end of the pool: pg-pool 3.14 does not wait for its last connection to close.
    await removed
    expect(events).toEqual(['connect', 'acquire', 'release', 'remove'])
  })

  it('end with their session: running queries finish, waiting and later ones fail', async () => {
    pools = createUserPools({ ...LIMITS, pools: 1 }, () => ++now)
    const alice = open('alice')
    const client = await alice.pool.connect()
    const running = client.query('SELECT pg_sleep(0.05), 1 AS one').finally(() => client.release())
    const bob = open('bob')
    const waiting = bob.pool.query('SELECT 1')
    const ended = [
      expect(waiting).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' }),
      bob.close(),
      alice.close(),
    ]
    expect((await running).rows).toMatchObject([{ one: 1 }])
    await Promise.all(ended)
    await expect(alice.pool.query('SELECT 1')).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
    await eventually('the connections to be closed', () => gateway.stats().connectionsOpen === 0)
  })

  it('reject queries on a connection that was taken from the pool before the session ended', async () => {
    pools = createUserPools(LIMITS, () => ++now)
    const { pool, close } = open('alice')
    const client = await pool.connect()
    await client.query('BEGIN')
    const closed = close()
    const ended = { code: 'ERR_SESSION_ENDED' }
    await expect(client.query('SELECT 1')).rejects.toMatchObject(ended)
    await expect(
      new Promise((resolve, reject) =>
        client.query('SELECT 1', (error: Error, result: unknown) =>
          error === null || error === undefined ? resolve(result) : reject(error),
        ),
      ),
    ).rejects.toMatchObject(ended)
    await expect(client.query(new Cursor('SELECT 1')).read(1)).rejects.toMatchObject(ended)
    client.release()
    await closed
    await eventually('the connections to be closed', () => gateway.stats().connectionsOpen === 0)
  })

  it.each(['pool.end()', 'signIn.close()'])(
    'let a transaction finish when the application calls %s',
    async (call) => {
      pools = createUserPools(LIMITS, () => ++now)
      const { pool } = open('alice')
      const client = await pool.connect()
      await client.query('BEGIN')
      const ended = call === 'pool.end()' ? pool.end() : pools.close()
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
      await client.query('COMMIT')
      client.release()
      await ended
      await expect(pool.query('SELECT 1')).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    },
  )

  it('release a connection once for each checkout', async () => {
    pools = createUserPools(LIMITS, () => ++now)
    const { pool } = open('alice', { max: 1 })
    const done = await new Promise<() => void>((resolve) =>
      pool.connect((_error, _client, release) => resolve(release)),
    )
    done()
    const client = await pool.connect()
    expect(() => done()).toThrow('already been released')
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    expect(pool.idleCount).toBe(0)
    client.release()
    expect(() => client.release()).toThrow('already been released')
  })

  it('end with their session also for queries that wait for one of their connections', async () => {
    pools = createUserPools(LIMITS, () => ++now)
    const { pool, close } = open('alice', { max: 1 })
    const held = await pool.connect()
    const waiting = expect(pool.query('SELECT 1')).rejects.toMatchObject({
      code: 'ERR_SESSION_ENDED',
    })
    const closed = close()
    await waiting
    held.release()
    await closed
    await eventually('the connections to be closed', () => gateway.stats().connectionsOpen === 0)
  })

  it('let many queries wait for a connection without a warning of Node', async () => {
    const warnings: Error[] = []
    const listen = (warning: Error): void => void warnings.push(warning)
    process.on('warning', listen)
    pools = createUserPools(LIMITS, () => ++now)
    const { pool } = open('alice', { max: 1 })
    await Promise.all(Array.from({ length: 30 }, () => pool.query('SELECT 1')))
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', listen)
    expect(warnings.map(({ name }) => name)).not.toContain('MaxListenersExceededWarning')
  })

  it('count a connection once, however often pg-pool releases it', async () => {
    pools = createUserPools({ ...LIMITS, pools: 1 }, () => ++now)
    const { pool } = open('alice', { max: 1, maxLifetimeSeconds: 1 })
    for (let query = 0; query < 3; query++) {
      await pool.query('SELECT pg_sleep(0.6)')
    }
    await eventually('the connection to be replaced', () => pool.totalCount === 0)
    const held = await pool.connect()
    const other = open('bob').pool.query('SELECT 1 AS one')
    expect((await held.query('SELECT 2 AS two')).rows).toEqual([{ two: 2 }])
    held.release()
    expect((await other).rows).toEqual([{ one: 1 }])
  })

  it('close their connections when nobody uses them, without keeping the process alive', async () => {
    pools = createUserPools({ ...LIMITS, poolIdleSecs: 1 })
    const { pool } = open('alice')
    await pool.query('SELECT 1')
    await eventually(
      'the connections to be closed',
      () => pool.totalCount === 0 && pools.active() === 0,
    )
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })
})
