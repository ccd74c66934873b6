/** The pool that Payload makes of its options for a replica (its connect.js) gets no connection to the primary. */
import { postgresAdapter } from '@payloadcms/db-postgres'
import { buildConfig, getPayload } from 'payload'
import { isPgIamError } from 'pg-iam'
import { pgConfig } from 'pg-iam/pg'
import { login } from './login.js'
import { report } from './report.js'

const config = buildConfig({
  secret: 'secret',
  collections: [],
  // Otherwise Payload (3.90) starts a process that generates types, which outlives this one.
  typescript: { autoGenerate: false },
  db: postgresAdapter({
    pool: pgConfig(login),
    push: false,
    readReplicas: ['postgres://app@reader.example.com/postgres'],
  }),
})
// Payload does not handle a replica that it cannot connect to.
const refused = new Promise<unknown>((resolve) => process.once('unhandledRejection', resolve))
getPayload({ config }).catch(() => {})
const error = await refused
report(isPgIamError(error, 'ERR_OPTION_CONFLICT') ? error.message : String(error))
process.exit()
