/**
 * The clinic in SQL, for clients that take a text and its parameters: pg, Postgres.js, and the raw queries of Prisma, whose generated client
 * in the examples does not know these tables.
 */
import { createPool, pgTransaction } from '../../../adapters/pg.js'
import { createSql, sqlTransaction } from '../../../adapters/postgres-js.js'
import { prismaAdapter, prismaTransaction } from '../../../adapters/prisma.js'
import { PrismaClient } from '../../../examples/prisma/client/client.js'
import type { Clinic, ClinicClient, OwnerWithPets, Vet, Visit } from './clinic.js'

/** Resolves with the rows. */
type Query = <Row extends object>(
  text: string,
  parameters?: readonly (string | number)[],
) => Promise<Row[]>

interface SqlClient {
  readonly query: Query
  transaction<T>(work: (query: Query) => Promise<T>): Promise<T>
  close(): Promise<void>
}

export const clinicOfPg: ClinicClient = {
  name: 'pg',
  open: (login) => {
    const pool = createPool(login)
    const on =
      (target: Pick<typeof pool, 'query'>): Query =>
      async <Row extends object>(text: string, parameters: readonly unknown[] = []) =>
        (await target.query<Row>(text, [...parameters])).rows
    return openSql({
      query: on(pool),
      transaction: (work) => pgTransaction(pool, (lent) => work(on(lent))),
      close: () => pool.end(),
    })
  },
}

export const clinicOfPostgresJs: ClinicClient = {
  name: 'Postgres.js',
  open: (login) => {
    const sql = createSql(login)
    const on =
      (target: Pick<typeof sql, 'unsafe'>): Query =>
      async <Row extends object>(text: string, parameters: readonly (string | number)[] = []) => [
        ...(await target.unsafe<Row[]>(text, [...parameters])),
      ]
    return openSql({
      query: on(sql),
      transaction: <T>(work: (query: Query) => Promise<T>): Promise<T> =>
        sqlTransaction<T>(sql, (transaction) => work(on(transaction))),
      close: () => sql.end(),
    })
  },
}

export const clinicOfPrisma: ClinicClient = {
  name: 'Prisma',
  open: (login) => {
    const prisma = new PrismaClient({ adapter: prismaAdapter(login) })
    const on =
      (target: Pick<typeof prisma, '$queryRawUnsafe'>): Query =>
      async <Row extends object>(text: string, parameters: readonly unknown[] = []) =>
        target.$queryRawUnsafe<Row[]>(text, ...parameters)
    return openSql({
      query: on(prisma),
      transaction: (work) => prismaTransaction(prisma, (transaction) => work(on(transaction))),
      close: () => prisma.$disconnect(),
    })
  },
}

function openSql({ query, transaction, close }: SqlClient): Clinic {
  return {
    addOwner: (owner, pets) =>
      transaction(async (own) => {
        const { firstName, lastName, city, phone } = owner
        const [added] = await own<{ id: string }>(
          'INSERT INTO owners (first_name, last_name, city, phone) VALUES ($1, $2, $3, $4) RETURNING id',
          [firstName, lastName, city, phone],
        )
        const { id } = added!
        for (const { name, kind, birthDate } of pets)
          await own(
            'INSERT INTO pets (owner_id, name, kind, birth_date) VALUES ($1::text::uuid, $2, $3, $4::text::date)',
            [id, name, kind, birthDate],
          )
        return id
      }),
    ownersNamed: (prefix, page, size) =>
      query(
        `SELECT id, first_name || ' ' || last_name AS name FROM owners WHERE last_name LIKE $1
         ORDER BY last_name, first_name OFFSET $2 LIMIT $3`,
        [`${prefix}%`, page * size, size],
      ),
    owner: async (id) => {
      const [row] = await query<{ found: OwnerWithPets }>(
        `SELECT json_build_object('firstName', first_name, 'lastName', last_name, 'city', city, 'phone', phone, 'pets',
           (SELECT coalesce(json_agg(json_build_object('id', p.id::text, 'name', p.name, 'kind', p.kind, 'birthDate', p.birth_date,
             'version', p.version, 'visits',
             (SELECT coalesce(json_agg(json_build_object('date', v.visit_date, 'description', v.description) ORDER BY v.visit_date DESC), '[]')
              FROM visits v WHERE v.pet_id = p.id)) ORDER BY p.name), '[]') FROM pets p WHERE p.owner_id = o.id)) AS found
         FROM owners o WHERE o.id = $1::text::uuid`,
        [id],
      )
      return row?.found
    },
    addVet: (firstName, lastName, specialties) =>
      transaction(async (own) => {
        const [added] = await own<{ id: string }>(
          'INSERT INTO vets (first_name, last_name) VALUES ($1, $2) RETURNING id::text',
          [firstName, lastName],
        )
        for (const name of specialties)
          await own(
            'INSERT INTO vet_specialties (vet_id, specialty_id) SELECT $1::text::bigint, id FROM specialties WHERE name = $2',
            [added!.id, name],
          )
      }),
    vets: () =>
      query<Vet>(
        `SELECT v.first_name || ' ' || v.last_name AS name,
           coalesce(json_agg(s.name ORDER BY s.name) FILTER (WHERE s.id IS NOT NULL), '[]') AS specialties
         FROM vets v LEFT JOIN vet_specialties vs ON vs.vet_id = v.id LEFT JOIN specialties s ON s.id = vs.specialty_id
         GROUP BY v.id ORDER BY v.last_name`,
      ),
    describeSpecialty: async (name, description) => {
      await query(
        `INSERT INTO specialties (name, description) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET description = excluded.description`,
        [name, description],
      )
    },
    specialties: () => query('SELECT name, description FROM specialties ORDER BY name'),
    addVisits: async (visits) => {
      await query(
        `INSERT INTO visits (pet_id, visit_date, description, cost)
         SELECT "petId"::bigint, date, description, cost FROM json_to_recordset($1::text::json)
         AS given("petId" text, date date, description text, cost numeric)`,
        [JSON.stringify(visits)],
      )
    },
    visitsBetween: (first, end) =>
      query<Omit<Visit, 'petId'> & { pet: string }>(
        `SELECT p.name AS pet, v.visit_date::text AS date, v.description, v.cost::text FROM visits v JOIN pets p ON p.id = v.pet_id
         WHERE v.visit_date >= $1::text::date AND v.visit_date < $2::text::date ORDER BY v.visit_date, v.description`,
        [first, end],
      ),
    countVisits: async () => {
      const [row] = await query<{ count: number }>('SELECT count(*)::int AS count FROM visits')
      return row!.count
    },
    renamePet: async (id, version, name) => {
      const changed = await query(
        'UPDATE pets SET name = $3, version = version + 1 WHERE id = $1::text::bigint AND version = $2 RETURNING version',
        [id, version, name],
      )
      return changed.length === 1
    },
    noteAllergy: async (petId, allergy) => {
      await query(
        `UPDATE pets SET chart = jsonb_set(chart, '{allergies}', coalesce(chart->'allergies', '[]') || to_jsonb($2::text))
         WHERE id = $1::text::bigint`,
        [petId, allergy],
      )
    },
    petsAllergicTo: async (allergy) => {
      const rows = await query<{ name: string }>(
        `SELECT name FROM pets WHERE chart->'allergies' ? $1 ORDER BY name`,
        [allergy],
      )
      return rows.map(({ name }) => name)
    },
    removePet: async (id) => {
      await query('DELETE FROM pets WHERE id = $1::text::bigint', [id])
    },
    costs: () =>
      query(
        'SELECT last_name AS "lastName", visits::int, total::text FROM owner_costs ORDER BY last_name',
      ),
    close,
  }
}
