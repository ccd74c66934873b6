/** How values that came from outside are shown in messages: short, one line, and never with a secret in them. */

/**
 * Renders a value for an error message. Strings are quoted and cut at 60 characters; whatever may be a token, a key or a
 * URL with a password is named, not shown.
 */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return describeText(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : 'a Date'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}

const LONGEST_SHOWN = 60

function describeText(text: string): string {
  if (SECRET_SHAPES.some((shape) => shape.test(text))) return 'a string that may hold a secret'
  if (text.length > LONGEST_SHOWN) return `a string of ${text.length} characters`
  return JSON.stringify(text)
}

const SECRET_SHAPES = [
  /X-Amz-(Signature|Security-Token|Credential)/i,
  /^eyJ[\w-]+\./, // a JSON Web Token
  /:\/\/[^/@\s]*:[^/@\s]*@/, // a URL with a password
  /PRIVATE KEY/,
]
