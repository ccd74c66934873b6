/** Runs all scenarios in a separate Node process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { PostgresPlace } from '../rig.js'
import type { ScenarioReport } from './scenario.js'

/** Statements only, transactions with our function, or with the client's own. */
export type Api = 'statements' | 'ours' | 'own'

/** The input of the process, as JSON. */
export interface KillOrder {
  readonly client: string
  readonly entry: string
  /** Each is played with all of its scenarios. */
  readonly apis: readonly Api[]
  readonly postgres: PostgresPlace
  /** A single scenario instead of all. */
  readonly only?: string
}

export interface KillResult {
  /** The exit code, or the signal that ended it: SIGTERM if it did not exit on its own. */
  readonly end: number | NodeJS.Signals | null
  readonly reports: Readonly<Partial<Record<Api, Readonly<Record<string, ScenarioReport>>>>>
  /** All of its output, except its report. */
  readonly output: string
}

export async function runKills(order: KillOrder): Promise<KillResult> {
  const test = join(process.cwd(), 'test')
  const child = spawn(
    process.execPath,
    ['--require', join(test, 'support', 'typescript-hook.cjs'), '--eval', ENTRY, test],
    // Half a minute on an idle machine.
    { timeout: 240_000 },
  )
  child.stdin.end(JSON.stringify(order))
  const [output, errors, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
  ])
  const report = /^REPORT (.*)$/m.exec(output)?.[1]
  return {
    end: code ?? signal,
    reports: report === undefined ? {} : (JSON.parse(report) as KillResult['reports']),
    output: errors + output.replace(/^REPORT .*\n/m, ''),
  }
}

const ENTRY = `require(process.argv[1] + '/resilience/kills/main.ts')`
