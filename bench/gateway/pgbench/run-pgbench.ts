/** Runs pgbench: a client in C, which owes nothing to this project, to its drivers or to Node. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Pgbench } from './find-pgbench.js'
import { readPgbenchReport, type PgbenchReport } from './pgbench-report.js'

export interface PgbenchLoad {
  readonly script: 'select-only' | 'tpcb-like'
  readonly protocol: 'simple' | 'prepared'
  readonly clients: number
  /** Of all clients together, each of which has as many. */
  readonly transactions: number
}

/**
 * Rejects where any of the transactions failed.
 *
 * @param conninfo where to, as libpq reads it, without the password
 */
export async function runPgbench(
  program: Pgbench,
  { script, protocol, clients, transactions }: PgbenchLoad,
  conninfo: string,
  password: string,
): Promise<PgbenchReport> {
  const each = Math.ceil(transactions / clients)
  const printed = await run(
    program,
    ['-b', script, '-M', protocol, '-c', String(clients), '-t', String(each), conninfo],
    { PGPASSWORD: password },
  )
  return readPgbenchReport(printed)
}

/** Makes its tables. There are 100,000 accounts for each of `scale`. */
export async function makePgbenchTables(
  program: Pgbench,
  scale: number,
  conninfo: string,
): Promise<void> {
  await run(program, ['-i', '-q', '-s', String(scale), conninfo])
}

async function run(
  { file }: Pgbench,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { stdout } = await promisify(execFile)(file, parameters, {
    // It speaks the language of its user otherwise.
    env: { ...process.env, ...environment, LC_ALL: 'C' },
    timeout: TIMEOUT_MS,
  })
  return stdout
}

/** Many times what any of its runs takes: one that hangs is not waited for. */
const TIMEOUT_MS = 120_000
