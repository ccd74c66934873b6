/** Checks that a client's message is built as the protocol says, so that no engine ever sees one that is not. */
import { FrontendType } from './message-types.js'

/**
 * Tells what is wrong with the structure of one whole frontend message, or `undefined` when nothing is.
 *
 * PostgreSQL would answer such a message with an error of its own; PGlite runs into an endless loop, and a proxy that
 * passes it on may end up with another idea of where the next message starts.
 *
 * @param bytes holds the message from `start` (its type byte) to `end`
 */
export function structuralFault(bytes: Buffer, start: number, end: number): string | undefined {
  const body = start + 5
  const type: number = bytes[start]!
  switch (type) {
    case FrontendType.query:
    case FrontendType.copyFail:
      return isExactly(afterText(bytes, body, end), end)
    case FrontendType.parse:
      return isExactly(afterParse(bytes, body, end), end)
    case FrontendType.bind:
      return isExactly(afterBind(bytes, body, end), end)
    case FrontendType.describe:
    case FrontendType.close:
      return isExactly(afterTarget(bytes, body, end), end)
    case FrontendType.execute:
      return isExactly(after(4, afterText(bytes, body, end), end), end)
    case FrontendType.functionCall:
      return isExactly(afterFunctionCall(bytes, body, end), end)
    case FrontendType.copyData:
      return undefined
    case FrontendType.sync:
    case FrontendType.flush:
    case FrontendType.copyDone:
    case FrontendType.terminate:
      return isExactly(body, end)
    case FrontendType.password:
      return 'a password message after the login'
    default:
      return `invalid frontend message type ${type}`
  }
}

/** What the readers below return once the message has ended too early. */
const NOWHERE = -1

function isExactly(offset: number, end: number): string | undefined {
  return offset === end ? undefined : 'invalid message format'
}

function after(length: number, offset: number, end: number): number {
  return offset === NOWHERE || offset + length > end ? NOWHERE : offset + length
}

function afterText(bytes: Buffer, offset: number, end: number): number {
  if (offset === NOWHERE) return NOWHERE
  const nul = bytes.indexOf(0, offset)
  return nul === -1 || nul >= end ? NOWHERE : nul + 1
}

/** A count of 16 bits, and as many items of a fixed size. */
function afterItems(size: number, bytes: Buffer, offset: number, end: number): number {
  const items = after(2, offset, end)
  if (items === NOWHERE) return NOWHERE
  return after(bytes.readUInt16BE(offset) * size, items, end)
}

/** A count of 16 bits, and as many values, each with its length in front; -1 stands for NULL. */
function afterValues(bytes: Buffer, offset: number, end: number): number {
  let next = after(2, offset, end)
  if (next === NOWHERE) return NOWHERE
  for (let left = bytes.readUInt16BE(offset); left > 0; left--) {
    const value = after(4, next, end)
    if (value === NOWHERE) return NOWHERE
    const length = bytes.readInt32BE(next)
    if (length < -1) return NOWHERE
    next = after(Math.max(length, 0), value, end)
    if (next === NOWHERE) return NOWHERE
  }
  return next
}

/** Statement name, query, parameter types. */
function afterParse(bytes: Buffer, offset: number, end: number): number {
  return afterItems(4, bytes, afterText(bytes, afterText(bytes, offset, end), end), end)
}

/** Portal, statement name, parameter formats, parameters, result formats. */
function afterBind(bytes: Buffer, offset: number, end: number): number {
  const formats = afterItems(2, bytes, afterText(bytes, afterText(bytes, offset, end), end), end)
  return afterItems(2, bytes, afterValues(bytes, formats, end), end)
}

/** `S` or `P`, and the name of a statement or portal. */
function afterTarget(bytes: Buffer, offset: number, end: number): number {
  const kind = bytes[offset]
  if (offset >= end || (kind !== STATEMENT && kind !== PORTAL)) return NOWHERE
  return afterText(bytes, offset + 1, end)
}

const STATEMENT = 'S'.charCodeAt(0)
const PORTAL = 'P'.charCodeAt(0)

/** Function, argument formats, arguments, result format. */
function afterFunctionCall(bytes: Buffer, offset: number, end: number): number {
  const formats = afterItems(2, bytes, after(4, offset, end), end)
  return after(2, afterValues(bytes, formats, end), end)
}
