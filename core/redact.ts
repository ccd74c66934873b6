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

/** Says of what kind a value is and nothing more: for options whose every value may be a secret. */
export function describeKind(value: unknown): string {
  if (value === '') return 'an empty string'
  if (typeof value === 'string') return `a string of ${value.length} characters`
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return `a ${typeof value}`
  return describeValue(value)
}

const LONGEST_SHOWN = 60

function describeText(text: string): string {
  if (text.length > LONGEST_SHOWN) return describeKind(text)
  if (SECRET_SHAPES.some((shape) => shape.test(text))) return 'a string that may hold a secret'
  return JSON.stringify(text)
}

const SECRET_SHAPES = [
  /X-Amz-(Signature|Security-Token|Credential)/i,
  /^eyJ[\w-]+\./, // a JSON Web Token
  /:.*@/s, // a URL with a password, whatever characters somebody forgot to encode in it
  /password\s*=/i, // the key=value form of libpq
  /[A-Za-z0-9/+]{40}/, // a secret access key of AWS
  /PRIVATE KEY/,
]
