/** A login to several hosts, the endpoints of a multi-Region cluster, which are tried in order. */
import { randomBytes } from 'node:crypto'
import {
  auroraDsql,
  isPgIamError,
  type AuroraDsqlOptions,
  type Login,
} from '../../../core/index.js'
import { startGateway, type Gateway } from '../../../gateway/index.js'
import { errorChain, rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { collectEvents, type CollectedEvents } from '../../core/support/collect-events.js'
import type { SectionContext } from '../section-context.js'
import { eventually } from '../../support/eventually.js'

const NEAR = `${'a'.repeat(26)}.dsql.us-east-1.on.aws`
const FAR = `${'b'.repeat(26)}.dsql.us-west-2.on.aws`
const EVERY_TIME = 1_000_000

export function describeRegions({ open, rig }: SectionContext): void {
  let near: Gateway
  let far: Gateway
  let collected: CollectedEvents
  const key = { accessKeyId: 'AKIAREGIONS', secretAccessKey: randomBytes(20).toString('hex') }

  beforeAll(async () => {
    const start = (cluster: string): Promise<Gateway> =>
      startGateway({
        sql: 'postgres',
        webSocket: true,
        upstream: rig().upstream,
        clusters: [cluster],
        principals: [{ ...key, roles: ['app'] }],
      })
    near = await start(NEAR)
    far = await start(FAR)
  })
  beforeEach(() => {
    collected = collectEvents()
  })
  afterEach(() => {
    collected.stop()
    for (const gateway of [near, far]) gateway.faults.clear()
  })
  afterAll(async () => {
    await near.close()
    await far.close()
  })

  const login = (options: AuroraDsqlOptions = {}): Login =>
    auroraDsql({
      host: [NEAR, FAR],
      connectTo: [near, far].map(({ host, port }) => ({ host, port })),
      tls: { ca: `${near.ca}\n${far.ca}` },
      user: 'app',
      credentials: key,
      ...options,
    })
  /** The hosts of the connections so far. */
  const hosts = (): unknown[] =>
    collected.events
      .filter(({ name }) => name === 'pg-iam:connection.opened')
      .map(({ event }) => event['host'])
  const outage = (gateway: Gateway): void =>
    gateway.faults.cut({ at: 'before-tls', times: EVERY_TIME })
  const endSessions = async (gateway: Gateway, ended: Login): Promise<void> => {
    for (const { processId } of gateway.faults.sessions()) gateway.faults.killSession(processId)
    await eventually('the client to notice', () => ended.stats().connectionsOpen === 0)
  }

  it('connects to the first host, with tokens for it', async () => {
    const client = open(login())
    const accepted = near.stats().loginsAccepted
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(near.stats().loginsAccepted).toBeGreaterThan(accepted)
    expect(new Set(hosts())).toEqual(new Set([NEAR]))
  })

  it('connects to the next host when the first does not answer, with tokens for it, and fails no query', async () => {
    const all = login()
    const client = open(all)
    outage(near)
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(new Set(hosts())).toEqual(new Set([FAR]))
    await client.transaction((statements) => statements.addNote(1))
    expect(await rig().notes()).toEqual([1])
  })

  it('moves to the next host when the first one fails during use, and returns to it later', async () => {
    const all = login()
    const client = open(all)
    await client.run('SELECT 1')
    outage(near)
    await endSessions(near, all)
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(hosts().at(-1)).toBe(FAR)
    near.faults.clear()
    await eventually('a connection to go to the first host again', async () => {
      await endSessions(far, all)
      await client.run('SELECT 1')
      return hosts().at(-1) === NEAR
    })
  })

  it('connects to the next host when the first one has too many connections', async () => {
    const client = open(login())
    near.faults.limitConnections({ max: 0 })
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(new Set(hosts())).toEqual(new Set([FAR]))
  })

  it('does not connect to the next host when the first one rejects the login', async () => {
    const client = open(login())
    const accepted = far.stats().loginsAccepted
    near.faults.rejectLogins({ sqlState: '28000', message: 'access denied' })
    const error = await rejectionOf(client.run('SELECT 1'))
    expect(errorChain(error)).toContainEqual(expect.objectContaining({ code: '28000' }))
    expect(far.stats().loginsAccepted).toBe(accepted)
  })

  it('rejects with the errors of all hosts when none answers, and works again once one does', async () => {
    const client = open(login())
    outage(near)
    outage(far)
    const error = await rejectionOf(client.run('SELECT 1'))
    const ours = errorChain(error).find((link) => isPgIamError(link, 'ERR_CONNECT_FAILED'))
    expect(ours).toMatchObject({
      retryable: true,
      message: expect.stringContaining(`${NEAR}, ${FAR}`),
    })
    const { errors } = (ours as { cause: AggregateError }).cause
    expect(errors).toHaveLength(2)
    for (const cause of errors) expect(cause).toMatchObject({ code: 'ECONNRESET' })
    far.faults.clear()
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })
}
