import { describeHostile } from './describe-hostile.js'

describeHostile('postgres-js', { describesFirst: true })
