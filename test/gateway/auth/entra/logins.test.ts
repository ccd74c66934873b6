import { ClientSecretCredential } from '@azure/identity'
import { createPool } from '../../../../adapters/pg.js'
import { entra, type EntraOptions, type Login } from '../../../../core/index.js'
import type { EntraEndpoint, Gateway } from '../../../../gateway/index.js'
import { rejectionOf } from '../../../core/support/caught.js'
import { printed } from '../../../core/support/printed.js'
import {
  AUDIENCE,
  OBJECT_ID,
  OTHER_OBJECT_ID,
  OTHER_TENANT,
  userAssignedIdentity,
  type EntraClaims,
} from '../../../support/issuers/entra-claims.js'
import { startEntraIssuer, type EntraIssuer } from '../../../support/issuers/entra-issuer.js'
import { startManagedIdentity } from '../../../support/issuers/managed-identity.js'
import type { SigningOptions } from '../../../support/issuers/signing-keys.js'
import { currentUser } from '../current-user.js'
import { recordLog, usePostgres, type LogRecorder } from '../../upstream-gateway.js'

const HOST = 'shop.postgres.database.azure.com'
const SECRET = 'CANARY-secret'
const CLIENT_ID = '6c2f0f63-5d0b-4f5e-9a39-33f6f4cbb0aa'

const postgres = usePostgres(['app', 'shop-identity'])
let issuer: EntraIssuer
beforeAll(async () => {
  issuer = await startEntraIssuer()
  issuer.addApplication({ clientId: CLIENT_ID, secret: SECRET })
})
afterAll(() => issuer?.close())

interface Started {
  gateway: Gateway
  log: LogRecorder
  login: (options?: EntraOptions) => Login
}

/** A gateway that trusts the issuer. */
async function start(own: Partial<EntraEndpoint> = {}, clock = Date.now): Promise<Started> {
  const log = recordLog()
  const endpoint: EntraEndpoint = {
    provider: 'entra',
    hosts: [HOST],
    tenantId: issuer.tenantId,
    jwks: issuer.keys.published,
    principals: [{ objectId: OBJECT_ID, roles: ['app', 'shop-identity'] }],
    ...own,
  }
  const roles = ['app', 'shop-identity']
  const gateway = await postgres.start({ endpoints: [endpoint], roles, logger: log.logger, clock })
  const { host, port, ca } = gateway
  const login = (options?: EntraOptions): Login =>
    // A refused shared token is requested once more, which would affect the counts of refusals.
    entra({ host: HOST, connectTo: { host, port }, reuseTokenSecs: 0, ...options, tls: { ca } })
  return { gateway, log, login }
}

/** A credential that always returns this token. */
const credentialOf = (token: string): NonNullable<EntraOptions['credentials']> => ({
  getToken: async () => Promise.resolve({ token, expiresOnTimestamp: Date.now() + 3_600_000 }),
})

const application = () =>
  new ClientSecretCredential(issuer.tenantId, CLIENT_ID, SECRET, {
    authorityHost: issuer.authorityHost,
    disableInstanceDiscovery: true,
    tlsOptions: { ca: issuer.ca },
  })

describe('a client with Azure SDK credentials', () => {
  it('logs in with a client secret, for each source of the keys', async () => {
    const { url, tenantId, keys } = issuer
    for (const own of [
      {},
      { jwks: keys.published() },
      { jwks: undefined, jwksUri: `${url}/${tenantId}/discovery/v2.0/keys`, jwksMaxAgeSecs: 60 },
    ]) {
      const { gateway, login } = await start(own as object)
      const me = await currentUser(login({ user: 'app', credentials: application() }))
      expect(me).toEqual({ me: 'app' })
      expect(gateway.stats()).toMatchObject({ loginsAccepted: 1, distinctTokens: 1 })
    }
  })

  it('logs in with tokens of an issuer that is configured by its metadata only', async () => {
    const url = `${issuer.url}/${issuer.tenantId}/v2.0`
    const { login } = await start({ jwks: undefined, issuer: url } as object)
    const credentials = credentialOf(await issuer.token({ iss: url }))
    expect(await currentUser(login({ user: 'app', credentials }))).toEqual({ me: 'app' })
    const foreign = login({ user: 'app', credentials: credentialOf(await issuer.token()) })
    await expect(currentUser(foreign)).rejects.toMatchObject({ code: '28000' })
  })

  it('logs in as its managed identity without a configured user name', async () => {
    const mirid = userAssignedIdentity('shop-identity')
    const identity = await startManagedIdentity(issuer, () => ({ xms_mirid: mirid }))
    const surroundings = process.env
    process.env = { ...identity.env, AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential' }
    try {
      const { gateway, login: loginWith } = await start()
      const login = loginWith()
      expect(login.user).toBeUndefined()
      expect(await currentUser(login)).toEqual({ me: 'shop-identity' })
      expect(login.user).toBe('shop-identity')
      expect(identity.resources).toEqual([AUDIENCE])
      expect(gateway.stats().loginsAccepted).toBe(1)
    } finally {
      process.env = surroundings
      await identity.close()
    }
  })

  it('opens fifty connections with one token', async () => {
    const { gateway, login: loginWith } = await start()
    const login = loginWith({ user: 'app', credentials: application(), reuseTokenSecs: 3_600 })
    const pool = createPool(login, { max: 50 })
    await Promise.all(Array.from({ length: 50 }, () => pool.query('SELECT pg_sleep(0.05)')))
    await pool.end()
    const { loginsAccepted, distinctTokens } = gateway.stats()
    expect(loginsAccepted).toBeGreaterThan(1)
    expect(distinctTokens).toBe(1)
    expect(login.stats()).toMatchObject({ tokensMade: 1, credentialCalls: 1 })
  })
})

type Refused = [title: string, reason: string, token: [EntraClaims, SigningOptions?]]

describe('a login to an entra endpoint', () => {
  const now = Math.floor(Date.now() / 1_000)
  it.each<Refused>([
    ['for something else', 'audience-wrong', [{ aud: 'https://management.azure.com' }]],
    ['of another tenant', 'tenant-wrong', [{ tid: OTHER_TENANT }]],
    ['by another issuer', 'issuer-wrong', [{ iss: 'https://issuer.example.com/' }]],
    ['that has ended', 'token-expired', [{ exp: now - 1 }]],
    ['that has not begun', 'token-not-yet-valid', [{ nbf: now + 3_600 }]],
    ['of another user', 'principal-unknown', [{ oid: OTHER_OBJECT_ID }]],
    ['with an unknown key', 'key-unknown', [{}, { header: { kid: 'other' } }]],
  ])('with a token %s is refused and logged with the reason %s', async (_, reason, token) => {
    const { gateway, log, login } = await start()
    const value = await issuer.token(...token)
    const error = await rejectionOf(
      currentUser(login({ user: 'app', credentials: credentialOf(value) })),
    )
    expect(error).toMatchObject({ severity: 'FATAL', code: expect.stringMatching(/^28/) })
    const line = await log.refusal(reason)
    expect(line.details).toMatchObject({ role: 'app' })
    expect(gateway.stats().refusals).toEqual({ [reason]: 1 })
    for (const part of value.split('.'))
      expect(printed(error) + printed(log.lines)).not.toContain(part)
  })

  it('is refused and logged if the signing key of the token was revoked', async () => {
    const { gateway, log, login } = await start()
    const old = issuer.keys.current()
    const value = await issuer.token()
    const loginWithOld = login({ user: 'app', credentials: credentialOf(value) })
    expect(await currentUser(loginWithOld)).toEqual({ me: 'app' })
    await issuer.keys.rotate()
    issuer.keys.revoke(old)
    await expect(currentUser(loginWithOld)).rejects.toMatchObject({ code: '28000' })
    await log.refusal('key-revoked')
    expect(gateway.stats().refusals).toEqual({ 'key-revoked': 1 })
  })

  it('is refused with a hint if the principal may not use the role', async () => {
    const { log, login } = await start({ principals: [{ objectId: OBJECT_ID, roles: [] }] })
    const value = await issuer.token({ upn: "jane.o'hara@example.com" })
    const error = await rejectionOf(currentUser(login({ credentials: credentialOf(value) })))
    expect(error).toMatchObject({
      code: '28P01',
      message: expect.stringContaining("jane.o'hara@example.com"),
      hint: "The user \"jane.o'hara@example.com\" is from the claim upn of the token. Give \"user\" if the role has another name, or create the role: SELECT * FROM pgaadauth_create_principal('jane.o''hara@example.com', false, false).",
    })
    await log.refusal('role-not-allowed')
    const named = login({ user: 'app', credentials: credentialOf(value) })
    expect(await rejectionOf(currentUser(named))).toMatchObject({
      hint: expect.stringContaining('"app" must be a role of the database'),
    })
  })

  it('is refused while the issuer is unreachable, and accepted afterwards', async () => {
    const gone = await startEntraIssuer({ keys: issuer.keys })
    let isGone = false
    const { gateway, login } = await start({
      jwks: async () => {
        if (isGone) throw new Error('no network')
        return Promise.resolve(gone.keys.published())
      },
    })
    await gone.close()
    const loginWith = login({ user: 'app', credentials: application() })
    isGone = true
    await expect(currentUser(loginWith)).rejects.toMatchObject({ code: '28000' })
    expect(gateway.stats().refusals).toEqual({ 'verifier-failed': 1 })
    isGone = false
    expect(await currentUser(loginWith)).toEqual({ me: 'app' })
  })
})
