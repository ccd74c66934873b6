/** TLS from the first byte of a connection, which is Aurora DSQL's default, saves a round trip with every client. */
import type { TlsNegotiation } from '../../core/index.js'
import { type Client, openClient } from '../clients/client.js'
import { CLIENT_NAMES, loadClient } from '../clients/index.js'
import { eventually } from '../support/eventually.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'

const server = useContractServer()

/** The number of round trips of a client's first query. */
async function roundTrips(
  { entries: [entry] }: Client,
  negotiation: TlsNegotiation | undefined,
): Promise<number> {
  const { login: loginTo, gateway, relay } = server()
  // In TLS 1.3 the server's session tickets arrive at any time, which would make the count vary.
  const tls = {
    ca: gateway.ca,
    maxVersion: 'TLSv1.2' as const,
    ...(negotiation === undefined ? {} : { negotiation }),
  }
  const before = relay.roundTrips()
  const client = openClient(entry!, loginTo({ tls }), 1)
  expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  const count = relay.roundTrips() - before
  await client.close()
  // Its last messages do not belong to the next client.
  await eventually('the end of the connection', () => relay.open() === 0)
  return count
}

/** TLS of a WebSocket is always direct. */
const OVER_TCP = CLIENT_NAMES.filter((name) => name !== 'postgres-js-websocket')

describe.each(OVER_TCP)('the first query of %s', (name) => {
  it('takes one round trip fewer with direct TLS, which is the default for Aurora DSQL', async () => {
    const client = await loadClient(name)
    // Sequelize asks for the types of the database with the first connection of a process.
    await roundTrips(client, undefined)
    const withRequest = await roundTrips(client, 'postgres')
    expect(await roundTrips(client, 'direct')).toBe(withRequest - 1)
    expect(await roundTrips(client, undefined)).toBe(withRequest - 1)
  })
})
