/** Reads migrations from a folder of SQL files, or from one of drizzle-kit. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PgIamError } from '../core/errors.js'
import { text } from '../core/options/check.js'
import type { Migration } from './migrator.js'

/**
 * Reads a folder of files `NNNN_name.sql`, and `NNNN_name.down.sql` for what undoes them. A folder with `meta/_journal.json` is one of
 * drizzle-kit: its journal names the files. Resolves with the migrations in their order.
 *
 * Exported from `'pg-iam/migrations'`.
 *
 * Rejects with `ERR_OPTION_INVALID` for files whose names do not fit, and with the error of Node for a folder that cannot be read.
 */
export async function readMigrations(folder: string): Promise<Migration[]> {
  text(folder, 'folder')
  const names = await readdir(folder)
  const journal = names.includes('meta') ? await readJournal(folder) : undefined
  const files = names.filter((name) => name.endsWith('.sql'))
  const read = (name: string): Promise<string> => readFile(join(folder, name), 'utf8')
  const ups = files.filter((name) => !name.endsWith('.down.sql')).map((name) => name.slice(0, -4))
  if (journal === undefined) checkNames(folder, files, ups)
  else checkJournal(folder, journal, ups)
  return Promise.all(
    (journal ?? ups.toSorted(byCodeUnit)).map(async (name) => {
      const down = `${name}.down.sql`
      return {
        name,
        up: await read(`${name}.sql`),
        ...(files.includes(down) && { down: await read(down) }),
      }
    }),
  )
}

function byCodeUnit(one: string, other: string): number {
  return one < other ? -1 : 1
}

function checkNames(folder: string, files: readonly string[], ups: readonly string[]): void {
  const wrong = files.find((name) => !NAME.test(name))
  if (wrong !== undefined)
    throw new PgIamError('ERR_OPTION_INVALID', `${join(folder, wrong)} is no name of a migration`, {
      hint: 'Call it NNNN_name.sql, such as 0001_users.sql, or NNNN_name.down.sql.',
    })
  const numbers = new Map<string, string>()
  for (const name of ups) {
    const [number = ''] = name.split('_')
    const other = numbers.get(number)
    if (other !== undefined)
      throw new PgIamError(
        'ERR_OPTION_INVALID',
        `${other} and ${name} in ${folder} have the same number`,
        {
          hint: 'Give each migration a number of its own.',
        },
      )
    numbers.set(number, name)
  }
  const single = files.find(
    (name) => name.endsWith('.down.sql') && !ups.includes(name.slice(0, -'.down.sql'.length)),
  )
  if (single !== undefined)
    throw new PgIamError('ERR_OPTION_INVALID', `${join(folder, single)} undoes no migration`, {
      hint: 'Add the file without ".down", or remove this one.',
    })
}

const NAME = /^\d+_[\w.-]+\.sql$/

function checkJournal(folder: string, journal: readonly string[], ups: readonly string[]): void {
  const missing = journal.find((name) => !ups.includes(name))
  if (missing !== undefined)
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `${join(folder, missing)}.sql is in the journal, and missing`,
    )
  const unknown = ups.find((name) => !journal.includes(name))
  if (unknown !== undefined)
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `${join(folder, unknown)}.sql is not in meta/_journal.json`,
      {
        hint: 'Create migrations with drizzle-kit generate.',
      },
    )
}

/** The names of the files, as drizzle-kit 0.31 writes them: `{ entries: [{ idx, tag }] }`. */
async function readJournal(folder: string): Promise<string[] | undefined> {
  const path = join(folder, 'meta', '_journal.json')
  let content: string
  try {
    content = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  let journal: { entries?: unknown }
  try {
    journal = JSON.parse(content) as { entries?: unknown }
  } catch (cause) {
    throw new PgIamError('ERR_OPTION_INVALID', `${path} is no JSON`, { cause })
  }
  const { entries } = journal
  const tags = Array.isArray(entries)
    ? entries.map((entry) => (entry as { tag?: unknown }).tag)
    : []
  if (!Array.isArray(entries) || tags.some((tag) => typeof tag !== 'string'))
    throw new PgIamError('ERR_OPTION_INVALID', `${path} is no journal of drizzle-kit`)
  return tags as string[]
}
