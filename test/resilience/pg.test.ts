import { client } from './clients/pg.js'
import { describeResilience } from './describe-resilience.js'

describeResilience(client)
