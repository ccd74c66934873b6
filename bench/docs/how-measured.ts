/** How, when and on what the figures were measured. */
import { markdownTable } from '../common/report/figure-table.js'
import type { BenchRun } from '../frame/run-benchmarks.js'
import { leftOutText } from '../frame/runnable.js'
import type { Measured } from './results.js'

export function howMeasured(measured: readonly Measured[]): string {
  const runs = runsOf(measured)
  return `Competitors run side by side, in rounds; in each round each has one turn, in an order drawn from the seed. Some rounds before them
warm up and do not count. [bench/README.md](../bench/README.md) says how each benchmark is built, and what is not the same for all.
What many processes at once do to a cluster is a simulation with a page of its own: [fleet.md](fleet.md).

${markdownTable({
  title: 'Runs',
  head: ['benchmarks', 'started', 'took', 'seed', 'load before', 'machine', 'software'],
  nameColumns: 2,
  rows: [...runs].map(([run, names]) => [
    names.join(', '),
    startOf(run),
    `${Math.round(run.tookSecs).toLocaleString('en-GB')} s`,
    String(run.seed),
    run.loadBefore.toFixed(2),
    `${run.machine.platform}, ${run.machine.processors} × ${run.machine.processorModel}`,
    `pg-iam ${run.machine.pgIam}, Node ${run.machine.node}, OpenSSL ${run.machine.openssl}`,
  ]),
})}

"Load before" is the average number of processes that ran or waited to in the minute before the run began. The time is that of the whole
run.

${[versionsOf(runs), ...leftOutOf(runs, measured)].join('\n\n')}

The same again, on a machine that has nothing else to do:

\`\`\`sh
${commandsOf(runs).join('\n')}
\`\`\``
}

/** When one benchmark was measured, in a line. */
export function whenMeasured({ name, run }: Measured): string {
  return `\`npm run bench -- ${name}\`, ${startOf(run)}, seed ${run.seed}, load before the run ${run.loadBefore.toFixed(2)}.`
}

type Runs = ReadonlyMap<BenchRun, readonly string[]>

/** With the names of the benchmarks of which it has the latest result. */
function runsOf(measured: readonly Measured[]): Runs {
  const runs = new Map<BenchRun, string[]>()
  for (const { name, run } of measured) runs.set(run, [...(runs.get(run) ?? []), name])
  return runs
}

function startOf({ startedAt }: BenchRun): string {
  return `${startedAt.slice(0, 16).replace('T', ' ')} UTC`
}

/** "pg 8.23.1, postgres 3.4.9"; where runs had several: "pg 8.23.1 (queries) and 8.23.2 (tokens)". */
function versionsOf(runs: Runs): string {
  const users = new Map<string, Map<string, string[]>>()
  for (const [{ versions }, names] of runs) {
    for (const [name, version] of Object.entries(versions)) {
      const ofOne = users.get(name) ?? new Map<string, string[]>()
      ofOne.set(version, [...(ofOne.get(version) ?? []), ...names])
      users.set(name, ofOne)
    }
  }
  const shown = [...users].map(([name, ofOne]) => {
    if (ofOne.size === 1) return `${name} ${[...ofOne.keys()].join('')}`
    const each = [...ofOne].map(([version, names]) => `${version} (${names.join(', ')})`)
    return `${name} ${each.join(' and ')}`
  })
  return `${shown.join(', ')}.`
}

/** What a machine lacked something for, and no other run has measured. */
function leftOutOf(runs: Runs, measured: readonly Measured[]): string[] {
  const missing = [...runs.keys()]
    .flatMap(({ leftOut }) => leftOut)
    .filter(({ name }) => !measured.some((one) => one.name === name))
    .map(leftOutText)
  return missing.length === 0 ? [] : [`Not measured: ${[...new Set(missing)].join('; ')}`]
}

function commandsOf(runs: Runs): string[] {
  const [first, ...others] = runs
  if (first === undefined) return ['npm run bench -- --docs docs']
  if (others.length === 0) {
    const [{ seed }, names] = first
    return [`npm run bench -- ${names.join(' ')} --seed ${seed} --docs docs`]
  }
  const files = [...runs].map((_, index) => `${index + 1}.json`)
  return [
    ...[...runs].map(
      ([{ seed }, names], index) =>
        `npm run bench -- ${names.join(' ')} --seed ${seed} --json ${files[index]}`,
    ),
    `npm run bench -- --docs docs ${files.map((file) => `--from ${file}`).join(' ')}`,
  ]
}
