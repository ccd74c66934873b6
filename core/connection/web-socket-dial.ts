/** Opens a WebSocket to a login's server in Node. The build for browsers replaces this module. */
import { PgIamError } from '../errors.js'
import { peerError } from '../load-peer.js'
import type { Login } from '../login.js'
import { type Dial, dialEndpoint, type ResolvedEndpoint } from './log-in.js'
import { type WebSocketLike, WebSocketStream, whenOpen } from './web-socket-stream.js'

/**
 * Returns how to dial: by `ws`, with the login's own TLS settings. Without that package, by the built-in WebSocket of Node 22 and later, if
 * the login trusts the certificate authorities of Node only, which is all that the built-in one can.
 */
export function webSocketDial(_login: Login): Dial {
  return async (endpoint, resolved, signal) => {
    const { host } = resolved.address ?? endpoint.address
    const address = endpoint.connectTo ?? { host, port: HTTPS_PORT }
    const peer = `${endpoint.host}:${address.port}`
    const loaded = await loadWs()
    if (loaded instanceof Error) {
      const isOwnHost = address.host === endpoint.host
      const BuiltIn = builtInFor(resolved, isOwnHost, loaded)
      const url = `wss://${urlHost(address.host)}:${address.port}`
      return whenOpen(new WebSocketStream(new BuiltIn(url), { peer }), signal)
    }
    const socket = await dialEndpoint(endpoint, { ...resolved, address }, signal, 'http/1.1').catch(
      (error: unknown) => {
        throw explainNoHttp(error)
      },
    )
    const webSocket = new loaded.WebSocket(`wss://${urlHost(endpoint.host)}`, {
      createConnection: () => socket,
      perMessageDeflate: false,
      followRedirects: false,
    } as never)
    return whenOpen(
      new WebSocketStream(webSocket as unknown as WebSocketLike, {
        peer,
        below: socket,
      }),
      signal,
    )
  }
}

const HTTPS_PORT = 443

/** Of a server that offers no HTTP at this port: the gateway without its option, or PostgreSQL. */
function explainNoHttp(error: unknown): unknown {
  const { code } = Object(error) as { code?: unknown }
  if (code !== 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL') return error
  const hint =
    "The server accepts no WebSockets at this address. For pg-iam's gateway, set webSocket: true."
  return Object.assign(error as Error, { hint })
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

async function loadWs(): Promise<typeof import('ws') | Error> {
  try {
    return await import('ws')
  } catch (error) {
    return peerError(error, 'ws') as Error
  }
}

function builtInFor(
  { tls }: ResolvedEndpoint,
  isOwnHost: boolean,
  missing: Error,
): new (url: string) => WebSocketLike {
  const { WebSocket: BuiltIn } = globalThis as { WebSocket?: new (url: string) => WebSocketLike }
  if (BuiltIn === undefined) throw missing
  if (tls.ca === undefined && isOwnHost) return BuiltIn
  throw new PgIamError(
    'ERR_PEER_MISSING',
    'the package "ws" is not installed, and Node\'s own WebSocket takes neither "tls.ca" nor a "connectTo" of another name',
    { hint: 'Run: npm install ws' },
  )
}
