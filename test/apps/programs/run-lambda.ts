/** Two invocations of one process. */
import { handler, pool } from './lambda.js'
import { report } from './report.js'

const results = [await handler(), await handler()]
await pool.end()
report(results)
