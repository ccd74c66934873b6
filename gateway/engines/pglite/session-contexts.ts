/** Gives each session its own role and settings on the one connection that PostgreSQL has here. */
import { rowsOf, refusalOf, type Refusal } from './sql-reply.js'
import type { SessionSettings } from './session-settings.js'
import { catalogQuery, literal } from '../../sql/sql-text.js'

export type Parameter = readonly [name: string, value: string]

export interface SessionContexts {
  /** Makes the state of a new session and enters it. Returns why it cannot be, where it cannot. */
  open(session: number, role: string, parameters: readonly Parameter[]): Refusal | undefined
  /** Puts the session's state in place of that of the last one. Returns why that is not possible, where it is not. */
  enter(session: number): Refusal | undefined
  /** Remembers the state of the session that was entered last; outside of transactions only. */
  save(): void
  /** Remembers what of the state does not end with the open transaction. */
  saveInTransaction(): void
  forget(session: number): void
  /** Runs SQL as the superuser, outside of all sessions. */
  asSuperuser(sql: string): Buffer
}

interface Context {
  readonly role: string
  /** What RESET goes back to: the settings of the database and the role, and those of the startup packet. */
  defaults: ReadonlyMap<string, string>
  settings: ReadonlyMap<string, string>
  readonly customNames: Set<string>
  /** Equal for contexts between which nothing need be done. */
  fingerprint: string
}

/** @param query runs SQL that no client hears of */
export function createSessionContexts(
  query: (sql: string) => Buffer,
  settings: SessionSettings,
): SessionContexts {
  const contexts = new Map<number, Context>()
  let current: Context | undefined
  /** The fingerprint of what PostgreSQL has at the moment, where that is the whole state of some context. */
  let inPlace: string | undefined

  /** Nobody but these lines may say who the session is. */
  const asAuthority = (sql: string): Buffer => {
    settings.allowAuthorization = true
    try {
      return query(sql)
    } finally {
      settings.allowAuthorization = false
    }
  }
  const become = (role: string): Refusal | undefined =>
    refusalOf(asAuthority(select([['session_authorization', role]])))
  const becomeNobody = (customNames: ReadonlySet<string>): void => {
    inPlace = undefined
    asAuthority(`${BECOME_SUPERUSER}; RESET ALL`)
    settings.showCustom(customNames)
  }

  const restore = (context: Context): Refusal | undefined => {
    becomeNobody(context.customNames)
    const own = [...context.settings].filter(([name]) => !IDENTITY.has(name))
    const failed = own.length > 0 && refusalOf(query(select(own))) !== undefined
    // What a setting names may be gone. That is no reason to end the session, or to lose its other settings.
    if (failed) for (const parameter of own) query(select([parameter]))
    const refusal = become(context.role)
    if (refusal !== undefined) return refusal
    const role = context.settings.get('role')
    if (role !== undefined) query(select([['role', role]]))
    inPlace = context.fingerprint
    return undefined
  }

  const save = (context: Context): void => {
    for (const name of settings.customNames()) context.customNames.add(name)
    const read = settings.read()
    context.settings = new Map([...context.defaults, ...read])
    context.fingerprint = fingerprintOf(context)
    // After a RESET there is nothing where the default of this session should be. Entering it again repairs that.
    inPlace = context.settings.size === read.size ? context.fingerprint : undefined
  }

  return {
    open(session, role, parameters) {
      becomeNobody(NO_NAMES)
      current = undefined
      const [login] = rowsOf(query(loginOf(role)))
      if (login === undefined) return refused(`role "${role}" does not exist`)
      if (login[0] !== 't') return refused(`role "${role}" is not permitted to log in`)
      const configured = rowsOf(query(configuredFor(role))).map(([entry]) =>
        splitEntry(entry ?? ''),
      )
      for (const parameter of configured) {
        if (!IDENTITY.has(parameter[0])) query(select([parameter]))
      }
      const refusal = become(role) ?? firstRefusal(parameters.map((one) => query(select([one]))))
      if (refusal !== undefined) return refusal
      const context: Context = {
        role,
        defaults: settings.read(),
        settings: new Map(),
        customNames: new Set(),
        fingerprint: '',
      }
      contexts.set(session, context)
      current = context
      save(context)
      return undefined
    },
    enter(session) {
      const context = contexts.get(session)!
      current = context
      return inPlace === context.fingerprint ? undefined : restore(context)
    },
    save() {
      if (current !== undefined) save(current)
    },
    saveInTransaction() {
      for (const name of settings.customNames()) current?.customNames.add(name)
    },
    asSuperuser(sql) {
      becomeNobody(NO_NAMES)
      return query(sql)
    },
    forget(session) {
      if (contexts.get(session) === current) current = undefined
      contexts.delete(session)
    },
  }
}

const NO_NAMES: ReadonlySet<string> = new Set()

/** What is not a setting but says who the session is. */
const IDENTITY: ReadonlySet<string> = new Set(['role', 'session_authorization'])

const BECOME_SUPERUSER = select([
  ['role', 'none'],
  ['session_authorization', 'postgres'],
])

function select(parameters: readonly Parameter[]): string {
  const assignments = parameters.map(
    ([name, value]) => `pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`,
  )
  return `SELECT ${assignments.join(', ')}`
}

function loginOf(role: string): string {
  return catalogQuery(
    `SELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) ${literal(role)}`,
  )
}

/** What ALTER DATABASE SET and ALTER ROLE SET have set for the role here, the more specific ones last. */
function configuredFor(role: string): string {
  const name = literal(role)
  return catalogQuery(`SELECT entry
    FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS entry
    LEFT JOIN pg_catalog.pg_database ON datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    LEFT JOIN pg_catalog.pg_roles AS role ON rolname OPERATOR(pg_catalog.=) ${name}
    WHERE (setdatabase OPERATOR(pg_catalog.=) ${NONE} OR setdatabase OPERATOR(pg_catalog.=) pg_database.oid)
      AND (setrole OPERATOR(pg_catalog.=) ${NONE} OR setrole OPERATOR(pg_catalog.=) role.oid)
    ORDER BY setrole OPERATOR(pg_catalog.<>) ${NONE}, setdatabase OPERATOR(pg_catalog.<>) ${NONE}`)
}

const NONE = '(0::pg_catalog.oid)'

/** "name=value" */
function splitEntry(entry: string): Parameter {
  const end = entry.indexOf('=')
  return [entry.slice(0, end), entry.slice(end + 1)]
}

function firstRefusal(replies: readonly Buffer[]): Refusal | undefined {
  return replies.map(refusalOf).find((refusal) => refusal !== undefined)
}

function refused(message: string): Refusal {
  return { sqlState: '28000', message }
}

function fingerprintOf({ role, settings, customNames }: Context): string {
  return JSON.stringify([role, [...settings].toSorted(byName), [...customNames].toSorted()])
}

function byName([one]: Parameter, [other]: Parameter): number {
  return one < other ? -1 : 1
}
