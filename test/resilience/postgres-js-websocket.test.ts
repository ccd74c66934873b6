import { client } from '../clients/postgres-js-websocket.js'
import { describeResilience } from './describe-resilience.js'

describeResilience(client)
