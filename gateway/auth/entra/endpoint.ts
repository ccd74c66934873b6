/** Azure endpoints: options, the keys of their token issuers, and the gateway's own issuer. */
import { azureCloudOf } from '../../../core/providers/host-names.js'
import { randomUUID } from 'node:crypto'
import type { CryptoKey } from 'jose'
import { PgIamError } from '../../../core/errors.js'
import {
  type Check,
  type Checked,
  checkOptions,
  integerWithin,
  invalidOption,
  matching,
  oneOf,
  secureUrl,
  text,
} from '../../../core/options/check.js'
import { type AzureTokenCredential, CLOUDS } from '../../../core/providers/entra/token.js'
import { roleNames } from '../aws.js'
import {
  COMMON_ENDPOINT_CHECKS,
  type CommonEndpointOptions,
  type EndpointDefinition,
  requiredOption,
} from '../endpoint.js'
import { POSTGRES_ERRORS } from '../refusal.js'
import { cleartextToken } from '../verifier.js'
import { loadJose } from '../../../core/load-jose.js'
import { createPublishedKeys, type KeySource, type PublishedKeySet } from '../published-keys.js'
import { createEntraVerifier, type EntraPrincipal } from './verifier.js'

export interface EntraEndpoint extends CommonEndpointOptions {
  provider: 'entra'
  /** The principals that may log in, with their roles. At least one. */
  principals: readonly EntraPrincipal[]
  /** The required tenant ID of tokens. Required with `jwks`, `jwksUri` or `issuer`. Default: a generated one. */
  tenantId?: string
  /** The required audience of tokens. Default: the databases of the cloud that the first host name belongs to. */
  audience?: string
  /**
   * The required issuer of tokens, such as `https://login.microsoftonline.com/TENANT/v2.0`. Without `jwks` and `jwksUri`, the keys are
   * those in the issuer's metadata. Default: Microsoft's issuers for the tenant.
   */
  issuer?: string
  /**
   * The public keys of the issuer, or a function that returns them and is called for each login. Without `jwks`, `jwksUri` and `issuer`
   * the gateway issues its own tokens, which `gateway.login()` uses.
   */
  jwks?: PublishedKeySet | (() => PublishedKeySet | Promise<PublishedKeySet>)
  /** The URL of the issuer's public keys: https, or http on this machine. */
  jwksUri?: string
  /** How long keys from a URL are cached, in seconds, from 0 to 86,400. Default 300. */
  jwksMaxAgeSecs?: number
}

export const entraEndpoint: EndpointDefinition<EntraEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    refuseTwoKeySources(given, name)
    const isForeign = keySourceOf(given) !== undefined
    if (isForeign) requiredOption(given.tenantId, `${name}.tenantId`)
    return {
      ...given,
      provider: 'entra',
      hosts: requiredOption(given.hosts, `${name}.hosts`),
      principals: requiredOption(given.principals, `${name}.principals`),
    }
  },
  roles: ({ principals }) => principals.flatMap(({ roles }) => roles),
  create(options, { clock }) {
    const { hosts, principals, tenantId = randomUUID() } = options
    const scope = CLOUDS[azureCloudOf(hosts[0] ?? '') ?? 'public'].scope
    const resource = scope.replace(/\/\.default$/, '')
    const issuers = issuersOf(options, tenantId)
    const own = createOwnIssuer({
      tenantId,
      issuer: issuers[0],
      objectId: principals[0]?.objectId ?? '',
      clock,
    })
    const foreignKeys = keySourceOf(options)
    const verifier = createEntraVerifier({
      tenantId,
      audiences:
        options.audience === undefined
          ? [resource, `${resource}/`, DATABASES_APPLICATION]
          : [options.audience],
      issuers,
      keys: createPublishedKeys(foreignKeys ?? { read: own.keys }),
      principals,
      clock,
    })
    return {
      method: cleartextToken(verifier),
      errors: POSTGRES_ERRORS,
      prepare: loadJose,
      roles: principals.flatMap(({ roles }) => roles),
      loginOptions: foreignKeys === undefined ? { credentials: own.credential } : {},
    }
  },
}

/** The audience of version 2 tokens: the application "Azure OSSRDBMS Database", which has the same ID in every tenant. */
const DATABASES_APPLICATION = '123cd850-d9df-40bd-94d5-c9f07b7fa203'

/** Tenant IDs and object IDs are UUIDs. Entra ID writes them in lower case. */
const uuid: Check<string> = (value, name) =>
  matching(UUID, 'a UUID such as 0b1f7a2e-6c3d-4e8f-8a90-1c2d3e4f5a01')(value, name).toLowerCase()

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const keySet: Check<PublishedKeySet | (() => PublishedKeySet | Promise<PublishedKeySet>)> = (
  value,
  name,
) => {
  if (typeof value === 'function') return value as () => PublishedKeySet
  if (Array.isArray((value as { keys?: unknown } | null)?.keys)) return value as PublishedKeySet
  throw invalidOption(name, 'a JSON Web Key Set or a function that returns one', value)
}

const principals: Check<readonly EntraPrincipal[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one principal', value)
  return value.map((item: unknown, index) => {
    const prefix = `${name}[${index}].`
    const { objectId, roles } = checkOptions(item, { objectId: uuid, roles: roleNames }, prefix)
    return {
      objectId: requiredOption(objectId, `${prefix}objectId`),
      roles: requiredOption(roles, `${prefix}roles`),
    }
  })
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('entra'),
  principals,
  tenantId: uuid,
  audience: text,
  issuer: secureUrl,
  jwks: keySet,
  jwksUri: secureUrl,
  jwksMaxAgeSecs: integerWithin(0, 86_400, 'seconds'),
} as const

type KeyOptions = Pick<Checked<typeof CHECKS>, 'issuer' | 'jwks' | 'jwksUri' | 'jwksMaxAgeSecs'>

function keySourceOf({ jwks, jwksUri, issuer, jwksMaxAgeSecs }: KeyOptions): KeySource | undefined {
  const maxAgeMs = (jwksMaxAgeSecs ?? 300) * 1_000
  if (jwks !== undefined) return { read: typeof jwks === 'function' ? jwks : () => jwks }
  if (jwksUri !== undefined) return { url: jwksUri, maxAgeMs }
  return issuer === undefined ? undefined : { issuer, maxAgeMs }
}

function refuseTwoKeySources(given: KeyOptions, name: string): void {
  const conflict = (one: string, other: string): PgIamError =>
    new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}.${one}" and "${name}.${other}" must not be given together`,
    )
  if (given.jwks === undefined) return
  if (given.jwksUri !== undefined) throw conflict('jwks', 'jwksUri')
  if (given.jwksMaxAgeSecs !== undefined) throw conflict('jwks', 'jwksMaxAgeSecs')
}

/**
 * Tokens for databases have version 1, whose issuer differs from the one in the version 2 metadata.
 * See https://learn.microsoft.com/entra/identity-platform/access-tokens
 */
function issuersOf(
  { issuer, hosts }: EntraEndpoint,
  tenantId: string,
): readonly [string, ...string[]] {
  const cloud = azureCloudOf(hosts[0] ?? '') ?? 'public'
  const version1 = `https://sts.${cloud === 'china' ? 'chinacloudapi.cn' : 'windows.net'}/${tenantId}/`
  const version2 = `${CLOUDS[cloud].authorityHost}/${tenantId}/v2.0`
  return issuer === undefined || issuer === version2 ? [version1, version2] : [issuer]
}

// The gateway issues its own tokens if no other issuer is configured: for development without Azure.

interface OwnIssuer {
  readonly keys: () => Promise<PublishedKeySet>
  /** Issues tokens for the principal that it was created for. */
  readonly credential: AzureTokenCredential
}

interface OwnIssuerSettings {
  tenantId: string
  issuer: string
  /** The object ID of the principal. */
  objectId: string
  /** Epoch milliseconds. */
  clock: () => number
}

/** The key is generated on first use and held in memory only. */
function createOwnIssuer({ tenantId, issuer, objectId, clock }: OwnIssuerSettings): OwnIssuer {
  let pair: Promise<KeyPair> | undefined
  const keyPair = (): Promise<KeyPair> => (pair ??= makeKeyPair())
  return {
    keys: async () => (await keyPair()).published,
    credential: {
      async getToken(scopes) {
        const [{ SignJWT }, { privateKey }] = await Promise.all([loadJose(), keyPair()])
        const scope = typeof scopes === 'string' ? scopes : (scopes[0] ?? '')
        const issuedAt = Math.floor(clock() / 1_000)
        const expiresAt = issuedAt + LIFE_SECS
        const token = await new SignJWT({ oid: objectId, sub: objectId, tid: tenantId, ver: '1.0' })
          .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: KEY_ID })
          .setIssuer(issuer)
          .setAudience(scope.replace(/\/\.default$/, ''))
          .setIssuedAt(issuedAt)
          .setNotBefore(issuedAt)
          .setExpirationTime(expiresAt)
          .sign(privateKey)
        return { token, expiresOnTimestamp: expiresAt * 1_000 }
      },
    },
  }
}

interface KeyPair {
  readonly privateKey: CryptoKey
  readonly published: PublishedKeySet
}

const LIFE_SECS = 3_600
const KEY_ID = 'gateway'

async function makeKeyPair(): Promise<KeyPair> {
  const { exportJWK, generateKeyPair } = await loadJose()
  const { privateKey, publicKey } = await generateKeyPair('RS256')
  const key = { ...(await exportJWK(publicKey)), kid: KEY_ID, use: 'sig', alg: 'RS256' }
  return { privateKey, published: { keys: [key] } }
}
