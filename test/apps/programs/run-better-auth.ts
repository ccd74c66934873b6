/** Better Auth creates its tables, and signs a user up and in. */
import { getMigrations } from 'better-auth/db/migration'
import { auth, pool } from './better-auth.js'
import { report } from './report.js'

const { runMigrations } = await getMigrations(auth.options)
await runMigrations()
const user = { email: 'ada@example.com', password: 'a long password' }
await auth.api.signUpEmail({ body: { ...user, name: 'Ada' } })
const signedIn = await auth.api.signInEmail({ body: user })
await pool.end()
report(signedIn.user.email)
