/** Starts a process cold, and asks it how long that took. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { CREDENTIALS_ENVIRONMENT } from '../frame/surroundings.js'

/** `esm` loads by `import`, `cjs` by `require`. */
export type Format = 'esm' | 'cjs'

export type TokenWay =
  | 'pg-iam, Aurora DSQL'
  | 'pg-iam, Aurora DSQL, built-in signer'
  | 'AWS connector'
  | 'AWS signer'
  | 'pg-iam, Entra ID'
  | '@azure/postgresql-auth'

export interface ColdStartOrder {
  readonly format: Format
  /** Packages, or files of bundles. */
  readonly modules: readonly string[]
  /** Default: no token, only the import. */
  readonly token?: TokenWay
}

export interface ColdStart {
  readonly importMs: number
  /** Of the import and the first token. */
  readonly totalMs: number
}

/**
 * @param environment what the process finds in its environment beside this one's
 */
export async function coldStart(
  order: ColdStartOrder,
  environment: Readonly<Record<string, string>> = {},
): Promise<ColdStart> {
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, JSON.stringify(order)], {
    env: { ...process.env, ...CREDENTIALS_ENVIRONMENT, ...environment },
  })
  return JSON.parse(stdout) as ColdStart
}

const CHILD = fileURLToPath(new URL('child/main.js', import.meta.url))
