/** An emulation of the metadata server of Google Compute Engine, which issues tokens for a service account. */
import type { GoogleTokens } from './google-tokens.js'
import { startLoopback, type LoopbackAnswer } from './loopback-server.js'

export interface GceMetadata {
  /** The environment variables for Google's SDK. */
  readonly env: Readonly<Record<string, string>>
  /** The scopes of each requested token. */
  readonly scopes: readonly (readonly string[])[]
  close(): Promise<void>
}

export interface GceMetadataOptions {
  tokens: GoogleTokens
  /** The service account of the machine. */
  email: string
  /** Default 3,600. */
  lifeSecs?: number
  /** Overrides the response to a token request, unless it returns `undefined`. */
  intercept?: () => LoopbackAnswer | undefined
}

/** Starts it. */
export async function startGceMetadata(options: GceMetadataOptions): Promise<GceMetadata> {
  const { tokens, email, lifeSecs = 3_600, intercept = () => undefined } = options
  const asked: string[][] = []
  const root = '/computeMetadata/v1'
  const account = `${root}/instance/service-accounts/default`
  const server = await startLoopback(({ path, query, headers }) => {
    const marked = { 'metadata-flavor': 'Google' }
    if (headers['metadata-flavor'] !== 'Google')
      return { status: 403, headers: marked, body: 'Missing Metadata-Flavor:Google header.' }
    if (path === `${account}/token`) {
      const scopes = query.get('scopes')?.split(',') ?? []
      asked.push(scopes)
      const intercepted = intercept()
      if (intercepted !== undefined) return intercepted
      const { value } = tokens.issue(email, { scopes, lifeSecs })
      const body = { access_token: value, expires_in: lifeSecs, token_type: 'Bearer' }
      return { headers: marked, body }
    }
    if (path === `${account}/email`) return { headers: marked, body: email }
    if (path === `${root}/project/project-id`) return { headers: marked, body: 'shop' }
    if (path === `${root}/universe/universe-domain`)
      return { headers: marked, body: 'googleapis.com' }
    if (path === `${root}/instance`) return { headers: marked, body: {} }
    return { status: 404, headers: marked, body: 'not found' }
  })
  return {
    env: {
      GCE_METADATA_HOST: server.url.slice('http://'.length),
      METADATA_SERVER_DETECTION: 'assume-present',
      // Otherwise the SDK runs gcloud to find it.
      GOOGLE_CLOUD_PROJECT: 'shop',
    },
    scopes: asked,
    close: () => server.close(),
  }
}
