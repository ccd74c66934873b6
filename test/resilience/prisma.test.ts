import { client } from '../clients/prisma.js'
import { describeResilience } from './describe-resilience.js'

describeResilience(client)
