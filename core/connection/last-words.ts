/** What a server says before it ends a connection. */

/** The fields of an error that ends the session, by the names that drivers give them. */
export interface LastWords {
  readonly severity: string
  /** The SQLSTATE. */
  readonly code: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
}

/** Reads an error that a server has sent. Returns `undefined` for one after which the session goes on. */
export function readLastWords(message: Buffer): LastWords | undefined {
  const fields = message.toString('utf8', HEADER_BYTES).split('\0')
  const field = (letter: string): string | undefined =>
    fields.find((candidate) => candidate.startsWith(letter))?.slice(1)
  // Each field is a letter and a text; `V` is the severity in English, `S` the same in the server's language.
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

/** The error for an application, with the SQLSTATE as its `code`, as errors of drivers have it. */
export function lastWordsError({ message, ...fields }: LastWords): Error {
  return Object.assign(new Error(message), fields)
}

const HEADER_BYTES = 5
