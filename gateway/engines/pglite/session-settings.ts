/** Reads what the running session has set, and keeps it from setting who it is. */
import type { PostgresProgram } from './postgres-program.js'
import { withText } from './postgres-program.js'
import { createSettingStructs, Flag, FROM_SESSION, Member } from './setting-structs.js'

export interface SessionSettings {
  /** What SET and `set_config` have made, in functions, too, and not only for the open transaction. */
  read(): Map<string, string>
  /** The custom settings, such as `app.tenant`, that are set at this moment. */
  customNames(): string[]
  /**
   * Lets only these custom settings exist. PostgreSQL never forgets a name that was once set, so other sessions would read an
   * empty text where they have to read NULL. All custom settings must have been reset before.
   */
  showCustom(names: ReadonlySet<string>): void
  /** In milliseconds, 0 for none. */
  readonly statementTimeout: number
  /** The settings that a server reports to its clients, as it reports them. */
  reported(): [name: string, value: string][]
  /**
   * Whether SET SESSION AUTHORIZATION works. PostgreSQL allows it to whomever the connection logged in as, and PGlite's one
   * connection is that of a superuser. Where it does not, going back by RESET or DISCARD ALL still does.
   */
  allowAuthorization: boolean
}

export function createSessionSettings(program: PostgresProgram): SessionSettings {
  const { module, memory, exports } = program
  const structs = createSettingStructs(program)
  const statementTimeout = memory.word(structs.find('statement_timeout') + Member.variable)
  const customs = new Map<string, CustomSetting>()
  let allowAuthorization = true
  guardAuthorization()

  /** Puts a function of ours in front of PostgreSQL's own check, which sees every way of setting it. */
  function guardAuthorization(): void {
    const hook = structs.find('session_authorization') + Member.checkHook
    const check = exports.__indirect_function_table.get(memory.word(hook)) as Check
    const guard: Check = (value, extra, source) =>
      allowAuthorization ? check(value, extra, source) : 0
    memory.setWord(hook, module.addFunction(guard as (...values: number[]) => number, 'iiii'))
  }
  const isFromSession = (setting: number): boolean =>
    memory.word(setting + Member.source) === FROM_SESSION
  const hasFlag = (setting: number, flag: number): boolean =>
    (memory.word(setting + Member.flags) & flag) !== 0

  const noteCustom = (): string[] => {
    const names: string[] = []
    for (const setting of structs.changed()) {
      if (!hasFlag(setting, Flag.placeholder)) continue
      const name = structs.nameOf(setting)
      names.push(name)
      if (customs.get(name)?.setting === setting) continue
      const nameAddress = memory.word(setting + Member.name)
      const firstByte = memory.copy(nameAddress, 1)[0]!
      customs.set(name, { setting, nameAddress, firstByte, shown: true })
    }
    return names
  }

  return {
    read() {
      const settings = new Map<string, string>()
      for (const setting of structs.changed()) {
        if (!isFromSession(setting)) continue
        const name = structs.nameOf(setting)
        if (name !== 'role' && hasFlag(setting, Flag.noResetAll)) continue
        settings.set(name, structs.valueOf(setting))
      }
      return settings
    },
    customNames: noteCustom,
    showCustom(names) {
      for (const [name, custom] of customs) {
        const show = names.has(name)
        if (show === custom.shown) continue
        // An extension that defines the setting replaces it, and then there is nothing of ours left.
        if (!show && structs.find(name) !== custom.setting) customs.delete(name)
        else memory.setByte(custom.nameAddress, show ? custom.firstByte : UNSAYABLE)
        custom.shown = show
      }
    },
    get statementTimeout() {
      return memory.word(statementTimeout)
    },
    reported: () =>
      REPORTED.map((name) => [
        name,
        withText(program, name, (address) =>
          memory.text(module._GetConfigOptionByName(address, 0, 1)),
        ),
      ]),
    get allowAuthorization() {
      return allowAuthorization
    },
    set allowAuthorization(allowed) {
      allowAuthorization = allowed
    },
  }
}

type Check = (value: number, extra: number, source: number) => number

interface CustomSetting {
  setting: number
  nameAddress: number
  firstByte: number
  shown: boolean
}

/** Makes a name that nobody can say, and of the same length. */
const UNSAYABLE = 1

/** As listed in PostgreSQL's documentation of ParameterStatus. */
const REPORTED = [
  'server_version',
  'server_encoding',
  'client_encoding',
  'application_name',
  'default_transaction_read_only',
  'in_hot_standby',
  'integer_datetimes',
  'IntervalStyle',
  'is_superuser',
  'DateStyle',
  'scram_iterations',
  'search_path',
  'session_authorization',
  'standard_conforming_strings',
  'TimeZone',
]
