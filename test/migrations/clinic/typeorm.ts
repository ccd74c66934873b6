/** The clinic in TypeORM: migrations with its table API, and entities with relations, a version and a JSON column. */
import {
  DataSource,
  EntitySchema,
  In,
  JsonContains,
  LessThan,
  Like,
  type MigrationInterface,
  MoreThanOrEqual,
  And,
  type QueryRunner,
  Table,
  TableCheck,
  TableColumn,
  TableIndex,
  TableUnique,
} from 'typeorm'
import {
  typeormOptions,
  type TypeormPostgresOptions,
  typeormTransaction,
} from '../../../adapters/typeorm.js'
import type { Login } from '../../../core/index.js'
import type { Clinic, MigratedClinic } from './clinic.js'

const id = (type: 'bigint' | 'int') => ({
  ...{ name: 'id', type, isPrimary: true, isGenerated: true },
  generationStrategy: 'increment' as const,
})
/** Not `varchar`: TypeORM finds the long name in the database, and `changeColumn()` would replace the column. */
const varchar = (name: string, length: number, isNullable = false) => ({
  ...{ name, type: 'character varying', length: String(length), isNullable },
})
const CREATED = { name: 'created_at', type: 'timestamptz', default: 'now()' }

class Owners1704067200001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const key = { name: 'id', type: 'uuid', isPrimary: true, default: 'gen_random_uuid()' }
    await runner.createTable(
      new Table({
        name: 'owners',
        columns: [
          ...[key, varchar('first_name', 30), varchar('last_name', 30)],
          ...[varchar('address', 255, true), varchar('city', 80, true)],
          ...[varchar('telephone', 20, true), CREATED],
        ],
      }),
    )
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('owners')
  }
}

class Pets1704067200002 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'pets',
        columns: [
          ...[id('bigint'), { name: 'owner_id', type: 'uuid' }],
          ...[varchar('name', 30), varchar('kind', 20)],
          { name: 'birth_date', type: 'date', isNullable: true },
        ],
        foreignKeys: [
          {
            columnNames: ['owner_id'],
            referencedTableName: 'owners',
            referencedColumnNames: ['id'],
          },
        ],
        indices: [{ columnNames: ['owner_id'] }],
      }),
    )
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('pets')
  }
}

class Vets1704067200003 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const columns = [id('bigint'), varchar('first_name', 30), varchar('last_name', 30)]
    await runner.createTable(new Table({ name: 'vets', columns }))
    const name = { ...varchar('name', 80), isUnique: true }
    await runner.createTable(new Table({ name: 'specialties', columns: [id('int'), name] }))
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('specialties')
    await runner.dropTable('vets')
  }
}

class VetSpecialties1704067200004 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const reference = (column: string, table: string) => ({
      ...{ columnNames: [column], referencedTableName: table, referencedColumnNames: ['id'] },
      onDelete: 'CASCADE',
    })
    await runner.createTable(
      new Table({
        name: 'vet_specialties',
        columns: [
          { name: 'vet_id', type: 'bigint', isPrimary: true },
          { name: 'specialty_id', type: 'int', isPrimary: true },
        ],
        foreignKeys: [reference('vet_id', 'vets'), reference('specialty_id', 'specialties')],
      }),
    )
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('vet_specialties')
  }
}

class Visits1704067200005 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE "visits" ("id" BIGSERIAL NOT NULL, "pet_id" bigint NOT NULL,
      "visit_date" date NOT NULL, "description" character varying(255),
      "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "PK_visits" PRIMARY KEY ("id"))`)
    await runner.query(`ALTER TABLE "visits" ADD CONSTRAINT "FK_visits_pet" FOREIGN KEY ("pet_id")
      REFERENCES "pets"("id") ON DELETE CASCADE ON UPDATE NO ACTION`)
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE "visits"')
  }
}

class OwnersByName1704067200006 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const columnNames = ['last_name', 'first_name']
    await runner.createIndex('owners', new TableIndex({ name: 'owners_name', columnNames }))
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.dropIndex('owners', 'owners_name')
  }
}

class CostsAndVersions1704067200007 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const cost = { name: 'cost', type: 'numeric', precision: 8, scale: 2, default: 25 }
    await runner.addColumn('visits', new TableColumn(cost))
    await runner.addColumn('pets', new TableColumn({ name: 'version', type: 'int', default: 1 }))
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.dropColumn('pets', 'version')
    await runner.dropColumn('visits', 'cost')
  }
}

class VisitsByDate1704067200008 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const columnNames = ['visit_date', 'pet_id']
    await runner.createIndex('visits', new TableIndex({ name: 'visits_date', columnNames }))
    const unique = new TableUnique({ name: 'pets_owner_name', columnNames: ['owner_id', 'name'] })
    await runner.createUniqueConstraint('pets', unique)
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.dropUniqueConstraint('pets', 'pets_owner_name')
    await runner.dropIndex('visits', 'visits_date')
  }
}

class Checks1704067200009 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const check = new TableCheck({ name: 'visits_cost', expression: 'cost >= 0' })
    await runner.createCheckConstraint('visits', check)
    await runner.changeColumn('owners', 'city', new TableColumn(varchar('city', 80)))
  }
  async down(runner: QueryRunner): Promise<void> {
    // Not changeColumn(): on Aurora DSQL it finds a check, not NOT NULL, and would see nothing to change.
    await runner.query('ALTER TABLE "owners" ALTER COLUMN "city" DROP NOT NULL')
    await runner.dropCheckConstraint('visits', 'visits_cost')
  }
}

class Phones1704067200010 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.renameColumn('owners', 'telephone', 'phone')
    await runner.manager
      .createQueryBuilder()
      .update('owners')
      .set({ phone: () => `replace(phone, '-', '')` })
      .execute()
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.renameColumn('owners', 'phone', 'telephone')
  }
}

class Charts1704067200011 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const chart = new TableColumn({ name: 'chart', type: 'jsonb', default: `'{}'` })
    await runner.addColumn('pets', chart)
    await runner.dropColumn('owners', 'address')
    await runner.addColumn('specialties', new TableColumn(varchar('description', 255, true)))
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.dropColumn('specialties', 'description')
    await runner.addColumn('owners', new TableColumn(varchar('address', 255, true)))
    await runner.dropColumn('pets', 'chart')
  }
}

/** As `createView()` would, without its table of views. */
class CostsOfOwners1704067200012 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE VIEW "owner_costs" AS
      SELECT o.last_name, count(*) AS visits, sum(v.cost) AS total
      FROM owners o JOIN pets p ON p.owner_id = o.id JOIN visits v ON v.pet_id = p.id
      GROUP BY o.id, o.last_name`)
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP VIEW "owner_costs"')
  }
}

const MIGRATIONS = [
  ...[Owners1704067200001, Pets1704067200002, Vets1704067200003, VetSpecialties1704067200004],
  ...[Visits1704067200005, OwnersByName1704067200006, CostsAndVersions1704067200007],
  ...[VisitsByDate1704067200008, Checks1704067200009, Phones1704067200010],
  ...[Charts1704067200011, CostsOfOwners1704067200012],
]

async function withSource<T>(
  login: Login,
  options: Partial<TypeormPostgresOptions>,
  use: (source: DataSource) => Promise<T>,
): Promise<T> {
  const dsqlMigrations = login.provider === 'aurora-dsql'
  const source = new DataSource(typeormOptions(login, { ...options, dsqlMigrations }))
  await source.initialize()
  try {
    return await use(source)
  } finally {
    await source.destroy()
  }
}

export const clinicOfTypeorm: MigratedClinic = {
  name: 'TypeORM',
  migrate: (login, last) =>
    withSource(login, { migrations: MIGRATIONS.slice(0, last) }, async (source) => {
      const ran = await source.runMigrations()
      return ran.length
    }),
  undo: (login, steps) =>
    withSource(login, { migrations: MIGRATIONS }, async (source) => {
      const transaction = login.provider === 'aurora-dsql' ? 'none' : 'all'
      for (let step = 0; step < steps; step++) await source.undoLastMigration({ transaction })
    }),
  async open(login) {
    const entities = [owners, pets, visits, vets, specialties, ownerCosts]
    const source = new DataSource(typeormOptions(login, { entities }))
    return openTypeorm(await source.initialize())
  },
}

interface OwnerRow {
  id: string
  firstName: string
  lastName: string
  city: string
  phone: string
  pets: PetRow[]
}
interface PetRow {
  id: string
  name: string
  kind: string
  birthDate: string
  chart: { allergies?: string[] }
  version: number
  owner: OwnerRow
  visits: VisitRow[]
}
interface VisitRow {
  id: string
  date: string
  description: string
  cost: string
  pet: PetRow
}
interface VetRow {
  id: string
  firstName: string
  lastName: string
  specialties: SpecialtyRow[]
}
interface SpecialtyRow {
  id: number
  name: string
  description: string | null
}

const generated = { type: 'bigint', primary: true, generated: 'increment' } as const
const FIRST_NAME = { type: 'varchar', name: 'first_name' } as const
const LAST_NAME = { type: 'varchar', name: 'last_name' } as const

const owners = new EntitySchema<OwnerRow>({
  name: 'owners',
  columns: {
    id: { type: 'uuid', primary: true, generated: 'uuid' },
    firstName: FIRST_NAME,
    lastName: LAST_NAME,
    city: { type: 'varchar' },
    phone: { type: 'varchar' },
  },
  relations: {
    pets: { type: 'one-to-many', target: 'pets', inverseSide: 'owner', cascade: ['insert'] },
  },
})
const pets = new EntitySchema<PetRow>({
  name: 'pets',
  columns: {
    id: generated,
    name: { type: 'varchar' },
    kind: { type: 'varchar' },
    birthDate: { type: 'date', name: 'birth_date' },
    chart: { type: 'jsonb', default: {} },
    version: { type: 'int', version: true },
  },
  relations: {
    owner: { type: 'many-to-one', target: 'owners', joinColumn: { name: 'owner_id' } },
    visits: { type: 'one-to-many', target: 'visits', inverseSide: 'pet' },
  },
})
const visits = new EntitySchema<VisitRow>({
  name: 'visits',
  columns: {
    id: generated,
    date: { type: 'date', name: 'visit_date' },
    description: { type: 'varchar' },
    cost: { type: 'numeric' },
  },
  relations: { pet: { type: 'many-to-one', target: 'pets', joinColumn: { name: 'pet_id' } } },
})
const vets = new EntitySchema<VetRow>({
  name: 'vets',
  columns: { id: generated, firstName: FIRST_NAME, lastName: LAST_NAME },
  relations: {
    specialties: {
      ...{ type: 'many-to-many', target: 'specialties' },
      joinTable: {
        name: 'vet_specialties',
        joinColumn: { name: 'vet_id' },
        inverseJoinColumn: { name: 'specialty_id' },
      },
    },
  },
})
const specialties = new EntitySchema<SpecialtyRow>({
  name: 'specialties',
  columns: {
    id: { type: 'int', primary: true, generated: 'increment' },
    name: { type: 'varchar', unique: true },
    description: { type: 'varchar', nullable: true },
  },
})
const ownerCosts = new EntitySchema<{ lastName: string; visits: string; total: string }>({
  ...{ name: 'owner_costs', type: 'view', synchronize: false },
  columns: { lastName: LAST_NAME, visits: { type: 'bigint' }, total: { type: 'numeric' } },
})

function openTypeorm(source: DataSource): Clinic {
  const { manager } = source
  return {
    addOwner: (owner, own) =>
      typeormTransaction(source, async (inner) => {
        const saved = await inner.save(owners, { ...owner, pets: own.map((pet) => ({ ...pet })) })
        return saved.id
      }),
    ownersNamed: async (prefix, page, size) => {
      const found = await manager.find(owners, {
        where: { lastName: Like(`${prefix}%`) },
        order: { lastName: 'ASC', firstName: 'ASC' },
        ...{ skip: page * size, take: size },
      })
      return found.map(({ id, firstName, lastName }) => ({ id, name: `${firstName} ${lastName}` }))
    },
    owner: async (id) => {
      const found = await manager.findOne(owners, {
        where: { id },
        relations: { pets: { visits: true } },
        order: { pets: { name: 'ASC', visits: { date: 'DESC' } } },
      })
      if (found === null) return undefined
      const { firstName, lastName, city, phone } = found
      return {
        ...{ firstName, lastName, city, phone },
        pets: found.pets.map(({ id, name, kind, birthDate, version, visits: own }) => ({
          ...{ id, name, kind, birthDate, version },
          visits: own.map(({ date, description }) => ({ date, description })),
        })),
      }
    },
    addVet: (firstName, lastName, names) =>
      typeormTransaction(source, async (inner) => {
        const found = await inner.findBy(specialties, { name: In([...names]) })
        await inner.save(vets, { firstName, lastName, specialties: found })
      }),
    vets: async () => {
      const found = await manager.find(vets, {
        relations: { specialties: true },
        order: { lastName: 'ASC', specialties: { name: 'ASC' } },
      })
      return found.map(({ firstName, lastName, specialties: own }) => ({
        name: `${firstName} ${lastName}`,
        specialties: own.map(({ name }) => name),
      }))
    },
    describeSpecialty: async (name, description) => {
      await manager.upsert(specialties, { name, description }, ['name'])
    },
    specialties: async () => {
      const found = await manager.find(specialties, { order: { name: 'ASC' } })
      return found.map(({ name, description }) => ({ name, description }))
    },
    addVisits: async (rows) => {
      await manager.insert(
        visits,
        rows.map(({ petId, ...visit }) => ({ ...visit, pet: { id: petId } })),
      )
    },
    visitsBetween: async (first, end) => {
      const found = await manager.find(visits, {
        where: { date: And(MoreThanOrEqual(first), LessThan(end)) },
        relations: { pet: true },
        order: { date: 'ASC', description: 'ASC' },
      })
      return found.map(({ pet, date, description, cost }) => ({
        ...{ pet: pet.name, date, description, cost },
      }))
    },
    countVisits: () => manager.count(visits),
    renamePet: async (id, version, name) => {
      const { affected } = await manager.update(pets, { id, version }, { name })
      return affected === 1
    },
    noteAllergy: (petId, allergy) =>
      typeormTransaction(source, async (inner) => {
        const pet = await inner.findOneByOrFail(pets, { id: petId })
        pet.chart = { ...pet.chart, allergies: [...(pet.chart.allergies ?? []), allergy] }
        await inner.save(pets, pet)
      }),
    petsAllergicTo: async (allergy) => {
      const found = await manager.find(pets, {
        where: { chart: JsonContains({ allergies: [allergy] }) },
        order: { name: 'ASC' },
      })
      return found.map(({ name }) => name)
    },
    removePet: async (id) => {
      await manager.delete(pets, { id })
    },
    costs: async () => {
      const found = await manager.find(ownerCosts, { order: { lastName: 'ASC' } })
      return found.map((row) => ({ ...row, visits: Number(row.visits) }))
    },
    close: () => source.destroy(),
  }
}
