/** What a server says before it ends a connection. */
import { createMessageWalk } from '../wire/message-walk.js'

/** The fields of an error that ends the session, by the names that drivers give them. */
export interface LastWords {
  readonly severity: string
  /** The SQLSTATE. */
  readonly code: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
}

export interface LastWordsListener {
  /** Hears the next chunk. Returns where in it the last words begin, or `undefined` where it does not end with any. */
  hear(chunk: Buffer): number | undefined
  /** The last words, once they were heard. */
  readonly heard: LastWords | undefined
}

/** Listens for a FATAL or PANIC error. One that comes in two pieces is not heard. */
export function createLastWordsListener(): LastWordsListener {
  const walk = createMessageWalk()
  let heard: LastWords | undefined
  return {
    hear(chunk) {
      const begin = walk.push(chunk)
      if (begin === undefined || chunk[begin] !== ERROR_RESPONSE) return undefined
      heard ??= lastWords(chunk.toString('utf8', begin + HEADER_BYTES).split('\0'))
      return heard === undefined ? undefined : begin
    },
    get heard() {
      return heard
    },
  }
}

/** The error for an application, with the SQLSTATE as its `code`, as errors of drivers have it. */
export function lastWordsError({ message, ...fields }: LastWords): Error {
  return Object.assign(new Error(message), fields)
}

const ERROR_RESPONSE = 'E'.charCodeAt(0)
const HEADER_BYTES = 5

/** Each field is a letter and a text; `V` is the severity in English, `S` the same in the server's language. */
function lastWords(fields: readonly string[]): LastWords | undefined {
  const field = (letter: string): string | undefined =>
    fields.find((candidate) => candidate.startsWith(letter))?.slice(1)
  const severity = field('V') ?? field('S')
  if (severity !== 'FATAL' && severity !== 'PANIC') return undefined
  const detail = field('D')
  const hint = field('H')
  return {
    severity,
    code: field('C') ?? '08006',
    message: field('M') ?? 'the server ended the connection',
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  }
}
