/**
 * `npm run hostile`: runs each client with many misbehaving servers, with pg-iam and with the driver alone, and prints the results.
 *
 * Exit codes: 0 if pg-iam had no problems, 1 otherwise, 2 for an invalid command line.
 */
import { writeFile } from 'node:fs/promises'
import { inspect, parseArgs } from 'node:util'
import Table from 'cli-table3'
import {
  HOSTILE_CLIENT_NAMES,
  loadHostileClient,
  OTHER_HOSTILE_CLIENT_NAMES,
  type HostileClientName,
} from './clients/clients.js'
import { measureLargeRow } from './large-row.js'
import type { Opener } from './open-client.js'
import { runHostile } from './run-hostile.js'
import {
  KINDS,
  LOGIN_PHASES,
  PHASES,
  faultsOf,
  type Kind,
  type Phase,
  type Result,
  type Scenario,
} from './scenario.js'
import { scenariosOf } from './scenarios.js'

const PHASE_GROUPS: Readonly<Record<string, readonly Phase[]>> = {
  login: LOGIN_PHASES,
  queries: ['first', 'simple', 'describe', 'extended'],
  transaction: ['begin', 'inside', 'commit'],
  all: PHASES,
}

const OPENERS: readonly Opener[] = ['pg-iam', 'bare']

const ALL_CLIENTS = [...HOSTILE_CLIENT_NAMES, ...OTHER_HOSTILE_CLIENT_NAMES]

const USAGE = `usage: npm run hostile -- [options]

  --clients A,B     some of ${ALL_CLIENTS.join(', ')};
                    by default all but the last, which needs Node 22
  --openers A,B     some of ${OPENERS.join(', ')}; both by default
  --phase A,B       some of ${[...Object.keys(PHASE_GROUPS), ...PHASES].join(', ')}; all by default
  --kind A,B        some of ${KINDS.join(', ')}; all by default
  --runs N          how many scenarios chance makes for each client, beside those that are always played; 1000 by default
  --seed N          1 by default
  --find TEXT       only scenarios whose name, with the phase in front, has this text
  --connect-ms N    connectTimeoutMs of the login; 1500 by default
  --patience-ms N   for how long a query is waited for; 2000 by default
  --freeze-ms N     an event loop that does not turn for so long is frozen; 4000 by default
  --show N          so many faults of each client are printed; 12 by default
  --verbose         every scenario is printed with its result
  --json FILE       writes all results to a file, too
  --large-row N     measures the memory of a process while a row of N MiB passes, instead of all that`

interface Options {
  readonly clients: readonly HostileClientName[]
  readonly openers: readonly Opener[]
  readonly phases: readonly Phase[]
  readonly kinds: readonly Kind[]
  readonly runs: number
  readonly seed: number
  readonly find: string
  readonly connectTimeoutMs: number
  readonly patienceMs: number
  readonly freezeMs: number
  readonly show: number
  readonly isVerbose: boolean
  readonly json: string | undefined
  readonly largeRowMiB: number
}

function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      clients: { type: 'string', default: HOSTILE_CLIENT_NAMES.join() },
      openers: { type: 'string', default: OPENERS.join() },
      phase: { type: 'string', default: 'all' },
      kind: { type: 'string', default: KINDS.join() },
      runs: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      find: { type: 'string', default: '' },
      'connect-ms': { type: 'string', default: '1500' },
      'patience-ms': { type: 'string', default: '2000' },
      'freeze-ms': { type: 'string', default: '4000' },
      show: { type: 'string', default: '12' },
      verbose: { type: 'boolean', default: false },
      json: { type: 'string' },
      'large-row': { type: 'string', default: '0' },
    },
  })
  const number = (name: keyof typeof values): number => {
    const value = Number(values[name])
    if (!Number.isSafeInteger(value) || value < 0)
      throw new Error(`"--${name}" must be a whole number from 0, got "${String(values[name])}"`)
    return value
  }
  const groups = some('phase', [...Object.keys(PHASE_GROUPS), ...PHASES], values.phase)
  const phases = new Set(groups.flatMap((name) => PHASE_GROUPS[name] ?? [name as Phase]))
  return {
    clients: some('clients', ALL_CLIENTS, values.clients),
    openers: some('openers', OPENERS, values.openers),
    phases: PHASES.filter((phase) => phases.has(phase)),
    kinds: some('kind', KINDS, values.kind),
    runs: number('runs'),
    seed: number('seed'),
    find: values.find,
    connectTimeoutMs: number('connect-ms'),
    patienceMs: number('patience-ms'),
    freezeMs: number('freeze-ms'),
    show: number('show'),
    isVerbose: values.verbose,
    json: values.json,
    largeRowMiB: number('large-row'),
  }
}

function some<T extends string>(option: string, all: readonly T[], list: string): T[] {
  const names = list.split(',')
  const unknown = names.find((name) => !all.includes(name as T))
  if (unknown !== undefined)
    throw new Error(`"--${option}" must be some of ${all.join(', ')}, got "${unknown}"`)
  return all.filter((name) => names.includes(name))
}

interface Row {
  readonly client: HostileClientName
  readonly opener: Opener
  readonly counts: Record<Column, number>
  readonly faults: readonly string[]
}

const COLUMNS = [
  'runs',
  'resolved',
  'ERR_PROTOCOL',
  'rejected otherwise',
  'pending, as it may',
  'timed out',
  'late end of a login',
  'crashed',
  'frozen',
  'next query wrong',
  'left open',
  'not as expected',
] as const

type Column = (typeof COLUMNS)[number]

function columnsOf(scenario: Scenario, result: Result, isFaulty: boolean): Column[] {
  const all: Column[] = isFaulty ? ['runs', 'not as expected'] : ['runs']
  if ('lost' in result) return [...all, result.lost === 'frozen' ? 'frozen' : 'crashed']
  const { query, next } = result
  if (result.crashes.length > 0) all.push('crashed')
  if (next.end !== 'resolved') all.push('next query wrong')
  if (result.leftOpen > 0) all.push('left open')
  if (query.end === 'resolved' || query.end === 'wrong') return [...all, 'resolved']
  if (query.end === 'rejected')
    return [...all, query.codes.includes('ERR_PROTOCOL') ? 'ERR_PROTOCOL' : 'rejected otherwise']
  if (LOGIN_PHASES.includes(scenario.phase)) return [...all, 'late end of a login']
  return [...all, scenario.ends.includes('pending') ? 'pending, as it may' : 'timed out']
}

async function playRow(
  client: HostileClientName,
  opener: Opener,
  scenarios: readonly Scenario[],
  options: Options,
): Promise<{ row: Row; results: Result[] }> {
  const { connectTimeoutMs, patienceMs, freezeMs } = options
  const counts = Object.fromEntries(COLUMNS.map((column) => [column, 0])) as Row['counts']
  const faults: string[] = []
  const startedAt = performance.now()
  const results = await runHostile(
    { client, opener, scenarios, timing: { connectTimeoutMs, patienceMs, freezeMs } },
    (index, result) => {
      const scenario = scenarios[index]!
      const found = faultsOf(scenario, result)
      for (const column of columnsOf(scenario, result, found.length > 0)) counts[column]++
      const title = `${scenario.phase}: ${scenario.name}`
      if (found.length > 0) faults.push(`${title}\n      ${found.join('\n      ')}`)
      if (options.isVerbose) print(`#${index} ${title}\n   ${JSON.stringify(result)}`)
    },
  )
  const secs = Math.round((performance.now() - startedAt) / 1_000)
  process.stderr.write(`${client}, ${opener}: ${results.length} runs in ${secs} s\n`)
  return { row: { client, opener, counts, faults }, results }
}

async function main(args: readonly string[]): Promise<number> {
  let options: Options
  try {
    options = optionsOf(args)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}\n`)
    return 2
  }
  if (options.largeRowMiB > 0) {
    await printLargeRow(options)
    return 0
  }
  const rows: Row[] = []
  const kept: object[] = []
  for (const name of options.clients) {
    const client = await loadHostileClient(name)
    const scenarios = scenariosOf(client, options).filter((scenario) =>
      `${scenario.phase}: ${scenario.name}`.includes(options.find),
    )
    for (const opener of options.openers) {
      const { row, results } = await playRow(name, opener, scenarios, options)
      rows.push(row)
      kept.push({ client: name, opener, scenarios, results })
    }
  }
  for (const { client, opener, faults } of rows) {
    if (opener === 'bare' || faults.length === 0) continue
    print(`${client}, ${opener}: ${faults.length} not as expected`)
    for (const fault of spread(faults, options.show)) print(`  - ${fault}`)
  }
  const table = new Table({
    head: ['client', 'opened by', ...COLUMNS],
    style: { head: [], border: [], compact: true },
    wordWrap: true,
    colAligns: ['left', 'left', ...COLUMNS.map(() => 'right' as const)],
    colWidths: [21, 8, 8, 10, 14, 10, 10, 8, 9, 9, 8, 9, 8, 10],
  })
  for (const { client, opener, counts } of rows)
    table.push([client, opener, ...COLUMNS.map((column) => String(counts[column]))])
  print(`seed ${options.seed}`)
  print(table.toString())
  if (options.json !== undefined) await writeFile(options.json, JSON.stringify(kept))
  return rows.some(({ opener, faults }) => opener === 'pg-iam' && faults.length > 0) ? 1 : 0
}

async function printLargeRow({ clients, openers, largeRowMiB }: Options): Promise<void> {
  const table = new Table({
    head: ['client', 'opened by', 'peak RSS', 'peak of heap and external', 'ms'],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'left', 'right', 'right', 'right'],
  })
  for (const client of clients)
    for (const opener of openers) {
      const { rssMiB, usedMiB, tookMs } = await measureLargeRow(client, opener, largeRowMiB)
      table.push([client, opener, `+${rssMiB} MiB`, `+${usedMiB} MiB`, tookMs])
    }
  print(`a row of ${largeRowMiB} MiB, above what the process used before it`)
  print(table.toString())
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** A sample of this size, evenly distributed. */
function spread(faults: readonly string[], count: number): string[] {
  const step = Math.max(1, faults.length / Math.max(1, count))
  return faults.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step))
}

main(process.argv.slice(1)).then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    process.stderr.write(`${inspect(error)}\n`)
    process.exitCode = 1
  },
)
