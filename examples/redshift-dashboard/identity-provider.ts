/**
 * A stand-in for the company's identity provider, on this machine: a real OpenID provider (oidc-provider 8) with two users and no passwords.
 * `node build/examples/redshift-dashboard/identity-provider.js '{"port":4000,"clients":[...]}'` runs it as a process.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Provider } from 'oidc-provider'

export interface IdentityProviderOptions {
  /** Default: a free port. */
  port?: number
  /** Client metadata, as they are registered at a provider. */
  clients: readonly object[]
  /** The users by name. Default: alice and bob. */
  users?: readonly string[]
  /** Lifetime of ID tokens and access tokens, in seconds. Default 300. */
  tokenSecs?: number
  /** Whether it issues refresh tokens. Default `true`. */
  refreshTokens?: boolean
}

export interface RunningIdentityProvider {
  readonly issuer: string
  /** Revokes what users have granted to applications: refresh tokens are no longer valid. */
  revokeGrants(): Promise<void>
  close(): Promise<void>
}

export async function startIdentityProvider({
  port = 0,
  clients,
  users = ['alice', 'bob'],
  tokenSecs = 300,
  refreshTokens = true,
}: IdentityProviderOptions): Promise<RunningIdentityProvider> {
  const server = createServer()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://localhost:${(server.address() as AddressInfo).port}`

  const grants = new Set<{ destroy(): Promise<void> }>()
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'one' }
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys: [key] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    pkce: { methods: ['S256'], required: () => true },
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email'] },
    conformIdTokenClaims: false,
    findAccount: (_context: unknown, id: string) =>
      users.includes(id)
        ? {
            accountId: id,
            claims: () => ({
              sub: id,
              name: id.charAt(0).toUpperCase() + id.slice(1),
              preferred_username: id,
              email: `${id}@example.com`,
            }),
          }
        : undefined,
    issueRefreshToken: () => refreshTokens,
    rotateRefreshToken: true,
    ttl: {
      AccessToken: tokenSecs,
      IdToken: tokenSecs,
      RefreshToken: 86_400,
      Session: 86_400,
      Grant: 86_400,
      Interaction: 600,
    },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      deviceFlow: {
        enabled: true,
        async userCodeInputSource(context: Context, form: string) {
          context.body = page(
            'Enter the code of your device',
            `${form}${submit('op.deviceInputForm')}`,
          )
        },
        async userCodeConfirmSource(context: Context, form: string) {
          context.body = page('Sign in on your device?', `${form}${submit('op.deviceConfirmForm')}`)
        },
        async successSource(context: Context) {
          context.body = page('Done', '<p>You can close this page.</p>')
        },
      },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(context: Context, form: string) {
          context.body = page(
            'Sign out of the identity provider?',
            `${form}<button autofocus form="op.logoutForm" name="logout" value="yes">Sign out</button>
            <button form="op.logoutForm">Stay signed in</button>`,
          )
        },
        postLogoutSuccessSource(context: Context) {
          context.body = page('You are signed out', '')
        },
      },
    },
    interactions: { url: (_context: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    // Its own applications need no consent of the user.
    async loadExistingGrant(context: {
      oidc: {
        client: { clientId: string }
        session: { accountId: string; grantIdFor(clientId: string): string | undefined }
      }
    }) {
      const { clientId } = context.oidc.client
      const known = context.oidc.session.grantIdFor(clientId)
      // Gone if the application has revoked its tokens.
      const before = known === undefined ? undefined : await provider.Grant.find(known)
      if (before !== undefined) return before
      const grant = new provider.Grant({ clientId, accountId: context.oidc.session.accountId })
      grant.addOIDCScope('openid profile email offline_access')
      await grant.save()
      grants.add(grant)
      return grant
    },
    renderError(context: Context, out: { error: string }) {
      context.type = 'html'
      context.body = page('The sign-in failed', `<p>${escaped(out.error)}</p>`)
    },
  })

  const serve = provider.callback()
  server.on('request', (request, response) => {
    const handle = request.url?.startsWith('/interaction/') === true ? interact : serve
    Promise.resolve(handle(request, response)).catch(() => {
      if (!response.headersSent) response.writeHead(400)
      response.end('The sign-in failed.')
    })
  })

  /** The page on which the user says who they are, and what it sends. */
  async function interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, params, session, grantId } = await provider.interactionDetails(
      request,
      response,
    )
    // Programs on the user's device are asked for each time: anybody can claim to be one of them (RFC 8252, section 8.6).
    const choices = prompt.name === 'login' ? users : [session?.accountId ?? '']
    if (request.method === 'GET') {
      const buttons = choices
        .map((user) => `<button name="user" value="${escaped(user)}">${escaped(user)}</button>`)
        .join(' ')
      const title = prompt.name === 'login' ? 'Who are you?' : `Sign in to ${params.client_id}?`
      response.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
      })
      response.end(
        page(
          escaped(title),
          `<form method="post">${buttons} <button name="deny" value="yes">Deny</button></form>`,
        ),
      )
      return
    }
    const user = new URLSearchParams(await text(request)).get('user') ?? ''
    const finish = (result: object): Promise<void> =>
      provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true })
    if (!choices.includes(user)) {
      await finish({
        error: 'access_denied',
        error_description: 'the user has denied the sign-in',
      })
    } else if (prompt.name === 'login') {
      await finish({ login: { accountId: user } })
    } else {
      const known = grantId === undefined ? undefined : await provider.Grant.find(grantId)
      const grant = known ?? new provider.Grant({ accountId: user, clientId: params.client_id })
      grant.addOIDCScope('openid profile email offline_access')
      await finish({ consent: { grantId: await grant.save() } })
    }
  }

  return {
    issuer,
    async revokeGrants() {
      await Promise.all([...grants].map((grant) => grant.destroy()))
      grants.clear()
    },
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

interface Context {
  body: string
  type: string
}

function submit(form: string): string {
  return `<button autofocus form="${form}">Continue</button>`
}

function page(title: string, content: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><link rel="icon" href="data:,"><title>${title}</title></head>
<body><main><h1>${title}</h1>${content}</main></body></html>
`
}

function escaped(value: string): string {
  return value.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

// As a process: options as JSON, and the address on stdout.
if (process.argv[1]?.endsWith('identity-provider.js') === true) {
  const running = await startIdentityProvider(JSON.parse(process.argv[2] ?? '{"clients":[]}'))
  process.stdout.write(`${running.issuer}\n`)
  process.once('SIGTERM', () => void running.close())
}
