/**
 * A veterinary clinic: owners with pets, vets with specialties, and visits. What an application does with it, and the one list of answers
 * that each client has to give on each database. Its schema grew in twelve migrations, the same in each ORM:
 *
 * 1. owners, with a UUID as key
 * 2. pets, with a `bigserial`, a foreign key and an index
 * 3. vets and specialties, with a `serial` and a unique name
 * 4. the join table of both
 * 5. visits, deleted with their pet
 * 6. an index on the last name
 * 7. visits get a cost, pets a version: NOT NULL with a default, for more rows than a transaction of Aurora DSQL may change
 * 8. an index on a table with many rows, and a unique one of two columns
 * 9. a check, and a column that becomes NOT NULL
 * 10. a column is renamed, and its data are converted
 * 11. pets get a chart in JSON, owners lose their address, specialties get a description
 * 12. a view of what each owner has paid
 */
import type { Pool } from 'pg'
import type { Login } from '../../../core/index.js'
import { sqlStateOf } from '../../../core/transactions/is-occ-conflict.js'

/** An ORM that has the migrations, each in its own way. */
export interface MigratedClinic extends ClinicClient {
  /** Runs what has not run, up to that number. Resolves with how many ran. */
  migrate(login: Login, last?: number): Promise<number>
  /** Undoes the last so many, one by one, if the ORM can. */
  readonly undo?: (login: Login, steps: number) => Promise<void>
}

/** A client with the statements of the application. */
export interface ClinicClient {
  readonly name: string
  open(login: Login): Promise<Clinic> | Clinic
}

export interface Pet {
  readonly name: string
  readonly kind: string
  readonly birthDate: string
}

export interface Visit {
  readonly petId: string
  readonly date: string
  readonly description: string
  /** In dollars, with two digits. */
  readonly cost: string
}

export interface Owner {
  readonly firstName: string
  readonly lastName: string
  readonly city: string
  readonly phone: string
}

export interface OwnerWithPets extends Owner {
  /** By name. */
  readonly pets: readonly (Pet & {
    readonly id: string
    readonly version: number
    /** By date, the last first. */
    readonly visits: readonly { readonly date: string; readonly description: string }[]
  })[]
}

export interface Vet {
  readonly name: string
  /** By name. */
  readonly specialties: readonly string[]
}

/** The application. Keys are what the database generated, as texts. */
export interface Clinic {
  /** An owner and the pets, in one transaction. */
  addOwner(owner: Owner, pets: readonly Pet[]): Promise<string>
  /** Those whose last name begins with a text, by last and first name; the first page is 0. */
  ownersNamed(prefix: string, page: number, size: number): Promise<{ id: string; name: string }[]>
  /** With all pets and visits, loaded eagerly. */
  owner(id: string): Promise<OwnerWithPets | undefined>
  addVet(firstName: string, lastName: string, specialties: readonly string[]): Promise<void>
  /** By last name, with specialties through the join table. */
  vets(): Promise<Vet[]>
  /** Adds a specialty, or changes the description of the one with that name. */
  describeSpecialty(name: string, description: string): Promise<void>
  specialties(): Promise<{ name: string; description: string | null }[]>
  /** In one statement. */
  addVisits(visits: readonly Visit[]): Promise<void>
  /** From the first day until before the last one, by date and description, with the name of the pet. */
  visitsBetween(first: string, end: string): Promise<(Omit<Visit, 'petId'> & { pet: string })[]>
  countVisits(): Promise<number>
  /** Whether the pet still had the version. */
  renamePet(id: string, version: number, name: string): Promise<boolean>
  /** What the chart has beside it stays. */
  noteAllergy(petId: string, allergy: string): Promise<void>
  petsAllergicTo(allergy: string): Promise<string[]>
  /** With the visits. */
  removePet(id: string): Promise<void>
  /** Of those who have paid something, from the view. */
  costs(): Promise<{ lastName: string; visits: number; total: string }[]>
  close(): Promise<void>
}

/** The columns after the last migration. A key is what the database generates: an identity, or a serial. */
export const COLUMNS = `
  owner_costs.last_name character varying(30)
  owner_costs.total numeric
  owner_costs.visits bigint
  owners.city character varying(80) not null
  owners.created_at timestamp with time zone now() not null
  owners.first_name character varying(30) not null
  owners.id uuid gen_random_uuid() not null
  owners.last_name character varying(30) not null
  owners.phone character varying(20)
  pets.birth_date date
  pets.chart jsonb '{}'::jsonb not null
  pets.id key
  pets.kind character varying(20) not null
  pets.name character varying(30) not null
  pets.owner_id uuid not null
  pets.version integer 1 not null
  specialties.description character varying(255)
  specialties.id key
  specialties.name character varying(80) not null
  vet_specialties.specialty_id integer not null
  vet_specialties.vet_id bigint not null
  vets.first_name character varying(30) not null
  vets.id key
  vets.last_name character varying(30) not null
  visits.cost numeric(8,2) 25 not null
  visits.created_at timestamp with time zone now() not null
  visits.description character varying(255)
  visits.id key
  visits.pet_id bigint not null
  visits.visit_date date not null`
  .trim()
  .split(/\n */)

/** After the sixth migration: what the clinic had when it had no version, no costs and telephone numbers with dashes. */
export const HISTORY = [
  `INSERT INTO owners (first_name, last_name, address, city, telephone) VALUES
    ('George', 'Franklin', '110 W. Liberty St.', 'Madison', '608-555-1023'), ('Betty', 'Davis', '638 Cardinal Ave.', 'Sun Prairie', '608-555-1749'),
    ('Harold', 'Davis', '563 Friendly St.', 'Windsor', '608-555-3198'), ('Peter', 'McTavish', '2387 S. Fair Way', 'Madison', '608-555-2765')`,
  `INSERT INTO pets (owner_id, name, kind, birth_date) SELECT id, 'Leo', 'cat', '2019-09-07' FROM owners WHERE last_name = 'Franklin'`,
  `INSERT INTO pets (owner_id, name, kind, birth_date) SELECT id, 'Basil', 'hamster', '2021-08-06' FROM owners WHERE first_name = 'Betty'`,
  `INSERT INTO vets (first_name, last_name) VALUES ('James', 'Carter'), ('Helen', 'Leary')`,
  `INSERT INTO specialties (name) VALUES ('radiology')`,
  `INSERT INTO vet_specialties (vet_id, specialty_id) SELECT v.id, s.id FROM vets v, specialties s WHERE v.last_name = 'Leary'`,
  // More than a transaction of Aurora DSQL may change.
  ...[1, 2].map(
    (year) => `INSERT INTO visits (pet_id, visit_date, description)
    SELECT id, date '202${year}-01-01' + n % 365, 'check ' || n FROM pets, generate_series(1, 1600) n WHERE name = 'Leo'`,
  ),
] as const

export async function loadHistory(pool: Pool): Promise<void> {
  for (const sql of HISTORY) await pool.query(sql)
}

/** What the application asks, and the answers. */
export const ANSWERS = {
  'the owners whose name begins with Dav': ['Betty Davis', 'Harold Davis'],
  'the second page of all owners': ['George Franklin', 'Peter McTavish'],
  'an owner with pets and visits': {
    ...{ firstName: 'Jean', lastName: 'Coleman', city: 'Monona', phone: '6085552654' },
    pets: [
      { name: 'Max', kind: 'cat', birthDate: '2022-09-04', version: 1, visits: [] },
      {
        ...{ name: 'Samantha', kind: 'dog', birthDate: '2021-03-09', version: 1 },
        visits: [
          { date: '2025-02-02', description: 'rabies shot' },
          { date: '2025-01-01', description: 'neutered' },
        ],
      },
    ],
  },
  'an owner who is unknown': undefined,
  'the vets with their specialties': [
    { name: 'James Carter', specialties: [] },
    { name: 'Linda Douglas', specialties: ['dentistry', 'surgery'] },
    { name: 'Helen Leary', specialties: ['radiology'] },
  ],
  'the specialties after one was described, and one was added': [
    { name: 'dentistry', description: 'teeth of all animals' },
    { name: 'radiology', description: null },
    { name: 'surgery', description: 'for pets' },
  ],
  'the visits of two months': [
    { pet: 'Samantha', date: '2025-01-01', description: 'neutered', cost: '120.00' },
    { pet: 'Samantha', date: '2025-02-02', description: 'rabies shot', cost: '0.00' },
  ],
  'the number of visits after 3,100 were loaded in chunks': 6_302,
  'whether the same version can be renamed twice': [true, false],
  'the version and the name after that': { name: 'Sam', version: 2 },
  'the pets that are allergic to something': ['Max', 'Sam'],
  'the pets that are allergic to nothing': [],
  'what owners have paid': [
    { lastName: 'Coleman', visits: 2, total: '120.00' },
    { lastName: 'Franklin', visits: 6_300, total: '162150.00' },
  ],
  'the visits after a pet was removed': 6_300,
  'what happens with a pet that its owner has already, and with the owner': ['23505', []],
  'what happens with a cost below zero': '23514',
  'what happens with a visit of no pet': '23503',
  // Without the SQLSTATE: in place of NOT NULL, Aurora DSQL gets a check.
  'whether an owner without a city is refused': true,
} as const

/** Asks everything, in an order in which later answers depend on earlier questions. */
export async function answersOf(clinic: Clinic): Promise<Record<keyof typeof ANSWERS, unknown>> {
  const coleman = { firstName: 'Jean', lastName: 'Coleman', city: 'Monona', phone: '6085552654' }
  const max = { name: 'Max', kind: 'cat', birthDate: '2022-09-04' }
  const samantha = { name: 'Samantha', kind: 'dog', birthDate: '2021-03-09' }
  const namesOf = async (prefix: string, page: number, size: number): Promise<string[]> =>
    (await clinic.ownersNamed(prefix, page, size)).map(({ name }) => name)
  const petOf = async (owner: string, name: string): Promise<OwnerWithPets['pets'][number]> =>
    (await clinic.owner(owner))!.pets.find((pet) => pet.name === name)!

  const byPrefix = await namesOf('Dav', 0, 10)
  const secondPage = await namesOf('', 1, 2)

  const id = await clinic.addOwner(coleman, [samantha, max])
  const cat = await petOf(id, 'Max')
  const dog = await petOf(id, 'Samantha')
  await clinic.addVisits([
    { petId: dog.id, date: '2025-01-01', description: 'neutered', cost: '120.00' },
    { petId: dog.id, date: '2025-02-02', description: 'rabies shot', cost: '0.00' },
  ])
  const owner = await clinic.owner(id)
  const unknown = await clinic.owner('00000000-0000-4000-8000-000000000000')

  await clinic.describeSpecialty('surgery', 'for pets')
  await clinic.describeSpecialty('dentistry', 'teeth')
  await clinic.describeSpecialty('dentistry', 'teeth of all animals')
  await clinic.addVet('Linda', 'Douglas', ['surgery', 'dentistry'])
  const vets = await clinic.vets()
  const specialties = await clinic.specialties()
  const visits = await clinic.visitsBetween('2025-01-01', '2025-03-01')

  const [franklin] = await clinic.ownersNamed('Franklin', 0, 1)
  const leo = await petOf(franklin!.id, 'Leo')
  const boarding = { petId: leo.id, date: '2024-02-29', description: 'boarding', cost: '26.50' }
  for (const size of [1_000, 1_000, 1_000, 100])
    await clinic.addVisits(Array.from({ length: size }, () => boarding))
  const count = await clinic.countVisits()

  const renamed = [
    await clinic.renamePet(dog.id, dog.version, 'Sam'),
    await clinic.renamePet(dog.id, dog.version, 'Sammy'),
  ]
  const { name, version } = await petOf(id, 'Sam')
  await clinic.noteAllergy(dog.id, 'penicillin')
  await clinic.noteAllergy(cat.id, 'penicillin')
  await clinic.noteAllergy(cat.id, 'fish')
  const allergic = await clinic.petsAllergicTo('penicillin')
  const notAllergic = await clinic.petsAllergicTo('cheese')
  const costs = await clinic.costs()
  await clinic.removePet(dog.id)
  const left = await clinic.countVisits()

  const twins = await stateOf(clinic.addOwner({ ...coleman, lastName: 'Twin' }, [max, max]))
  const homeless = { ...coleman, city: null as unknown as string }
  return {
    'the owners whose name begins with Dav': byPrefix,
    'the second page of all owners': secondPage,
    'an owner with pets and visits': owner && withoutIds(owner),
    'an owner who is unknown': unknown,
    'the vets with their specialties': vets,
    'the specialties after one was described, and one was added': specialties,
    'the visits of two months': visits,
    'the number of visits after 3,100 were loaded in chunks': count,
    'whether the same version can be renamed twice': renamed,
    'the version and the name after that': { name, version },
    'the pets that are allergic to something': allergic,
    'the pets that are allergic to nothing': notAllergic,
    'what owners have paid': costs,
    'the visits after a pet was removed': left,
    'what happens with a pet that its owner has already, and with the owner': [
      twins,
      await namesOf('Twin', 0, 10),
    ],
    'what happens with a cost below zero': await stateOf(
      clinic.addVisits([{ ...boarding, cost: '-1.00' }]),
    ),
    'what happens with a visit of no pet': await stateOf(
      clinic.addVisits([{ ...boarding, petId: dog.id }]),
    ),
    'whether an owner without a city is refused':
      (await stateOf(clinic.addOwner(homeless, []))) !== undefined,
  }
}

function withoutIds({ pets, ...owner }: OwnerWithPets): object {
  return { ...owner, pets: pets.map(({ id: _id, ...pet }) => pet) }
}

/** The SQLSTATE with which it fails, whatever the client wraps it in. */
async function stateOf(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(() => undefined, sqlStateOf)
}
