import { describeHostile } from '../hostile/describe-hostile.js'

describeHostile('mikro-orm', { bareKeepsSlots: true })
