/** What a server says before it ends a connection. */

/** The last words of a server as an error. It has the SQLSTATE as its `code`, as errors of drivers do. */
export interface LastWords extends Error {
  code: string
}

/**
 * Returns the FATAL or PANIC error that `chunk` ends with, or `undefined`. It is found from its end: where the chunk begins is
 * the network's choice.
 */
export function lastWordsIn(chunk: Buffer): LastWords | undefined {
  if (chunk.at(-1) !== 0) return undefined
  const { length } = chunk
  const earliest = Math.max(0, length - LONGEST_BYTES)
  for (let at = length - HEADER_BYTES; at >= earliest; at--) {
    if (chunk[at] !== ERROR_RESPONSE || at + 1 + chunk.readInt32BE(at + 1) !== length) continue
    return errorOf(chunk.toString('utf8', at + HEADER_BYTES, length).split('\0'))
  }
  return undefined
}

const ERROR_RESPONSE = 'E'.charCodeAt(0)
const HEADER_BYTES = 5
/** Far above any such message. */
const LONGEST_BYTES = 8_192

/** Each field is a letter and a text; `V` is the severity in English, `S` the same in the server's language. */
function errorOf(fields: readonly string[]): LastWords | undefined {
  const field = (letter: string): string | undefined =>
    fields.find((candidate) => candidate.startsWith(letter))?.slice(1)
  const severity = field('V') ?? field('S')
  if (severity !== 'FATAL' && severity !== 'PANIC') return undefined
  return Object.assign(new Error(field('M') ?? 'the server ended the connection'), {
    code: field('C') ?? '08006',
    severity,
  })
}
