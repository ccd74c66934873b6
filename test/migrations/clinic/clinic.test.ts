/** The clinic on Aurora DSQL and on plain PostgreSQL: the same migrations, the same schema, the same answers. */
import type { Pool } from 'pg'
import { createPool } from '../../../adapters/pg.js'
import type { Dialect } from '../../../migrations/ledger.js'
import { contentOf, DIALECTS, useDatabases } from '../databases/databases.js'
import {
  ANSWERS,
  answersOf,
  type ClinicClient,
  COLUMNS,
  loadHistory,
  type MigratedClinic,
} from './clinic.js'
import { clinicOfDrizzle, clinicOfDrizzleOnPostgresJs } from './drizzle.js'
import { clinicOfKnex } from './knex.js'
import { clinicOfKysely } from './kysely.js'
import { clinicOfSequelize, clinicOfSequelize7 } from './sequelize.js'
import { clinicOfPg, clinicOfPostgresJs, clinicOfPrisma } from './sql.js'
import { clinicOfTypeorm } from './typeorm.js'

const MIGRATED: readonly MigratedClinic[] = [
  clinicOfSequelize,
  clinicOfTypeorm,
  clinicOfKnex,
  clinicOfDrizzle,
]

/** They use what Knex has migrated. */
const OTHERS: readonly ClinicClient[] = [
  clinicOfPg,
  clinicOfPostgresJs,
  clinicOfPrisma,
  clinicOfKysely,
  clinicOfSequelize7,
  clinicOfDrizzleOnPostgresJs,
]

const databases = useDatabases()

/** Makes the database new, and runs the first six migrations. */
async function begin(orm: MigratedClinic, dialect: Dialect): Promise<number> {
  await onPostgres(async (pool) => {
    await pool.query('DROP SCHEMA IF EXISTS drizzle CASCADE')
    await pool.query('DROP SCHEMA public CASCADE')
    await pool.query('CREATE SCHEMA public')
  })
  return orm.migrate(databases().login(dialect), 6)
}

/** Runs all migrations. The history comes in between, so that half of them find rows. */
async function grow(orm: MigratedClinic, dialect: Dialect): Promise<number[]> {
  const first = await begin(orm, dialect)
  await on(dialect, loadHistory)
  const login = databases().login(dialect)
  return [first, await orm.migrate(login), await orm.migrate(login)]
}

async function on<T>(dialect: Dialect, use: (pool: Pool) => Promise<T>): Promise<T> {
  const pool = createPool(databases().login(dialect))
  try {
    return await use(pool)
  } finally {
    await pool.end()
  }
}

/** Both endpoints have the same database: this one has no limits. */
const onPostgres = <T>(use: (pool: Pool) => Promise<T>): Promise<T> => on('postgres', use)

/** The schema of the clinic, as {@link normalized}. */
async function schemaOfClinic(): Promise<string[]> {
  const lines = await onPostgres((pool) =>
    contentOf(async (text) => {
      const { rows } = await pool.query<unknown[]>({ text, rowMode: 'array' })
      return rows.map((row) => row.map(String))
    }, 'public'),
  )
  return normalized(lines.filter((line) => CLINIC.test(line) && !line.startsWith('row ')))
}

/** Not the tables of the ORMs. */
const CLINIC = /\b(?:owner|pet|vet|visit|specialt)/

/** The same lines for what Aurora DSQL and PostgreSQL have in place of each other. */
function normalized(lines: readonly string[]): string[] {
  return lines
    .flatMap((line) => {
      // Aurora DSQL has no serial. Its identities and their sequences are bigint.
      const key = /^(column \S+) (?:integer|bigint) not null (?:d|nextval\(.*\))$/.exec(line)
      if (key !== null) return `${key[1]} key`
      const sequence = /^(sequence \S+) (?:integer|bigint) (.*)$/.exec(line)
      if (sequence !== null) return `${sequence[1]} ${sequence[2]}`
      // A column that is there already cannot become NOT NULL on Aurora DSQL: it gets a check.
      const check = /^constraint (\w+) \S+ CHECK \(\((\w+) IS NOT NULL\)\)$/.exec(line)
      if (check !== null) return `not null ${check[1]}.${check[2]}`
      const column = /^column (\S+) .* not null/.exec(line)
      if (column === null) return line
      return [line.replace(' not null', ' '), `not null ${column[1]}`]
    })
    .map((line) => line.replaceAll(/ +/g, ' ').trim())
    .toSorted()
}

/** Without how the ORMs spell the same default. */
function columnsIn(schema: readonly string[]): string[] {
  return schema
    .filter((line) => line.startsWith('column '))
    .map((line) => {
      const [, name = ''] = line.split(' ')
      const column = line.slice('column '.length)
      const text = column.replace('CURRENT_TIMESTAMP', 'now()').replace("'25'::numeric", '25')
      return schema.includes(`not null ${name}`) ? `${text} not null` : text
    })
}

async function answers(client: ClinicClient, dialect: Dialect): Promise<unknown> {
  const clinic = await client.open(databases().login(dialect))
  try {
    return await answersOf(clinic)
  } finally {
    await clinic.close()
  }
}

describe.each(MIGRATED)('the clinic in $name', (orm) => {
  let halfOnPostgres: string[]
  let allOnPostgres: string[]
  beforeAll(async () => {
    await begin(orm, 'postgres')
    halfOnPostgres = await schemaOfClinic()
    await orm.migrate(databases().login('postgres'))
    allOnPostgres = await schemaOfClinic()
  })

  it('has the columns of the model', () => {
    expect(columnsIn(allOnPostgres)).toEqual(COLUMNS)
  })

  describe.each(DIALECTS)('on %s', (dialect) => {
    let ran: number[]
    beforeAll(async () => {
      ran = await grow(orm, dialect)
    })

    it('grows in twelve migrations, half of them before it has data', () => {
      expect(ran).toEqual([6, 6, 0])
    })

    it('has the schema that the same migrations make on plain PostgreSQL', async () => {
      expect(await schemaOfClinic()).toEqual(allOnPostgres)
    })

    it('gives the answers of the list', async () => {
      expect(await answers(orm, dialect)).toEqual(ANSWERS)
    })

    const { undo } = orm
    if (undo !== undefined)
      it('undoes half of the migrations with data and the rest without, and runs all again', async () => {
        const login = databases().login(dialect)
        await undo(login, 6)
        expect(await schemaOfClinic()).toEqual(halfOnPostgres)
        await undo(login, 6)
        expect(await schemaOfClinic()).toEqual([])
        expect(await orm.migrate(login)).toBe(12)
        expect(await schemaOfClinic()).toEqual(allOnPostgres)
      })
  })
})

describe.each(DIALECTS)('the clinic that Knex has migrated on %s', (dialect) => {
  beforeEach(() => grow(clinicOfKnex, dialect))

  it.each(OTHERS)('gives the answers of the list to $name', async (client) => {
    expect(await answers(client, dialect)).toEqual(ANSWERS)
  })
})
