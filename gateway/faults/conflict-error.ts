/** The conflicts of Aurora DSQL. */
import { ServerError } from '../wire/server-error.js'
import type { ConflictCode } from './fault-options.js'

/**
 * SQLSTATE 40001 for all of them; the kind is in the text.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-concurrency-control.html
 */
export function conflictError(code: ConflictCode): ServerError {
  return new ServerError('40001', TEXTS[code])
}

const TEXTS = {
  OC000: 'change conflicts with another transaction (OC000)',
  OC001: 'schema has been updated by another transaction, please retry: (OC001)',
} as const
