import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Engine } from '../../../../gateway/engines/engine.js'
import {
  startPgliteEngine,
  type StartedPgliteOptions,
} from '../../../../gateway/engines/pglite/pglite-engine.js'
import { connect, query } from './protocol-client.js'

/** Overflows the stack of PGlite's JavaScript, without reaching PostgreSQL's limit. */
const DEADLY = [query(`select repeat('[', 1000000)::json`)]

describe('a lost PGlite', () => {
  let directory: string
  let errors: string[]
  let options: StartedPgliteOptions
  let engine: Engine | undefined

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pg-iam-data-'))
    errors = []
    options = {
      roles: ['app'],
      database: 'postgres',

      logger: { debug() {}, info() {}, warn() {}, error: (message) => errors.push(message) },
    }
  })
  afterEach(async () => {
    await engine?.close()
    await rm(directory, { recursive: true })
  })

  it('ends all sessions, logs that the data is lost, and is restarted', async () => {
    engine = await startPgliteEngine(options)
    const [one, two] = [await connect(engine), await connect(engine)]
    await one.query('create table t (i int)')
    one.send(...DEADLY)
    for (const client of [one, two]) {
      expect((await client.ended()).errors.at(-1)).toMatchObject({
        severity: 'FATAL',
        code: '57P01',
      })
    }
    expect(errors).toEqual([expect.stringContaining('all data is lost')])
    const three = await connect(engine)
    expect((await three.query('select * from t')).errors[0]?.code).toBe('42P01')
    expect((await three.query('create table t (i int)')).errors).toEqual([])
  })

  it('ends a statement that does not end, by terminating the worker thread, and is restarted', async () => {
    engine = await startPgliteEngine({ ...options, statementTimeoutMs: 2_000 })
    const one = await connect(engine)
    one.send(query('do $$ begin loop end loop; end $$'))
    expect((await one.ended()).errors).toMatchObject([
      {
        severity: 'FATAL',
        code: '57P01',
        message: expect.stringContaining('"statementTimeoutMs" (2000 ms)') as string,
      },
    ])
    expect(await (await connect(engine)).value('select 1')).toBe('1')
  })

  it('keeps committed data in a data directory after a crash and after a shutdown', async () => {
    const dataDirectory = join(directory, 'data')
    engine = await startPgliteEngine({ ...options, dataDirectory })
    const one = await connect(engine)
    await one.query('create table t (i int); insert into t values (1)')
    one.send(...DEADLY)
    await one.ended()
    expect(await (await connect(engine)).value('select sum(i) from t')).toBe('1')
    await engine.close()
    expect(await readdir(directory)).toEqual(['data'])
    engine = await startPgliteEngine({ ...options, dataDirectory })
    expect(await (await connect(engine)).value('select sum(i) from t')).toBe('1')
  })

  it('refuses a data directory that is in use or has other content', async () => {
    const dataDirectory = join(directory, 'data')
    engine = await startPgliteEngine({ ...options, dataDirectory })
    const again = startPgliteEngine({ ...options, dataDirectory })
    await expect(again).rejects.toMatchObject({ code: 'ERR_GATEWAY_ENGINE' })
    await writeFile(join(directory, 'something else'), '')
    const foreign = startPgliteEngine({ ...options, dataDirectory: directory })
    await expect(foreign).rejects.toMatchObject({ code: 'ERR_OPTION_INVALID' })
    await rm(`${directory}.lock`, { force: true })
  })

  it('recreates a damaged dump, and supports any database name', async () => {
    const cacheDirectory = join(directory, 'cache')
    const named = { ...options, cacheDirectory, database: 'Odd "name"' }
    engine = await startPgliteEngine(named)
    await engine.close()
    const [dump] = await readdir(cacheDirectory)
    await writeFile(join(cacheDirectory, dump!), Buffer.alloc(1_000, 'no dump'))
    engine = await startPgliteEngine(named)
    const client = await connect(engine, 'app', {}, 'Odd "name"')
    expect(await client.value('select current_database()')).toBe('Odd "name"')
    expect(await readdir(cacheDirectory)).toEqual([dump])
  })
})
