/** Inspects errors: every client wraps the errors of its driver differently. */

const WRAPPERS = [
  'cause',
  'parent',
  'original',
  'driverError',
  'meta',
  'driverAdapterError',
  'errors',
]

/** The error and its causes, outermost first. */
export function errorChain(error: unknown): unknown[] {
  const chain: unknown[] = []
  const visit = (link: unknown): void => {
    if (link === undefined || link === null || chain.includes(link)) return
    chain.push(link)
    if (typeof link !== 'object') return
    // Prisma keeps the code of the server's error in a nested object.
    const { originalCode: code, originalMessage: message } = link as Record<string, unknown>
    if (code !== undefined) chain.push({ ...link, code, message })
    for (const name of WRAPPERS) {
      // Sequelize 7 has getters named `parent` and `original`, which print a deprecation warning.
      if (!Object.hasOwn(link, name)) continue
      const inner: unknown = (link as Record<string, unknown>)[name]
      for (const one of Array.isArray(inner) ? inner : [inner]) visit(one)
    }
  }
  visit(error)
  return chain
}

/** Returns the error with which `promise` rejects. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('the promise did not reject')
}

/** The codes in an error chain, outermost first. */
export function codesOf(error: unknown): unknown[] {
  return errorChain(error).flatMap((link) => {
    const code = typeof link === 'object' ? (link as { code?: unknown }).code : undefined
    return code === undefined ? [] : [code]
  })
}
