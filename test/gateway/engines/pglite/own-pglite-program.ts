/**
 * The scenarios of `pgliteEngine(db)`, as a program: PGlite loads parts of itself with `import()`, which Jest does not support. Prints the
 * result of each scenario of `scenarios` as JSON.
 */
import { deepStrictEqual, match, rejects, strictEqual } from 'node:assert/strict'
import { PGlite } from '@electric-sql/pglite'
import type { pgliteEngine as PgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import type { Engine } from '../../../../gateway/engines/engine.js'
import { bind, connect, execute, parse, SYNC } from './protocol-client.js'

// The engine of the package.
const { pgliteEngine } = require('../../../../dist/cjs/gateway/index.js') as {
  pgliteEngine: typeof PgliteEngine
}

interface Place {
  readonly db: PGlite
  readonly engine: Engine
}

export const scenarios: Record<string, (place: Place) => Promise<void>> = {
  'serves its data while the caller continues to use it': async ({ db, engine }) => {
    const client = await connect(engine)
    await client.query(`insert into notes values ('of a client')`)
    await db.query(`insert into notes values ('of the caller')`)
    strictEqual(await client.value('select count(*) from notes'), '2')
    strictEqual(await client.value('select current_user'), 'app')
    deepStrictEqual((await db.query('select current_user, session_user')).rows, [
      { current_user: 'postgres', session_user: 'postgres' },
    ])
    await client.leave()
  },

  'isolates the settings of the caller and of clients': async ({ db, engine }) => {
    const client = await connect(engine, 'app', { application_name: 'client' })
    await db.exec(`set work_mem = '5MB'`)
    await client.query(`set work_mem = '6MB'`)
    deepStrictEqual((await db.query('show work_mem')).rows, [{ work_mem: '5MB' }])
    strictEqual(await client.value('show work_mem'), '6MB')
    deepStrictEqual((await db.query('show application_name')).rows, [{ application_name: '' }])
    await client.leave()
    await db.exec('reset work_mem')
  },

  'makes clients wait for a transaction of the caller, and vice versa': async ({ db, engine }) => {
    const client = await connect(engine)
    let answer: Promise<string | null> | undefined
    await db.transaction(async (tx) => {
      await tx.query(`insert into notes values ('one')`)
      answer = client.value('select count(*) from notes')
      await tx.query(`insert into notes values ('two')`)
    })
    strictEqual(await answer, '2')
    await client.query(`begin; insert into notes values ('three')`)
    const counted = db.query('select count(*)::int as n from notes')
    await client.query(`insert into notes values ('four')`)
    await client.query('commit')
    deepStrictEqual((await counted).rows, [{ n: 4 }])
    await client.leave()
  },

  'is available to the caller after a client leaves a transaction open': async ({ db, engine }) => {
    const client = await connect(engine)
    await client.query(`begin; insert into notes values ('lost')`)
    deepStrictEqual((await db.query('select * from notes')).rows, [])
    const { errors } = await client.query('commit')
    strictEqual(errors[0]?.code, '25P03')
    await client.leave()
  },

  'keeps the listeners of the caller, and statements with the same name of two clients': async ({
    db,
    engine,
  }) => {
    const heard = new Promise((resolve) => void db.listen('channel', resolve))
    const [one, two] = [await connect(engine), await connect(engine)]
    for (const [client, text] of [
      [one, 'one'],
      [two, 'two'],
    ] as const) {
      client.send(parse('s', `select '${text}'`), SYNC)
      await client.answer()
    }
    deepStrictEqual((await db.query('select 3 as three')).rows, [{ three: 3 }])
    one.send(bind('s'), execute(), SYNC)
    deepStrictEqual((await one.answer()).rows, [['one']])
    await db.query(`notify channel, 'hello'`)
    strictEqual(await heard, 'hello')
    await Promise.all([one.leave(), two.leave()])
  },

  'refuses a role and a database that do not exist': async ({ engine }) => {
    await rejects(connect(engine, 'nobody'), { sqlState: '28000' })
    await rejects(connect(engine, 'app', {}, 'other'), { sqlState: '3D000' })
    const postgres = await connect(engine, 'postgres')
    strictEqual(await postgres.value('select session_user'), 'postgres')
    await postgres.leave()
  },

  'ends a client that changes its role with dynamic SQL': async ({ db, engine }) => {
    const client = await connect(engine)
    const { errors } = await client.query('set session authorization postgres')
    strictEqual(errors[0]?.code, '42501')
    const hidden = `do $$ begin execute 'set session ' || 'authorization postgres'; end $$`
    await rejects(client.query(hidden), /permission denied/)
    deepStrictEqual((await db.query('select session_user')).rows, [{ session_user: 'postgres' }])
  },

  'stays open when the engine is closed': async ({ db }) => {
    const other = await pgliteEngine(db)
    const client = await connect(other, 'app')
    await other.close()
    strictEqual((await client.ended()).errors[0]?.code, '57P01')
    deepStrictEqual((await db.query('select 1 as one')).rows, [{ one: 1 }])
  },

  'names invalid arguments in errors': async ({ db }) => {
    for (const [given, options, message] of [
      [undefined, {}, /"db" must be a PGlite/],
      [{}, {}, /"db" must be a PGlite/],
      [db, { lockTimeoutMs: 0 }, /"lockTimeoutMs" must be/],
      [db, { lockTimeout: 1 }, /"lockTimeout"/],
    ] as const) {
      await rejects(pgliteEngine(given as PGlite, options as object), (error: Error) => {
        match(error.message, message)
        return true
      })
    }
  },
}

export async function main(): Promise<void> {
  const db = await PGlite.create()
  await db.exec('create table notes (v text); grant all on notes to public')
  const engine = await pgliteEngine(db, { idleInTransactionTimeoutMs: 1_000 })
  await engine.prepare?.({ roles: ['admin', 'app'], database: 'postgres' })
  const results: Record<string, string> = {}
  for (const [name, scenario] of Object.entries(scenarios)) {
    await db.exec('truncate notes')
    results[name] = await scenario({ db, engine }).then(
      () => 'passed',
      (error: unknown) => String((error as Error).stack),
    )
  }
  await engine.close()
  await db.close()
  process.stdout.write(JSON.stringify(results))
}
