/** The sessions of a connection without an engine: every statement that no hook answers fails. */
import { Duplex } from 'node:stream'
import { errorResponse, ServerError } from '../../wire/error-response.js'
import { eachMessage } from '../../wire/framing.js'
import { FrontendType, parameterStatus, readyForQuery } from '../../wire/messages.js'
import type { Engine, EngineSession } from './engine.js'

let sessions = 0

export const NO_ENGINE: Engine = {
  name: 'none',
  openSession: async () => createSession(),
  close: async () => {},
}

function createSession(): EngineSession {
  /** A message of the extended protocol has failed: the others up to the Sync are ignored. */
  let isSkipping = false
  const answer = (type: number): Buffer[] => {
    switch (type) {
      case FrontendType.sync:
        isSkipping = false
        return [readyForQuery('I')]
      case FrontendType.query:
      case FrontendType.functionCall:
        return isSkipping ? [] : [noEngine(), readyForQuery('I')]
      // As a server, it ignores what is left of a COPY that has failed.
      case FrontendType.flush:
      case FrontendType.copyData:
      case FrontendType.copyDone:
      case FrontendType.copyFail:
        return []
      default: {
        const isFirst = !isSkipping
        isSkipping = true
        return isFirst ? [noEngine()] : []
      }
    }
  }
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      eachMessage(chunk, (message) => {
        const type = message[0]!
        if (type !== FrontendType.terminate) for (const reply of answer(type)) stream.push(reply)
      })
      done()
    },
    final(done) {
      stream.push(null)
      done()
    },
  })
  stream.push(
    Buffer.concat([
      ...Object.entries(PARAMETERS).map(([name, value]) => parameterStatus(name, value)),
      readyForQuery('I'),
    ]),
  )
  return Object.assign(stream, { processId: (++sessions % 0x7fff_ffff) + 1, cancel: () => {} })
}

/** What drivers read at the start of a session. */
const PARAMETERS = {
  server_version: '17.0',
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
  TimeZone: 'UTC',
}

function noEngine(): Buffer {
  return errorResponse(
    new ServerError('0A000', 'this server does not support the statement', {
      detail: 'No hook has answered it, and there is no engine.',
    }),
  )
}
