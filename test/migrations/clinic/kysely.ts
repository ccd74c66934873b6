/** The clinic in Kysely. */
import { type Generated, Kysely, sql } from 'kysely'
import { jsonArrayFrom } from 'kysely/helpers/postgres'
import { kyselyDialect, kyselyTransaction } from '../../../adapters/kysely.js'
import type { ClinicClient } from './clinic.js'

interface Tables {
  owners: {
    id: Generated<string>
    first_name: string
    last_name: string
    city: string
    phone: string
  }
  pets: {
    id: Generated<string>
    owner_id: string
    name: string
    kind: string
    birth_date: string
    version: Generated<number>
    chart: Generated<{ allergies?: string[] }>
  }
  vets: { id: Generated<string>; first_name: string; last_name: string }
  specialties: { id: Generated<number>; name: string; description: string | null }
  vet_specialties: { vet_id: string; specialty_id: number }
  visits: {
    id: Generated<string>
    pet_id: string
    visit_date: string
    description: string
    cost: string
  }
  owner_costs: { last_name: string; visits: string; total: string }
}

const fullName = sql<string>`first_name || ' ' || last_name`

export const clinicOfKysely: ClinicClient = {
  name: 'Kysely',
  open(login) {
    const db = new Kysely<Tables>({ dialect: kyselyDialect(login) })
    return {
      addOwner: (owner, pets) =>
        kyselyTransaction(db, async (own) => {
          const { firstName, lastName, ...rest } = owner
          const { id } = await own
            .insertInto('owners')
            .values({ first_name: firstName, last_name: lastName, ...rest })
            .returning('id')
            .executeTakeFirstOrThrow()
          const rows = pets.map(({ birthDate, ...pet }) => ({
            ...{ ...pet, birth_date: birthDate, owner_id: id },
          }))
          if (rows.length > 0) await own.insertInto('pets').values(rows).execute()
          return id
        }),
      ownersNamed: (prefix, page, size) =>
        db
          .selectFrom('owners')
          .select(['id', fullName.as('name')])
          .where('last_name', 'like', `${prefix}%`)
          .orderBy('last_name')
          .orderBy('first_name')
          .offset(page * size)
          .limit(size)
          .execute(),
      owner: (id) =>
        db
          .selectFrom('owners')
          .where('owners.id', '=', id)
          .select(['first_name as firstName', 'last_name as lastName', 'city', 'phone'])
          .select((owner) =>
            jsonArrayFrom(
              owner
                .selectFrom('pets')
                .whereRef('pets.owner_id', '=', 'owners.id')
                .orderBy('pets.name')
                .select(['name', 'kind', 'birth_date as birthDate', 'version'])
                .select(sql<string>`pets.id::text`.as('id'))
                .select((pet) =>
                  jsonArrayFrom(
                    pet
                      .selectFrom('visits')
                      .whereRef('visits.pet_id', '=', 'pets.id')
                      .orderBy('visit_date', 'desc')
                      .select(['visit_date as date', 'description']),
                  ).as('visits'),
                ),
            ).as('pets'),
          )
          .executeTakeFirst(),
      addVet: (firstName, lastName, specialties) =>
        kyselyTransaction(db, async (own) => {
          const { id } = await own
            .insertInto('vets')
            .values({ first_name: firstName, last_name: lastName })
            .returning('id')
            .executeTakeFirstOrThrow()
          await own
            .insertInto('vet_specialties')
            .columns(['vet_id', 'specialty_id'])
            .expression((from) =>
              from
                .selectFrom('specialties')
                .where('name', 'in', specialties)
                .select([sql<string>`${id}::bigint`.as('vet_id'), 'id']),
            )
            .execute()
        }),
      vets: () =>
        db
          .selectFrom('vets')
          .orderBy('last_name')
          .select(fullName.as('name'))
          .select(
            sql<
              string[]
            >`array(SELECT s.name::text FROM specialties s JOIN vet_specialties vs ON vs.specialty_id = s.id
              WHERE vs.vet_id = vets.id ORDER BY s.name)`.as('specialties'),
          )
          .execute(),
      describeSpecialty: async (name, description) => {
        await db
          .insertInto('specialties')
          .values({ name, description })
          .onConflict((conflict) => conflict.column('name').doUpdateSet({ description }))
          .execute()
      },
      specialties: () =>
        db.selectFrom('specialties').select(['name', 'description']).orderBy('name').execute(),
      addVisits: async (visits) => {
        const rows = visits.map(({ petId, date, ...visit }) => ({
          ...{ ...visit, pet_id: petId, visit_date: date },
        }))
        await db.insertInto('visits').values(rows).execute()
      },
      visitsBetween: (first, end) =>
        db
          .selectFrom('visits')
          .innerJoin('pets', 'pets.id', 'visits.pet_id')
          .where('visit_date', '>=', first)
          .where('visit_date', '<', end)
          .orderBy('visit_date')
          .orderBy('description')
          .select(['pets.name as pet', 'description', 'cost'])
          .select(sql<string>`visit_date::text`.as('date'))
          .execute(),
      countVisits: async () => {
        const { count } = await db
          .selectFrom('visits')
          .select((all) => all.fn.countAll<string>().as('count'))
          .executeTakeFirstOrThrow()
        return Number(count)
      },
      renamePet: async (id, version, name) => {
        const { numUpdatedRows } = await db
          .updateTable('pets')
          .set({ name, version: version + 1 })
          .where('id', '=', id)
          .where('version', '=', version)
          .executeTakeFirst()
        return numUpdatedRows === 1n
      },
      noteAllergy: (petId, allergy) =>
        kyselyTransaction(db, async (own) => {
          const { chart } = await own
            .selectFrom('pets')
            .select('chart')
            .where('id', '=', petId)
            .executeTakeFirstOrThrow()
          const changed = { ...chart, allergies: [...(chart.allergies ?? []), allergy] }
          await own.updateTable('pets').set({ chart: changed }).where('id', '=', petId).execute()
        }),
      petsAllergicTo: async (allergy) => {
        const rows = await db
          .selectFrom('pets')
          .select('name')
          .where(sql<boolean>`chart @> ${JSON.stringify({ allergies: [allergy] })}`)
          .orderBy('name')
          .execute()
        return rows.map(({ name }) => name)
      },
      removePet: async (id) => {
        await db.deleteFrom('pets').where('id', '=', id).execute()
      },
      costs: async () => {
        const rows = await db.selectFrom('owner_costs').selectAll().orderBy('last_name').execute()
        return rows.map(({ last_name: lastName, visits, total }) => ({
          ...{ lastName, visits: Number(visits), total },
        }))
      },
      close: () => db.destroy(),
    }
  },
}
