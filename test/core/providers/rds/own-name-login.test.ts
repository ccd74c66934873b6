/** Connections by a custom host name: the host of the token, the host of TLS verification, and the dialled address. */
import { internalsOf } from '../../../../core/login.js'
import type { Login, RdsOptions } from '../../../../core/index.js'
import { createRds } from '../../../../core/providers/rds/rds.js'
import { AUTHENTICATION_OK, GREETING } from '../../support/backend-messages.js'
import { rejectionOf } from '../../support/caught.js'
import { type Authority, createAuthority } from '../../support/certificates.js'
import { type DnsServer, startDnsServer } from '../../support/dns-server.js'
import { presigned } from '../../support/presigned.js'
import {
  type LoginTranscript,
  receiveLogin,
  type StandIn,
  startStandIn,
} from '../../support/postgres-stand-in.js'
import { startRawClient } from '../../support/raw-client.js'
import { RDS_OPTIONS } from '../../support/rds-options.js'

const OWN = 'db.shop.example'
const WEST = 'shop.cluster-c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'
const NORTH = 'shop.c1a2b3c4d5e6.rds.cn-north-1.amazonaws.com.cn'

let authority: Authority
let dns: DnsServer
let server: StandIn | undefined
let received: LoginTranscript[] = []
beforeAll(async () => {
  authority = await createAuthority()
  dns = await startDnsServer()
})
beforeEach(() => {
  dns.serve({ [OWN]: { cname: WEST } })
  dns.questions.splice(0)
})
afterEach(async () => {
  await server?.close()
  server = undefined
  received = []
})
afterAll(() => dns.close())

function login(options: RdsOptions = {}): Login {
  const given = { ...RDS_OPTIONS, host: OWN, tls: { ca: authority.ca }, ...options }
  return createRds(given, {}, { resolveCname: (name) => dns.resolver.resolveCname(name) })
}

/** A login to a server with a certificate for these names. */
async function loginTo(...names: string[]): Promise<Login> {
  server = await startStandIn(
    async (socket, keys) => {
      const transcript = await receiveLogin(socket, keys)
      received.push(transcript)
      transcript.socket.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
    },
    await authority.issue(...names),
  )
  return login({ connectTo: { host: '127.0.0.1', port: server.port } })
}

async function open(opened: Login): Promise<void> {
  const client = startRawClient(opened)
  await client.receive(1)
  client.stream.destroy()
}

describe('a connection by a custom host name', () => {
  it('has a token for the endpoint, in its region, and TLS verified for the endpoint', async () => {
    await open(await loginTo(WEST))
    const [{ password, socket } = {} as LoginTranscript] = received
    expect(presigned(password)).toMatchObject({
      host: `${WEST}:5432`,
      scope: expect.stringContaining('/eu-west-1/rds-db/'),
    })
    expect(socket.servername).toBe(WEST)
  })

  it('rejects a server whose certificate is only for the custom name', async () => {
    const client = startRawClient(await loginTo(OWN))
    expect(await client.closed).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    expect(received).toEqual([])
  })

  it('follows a failover to another region, with tokens for the new endpoint', async () => {
    const opened = await loginTo(WEST, NORTH)
    await open(opened)
    await open(opened)
    dns.serve({ [OWN]: { cname: NORTH } })
    await open(opened)
    expect(received.map(({ password }) => presigned(password).host)).toEqual([
      `${WEST}:5432`,
      `${WEST}:5432`,
      `${NORTH}:5432`,
    ])
    expect(presigned(received[2]!.password).scope).toContain('/cn-north-1/rds-db/')
    expect(dns.questions).toEqual(Array.from({ length: 3 }, () => `CNAME ${OWN}`))
    expect(opened.stats()).toMatchObject({ tokensMade: 2, tokensReused: 1 })
  })

  it('dials the endpoint that was resolved, since weighted records may return another next time', async () => {
    const find = (made: Login) => internalsOf(made)!.endpoints.all[0]!.resolve()
    expect((await find(login({ port: 5433 }))).address).toEqual({ host: WEST, port: 5433 })
    const elsewhere = login({ connectTo: { host: 'bastion.example', port: 1 } })
    expect(await find(elsewhere)).not.toHaveProperty('address')
  })

  it('fails if the endpoint is in another region than the given one', async () => {
    expect(await rejectionOf(login({ region: 'us-east-1' }).token())).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: `"region" must be "eu-west-1", as in the endpoint that ${OWN} resolves to, got "us-east-1"`,
    })
    expect(await login({ region: 'eu-west-1' }).token()).toHaveProperty('expiresAt')
  })

  it('fails with the DNS error if the name cannot be resolved', async () => {
    dns.serve({})
    expect(await startRawClient(login()).closed).toMatchObject({ code: 'ERR_OPTION_INVALID' })
  })
})

it('does not look up a host that is an endpoint', async () => {
  await login({ host: WEST }).token()
  expect(dns.questions).toEqual([])
})
