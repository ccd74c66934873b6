/** What the benchmarks print. */
import { terminalTable } from '../../common/report/terminal-table.js'
import type { BenchRun } from '../run-benchmarks.js'
import { leftOutText } from '../runnable.js'
import { sectionTable } from './tables.js'

export function runText(run: BenchRun): string {
  const { machine, versions, seed, isQuick, tookSecs, startedAt, loadBefore } = run
  const sections = run.benchmarks.flatMap(({ sections: ofOne }) => ofOne)
  const packages = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return [
    ...sections.map((section) =>
      [terminalTable(sectionTable(section)), ...section.notes].join('\n'),
    ),
    [
      `pg-iam ${machine.pgIam}, Node ${machine.node}, OpenSSL ${machine.openssl}, ${machine.platform}, ${machine.processors} × ${machine.processorModel}`,
      packages.join(', '),
      `${startedAt}, seed ${seed}, ${Math.round(tookSecs)} s; load before it: ${loadBefore.toFixed(2)}`,
      ...run.leftOut.map(leftOutText),
      ...(isQuick ? ['--quick: these figures are worth nothing.'] : []),
    ].join('\n'),
    '',
  ].join('\n\n')
}
