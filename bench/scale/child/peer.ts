/**
 * A process that logs everybody in as PostgreSQL does, over TLS, and does nothing else: one PostgreSQL does not hold ten thousand
 * connections.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { TLSSocket, createSecureContext, type SecureContext } from 'node:tls'
import {
  AUTHENTICATION_OK,
  CLEARTEXT_REQUEST,
  GREETING,
} from '../../../test/core/support/backend-messages.js'
import { answerOrder } from '../../common/process/answer-order.js'
import type { PeerAddress, PeerOrder } from '../orders.js'

answerOrder(async ({ certificate, privateKey }: PeerOrder): Promise<PeerAddress> => {
  const context = createSecureContext({ cert: certificate, key: privateKey })
  const server = createServer({ noDelay: true }, (socket) => serve(socket, context))
  server.listen({ host: '127.0.0.1', port: 0, backlog: BACKLOG })
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port }
})

/** As many as the system allows; those beyond it would come again a second later. */
const BACKLOG = 65_535
const TERMINATE = 'X'.charCodeAt(0)

/** What a client says at each step comes in one piece: it is short, and the client waits for the answer. */
function serve(socket: Socket, secureContext: SecureContext): void {
  socket.on('error', ignore)
  // The request for TLS.
  socket.once('data', () => {
    socket.write('S')
    const secured = new TLSSocket(socket, { isServer: true, secureContext })
    secured.on('error', ignore)
    const answers = [CLEARTEXT_REQUEST, Buffer.concat([AUTHENTICATION_OK, GREETING])]
    secured.on('data', (chunk) => {
      const answer = answers.shift()
      if (answer !== undefined) secured.write(answer)
      else if (chunk[0] === TERMINATE) secured.end()
    })
  })
}

function ignore(): void {}
