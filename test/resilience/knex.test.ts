import { client } from '../clients/knex.js'
import { describeResilience } from './describe-resilience.js'

describeResilience(client)
