import { describeResilience } from '../resilience/describe-resilience.js'
import { client } from './client.js'

describeResilience(client)
