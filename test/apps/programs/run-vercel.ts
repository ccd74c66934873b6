/** A request on Vercel: the function is kept running until the pool's idle connection has been closed. */
import { pool } from './vercel.js'
import { report } from './report.js'

const kept: Promise<unknown>[] = []
// As on Vercel: @vercel/functions finds the request under the symbol.
Object.assign(process.env, { VERCEL_URL: 'shop.example.com', VERCEL_REGION: 'iad1' })
const context = { waitUntil: (promise: Promise<unknown>) => void kept.push(promise) }
Object.assign(globalThis, { [Symbol.for('@vercel/request-context')]: { get: () => context } })

const { rows } = await pool.query<{ me: string }>('SELECT current_user AS me')
await Promise.all(kept)
report([rows, kept.length, pool.totalCount])
