/** The programs of docs/development.md, run as they stand. */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { launchPostgres } from './support/launch-postgres.js'

const run = promisify(execFile)
const root = join(__dirname, '..')
const page = readFileSync(join(root, 'docs/development.md'), 'utf8')
// Within the package, so that its own name resolves as it does for a user.
const folder = join(root, 'build', 'development')
/** What the page has in its shell commands. */
const URL_OF_CI = /DATABASE_URL='([^']+)'/.exec(page)?.[1] ?? ''
const KEY = Object.fromEntries(
  [...page.matchAll(/(AWS_\w+)=(\w+)/g)].map(([, name = '', value = '']) => [name, value]),
)

const app = async (url: string): Promise<string> => {
  const env = { PATH: process.env['PATH'], ...KEY, DATABASE_URL: url }
  return (await run(process.execPath, ['app.js'], { cwd: folder, env })).stdout
}

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [, name = '', code = ''] of page.matchAll(/^```js (\S+)\n([\s\S]*?)^```$/gm))
    writeFileSync(join(folder, name), code)
})

describe('docs/development.md', () => {
  it('has a program that uses the password of a local PostgreSQL', async () => {
    const postgres = await launchPostgres({ roles: ['app'] })
    const { port, password } = postgres
    expect(await app(`postgres://app:${password}@localhost:${port}/postgres`)).toBe('app\n')
    await postgres.close()
  })

  it('starts a gateway in a separate process, which the same program logs in to with tokens', async () => {
    const env = { ...process.env, GATEWAY_PORT: '0' }
    const gateway: ChildProcess = spawn(process.execPath, ['gateway.js'], { cwd: folder, env })
    const [line] = (await once(gateway.stdout!, 'data')) as [Buffer]
    const [, port = ''] = /^listening on (\d+)\n/.exec(line.toString()) ?? []
    expect(await app(URL_OF_CI.replace('6432', port))).toBe('app\n')
    const ended = once(gateway, 'exit')
    gateway.kill()
    expect(await ended).toEqual([0, null])
  })
})
