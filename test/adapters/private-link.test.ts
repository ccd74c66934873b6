/** Aurora DSQL behind an AWS PrivateLink endpoint: the dialled name does not identify the cluster. */
import type { AuroraDsqlOptions, Login } from '../../core/index.js'
import { startGateway, type Gateway } from '../../gateway/index.js'
import type { ClientEntry } from '../clients/client.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { client as drizzlePostgresJs } from '../clients/drizzle-postgres-js.js'
import { client as drizzle } from '../clients/drizzle.js'
import { client as knex } from '../clients/knex.js'
import { client as kysely } from '../clients/kysely.js'
import { client as pg } from '../clients/pg.js'
import { client as postgresJs } from '../clients/postgres-js.js'
import { client as prisma } from '../clients/prisma.js'
import { client as sequelize7 } from '../clients/sequelize-7.js'
import { client as sequelize } from '../clients/sequelize.js'
import { client as typeorm } from '../clients/typeorm.js'

const CLUSTER = 'abcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws'
const OTHER_CLUSTER = 'zbcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws'

const WAYS = [
  pg,
  postgresJs,
  sequelize,
  sequelize7,
  typeorm,
  knex,
  kysely,
  prisma,
  drizzle,
  drizzlePostgresJs,
].flatMap(({ name: client, entries }) =>
  entries.map((entry): [string, ClientEntry] => [`${client}, ${entry.name}`, entry]),
)

let gateway: Gateway
beforeAll(async () => {
  const hosts = [OTHER_CLUSTER, CLUSTER]
  gateway = await startGateway({
    sql: 'postgres',
    endpoints: hosts.map((host) => ({ provider: 'aurora-dsql', hosts: [host] })),
  })
})
afterAll(() => gateway.close())

/** A login whose TLS handshake does not identify the cluster. */
function loginTo(host: string, options: AuroraDsqlOptions = {}): Login {
  const { port, ca } = gateway
  const connectTo = { host: 'localhost', port }
  return gateway.login({ host, connectTo, tls: { ca, servername: 'localhost' }, ...options })
}

function ownOptions(host: string): object {
  return { options: `-c amzn-cluster-id=${host.slice(0, host.indexOf('.'))}` }
}

describe('clusterId', () => {
  it.each(WAYS)('identifies the cluster, with %s', async (_label, entry) => {
    for (const host of [CLUSTER, OTHER_CLUSTER]) {
      const options = {
        ...entry.options({ poolSize: 1, log: () => {} }),
        // A password function has no influence on what is sent before the password is requested.
        ...(entry.name === 'typeormPassword' ? { extra: ownOptions(host) } : {}),
      }
      const database = entry.open(loginTo(host, { clusterId: true }), options)
      try {
        expect(await database.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
      } finally {
        await database.close()
      }
    }
  })

  it.each(WAYS.slice(0, 1))(
    'is required to identify the cluster, with %s',
    async (_label, entry) => {
      const options = entry.options({ poolSize: 1, log: () => {} })
      const database = entry.open(loginTo(CLUSTER), options)
      const error = await rejectionOf(database.run('SELECT 1 AS one'))
      await database.close()
      expect(errorChain(error)).toContainEqual(expect.objectContaining({ code: '08004' }))
    },
  )

  it("leaves the client's own options to PostgreSQL", async () => {
    const [, entry] = WAYS[0]!
    const options = {
      ...entry.options({ poolSize: 1, log: () => {} }),
      options: '-c work_mem=5MB',
    }
    const database = entry.open(loginTo(CLUSTER, { clusterId: true }), options)
    try {
      expect(await database.run('SHOW work_mem')).toEqual([{ work_mem: '5MB' }])
    } finally {
      await database.close()
    }
  })
})
