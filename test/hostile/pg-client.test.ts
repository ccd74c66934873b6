import { describeHostile } from './describe-hostile.js'

describeHostile('pg-client')
