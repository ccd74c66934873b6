import { startGateway, type Engine, type GatewayOptions } from '../../gateway/index.js'
import { gatewaySettings } from '../../gateway/options.js'

const CLUSTER = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
const PRINCIPAL = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'canary-secret', roles: ['app'] }

const OWN_ENGINE: Engine = {
  name: 'mine',
  openSession: () => Promise.reject(new Error('never asked')),
  close: async () => {},
}

describe('gatewaySettings', () => {
  it('sets a default for each option', () => {
    expect(gatewaySettings({})).toMatchObject({
      host: '127.0.0.1',
      port: 0,
      endpoints: [
        {
          provider: 'aurora-dsql',
          hosts: [expect.stringMatching(/^[a-z0-9]{26}\.dsql\.us-east-1\.on\.aws$/)],
        },
      ],
      principals: [],
      roles: ['admin', 'app'],
      database: 'postgres',
      engine: { kind: 'any', options: {} },
      loginTimeoutMs: 10_000,
      limits: {},
      clock: Date.now,
    })
  })

  it('keeps the given options', () => {
    const given: GatewayOptions = {
      host: '127.8.0.1',
      port: 5432,
      clusters: [
        CLUSTER,
        CLUSTER.toUpperCase(),
        '01234567890123456789012345.dsql-fnh4.eu-west-1.on.aws',
      ],
      principals: [PRINCIPAL],
      roles: ['shop', 'admin', 'shop'],
      database: 'orders',
      engine: 'pglite',
      dataDirectory: '/data',
      cacheDirectory: '/cache',
      lockTimeoutMs: 1,
      idleInTransactionTimeoutMs: 2,
      loginTimeoutMs: 3,
      maxConnections: 4,
      logger: console,
      clock: () => 5,
    }
    expect(gatewaySettings(given)).toMatchObject({
      host: '127.8.0.1',
      port: 5432,
      endpoints: [
        {
          provider: 'aurora-dsql',
          hosts: [CLUSTER, '01234567890123456789012345.dsql-fnh4.eu-west-1.on.aws'],
        },
      ],
      principals: [PRINCIPAL],
      roles: ['admin', 'shop'],
      database: 'orders',
      engine: {
        kind: 'pglite',
        options: {
          dataDirectory: '/data',
          cacheDirectory: '/cache',
          lockTimeoutMs: 1,
          idleInTransactionTimeoutMs: 2,
        },
      },
      loginTimeoutMs: 3,
      limits: { maxConnections: 4 },
      logger: console,
    })
  })

  it('selects the engine "upstream" if an upstream is given', () => {
    const upstream = { host: '/tmp/socket', port: 5433 }
    const settings = { kind: 'upstream', upstream }
    expect(gatewaySettings({ upstream }).engine).toEqual(settings)
    expect(gatewaySettings({ upstream, engine: 'upstream' }).engine).toEqual(settings)
  })

  it('accepts a custom engine', () => {
    expect(gatewaySettings({ engine: OWN_ENGINE }).engine).toEqual({
      kind: 'own',
      engine: OWN_ENGINE,
    })
  })
})

describe('startGateway', () => {
  const invalid: [option: string, value: unknown][] = [
    ['host', '0.0.0.0'],
    ['host', '::'],
    ['host', 'example.com'],
    ['host', 127],
    ['port', -1],
    ['port', 65_536],
    ['port', '5432'],
    ['port', 1.5],
    ['clusters', CLUSTER],
    ['clusters', []],
    ['clusters[0]', ['localhost']],
    ['clusters[1]', [CLUSTER, 'https://example.com']],
    ['clusters[0]', [7]],
    ['principals', {}],
    ['principals', []],
    ['principals[0]', ['x']],
    ['principals[0].accessKeyId', [{ ...PRINCIPAL, accessKeyId: 'with space' }]],
    ['principals[0].accessKeyId', [{ secretAccessKey: 's', roles: [] }]],
    ['principals[0].secretAccessKey', [{ ...PRINCIPAL, secretAccessKey: '' }]],
    ['principals[0].secretAccessKey', [{ accessKeyId: 'A', roles: [] }]],
    ['principals[0].sessionToken', [{ ...PRINCIPAL, sessionToken: 7 }]],
    ['principals[0].roles', [{ ...PRINCIPAL, roles: 'app' }]],
    ['principals[0].roles', [{ accessKeyId: 'A', secretAccessKey: 's' }]],
    ['principals[0].role', [{ ...PRINCIPAL, role: 'app' }]],
    ['roles', 'app'],
    ['roles[1]', ['app', '']],
    ['roles[0]', ['x'.repeat(64)]],
    ['roles[0]', ['with\0nul']],
    ['database', ''],
    ['engine', 'sqlite'],
    ['engine', { name: 'mine', close: async () => {} }],
    ['engine', { ...OWN_ENGINE, name: '' }],
    ['upstream.host', {}],
    ['upstream.host', { host: '' }],
    ['upstream.port', { host: 'h', port: 0 }],
    ['upstream.database', { host: 'h', database: 7 }],
    ['upstream.password', { host: 'h', password: '' }],
    ['upstream.user', { host: 'h', user: 'app' }],
    ['upstream', 'http://localhost/'],
    ['upstream', 'postgres://localhost:99999/'],
    ['upstream', 'postgres://localhost/?connect_timeout=5'],
    ['upstream', 7],
    ['dataDirectory', ''],
    ['cacheDirectory', 7],
    ['lockTimeoutMs', 0],
    ['lockTimeoutMs', 3_600_001],
    ['idleInTransactionTimeoutMs', '5s'],
    ['loginTimeoutMs', Infinity],
    ['maxConnections', 0],
    ['maxConnections', 1.5],
    ['logger', {}],
    ['logger', () => {}],
    ['clock', 5],
    ['cluster', CLUSTER],
  ]
  it.each(invalid)('rejects an invalid "%s": %p', async (option, value) => {
    const key = option.split(/[.[]/)[0]!
    await expect(startGateway({ [key]: value })).rejects.toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringContaining(`"${option}"`) as string,
    })
  })

  const conflicts: [what: string, options: GatewayOptions, named: string][] = [
    ['an upstream for PGlite', { engine: 'pglite', upstream: { host: 'h' } }, '"upstream"'],
    ...['dataDirectory', 'cacheDirectory', 'lockTimeoutMs', 'idleInTransactionTimeoutMs'].map(
      (name): [string, GatewayOptions, string] => [
        `"${name}" with an upstream`,
        { [name]: name.endsWith('Ms') ? 5 : '/tmp/pg-iam', upstream: { host: 'h' } },
        `"${name}"`,
      ],
    ),
    [
      '"lockTimeoutMs" with PostgreSQL',
      { engine: 'postgres', lockTimeoutMs: 5 },
      '"lockTimeoutMs"',
    ],
    ['"lockTimeoutMs" without an engine', { lockTimeoutMs: 5 }, '"lockTimeoutMs"'],
    [
      '"idleInTransactionTimeoutMs" with PostgreSQL',
      { engine: 'postgres', idleInTransactionTimeoutMs: 5 },
      '"idleInTransactionTimeoutMs"',
    ],
    [
      '"upstream" with the engine "postgres"',
      { engine: 'postgres', upstream: { host: 'h' } },
      '"upstream"',
    ],
    [
      '"dataDirectory" with a custom engine',
      { engine: OWN_ENGINE, dataDirectory: '/tmp/pg-iam' },
      '"dataDirectory"',
    ],
    ['one access key twice', { principals: [PRINCIPAL, PRINCIPAL] }, '"principals[1].accessKeyId"'],
    ['a user in the URL', { upstream: 'postgres://app@localhost/' }, '"upstream"'],
  ]
  it.each(conflicts)('rejects %s', async (_what, options, named) => {
    await expect(startGateway(options)).rejects.toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: expect.stringContaining(named) as string,
    })
  })

  it('rejects the engine "upstream" without an upstream', async () => {
    await expect(startGateway({ engine: 'upstream' })).rejects.toMatchObject({
      code: 'ERR_OPTION_INVALID',
    })
  })

  it('suggests the most similar option', async () => {
    await expect(startGateway({ principal: [] } as object)).rejects.toMatchObject({
      hint: 'Did you mean "principals"?',
    })
  })

  it('does not expose secrets in errors', async () => {
    const wrong: unknown[] = [
      { principals: [{ ...PRINCIPAL, secretAccessKey: ['canary-secret'] }] },
      { principals: [{ ...PRINCIPAL, sessionToken: { canary: 'canary-secret' } }] },
      { upstream: { host: 'h', password: 'canary-secret\0' } },
      { upstream: 'postgres://app:canary-secret@localhost/' },
      { upstream: 'postgres://:canary-secret@local host/' },
      { upstream: 'mysql://:canary-secret@localhost/' },
    ]
    for (const options of wrong) {
      const error = await startGateway(options as object).catch((refusal: unknown) => refusal)
      const { message, hint, stack, cause } = error as Error & { hint?: string }
      expect(`${message} ${hint} ${stack} ${String(cause)}`).not.toContain('canary-secret')
    }
  })
})
