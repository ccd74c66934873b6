import type { Gateway, RefusalReason } from '../../../gateway/index.js'
import { sdkToken } from '../auth/dsql-setting.js'
import { errorFields, openTls, password, query, startup } from '../raw-client.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'
import { frontend, int32, text } from '../../wire/frontend-messages.js'

const postgres = usePostgres()
const CLUSTERS = [
  'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws',
  '01234567890123456789012345.dsql.eu-west-1.on.aws',
] as const
const APP = { user: 'app', database: 'postgres' }

describe('a login to the gateway', () => {
  const log = recordLog()
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await postgres.start({
      logger: log.logger,
      clusters: CLUSTERS,
      roles: ['app', 'ghost'],
    })
  })

  /** Sends a startup packet and, if given, a password. Returns the fields of the gateway's last message. */
  async function attempt(
    parameters: Record<string, string>,
    token?: string | Buffer,
    servername?: string,
  ): Promise<Record<string, string>> {
    const client = await openTls(gateway, servername === undefined ? {} : { servername })
    client.send(startup(parameters))
    if (token !== undefined) client.send(Buffer.isBuffer(token) ? token : password(token))
    const fields = errorFields(await client.next('E'))
    expect(await client.ended()).toEqual([])
    return fields
  }

  /** Tokens of the gateway's first principal. */
  const token = (settings: Parameters<typeof sdkToken>[0] = {}): Promise<string> => {
    const { accessKeyId, secretAccessKey } = gateway.credentials
    return sdkToken({ accessKeyId, secretAccessKey, hostname: CLUSTERS[0], ...settings })
  }

  const denied = {
    S: 'FATAL',
    V: 'FATAL',
    C: '08006',
    M: 'unable to accept connection, access denied',
  }
  type Case = [
    reason: RefusalReason,
    parameters: Record<string, string>,
    settings: object,
    told: object,
  ]
  const cases: Case[] = [
    ['access-key-unknown', APP, { accessKeyId: 'AKIDNOBODY' }, denied],
    ['signature-wrong', APP, { secretAccessKey: 'wrong' }, denied],
    ['session-token-unexpected', APP, { sessionToken: 's' }, denied],
    ['host-unknown', APP, { hostname: 'example.com' }, denied],
    ['host-wrong', APP, { hostname: CLUSTERS[1], region: 'eu-west-1' }, denied],
    ['region-wrong', APP, { region: 'us-west-2' }, denied],
    [
      'action-wrong',
      APP,
      { admin: true },
      { ...denied, H: 'Wrong user to action mapping. user: app, action: DbConnectAdmin' },
    ],
    ['role-not-allowed', { ...APP, user: 'nobody' }, {}, { ...denied, C: '28000' }],
    [
      'engine-refused',
      { ...APP, user: 'ghost' },
      {},
      { C: '28000', M: 'role "ghost" does not exist' },
    ],
    [
      'database-unknown',
      { ...APP, database: 'x' },
      {},
      { C: '3D000', M: 'database "x" does not exist' },
    ],
    ['database-unknown', { user: 'app' }, {}, { C: '3D000', M: 'database "app" does not exist' }],
  ]
  it.each(cases)('is refused with the reason %s', async (reason, parameters, settings, told) => {
    const before = gateway.stats()
    expect(await attempt(parameters, await token(settings))).toMatchObject(told)
    const line = await log.refusal(reason)
    expect(line).toMatchObject({
      level: 'warn',
      details: { role: parameters['user'], servername: CLUSTERS[0] },
    })
    const { loginsRefused, loginsAccepted, refusals } = gateway.stats()
    expect(loginsRefused).toBe(before.loginsRefused + 1)
    expect(loginsAccepted).toBe(before.loginsAccepted)
    expect(refusals[reason]).toBe((before.refusals[reason] ?? 0) + 1)
  })

  it('is refused without a password, and with a password that is not a token', async () => {
    expect(await attempt(APP, '')).toMatchObject(denied)
    await log.refusal('token-missing')
    expect(await attempt(APP, 'secret')).toMatchObject(denied)
    await log.refusal('token-malformed')
  })

  it('needs a token for the cluster in the server name', async () => {
    const other = await token({ hostname: CLUSTERS[1], region: 'eu-west-1' })
    const client = await openTls(gateway, { servername: CLUSTERS[1] })
    client.send(startup(APP), password(other))
    await client.next('Z')
    client.socket.destroy()
    expect(await attempt(APP, await token(), CLUSTERS[1])).toMatchObject(denied)
    await log.refusal('host-wrong')
  })

  const protocolCases: [what: string, packet: Buffer, told: object][] = [
    [
      'of protocol 2.0',
      startup(APP, 2 << 16),
      { C: '0A000', M: 'unsupported frontend protocol 2.0: server supports 3.0 to 3.0' },
    ],
    ['of protocol 4.0', startup(APP, 4 << 16), { C: '0A000' }],
    [
      'without a user',
      startup({ database: 'postgres' }),
      { C: '28000', M: 'no PostgreSQL user name specified in startup packet' },
    ],
    ['without a terminator', startup(APP).subarray(0, -1), { C: '08P01' }],
    ['with a NUL in a value', startup({ ...APP, application_name: 'a\0b' }), { C: '08P01' }],
    ['with a NUL in a name', startup({ ...APP, 'applicat\0ion': 'a' }), { C: '08P01' }],
    ['with an empty name', startup({ '': 'a', ...APP }), { C: '08P01' }],
    [
      'with bytes after its terminator',
      Buffer.concat([startup(APP), Buffer.from('x')]),
      { C: '08P01' },
    ],
  ]
  it.each(protocolCases)('is refused with a startup packet %s', async (_what, packet, told) => {
    const client = await openTls(gateway)
    const whole = Buffer.from(packet)
    whole.writeInt32BE(whole.length, 0)
    client.send(whole)
    expect(errorFields(await client.next('E'))).toMatchObject({ S: 'FATAL', ...told })
    expect(await client.ended()).toEqual([])
    await log.refusal('protocol-violation')
  })

  it.each(['true', 'database', '1', 'on'])(
    'is refused as a replication connection (%s)',
    async (replication) => {
      expect(await attempt({ ...APP, replication })).toMatchObject({ C: '0A000' })
      await log.refusal('replication-refused')
    },
  )

  it.each<[what: string, message: Buffer]>([
    ['a query instead of a password', query('select 1')],
    ['a password without its end', frontend('p', Buffer.from('secret'))],
    ['a password with a NUL in it', frontend('p', text('sec\0ret'))],
    ['a password of 65,537 bytes', frontend('p', Buffer.alloc(65_536, 'x'), Buffer.alloc(1))],
    ['a password of a negative length', Buffer.concat([Buffer.from('p'), int32(-1)])],
  ])('is refused with %s', async (_what, message) => {
    expect(await attempt(APP, message)).toMatchObject({ S: 'FATAL', C: '08P01' })
    await log.refusal('protocol-violation')
  })

  it('can have a password of 65,536 bytes, which is refused as a malformed token', async () => {
    const longest = frontend('p', Buffer.alloc(65_535, 'x'), Buffer.alloc(1))
    expect(await attempt(APP, longest)).toMatchObject(denied)
    await log.refusal('token-malformed')
  })

  it('can arrive in one piece, including the password and the first query', async () => {
    const client = await openTls(gateway)
    client.send(startup(APP), password(await token()), query('select 7'))
    expect((await client.next('D')).body.toString('latin1', 6)).toBe('7')
    client.socket.destroy()
  })

  it('can arrive byte by byte', async () => {
    const client = await openTls(gateway)
    const bytes = Buffer.concat([startup(APP), password(await token())])
    for (const byte of bytes) client.send(Buffer.of(byte))
    await client.next('Z')
    client.socket.destroy()
  })

  it.each([0x0003_0002, 0x0003_270f])(
    'gets protocol 3.0 if it requests a later version (%d)',
    async (version) => {
      const client = await openTls(gateway)
      client.send(startup({ ...APP, '_pq_.one': '1', '_pq_.two': '2' }, version))
      const { body } = await client.next('v')
      expect(body).toEqual(
        Buffer.concat([int32(0x0003_0000), int32(2), text('_pq_.one'), text('_pq_.two')]),
      )
      client.send(password(await token()))
      await client.next('Z')
      client.socket.destroy()
    },
  )

  it('is not logged with its token', async () => {
    const secret = await token({ hostname: 'example.com' })
    await attempt(APP, secret)
    const [, signature] = /X-Amz-Signature=(\w+)/.exec(secret)!
    const logged = JSON.stringify(log.lines)
    for (const canary of [secret, signature!, gateway.credentials.secretAccessKey])
      expect(logged).not.toContain(canary)
  })
})
