/** Says why a connection was lost, on errors that only say that it was. */

/**
 * Returns `error`. Where its innermost cause says no more than that the connection is gone, that gets `loss` as its own. When
 * the backend of a transaction dies between two statements, pg hears why, and tells nobody: the next statement fails with "is
 * not queryable", or with what an ORM makes of that.
 */
export function explainedBy(loss: Error | undefined, error: unknown): unknown {
  if (loss === undefined) return error
  let innermost = error
  for (let depth = 0; depth < DEEPEST && causeOf(innermost) !== undefined; depth++)
    innermost = causeOf(innermost)
  if (saysGone(innermost) && innermost !== loss && Object.isExtensible(innermost))
    Object.defineProperty(innermost, 'cause', { value: loss, configurable: true, writable: true })
  return error
}

const DEEPEST = 10

function causeOf(error: unknown): unknown {
  return (error as { cause?: unknown } | null | undefined)?.cause
}

/** By the words of pg, which Knex and Sequelize repeat, and of TypeORM. */
function saysGone(error: unknown): error is object {
  if (typeof error !== 'object' || error === null) return false
  const { message } = error as { message?: unknown }
  return (
    typeof message === 'string' &&
    /not queryable|connection terminated|already released/i.test(message)
  )
}
