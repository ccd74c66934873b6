/** Debian's Chromium, with a new profile that trusts the given certificate authorities. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'

const PROGRAM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** Throws, and names the Debian package, if a program is missing. */
export async function launchChromium(authorities: readonly string[]): Promise<Browser> {
  if (!existsSync(PROGRAM))
    throw new Error(`${PROGRAM} is missing: install the Debian package "chromium", or set CHROMIUM`)
  const home = mkdtempSync(join(tmpdir(), 'pg-iam-chromium-'))
  const database = join(home, '.pki/nssdb')
  const certutil = (...options: string[]): void => {
    try {
      execFileSync('certutil', ['-d', `sql:${database}`, ...options], { stdio: 'pipe' })
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOENT') throw error
      throw new Error('certutil is missing: install the Debian package "libnss3-tools"', {
        cause: error,
      })
    }
  }
  execFileSync('mkdir', ['-p', database])
  certutil('-N', '--empty-password')
  for (const [index, ca] of authorities.entries()) {
    const file = join(home, `${index}.pem`)
    writeFileSync(file, ca)
    certutil('-A', '-t', 'C,,', '-n', `pg-iam ${index}`, '-i', file)
  }
  const browser = await chromium.launch({
    executablePath: PROGRAM,
    // Root has no sandbox, and containers have little shared memory.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
    env: { ...process.env, HOME: home } as Record<string, string>,
  })
  browser.on('disconnected', () => rmSync(home, { recursive: true, force: true }))
  return browser
}
