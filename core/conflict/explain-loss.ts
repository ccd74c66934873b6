/** Says why a connection was lost, on errors that only say that it was. */
import { sqlStateOf } from './is-occ-conflict.js'

/**
 * Returns `error`, with `loss` as its `cause` where it has none and tells nothing of the server. When the backend of a
 * transaction dies between two statements, pg hears why, and tells nobody: the next statement fails with "is not queryable",
 * or with whatever an ORM makes of that.
 */
export function explainedBy(loss: Error | undefined, error: unknown): unknown {
  if (loss === undefined || typeof error !== 'object' || error === null || error === loss)
    return error
  if ('cause' in error || !Object.isExtensible(error) || sqlStateOf(error) !== undefined)
    return error
  return Object.defineProperty(error, 'cause', { value: loss, configurable: true, writable: true })
}
