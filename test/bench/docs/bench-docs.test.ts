/** The built command makes the page of results that a test gives. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { BenchRun } from '../../../bench/frame/run-benchmarks.js'
import { runProgram } from '../../examples/run-program.js'
import { comparison, comparisons, counts, runOf } from './given-results.js'

const PROGRAM = '../bench/main.js'
const adapters = comparisons('adapters', [
  comparison('pg, 1 task', { 'pg-iam': [1] }),
  comparison('knex, 5 tasks', { 'pg-iam': [0.9] }),
])
const counted = counts('counts', [{ name: 'pg-iam', counts: { tokens: 5 } }])

let folder: string
let files: number

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pg-iam-bench-docs-'))
  files = 0
})
afterEach(() => rm(folder, { recursive: true }))

async function fileOf(run: BenchRun): Promise<string> {
  const file = join(folder, `${++files}.json`)
  await writeFile(file, JSON.stringify(run))
  return file
}

describe('npm run bench -- --docs DIR --from FILE', () => {
  it('writes the page as prettier has it, and its charts in the place of old ones', async () => {
    const docs = join(folder, 'docs')
    await mkdir(join(docs, 'performance'), { recursive: true })
    await writeFile(join(docs, 'performance', 'queries-gone.svg'), '<svg/>')
    const queries = await fileOf(runOf({ queries: [adapters] }))
    const tokens = await fileOf(runOf({ tokens: [counted] }, { seed: 7 }))
    const result = await runProgram(PROGRAM, ['--docs', docs, '--from', tokens, '--from', queries])
    expect(result).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await readdir(join(docs, 'performance'))).toEqual(['queries-adapters.svg'])
    const page = join(docs, 'performance.md')
    const text = await readFile(page, 'utf8')
    expect(text.indexOf('## All adapters')).toBeGreaterThan(0)
    expect(text.indexOf('## All counts')).toBeGreaterThan(text.indexOf('## All adapters'))
    const prettier = join(process.cwd(), 'node_modules/prettier/bin/prettier.cjs')
    await promisify(execFile)(process.execPath, [prettier, '--check', page])
  })

  it('refuses quick results, and writes nothing', async () => {
    const good = await fileOf(runOf({ tokens: [counted] }))
    const quick = await fileOf(runOf({ queries: [adapters] }, { isQuick: true }))
    const docs = join(folder, 'docs')
    const result = await runProgram(PROGRAM, ['--docs', docs, '--from', good, '--from', quick])
    expect(result).toMatchObject({ exitCode: 2, stdout: '' })
    expect(result.stderr).toContain(`${quick} was measured with "--quick"`)
    expect(await readdir(folder)).toEqual(['1.json', '2.json'])
  })
})
