import { describeHostile } from './describe-hostile.js'

describeHostile('sequelize-7')
