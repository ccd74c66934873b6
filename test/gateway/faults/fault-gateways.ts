/** The gateways for the tests of faults: one with each engine, with the table `item (id int primary key)`. */
import { startGateway, type Gateway } from '../../../gateway/index.js'
import { launchPostgres, type PostgresServer } from '../../support/launch-postgres.js'
import { TESTED_ENGINES } from '../engines/checks/tested-engines.js'
import { withClient } from '../engines/checks/gateway-clients.js'

/** Runs `describeFaults` for each engine. Armed faults and rows are removed after each test. */
export function describeOnEachEngine(
  title: string,
  describeFaults: (gateway: () => Gateway) => void,
): void {
  describe.each(TESTED_ENGINES)(`${title}, on %s`, (engine) => {
    let server: PostgresServer | undefined
    let gateway: Gateway

    beforeAll(async () => {
      if (engine === 'upstream') server = await launchPostgres({ roles: ['admin', 'app'] })
      gateway = await startGateway(
        server === undefined
          ? { engine: 'pglite', sql: 'postgres' }
          : { upstream: { host: server.socketDirectory, port: server.port } },
      )
      await withClient(gateway, (client) => client.query('CREATE TABLE item (id int PRIMARY KEY)'))
    })
    afterEach(async () => {
      gateway.faults.clear()
      await withClient(gateway, (client) => client.query('DELETE FROM item'))
    })
    afterAll(async () => {
      await gateway?.close()
      await server?.close()
    })

    describeFaults(() => gateway)
  })
}

/** The numbers in the table, read by a separate client. */
export function itemsIn(gateway: Gateway): Promise<number[]> {
  return withClient(gateway, async (client) => {
    const { rows } = await client.query<{ id: number }>('SELECT id FROM item ORDER BY id')
    return rows.map(({ id }) => id)
  })
}
