import { describeHostile } from './describe-hostile.js'

describeHostile('prisma')
