/** The clinic in MikroORM, on what Knex has migrated: its unit of work, with relations, a version and a JSON column. */
import { defineEntity, LockMode, MikroORM, OptimisticLockError, p } from '@mikro-orm/postgresql'
import { mikroOrmOptions, mikroOrmTransaction } from '../../adapters/mikro-orm.js'
import { createPool } from '../../adapters/pg.js'
import type { Login } from '../../core/index.js'
import { ANSWERS, answersOf, type Clinic, loadHistory } from '../migrations/clinic/clinic.js'
import { clinicOfKnex } from '../migrations/clinic/knex.js'
import { DIALECTS, useDatabases } from '../migrations/databases/databases.js'
import type { Manager } from './client.js'

const Owner = defineEntity({
  name: 'Owner',
  tableName: 'owners',
  properties: {
    id: p.uuid().primary().defaultRaw('gen_random_uuid()'),
    firstName: p.string(),
    lastName: p.string(),
    city: p.string(),
    phone: p.string(),
    pets: () => p.oneToMany(Pet).mappedBy('owner').orderBy({ name: 'asc' }),
  },
})
const Pet = defineEntity({
  name: 'Pet',
  tableName: 'pets',
  properties: {
    id: p.bigint('string').primary().autoincrement(),
    owner: () => p.manyToOne(Owner),
    name: p.string(),
    kind: p.string(),
    birthDate: p.date(),
    chart: p.json<{ allergies?: string[] }>().onCreate(() => ({})),
    version: p.integer().version(),
    visits: () => p.oneToMany(Visit).mappedBy('pet').orderBy({ visitDate: 'desc' }),
  },
})
const Visit = defineEntity({
  name: 'Visit',
  tableName: 'visits',
  properties: {
    id: p.bigint('string').primary().autoincrement(),
    pet: () => p.manyToOne(Pet),
    visitDate: p.date(),
    description: p.string(),
    cost: p.decimal('string'),
  },
})
const Vet = defineEntity({
  name: 'Vet',
  tableName: 'vets',
  properties: {
    id: p.bigint('string').primary().autoincrement(),
    firstName: p.string(),
    lastName: p.string(),
    specialties: () =>
      p
        .manyToMany(Specialty)
        .pivotTable('vet_specialties')
        .joinColumn('vet_id')
        .inverseJoinColumn('specialty_id')
        .orderBy({ name: 'asc' }),
  },
})
const Specialty = defineEntity({
  name: 'Specialty',
  tableName: 'specialties',
  properties: {
    id: p.integer().primary().autoincrement(),
    name: p.string().unique(),
    description: p.string().nullable(),
  },
})

function openMikroOrm(login: Login): Clinic {
  const entities = [Owner, Pet, Visit, Vet, Specialty]
  // What is missing is for the database to refuse.
  const orm = new MikroORM(mikroOrmOptions(login, { entities, validateRequired: false }))
  const manager = (): Manager => orm.em.fork() as Manager
  const transaction = <T>(work: (em: Manager) => Promise<T>): Promise<T> =>
    mikroOrmTransaction(orm.em as Manager, work)
  return {
    addOwner: (owner, pets) =>
      transaction(async (em) => {
        const added = em.create(Owner, owner)
        for (const pet of pets) em.create(Pet, { ...pet, owner: added })
        await em.flush()
        return added.id
      }),
    ownersNamed: async (prefix, page, size) => {
      const found = await manager().find(
        Owner,
        { lastName: { $like: `${prefix}%` } },
        { orderBy: { lastName: 'asc', firstName: 'asc' }, offset: page * size, limit: size },
      )
      return found.map(({ id, firstName, lastName }) => ({ id, name: `${firstName} ${lastName}` }))
    },
    owner: async (id) => {
      const found = await manager().findOne(Owner, { id }, { populate: ['pets.visits'] })
      if (found === null) return undefined
      const { firstName, lastName, city, phone, pets } = found
      return {
        ...{ firstName, lastName, city, phone },
        pets: pets.getItems().map(({ id, name, kind, birthDate, version, visits }) => ({
          ...{ id, name, kind, birthDate, version },
          visits: visits
            .getItems()
            .map(({ visitDate, description }) => ({ date: visitDate, description })),
        })),
      }
    },
    addVet: (firstName, lastName, names) =>
      transaction(async (em) => {
        const specialties = await em.find(Specialty, { name: { $in: [...names] } })
        em.create(Vet, { firstName, lastName, specialties })
        await em.flush()
      }),
    vets: async () => {
      const options = { populate: ['specialties'], orderBy: { lastName: 'asc' } } as const
      const found = await manager().findAll(Vet, options)
      return found.map(({ firstName, lastName, specialties }) => ({
        name: `${firstName} ${lastName}`,
        specialties: specialties.getItems().map(({ name }) => name),
      }))
    },
    describeSpecialty: async (name, description) => {
      await manager().upsert(Specialty, { name, description }, { onConflictFields: ['name'] })
    },
    specialties: async () => {
      const found = await manager().findAll(Specialty, { orderBy: { name: 'asc' } })
      return found.map(({ name, description }) => ({ name, description: description ?? null }))
    },
    addVisits: async (visits) => {
      await manager().insertMany(
        Visit,
        visits.map(({ petId, date, ...visit }) => ({ ...visit, pet: petId, visitDate: date })),
      )
    },
    visitsBetween: async (first, end) => {
      const found = await manager().find(
        Visit,
        { visitDate: { $gte: first, $lt: end } },
        { populate: ['pet'], orderBy: { visitDate: 'asc', description: 'asc' } },
      )
      return found.map(({ pet, visitDate, description, cost }) => ({
        ...{ pet: pet.name, date: visitDate, description, cost },
      }))
    },
    countVisits: () => manager().count(Visit),
    renamePet: async (id, version, name) => {
      const em = manager()
      const lock = { lockMode: LockMode.OPTIMISTIC, lockVersion: version } as const
      try {
        const pet = await em.findOneOrFail(Pet, { id }, lock)
        pet.name = name
        await em.flush()
        return true
      } catch (error) {
        if (error instanceof OptimisticLockError) return false
        throw error
      }
    },
    noteAllergy: (petId, allergy) =>
      transaction(async (em) => {
        const pet = await em.findOneOrFail(Pet, { id: petId })
        pet.chart = { ...pet.chart, allergies: [...(pet.chart.allergies ?? []), allergy] }
        await em.flush()
      }),
    petsAllergicTo: async (allergy) => {
      const chart = { $contains: { allergies: [allergy] } }
      const found = await manager().find(Pet, { chart } as object, { orderBy: { name: 'asc' } })
      return found.map(({ name }) => name)
    },
    removePet: async (id) => {
      await manager().nativeDelete(Pet, { id })
    },
    costs: () =>
      manager().execute(
        'select last_name as "lastName", visits::int, total from owner_costs order by last_name',
      ),
    close: () => orm.close(true),
  }
}

describe.each(DIALECTS)('the clinic that Knex has migrated on %s', (dialect) => {
  const databases = useDatabases()

  it('gives the answers of the list to MikroORM', async () => {
    const login = databases().login(dialect)
    await clinicOfKnex.migrate(login, 6)
    const pool = createPool(login)
    await loadHistory(pool)
    await pool.end()
    await clinicOfKnex.migrate(login)
    const clinic = openMikroOrm(login)
    try {
      expect(await answersOf(clinic)).toEqual(ANSWERS)
    } finally {
      await clinic.close()
    }
  })
})
