/** The README's programs compile as they stand, and run as they stand against a gateway in the place of their databases. */
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { PgIamErrorCode } from '../core/index.js'
import { codeBlocks } from './support/readme/code-blocks.js'
import { startReadmeDatabases, type ReadmeDatabases } from './support/readme/readme-databases.js'

const run = promisify(execFile)
const root = join(__dirname, '..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')
// Within the package, so that its own name resolves as it does for a user.
const folder = join(root, 'build', 'readme')
const programs = codeBlocks(readme, 'ts').map((block, index) => ({
  ...block,
  name: `program-${index}`,
}))

let databases: ReadmeDatabases

beforeAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const { name, code } of programs) writeFileSync(join(folder, `${name}.ts`), code)
  const compilerOptions = {
    outDir: 'out',
    rootDir: '.',
    declaration: false,
    isolatedDeclarations: false,
    types: ['node'],
  }
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['.'] }),
  )
  databases = await startReadmeDatabases(folder)
})

afterAll(() => databases?.close())

describe('README.md', () => {
  it('has programs that compile under strict', async () => {
    const { stdout } = await run(process.execPath, [
      join(root, 'node_modules/typescript/bin/tsc'),
      '-p',
      folder,
    ]).catch((error: unknown) => error as { stdout: string })
    expect(stdout).toBe('')
  })

  it.each(programs)('has a program that runs, in "$heading" at line $line', async ({ name }) => {
    const preload = join(root, 'test/support/readme/databases-on-loopback.cjs')
    const { stderr } = await run(
      process.execPath,
      ['--require', preload, join(folder, 'out', `${name}.js`)],
      { env: databases.env },
    )
    expect(stderr).toBe('')
  })

  it('links to a page that explains every error code', () => {
    const codes: PgIamErrorCode[] = [
      ...readFileSync(join(root, 'core/errors.ts'), 'utf8').matchAll(/^ {2}\| '(ERR_\w+)'/gm),
    ].map(([, code]) => code as PgIamErrorCode)
    const page = readFileSync(join(root, 'docs/errors.md'), 'utf8')
    const explained = [...page.matchAll(/^\| `(ERR_\w+)` +\|/gm)].map(([, code]) => code)
    expect(codes.length).toBeGreaterThan(10)
    expect(new Set(explained)).toEqual(new Set(codes))
    expect(explained).toHaveLength(codes.length)
  })
})
