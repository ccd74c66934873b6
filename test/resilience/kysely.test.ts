import { client } from '../clients/kysely.js'
import { describeResilience } from './describe-resilience.js'

describeResilience(client)
