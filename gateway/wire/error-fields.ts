/** Reads ErrorResponse messages. */
import { ServerError } from './server-error.js'

/** Turns a whole ErrorResponse into the error that it reports. Missing fields get PostgreSQL's defaults. */
export function parseErrorResponse(bytes: Buffer): ServerError {
  const fields = new Map<string, string>()
  let offset = 5
  while (offset < bytes.length && bytes[offset] !== 0) {
    const end = bytes.indexOf(0, offset)
    if (end === -1) break
    fields.set(String.fromCharCode(bytes[offset]!), bytes.toString('utf8', offset + 1, end))
    offset = end + 1
  }
  const detail = fields.get('D')
  const hint = fields.get('H')
  return new ServerError(fields.get('C') ?? 'XX000', fields.get('M') ?? 'unknown error', {
    severity: severityOf(fields.get('V') ?? fields.get('S')),
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  })
}

function severityOf(text: string | undefined): 'ERROR' | 'FATAL' | 'PANIC' {
  return text === 'FATAL' || text === 'PANIC' ? text : 'ERROR'
}
