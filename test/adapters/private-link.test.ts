/** Aurora DSQL behind an AWS PrivateLink endpoint: the dialled name does not identify the cluster. */
import type { AuroraDsqlOptions, Login } from '../../core/index.js'
import { startGateway, type Gateway } from '../../gateway/index.js'
import type { AdapterVariant } from '../support/adapter-contract/adapter-driver.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { drizzlePostgresJsDriver } from './drivers/drizzle-postgres-js.js'
import { drizzleDriver } from './drivers/drizzle.js'
import { knexDriver } from './drivers/knex.js'
import { pgDriver } from './drivers/pg.js'
import { postgresJsDriver } from './drivers/postgres-js.js'
import { sequelizeDriver } from './drivers/sequelize.js'
import { typeormDriver } from './drivers/typeorm.js'

const CLUSTER = 'abcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws'
const OTHER_CLUSTER = 'zbcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws'

const WAYS = [
  pgDriver,
  postgresJsDriver,
  sequelizeDriver,
  typeormDriver,
  knexDriver,
  drizzleDriver,
  drizzlePostgresJsDriver,
].flatMap(({ client, variants }) =>
  variants.map((variant): [string, AdapterVariant] => [`${client}, ${variant.name}`, variant]),
)

let gateway: Gateway
beforeAll(async () => {
  const hosts = [OTHER_CLUSTER, CLUSTER]
  gateway = await startGateway({
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
  it.each(WAYS)('identifies the cluster, with %s', async (_label, variant) => {
    for (const host of [CLUSTER, OTHER_CLUSTER]) {
      const options = {
        ...variant.options({ poolSize: 1, log: () => {} }),
        // A password function has no influence on what is sent before the password is requested.
        ...(variant.name === 'typeormPassword' ? { extra: ownOptions(host) } : {}),
      }
      const database = variant.open(loginTo(host, { clusterId: true }), options)
      try {
        expect(await database.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
      } finally {
        await database.close()
      }
    }
  })

  it.each(WAYS.slice(0, 1))(
    'is required to identify the cluster, with %s',
    async (_label, variant) => {
      const options = variant.options({ poolSize: 1, log: () => {} })
      const database = variant.open(loginTo(CLUSTER), options)
      const error = await rejectionOf(database.run('SELECT 1 AS one'))
      await database.close()
      expect(errorChain(error)).toContainEqual(expect.objectContaining({ code: '08004' }))
    },
  )

  it("leaves the client's own options to PostgreSQL", async () => {
    const [, variant] = WAYS[0]!
    const options = {
      ...variant.options({ poolSize: 1, log: () => {} }),
      options: '-c work_mem=5MB',
    }
    const database = variant.open(loginTo(CLUSTER, { clusterId: true }), options)
    try {
      expect(await database.run('SHOW work_mem')).toEqual([{ work_mem: '5MB' }])
    } finally {
      await database.close()
    }
  })
})
