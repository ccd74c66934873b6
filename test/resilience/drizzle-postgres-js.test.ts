import { client } from '../clients/drizzle-postgres-js.js'
import { describeResilience } from './describe-resilience.js'

describeResilience(client)
