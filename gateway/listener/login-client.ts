/** The client of a login as its method sees it: questions, answers, and the certificate of its TLS. */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { ClientCertificate, LoginClient } from '../auth/login-method.js'
import { fatal, refusal } from '../auth/refusal.js'
import type { FaultHooks } from '../faults/faults.js'
import { FrontendType } from '../wire/message-types.js'
import { sha256 } from '../../core/wire/scram-keys.js'
import { connectionClosed, createPacketReader } from '../wire/packet-reader.js'
import { refused } from './login-refused.js'

export interface ListenedClient extends LoginClient {
  /** Settles as `work` does, or rejects when the connection ends before: nobody waits for a check that nobody needs. */
  whileConnected<T>(work: T | Promise<T>): Promise<T>
  /** Lets the faults happen that wait for a client's answer. Does nothing the second time. */
  passFaults(): Promise<void>
}

/** `ask` and `passFaults` reject with a refusal (see `refusalOf`), or with the error of a connection that broke. */
export function createLoginClient(
  socket: TLSSocket,
  faults: Pick<FaultHooks, 'afterToken'>,
): ListenedClient {
  let isPassed = false
  const passFaults = async (): Promise<void> => {
    if (isPassed) return
    isPassed = true
    const { isCut } = await faults.afterToken()
    if (isCut) throw refused(refusal('fault', 'a fault cut the connection'))
  }
  return {
    async whileConnected(work) {
      let leave: (() => void) | undefined
      const left = new Promise<never>((_resolve, reject) => {
        leave = () => reject(connectionClosed())
        if (socket.destroyed) leave()
        else socket.once('close', leave)
      })
      try {
        return await Promise.race([work, left])
      } finally {
        if (leave !== undefined) socket.off('close', leave)
      }
    },
    passFaults,
    async ask(request) {
      socket.write(request)
      const answer = await readAnswer(socket)
      await passFaults()
      return answer
    },
    tell: (message) => void socket.write(message),
    // The hash is that of the certificate's signature, which is SHA-256 for all that the gateway makes.
    channelBinding: () => sha256(socket.getX509Certificate()?.raw ?? Buffer.alloc(0)),
    certificate: () => certificateOf(socket),
  }
}

/** Reads the body of one answer. Its limit is far above any token: those with session tokens have some 2 kB. */
async function readAnswer(socket: Socket): Promise<Buffer> {
  const reader = createPacketReader(socket)
  const header = await reader.read(5)
  const type = header[0]!
  if (type !== FrontendType.password)
    throw violation(`expected password response, got message type ${type}`)
  const length = header.readInt32BE(1) - 4
  if (length < 0 || length > MAX_ANSWER_BYTES) throw violation('invalid password packet size')
  return reader.read(length)
}

const MAX_ANSWER_BYTES = 65_536

function violation(explanation: string): Error {
  return refused(refusal('protocol-violation', explanation, fatal('08P01', explanation)))
}

function certificateOf(socket: TLSSocket): ClientCertificate | undefined {
  if (socket.getPeerX509Certificate() === undefined) return undefined
  const name: unknown = socket.getPeerCertificate().subject.CN
  const commonName: unknown = Array.isArray(name) ? name[0] : name
  // In servers it is OpenSSL's name for the fault, whatever its type says.
  const fault = socket.authorized ? undefined : String(socket.authorizationError ?? 'unknown')
  return { commonName: typeof commonName === 'string' ? commonName : undefined, fault }
}
