/** What is inside of an error: every client wraps the errors of its driver in a way of its own. */

/** The error and all that it was made from, outermost first. */
export function errorChain(error: unknown): unknown[] {
  const chain: unknown[] = []
  const visit = (link: unknown): void => {
    if (link === undefined || link === null || chain.includes(link)) return
    chain.push(link)
    if (typeof link !== 'object') return
    for (const name of ['cause', 'parent', 'original', 'driverError', 'errors']) {
      const inner: unknown = (link as Record<string, unknown>)[name]
      for (const one of Array.isArray(inner) ? inner : [inner]) visit(one)
    }
  }
  visit(error)
  return chain
}

/** What `promise` rejects with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}

/** The codes in an error, outermost first. */
export function codesOf(error: unknown): unknown[] {
  return errorChain(error).flatMap((link) => {
    const code = typeof link === 'object' ? (link as { code?: unknown }).code : undefined
    return code === undefined ? [] : [code]
  })
}
