import { describeHostile } from './describe-hostile.js'

describeHostile('drizzle-postgres-js', { describesFirst: true })
