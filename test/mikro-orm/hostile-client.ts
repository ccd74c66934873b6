/** Opens MikroORM for the hostile servers. */
import { MikroORM } from '@mikro-orm/postgresql'
import { CompiledQuery } from 'kysely'
import { mikroOrmOptions, mikroOrmTransaction } from '../../adapters/mikro-orm.js'
import {
  COPY_TEXT,
  EXTENDED_TEXT,
  type HostileClient,
  type OpenHostileClient,
  simpleText,
  valueOf,
} from '../hostile/clients/hostile-client.js'
import { bareConfig } from '../hostile/clients/pg.js'
import type { Manager } from './client.js'

export const client: HostileClient = {
  name: 'mikro-orm',
  asksForTypes: false,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) => {
    const orm = new MikroORM(mikroOrmOptions(login, OPTIONS))
    return openMikroOrm(orm, (word) =>
      mikroOrmTransaction(orm.em as Manager, (own) => simple(own, word)),
    )
  },
  openBare: ({ host, port, user, password, database, ...tls }, connectTimeoutMs) => {
    const address = { host, port, user, password }
    const driverOptions = bareConfig({ ...address, database, ...tls }, connectTimeoutMs)
    const orm = new MikroORM({ ...OPTIONS, ...address, dbName: database, driverOptions })
    return openMikroOrm(orm, (word) =>
      (orm.em.fork() as Manager).transactional((own) => simple(own, word)),
    )
  },
}

const OPTIONS = {
  entities: [],
  discovery: { warnWhenNoEntities: false },
  pool: { min: 0, max: 1 },
  logger: () => {},
}

function openMikroOrm(
  orm: MikroORM,
  transaction: OpenHostileClient['transaction'],
): OpenHostileClient {
  const manager = (): Manager => orm.em.fork() as Manager
  return {
    simple: (word) => simple(manager(), word),
    // MikroORM's own statements contain their parameters. Those of its Kysely do not.
    extended: async (word) => {
      const { rows } = await manager()
        .getKysely()
        .executeQuery<unknown>(CompiledQuery.raw(EXTENDED_TEXT, [word]))
      return valueOf(rows)
    },
    transaction,
    copy: async () => (await manager().execute<unknown[]>(COPY_TEXT)).length,
    close: () => orm.close(true),
  }
}

async function simple(em: Manager, word: string): Promise<unknown> {
  return valueOf(await em.execute<unknown[]>(simpleText(word)))
}
