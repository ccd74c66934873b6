/** Startup parameters of a session: from the driver's options, a URL or the environment, in order of precedence. */
import net from 'node:net'
import { Client } from 'pg'
import { createClient } from '../../adapters/pg.js'
import { createSql } from '../../adapters/postgres-js.js'
import { isPgIamError, loginFromUrl, type AuroraDsqlOptions, type Login } from '../../core/index.js'
import { VERSION } from '../../core/version.js'
import type { ClientEntry } from '../clients/client.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { CREDENTIALS, HOST } from '../core/support/dsql-options.js'
import { acceptLogin, startStandIn } from '../core/support/postgres-stand-in.js'
import { withEnvironment } from '../support/environment.js'
import { client as drizzlePostgresJs } from '../clients/drizzle-postgres-js.js'
import { client as drizzle } from '../clients/drizzle.js'
import { client as knex } from '../clients/knex.js'
import { client as kysely } from '../clients/kysely.js'
import { client as pg } from '../clients/pg.js'
import { client as postgresJs } from '../clients/postgres-js.js'
import { client as prisma } from '../clients/prisma.js'
import { client as sequelize7 } from '../clients/sequelize-7.js'
import { client as sequelize } from '../clients/sequelize.js'
import { client as typeorm } from '../clients/typeorm.js'

type Given = Record<string, string | number>

/** Where each client takes startup parameters. A password function cannot set any, so it is not included. */
const WAYS: [string, ClientEntry, (given: Given) => object][] = [
  ...waysOf(pg.entries, (given) => given),
  ...waysOf(postgresJs.entries, (connection) => ({ connection })),
  ...waysOf(sequelize.entries, (dialectOptions) => ({ dialectOptions, logging: false })),
  ...waysOf(sequelize7.entries, (given) => given),
  ...waysOf(prisma.entries, (given) => given),
  ...waysOf(typeorm.entries.slice(0, 1), (extra) => ({ extra })),
  ...waysOf(knex.entries, (connection) => ({ connection })),
  ...waysOf(kysely.entries, (pool) => ({ pool })),
  ...waysOf(drizzle.entries, (connection) => ({ connection })),
  ...waysOf(drizzlePostgresJs.entries, (connection) => ({ connection: { connection } })),
]

function waysOf(entries: readonly ClientEntry[], options: (given: Given) => object): typeof WAYS {
  return entries.map((entry) => [entry.name, entry, options])
}

const server = useContractServer()

/** The login for a URL with these parameters. */
function fromUrl(query: string, options: AuroraDsqlOptions = {}): Login {
  const { connectTo, ...login } = server().login()
  const { ca, credentials } = server().gateway
  return loginFromUrl(`postgres://app@${login.host}:${login.port}/${login.database}?${query}`, {
    connectTo: connectTo!,
    credentials,
    ...options,
    tls: { ca, ...options.tls },
  })
}

/** Settings of a session of this client. */
async function settings(
  entry: ClientEntry,
  login: Login,
  options: object,
  names: readonly string[] = ['application_name'],
): Promise<unknown[]> {
  const database = entry.open(login, options)
  try {
    const list = names.map((name) => `current_setting('${name}') AS "${name}"`).join(', ')
    const [row] = await database.run(`SELECT ${list}`)
    return names.map((name) => row![name])
  } finally {
    await database.close()
  }
}

describe.each(WAYS)('a session by %s', (_name, entry, driverOptions) => {
  it('has the application name of pg-iam by default', async () => {
    expect(await settings(entry, server().login(), driverOptions({}))).toEqual([
      `pg-iam/${VERSION}`,
    ])
  })

  it('has the parameters of the URL, and its application name', async () => {
    const query =
      'application_name=web&options=-c%20search_path%3Dpg_temp&statement_timeout=4321&shop.tenant=7'
    const names = ['application_name', 'search_path', 'statement_timeout', 'shop.tenant']
    await withEnvironment({ PGAPPNAME: 'env', PGOPTIONS: '-c search_path=env' }, async () => {
      expect(await settings(entry, fromUrl(query), driverOptions({}), names)).toEqual([
        'web',
        'pg_temp',
        '4321ms',
        '7',
      ])
    })
  })

  it('has the parameters of the environment that are not in the URL', async () => {
    const variables = { PGAPPNAME: 'env', PGOPTIONS: '-c search_path=pg_temp' }
    await withEnvironment(variables, async () => {
      expect(
        await settings(entry, fromUrl(''), driverOptions({}), ['application_name', 'search_path']),
      ).toEqual(['env', 'pg_temp'])
    })
  })

  it("has the parameters of the client's options, which take precedence", async () => {
    const login = fromUrl('application_name=web&options=-c%20search_path%3Dpg_temp')
    const given = { application_name: 'own', options: '-c search_path=pg_catalog' }
    // Sequelize passes on only a few options, `options` being one of them.
    expect(
      await settings(entry, login, driverOptions(given), ['application_name', 'search_path']),
    ).toEqual(['own', 'pg_catalog'])
  })

  it('has no parameters injected through a NUL', async () => {
    const given = driverOptions({ application_name: 'web\0user\0admin' })
    const login = server().login()
    // The hook receives the options when the first connection is opened.
    const error = await rejectionOf((async () => settings(entry, login, given))())
    expect(errorChain(error)).toContainEqual(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringContaining(
          'application_name" must be a non-empty string without NUL',
        ),
      }),
    )
    expect(login.stats().tokensMade).toBe(0)
  })
})

describe('other parameters of a URL', () => {
  it("set the TLS versions, which the driver's options override", async () => {
    const spoken: (string | null)[] = []
    const standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      spoken.push(secured.getProtocol())
      secured.on('end', () => secured.end()).resume()
    })
    const connect = async (query: string, ssl?: object): Promise<void> => {
      const login = loginFromUrl(`postgres://app@${HOST}/shop?${query}`, {
        connectTo: { host: '127.0.0.1', port: standIn.port },
        credentials: CREDENTIALS,
        tls: { ca: standIn.authority.ca },
      })
      const client = createClient(login, ssl === undefined ? {} : { ssl })
      await client.connect()
      await client.end()
    }
    try {
      await connect('ssl_max_protocol_version=TLSv1.2')
      await connect('ssl_max_protocol_version=TLSv1.2', { maxVersion: 'TLSv1.3' })
      await connect('', { maxVersion: 'TLSv1.2' })
      await connect('ssl_min_protocol_version=TLSv1.3')
      expect(spoken).toEqual(['TLSv1.2', 'TLSv1.3', 'TLSv1.2', 'TLSv1.3'])
    } finally {
      await standIn.close()
    }
  })

  it.each([
    ['', false, undefined],
    ['keepalives=0', false, undefined],
    ['keepalives=1', true, undefined],
    ['keepalives_idle=40', true, 40_000],
    ['keepalives=1&keepalives_idle=40', true, 40_000],
    ['keepalives_idle=40&keepalives=1', true, 40_000],
    ['keepalives=0&keepalives_idle=40', false, undefined],
    ['keepalives_idle=0', true, undefined],
  ])('set TCP keepalive by "%s"', async (query, isAsking, afterMs) => {
    const dialled = jest.spyOn(net, 'connect')
    await settings(WAYS[0]![1], fromUrl(query), {})
    const [[options] = []] = dialled.mock.calls
    expect(options).toMatchObject({ keepAlive: isAsking })
    expect((options as { keepAliveInitialDelay?: number }).keepAliveInitialDelay).toBe(afterMs)
  })

  it('also set keepalive for Postgres.js, which has its own setting', async () => {
    const keepAlive = (query: string, options = {}): unknown =>
      createSql(fromUrl(query), options).options.keep_alive
    expect(keepAlive('')).toBe(60)
    expect(keepAlive('keepalives_idle=40')).toBe(40)
    expect(keepAlive('keepalives=0')).toBeNull()
    expect(keepAlive('keepalives_idle=40', { keep_alive: 5 })).toBe(5)
  })

  it("give Postgres.js the login's time limit, which its own option shortens", async () => {
    const login = fromUrl('connect_timeout=90')
    await withEnvironment({ PGCONNECT_TIMEOUT: '3' }, async () => {
      const sql = createSql(login)
      expect(sql.options.connect_timeout).toBeGreaterThan(90)
      expect(createSql(login, { connect_timeout: 1 }).options.connect_timeout).toBe(1)
      await sql.end()
    })
  })

  it('set the application name by fallback_application_name if neither URL nor environment has one', async () => {
    const nameOf = async (login: Login): Promise<unknown> => {
      const [name] = await settings(WAYS[0]![1], login, {})
      return name
    }
    expect(await nameOf(fromUrl('fallback_application_name=worker'))).toBe('worker')
    const both = 'fallback_application_name=worker&application_name=web'
    expect(await nameOf(fromUrl(both))).toBe('web')
    await withEnvironment({ PGAPPNAME: 'env' }, async () => {
      expect(await nameOf(fromUrl('fallback_application_name=worker'))).toBe('env')
    })
  })
})

describe('a URL in place of a login', () => {
  const URL_TEXT = 'postgres://app@abcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws/shop'

  it.each(WAYS)('is accepted by %s, as text and as a URL', async (_name, entry, driverOptions) => {
    for (const given of [URL_TEXT, new URL(URL_TEXT)]) {
      const database = entry.open(given as never, driverOptions({}))
      await database.close()
    }
  })

  it.each(WAYS)('of an unknown provider is rejected by %s', (_name, entry, driverOptions) => {
    for (const given of ['postgres://app@db.example.com/shop', 'no URL', {}]) {
      try {
        entry.open(given as never, driverOptions({}))
        throw new Error('nothing was thrown')
      } catch (error) {
        expect(isPgIamError(error, 'ERR_OPTION_INVALID')).toBe(true)
      }
    }
  })

  it('connects to the same address as its login', () => {
    const client: Client = createClient(`${URL_TEXT}?application_name=web`)
    expect(client).toMatchObject({
      host: 'abcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws',
      database: 'shop',
      user: 'app',
    })
  })
})
