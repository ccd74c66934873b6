import { client } from '../clients/postgres-js.js'
import { describeResilience } from './describe-resilience.js'

describeResilience(client)
