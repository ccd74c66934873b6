/** A server that accepts every login and answers simple queries, for tests with real drivers. */
import type { Socket } from 'node:net'
import { textRow } from './backend-messages.js'
import { createByteReader } from './byte-reader.js'
import { acceptLogin, type Behaviour } from './postgres-stand-in.js'
import type { KeyPair } from './certificates.js'

/** Serves a connection. `answer` gets the text of each query, and returns the text of the row in its reply. */
export function answeringQueries(answer: (query: string) => string | Promise<string>): Behaviour {
  return async (socket: Socket, keys: KeyPair) => {
    const { socket: secured } = await acceptLogin(socket, keys)
    const reader = createByteReader(secured)
    for (;;) {
      const message = await reader.message()
      const type = String.fromCharCode(message[0] ?? 0)
      if (type === 'X') return void secured.end()
      if (type === 'Q')
        secured.write(textRow(await answer(message.toString('utf8', 5, message.length - 1))))
    }
  }
}
