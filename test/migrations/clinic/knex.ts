/** The clinic in Knex: its schema builder, and queries by hand. */
import knexOf, { type Knex } from 'knex'
import { knexConfig, knexTransaction } from '../../../adapters/knex.js'
import type { Login } from '../../../core/index.js'
import type { Clinic, MigratedClinic } from './clinic.js'

interface KnexMigration {
  up(knex: Knex): PromiseLike<unknown>
  down(knex: Knex): PromiseLike<unknown>
}

const MIGRATIONS: Readonly<Record<string, KnexMigration>> = {
  '20240101000001_owners': {
    up: (knex) =>
      knex.schema.createTable('owners', (table) => {
        table.uuid('id').primary().defaultTo(knex.fn.uuid())
        table.string('first_name', 30).notNullable()
        table.string('last_name', 30).notNullable()
        table.string('address')
        table.string('city', 80)
        table.string('telephone', 20)
        table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
      }),
    down: (knex) => knex.schema.dropTable('owners'),
  },
  '20240101000002_pets': {
    up: (knex) =>
      knex.schema.createTable('pets', (table) => {
        table.bigIncrements('id')
        table.uuid('owner_id').notNullable().references('owners.id')
        table.string('name', 30).notNullable()
        table.string('kind', 20).notNullable()
        table.date('birth_date')
        table.index('owner_id')
      }),
    down: (knex) => knex.schema.dropTable('pets'),
  },
  '20240101000003_vets': {
    up: (knex) =>
      knex.schema
        .createTable('vets', (table) => {
          table.bigIncrements('id')
          table.string('first_name', 30).notNullable()
          table.string('last_name', 30).notNullable()
        })
        .createTable('specialties', (table) => {
          table.increments('id')
          table.string('name', 80).notNullable().unique()
        }),
    down: (knex) => knex.schema.dropTable('specialties').dropTable('vets'),
  },
  '20240101000004_vet_specialties': {
    up: (knex) =>
      knex.schema.createTable('vet_specialties', (table) => {
        table.bigInteger('vet_id').references('vets.id').onDelete('CASCADE')
        table.integer('specialty_id').references('specialties.id').onDelete('CASCADE')
        table.primary(['vet_id', 'specialty_id'])
      }),
    down: (knex) => knex.schema.dropTable('vet_specialties'),
  },
  '20240101000005_visits': {
    up: (knex) =>
      knex.schema.createTable('visits', (table) => {
        table.bigIncrements('id')
        table.bigInteger('pet_id').notNullable().references('pets.id').onDelete('CASCADE')
        table.date('visit_date').notNullable()
        table.string('description')
        table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
      }),
    down: (knex) => knex.schema.dropTable('visits'),
  },
  '20240101000006_owners_by_name': {
    up: (knex) => knex.schema.alterTable('owners', (table) => table.index(NAME, 'owners_name')),
    down: (knex) =>
      knex.schema.alterTable('owners', (table) => table.dropIndex(NAME, 'owners_name')),
  },
  '20240101000007_costs_and_versions': {
    up: (knex) =>
      knex.schema
        .alterTable('visits', (table) => table.decimal('cost', 8, 2).notNullable().defaultTo(25))
        .alterTable('pets', (table) => table.integer('version').notNullable().defaultTo(1)),
    down: (knex) =>
      knex.schema
        .alterTable('pets', (table) => table.dropColumn('version'))
        .alterTable('visits', (table) => table.dropColumn('cost')),
  },
  '20240101000008_visits_by_date': {
    up: (knex) =>
      knex.schema
        .alterTable('visits', (table) => table.index(['visit_date', 'pet_id'], 'visits_date'))
        .alterTable('pets', (table) => table.unique(['owner_id', 'name'])),
    down: (knex) =>
      knex.schema
        .alterTable('pets', (table) => table.dropUnique(['owner_id', 'name']))
        .alterTable('visits', (table) => table.dropIndex(['visit_date', 'pet_id'], 'visits_date')),
  },
  '20240101000009_checks': {
    up: (knex) =>
      knex.schema
        .alterTable('visits', (table) => table.check('cost >= 0', {}, 'visits_cost'))
        .alterTable('owners', (table) => table.dropNullable('city')),
    down: (knex) =>
      knex.schema
        .alterTable('owners', (table) => table.setNullable('city'))
        .alterTable('visits', (table) => table.dropChecks('visits_cost')),
  },
  '20240101000010_phones': {
    up: async (knex) => {
      await knex.schema.alterTable('owners', (table) => table.renameColumn('telephone', 'phone'))
      await knex('owners').update({ phone: knex.raw(`replace(phone, '-', '')`) })
    },
    down: (knex) =>
      knex.schema.alterTable('owners', (table) => table.renameColumn('phone', 'telephone')),
  },
  '20240101000011_charts': {
    up: async (knex) => {
      await knex.schema.alterTable('pets', (table) => {
        table.jsonb('chart').notNullable().defaultTo({})
      })
      await knex.schema.alterTable('owners', (table) => table.dropColumn('address'))
      await knex.schema.alterTable('specialties', (table) => table.string('description'))
    },
    down: async (knex) => {
      await knex.schema.alterTable('specialties', (table) => table.dropColumn('description'))
      await knex.schema.alterTable('owners', (table) => table.string('address'))
      await knex.schema.alterTable('pets', (table) => table.dropColumn('chart'))
    },
  },
  '20240101000012_costs_of_owners': {
    up: (knex) =>
      knex.schema.createView('owner_costs', (view) => {
        view.columns(['last_name', 'visits', 'total'])
        view.as(
          knex('owners AS o')
            .join('pets AS p', 'p.owner_id', 'o.id')
            .join('visits AS v', 'v.pet_id', 'p.id')
            .groupBy('o.id', 'o.last_name')
            .select('o.last_name', knex.raw('count(*)'), knex.raw('sum(v.cost)')),
        )
      }),
    down: (knex) => knex.schema.dropView('owner_costs'),
  },
}
const NAME = ['last_name', 'first_name']

async function withKnex<T>(
  login: Login,
  names: readonly string[],
  use: (knex: Knex) => Promise<T>,
): Promise<T> {
  const migrationSource = {
    getMigrations: async () => [...names],
    getMigrationName: (name: string) => name,
    getMigration: async (name: string) => MIGRATIONS[name]!,
  }
  const dsqlMigrations = login.provider === 'aurora-dsql'
  const knex = knexOf(knexConfig(login, { dsqlMigrations, migrations: { migrationSource } }))
  try {
    return await use(knex)
  } finally {
    await knex.destroy()
  }
}

export const clinicOfKnex: MigratedClinic = {
  name: 'Knex',
  migrate: (login, last) =>
    withKnex(login, Object.keys(MIGRATIONS).slice(0, last), async (knex) => {
      const [, ran] = (await knex.migrate.latest()) as [number, string[]]
      return ran.length
    }),
  undo: (login, steps) =>
    withKnex(login, Object.keys(MIGRATIONS), async (knex) => {
      for (let step = 0; step < steps; step++) await knex.migrate.down()
    }),
  open: (login) => openKnex(knexOf(knexConfig(login))),
}

interface PetRow {
  id: string
  name: string
  kind: string
  birth_date: string
  version: number
}

interface VisitRow {
  pet_id: string
  pet: string
  date: string
  description: string
  cost: string
}

/** A date as a text: pg makes a time of it. */
const DATE = 'visit_date::text AS date'

function openKnex(knex: Knex): Clinic {
  return {
    addOwner: (owner, pets) =>
      knexTransaction(knex, async (transaction) => {
        const { firstName, lastName, ...rest } = owner
        const row = { first_name: firstName, last_name: lastName, ...rest }
        const [added] = await transaction('owners').insert(row, ['id'])
        const { id } = added as { id: string }
        const own = pets.map(({ birthDate, ...pet }) => ({
          ...{ ...pet, birth_date: birthDate, owner_id: id },
        }))
        if (own.length > 0) await transaction('pets').insert(own)
        return id
      }),
    ownersNamed: (prefix, page, size) =>
      knex('owners')
        .select<{ id: string; name: string }[]>(
          'id',
          knex.raw(`first_name || ' ' || last_name AS name`),
        )
        .whereLike('last_name', `${prefix}%`)
        .orderBy(['last_name', 'first_name'])
        .offset(page * size)
        .limit(size),
    owner: async (id) => {
      const owner = await knex('owners')
        .where({ id })
        .first({ firstName: 'first_name', lastName: 'last_name', city: 'city', phone: 'phone' })
      if (owner === undefined) return undefined
      const pets = await knex('pets')
        .where({ owner_id: id })
        .orderBy('name')
        .select<PetRow[]>(
          'id',
          'name',
          'kind',
          'version',
          knex.raw('birth_date::text AS birth_date'),
        )
      const ids = pets.map((pet) => pet.id)
      const visits = await knex('visits')
        .whereIn('pet_id', ids)
        .orderBy('visit_date', 'desc')
        .select<VisitRow[]>('pet_id', 'description', knex.raw(DATE))
      return {
        ...owner,
        pets: pets.map(({ birth_date: birthDate, ...pet }) => ({
          ...{ ...pet, birthDate },
          visits: visits
            .filter((visit) => visit.pet_id === pet.id)
            .map(({ date, description }) => ({ date, description })),
        })),
      }
    },
    addVet: (firstName, lastName, specialties) =>
      knexTransaction(knex, async (transaction) => {
        const row = { first_name: firstName, last_name: lastName }
        const [vet] = await transaction('vets').insert(row, ['id'])
        const { id } = vet as { id: string }
        const found = transaction('specialties')
          .whereIn('name', specialties)
          .select(transaction.raw('?::bigint', [id]), 'id')
        await transaction(transaction.raw('vet_specialties (vet_id, specialty_id)')).insert(found)
      }),
    vets: async () => {
      const rows = await knex('vets AS v')
        .leftJoin('vet_specialties AS vs', 'vs.vet_id', 'v.id')
        .leftJoin('specialties AS s', 's.id', 'vs.specialty_id')
        .groupBy('v.id')
        .orderBy('v.last_name')
        .select<{ name: string; specialties: string[] }[]>(
          knex.raw(`v.first_name || ' ' || v.last_name AS name`),
          knex.raw(
            `coalesce(json_agg(s.name ORDER BY s.name) FILTER (WHERE s.id IS NOT NULL), '[]') AS specialties`,
          ),
        )
      return rows
    },
    describeSpecialty: async (name, description) => {
      await knex('specialties').insert({ name, description }).onConflict('name').merge()
    },
    specialties: () => knex('specialties').select('name', 'description').orderBy('name'),
    addVisits: async (visits) => {
      const rows = visits.map(({ petId, date, ...visit }) => ({
        ...{ ...visit, pet_id: petId, visit_date: date },
      }))
      await knex('visits').insert(rows)
    },
    visitsBetween: (first, end) =>
      knex('visits')
        .join('pets', 'pets.id', 'visits.pet_id')
        .where('visit_date', '>=', first)
        .where('visit_date', '<', end)
        .orderBy(['visit_date', 'description'])
        .select<VisitRow[]>('pets.name AS pet', 'description', 'cost', knex.raw(DATE)),
    countVisits: async () => {
      const [counted] = await knex('visits').count<{ count: string }[]>()
      return Number(counted!.count)
    },
    renamePet: async (id, version, name) => {
      const changed = await knex('pets')
        .where({ id, version })
        .update({ name, version: version + 1 })
      return changed === 1
    },
    noteAllergy: async (petId, allergy) => {
      const chart = knex.raw(
        `jsonb_set(chart, '{allergies}', coalesce(chart->'allergies', '[]') || to_jsonb(?::text))`,
        [allergy],
      )
      await knex('pets').where({ id: petId }).update({ chart })
    },
    petsAllergicTo: (allergy) =>
      knex('pets')
        .whereJsonSupersetOf('chart', { allergies: [allergy] })
        .orderBy('name')
        .pluck<string[]>('name'),
    removePet: async (id) => {
      await knex('pets').where({ id }).delete()
    },
    costs: async () => {
      const rows = await knex('owner_costs')
        .select<{ last_name: string; visits: string; total: string }[]>()
        .orderBy('last_name')
      return rows.map(({ last_name: lastName, visits, total }) => ({
        ...{ lastName, visits: Number(visits), total },
      }))
    },
    close: () => knex.destroy(),
  }
}
