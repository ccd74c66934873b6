/** The migrations of MikroORM, against the gateway as Aurora DSQL. */
import { Migration, Migrator } from '@mikro-orm/migrations'
import { MikroORM, type Options } from '@mikro-orm/postgresql'
import { mikroOrmOptions } from '../../adapters/mikro-orm.js'
import { type Gateway, startGateway } from '../../gateway/index.js'
import { noteSchema } from './client.js'

class Owners extends Migration {
  override up(): void {
    this.addSql(
      'create table "mikro_owners" ("id" serial primary key, "name" varchar(80) not null);',
    )
    this.addSql('create index "mikro_owners_name" on "mikro_owners" ("name");')
  }

  override down(): void {
    this.addSql('drop table "mikro_owners";')
  }
}

describe('the migrator of MikroORM on Aurora DSQL', () => {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway({ engine: 'postgres' })
  })
  afterAll(() => gateway?.close())

  it('migrates, and undoes the migration', async () => {
    const login = gateway.login({ user: 'admin' })
    const migrationsList = [{ name: 'Owners', class: Owners }]
    const orm = new MikroORM(
      mikroOrmOptions(login, {
        dsqlMigrations: true,
        entities: [noteSchema],
        extensions: [Migrator],
        migrations: { migrationsList, snapshot: false },
      }) as Options,
    )
    try {
      const done = await orm.migrator.up()
      expect(done.map(({ name }) => name)).toEqual(['Owners'])
      await orm.em.execute(`insert into mikro_owners (name) values ('George')`)
      expect(await orm.em.execute('select name from mikro_owners')).toEqual([{ name: 'George' }])
      expect((await orm.migrator.down()).map(({ name }) => name)).toEqual(['Owners'])
      expect(await orm.migrator.getExecuted()).toEqual([])
    } finally {
      await orm.close(true)
    }
  })
})
