/** The clinic in Sequelize 6: the files of its command line, and models with associations, eager loading and its own version check, also for Sequelize 7. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import * as sequelize7 from '@sequelize/core'
import {
  col,
  DataTypes,
  fn,
  literal,
  type Model,
  type ModelStatic,
  OptimisticLockError,
  Op,
  type QueryInterface,
  QueryTypes,
  Sequelize,
} from 'sequelize'
import { sequelizeOptions, sequelizeTransaction } from '../../../adapters/sequelize.js'
import {
  sequelizeOptions as options7,
  sequelizeTransaction as transaction7,
} from '../../../adapters/sequelize-7.js'
import type { Login } from '../../../core/index.js'
import type { Clinic, ClinicClient, MigratedClinic } from './clinic.js'

/** What a file of sequelize-cli exports. */
interface MigrationFile {
  up(query: QueryInterface, types: typeof DataTypes & typeof Sequelize): Promise<unknown>
  down(query: QueryInterface, types: typeof DataTypes & typeof Sequelize): Promise<unknown>
}

const FILES: Readonly<Record<string, MigrationFile>> = {
  '20240101000001-owners': {
    up: (query, { UUID, STRING, DATE, literal }) =>
      query.createTable('owners', {
        id: { type: UUID, primaryKey: true, defaultValue: literal('gen_random_uuid()') },
        first_name: { type: STRING(30), allowNull: false },
        last_name: { type: STRING(30), allowNull: false },
        address: STRING,
        city: STRING(80),
        telephone: STRING(20),
        created_at: { type: DATE, allowNull: false, defaultValue: literal('now()') },
      }),
    down: (query) => query.dropTable('owners'),
  },
  '20240101000002-pets': {
    up: async (query, { BIGINT, UUID, STRING, DATEONLY }) => {
      await query.createTable('pets', {
        id: { type: BIGINT, primaryKey: true, autoIncrement: true },
        owner_id: {
          ...{ type: UUID, allowNull: false },
          references: { model: 'owners', key: 'id' },
        },
        name: { type: STRING(30), allowNull: false },
        kind: { type: STRING(20), allowNull: false },
        birth_date: DATEONLY,
      })
      await query.addIndex('pets', ['owner_id'])
    },
    down: (query) => query.dropTable('pets'),
  },
  '20240101000003-vets': {
    up: async (query, { BIGINT, INTEGER, STRING }) => {
      await query.createTable('vets', {
        id: { type: BIGINT, primaryKey: true, autoIncrement: true },
        first_name: { type: STRING(30), allowNull: false },
        last_name: { type: STRING(30), allowNull: false },
      })
      await query.createTable('specialties', {
        id: { type: INTEGER, primaryKey: true, autoIncrement: true },
        name: { type: STRING(80), allowNull: false, unique: true },
      })
    },
    down: async (query) => {
      await query.dropTable('specialties')
      await query.dropTable('vets')
    },
  },
  '20240101000004-vet-specialties': {
    up: (query, { BIGINT, INTEGER }) =>
      query.createTable('vet_specialties', {
        vet_id: {
          ...{ type: BIGINT, primaryKey: true, onDelete: 'CASCADE' },
          references: { model: 'vets', key: 'id' },
        },
        specialty_id: {
          ...{ type: INTEGER, primaryKey: true, onDelete: 'CASCADE' },
          references: { model: 'specialties', key: 'id' },
        },
      }),
    down: (query) => query.dropTable('vet_specialties'),
  },
  '20240101000005-visits': {
    up: (query, { BIGINT, DATE, DATEONLY, STRING, literal }) =>
      query.createTable('visits', {
        id: { type: BIGINT, primaryKey: true, autoIncrement: true },
        pet_id: {
          ...{ type: BIGINT, allowNull: false, onDelete: 'CASCADE' },
          references: { model: 'pets', key: 'id' },
        },
        visit_date: { type: DATEONLY, allowNull: false },
        description: STRING,
        created_at: { type: DATE, allowNull: false, defaultValue: literal('now()') },
      }),
    down: (query) => query.dropTable('visits'),
  },
  '20240101000006-owners-by-name': {
    up: (query) => query.addIndex('owners', ['last_name', 'first_name'], { name: 'owners_name' }),
    down: (query) => query.removeIndex('owners', 'owners_name'),
  },
  '20240101000007-costs-and-versions': {
    up: async (query, { DECIMAL, INTEGER }) => {
      const cost = { type: DECIMAL(8, 2), allowNull: false, defaultValue: 25 }
      await query.addColumn('visits', 'cost', cost)
      const version = { type: INTEGER, allowNull: false, defaultValue: 1 }
      await query.addColumn('pets', 'version', version)
    },
    down: async (query) => {
      await query.removeColumn('pets', 'version')
      await query.removeColumn('visits', 'cost')
    },
  },
  '20240101000008-visits-by-date': {
    up: async (query) => {
      const fields = ['visit_date', { name: 'pet_id', order: 'ASC' as const }]
      await query.addIndex('visits', { fields, name: 'visits_date', using: 'BTREE' })
      const own = { name: 'pets_owner_name', type: 'unique' as const }
      await query.addConstraint('pets', { ...own, fields: ['owner_id', 'name'] })
    },
    down: async (query) => {
      await query.removeConstraint('pets', 'pets_owner_name')
      await query.removeIndex('visits', 'visits_date')
    },
  },
  '20240101000009-checks': {
    up: async (query) => {
      const where = { cost: { [Op.gte]: 0 } }
      const check = { name: 'visits_cost', type: 'check' as const, fields: ['cost'] }
      await query.addConstraint('visits', { ...check, where })
      // Not changeColumn(), which also sends the type.
      await query.sequelize.query('ALTER TABLE owners ALTER COLUMN city SET NOT NULL')
    },
    down: async (query) => {
      await query.sequelize.query('ALTER TABLE owners ALTER COLUMN city DROP NOT NULL')
      await query.removeConstraint('visits', 'visits_cost')
    },
  },
  '20240101000010-phones': {
    up: async (query) => {
      await query.renameColumn('owners', 'telephone', 'phone')
      await query.bulkUpdate('owners', { phone: fn('replace', col('phone'), '-', '') }, {})
    },
    down: (query) => query.renameColumn('owners', 'phone', 'telephone'),
  },
  '20240101000011-charts': {
    up: async (query, { JSONB, STRING }) => {
      const chart = { type: JSONB, allowNull: false, defaultValue: {} }
      await query.addColumn('pets', 'chart', chart)
      await query.removeColumn('owners', 'address')
      await query.addColumn('specialties', 'description', { type: STRING })
    },
    down: async (query, { STRING }) => {
      await query.removeColumn('specialties', 'description')
      await query.addColumn('owners', 'address', { type: STRING })
      await query.removeColumn('pets', 'chart')
    },
  },
  '20240101000012-costs-of-owners': {
    up: (query) =>
      query.sequelize.query(`
        CREATE VIEW owner_costs AS
        SELECT o.last_name, count(*) AS visits, sum(v.cost) AS total
        FROM owners o JOIN pets p ON p.owner_id = o.id JOIN visits v ON v.pet_id = p.id
        GROUP BY o.id, o.last_name`),
    down: (query) => query.sequelize.query('DROP VIEW owner_costs'),
  },
}

/** Umzug 2, with which sequelize-cli runs the files. It has no types. */
interface Umzug {
  up(options: { to?: string }): Promise<unknown[]>
  down(): Promise<unknown[]>
}
type UmzugClass = {
  new (options: object): Umzug
  migrationsList(
    files: readonly (MigrationFile & { name: string })[],
    parameters: readonly [QueryInterface, typeof Sequelize],
  ): unknown
}

async function withUmzug<T>(login: Login, use: (umzug: Umzug) => Promise<T>): Promise<T> {
  const Umzug = createRequire(join(process.cwd(), 'test/tools/package.json'))('umzug') as UmzugClass
  const sequelize = new Sequelize(
    sequelizeOptions(login, { logging: false, dsqlMigrations: login.provider === 'aurora-dsql' }),
  )
  try {
    const files = Object.entries(FILES).map(([name, file]) => ({ name, ...file }))
    return await use(
      new Umzug({
        migrations: Umzug.migrationsList(files, [sequelize.getQueryInterface(), Sequelize]),
        ...{ storage: 'sequelize', storageOptions: { sequelize } },
      }),
    )
  } finally {
    await sequelize.close()
  }
}

export const clinicOfSequelize: MigratedClinic = {
  name: 'Sequelize',
  migrate: (login, last) =>
    withUmzug(login, async (umzug) => {
      const to = last === undefined ? {} : { to: Object.keys(FILES)[last - 1]! }
      return (await umzug.up(to)).length
    }),
  undo: (login, steps) =>
    withUmzug(login, async (umzug) => {
      for (let step = 0; step < steps; step++) await umzug.down()
    }),
  open: (login) =>
    openSequelize(
      new Sequelize(sequelizeOptions(login, { logging: false })),
      { DataTypes, literal, Op, OptimisticLockError },
      sequelizeTransaction,
    ),
}

export const clinicOfSequelize7: ClinicClient = {
  name: 'Sequelize 7',
  open: (login) =>
    openSequelize(
      new sequelize7.Sequelize(options7(login, { logging: false })) as unknown as Sequelize,
      sequelize7 as unknown as Exports,
      transaction7 as unknown as typeof sequelizeTransaction,
    ),
}

interface Visits {
  id: string
  petId: string
  visitDate: string
  description: string
  cost: string
  pet?: Pets
}
interface Pets {
  id: string
  ownerId: string
  name: string
  kind: string
  birthDate: string
  chart: { allergies?: string[] }
  version: number
  visits?: Visits[]
}
interface Owners {
  id: string
  firstName: string
  lastName: string
  city: string
  phone: string
  pets?: Pets[]
}
interface Vets {
  id: string
  firstName: string
  lastName: string
  specialties?: Specialties[]
}
interface Specialties {
  id: number
  name: string
  description: string | null
}

type Rows<T extends object> = ModelStatic<Model<T, Partial<T>> & T>

/** What models and queries need of a version of Sequelize. */
interface Exports {
  readonly DataTypes: typeof DataTypes
  readonly literal: typeof literal
  readonly Op: typeof Op
  readonly OptimisticLockError: typeof OptimisticLockError
}

/** The same models for Sequelize 6 and 7, with the types of 6. */
function openSequelize(
  sequelize: Sequelize,
  { DataTypes, literal, Op, OptimisticLockError }: Exports,
  inTransaction: typeof sequelizeTransaction,
): Clinic {
  const { BIGINT, DATEONLY, DECIMAL, INTEGER, JSONB, STRING, UUID } = DataTypes
  const options = { underscored: true, timestamps: false }
  const generated = { type: BIGINT, primaryKey: true, autoIncrement: true }
  const owners: Rows<Owners> = sequelize.define(
    'owners',
    {
      id: { type: UUID, primaryKey: true, defaultValue: literal('gen_random_uuid()') },
      ...{ firstName: STRING, lastName: STRING, city: STRING, phone: STRING },
    },
    options,
  )
  const pets: Rows<Pets> = sequelize.define(
    'pets',
    { id: generated, name: STRING, kind: STRING, birthDate: DATEONLY, chart: JSONB },
    { ...options, version: true },
  )
  const visits: Rows<Visits> = sequelize.define(
    'visits',
    { id: generated, visitDate: DATEONLY, description: STRING, cost: DECIMAL(8, 2) },
    options,
  )
  const vets: Rows<Vets> = sequelize.define(
    'vets',
    { id: generated, firstName: STRING, lastName: STRING },
    options,
  )
  const specialties: Rows<Specialties> = sequelize.define(
    'specialties',
    {
      id: { type: INTEGER, primaryKey: true, autoIncrement: true },
      name: { type: STRING, unique: true },
      description: STRING,
    },
    options,
  )
  owners.hasMany(pets, { as: 'pets', foreignKey: 'ownerId' })
  pets.hasMany(visits, { as: 'visits', foreignKey: 'petId' })
  visits.belongsTo(pets, { as: 'pet', foreignKey: 'petId' })
  const through = sequelize.define('vet_specialties', {}, options)
  vets.belongsToMany(specialties, {
    ...{ as: 'specialties', through, foreignKey: 'vetId', otherKey: 'specialtyId' },
  })

  return {
    addOwner: (owner, own) =>
      inTransaction(sequelize, async (transaction) => {
        const include = [{ model: pets, as: 'pets' }]
        const given = { ...owner, pets: own.map((pet) => ({ ...pet, chart: {}, version: 1 })) }
        const { id } = await owners.create(given as Partial<Owners>, { include, transaction })
        return id
      }),
    ownersNamed: async (prefix, page, size) => {
      const found = await owners.findAll({
        where: { lastName: { [Op.startsWith]: prefix } },
        order: ['lastName', 'firstName'],
        ...{ limit: size, offset: page * size },
      })
      return found.map(({ id, firstName, lastName }) => ({ id, name: `${firstName} ${lastName}` }))
    },
    owner: async (id) => {
      const found = await owners.findByPk(id, {
        include: [
          { model: pets, as: 'pets', include: [{ model: visits, as: 'visits', required: false }] },
        ],
        order: [
          ['pets', 'name', 'ASC'],
          ['pets', 'visits', 'visitDate', 'DESC'],
        ],
      })
      if (found === null) return undefined
      const { firstName, lastName, city, phone } = found
      return {
        ...{ firstName, lastName, city, phone },
        pets: found.pets!.map(({ id, name, kind, birthDate, version, visits: own }) => ({
          ...{ id, name, kind, birthDate, version },
          visits: own!.map(({ visitDate, description }) => ({ date: visitDate, description })),
        })),
      }
    },
    addVet: (firstName, lastName, names) =>
      inTransaction(sequelize, async (transaction) => {
        const vet = await vets.create({ firstName, lastName }, { transaction })
        const found = await specialties.findAll({ where: { name: [...names] }, transaction })
        const added = found.map(({ id }) => ({ vetId: vet.id, specialtyId: id }))
        await through.bulkCreate(added, { transaction })
      }),
    vets: async () => {
      const found = await vets.findAll({
        include: [{ model: specialties, as: 'specialties' }],
        order: ['lastName', ['specialties', 'name', 'ASC']],
      })
      return found.map(({ firstName, lastName, specialties: own }) => ({
        name: `${firstName} ${lastName}`,
        specialties: own!.map(({ name }) => name),
      }))
    },
    describeSpecialty: async (name, description) => {
      await specialties.upsert({ name, description }, { conflictFields: ['name'] })
    },
    specialties: async () =>
      (await specialties.findAll({ order: ['name'] })).map(({ name, description }) => ({
        ...{ name, description },
      })),
    addVisits: async (rows) => {
      await visits.bulkCreate(rows.map(({ date, ...visit }) => ({ ...visit, visitDate: date })))
    },
    visitsBetween: async (first, end) => {
      const found = await visits.findAll({
        where: { visitDate: { [Op.gte]: first, [Op.lt]: end } },
        include: [{ model: pets, as: 'pet' }],
        order: ['visitDate', 'description'],
      })
      return found.map(({ pet, visitDate, description, cost }) => ({
        ...{ pet: pet!.name, date: visitDate, description, cost },
      }))
    },
    countVisits: () => visits.count(),
    renamePet: async (id, version, name) => {
      const pet = pets.build({ id, version }, { isNewRecord: false, raw: true })
      pet.set({ name })
      try {
        await pet.save({ fields: ['name'] })
        return true
      } catch (error) {
        if (error instanceof OptimisticLockError) return false
        throw error
      }
    },
    noteAllergy: (petId, allergy) =>
      inTransaction(sequelize, async (transaction) => {
        const pet = (await pets.findByPk(petId, { transaction }))!
        const allergies = [...(pet.chart.allergies ?? []), allergy]
        await pet.update({ chart: { ...pet.chart, allergies } }, { transaction })
      }),
    petsAllergicTo: async (allergy) => {
      const found = await pets.findAll({
        where: literal(`chart @> ${sequelize.escape(JSON.stringify({ allergies: [allergy] }))}`),
        order: ['name'],
      })
      return found.map(({ name }) => name)
    },
    removePet: async (id) => {
      await pets.destroy({ where: { id } })
    },
    costs: async () => {
      const rows = await sequelize.query<{ last_name: string; visits: string; total: string }>(
        'SELECT last_name, visits, total FROM owner_costs ORDER BY last_name',
        { type: QueryTypes.SELECT },
      )
      return rows.map((row) => ({
        ...{ lastName: row.last_name, visits: Number(row.visits), total: row.total },
      }))
    },
    close: () => sequelize.close(),
  }
}
