/** In place of `core/connection/web-socket-dial.ts`: the WebSocket of a browser, which verifies TLS for the name that is dialled. */
import type { Dial } from '../core/connection/log-in.js'
import {
  type WebSocketLike,
  WebSocketStream,
  whenOpen,
} from '../core/connection/web-socket-stream.js'
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'

/** @throws PgIamError `ERR_OPTION_CONFLICT` for what a browser cannot do, `ERR_TLS_UNVERIFIED` for a `connectTo` that is not loopback */
export function webSocketDial({ connectTo, tls, host: ownHost }: Login): Dial {
  refuseTls({ tls, host: ownHost })
  if (connectTo !== undefined && connectTo.host !== ownHost && !isLoopback(connectTo.host))
    throw new PgIamError(
      'ERR_TLS_UNVERIFIED',
      `"connectTo.host" must be "host" or a loopback address in a browser, got "${connectTo.host}"`,
      { hint: 'A browser verifies the name that is dialled, and not that of the login.' },
    )
  return async (endpoint, resolved, signal) => {
    const { host } = resolved.address ?? endpoint.address
    const address = endpoint.connectTo ?? { host, port: HTTPS_PORT }
    const { WebSocket: Native } = globalThis as { WebSocket?: new (url: string) => WebSocketLike }
    if (Native === undefined)
      throw new PgIamError('ERR_PEER_MISSING', 'this runtime has no WebSocket')
    const name = address.host.includes(':') ? `[${address.host}]` : address.host
    const stream = new WebSocketStream(new Native(`wss://${name}:${address.port}`), {
      peer: `${address.host}:${address.port}`,
    })
    endWhenOffline(stream)
    return whenOpen(stream, signal).catch((error: unknown) => {
      throw signal.aborted ? error : withHint(error)
    })
  }
}

const HTTPS_PORT = 443

function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1)$|\.localhost$/i.test(host)
}

function refuseTls({ tls, host }: Pick<Login, 'tls' | 'host'>): void {
  const given = [
    tls.ca !== undefined && 'tls.ca',
    tls.servername !== host && 'tls.servername',
    tls.maxVersion !== undefined && 'tls.maxVersion',
  ].find((name) => name !== false)
  if (given === undefined) return
  throw new PgIamError('ERR_OPTION_CONFLICT', `"${given}" must not be given in a browser`, {
    hint: 'The browser verifies TLS, with its own certificate authorities.',
  })
}

/** A browser says when it has no network. Without that, a connection would seem to be open until a query is sent. */
function endWhenOffline(stream: WebSocketStream): void {
  const { addEventListener, removeEventListener } = globalThis as Partial<EventTarget>
  if (addEventListener === undefined || removeEventListener === undefined) return
  const end = (): void =>
    void stream.destroy(Object.assign(new Error('the browser is offline'), { code: 'ENETUNREACH' }))
  addEventListener.call(globalThis, 'offline', end)
  stream.once('close', () => removeEventListener.call(globalThis, 'offline', end))
}

/** A browser does not tell a page why a WebSocket did not open. */
function withHint(error: unknown): unknown {
  return error instanceof Error && !('hint' in error)
    ? Object.assign(error, {
        hint: "The browser does not say why. Check the address, that the browser trusts the server's certificate, that the page's content security policy allows it (connect-src), and that the server accepts the page's origin.",
      })
    : error
}
