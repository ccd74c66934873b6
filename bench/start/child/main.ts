/**
 * A process that starts cold: loads modules in one format, gets a first token, and tells how long both took.
 *
 * It must load nothing else before: what competitors share would be free for them.
 */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { ColdStart, ColdStartOrder } from '../cold-start.js'
import { firstToken } from './first-token.js'

const order = JSON.parse(process.argv[2]!) as ColdStartOrder
const require = createRequire(import.meta.url)

/** A package, or the file of a bundle. */
const load = async (name: string): Promise<object> => {
  if (order.format === 'cjs') return require(name) as object
  return import(name.startsWith('/') ? pathToFileURL(name).href : name) as Promise<object>
}

const startedAt = performance.now()
const exported: Record<string, unknown> = {}
for (const name of order.modules) Object.assign(exported, await load(name))
const importedAt = performance.now()
if (order.token !== undefined) await firstToken(order.token, exported)
const endedAt = performance.now()

const times: ColdStart = { importMs: importedAt - startedAt, totalMs: endedAt - startedAt }
// Clients and connections that were begun are not waited for.
process.stdout.write(JSON.stringify(times), () => process.exit())
