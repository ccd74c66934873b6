/** Recognises a conflict of optimistic concurrency control, however an ORM has wrapped it. */

/**
 * Tells whether `error` is a conflict: the transaction lost against another one, did nothing, and may be run again.
 *
 * That is SQLSTATE 40001, as Aurora DSQL and PostgreSQL report it, or Aurora DSQL's OC000 (data) and OC001 (schema), found on
 * the error itself or on what it wraps: `cause`, `parent`, `original`, `driverError`, `meta`, and the errors of an `AggregateError`.
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
      if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)) state = code
    }
    return false
  })
  return state
}

const CONFLICT_CODES: ReadonlySet<unknown> = new Set(['40001', 'OC000', 'OC001', 'P2034'])

/** Prisma's driver adapters keep the database's code as `originalCode`. */
const CODE_KEYS = ['code', 'originalCode'] as const

/**
 * Only own properties are followed: Sequelize 7 keeps `parent` and `original` as getters of its prototype, which print a
 * deprecation warning when they are read, and has a `cause` beside them.
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

/** `error` and everything that it wraps, each object once, the outermost first. */
export function wrappedErrors(error: unknown): object[] {
  const found: object[] = []
  someWrapped(error, (candidate) => {
    found.push(candidate)
    return false
  })
  return found
}

/** Walks through everything that `error` wraps, each object once. */
function someWrapped(error: unknown, matches: (candidate: object) => boolean): boolean {
  const seen = new Set<unknown>()
  const waiting: unknown[] = [error]
  for (const candidate of waiting) {
    if (typeof candidate !== 'object' || candidate === null || seen.has(candidate)) continue
    seen.add(candidate)
    if (matches(candidate)) return true
    for (const key of WRAPPERS) {
      const wrapped = ownValue(candidate, key)
      if (Array.isArray(wrapped)) waiting.push(...(wrapped as unknown[]))
      else waiting.push(wrapped)
    }
  }
  return false
}

function ownValue(object: object, key: string): unknown {
  return Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined
}
