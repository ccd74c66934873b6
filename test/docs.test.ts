/** The programs in docs/ compile as they stand, and the links between the pages lead somewhere. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeBlocks } from './support/readme/code-blocks.js'

const run = promisify(execFile)
const root = join(__dirname, '..')
const docs = join(root, 'docs')
// Within the package, so that its own name resolves as it does for a user.
const folder = join(root, 'build', 'docs')
const pages = readdirSync(docs)
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, folder: docs, text: readFileSync(join(docs, name), 'utf8') }))
const readmes = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md'].map((name) => ({
  name,
  folder: root,
  text: readFileSync(join(root, name), 'utf8'),
}))

/** As GitHub makes them of headings. */
function anchorsIn(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading)
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(/\s/g, '-'),
    ),
  )
}

describe('docs', () => {
  it('have programs that compile under strict', async () => {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    const programs = pages.flatMap(({ name, text }) =>
      codeBlocks(text, 'ts').map(({ code, line }) => ({ file: `${name}-${line}.ts`, code })),
    )
    expect(programs.length).toBeGreaterThan(5)
    for (const { file, code } of programs) writeFileSync(join(folder, file), code)
    const compilerOptions = {
      noEmit: true,
      rootDir: '.',
      declaration: false,
      isolatedDeclarations: false,
      noUnusedLocals: false,
      types: ['node'],
    }
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['.'] }),
    )
    const { stdout } = await run(process.execPath, [
      join(root, 'node_modules/typescript/bin/tsc'),
      '-p',
      folder,
    ]).catch((error: unknown) => error as { stdout: string })
    expect(stdout).toBe('')
  })

  it.each([...readmes, ...pages])('have links that lead somewhere, in $name', (page) => {
    const { name, folder: place, text } = page
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)]
    const dead = links.filter(([, path = '', anchor]) => {
      const target = path === '' ? join(place, name) : join(place, path)
      if (!existsSync(target)) return true
      return anchor !== undefined && !anchorsIn(readFileSync(target, 'utf8')).has(anchor)
    })
    expect(dead.map(([link]) => link)).toEqual([])
  })
})
