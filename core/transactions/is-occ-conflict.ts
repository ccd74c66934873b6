/** Recognises optimistic-concurrency conflicts, also in the errors of ORMs. */

/**
 * Whether `error` is a conflict: the transaction was rolled back because of a concurrent one, and can be retried.
 *
 * That is SQLSTATE 40001, as Aurora DSQL and PostgreSQL report it, or Aurora DSQL's OC000 (data) or OC001 (schema). It is searched for in
 * the error and in the errors that it wraps: `cause`, `parent`, `original`, `driverError`, `meta`, and the errors of an `AggregateError`.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-concurrency-control.html
 *
 * Exported from `'pg-iam'`.
 */
export function isOccConflict(error: unknown): boolean {
  return someWrapped(error, isConflictItself)
}

/** The SQLSTATE of the innermost error that has one, or `undefined`. */
export function sqlStateOf(error: unknown): string | undefined {
  let state: string | undefined
  someWrapped(error, (candidate) => {
    for (const key of CODE_KEYS) {
      const code = ownValue(candidate, key)
      if (typeof code !== 'string' || !SQL_STATE.test(code)) continue
      if (!isPrismaCode(code, candidate)) state = code
    }
    return false
  })
  return state
}

const SQL_STATE = /^(?=.*\d)[0-9A-Z]{5}$/

/** Prisma's own codes (7.10), such as P1017 and P2028, look like SQLSTATEs that an application may define. Its errors have `meta`. */
function isPrismaCode(code: string, error: object): boolean {
  return /^P\d{4}$/.test(code) && Object.hasOwn(error, 'meta')
}

const CONFLICT_CODES: ReadonlySet<unknown> = new Set(['40001', 'OC000', 'OC001', 'P2034'])

/** Prisma's driver adapters have the database's code as `originalCode`. */
const CODE_KEYS = ['code', 'originalCode'] as const

/**
 * Only own properties are read: Sequelize 7 has `parent` and `original` as prototype getters that print a deprecation warning, and has
 * `cause` as well.
 */
const WRAPPERS = [
  'cause',
  'parent',
  'original',
  'driverError',
  'meta',
  'driverAdapterError',
  'errors',
] as const

function isConflictItself(error: object): boolean {
  return CODE_KEYS.some((key) => CONFLICT_CODES.has(ownValue(error, key)))
}

/** `error` and all errors that it wraps, each once, outermost first. */
export function wrappedErrors(error: unknown): object[] {
  const found: object[] = []
  someWrapped(error, (candidate) => {
    found.push(candidate)
    return false
  })
  return found
}

/** Calls `matches` with `error` and all errors that it wraps, each once, until it returns true. */
function someWrapped(error: unknown, matches: (candidate: object) => boolean): boolean {
  const seen = new Set<unknown>()
  const queue: unknown[] = [error]
  for (const candidate of queue) {
    if (typeof candidate !== 'object' || candidate === null || seen.has(candidate)) continue
    seen.add(candidate)
    if (matches(candidate)) return true
    for (const key of WRAPPERS) {
      const wrapped = ownValue(candidate, key)
      if (Array.isArray(wrapped)) queue.push(...(wrapped as unknown[]))
      else queue.push(wrapped)
    }
  }
  return false
}

function ownValue(object: object, key: string): unknown {
  return Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined
}
