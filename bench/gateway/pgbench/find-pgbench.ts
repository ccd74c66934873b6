/** Finds pgbench, which comes with PostgreSQL, but not with the programs of the npm package. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemDirectories } from '../../../gateway/engines/postgres/postgres-programs.js'

export interface Pgbench {
  readonly file: string
  readonly version: string
}

/** The first one that can be run. Default: in `PG_BINDIR`, beside the servers of this machine, and on its `PATH`. */
export async function findPgbench(directories?: readonly string[]): Promise<Pgbench | undefined> {
  for (const directory of directories ?? (await usualDirectories())) {
    const file = join(directory, 'pgbench')
    const said = await promisify(execFile)(file, ['--version']).catch(() => undefined)
    const version = /\(PostgreSQL\) (\S+)/.exec(said?.stdout ?? '')?.[1]
    if (version !== undefined) return { file, version }
  }
  return undefined
}

export const PGBENCH_MISSING =
  'there is no pgbench in PG_BINDIR, beside a PostgreSQL of this machine or on the PATH. It comes with PostgreSQL: "apt-get install postgresql" on Debian and Ubuntu, "brew install postgresql@18" on macOS.'

async function usualDirectories(): Promise<string[]> {
  const chosen = process.env['PG_BINDIR']
  return [...(chosen === undefined ? [] : [chosen]), ...(await systemDirectories())]
}
