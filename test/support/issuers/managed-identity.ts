/** An emulation of the Azure instance metadata endpoint that issues tokens for a managed identity. */
import type { EntraClaims } from './entra-claims.js'
import type { EntraIssuer } from './entra-issuer.js'
import { startLoopback, type LoopbackAnswer } from './loopback-server.js'

export interface ManagedIdentity {
  /** The environment variables for the Azure SDK. */
  readonly env: { readonly AZURE_POD_IDENTITY_AUTHORITY_HOST: string }
  /** The resources of the requested tokens. */
  readonly resources: readonly string[]
  close(): Promise<void>
}

/** Starts it. `claims` returns the claims of the identity, by the requested resource. */
export async function startManagedIdentity(
  issuer: EntraIssuer,
  claims: (resource: string) => EntraClaims | LoopbackAnswer,
): Promise<ManagedIdentity> {
  const resources: string[] = []
  const server = await startLoopback(async ({ path, query, headers }) => {
    // The endpoint rejects requests without this header, which browsers and proxies do not send. MSAL adds a trailing slash to the path.
    if (!/^\/metadata\/identity\/oauth2\/token\/?$/.test(path) || headers['metadata'] !== 'true')
      return { status: 400, body: { error: 'invalid_request' } }
    const resource = query.get('resource') ?? ''
    resources.push(resource)
    const given = claims(resource)
    if ('body' in given) return given as LoopbackAnswer
    const value = await issuer.token({ aud: resource, ...given })
    const { exp } = JSON.parse(Buffer.from(value.split('.')[1] ?? '', 'base64url').toString()) as {
      exp: number
    }
    return {
      body: { access_token: value, expires_on: String(exp), resource, token_type: 'Bearer' },
    }
  })
  return {
    env: { AZURE_POD_IDENTITY_AUTHORITY_HOST: server.url },
    resources,
    close: () => server.close(),
  }
}
