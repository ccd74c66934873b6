/** Writes values into SQL of the gateway's own. */
import type { ServerError } from '../wire/server-error.js'

/**
 * A text literal in ASCII alone. It means the same whatever client_encoding, standard_conforming_strings and the like the
 * session has set, since SQL of the engine's own runs within the sessions.
 */
export function literal(text: string): string {
  const escaped = text.replace(/[^ -&(-[\]-~]/gu, (character) => {
    const code = character.codePointAt(0)!
    return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`
  })
  return `E'${escaped}'`
}

/**
 * A statement that fails with this error. It comes from PostgreSQL then, in its place among other statements and with its effect on a
 * transaction. It has no parameters and can be prepared like any other.
 */
export function raising({ sqlState, message, hint }: ServerError): string {
  const fields = Object.entries({ ERRCODE: sqlState, MESSAGE: message, HINT: hint }).flatMap(
    ([name, value]) => (value === undefined ? [] : [`${name} = ${literal(value)}`]),
  )
  return `DO ${literal(`BEGIN RAISE EXCEPTION USING ${fields.join(', ')}; END`)}`
}

/**
 * A query of the gateway's own in a session whose search path may name a schema with operators and functions of somebody else. The path
 * is set back behind it. It must not run in a transaction that is open, and itself names schemas, those of operators included: it is
 * read as a whole before the first statement runs, but each statement is analysed on its own.
 */
export function catalogQuery(sql: string): string {
  return `SET LOCAL search_path = pg_catalog; ${sql}`
}

/** An identifier, which has no such escapes in every mode: use it where the settings are known. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}
