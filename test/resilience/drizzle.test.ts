import { client } from '../clients/drizzle.js'
import { describeResilience } from './describe-resilience.js'

describeResilience(client)
