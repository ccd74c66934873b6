/** connect-pg-simple creates its table, and stores and reads a session. */
import { promisify } from 'node:util'
import type { SessionData } from 'express-session'
import { pool, store } from './connect-pg-simple.js'
import { report } from './report.js'

const session = { cookie: { originalMaxAge: 60_000, maxAge: 60_000 }, user: 'ada' }
await promisify<string, SessionData>(store.set.bind(store))('one', session as never)
const stored = await promisify<string, SessionData | null | undefined>(store.get.bind(store))('one')
// It waits for the query that deletes expired sessions.
await store.close()
await pool.end()
report((stored as unknown as typeof session).user)
