import { type Gateway, type GatewayOptions, startGateway } from '../../../gateway/index.js'
import { gatewaySettings } from '../../../gateway/options.js'
import { currentUser, DSQL, DSQL as CLUSTER, PLAIN, RDS } from '../several-endpoints.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'

const PRINCIPAL = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'canary-secret', roles: ['app'] }
const NONE = { provider: 'none', hosts: ['none.example.com'] } as const

describe('the endpoints in the gateway settings', () => {
  it('default to a generated cluster, and follow those of "clusters"', () => {
    const endpoint = { provider: 'none', hosts: ['DB.example.com.', 'db.example.com'] } as const
    const checked = { provider: 'none', hosts: ['db.example.com'] }
    expect(gatewaySettings({ endpoints: [endpoint] }).endpoints).toEqual([checked])
    expect(gatewaySettings({ endpoints: [endpoint], clusters: [CLUSTER] }).endpoints).toEqual([
      { provider: 'aurora-dsql', hosts: [CLUSTER] },
      checked,
    ])
  })

  it('define their roles, as principals do, if "roles" is not given', () => {
    const given: GatewayOptions = {
      principals: [{ ...PRINCIPAL, roles: ['shop'] }],
      endpoints: [
        { provider: 'rds', hosts: [RDS], principals: [{ ...PRINCIPAL, roles: ['report'] }] },
        { provider: 'password', hosts: ['a'], users: { till: 'x' } },
        { provider: 'password', hosts: ['b'], users: () => undefined },
        { provider: 'none', hosts: ['c'] },
      ],
    }
    expect(gatewaySettings(given).roles).toEqual(['admin', 'app', 'shop', 'report', 'till'])
    expect(gatewaySettings({ ...given, roles: ['x'] }).roles).toEqual(['admin', 'x'])
  })

  it('accept a region for RDS hosts whose name contains none', () => {
    const hosts = ['localhost', RDS]
    const endpoint = { provider: 'rds', hosts, region: 'us-east-1', port: 5433, listen: 0 } as const
    expect(gatewaySettings({ endpoints: [endpoint] }).endpoints).toEqual([endpoint])
  })
})

describe('startGateway', () => {
  const invalid: [option: string, value: unknown][] = [
    ['endpoints', { provider: 'none' }],
    ['endpoints', []],
    ['endpoints[0]', ['none']],
    ['endpoints[0].provider', [{ hosts: ['a'] }]],
    ['endpoints[0].provider', [{ provider: 'oracle', hosts: ['a'] }]],
    ['endpoints[0].hosts', [{ provider: 'none' }]],
    ['endpoints[0].hosts', [{ provider: 'none', hosts: [] }]],
    ['endpoints[0].hosts[1]', [{ provider: 'none', hosts: ['a', 'https://b/'] }]],
    ['endpoints[0].listen', [{ provider: 'none', hosts: ['a'], listen: -1 }]],
    ['endpoints[0].users', [{ provider: 'none', hosts: ['a'], users: {} }]],
    ['endpoints[0].hosts[0]', [{ provider: 'aurora-dsql', hosts: ['localhost'] }]],
    ['endpoints[0].principals', [{ provider: 'aurora-dsql', hosts: [CLUSTER], principals: [] }]],
    ['endpoints[1].region', [NONE, { provider: 'rds', hosts: [RDS, 'localhost'] }]],
    ['endpoints[0].region', [{ provider: 'rds', hosts: [RDS], region: 'Ireland' }]],
    ['endpoints[0].port', [{ provider: 'rds', hosts: [RDS], port: 0 }]],
    [
      'endpoints[0].principals[0].roles',
      [
        {
          provider: 'rds',
          hosts: [RDS],
          principals: [{ accessKeyId: 'A', secretAccessKey: 's' }],
        },
      ],
    ],
    ['endpoints[0].users', [{ provider: 'password', hosts: ['a'] }]],
    ['endpoints[0].users', [{ provider: 'password', hosts: ['a'], users: 'app' }]],
    ['endpoints[0].users.app', [{ provider: 'password', hosts: ['a'], users: { app: '' } }]],
    ['endpoints[0].users', [{ provider: 'password', hosts: ['a'], users: { '': 'x' } }]],
    [
      'endpoints[0].method',
      [{ provider: 'password', hosts: ['a'], users: { app: 'x' }, method: 'plain' }],
    ],
    ['endpoints[0].ca', [{ provider: 'certificate', hosts: ['a'] }]],
    ['endpoints[0].ca', [{ provider: 'certificate', hosts: ['a'], ca: '/no/such/file' }]],
  ]
  it.each(invalid)('rejects an invalid "%s": %p', async (option, endpoints) => {
    await expect(startGateway({ endpoints } as GatewayOptions)).rejects.toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringContaining(`"${option}"`) as string,
    })
  })

  const conflicts: [what: string, options: GatewayOptions, named: string][] = [
    ['the same host for two endpoints', { endpoints: [NONE, NONE] }, '"endpoints[1].hosts"'],
    [
      'the same host for a cluster and an endpoint',
      { clusters: [CLUSTER], endpoints: [{ provider: 'aurora-dsql', hosts: [CLUSTER] }] },
      '"endpoints[0].hosts"',
    ],
    [
      'an IP address among several endpoints',
      { endpoints: [NONE, { provider: 'none', hosts: ['10.0.0.1'] }] },
      '"endpoints[1].hosts"',
    ],
    [
      'two listeners with the same port',
      {
        endpoints: [
          { ...NONE, listen: 5432 },
          { ...NONE, listen: 5432 },
        ],
      },
      '"endpoints[1].listen"',
    ],
    [
      'a listener on the port of the gateway',
      { port: 5432, endpoints: [NONE, { ...NONE, listen: 5432 }] },
      '"endpoints[1].listen"',
    ],
  ]
  it.each(conflicts)('rejects %s', async (_what, options, named) => {
    await expect(startGateway(options)).rejects.toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: expect.stringContaining(named) as string,
    })
  })

  it.each([
    ['a value that is not an object', 'canary-secret'],
    ['a password that is not a string', { app: ['canary-secret'] }],
    ['a password with a NUL', { app: 'canary-secret\0' }],
  ])('does not expose passwords in errors about %s', async (_what, users) => {
    const endpoints = [{ provider: 'password', hosts: ['a'], users }]
    const refused = await startGateway({ endpoints } as GatewayOptions).catch(
      (refusal: unknown) => refusal,
    )
    const { message, hint, stack, cause } = refused as Error & { hint?: string }
    expect(message).toContain('"endpoints[0].users')
    expect(`${message} ${hint} ${stack} ${String(cause)}`).not.toContain('canary-secret')
  })

  it('suggests the most similar option of an endpoint', async () => {
    const endpoints = [{ provider: 'none', host: ['a'] }]
    await expect(startGateway({ endpoints } as object)).rejects.toMatchObject({
      hint: 'Did you mean "endpoints[0].hosts"?',
    })
  })
})

const server = usePostgres()
const log = recordLog()

describe('the principals of AWS endpoints', () => {
  const shared = { accessKeyId: 'AKIDSHARED', secretAccessKey: 'shared', roles: ['app'] }
  const own = { accessKeyId: 'AKIDOWN', secretAccessKey: 'own', roles: ['report'] }
  let both: Gateway
  beforeAll(async () => {
    both = await server.start({
      logger: log.logger,
      endpoints: [
        { provider: 'rds', hosts: [RDS], principals: [own] },
        { provider: 'aurora-dsql', hosts: [DSQL] },
      ],
      principals: [shared],
      roles: ['app', 'admin', 'report'],
    })
  })

  it('are those of the endpoint, or else those of the gateway', async () => {
    expect(both.credentials.accessKeyId).toBe('AKIDOWN')
    expect(both.login({ host: RDS }).user).toBe('report')
    expect(both.login({ host: DSQL }).user).toBe('app')
    expect(await currentUser(both, { host: DSQL })).toBe('app')
    await expect(
      currentUser(both, { host: RDS, user: 'report', credentials: shared }),
    ).rejects.toMatchObject({ code: '28000' })
    await log.refusal('access-key-unknown')
    await expect(
      currentUser(both, { host: DSQL, user: 'app', credentials: own }),
    ).rejects.toMatchObject({ code: '08006' })
    await log.refusal('access-key-unknown')
  })

  it('get temporary credentials for the given endpoint, or else for the first one', async () => {
    const first = both.issueCredentials({ roles: ['app'] })
    expect(await currentUser(both, { host: RDS, user: 'app', credentials: first })).toBe('app')
    const named = both.issueCredentials({ host: DSQL })
    expect(await currentUser(both, { host: DSQL, credentials: named })).toBe('app')
    await expect(
      currentUser(both, { host: RDS, user: 'app', credentials: named }),
    ).rejects.toMatchObject({ code: '28000' })
    await log.refusal('access-key-unknown')
    expect(() => both.issueCredentials({ host: PLAIN })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
    )
  })

  it('are revoked at all endpoints', async () => {
    const issued = both.issueCredentials({ host: DSQL })
    expect(both.revokeCredentials(issued.accessKeyId)).toBe(true)
    await expect(currentUser(both, { host: DSQL, credentials: issued })).rejects.toMatchObject({
      code: '08006',
    })
    await log.refusal('access-key-revoked')
    expect(both.revokeCredentials('AKIDNOBODY')).toBe(false)
  })
})
