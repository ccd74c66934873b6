/** Writes the page of all figures, with its charts. */
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writePage } from '../common/report/write-page.js'
import { sectionChart } from '../frame/report/section-chart.js'
import type { BenchRun } from '../frame/run-benchmarks.js'
import { chartFile, page } from './page.js'
import { latestOf, parseRun } from './results.js'

/**
 * @param folder gets `performance.md` and `performance/*.svg`
 * @param order the names of all benchmarks, in the order of the page
 * @returns the name of the page's file
 */
export async function writeDocs(
  folder: string,
  runs: readonly BenchRun[],
  order: readonly string[],
): Promise<string> {
  const measured = latestOf(runs, order)
  const charts = join(folder, 'performance')
  await mkdir(charts, { recursive: true })
  // Also those of sections that there are no more.
  for (const name of await readdir(charts)) if (name.endsWith('.svg')) await rm(join(charts, name))
  for (const { name, sections } of measured) {
    for (const section of sections) {
      const chart = sectionChart(section)
      if (chart !== undefined) await writeFile(join(folder, chartFile(name, section)), chart)
    }
  }
  const file = join(folder, 'performance.md')
  await writePage(file, page(measured))
  return file
}

/** @throws Error for a file that is no result, or one of `--quick` */
export async function readRuns(files: readonly string[]): Promise<BenchRun[]> {
  return Promise.all(files.map(async (file) => parseRun(await readFile(file, 'utf8'), file)))
}
