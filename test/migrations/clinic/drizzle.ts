/**
 * The clinic in Drizzle: the folder that drizzle-kit generated from growing tables, without its snapshots, and relational queries on pg and
 * Postgres.js. Only the UPDATE in `0009_phones.sql` was written by hand.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  and,
  asc,
  count,
  desc,
  eq,
  gte,
  inArray,
  like,
  lt,
  relations,
  sql,
  type SQL,
} from 'drizzle-orm'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import {
  bigint,
  bigserial,
  date,
  integer,
  jsonb,
  numeric,
  type PgDatabase,
  type PgQueryResultHKT,
  pgTable,
  pgView,
  serial,
  uuid,
  varchar,
} from 'drizzle-orm/pg-core'
import {
  drizzleClient,
  type DrizzleDatabase,
  drizzleMigrate,
  drizzleTransaction,
} from '../../../adapters/drizzle.js'
import {
  drizzleClient as drizzleOnPostgresJs,
  drizzleTransaction as transactionOnPostgresJs,
} from '../../../adapters/drizzle-postgres-js.js'
import type { Login } from '../../../core/index.js'
import type { Clinic, ClinicClient, MigratedClinic } from './clinic.js'

const FOLDER = join(__dirname, 'drizzle')

interface Journal {
  readonly entries: readonly { readonly tag: string }[]
}

/** What the folder was when it had the first migrations only. */
function earlierFolder(last: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'pg-iam-clinic-'))
  const journal = JSON.parse(readFileSync(join(FOLDER, 'meta/_journal.json'), 'utf8')) as Journal
  const entries = journal.entries.slice(0, last)
  mkdirSync(join(folder, 'meta'))
  writeFileSync(join(folder, 'meta/_journal.json'), JSON.stringify({ ...journal, entries }))
  for (const { tag } of entries)
    copyFileSync(join(FOLDER, `${tag}.sql`), join(folder, `${tag}.sql`))
  return folder
}

export const clinicOfDrizzle: MigratedClinic = {
  name: 'Drizzle',
  async migrate(login, last) {
    const migrationsFolder = last === undefined ? FOLDER : earlierFolder(last)
    const db = drizzleClient(login)
    try {
      if (login.provider === 'aurora-dsql')
        return (await drizzleMigrate(db, { migrationsFolder })).length
      const before = await applied(db)
      await migrate(db, { migrationsFolder })
      return (await applied(db)) - before
    } finally {
      await db.$client.end()
      if (last !== undefined) rmSync(migrationsFolder, { recursive: true })
    }
  },
  open: (login) => {
    const db = drizzleClient(login, { schema })
    const transaction = <T>(work: (db: Db) => Promise<T>) => drizzleTransaction(db, work)
    return openDrizzle(db, transaction, () => db.$client.end())
  },
}

export const clinicOfDrizzleOnPostgresJs: ClinicClient = {
  name: 'Drizzle on Postgres.js',
  open: (login: Login) => {
    const db = drizzleOnPostgresJs(login, { schema })
    const transaction = <T>(work: (db: Db) => Promise<T>) => transactionOnPostgresJs(db, work)
    return openDrizzle(db, transaction, () => db.$client.end())
  },
}

/** Its own `migrate` does not say what ran. */
async function applied(db: DrizzleDatabase): Promise<number> {
  const table = 'drizzle.__drizzle_migrations'
  const { rows } = await db.execute(sql`SELECT to_regclass(${table}) AS found`)
  if (rows[0]?.['found'] === null) return 0
  return db.$count(sql.raw(table))
}

const owners = pgTable('owners', {
  id: uuid().primaryKey().defaultRandom(),
  firstName: varchar('first_name', { length: 30 }).notNull(),
  lastName: varchar('last_name', { length: 30 }).notNull(),
  city: varchar({ length: 80 }).notNull(),
  phone: varchar({ length: 20 }).notNull(),
})
const pets = pgTable('pets', {
  id: bigserial({ mode: 'bigint' }).primaryKey(),
  ownerId: uuid('owner_id').notNull(),
  name: varchar({ length: 30 }).notNull(),
  kind: varchar({ length: 20 }).notNull(),
  birthDate: date('birth_date').notNull(),
  version: integer().notNull().default(1),
  chart: jsonb().$type<{ allergies?: string[] }>().notNull().default({}),
})
const vets = pgTable('vets', {
  id: bigserial({ mode: 'bigint' }).primaryKey(),
  firstName: varchar('first_name', { length: 30 }).notNull(),
  lastName: varchar('last_name', { length: 30 }).notNull(),
})
const specialties = pgTable('specialties', {
  id: serial().primaryKey(),
  name: varchar({ length: 80 }).notNull().unique(),
  description: varchar({ length: 255 }),
})
const vetSpecialties = pgTable('vet_specialties', {
  vetId: bigint('vet_id', { mode: 'bigint' }).notNull(),
  specialtyId: integer('specialty_id').notNull(),
})
const visits = pgTable('visits', {
  id: bigserial({ mode: 'bigint' }).primaryKey(),
  petId: bigint('pet_id', { mode: 'bigint' }).notNull(),
  date: date('visit_date').notNull(),
  description: varchar({ length: 255 }).notNull(),
  cost: numeric({ precision: 8, scale: 2 }).notNull().default('25'),
})
const ownerCosts = pgView('owner_costs', {
  lastName: varchar('last_name').notNull(),
  visits: bigint({ mode: 'number' }).notNull(),
  total: numeric().notNull(),
}).existing()

const schema = {
  ...{ owners, pets, vets, specialties, vetSpecialties, visits },
  ownersRelations: relations(owners, ({ many }) => ({ pets: many(pets) })),
  petsRelations: relations(pets, ({ one, many }) => ({
    owner: one(owners, { fields: [pets.ownerId], references: [owners.id] }),
    visits: many(visits),
  })),
  visitsRelations: relations(visits, ({ one }) => ({
    pet: one(pets, { fields: [visits.petId], references: [pets.id] }),
  })),
  vetsRelations: relations(vets, ({ many }) => ({ specialties: many(vetSpecialties) })),
  vetSpecialtiesRelations: relations(vetSpecialties, ({ one }) => ({
    vet: one(vets, { fields: [vetSpecialties.vetId], references: [vets.id] }),
    specialty: one(specialties, {
      ...{ fields: [vetSpecialties.specialtyId], references: [specialties.id] },
    }),
  })),
}

type Db = PgDatabase<PgQueryResultHKT, typeof schema>

function openDrizzle(
  db: Db,
  transaction: <T>(work: (db: Db) => Promise<T>) => Promise<T>,
  close: () => Promise<void>,
): Clinic {
  const fullName = (row: typeof owners | typeof vets): SQL<string> =>
    sql<string>`${row.firstName} || ' ' || ${row.lastName}`
  return {
    addOwner: (owner, own) =>
      transaction(async (inner) => {
        const [added] = await inner.insert(owners).values(owner).returning({ id: owners.id })
        const ownerId = added!.id
        if (own.length > 0) await inner.insert(pets).values(own.map((pet) => ({ ...pet, ownerId })))
        return ownerId
      }),
    ownersNamed: (prefix, page, size) =>
      db
        .select({ id: owners.id, name: fullName(owners) })
        .from(owners)
        .where(like(owners.lastName, `${prefix}%`))
        .orderBy(owners.lastName, owners.firstName)
        .offset(page * size)
        .limit(size),
    owner: async (id) => {
      const found = await db.query.owners.findFirst({
        where: eq(owners.id, id),
        columns: { id: false },
        with: {
          pets: {
            columns: { ownerId: false, chart: false },
            orderBy: asc(pets.name),
            with: {
              visits: { columns: { date: true, description: true }, orderBy: desc(visits.date) },
            },
          },
        },
      })
      if (found === undefined) return undefined
      return { ...found, pets: found.pets.map((pet) => ({ ...pet, id: String(pet.id) })) }
    },
    addVet: (firstName, lastName, names) =>
      transaction(async (inner) => {
        const [vet] = await inner.insert(vets).values({ firstName, lastName }).returning()
        const found = await inner
          .select()
          .from(specialties)
          .where(inArray(specialties.name, [...names]))
        const rows = found.map(({ id }) => ({ vetId: vet!.id, specialtyId: id }))
        await inner.insert(vetSpecialties).values(rows)
      }),
    vets: async () => {
      const found = await db.query.vets.findMany({
        orderBy: asc(vets.lastName),
        with: { specialties: { with: { specialty: true } } },
      })
      return found.map(({ firstName, lastName, specialties: own }) => ({
        name: `${firstName} ${lastName}`,
        specialties: own.map(({ specialty }) => specialty.name).toSorted(),
      }))
    },
    describeSpecialty: async (name, description) => {
      await db
        .insert(specialties)
        .values({ name, description })
        .onConflictDoUpdate({ target: specialties.name, set: { description } })
    },
    specialties: () =>
      db
        .select({ name: specialties.name, description: specialties.description })
        .from(specialties)
        .orderBy(specialties.name),
    addVisits: async (rows) => {
      await db
        .insert(visits)
        .values(rows.map(({ petId, ...visit }) => ({ ...visit, petId: BigInt(petId) })))
    },
    visitsBetween: (first, end) =>
      db
        .select({
          pet: pets.name,
          ...{ date: visits.date, description: visits.description, cost: visits.cost },
        })
        .from(visits)
        .innerJoin(pets, eq(pets.id, visits.petId))
        .where(and(gte(visits.date, first), lt(visits.date, end)))
        .orderBy(visits.date, visits.description),
    countVisits: async () => {
      const [counted] = await db.select({ all: count() }).from(visits)
      return counted!.all
    },
    renamePet: async (id, version, name) => {
      const changed = await db
        .update(pets)
        .set({ name, version: version + 1 })
        .where(and(eq(pets.id, BigInt(id)), eq(pets.version, version)))
        .returning({ id: pets.id })
      return changed.length === 1
    },
    noteAllergy: (petId, allergy) =>
      transaction(async (inner) => {
        const own = eq(pets.id, BigInt(petId))
        const [pet] = await inner.select({ chart: pets.chart }).from(pets).where(own)
        const { allergies = [], ...chart } = pet!.chart
        const changed = { ...chart, allergies: [...allergies, allergy] }
        await inner.update(pets).set({ chart: changed }).where(own)
      }),
    petsAllergicTo: async (allergy) => {
      const found = await db
        .select({ name: pets.name })
        .from(pets)
        .where(sql`${pets.chart} @> ${JSON.stringify({ allergies: [allergy] })}`)
        .orderBy(pets.name)
      return found.map(({ name }) => name)
    },
    removePet: async (id) => {
      await db.delete(pets).where(eq(pets.id, BigInt(id)))
    },
    costs: () => db.select().from(ownerCosts).orderBy(ownerCosts.lastName),
    close,
  }
}
