/**
 * The features of docs/orm-features.md. Each ORM has a cell for each of them, with what shows it: through the ORM itself, against the gateway
 * as Aurora DSQL. The table of the document is made of these cells.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Pool } from 'pg'
import { createPool } from '../../../adapters/pg.js'
import type { Login } from '../../../core/index.js'
import { sqlStateOf } from '../../../core/transactions/is-occ-conflict.js'
import { type Gateway, startGateway } from '../../../gateway/index.js'

export const FEATURES = [
  'first connection',
  'CRUD',
  'relations',
  'eager loading',
  'bulk insert',
  'upsert',
  'pagination',
  'JSON',
  'UUID keys',
  'timestamps',
  'optimistic locking',
  'row locks',
  'transactions',
  'isolation level',
  'read-only transactions',
  'nested transactions',
  'introspection',
] as const

export type Feature = (typeof FEATURES)[number]

/** Runs a feature through the ORM, and rejects if it does not work. */
type Run<Db> = (db: Db, context: Context) => Promise<unknown>

export interface Context {
  readonly login: Login
}

export type Cell<Db> =
  | { readonly state: 'works'; readonly run: Run<Db> }
  | WithNote<Db, 'works with'>
  | WithNote<Db, 'not'>
  /** The client has no function for it. */
  | undefined

interface WithNote<Db, State> {
  readonly state: State
  /** What the document says about it. */
  readonly note: string
  readonly run: Run<Db>
  /** The usual way, which fails. */
  readonly fails: Failure<Db> | undefined
}

interface Failure<Db> {
  /** The SQLSTATE. */
  readonly code: string
  readonly run: Run<Db>
}

export const works = <Db>(run: Run<Db>): Cell<Db> => ({ state: 'works', run })

/** @param fails what does not work without it */
export const worksWith = <Db>(note: string, run: Run<Db>, fails?: Failure<Db>): Cell<Db> => ({
  ...{ state: 'works with', note, run, fails },
})

/** @param code the SQLSTATE with which it fails */
export const not = <Db>(note: string, code: string, run: Run<Db>): Cell<Db> => ({
  ...{ state: 'not', note, run, fails: { code, run } },
})

export interface OrmFeatures<Db> {
  /** As in the table. */
  readonly name: string
  open(login: Login): Db | Promise<Db>
  close(db: Db): Promise<unknown>
  readonly cells: Readonly<Record<Feature, Cell<Db>>>
}

const TABLES = [
  `CREATE TABLE owner (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, name text NOT NULL UNIQUE, profile jsonb,
    version int NOT NULL DEFAULT 1, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now())`,
  `CREATE TABLE pet (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, owner_id uuid NOT NULL REFERENCES owner (id), name text NOT NULL)`,
  `CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL)`,
]

/** The rows of {@link TABLES} whose number is more than one transaction may change. */
export const ITEMS: readonly { id: number; name: string }[] = Array.from(
  { length: 3_001 },
  (_, id) => ({ id, name: `item ${id}` }),
)

/** Registers the start and the end of a gateway with the tables of the features, for a test file. */
export function useTables(): () => Context {
  let gateway: Gateway
  let pool: Pool
  let context: Context
  beforeAll(async () => {
    gateway = await startGateway({ engine: 'postgres' })
    const login = gateway.login({ user: 'admin' })
    pool = createPool(login)
    for (const table of TABLES) await pool.query(table)
    context = { login }
  })
  beforeEach(async () => {
    // A transaction changes at most 3,000 rows.
    for (const table of ['pet', 'owner', 'item WHERE id < 3000', 'item'])
      await pool.query(`DELETE FROM ${table}`)
  })
  afterAll(async () => {
    await pool?.end()
    await gateway?.close()
  })
  return () => context
}

/** Registers the tests of the cells of an ORM, and one of what the document says about it. */
export function describeFeatures<Db>(orm: OrmFeatures<Db>, context: () => Context): void {
  describe(`${orm.name} on Aurora DSQL`, () => {
    let db: Db
    beforeAll(async () => {
      db = await orm.open(context().login)
    })
    afterAll(async () => {
      if (db !== undefined) await orm.close(db)
    })

    for (const feature of FEATURES) {
      const cell = orm.cells[feature]
      if (cell === undefined) continue
      const how = cell.state === 'works' ? 'in the usual way' : 'as docs/orm-features.md describes'
      if (cell.state !== 'not')
        it(`supports ${feature} ${how}`, async () => {
          await cell.run(db, context())
        })
      if (cell.state === 'works' || cell.fails === undefined) continue
      const { code, run } = cell.fails
      it(`fails with ${code} for ${feature} in the usual way, and remains usable`, async () => {
        const error: unknown = await run(db, context()).then(
          () => 'it succeeded',
          (failure: unknown) => failure,
        )
        expect([sqlStateOf(error), error]).toEqual([code, error])
        await orm.cells.CRUD?.run(db, context())
      })
    }

    it('is described by docs/orm-features.md as these tests have it', () => {
      const { columns, details } = partsOf(readPage())
      expect(columns.get(orm.name)).toEqual(
        FEATURES.map((feature) => orm.cells[feature]?.state ?? ''),
      )
      expect(details.get(orm.name) ?? []).toEqual(detailsOf(orm))
    })
  })
}

/** What is said below the table about the cells that are not "works". */
function detailsOf<Db>({ cells }: OrmFeatures<Db>): string[] {
  return FEATURES.flatMap((feature) => {
    const cell = cells[feature]
    return cell === undefined || cell.state === 'works' ? [] : [`${feature}: ${cell.note}`]
  })
}

export function readPage(): string {
  return readFileSync(join(__dirname, '../../../docs/orm-features.md'), 'utf8')
}

/** The parts of the page: the names of its rows, its columns by ORM, and the items below the heading of an ORM. */
export function partsOf(page: string): {
  features: readonly string[]
  columns: ReadonlyMap<string, readonly string[]>
  details: ReadonlyMap<string, readonly string[]>
} {
  const lines = [...page.matchAll(/^\|(.*)\|$/gm)].map(([, line = '']) =>
    line.split('|').map((cell) => cell.trim()),
  )
  const [[, ...names] = [], , ...others] = lines
  // The page has other tables, too.
  const rows = others.filter(({ length }) => length === names.length + 1)
  const details = page.split(/^### /m).map((section) => {
    const [name = '', ...items] = section.split(/\n- |\n#/)
    // Long lines are wrapped.
    return [name.trim(), items.map((item) => item.replaceAll(/\s+/g, ' ').trim())] as const
  })
  return {
    features: rows.map(([feature = '']) => feature),
    columns: new Map(names.map((name, index) => [name, rows.map((row) => row[index + 1] ?? '')])),
    details: new Map(details),
  }
}
