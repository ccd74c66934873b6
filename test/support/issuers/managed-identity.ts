/** A stand-in for the endpoint of Azure's instance metadata that gives a managed identity its tokens. */
import type { EntraClaims } from './entra-claims.js'
import type { EntraIssuer } from './entra-issuer.js'
import { startLoopback, type LoopbackAnswer } from './loopback-server.js'

export interface ManagedIdentity {
  /** What points the Azure SDK to it. */
  readonly env: { readonly AZURE_POD_IDENTITY_AUTHORITY_HOST: string }
  /** The resources that tokens were asked for. */
  readonly resources: readonly string[]
  close(): Promise<void>
}

/** Starts it. `claims` says who the identity is, by the resource that it asks a token for. */
export async function startManagedIdentity(
  issuer: EntraIssuer,
  claims: (resource: string) => EntraClaims | LoopbackAnswer,
): Promise<ManagedIdentity> {
  const resources: string[] = []
  const server = await startLoopback(async ({ path, query, headers }) => {
    // The endpoint refuses requests without this header, which a browser or a proxy would not send. MSAL ends the path in a slash.
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
