import type { Login } from '../../../core/index.js'
import { internalsOf } from '../../../core/login.js'
import { createAuroraDsql } from '../../../core/providers/aurora-dsql.js'
import { thrownBy } from '../support/caught.js'
import { CLUSTER_ID, CREDENTIALS, HOST } from '../support/dsql-options.js'
import { acceptLogin, type StandIn, startStandIn } from '../support/postgres-stand-in.js'
import { presigned } from '../support/presigned.js'
import { parametersOf, startRawClient, startup } from '../support/raw-client.js'

const OTHER_ID = CLUSTER_ID.replace('a', 'b')
const VPC_ENDPOINT = 'vpce-04037adb76c111221-d849uc2p.dsql-fnh4.us-east-1.vpce.amazonaws.com'
const CUSTOM = { host: 'db.shop.example', region: 'us-east-1' }

const create = (options: object): Login =>
  createAuroraDsql({ host: HOST, user: 'app', credentials: CREDENTIALS, ...options }, {})

/** The parameters for each host. A VPC endpoint cannot be dialled in a test. */
const parametersOfEndpoints = (login: Login): unknown =>
  internalsOf(login)?.endpoints.all.map(({ startupParameters }) => startupParameters)

let server: StandIn | undefined
afterEach(async () => {
  await server?.close()
  server = undefined
})

/** The startup parameters that a server receives with these options. */
async function received(
  own: object,
  driver: Record<string, string> = {},
): Promise<{ options: string | undefined; servername: unknown; signedFor: string }> {
  const seen: Awaited<ReturnType<typeof received>>[] = []
  server = await startStandIn(async (socket, keys) => {
    const { startup: packet, password, socket: secured } = await acceptLogin(socket, keys)
    const { servername } = secured as { servername?: unknown }
    const { options } = parametersOf(packet)
    seen.push({ options, servername, signedFor: presigned(password).host })
  })
  const client = startRawClient(server.login(own), startup({ user: 'app', ...driver }))
  await client.receive(1)
  client.stream.destroy()
  return seen[0]!
}

describe('clusterId', () => {
  it.each([
    ['the ID in the host name', true],
    ['the given ID', CLUSTER_ID],
  ])('is sent as amzn-cluster-id: %s', async (_label, clusterId) => {
    expect(await received({ clusterId })).toEqual({
      options: `-c amzn-cluster-id=${CLUSTER_ID}`,
      // The dialled address does not matter: TLS and tokens are for the cluster.
      servername: HOST,
      signedFor: HOST,
    })
  })

  it("is appended to the driver's options", async () => {
    expect(await received({ clusterId: true }, { options: '-c search_path=shop' })).toMatchObject({
      options: `-c search_path=shop -c amzn-cluster-id=${CLUSTER_ID}`,
    })
  })

  it.each([
    ['by default', {}],
    ['if clusterId is false', { clusterId: false }],
  ])('is not sent %s', async (_label, own) => {
    expect(await received(own)).toMatchObject({ options: undefined })
  })

  it('is sent for each host separately', () => {
    const login = create({ host: [HOST, `${OTHER_ID}.dsql.us-west-2.on.aws`], clusterId: true })
    expect(parametersOfEndpoints(login)).toEqual([
      { options: `-c amzn-cluster-id=${CLUSTER_ID}` },
      { options: `-c amzn-cluster-id=${OTHER_ID}` },
    ])
  })

  it.each([VPC_ENDPOINT, `${VPC_ENDPOINT}.cn`])('is sent if %s is dialled', (host) => {
    expect(parametersOfEndpoints(create({ connectTo: { host } }))).toEqual([
      { options: `-c amzn-cluster-id=${CLUSTER_ID}` },
    ])
    expect(parametersOfEndpoints(create({ connectTo: { host }, clusterId: false }))).toEqual([{}])
  })

  it('is also sent with a name in a private DNS zone', () => {
    const host = `${CLUSTER_ID}.dsql-fnh4.us-east-1.on.aws`
    expect(parametersOfEndpoints(create({ host, clusterId: true }))).toEqual([
      { options: `-c amzn-cluster-id=${CLUSTER_ID}` },
    ])
  })

  it.each<[string, object, string, string]>([
    [
      'of another cluster than the host’s',
      { clusterId: OTHER_ID },
      'ERR_OPTION_CONFLICT',
      `"clusterId" must be "${CLUSTER_ID}", as in "host", got "${OTHER_ID}"`,
    ],
    [
      'that neither an option nor the host contains',
      { ...CUSTOM, clusterId: true },
      'ERR_OPTION_INVALID',
      '"clusterId" must be the ID of the cluster if "host" does not contain it',
    ],
    [
      'that neither an option nor the host contains, at a VPC endpoint',
      { ...CUSTOM, connectTo: { host: VPC_ENDPOINT } },
      'ERR_OPTION_INVALID',
      '"clusterId" must be the ID of the cluster if "host" does not contain it',
    ],
    [
      'that is not a cluster ID',
      { clusterId: 'shop' },
      'ERR_OPTION_INVALID',
      '"clusterId" must be a cluster ID of 26 letters and digits, true or false, got "shop"',
    ],
    [
      'that is not a string',
      { clusterId: 1 },
      'ERR_OPTION_INVALID',
      '"clusterId" must be a cluster ID of 26 letters and digits, true or false, got 1',
    ],
  ])('is rejected: an ID %s', (_label, options, code, message) => {
    expect(thrownBy(() => create(options))).toMatchObject({ code, message })
  })

  it('may be given with a custom host name', () => {
    expect(create({ ...CUSTOM, clusterId: CLUSTER_ID }).host).toBe(CUSTOM.host)
  })
})
