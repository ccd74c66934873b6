/** An emulation of Microsoft Entra ID on loopback: discovery, published keys, and tokens for client secrets and federated tokens. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { createAuthority } from '../../core/support/certificates.js'
import { AUDIENCE, TENANT, entraClaims, type EntraClaims } from './entra-claims.js'
import {
  startLoopback,
  type LoopbackAnswer,
  type LoopbackHandler,
  type LoopbackRequest,
} from './loopback-server.js'
import { createSigningKeys, type SigningKeys, type SigningOptions } from './signing-keys.js'

export interface EntraIssuer {
  readonly tenantId: string
  readonly keys: SigningKeys
  /** The HTTPS URL, which MSAL requires, with {@link ca}. */
  readonly authorityHost: string
  readonly ca: string
  /** The URL of an HTTP proxy for HTTPS that leads to this issuer as `login.microsoftonline.com`, for programs without an option for it. */
  readonly proxyUrl: string
  /** The HTTP URL, which is sufficient for public data. */
  readonly url: string
  /** The requests of clients: `METHOD path`. */
  readonly requests: readonly string[]
  /** Returns a token with these claims in addition to the usual ones. */
  token(claims?: EntraClaims, options?: SigningOptions): Promise<string>
  /** Allows an application to log in with its secret, or with a token of another issuer that it trusts. */
  addApplication(application: Application): void
  /** Overrides the responses to the next requests, until it returns `undefined`. */
  intercept(answer: (request: LoopbackRequest) => LoopbackAnswer | undefined): void
  close(): Promise<void>
}

export interface Application {
  clientId: string
  secret: string
  /** The token of a workload, such as that of a Kubernetes service account. */
  federatedToken?: string
  claims?: EntraClaims
}

export interface EntraIssuerOptions {
  tenantId?: string
  /** Default: new ones. */
  keys?: SigningKeys
  /** Epoch milliseconds. Default `Date.now`. */
  now?: () => number
}

/** Starts it. */
export async function startEntraIssuer({
  tenantId = TENANT,
  keys: givenKeys,
  now = Date.now,
}: EntraIssuerOptions = {}): Promise<EntraIssuer> {
  const keys = givenKeys ?? (await createSigningKeys())
  const authority = await createAuthority('Entra')
  const applications = new Map<string, Application>()
  const requests: string[] = []
  let intercept: (request: LoopbackRequest) => LoopbackAnswer | undefined = () => undefined

  const token: EntraIssuer['token'] = (claims = {}, options = {}) =>
    keys.sign(entraClaims({ tid: tenantId, ...claims }, now()), options)

  const grant = async (form: URLSearchParams): Promise<LoopbackAnswer> => {
    const application = applications.get(form.get('client_id') ?? '')
    const assertion = form.get('client_assertion')
    if (assertion !== null && assertion !== application?.federatedToken)
      return oauthError(
        'invalid_client',
        'AADSTS700211: No matching federated identity record found.',
      )
    if (assertion === null && application?.secret !== form.get('client_secret'))
      return oauthError('invalid_client', 'AADSTS7000215: Invalid client secret provided.')
    const aud = (form.get('scope')?.split(' ')[0] ?? AUDIENCE).replace(/\/\.default$/, '')
    const value = await token({ aud, appid: application?.clientId, ...application?.claims })
    return { body: { token_type: 'Bearer', expires_in: 3_600, access_token: value } }
  }

  const handlerFor =
    (scheme: string): LoopbackHandler =>
    (request) => {
      requests.push(`${request.method} ${request.path}`)
      const intercepted = intercept(request)
      if (intercepted !== undefined) return intercepted
      const tenant = `/${tenantId}`
      if (request.path === `${tenant}/v2.0/.well-known/openid-configuration`)
        return { body: discovery(`${scheme}://${request.headers.host}`, tenantId) }
      if (request.path === `${tenant}/discovery/v2.0/keys`) return { body: keys.published() }
      if (request.path === `${tenant}/oauth2/v2.0/token`) return grant(request.form)
      return { status: 404, body: 'no such endpoint' }
    }
  const certificate = await authority.issue('127.0.0.1', PUBLIC_HOST)
  const secure = await startLoopback(handlerFor('https'), certificate)
  const plain = await startLoopback(handlerFor('http'))
  const proxy = await startTunnels(secure.port)
  return {
    tenantId,
    keys,
    authorityHost: secure.url,
    ca: authority.ca,
    proxyUrl: proxy.url,
    url: plain.url,
    requests,
    token,
    addApplication: (application) => void applications.set(application.clientId, application),
    intercept: (answer) => void (intercept = answer),
    async close() {
      await Promise.all([secure.close(), plain.close(), proxy.close()])
    },
  }
}

const PUBLIC_HOST = 'login.microsoftonline.com'

/** Starts an HTTP proxy that connects every tunnel to one port of this machine, and refuses those to other hosts. */
async function startTunnels(port: number): Promise<{ url: string; close(): Promise<void> }> {
  const sockets = new Set<Duplex>()
  const server = createServer().on('connect', ({ url }, client: Duplex, head: Buffer) => {
    // The HTTP server does not close them: they are no longer its own.
    sockets.add(client.once('close', () => sockets.delete(client)))
    if (url !== `${PUBLIC_HOST}:443`) {
      client.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n')
      return
    }
    const issuer = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      issuer.write(head)
      issuer.pipe(client).pipe(issuer)
    })
    for (const [one, other] of [
      [client, issuer],
      [issuer, client],
    ] as const)
      one.on('error', () => other.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.close()
      server.closeAllConnections()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

function discovery(base: string, tenantId: string): object {
  return {
    issuer: `${base}/${tenantId}/v2.0`,
    authorization_endpoint: `${base}/${tenantId}/oauth2/v2.0/authorize`,
    token_endpoint: `${base}/${tenantId}/oauth2/v2.0/token`,
    jwks_uri: `${base}/${tenantId}/discovery/v2.0/keys`,
  }
}

function oauthError(error: string, description: string): LoopbackAnswer {
  return { status: 401, body: { error, error_description: description } }
}
