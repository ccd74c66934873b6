import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { VERSION } from '../../core/version.js'

describe('the version in the application name', () => {
  it('is that of the package', () => {
    const text = readFileSync(join(__dirname, '../../package.json'), 'utf8')
    expect((JSON.parse(text) as { version: string }).version).toBe(VERSION)
  })
})
