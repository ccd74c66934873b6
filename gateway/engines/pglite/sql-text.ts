/** Writes values into SQL of the engine's own. */

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

/** An identifier, which has no such escapes in every mode: use it where the settings are known. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}
