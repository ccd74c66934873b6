/** Finds the settings of PostgreSQL in its memory, where they are whoever set them and by whatever means. */
import { withText, type PostgresProgram } from './postgres-program.js'

/**
 * Where the members of PostgreSQL 18's `struct config_generic` are in a program of 32 bits, in bytes from its start. What
 * `createSettingStructs` finds is checked against it.
 */
export const Member = {
  name: 0,
  flags: 20,
  type: 24,
  source: 32,
  /** The next in the list of settings that have not their default; `previous` is a word before. */
  nextChanged: 68,
  /** `config_int` and `config_string`: a pointer to the value. */
  variable: 92,
  /** `config_string`: the function that accepts or refuses a value, by its place in the table. */
  checkHook: 100,
} as const

export const Flag = {
  /** RESET ALL leaves it alone. */
  noResetAll: 0x10,
  /** Made by a SET of a name with a dot that nobody defined. */
  placeholder: 0x200,
} as const

/** The source of a setting that SET or `set_config` made. */
export const FROM_SESSION = 13

export interface SettingStructs {
  /** The address of a setting, or 0 when there is none of that name. */
  find(name: string): number
  /** The addresses of all settings that have not their default. */
  changed(): number[]
  nameOf(setting: number): string
  valueOf(setting: number): string
}

/** Throws when the memory is not laid out as expected, which another version of PGlite may cause. */
export function createSettingStructs(program: PostgresProgram): SettingStructs {
  const { module, memory } = program
  const find = (name: string): number =>
    withText(program, name, (address) => module._find_option(address, 0, 1, LEVEL_WARNING))
  const next = (setting: number): number =>
    memory.word(setting + Member.nextChanged) - PREVIOUS_CHANGED
  // It comes from the command line, so it is always in the list.
  const first = find('max_stack_depth')
  const head = findHead()

  function findHead(): number {
    const heads: number[] = []
    let length = 0
    for (let setting = next(first); setting !== first; setting = next(setting)) {
      if (!isSetting(setting)) heads.push(setting)
      if (++length > MOST_SETTINGS) break
    }
    if (heads.length !== 1 || memory.word(first + Member.type) !== TYPE_INT)
      throw new Error('the settings of this version of PGlite are laid out in another way')
    return heads[0]!
  }
  /** The list is a ring with one element that stands for the list itself. */
  function isSetting(address: number): boolean {
    const name = memory.text(memory.word(address + Member.name) >>> 0)
    return /^[\w.]{1,63}$/.test(name) && find(name) === address
  }

  return {
    find,
    changed() {
      const settings: number[] = []
      for (let setting = first; ;) {
        if (setting !== head) settings.push(setting)
        setting = next(setting)
        if (setting === first) return settings
      }
    },
    nameOf: (setting) => memory.text(memory.word(setting + Member.name)),
    valueOf: (setting) =>
      memory.text(module._GetConfigOption(memory.word(setting + Member.name), 1, 0)),
  }
}

const PREVIOUS_CHANGED = Member.nextChanged - 4
const TYPE_INT = 1
const MOST_SETTINGS = 2_000
const LEVEL_WARNING = 19
