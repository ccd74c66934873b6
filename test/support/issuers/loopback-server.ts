/** An HTTP or HTTPS server on loopback, for emulations of cloud endpoints. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { KeyPair } from '../../core/support/certificates.js'

export interface LoopbackRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  /** The raw body. */
  readonly body: string
  /** The parsed body, if it is a form. */
  readonly form: URLSearchParams
  /** Resolves when the response was sent, or the client has disconnected. */
  readonly over: Promise<void>
  /** Resolves when the client has closed the connection. */
  disconnected(): Promise<void>
}

export interface LoopbackAnswer {
  /** Default 200. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** A string is sent unchanged, other values as JSON. */
  readonly body: unknown
}

export type LoopbackHandler = (request: LoopbackRequest) => LoopbackAnswer | Promise<LoopbackAnswer>

export interface LoopbackServer {
  /** Without a trailing slash. */
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

/** Starts it, with TLS if a certificate is given. */
export async function startLoopback(
  handle: LoopbackHandler,
  certificate?: KeyPair,
): Promise<LoopbackServer> {
  const listener: RequestListener = (request, response) => {
    const over = new Promise<void>((resolve) => response.once('close', () => resolve()))
    const disconnected = async (): Promise<void> => {
      if (!request.socket.destroyed) await once(request.socket, 'close')
    }
    void received(request)
      .then((read) => ({ ...read, over, disconnected }))
      .then(handle)
      .catch((error: unknown) => ({ status: 500, headers: {}, body: String(error) }))
      .then(({ status = 200, headers = {}, body }) => {
        const isText = typeof body === 'string'
        const type = isText ? 'text/plain' : 'application/json'
        response.writeHead(status, { 'content-type': type, ...headers })
        response.end(isText ? body : JSON.stringify(body))
      })
  }
  const server =
    certificate === undefined ? createServer(listener) : createTlsServer(certificate, listener)
  // Idle connections must be closed by the client.
  server.keepAliveTimeout = 0
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http${certificate === undefined ? '' : 's'}://127.0.0.1:${port}`,
    port,
    async close() {
      if (!server.listening) return
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

async function received(
  request: IncomingMessage,
): Promise<Omit<LoopbackRequest, 'over' | 'disconnected'>> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const url = new URL(request.url ?? '/', 'http://loopback')
  const body = Buffer.concat(chunks).toString()
  return {
    method: request.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    headers: request.headers,
    body,
    form: new URLSearchParams(body),
  }
}
