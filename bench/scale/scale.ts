/** `npm run bench:scale`. */
import type { Benchmark } from '../frame/benchmark.js'
import { connectionsAtOnce } from './connections-at-once.js'
import { manyLogins } from './many-logins.js'
import { ownPart } from './own-part.js'

export const scale: Benchmark = {
  name: 'scale',
  what: 'what one token, login and connection cost as their number grows',
  async run(context) {
    return [
      ...(await manyLogins(context)),
      ...(await ownPart(context)),
      ...(await connectionsAtOnce(context)),
    ]
  },
}
