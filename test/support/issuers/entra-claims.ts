/** The claims of Microsoft Entra ID's access tokens for Azure Database for PostgreSQL. */
import type { JWTPayload } from 'jose'

export const TENANT = '5b0e2c1c-2f0d-4c1b-9d55-0d6f6f3d1a01'
export const OTHER_TENANT = '5b0e2c1c-2f0d-4c1b-9d55-0d6f6f3d1a02'
export const OBJECT_ID = '0b1f7a2e-6c3d-4e8f-8a90-1c2d3e4f5a01'
export const OTHER_OBJECT_ID = '0b1f7a2e-6c3d-4e8f-8a90-1c2d3e4f5a02'
export const AUDIENCE = 'https://ossrdbms-aad.database.windows.net'

/** `undefined` omits a claim. */
export type EntraClaims = Readonly<Record<string, unknown>>

/** The claims of a token that is valid for an hour from `now` (epoch milliseconds). */
export function entraClaims(own: EntraClaims = {}, now: number = Date.now()): JWTPayload {
  const issuedAt = Math.floor(now / 1_000)
  const tenant = typeof own['tid'] === 'string' ? own['tid'] : TENANT
  const claims: EntraClaims = {
    aud: AUDIENCE,
    iss: `https://sts.windows.net/${tenant}/`,
    iat: issuedAt,
    nbf: issuedAt,
    exp: issuedAt + 3_600,
    appid: '6c2f0f63-5d0b-4f5e-9a39-33f6f4cbb001',
    oid: OBJECT_ID,
    sub: OBJECT_ID,
    tid: tenant,
    ver: '1.0',
    ...own,
  }
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined))
}

/** The `xms_mirid` claim of a user-assigned managed identity. */
export function userAssignedIdentity(name: string): string {
  return `/subscriptions/8f4cd5a1-0000-4000-8000-000000000001/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/${name}`
}

/** The `xms_mirid` claim of the system-assigned identity of a resource, such as `Microsoft.Web/sites`. */
export function systemAssignedIdentity(type: string, name: string): string {
  return `/subscriptions/8f4cd5a1-0000-4000-8000-000000000001/resourcegroups/shop/providers/${type}/${name}`
}
